//! What is refused and why; and a naive model that goes through the rows one by one.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::encap::outer::GRE;
use crate::encap::{Dscp, Outer, Payload};
use crate::wire::ethernet::Mac;

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn v6(last: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()).into()
}

fn row(local: IpAddr, encap: Encap, binding: u16, peers: &[(IpAddr, u16)]) -> Row {
    let port = encap.udp_port().unwrap_or(0);
    Row { local, encap, port, zero_checksum: false, binding, peers: peers.to_vec() }
}

/// A packet with `payload` bytes of zeros, but for an IP version, inside.
fn packet(local: IpAddr, remote: IpAddr, encap: Encap, port: u16, payload: usize) -> Vec<u8> {
    let outer = Outer {
        dst: Mac(2),
        src: Mac(4),
        tag: None,
        local: remote,
        remote: local,
        ttl: 64,
        dscp: Dscp::Fixed(0),
        port,
        udp_checksum: false,
    };
    let mut bytes = encap.template(&outer).unwrap().bytes();
    let headers = bytes.len();
    bytes.resize(headers + payload, 0);
    if encap.payload() == Payload::Ip
        && let Some(first) = bytes.get_mut(headers)
    {
        *first = 0x45;
    }
    let v6 = local.is_ipv6();
    let (ip_at, udp_at, length) = if v6 { (18, 58, bytes.len() - 54) } else { (16, 38, bytes.len() - 14) };
    bytes[ip_at..ip_at + 2].copy_from_slice(&(length as u16).to_be_bytes());
    if encap.udp_port().is_some() {
        let length = bytes.len() - (udp_at - 4);
        bytes[udp_at..udp_at + 2].copy_from_slice(&(length as u16).to_be_bytes());
    }
    bytes
}

fn open(terminator: &Terminator, bytes: &[u8]) -> Opening {
    let opening = terminator.open(bytes, bytes.len() as u32, 14);
    // The short way is only a shorter one.
    if let Some(quick) = terminator.quickly(bytes, bytes.len() as u32, 14) {
        let slow = terminator.open_any(bytes, bytes.len() as u32, 14);
        assert_eq!(quick, slow.map_or_else(|other| other, |(inner, _)| Opening::Inner(inner)));
    }
    opening
}

const VXLAN: Encap = Encap::Vxlan { vni: 2 };

fn refused(reason: DropReason) -> Opening {
    Opening::Refused(reason)
}

/// One VXLAN network, one peer; and a packet from that peer.
fn one() -> (Terminator, Vec<u8>) {
    (Terminator::build(&[row(v4(1), VXLAN, 1, &[(v4(2), 5)])]), packet(v4(1), v4(2), VXLAN, 4789, 60))
}

#[test]
fn only_peers_may_send() {
    let (terminator, good) = one();
    assert!(matches!(open(&terminator, &good), Opening::Inner(Inner { binding: 1, peer: 5, .. })));
    for stranger in [v4(3), v4(1), v4(0)] {
        let bytes = packet(v4(1), stranger, VXLAN, 4789, 60);
        assert_eq!(open(&terminator, &bytes), refused(DropReason::TunnelUnknownPeer), "{stranger}");
    }
}

#[test]
fn a_peer_of_one_network_is_none_of_another() {
    let other = Encap::Vxlan { vni: 3 };
    let rows = [row(v4(1), VXLAN, 1, &[(v4(2), 5)]), row(v4(1), other, 2, &[(v4(3), 5)])];
    let terminator = Terminator::build(&rows);
    let send = |from, encap| open(&terminator, &packet(v4(1), from, encap, 4789, 60));
    assert!(matches!(send(v4(2), VXLAN), Opening::Inner(Inner { binding: 1, .. })));
    assert!(matches!(send(v4(3), other), Opening::Inner(Inner { binding: 2, .. })));
    assert_eq!(send(v4(3), VXLAN), refused(DropReason::TunnelUnknownPeer));
    assert_eq!(send(v4(2), other), refused(DropReason::TunnelUnknownPeer));
    assert_eq!(send(v4(2), Encap::Vxlan { vni: 4 }), refused(DropReason::TunnelUnknownVni));
}

