//! VXLAN (RFC 7348 section 5): flags, VNI, an Ethernet frame.
//!
//! ```text
//! |R|R|R|R|I|R|R|R|            Reserved                           |
//! |                VXLAN Network Identifier (VNI) |   Reserved    |
//! ```

use super::outer::Outer;
use super::template::{Template, TemplateError};
use super::{Undecoded, vni_bytes};

/// UDP destination port (IANA). Linux's own default is the older 8472.
pub const PORT: u16 = 4789;
/// Bytes of the header.
pub const HEADER: usize = 8;
/// The I flag: the VNI is valid. All other bits are zero on sending and ignored on receipt.
pub(super) const VALID: u8 = 0x08;

/// The headers of a tunnel.
///
/// # Errors
/// [`TemplateError`].
pub fn template(outer: &Outer, vni: u32) -> Result<Template, TemplateError> {
    let [a, b, c] = vni_bytes(vni)?;
    outer.over_udp(&[VALID, 0, 0, 0, a, b, c, 0])
}

/// The network identifier of the header at the start of `bytes`.
///
/// # Errors
/// `Short`; `TunnelBadHeader` without the I flag.
pub fn decode(bytes: &[u8]) -> Result<u32, Undecoded> {
    let &[flags, _, _, _, a, b, c, _] = bytes.first_chunk::<HEADER>().ok_or(Undecoded::Short)?;
    if flags & VALID == 0 {
        return Err(Undecoded::BAD);
    }
    Ok(u32::from_be_bytes([0, a, b, c]))
}
