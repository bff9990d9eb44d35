//! What must hold of a Geneve header with its options for any bytes whatever (RFC 8926 sections 3.4 and 3.5).

use shunt_switch::drop::DropReason;
use shunt_switch::encap::Undecoded;
use shunt_switch::encap::geneve::{self, decode};

/// Panics when a property does not hold. The first byte is how much longer the packet is than the bytes at hand. True when the header
/// was taken.
pub(crate) fn check(input: &[u8]) -> bool {
    let Some((more, bytes)) = input.split_first() else { return false };
    let room = bytes.len() + usize::from(*more);
    let decoded = decode(bytes, room);
    // Fewer bytes say the same or that they do not suffice; more of them change nothing.
    for cut in 0..bytes.len() {
        let short = decode(&bytes[..cut], room);
        assert!(short == decoded || short == Err(Undecoded::Short), "{cut}: {short:?} and {decoded:?}");
    }
    let Ok(header) = decoded else { return false };
    assert!(header.length >= 8 && header.length <= bytes.len().min(room) && header.length % 4 == 0);
    assert_eq!(header.vni, u32::from_be_bytes([0, bytes[4], bytes[5], bytes[6]]));
    assert_eq!((bytes[0] >> 6, bytes[1] & 0x80, &bytes[2..4]), (0, 0, &[0x65, 0x58][..]));
    check_options(&bytes[8..header.length], header.ovn);
    // One bit makes an option that nobody knows critical.
    for at in options(&bytes[8..header.length]) {
        let mut other = bytes.to_vec();
        if other[8 + at..8 + at + 2] != [1, 2] && other[8 + at + 2] & 0x80 == 0 {
            other[8 + at + 2] |= 0x80;
            assert_eq!(decode(&other, room), Err(Undecoded::Refused(DropReason::TunnelCriticalOption)));
        }
    }
    true
}

/// Where each option begins.
fn options(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut all) = (0, Vec::new());
    while at < bytes.len() {
        all.push(at);
        at += 4 + usize::from(bytes[at + 3] & 0x1f) * 4;
    }
    assert_eq!(at, bytes.len(), "options fill the header");
    all
}

fn check_options(bytes: &[u8], ovn: Option<u32>) {
    let is_ovn = |at: &usize| bytes[*at..*at + 3] == [1, 2, 0x80];
    let value = |at: usize| u32::from_be_bytes(bytes[at + 4..at + 8].try_into().expect("a word"));
    assert_eq!(options(bytes).into_iter().filter(is_ovn).map(value).next_back(), ovn);
    assert!(
        options(bytes).iter().all(|at| bytes[at + 2] & 0x80 == 0 || is_ovn(at)),
        "an unknown critical option"
    );
    if let Some(value) = ovn {
        let (ingress, egress) = ((value >> 16) as u16, value as u16);
        assert_eq!(geneve::ovn(ingress, egress), value & 0x7fff_ffff);
    }
}