#[test]
fn what_is_for_others_is_not_ours() {
    let (terminator, _) = one();
    for (local, port) in [(v4(7), 4789), (v4(1), 4788), (v6(1), 4789)] {
        let remote = if local.is_ipv6() { v6(2) } else { v4(2) };
        assert_eq!(
            open(&terminator, &packet(local, remote, VXLAN, port, 60)),
            Opening::NotOurs,
            "{local} {port}"
        );
    }
    for encap in [Encap::IpIp, Encap::Gre { key: None, payload: Payload::Ethernet }] {
        assert_eq!(open(&terminator, &packet(v4(1), v4(2), encap, 0, 60)), Opening::NotOurs);
    }
    let empty = Terminator::default();
    assert!(empty.is_empty() && !terminator.is_empty());
    assert_eq!(open(&empty, &packet(v4(1), v4(2), VXLAN, 4789, 60)), Opening::NotOurs);
    // The same bytes, but the Ethernet header does not say that they are IP.
    let (terminator, mut bytes) = one();
    bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
    assert_eq!(open(&terminator, &bytes), Opening::NotOurs);
}

#[test]
fn reserved_bits_of_vxlan_are_ignored_and_its_flag_is_not() {
    let (terminator, good) = one();
    let mut reserved = good.clone();
    reserved[42] |= 0xf7;
    reserved[43..46].fill(0xff);
    reserved[49] = 0xff;
    assert_eq!(open(&terminator, &reserved), open(&terminator, &good));
    let mut without = good.clone();
    without[42] = 0xf7;
    assert_eq!(open(&terminator, &without), refused(DropReason::TunnelBadHeader));
}

#[test]
fn fragments_are_refused_where_they_are_known_for_a_tunnels() {
    let (udp, good) = one();
    let fragment = |bytes: &[u8], word: u16| {
        let mut bytes = bytes.to_vec();
        bytes[20..22].copy_from_slice(&word.to_be_bytes());
        bytes
    };
    assert_eq!(open(&udp, &fragment(&good, 0x2000)), refused(DropReason::TunnelFragment));
    // No ports: it may be anybody's.
    assert_eq!(open(&udp, &fragment(&good, 0x0001)), Opening::NotOurs);
    for encap in [Encap::IpIp, Encap::Gre { key: None, payload: Payload::Ip }] {
        let terminator = Terminator::build(&[row(v4(1), encap, 1, &[(v4(2), 5)])]);
        let good = packet(v4(1), v4(2), encap, 0, 60);
        for word in [0x2000, 0x0001, 0x2001] {
            assert_eq!(open(&terminator, &fragment(&good, word)), refused(DropReason::TunnelFragment));
        }
    }
}

#[test]
fn lengths_of_the_datagram_are_checked() {
    let (terminator, good) = one();
    for length in [0, 7, 8, 15, 16, 29, 77, 0xffff_u16] {
        let mut bytes = good.clone();
        bytes[38..40].copy_from_slice(&length.to_be_bytes());
        assert_eq!(open(&terminator, &bytes), refused(DropReason::TunnelBadHeader), "{length}");
    }
    // A shorter datagram than the packet: what is behind it is nothing.
    let mut bytes = good;
    bytes[38..40].copy_from_slice(&40_u16.to_be_bytes());
    assert!(matches!(open(&terminator, &bytes), Opening::Inner(Inner { length: 24, .. })));
}

