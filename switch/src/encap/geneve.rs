//! Geneve (RFC 8926 section 3.4): version, options, protocol type, VNI, an Ethernet frame.
//!
//! ```text
//! |Ver|  Opt Len  |O|C|    Rsvd.  |          Protocol Type        |
//! |        Virtual Network Identifier (VNI)       |    Reserved   |
//! |          Option Class         |      Type     |R|R|R| Length  |
//! ```
//! Options are walked to the end whatever they are: a critical one that is not known means that the packet must be dropped.

use super::outer::Outer;
use super::template::{Template, TemplateError};
use super::{Undecoded, vni_bytes};
use crate::drop::DropReason;

/// UDP destination port (IANA).
pub const PORT: u16 = 6081;
/// Bytes of the header without options.
pub const HEADER: usize = 8;
/// Bytes of OVN's option with its own header.
pub const OVN_OPTION: usize = 8;
/// EtherType of Ethernet frames in tunnels (RFC 1701; "Trans Ether Bridging").
pub(super) const ETHERNET: u16 = 0x6558;

/// Control packet: not for the network (RFC 8926 section 3.4).
const CONTROL: u8 = 0x80;
/// There are critical options.
const CRITICAL: u8 = 0x40;
/// Bit of an option's type that makes it critical (section 3.5).
const CRITICAL_TYPE: u8 = 0x80;
/// Class and type of OVN's option (IANA class registry; ovn-architecture(7), "Tunnel Encapsulations").
const OVN_CLASS: u16 = 0x0102;
const OVN_TYPE: u8 = 0x80;
/// Its length in words.
const OVN_WORDS: u8 = 1;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geneve {
    /// Network identifier.
    pub vni: u32,
    /// Bytes of header and options.
    pub length: usize,
    /// Value of OVN's option, see [`ovn`].
    pub ovn: Option<u32>,
}

/// The value of OVN's option: logical ingress port (15 bits) and logical egress port or group (16 bits).
pub const fn ovn(ingress: u16, egress: u16) -> u32 {
    ((ingress & 0x7fff) as u32) << 16 | egress as u32
}

/// The headers of a tunnel; `option` is the value of OVN's option when there is to be one.
///
/// # Errors
/// [`TemplateError`].
pub fn template(outer: &Outer, vni: u32, option: Option<u32>) -> Result<Template, TemplateError> {
    let [a, b, c] = vni_bytes(vni)?;
    let [high, low] = ETHERNET.to_be_bytes();
    let Some(value) = option else {
        return outer.over_udp(&[0, 0, high, low, a, b, c, 0]);
    };
    let mut header = vec![OVN_OPTION as u8 / 4, CRITICAL, high, low, a, b, c, 0];
    header.extend(OVN_CLASS.to_be_bytes());
    header.extend([OVN_TYPE, OVN_WORDS]);
    header.extend(value.to_be_bytes());
    outer.over_udp(&header)
}

/// Reads the header at the start of `bytes` with its options. `room` is the length of the UDP payload, of which `bytes` may be
/// only the first part.
///
/// # Errors
/// `Short`; `TunnelBadHeader` for another version, another payload than Ethernet, options that do not fit the header or the
/// packet; `TunnelCriticalOption`; `TunnelControl`.
pub fn decode(bytes: &[u8], room: usize) -> Result<Geneve, Undecoded> {
    let &[version_length, flags, high, low, a, b, c, _] =
        bytes.first_chunk::<HEADER>().ok_or(Undecoded::Short)?;
    let length = HEADER + usize::from(version_length & 0x3f) * 4;
    if version_length >> 6 != 0 || length > room {
        return Err(Undecoded::BAD);
    }
    if flags & CONTROL != 0 {
        return Err(Undecoded::Refused(DropReason::TunnelControl));
    }
    if u16::from_be_bytes([high, low]) != ETHERNET {
        return Err(Undecoded::BAD);
    }
    let mut geneve = Geneve { vni: u32::from_be_bytes([0, a, b, c]), length, ovn: None };
    let mut options = bytes.get(HEADER..length).ok_or(Undecoded::Short)?;
    // At most 63 words, so at most 63 options.
    while let Some((&[class_high, class_low, kind, words], rest)) = options.split_first_chunk() {
        let words = words & 0x1f;
        let (value, behind) = rest.split_at_checked(usize::from(words) * 4).ok_or(Undecoded::BAD)?;
        options = behind;
        if u16::from_be_bytes([class_high, class_low]) == OVN_CLASS && kind == OVN_TYPE {
            let Ok(value) = value.try_into() else { return Err(Undecoded::BAD) };
            geneve.ovn = Some(u32::from_be_bytes(value));
        } else if kind & CRITICAL_TYPE != 0 {
            return Err(Undecoded::Refused(DropReason::TunnelCriticalOption));
        }
    }
    Ok(geneve)
}
