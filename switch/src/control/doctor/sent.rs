//! What a packet from one to the other is, as an expression for `trace`.

use std::net::IpAddr;

use super::Who;
use crate::control::flows::words;
use crate::control::trace::fields::LONGEST;

/// Bytes of an Ethernet header.
pub(super) const ETHERNET: u32 = 14;

/// How large the packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// As small as may be.
    Small,
    /// An IP packet of so many bytes.
    Packet(u32),
}

/// What is sent, as an expression without addresses: of `icmp`, `tcp PORT`, `udp PORT`.
///
/// # Errors
/// In words, what it is to be.
pub(super) fn flow(said: &str) -> Result<String, String> {
    let wrong = || format!("{said:?} is nothing that can be sent; write icmp, tcp PORT or udp PORT");
    let mut words = said.split([' ', '/']).filter(|word| !word.is_empty());
    let flow = match (words.next(), words.next()) {
        (None | Some("icmp"), None) => "icmp".to_owned(),
        (Some(protocol @ ("tcp" | "udp")), Some(port)) => {
            let port: u16 = port.parse().map_err(|_| wrong())?;
            format!("{protocol}.dst=={port}")
        }
        _ => return Err(wrong()),
    };
    if words.next().is_some() { Err(wrong()) } else { Ok(flow) }
}

/// The frame that `from` sends to `to`, as an expression for `trace`; `None` when nothing is known that it could be addressed to.
pub(super) fn expression(from: &Who, to: &Who, flow: &str, size: Size) -> Option<String> {
    let mut terms: Vec<String> = from.tag.iter().map(|vid| format!("vlan.id=={vid}")).collect();
    let v6 = to.address.or(from.address).is_some_and(|address| address.is_ipv6());
    let family = if v6 { "ip6" } else { "ip4" };
    if let Some(address) = from.address.filter(|address| address.is_ipv6() == v6) {
        terms.push(format!("{family}.src=={address}"));
    }
    match (to.address, to.mac) {
        (Some(address), _) => terms.push(format!("{family}.dst=={address}")),
        (None, Some(mac)) => terms.push(format!("eth.dst=={}", words::mac(mac))),
        (None, None) => return None,
    }
    if from.address.is_none()
        && let Some(mac) = from.mac
    {
        terms.push(format!("eth.src=={}", words::mac(mac)));
    }
    match (flow, v6) {
        ("icmp", false) => terms.push("icmp4".to_owned()),
        ("icmp", true) => terms.push("icmp6".to_owned()),
        (flow, _) => terms.extend([family.to_owned(), flow.to_owned()]),
    }
    if let Size::Packet(bytes) = size {
        let tag = if from.tag.is_some() { 4 } else { 0 };
        terms.push(format!("len=={}", (bytes + ETHERNET + tag).min(LONGEST.into())));
    }
    Some(terms.join(" && "))
}

/// The question of `from` who has the address of `to`, which nobody has said to have.
pub(super) fn question(from: &Who, to: &Who) -> Option<String> {
    let mut terms: Vec<String> = from.tag.iter().map(|vid| format!("vlan.id=={vid}")).collect();
    match to.address? {
        IpAddr::V4(target) => {
            terms.extend(["arp".to_owned(), format!("arp.tpa=={target}")]);
            let source = from.address.filter(IpAddr::is_ipv4);
            terms.extend(source.map(|source| format!("arp.spa=={source}")));
        }
        IpAddr::V6(target) => {
            let [.., a, b, c] = target.octets();
            terms.extend([
                format!("nd.target=={target}"),
                format!("ip6.dst==ff02::1:ff{a:02x}:{b:02x}{c:02x}"),
            ]);
            let source = from.address.filter(IpAddr::is_ipv6);
            terms.extend(source.map(|source| format!("ip6.src=={source}")));
        }
    }
    Some(terms.join(" && "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::trace::expression::Probe;

    #[test]
    fn what_is_sent_is_said_in_two_words() {
        assert_eq!(flow("").unwrap(), "icmp");
        assert_eq!(flow("tcp 80").unwrap(), "tcp.dst==80");
        assert_eq!(flow("udp/53").unwrap(), "udp.dst==53");
        for wrong in ["tcp", "tcp 70000", "sctp 1", "icmp 3", "tcp 80 81"] {
            assert!(flow(wrong).unwrap_err().contains("tcp PORT"), "{wrong}");
        }
    }

    #[test]
    fn a_pair_becomes_an_expression_that_trace_takes() {
        let who = |address: Option<&str>, tag| Who {
            said: "x".into(),
            port: None,
            tag,
            address: address.map(|address| address.parse().unwrap()),
            mac: Some(crate::wire::ethernet::Mac(2)),
        };
        let pairs = [
            (who(Some("10.0.0.1"), None), who(Some("10.0.0.2"), None)),
            (who(Some("fd00::1"), Some(100)), who(Some("fd00::2"), None)),
            (who(None, Some(5)), who(Some("10.0.0.2"), None)),
            (who(None, None), who(None, None)),
        ];
        for (from, to) in &pairs {
            for flow in ["icmp", "tcp.dst==80", "udp.dst==53"] {
                for size in [Size::Small, Size::Packet(1500), Size::Packet(65_535)] {
                    let text = expression(from, to, flow, size).unwrap();
                    Probe::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
                }
            }
            if let Some(text) = question(from, to) {
                Probe::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            }
        }
        let mut nobody = who(None, None);
        nobody.mac = None;
        assert_eq!(expression(&pairs[0].0, &nobody, "icmp", Size::Small), None);
    }
}