#[test]
fn options_of_the_outer_packet_are_skipped() {
    let (terminator, good) = one();
    let mut bytes = good.clone();
    bytes.splice(34..34, [1; 8]);
    bytes[14] = 0x47;
    let length = (bytes.len() - 14) as u16;
    bytes[16..18].copy_from_slice(&length.to_be_bytes());
    assert!(matches!(open(&terminator, &bytes), Opening::Inner(Inner { offset: 58, length: 60, .. })));
    // Linux's tunnels over IPv6 send a destination option (RFC 2473 section 4.1.1).
    let terminator = Terminator::build(&[row(v6(1), Encap::IpIp, 1, &[(v6(2), 5)])]);
    let mut bytes = packet(v6(1), v6(2), Encap::IpIp, 0, 60);
    bytes.splice(54..54, [4, 0, 4, 1, 4, 1, 0, 0]);
    bytes[20] = 60;
    bytes[19] += 8;
    assert!(matches!(open(&terminator, &bytes), Opening::Inner(Inner { offset: 62, length: 60, .. })));
    // A routing header: it is on its way to somewhere.
    bytes[20] = 43;
    assert_eq!(open(&terminator, &bytes), Opening::NotOurs);
    // A fragment header: all of it, or the first piece.
    bytes[20] = 44;
    bytes[54..62].copy_from_slice(&[4, 0, 0, 0, 0, 0, 0, 1]);
    assert!(matches!(open(&terminator, &bytes), Opening::Inner(_)), "RFC 6946: nothing is missing");
    bytes[57] = 1;
    assert_eq!(open(&terminator, &bytes), refused(DropReason::TunnelFragment));
}

#[test]
fn a_checksum_may_be_missing_over_ipv6_only_where_allowed() {
    let strict = row(v6(1), VXLAN, 1, &[(v6(2), 5)]);
    let bytes = packet(v6(1), v6(2), VXLAN, 4789, 60);
    assert_eq!(
        open(&Terminator::build(std::slice::from_ref(&strict)), &bytes),
        refused(DropReason::TunnelBadChecksum)
    );
    let lenient = Row { zero_checksum: true, ..strict };
    assert!(matches!(open(&Terminator::build(&[lenient]), &bytes), Opening::Inner(_)));
}

#[test]
fn geneve_options_are_walked() {
    let encap = Encap::Geneve { vni: 2, ovn: None };
    let terminator = Terminator::build(&[row(v4(1), encap, 1, &[(v4(2), 5)])]);
    let with = |options: &[u8], change: fn(&mut [u8])| {
        let mut bytes = packet(v4(1), v4(2), encap, 6081, options.len() + 60);
        bytes[50..50 + options.len()].copy_from_slice(options);
        bytes[42] = (options.len() / 4) as u8;
        change(&mut bytes[42..]);
        open(&terminator, &bytes)
    };
    let nothing: fn(&mut [u8]) = |_| ();
    let at = |opening: Opening| match opening {
        Opening::Inner(inner) => inner.offset,
        other => panic!("{other:?}"),
    };
    assert_eq!(at(with(&[], nothing)), 50);
    // Not known and not critical; OVN's; both.
    let unknown = [0x12, 0x34, 0x01, 1, 9, 9, 9, 9];
    let ovn = [0x01, 0x02, 0x80, 1, 0, 1, 0, 2];
    assert_eq!(at(with(&unknown, nothing)), 58);
    assert_eq!(at(with(&ovn, nothing)), 58);
    assert_eq!(at(with(&[unknown, ovn].concat(), nothing)), 66);
    assert_eq!(at(with(&[0x12, 0x34, 0x01, 0].repeat(63), nothing)), 50 + 252);
    // Reserved bits of header and option.
    assert_eq!(at(with(&[0x12, 0x34, 0x01, 0xe0], |header| header[1] |= 0x3f)), 54);
    let critical = refused(DropReason::TunnelCriticalOption);
    assert_eq!(with(&[0x12, 0x34, 0x81, 0], nothing), critical);
    assert_eq!(with(&[0x01, 0x02, 0x81, 0], nothing), critical);
    assert_eq!(with(&[ovn.as_slice(), &[0x12, 0x34, 0x80, 0]].concat(), nothing), critical);
    let bad = refused(DropReason::TunnelBadHeader);
    // An option longer than the header says; OVN's with another length; another version; another payload.
    assert_eq!(with(&[0x12, 0x34, 0x01, 2, 0, 0, 0, 0], nothing), bad);
    assert_eq!(with(&[0x01, 0x02, 0x80, 0], nothing), bad);
    assert_eq!(with(&[], |header| header[0] |= 0x40), bad);
    assert_eq!(with(&[], |header| header[3] = 0x59), bad);
    // More options than packet.
    assert_eq!(with(&[], |header| header[0] = 0x3f), bad);
    assert_eq!(with(&[], |header| header[1] |= 0x80), refused(DropReason::TunnelControl));
}

