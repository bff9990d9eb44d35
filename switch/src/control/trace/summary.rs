//! A frame's headers in one line, read by `etherparse`: by other code than what forwards, on purpose.

use etherparse::{LaxPacketHeaders, LinkExtHeader, LinkHeader, NetHeaders, TransportHeader};
use shunt_config::MacAddr;

use super::fields::FLAGS;
use crate::control::flows::words;

/// The headers of `frame`; of one that is cut off, as far as it goes.
pub fn summary(frame: &[u8]) -> String {
    let Ok(headers) = LaxPacketHeaders::from_ethernet(frame) else {
        return "shorter than an ethernet header".to_owned();
    };
    let mut parts = Vec::new();
    let mut ethertype = 0;
    if let Some(LinkHeader::Ethernet2(header)) = &headers.link {
        parts.push(format!("{} > {}", MacAddr(header.source), MacAddr(header.destination)));
        ethertype = header.ether_type.0;
    }
    for extension in &headers.link_exts {
        if let LinkExtHeader::Vlan(tag) = extension {
            parts.push(format!("vlan {} pcp {}", tag.vlan_id.value(), tag.pcp.value()));
            ethertype = tag.ether_type.0;
        }
    }
    match &headers.net {
        Some(net) => parts.extend(network(net, headers.transport.is_none())),
        None => parts.push(words::ethertype(ethertype)),
    }
    if let Some(transport) = &headers.transport {
        parts.push(layer4(transport));
    }
    if let Some((error, _)) = &headers.stop_err {
        parts.push(format!("not sound: {error}"));
    }
    parts.join(", ")
}

/// The network layer; with the protocol's number when there is no transport header to name.
fn network(net: &NetHeaders, bare: bool) -> Vec<String> {
    let mut parts = Vec::new();
    let protocol = |protocol: u8| bare.then(|| format!("protocol {protocol}"));
    match net {
        NetHeaders::Ipv4(header, _) => {
            let (source, destination) =
                (std::net::Ipv4Addr::from(header.source), std::net::Ipv4Addr::from(header.destination));
            parts.push(format!("ipv4 {source} > {destination} ttl {}", header.time_to_live));
            if header.is_fragmenting_payload() {
                let offset = u32::from(header.fragment_offset.value()) * 8;
                parts.push(format!("fragment at {offset}"));
            }
            parts.extend(protocol(header.protocol.0));
        }
        NetHeaders::Ipv6(header, extensions) => {
            parts.push(format!(
                "ipv6 {} > {} ttl {}",
                header.source_addr(),
                header.destination_addr(),
                header.hop_limit
            ));
            if let Some(fragment) = &extensions.fragment {
                parts.push(format!("fragment at {}", u32::from(fragment.fragment_offset.value()) * 8));
            }
            let last = extensions.next_header(header.next_header).unwrap_or(header.next_header);
            parts.extend(protocol(last.0));
        }
        NetHeaders::Arp(message) => {
            let kind = match message.operation.0 {
                1 => "request".to_owned(),
                2 => "reply".to_owned(),
                other => format!("operation {other}"),
            };
            match message.try_eth_ipv4() {
                Ok(arp) => parts.push(format!(
                    "arp {kind}, {} at {} to {}",
                    arp.sender_ipv4_addr(),
                    MacAddr(arp.sender_mac),
                    arp.target_ipv4_addr()
                )),
                Err(_) => parts.push(format!("arp {kind}")),
            }
        }
    }
    parts
}

fn layer4(transport: &TransportHeader) -> String {
    match transport {
        TransportHeader::Udp(header) => format!("udp {} > {}", header.source_port, header.destination_port),
        TransportHeader::Tcp(header) => {
            let set = [header.fin, header.syn, header.rst, header.psh, header.ack, header.urg];
            let flags: Vec<&str> =
                FLAGS.iter().zip(set).filter(|(_, set)| *set).map(|(flag, _)| *flag).collect();
            format!("tcp {} > {} {}", header.source_port, header.destination_port, flags.join("|"))
        }
        TransportHeader::Icmpv4(header) => icmp("icmp4", &header.to_bytes()),
        TransportHeader::Icmpv6(header) => icmp("icmp6", &header.to_bytes()),
        TransportHeader::Igmp(_) => "igmp".to_owned(),
    }
}

/// Type and code: the first two bytes of either.
fn icmp(name: &str, bytes: &[u8]) -> String {
    match bytes {
        [kind, code, ..] => format!("{name} type {kind} code {code}"),
        _ => name.to_owned(),
    }
}
