//! Frames read back: by `etherparse`, and by the parser that forwards. A key in words makes a frame with that key.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;
use crate::control::flows::words;
use crate::control::trace::summary::summary;
use crate::flow::FlowKey;
use crate::flow::key::{Depth, Fragment, L4};
use crate::flow::parse::parse;
use crate::ids::PortId;

fn made(text: &str) -> Vec<u8> {
    compose(&Probe::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))).unwrap()
}

fn key(frame: &[u8], depth: Depth) -> FlowKey {
    parse(frame, frame.len() as u32, PortId::new(0).unwrap(), depth).unwrap().0
}

#[test]
fn checksums_are_right() {
    for text in
        ["ip4 && tcp", "ip4 && udp", "icmp4", "ip6 && tcp", "ip6 && udp", "icmp6", "ip.tos==0xb8 && len==900"]
    {
        let frame = made(text);
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let pseudo = match packet.net.as_ref().unwrap() {
            NetSlice::Ipv4(ip) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum(), "{text}");
                (header.source.to_vec(), header.destination.to_vec())
            }
            NetSlice::Ipv6(ip) => (ip.header().source().to_vec(), ip.header().destination().to_vec()),
            NetSlice::Arp(_) => unreachable!(),
        };
        let (protocol, bytes) = match packet.transport.as_ref().unwrap() {
            TransportSlice::Tcp(tcp) => (TCP, tcp.slice()),
            TransportSlice::Udp(udp) => (UDP, udp.slice()),
            TransportSlice::Icmpv4(icmp) => (ICMP, icmp.slice()),
            TransportSlice::Icmpv6(icmp) => (ICMPV6, icmp.slice()),
            TransportSlice::Igmp(_) => unreachable!(),
        };
        let mut sum = crate::wire::checksum::Sum::new().bytes(bytes);
        if protocol != ICMP {
            let tail = [0, protocol];
            let length = (bytes.len() as u16).to_be_bytes();
            sum = sum.bytes(&pseudo.0).bytes(&pseudo.1).bytes(&length).bytes(&tail);
        }
        assert_eq!(sum.value(), 0xffff, "{text}");
    }
}

#[test]
fn lengths_are_those_asked_for() {
    assert_eq!(made("udp").len(), 60);
    assert_eq!(made("len==1514 && tcp").len(), 1514);
    assert_eq!(made("eth.type==0x88b5 && len==14").len(), 14);
    assert_eq!(made("icmp6 && len==62").len(), 62);
    assert_eq!(made("nd.target==fd00::1").len(), 78);
    let short = compose(&Probe::parse("tcp && ip6 && len==73").unwrap()).unwrap_err();
    assert_eq!(short.to_string(), "len==73 is shorter than the headers; give 74 to 9216");
    let longest = made("ip6 && udp && len==9216");
    assert_eq!(key(&longest, Depth::Transport).marks().l4, L4::Known);
}

#[test]
fn one_line_says_what_is_in_a_frame() {
    for (text, line) in [
        (
            "eth.src==02:00:00:00:00:01 && eth.dst==02:00:00:00:00:02 && vlan.id==5 && ip4.ttl==9 && udp.dst==53",
            "02:00:00:00:00:01 > 02:00:00:00:00:02, vlan 5 pcp 0, ipv4 192.0.2.1 > 192.0.2.2 ttl 9, udp 49152 > 53",
        ),
        ("tcp.flags==syn|ack && ip6", "ipv6 2001:db8::1 > 2001:db8::2 ttl 64, tcp 49152 > 80 syn|ack"),
        ("icmp4", "ipv4 192.0.2.1 > 192.0.2.2 ttl 64, icmp4 type 8 code 0"),
        (
            "arp.op==reply && arp.spa==10.0.0.1 && arp.tpa==10.0.0.2",
            "arp reply, 10.0.0.1 at 00:00:00:00:00:00 to 10.0.0.2",
        ),
        ("sctp", "ipv4 192.0.2.1 > 192.0.2.2 ttl 64, protocol 132"),
        ("ip6 && ip.frag==later", "ipv6 2001:db8::1 > 2001:db8::2 ttl 64, fragment at 1480, protocol 17"),
        ("eth.type==0x88b5", "0x88b5"),
    ] {
        let summary = summary(&made(text));
        let rest = summary.strip_prefix("00:00:00:00:00:00 > 00:00:00:00:00:00, ").unwrap_or(&summary);
        assert_eq!(rest, line, "{text}");
    }
    assert_eq!(summary(&[0; 13]), "shorter than an ethernet header");
    let cut = &made("ip6")[..30];
    assert!(summary(cut).contains("not sound: "), "{}", summary(cut));
}