#[test]
fn gre_is_read_field_by_field() {
    let row = |key, payload, binding| row(v4(1), Encap::Gre { key, payload }, binding, &[(v4(2), 5)]);
    let terminator = Terminator::build(&[
        row(None, Payload::Ethernet, 1),
        row(Some(0), Payload::Ethernet, 2),
        row(Some(7), Payload::Ip, 3),
    ]);
    let with = |header: &[u8], payload: u8| {
        let mut bytes = packet(v4(1), v4(2), Encap::IpIp, 0, header.len() + 60);
        bytes[23] = GRE;
        bytes[34..34 + header.len()].copy_from_slice(header);
        bytes[34 + header.len()] = payload;
        open(&terminator, &bytes)
    };
    let found = |opening: Opening| match opening {
        Opening::Inner(inner) => (inner.binding, inner.offset, inner.ip, inner.unverified),
        other => panic!("{other:?}"),
    };
    assert_eq!(found(with(&[0, 0, 0x65, 0x58], 0)), (1, 38, 0, false));
    assert_eq!(found(with(&[0x20, 0, 0x65, 0x58, 0, 0, 0, 0], 0)), (2, 42, 0, false));
    assert_eq!(found(with(&[0x20, 0, 0x08, 0x00, 0, 0, 0, 7], 0x45)), (3, 42, 0x0800, false));
    assert_eq!(found(with(&[0x20, 0, 0x86, 0xdd, 0, 0, 0, 7], 0x60)), (3, 42, 0x86dd, false));
    // Sequence number skipped; checksum still to be verified.
    assert_eq!(found(with(&[0x10, 0, 0x65, 0x58, 1, 2, 3, 4], 0)), (1, 42, 0, false));
    assert_eq!(found(with(&[0x80, 0, 0x65, 0x58, 1, 2, 3, 4], 0)), (1, 42, 0, true));
    assert_eq!(found(with(&[0xb0, 0, 0x65, 0x58, 1, 2, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9], 0)), (2, 50, 0, true));
    let unknown = refused(DropReason::TunnelUnknownVni);
    assert_eq!(with(&[0x20, 0, 0x65, 0x58, 0, 0, 0, 7], 0), unknown, "a key of the other payload");
    assert_eq!(with(&[0, 0, 0x08, 0x00], 0x45), unknown, "no key");
    let bad = refused(DropReason::TunnelBadHeader);
    for flags in [0x40, 0x08, 0x04] {
        assert_eq!(with(&[flags, 0, 0x65, 0x58], 0), bad, "source routing");
    }
    for version in 1..8 {
        assert_eq!(with(&[0, version, 0x65, 0x58], 0), bad, "version");
    }
    assert_eq!(with(&[0x20, 0, 0x08, 0x00, 0, 0, 0, 7], 0x60), bad, "not the version that is announced");
    assert_eq!(with(&[0x20, 0, 0x88, 0xbe, 0, 0, 0, 7], 0x45), bad, "neither Ethernet nor IP");
}

#[test]
fn ip_in_ip_is_what_the_outer_header_says() {
    let terminator = Terminator::build(&[row(v4(1), Encap::IpIp, 1, &[(v4(2), 5)])]);
    let with = |protocol: u8, first: u8| {
        let mut bytes = packet(v4(1), v4(2), Encap::IpIp, 0, 60);
        (bytes[23], bytes[34]) = (protocol, first);
        open(&terminator, &bytes)
    };
    for (protocol, first, ethertype) in [(4, 0x45, 0x0800), (41, 0x60, 0x86dd)] {
        let Opening::Inner(inner) = with(protocol, first) else { panic!("not opened") };
        assert_eq!((inner.ip, inner.offset, inner.length), (ethertype, 34, 60));
    }
    for (protocol, first) in [(4, 0x60), (41, 0x45), (4, 0), (41, 0xf0)] {
        assert_eq!(with(protocol, first), refused(DropReason::TunnelBadHeader));
    }
}

