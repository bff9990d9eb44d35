//! The headers of a captured frame that filters and lines ask for, read by `etherparse`: by other code than what forwards.

use std::net::IpAddr;

use etherparse::{LaxPacketHeaders, LinkExtHeader, LinkHeader, NetHeaders, TransportHeader};

/// ARP, as the addresses it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Operation: 1 asks, 2 answers (RFC 826).
    pub operation: u16,
    /// Sender's MAC address.
    pub sender_mac: [u8; 6],
    /// Sender's address.
    pub sender: IpAddr,
    /// Target's address.
    pub target: IpAddr,
}

/// What is known of a frame; fields behind a header that is cut off or not sound are absent.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// Length on the wire, bytes.
    pub length: u32,
    /// Destination and source.
    pub macs: ([u8; 6], [u8; 6]),
    /// VLAN identifiers, the outer first.
    pub vlans: Vec<u16>,
    /// EtherType behind the tags.
    pub ethertype: u16,
    /// Source and destination address.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Protocol behind IP and its extension headers.
    pub protocol: Option<u8>,
    /// Offset of a fragment in bytes, and whether more follow.
    pub fragment: Option<(u32, bool)>,
    /// Source and destination port.
    pub ports: Option<(u16, u16)>,
    /// ARP for IPv4.
    pub arp: Option<Arp>,
    /// The transport header.
    pub transport: Option<TransportHeader>,
    /// Bytes behind the transport header, or behind the last header there is.
    pub payload: u32,
}

impl Headers {
    /// Reads the headers in `bytes`, the beginning of a frame of `length` bytes.
    pub fn of(bytes: &[u8], length: u32) -> Self {
        let mut headers = Self { length, ..Self::default() };
        let Ok(found) = LaxPacketHeaders::from_ethernet(bytes) else { return headers };
        if let Some(LinkHeader::Ethernet2(link)) = &found.link {
            headers.macs = (link.destination, link.source);
            headers.ethertype = link.ether_type.0;
        }
        for extension in &found.link_exts {
            if let LinkExtHeader::Vlan(tag) = extension {
                headers.vlans.push(tag.vlan_id.value());
                headers.ethertype = tag.ether_type.0;
            }
        }
        let mut payload = 0;
        match &found.net {
            Some(NetHeaders::Ipv4(header, _)) => {
                headers.addresses = Some((header.source.into(), header.destination.into()));
                (headers.ttl, headers.protocol) = (header.time_to_live, Some(header.protocol.0));
                if header.is_fragmenting_payload() {
                    let offset = u32::from(header.fragment_offset.value()) * 8;
                    headers.fragment = Some((offset, header.more_fragments));
                }
                payload = u32::from(header.total_len).saturating_sub(header.header_len() as u32);
            }
            Some(NetHeaders::Ipv6(header, extensions)) => {
                let (source, destination) = (header.source_addr(), header.destination_addr());
                headers.addresses = Some((source.into(), destination.into()));
                let last = extensions.next_header(header.next_header).unwrap_or(header.next_header);
                (headers.ttl, headers.protocol) = (header.hop_limit, Some(last.0));
                headers.fragment = extensions
                    .fragment
                    .as_ref()
                    .map(|it| (u32::from(it.fragment_offset.value()) * 8, it.more_fragments));
                payload = u32::from(header.payload_length);
            }
            Some(NetHeaders::Arp(message)) => {
                headers.arp = message.try_eth_ipv4().ok().map(|arp| Arp {
                    operation: message.operation.0,
                    sender_mac: arp.sender_mac,
                    sender: arp.sender_ipv4_addr().into(),
                    target: arp.target_ipv4_addr().into(),
                });
            }
            None => {}
        }
        headers.ports = match &found.transport {
            Some(TransportHeader::Udp(header)) => Some((header.source_port, header.destination_port)),
            Some(TransportHeader::Tcp(header)) => Some((header.source_port, header.destination_port)),
            _ => None,
        };
        let transport = found.transport.as_ref().map_or(0, |header| header.header_len() as u32);
        headers.payload = payload.saturating_sub(transport);
        headers.transport = found.transport;
        headers
    }
}
