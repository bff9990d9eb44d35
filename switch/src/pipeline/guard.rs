//! Part of table 0: what no pod sends, whatever its addresses: control protocols of links and routers, in which only the
//! infrastructure has a say, and packets with addresses that nobody has (martians). Reads the key; writes nothing.
//!
//! A port is guarded unless it is `trusted`: by default where its senders are held against its endpoints ([`super::spoof`]).
//! Cost: some comparisons on the slow path; the frames of a guarded port are told apart by their ports.

use std::net::{IpAddr, Ipv4Addr};

use crate::drop::DropReason;
use crate::flow::FlowKey;
use crate::flow::key::{Fragment, L3, L4};
use crate::wire::ethernet::Mac;
use crate::wire::protocol::{ICMP, ICMPV6, UDP};

/// The addresses that no bridge forwards to (IEEE 802.1Q table 8-1): spanning tree, pause, LACP, 802.1X, LLDP and others.
const RESERVED: u64 = Mac::from_bytes([0x01, 0x80, 0xc2, 0, 0, 0]).0;
/// They are the last four bits of the last byte apart.
const RESERVED_MASK: u64 = !Mac::from_bytes([0, 0, 0, 0, 0, 0xf]).0;
/// EtherTypes: slow protocols (LACP, IEEE 802.3 annex 57A), 802.1X, LLDP.
const LINK_CONTROL: [u16; 3] = [0x8809, 0x888e, 0x88cc];
/// BFD: control, echo (RFC 5881 section 4), multihop (RFC 5883 section 5).
const BFD: [u16; 3] = [3784, 3785, 4784];
/// Ports of DHCP and DHCPv6 servers, and of clients (RFC 2131 section 4.1, RFC 8415 section 7.2).
const DHCP_SERVERS: [u16; 2] = [67, 547];
const DHCP_CLIENTS: [u16; 2] = [68, 546];
/// ICMP redirect (RFC 792), router advertisement and redirect (RFC 4861 section 4).
const REDIRECT_V4: u16 = 5;
const ROUTER_ADVERTISEMENT: u16 = 134;
const REDIRECT_V6: u16 = 137;

/// True for the addresses that no bridge forwards to, whatever port it is (IEEE 802.1Q clause 8.6.3).
#[inline]
pub fn is_link_local(address: Mac) -> bool {
    address.0 & RESERVED_MASK == RESERVED
}

/// Admits what a pod may send.
pub fn check(key: &FlowKey) -> Result<(), DropReason> {
    if is_link_local(key.dst()) || LINK_CONTROL.contains(&key.ethertype()) {
        return Err(DropReason::LinkControl);
    }
    let Some((source, destination)) = key.addresses() else { return Ok(()) };
    if nobody_sends_from(source) || destination.is_loopback() {
        return Err(DropReason::Martian);
    }
    let marks = key.marks();
    // What the message is must be in the first fragment: what hides it there gets past who looks for it (RFC 7113).
    if marks.fragment == Fragment::First && marks.l4 == L4::Malformed {
        return Err(DropReason::FragmentTiny);
    }
    if marks.l4 != L4::Known {
        return Ok(());
    }
    let ports = key.ports();
    let kind = ports.0 >> 8;
    match (key.protocol(), marks.l3) {
        (UDP, _) if BFD.contains(&ports.1) => Err(DropReason::PodBfd),
        (UDP, _) if DHCP_SERVERS.contains(&ports.0) || DHCP_CLIENTS.contains(&ports.1) => {
            Err(DropReason::PodDhcpServer)
        }
        (ICMPV6, L3::Ipv6) if kind == ROUTER_ADVERTISEMENT => Err(DropReason::PodRouterAdvertisement),
        (ICMPV6, L3::Ipv6) if kind == REDIRECT_V6 => Err(DropReason::PodRedirect),
        (ICMP, L3::Ipv4) if kind == REDIRECT_V4 => Err(DropReason::PodRedirect),
        _ => Ok(()),
    }
}

