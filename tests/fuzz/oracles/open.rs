//! What must hold of `encap::Terminator` for any bytes whatever. The fuzz target runs it, and so do the property tests.

use std::net::IpAddr;
use std::sync::OnceLock;

use shunt_switch::encap::terminator::Row;
use shunt_switch::encap::{Encap, Inner, Opening, Payload, Terminator};

/// How a case is written in bytes: a control word, then the frame.
///
/// | byte | is |
/// |---|---|
/// | 0, 1 | length of the first segment, little-endian, modulo the frame's length and one more |
/// | 2 | VLAN tags in front of the IP header, modulo 3 |
pub(crate) const CONTROL: usize = 3;

const BINDINGS: u16 = 8;
const PEER: u16 = 77;

/// Every kind over both IP versions, at the addresses of the golden packets.
fn terminator() -> &'static Terminator {
    static TERMINATOR: OnceLock<Terminator> = OnceLock::new();
    TERMINATOR.get_or_init(|| {
        let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let ends = [
            ("10.186.152.101", "10.186.152.114"),
            ("10.186.152.114", "10.186.152.101"),
            ("192.168.1.2", "192.168.1.1"),
            ("10.184.134.83", "10.184.134.82"),
            ("fd00:10::2", "fd00:10::1"),
        ];
        let kinds = [
            (Encap::Vxlan { vni: 2 }, 4789),
            (Encap::Vxlan { vni: 1 }, 8472),
            (Encap::Geneve { vni: 5, ovn: None }, 6081),
            (Encap::Geneve { vni: 7, ovn: None }, 6081),
            (Encap::Gre { key: None, payload: Payload::Ethernet }, 0),
            (Encap::Gre { key: Some(0x0102_0304), payload: Payload::Ethernet }, 0),
            (Encap::Gre { key: Some(9), payload: Payload::Ip }, 0),
            (Encap::IpIp, 0),
        ];
        let rows: Vec<Row> = ends
            .iter()
            .flat_map(|(local, peer)| {
                (1..).zip(kinds).map(|(binding, (encap, port))| Row {
                    local: address(local),
                    encap,
                    port,
                    zero_checksum: true,
                    binding,
                    peers: vec![(address(peer), PEER)],
                })
            })
            .collect();
        Terminator::build(&rows)
    })
}

/// Panics when a property does not hold. Inputs without a control word say nothing. True when a tunnel was opened.
pub(crate) fn check(input: &[u8]) -> bool {
    let Some((&[low, high, tags], frame)) = input.split_first_chunk::<CONTROL>() else { return false };
    let split = usize::from(u16::from_le_bytes([low, high])) % (frame.len() + 1);
    let l3 = 14 + 4 * usize::from(tags % 3);
    check_split(frame, l3, split)
}

/// The whole frame is opened soundly or not at all, and its first `split` bytes alone say the same or that they do not suffice.
pub(crate) fn check_split(frame: &[u8], l3: usize, split: usize) -> bool {
    let len = u32::try_from(frame.len()).expect("a short frame");
    let whole = terminator().open(frame, len, l3);
    assert_ne!(whole, Opening::Split, "a frame in one segment is not split");
    if let Opening::Inner(inner) = whole {
        check_inner(&inner, frame, l3);
    }
    let first = terminator().open(&frame[..split], len, l3);
    assert!(first == whole || first == Opening::Split, "{split}: {first:?} and {whole:?}");
    matches!(whole, Opening::Inner(_))
}

fn check_inner(inner: &Inner, frame: &[u8], l3: usize) {
    let (start, length) = (usize::from(inner.offset), usize::from(inner.length));
    assert!(start + length <= frame.len(), "inside the frame");
    let v6 = frame[l3] >> 4 == 6;
    assert!(start >= l3 + if v6 { 40 } else { 20 }, "behind the outer headers");
    assert!((1..=BINDINGS).contains(&inner.binding) && inner.peer == PEER);
    assert!(inner.ecn <= 3);
    match inner.ip {
        0 => assert!(length >= 14, "an Ethernet header"),
        0x0800 => assert_eq!(frame[start] >> 4, 4),
        0x86dd => assert_eq!(frame[start] >> 4, 6),
        other => panic!("neither Ethernet nor IP: {other:#x}"),
    }
    // The EtherType in front of the outer header says what it is.
    let ethertype = u16::from_be_bytes([frame[l3 - 2], frame[l3 - 1]]);
    assert_eq!(ethertype, if v6 { 0x86dd } else { 0x0800 });
}