/// The rules, naively.
fn model(rows: &[Row], local: IpAddr, remote: IpAddr, encap: Encap, port: u16) -> Opening {
    let service = |row: &Row| match row.encap {
        Encap::Vxlan { .. } => (0, row.port),
        Encap::Geneve { .. } => (1, row.port),
        Encap::Gre { payload, .. } => (2 + u8::from(payload == Payload::Ip), 0),
        Encap::IpIp => (4, 0),
    };
    let sent = service(&Row { port, ..row(local, encap, 1, &[]) });
    let id = |encap: Encap| match encap {
        Encap::Vxlan { vni } | Encap::Geneve { vni, .. } => Some(vni),
        Encap::Gre { key, .. } => key,
        Encap::IpIp => None,
    };
    let here = || rows.iter().filter(|row| row.local == local);
    // The port, not the header, says which of both a datagram is.
    let same = |row: &Row| match (sent.0, service(row).0) {
        (0 | 1, 0 | 1) => service(row).1 == sent.1,
        (2 | 3, 2 | 3) => true,
        (sent, this) => sent == this,
    };
    let exact = here().find(|row| same(row) && (sent.0 < 2 || service(row) == sent));
    let Some(first) = exact.or_else(|| here().find(|row| same(row))) else { return Opening::NotOurs };
    if service(first) != sent {
        return refused(DropReason::TunnelBadHeader);
    }
    let Some(network) = here().find(|row| service(row) == sent && id(row.encap) == id(encap)) else {
        return refused(DropReason::TunnelUnknownVni);
    };
    let family = rows.iter().filter(|row| row.local.is_ipv6() == local.is_ipv6());
    let mut peers = family.filter(|row| row.binding == network.binding).flat_map(|row| &row.peers);
    match peers.find(|(address, _)| *address == remote) {
        None => refused(DropReason::TunnelUnknownPeer),
        Some((_, peer)) => {
            let headers = packet(local, remote, encap, port, 0).len() as u16;
            let ip = if encap.payload() == Payload::Ip { 0x0800 } else { 0 };
            let (binding, peer) = (network.binding, *peer);
            Opening::Inner(Inner {
                offset: headers,
                length: 60,
                binding,
                peer,
                ip,
                ecn: 0,
                unverified: false,
            })
        }
    }
}

fn address() -> impl Strategy<Value = IpAddr> {
    (0_u8..5, any::<bool>()).prop_map(|(last, six)| if six { v6(last) } else { v4(last) })
}

fn encap() -> impl Strategy<Value = Encap> {
    let payload = prop::sample::select(vec![Payload::Ethernet, Payload::Ip]);
    prop_oneof![
        3 => (1_u32..4).prop_map(|vni| Encap::Vxlan { vni }),
        2 => (1_u32..4).prop_map(|vni| Encap::Geneve { vni, ovn: None }),
        2 => (prop::option::of(0_u32..3), payload).prop_map(|(key, payload)| Encap::Gre { key, payload }),
        1 => Just(Encap::IpIp),
    ]
}

fn any_row() -> impl Strategy<Value = Row> {
    let peers = prop::collection::vec((address(), 0_u16..9), 0..4);
    (address(), encap(), 0_u16..2, 1_u16..4, peers).prop_map(|(local, encap, port, binding, peers)| {
        let port = 4789 + port;
        Row { local, encap, port, zero_checksum: true, binding, peers }
    })
}

proptest! {
    #[test]
    fn agrees_with_the_rules(
        rows in prop::collection::vec(any_row(), 0..8),
        sent in prop::collection::vec((address(), 0_u8..5, encap(), 0_u16..2), 30),
    ) {
        let terminator = Terminator::build(&rows);
        for (local, last, encap, port) in sent {
            let remote = if local.is_ipv6() { v6(last) } else { v4(last) };
            let port = 4789 + port;
            // A Geneve header is no VXLAN header and the other way round, whatever the port: the I flag is Geneve's length.
            let bytes = packet(local, remote, encap, port, 60);
            prop_assert_eq!(open(&terminator, &bytes), model(&rows, local, remote, encap, port));
        }
    }
}