/// Addresses that are nobody's source (RFC 1812 section 5.3.7, RFC 6890 section 2.2): "this network" but for the address of who has
/// none yet, loopback, groups, class E with the limited broadcast; of IPv6 also those that stand for IPv4 ones.
fn nobody_sends_from(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(v4) => v4 != Ipv4Addr::UNSPECIFIED && matches!(v4.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_multicast() || v6.to_ipv4_mapped().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::key::{Depth, Marks};
    use crate::ids::PortId;

    fn frame(dst: Mac, ethertype: u16) -> FlowKey {
        FlowKey::ethernet(PortId::FIRST, dst, Mac(0x0200_0000_0001), ethertype)
    }

    /// A packet between `addresses`, with these ports.
    fn packet(addresses: [&str; 2], protocol: u8, ports: (u16, u16)) -> FlowKey {
        let mut key = frame(Mac(0x0200_0000_0002), 0x0800);
        let [source, destination] = addresses.map(|text| text.parse::<IpAddr>().unwrap());
        let l3 = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                key.set_ipv4(source.to_bits(), destination.to_bits());
                L3::Ipv4
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                key.set_ipv6(source.octets(), destination.octets());
                L3::Ipv6
            }
            _ => panic!("two families"),
        };
        key.set_facts(protocol, 0, Marks { depth: Depth::Transport, l3, l4: L4::Known, ..Marks::default() });
        key.set_ports(ports.0, ports.1);
        key
    }

    const V4: [&str; 2] = ["10.0.0.1", "10.0.0.2"];
    const V6: [&str; 2] = ["fe80::1", "fd00::2"];

    #[test]
    fn frames_of_links_are_refused() {
        for last in 0..16 {
            let group = Mac::from_bytes([0x01, 0x80, 0xc2, 0, 0, last]);
            assert_eq!(
                check(&frame(group, 38)),
                Err(DropReason::LinkControl),
                "{last}: a BPDU has a length there"
            );
        }
        assert_eq!(check(&frame(Mac(1 << 40), 0x88cc)), Err(DropReason::LinkControl));
        for fine in [[0x01, 0x80, 0xc2, 0, 0, 0x10], [0x01, 0x00, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
            assert_eq!(check(&frame(Mac::from_bytes(fine), 0x88b5)), Ok(()));
        }
    }

    #[test]
    fn protocols_of_routers_and_servers_are_refused_and_their_clients_not() {
        let cases = [
            (packet(V4, UDP, (50_000, 3784)), Err(DropReason::PodBfd)),
            (packet(V4, UDP, (50_000, 3785)), Err(DropReason::PodBfd)),
            (packet(V6, UDP, (50_000, 4784)), Err(DropReason::PodBfd)),
            (packet(V4, UDP, (67, 68)), Err(DropReason::PodDhcpServer)),
            (packet(V4, UDP, (9999, 68)), Err(DropReason::PodDhcpServer)),
            (packet(V6, UDP, (547, 546)), Err(DropReason::PodDhcpServer)),
            (packet(["0.0.0.0", "255.255.255.255"], UDP, (68, 67)), Ok(())),
            (packet(V6, UDP, (546, 547)), Ok(())),
            (packet(V6, ICMPV6, (134 << 8, 0)), Err(DropReason::PodRouterAdvertisement)),
            (packet(V6, ICMPV6, (137 << 8, 0)), Err(DropReason::PodRedirect)),
            (packet(V4, ICMP, (5 << 8 | 1, 0)), Err(DropReason::PodRedirect)),
            // Solicitations, neighbour discovery, errors, TCP with the same numbers.
            (packet(V6, ICMPV6, (133 << 8, 0)), Ok(())),
            (packet(V6, ICMPV6, (136 << 8, 0)), Ok(())),
            (packet(V4, ICMP, (3 << 8, 0)), Ok(())),
            (packet(V4, 6, (67, 3784)), Ok(())),
        ];
        for (key, wanted) in cases {
            assert_eq!(check(&key), wanted, "{key:?}");
        }
    }

    #[test]
    fn addresses_that_nobody_has_are_refused() {
        for (source, destination) in [
            ("127.0.0.1", "10.0.0.2"),
            ("10.0.0.1", "127.0.0.1"),
            ("0.1.2.3", "10.0.0.2"),
            ("224.0.0.5", "10.0.0.2"),
            ("240.0.0.1", "10.0.0.2"),
            ("255.255.255.255", "10.0.0.2"),
            ("::1", "fd00::2"),
            ("fd00::1", "::1"),
            ("ff02::1", "fd00::2"),
            ("::ffff:10.0.0.1", "fd00::2"),
        ] {
            let key = packet([source, destination], UDP, (1, 2));
            assert_eq!(check(&key), Err(DropReason::Martian), "{source} to {destination}");
        }
        for (source, destination) in [("0.0.0.0", "224.0.0.22"), ("::", "ff02::1:ff00:1")] {
            assert_eq!(check(&packet([source, destination], UDP, (1, 2))), Ok(()));
        }
    }

    #[test]
    fn a_first_fragment_that_hides_its_message_is_refused() {
        let mut key = packet(V6, ICMPV6, (0, 0));
        let marks = Marks { fragment: Fragment::First, l4: L4::Malformed, ..key.marks() };
        key.set_facts(ICMPV6, 0, marks);
        assert_eq!(check(&key), Err(DropReason::FragmentTiny));
    }
}
