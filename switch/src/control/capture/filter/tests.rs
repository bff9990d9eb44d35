//! Filters over frames made by `etherparse`.

use etherparse::PacketBuilder;

use super::*;
use crate::drop::DropReason;

const ONE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn udp() -> Headers {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(ONE, OTHER)
        .single_vlan(100.try_into().unwrap())
        .ipv4([10, 0, 0, 1], [10, 0, 1, 2], 64)
        .udp(5000, 53)
        .write(&mut frame, &[0; 18])
        .unwrap();
    Headers::of(&frame, frame.len() as u32)
}

fn arp() -> Headers {
    let mut frame = [[0xff; 6], ONE].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(ONE);
    frame.extend([10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    Headers::of(&frame, 42)
}

#[track_caller]
fn takes(text: &str, headers: &Headers) -> bool {
    Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).takes(headers, Point::Ingress)
}

#[test]
fn primitives_ask_the_right_field() {
    let (udp, arp) = (udp(), arp());
    for text in [
        "",
        "udp",
        "ip",
        "port 53",
        "udp dst port 53",
        "src port 5000",
        "portrange 50-60",
        "host 10.0.0.1",
        "src host 10.0.0.1",
        "dst 10.0.1.2",
        "10.0.1.2",
        "net 10.0.0.0/23",
        "vlan",
        "vlan 100",
        "proto 17",
        "ether src 02:00:00:00:00:01",
        "ether host 02:00:00:00:00:02",
        "ether proto 0x0800",
        "less 100",
        "greater 60",
        "inbound",
    ] {
        assert!(takes(text, &udp), "{text}");
        assert!(text.is_empty() || !takes(&format!("not {text}"), &udp), "{text}");
    }
    for text in [
        "tcp",
        "ip6",
        "arp",
        "tcp port 53",
        "udp src port 53",
        "dst host 10.0.0.1",
        "net 10.1.0.0/16",
        "vlan 101",
        "icmp",
        "broadcast",
        "multicast",
        "less 20",
        "greater 1000",
        "outbound",
        "drop",
    ] {
        assert!(!takes(text, &udp), "{text}");
    }
    for text in ["arp", "broadcast", "multicast", "host 10.0.0.2", "src host 10.0.0.1", "ether proto 2054"] {
        assert!(takes(text, &arp), "{text}");
    }
    assert!(!takes("ip", &arp) && !takes("vlan", &arp));
}

#[test]
fn operators_bind_as_in_pcap() {
    let udp = udp();
    for (text, wanted) in [
        ("tcp or udp and port 53", true),
        ("tcp and port 53 or udp", true),
        ("tcp and (port 53 or udp)", false),
        ("not tcp and udp", true),
        ("!(tcp || udp)", false),
        ("not not udp && !arp", true),
    ] {
        assert_eq!(takes(text, &udp), wanted, "{text}");
    }
}

#[test]
fn drops_are_told_by_their_reason() {
    let filter = Filter::parse("drop runt or drop and udp").unwrap();
    let frame = udp();
    assert!(filter.takes(&frame, Point::Drop(DropReason::SamePort)));
    assert!(
        !filter.takes(&frame, Point::Ingress) && !filter.takes(&arp(), Point::Drop(DropReason::SamePort))
    );
    assert!(filter.takes(&arp(), Point::Drop(DropReason::Runt)));
}

#[test]
fn mistakes_say_what_to_write() {
    for (text, message) in [
        ("port", "the filter ends after \"port\"; something must follow"),
        ("port http", "port in the filter takes a port number from 0 to 65535, not \"http\""),
        ("udp tcp", "\"tcp\" in the filter has no place; join terms with and, or"),
        ("(udp", "a ) is missing in the filter"),
        ("host 10", "host in the filter takes an IP address, not \"10\""),
        ("portrange 5", "portrange in the filter takes two ports as 1000-2000, not \"5\""),
        ("ether host x", "ether in the filter takes host MAC or proto NUMBER, not \"x\""),
    ] {
        assert_eq!(Filter::parse(text).unwrap_err().to_string(), message, "{text}");
    }
    assert!(
        Filter::parse("what").unwrap_err().to_string().starts_with("\"what\" in the filter is not known")
    );
    assert!(Filter::parse(&"(".repeat(1000)).unwrap_err().to_string().contains("parentheses"));
    assert!(Filter::parse(&"x".repeat(5000)).is_err());
}
