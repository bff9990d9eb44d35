//! What expressions mean, and what is wrong with wrong ones.

use super::*;

#[track_caller]
fn good(text: &str) -> Probe {
    Probe::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[test]
fn layers_follow_from_fields() {
    for (text, family, protocol) in [
        ("eth.dst==02:00:00:00:00:01", Some(Family::Ip4), 17),
        ("eth.type==0x88b5", None, 17),
        ("eth.type==2054", Some(Family::Arp), 17),
        ("arp.tpa==10.0.0.1", Some(Family::Arp), 17),
        ("ip6", Some(Family::Ip6), 17),
        ("ip.dst==fd00::1", Some(Family::Ip6), 17),
        ("ip.ttl==1 && ip.src==10.0.0.1", Some(Family::Ip4), 17),
        ("ip.src==10.0.0.1 && ip.ttl<=1", Some(Family::Ip4), 17),
        ("tcp.dst==80", Some(Family::Ip4), 6),
        ("tcp&&ip6", Some(Family::Ip6), 6),
        ("ip4.src == 10.0.0.1  &&  sctp", Some(Family::Ip4), 132),
        ("icmp4", Some(Family::Ip4), 1),
        ("icmp6.type==128", Some(Family::Ip6), 58),
        ("ip.proto==58", Some(Family::Ip6), 58),
        ("ip.proto==58 && ip4", Some(Family::Ip4), 58),
        ("nd.target==fd00::1", Some(Family::Ip6), 58),
        ("ip.proto==6 && tcp.dst==1", Some(Family::Ip4), 6),
        ("eth.type==0x86dd && udp.dst==1", Some(Family::Ip6), 17),
    ] {
        let probe = good(text);
        assert_eq!((probe.family(), probe.protocol()), (family, protocol), "{text}");
    }
}

#[test]
fn other_names_mean_the_same_field() {
    let probe = good("ip4.src==10.0.0.1 && ip.src==10.0.0.1 && ip4.ttl==0x10");
    assert_eq!(probe.address("ip.src"), Some([10, 0, 0, 1].into()));
    assert_eq!(probe.number("ip.ttl"), Some(16));
}

#[test]
fn mistakes_are_one_line_that_says_what_to_write() {
    for (text, message) in [
        ("", "a term is missing; write field==value, with && between two of them"),
        ("ip4 &&", "a term is missing; write field==value, with && between two of them"),
        (
            "ip4.src=10.0.0.1",
            "\"ip4.src=10.0.0.1\" is no term; write field==value, with && between two of them",
        ),
        ("ip.ttl<=2", "\"ip.ttl<=2\" is no term; write field==value, with && between two of them"),
        ("tcp || udp", "\"tcp || udp\" is no term; write field==value, with && between two of them"),
        ("udp.dst", "udp.dst wants a value: write udp.dst==VALUE"),
        ("tcp==1", "tcp takes no value, not \"1\""),
        ("udp.dst==65536", "udp.dst takes a number from 0 to 65535, decimal or as 0x1f, not \"65536\""),
        ("eth.src==2", "eth.src takes a MAC address as 02:00:00:00:00:01, not \"2\""),
        ("ip4.src==fd00::1", "ip4.src takes an IPv4 address as 10.0.0.1, not \"fd00::1\""),
        ("ip.frag==last", "ip.frag takes one of no, first, later, not \"last\""),
        (
            "tcp.flags==sin",
            "tcp.flags takes some of fin, syn, rst, psh, ack, urg, with | between them, or a number up to 0x3f, not \"sin\"",
        ),
        ("ip4.ttl==1 && ip.ttl==2", "ip.ttl is given twice, with different values; give it once"),
        ("ip.malformed", "ip.malformed cannot be made up; give a captured frame by --hex or --pcap"),
    ] {
        assert_eq!(Probe::parse(text).unwrap_err().to_string(), message, "{text:?}");
    }
    let unknown = Probe::parse("ipv4.src==10.0.0.1").unwrap_err().to_string();
    assert!(unknown.starts_with("unknown field \"ipv4.src\"; there are eth.src, eth.dst, "), "{unknown}");
    for field in FIELDS {
        assert!(unknown.contains(field.name), "{}", field.name);
    }
    let long = vec!["ip4"; 2000].join("&&");
    assert!(
        Probe::parse(&long).unwrap_err().to_string().starts_with("the expression is longer than 4096 bytes")
    );
}

#[test]
fn no_frame_is_two_things_at_once() {
    for (one, other) in [
        ("tcp.dst==1", "udp.dst==1"),
        ("ip.proto==17", "tcp"),
        ("tcp", "ip4.proto==17"),
        ("ip4", "ip6.dst==fd00::1"),
        ("ip.src==10.0.0.1", "ip.dst==fd00::1"),
        ("arp", "ip.ttl==1"),
        ("ip.ttl==1", "arp"),
        ("arp", "udp.dst==1"),
        ("icmp4", "ip6"),
        ("eth.type==0x0806", "ip4"),
        ("eth.type==0x0800", "ip6"),
    ] {
        let message = Probe::parse(&format!("{one} && {other}")).unwrap_err().to_string();
        let wanted =
            format!("{one} and {other} contradict each other: no frame is both; leave one of them out");
        assert_eq!(message, wanted);
    }
    for (text, named) in [
        ("eth.type==0x88b5 && ip4", "ip4 and eth.type"),
        ("ip.frag==later && tcp.dst==1", "tcp.dst and ip.frag==later"),
        ("vlan.tci==0x2005 && vlan.id==6", "vlan.tci and vlan.id"),
        ("vlan.tci==0x2005 && vlan.pcp==2", "vlan.tci and vlan.pcp"),
    ] {
        let message = Probe::parse(text).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{named} contradict each other")), "{text}: {message}");
    }
    good("vlan.tci==0x2005 && vlan.id==5 && vlan.pcp==1");
    good("ip.frag==later && tcp");
}

#[test]
fn only_open_fields_are_chosen() {
    let mut probe = good("ip.ttl==3");
    assert!(!probe.choose("ip.ttl", Value::Number(9)));
    assert!(probe.choose("len", Value::Number(99)));
    assert_eq!((probe.number("ip.ttl"), probe.number("len")), (Some(3), Some(99)));
}
