//! Ranges of addresses and ports against the prefixes and lists that they are made of.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use shunt_config::IpNet;

use super::*;

fn asked(peer: IpAddr, protocol: u8, port: Option<u16>) -> Asked<'static> {
    Asked { peer, peer_identity: None, receiver: None, protocol, port }
}

fn net(bits: u32, len: u8) -> IpNet {
    IpNet::new(Ipv4Addr::from_bits(bits).into(), len).unwrap().trunc()
}

proptest! {
    #[test]
    fn blocks_are_their_prefixes_without_the_holes(
        blocks in prop::collection::vec(
            (any::<u8>(), 24_u8..=32, prop::collection::vec((any::<u8>(), 24_u8..=32), 0..4)), 0..4),
        last in any::<u8>(),
    ) {
        // All in 10.0.0.0/24, so that they meet.
        let blocks: Vec<(IpNet, Vec<IpNet>)> = blocks
            .into_iter()
            .map(|(last, len, holes)| {
                let at = |last: u8, len| net(0x0a00_0000 | u32::from(last), len);
                (at(last, len), holes.into_iter().map(|(last, len)| at(last, len)).collect())
            })
            .collect();
        let peers = Peers::new(Vec::new(), blocks.iter().map(|(net, holes)| (*net, holes.as_slice())));
        let rule = Rule { action: Action::Allow, peers, ports: Ports::all() };
        let address: IpAddr = Ipv4Addr::new(10, 0, 0, last).into();
        let naive = blocks.iter().any(|(net, holes)| {
            net.contains(&address) && !holes.iter().any(|hole| hole.contains(&address))
        });
        prop_assert_eq!(rule.fits(&asked(address, 6, Some(80))), naive);
    }

    #[test]
    fn ports_are_their_ranges(
        ranges in prop::collection::vec((prop::sample::select(vec![6_u8, 17]), 0_u16..40, 0_u16..8), 0..6),
        protocol in prop::sample::select(vec![1_u8, 6, 17]),
        port in 0_u16..50,
    ) {
        let ranges: Vec<_> = ranges.into_iter().map(|(protocol, low, more)| (protocol, low, low + more)).collect();
        let ports = Ports::new(ranges.clone(), Vec::new());
        let rule = Rule { action: Action::Allow, peers: Peers::everybody(), ports };
        let naive = ranges.iter().any(|(known, low, high)| *known == protocol && (*low..=*high).contains(&port));
        let peer = Ipv4Addr::LOCALHOST.into();
        prop_assert_eq!(rule.fits(&asked(peer, protocol, Some(port))), naive);
        prop_assert!(!rule.fits(&asked(peer, protocol, None)), "no range here is all of a protocol");
    }
}

#[test]
fn the_ends_of_all_addresses_and_ports_are_in() {
    let everything: Vec<IpNet> = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    let peers = Peers::new(Vec::new(), everything.iter().map(|net| (*net, &[][..])));
    let rule = |ports| Rule { action: Action::Allow, peers: peers.clone(), ports };
    for address in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
        for port in [0, 1, u16::MAX] {
            let asked = asked(address.parse().unwrap(), 6, Some(port));
            assert!(rule(Ports::new(vec![(6, 0, u16::MAX)], Vec::new())).fits(&asked), "{address} {port}");
            assert!(rule(Ports::new(vec![(6, 0, 9), (6, 10, u16::MAX)], Vec::new())).fits(&asked));
            assert!(!rule(Ports::new(vec![(17, 0, u16::MAX)], Vec::new())).fits(&asked));
        }
    }
    let whole = rule(Ports::new(vec![(6, 0, u16::MAX)], Vec::new()));
    assert!(
        whole.fits(&asked(Ipv4Addr::LOCALHOST.into(), 6, None)),
        "a fragment of a protocol that is allowed"
    );
}