/// Expressions of every shape.
fn expression() -> impl Strategy<Value = String> {
    let tag = prop_oneof![
        Just(String::new()),
        Just(" && vlan.id==5".to_owned()),
        Just(" && vlan.tci==0xe064 && vlan.tpid==0x88a8 && vlan.inner.tci==7".to_owned()),
    ];
    let ip = prop_oneof![
        Just("ip4.src==10.0.0.1 && ip4.dst==10.0.0.2".to_owned()),
        Just("ip6.src==fd00::1 && ip6.dst==fd00::2".to_owned()),
    ];
    let transport = prop_oneof![
        (any::<u16>(), any::<u16>()).prop_map(|(src, dst)| format!("udp.src=={src} && udp.dst=={dst}")),
        (any::<u16>(), 0_u8..64).prop_map(|(dst, flags)| format!("tcp.dst=={dst} && tcp.flags=={flags}")),
        any::<u16>().prop_map(|src| format!("sctp.src=={src}")),
        (0_u8..255)
            .prop_filter("has a header of its own", |protocol| {
                ![0, 1, 6, 17, 43, 44, 50, 51, 58, 60, 132, 135, 139, 140, 253, 254].contains(protocol)
            })
            .prop_map(|protocol| format!("ip.proto=={protocol}")),
        Just("ip.proto==17 && ip.frag==later".to_owned()),
        Just("udp.dst==9 && ip.frag==first".to_owned()),
    ];
    let whole = (ip, transport, tag, 0_u8..4, 0_u8..=255).prop_map(|(ip, transport, tag, ttl, tos)| {
        format!("eth.src==02:00:00:00:00:01 && {ip} && {transport}{tag} && ip.ttl=={ttl} && ip.tos=={tos}")
    });
    let icmp = (0_u8..=255, 0_u8..=255, any::<u16>())
        .prop_map(|(kind, code, id)| format!("icmp4.type=={kind} && icmp4.code=={code} && icmp4.id=={id}"));
    let others = prop_oneof![
        Just("arp.tpa==10.0.0.1".to_owned()),
        Just("eth.type==0x88b5 && eth.dst==ff:ff:ff:ff:ff:ff".to_owned()),
        Just("icmp6.type==128 && icmp6.id==77".to_owned()),
    ];
    prop_oneof![4 => whole, 1 => icmp, 1 => others]
}

proptest! {
    #[test]
    fn a_key_in_words_makes_a_frame_with_that_key(text in expression(), deep: bool) {
        let depth = if deep { Depth::Transport } else { Depth::Network };
        let found = key(&made(&text), depth);
        let words = words::key(&found);
        let again = key(&made(&words), depth);
        prop_assert_eq!(again, found, "{} -> {}", text, words);
    }

    #[test]
    fn what_was_asked_for_is_in_the_frame(ttl in 2_u8.., dst: u16, tos: u8, src: u32) {
        let address = Ipv4Addr::from_bits(src);
        let frame = made(&format!("ip4.src=={address} && ip.ttl=={ttl} && ip.tos=={tos} && tcp.dst=={dst}"));
        let found = key(&frame, Depth::Transport);
        prop_assert_eq!(found.addresses().unwrap().0, IpAddr::V4(address));
        prop_assert_eq!((found.ports().1, found.traffic_class(), frame[22]), (dst, tos, ttl));
        prop_assert_eq!(found.marks().fragment, Fragment::Whole);
    }
}
