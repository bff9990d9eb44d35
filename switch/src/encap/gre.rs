//! GRE (RFC 2784, with the key of RFC 2890): Ethernet frames or IP packets.
//!
//! ```text
//! |C| |K|S|      Reserved0      | Ver |        Protocol Type      |
//! |      Checksum (if C)          |       Reserved1 (if C)        |
//! |                         Key (if K)                            |
//! |                   Sequence Number (if S)                      |
//! ```
//! Sequence numbers are skipped: order is not restored. We send key or nothing.

use super::geneve::ETHERNET;
use super::outer::{self, Outer};
use super::template::{Template, TemplateError, Version};
use super::{Payload, Undecoded};
use crate::wire::ethernet;

const CHECKSUM: u8 = 0x80;
const KEY: u8 = 0x20;
const SEQUENCE: u8 = 0x10;
/// Bits 1, 4 and 5: source routing of RFC 1701. Who does not implement that must discard (RFC 2784 section 2.3).
const ROUTING: u8 = 0x40 | 0x08 | 0x04;
/// Bits 13 to 15.
const VERSION: u8 = 0x07;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gre {
    /// The key, if there is one.
    pub key: Option<u32>,
    /// EtherType of the payload.
    pub protocol: u16,
    /// Bytes of the header.
    pub length: usize,
    /// Header and payload are covered by a checksum.
    pub checksum: bool,
}

/// The headers of a tunnel.
///
/// # Errors
/// [`TemplateError`].
pub fn template(outer: &Outer, key: Option<u32>, payload: Payload) -> Result<Template, TemplateError> {
    let (protocol, version) = match payload {
        Payload::Ethernet => (ETHERNET, Version::None),
        Payload::Ip => (ethernet::IPV4, Version::EtherType),
    };
    let mut header = vec![if key.is_some() { KEY } else { 0 }, 0];
    header.extend(protocol.to_be_bytes());
    header.extend(key.map(u32::to_be_bytes).into_iter().flatten());
    outer.template(outer::GRE, &header, payload, version)
}

/// Reads the header at the start of `bytes`. The checksum is not looked at.
///
/// # Errors
/// `Short`; `TunnelBadHeader` for another version and for source routing.
pub fn decode(bytes: &[u8]) -> Result<Gre, Undecoded> {
    let (&[flags, version, high, low], mut rest) = bytes.split_first_chunk::<4>().ok_or(Undecoded::Short)?;
    if flags & ROUTING != 0 || version & VERSION != 0 {
        return Err(Undecoded::BAD);
    }
    let mut gre = Gre {
        key: None,
        protocol: u16::from_be_bytes([high, low]),
        length: 4,
        checksum: flags & CHECKSUM != 0,
    };
    for field in [CHECKSUM, KEY, SEQUENCE] {
        if flags & field == 0 {
            continue;
        }
        let (value, behind) = rest.split_first_chunk::<4>().ok_or(Undecoded::Short)?;
        if field == KEY {
            gre.key = Some(u32::from_be_bytes(*value));
        }
        rest = behind;
        gre.length += 4;
    }
    Ok(gre)
}
