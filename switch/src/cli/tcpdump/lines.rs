//! A captured frame as one line, as tcpdump writes it: time (UTC), port, direction, addresses, what it is.

use std::fmt::Write as _;

use etherparse::{Icmpv4Type, Icmpv6Type, TransportHeader};
use shunt_config::MacAddr;

use crate::control::api::proto::{CapturePoint, CapturedFrame};
use crate::control::capture::headers::{Arp, Headers};
use crate::wire::ethernet;

/// How lines look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// With the Ethernet header (`-e`).
    pub link: bool,
}

/// The line of a frame.
pub fn line(frame: &CapturedFrame, style: Style) -> String {
    let headers = Headers::of(&frame.data, frame.length);
    let mut line = time(frame.time_ns);
    let way = match frame.point() {
        CapturePoint::Ingress => "In ".to_owned(),
        CapturePoint::Egress => "Out".to_owned(),
        CapturePoint::Drop => format!("Drop({})", frame.reason),
    };
    // Writing to a string does not fail.
    let _ = write!(line, " {} {way} ", frame.port);
    if style.link {
        line.push_str(&link(&headers));
    }
    line.push_str(&what(&headers));
    line
}

/// A frame as a JSON object on one line: where and when it was seen, its length, its first bytes in hexadecimal digits, and what
/// [`line()`] says of it.
pub fn json(frame: &CapturedFrame) -> String {
    let way = match frame.point() {
        CapturePoint::Ingress => "in",
        CapturePoint::Egress => "out",
        CapturePoint::Drop => "drop",
    };
    let data = frame.data.iter().fold(String::with_capacity(2 * frame.data.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    serde_json::json!({
        "time_ns": frame.time_ns,
        "port": frame.port,
        "way": way,
        "reason": (!frame.reason.is_empty()).then_some(&frame.reason),
        "length": frame.length,
        "data": data,
        "text": what(&Headers::of(&frame.data, frame.length)),
    })
    .to_string()
}

fn time(nanoseconds: u64) -> String {
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:06}", seconds % 60, rest / 1000)
}

fn link(headers: &Headers) -> String {
    let (destination, source) = headers.macs;
    let mut text = format!("{} > {}, ", MacAddr(source), MacAddr(destination));
    for vid in &headers.vlans {
        let _ = write!(text, "vlan {vid}, ");
    }
    let name = match headers.ethertype {
        ethernet::IPV4 => "IPv4",
        ethernet::IPV6 => "IPv6",
        ethernet::ARP => "ARP",
        _ => "Unknown",
    };
    let _ = write!(text, "ethertype {name} ({:#06x}), length {}: ", headers.ethertype, headers.length);
    text
}

fn what(headers: &Headers) -> String {
    if let Some(arp) = &headers.arp {
        return of_arp(arp, headers);
    }
    let Some((source, destination)) = headers.addresses else {
        return format!("ethertype {:#06x}, length {}", headers.ethertype, headers.length);
    };
    let family = if source.is_ipv4() { "IP" } else { "IP6" };
    let (from, to) = match headers.ports {
        Some((from, to)) => (format!(".{from}"), format!(".{to}")),
        None => (String::new(), String::new()),
    };
    let mut text = format!("{family} {source}{from} > {destination}{to}: ");
    if let Some((offset, more)) = headers.fragment {
        let _ = write!(text, "frag ({offset}{}) ", if more { "+" } else { "" });
    }
    text.push_str(&transport(headers));
    text
}

fn of_arp(arp: &Arp, headers: &Headers) -> String {
    let length = headers.length.saturating_sub(14);
    let (sender, target) = (arp.sender, arp.target);
    match arp.operation {
        1 => format!("ARP, Request who-has {target} tell {sender}, length {length}"),
        2 => format!("ARP, Reply {sender} is-at {}, length {length}", MacAddr(arp.sender_mac)),
        other => format!("ARP, operation {other}, length {length}"),
    }
}

fn transport(headers: &Headers) -> String {
    let length = headers.payload;
    match &headers.transport {
        Some(TransportHeader::Udp(_)) => format!("UDP, length {length}"),
        Some(TransportHeader::Tcp(tcp)) => {
            let set = [
                (tcp.syn, 'S'),
                (tcp.fin, 'F'),
                (tcp.rst, 'R'),
                (tcp.psh, 'P'),
                (tcp.urg, 'U'),
                (tcp.ack, '.'),
            ];
            let flags: String = set.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect();
            let ack = if tcp.ack { format!(", ack {}", tcp.acknowledgment_number) } else { String::new() };
            format!(
                "Flags [{flags}], seq {}{ack}, win {}, length {length}",
                tcp.sequence_number, tcp.window_size
            )
        }
        Some(TransportHeader::Icmpv4(header)) => {
            let length = length + header.header_len() as u32;
            match &header.icmp_type {
                Icmpv4Type::EchoRequest(echo) => {
                    format!("ICMP echo request, id {}, seq {}, length {length}", echo.id, echo.seq)
                }
                Icmpv4Type::EchoReply(echo) => {
                    format!("ICMP echo reply, id {}, seq {}, length {length}", echo.id, echo.seq)
                }
                _ => of_icmp("ICMP", &header.to_bytes(), length),
            }
        }
        Some(TransportHeader::Icmpv6(header)) => {
            let length = length + header.header_len() as u32;
            match &header.icmp_type {
                Icmpv6Type::EchoRequest(echo) => {
                    format!("ICMP6, echo request, id {}, seq {}, length {length}", echo.id, echo.seq)
                }
                Icmpv6Type::EchoReply(echo) => {
                    format!("ICMP6, echo reply, id {}, seq {}, length {length}", echo.id, echo.seq)
                }
                _ => of_icmp("ICMP6,", &header.to_bytes(), length),
            }
        }
        _ => match headers.protocol {
            Some(protocol) => format!("ip-proto-{protocol}, length {length}"),
            None => format!("length {length}"),
        },
    }
}

/// The messages that people look for, by type and code (RFC 792, RFC 4443, RFC 4861).
fn of_icmp(name: &str, bytes: &[u8], length: u32) -> String {
    let [kind, code, ..] = bytes else { return format!("{name} length {length}") };
    let words = match (name, kind, code) {
        ("ICMP", 3, 0) => "net unreachable".to_owned(),
        ("ICMP", 3, 1) => "host unreachable".to_owned(),
        ("ICMP", 3, 3) => "port unreachable".to_owned(),
        ("ICMP", 3, 4) => "unreachable - need to frag".to_owned(),
        ("ICMP", 3, 9 | 10 | 13) => "admin prohibited".to_owned(),
        ("ICMP", 11, 0) | ("ICMP6,", 3, 0) => "time exceeded in-transit".to_owned(),
        ("ICMP6,", 1, _) => "destination unreachable".to_owned(),
        ("ICMP6,", 2, _) => "packet too big".to_owned(),
        ("ICMP6,", 133, _) => "router solicitation".to_owned(),
        ("ICMP6,", 134, _) => "router advertisement".to_owned(),
        ("ICMP6,", 135, _) => "neighbor solicitation".to_owned(),
        ("ICMP6,", 136, _) => "neighbor advertisement".to_owned(),
        _ => format!("type-#{kind} code {code}"),
    };
    format!("{name} {words}, length {length}")
}
