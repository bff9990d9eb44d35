//! IP in IP: either version directly in either (RFC 2003, RFC 2473). There is no header in between, so the outer addresses
//! alone say which network it is.

use super::outer::{IPV4_IN_IP, Outer};
use super::template::{Template, TemplateError, Version};
use super::{Payload, Undecoded};
use crate::wire::ethernet;

/// The headers of a tunnel.
///
/// # Errors
/// [`TemplateError`].
pub fn template(outer: &Outer) -> Result<Template, TemplateError> {
    // Which version is inside is told frame by frame.
    outer.template(IPV4_IN_IP, &[], Payload::Ip, Version::Protocol)
}

/// EtherType of the IP packet at the start of `bytes`, by its version.
///
/// # Errors
/// `Short`; `TunnelBadHeader` for any other version.
pub fn decode(bytes: &[u8]) -> Result<u16, Undecoded> {
    match bytes.first().ok_or(Undecoded::Short)? >> 4 {
        4 => Ok(ethernet::IPV4),
        6 => Ok(ethernet::IPV6),
        _ => Err(Undecoded::BAD),
    }
}
