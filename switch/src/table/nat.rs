//! Static translations of one router: floating addresses, each of which stands for one station; single ports that lead to a
//! station; the addresses that connections of a prefix leave with, and the pool for others that are masqueraded (RFC 3022 section
//! 2, RFC 4787 section 4.1).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use shunt_config::{IpNet, Router};

use crate::flow::hash::fold;
use crate::state::ports::Span;

/// What a router translates besides services. Immutable.
#[derive(Debug, PartialEq, Eq)]
pub struct Nat {
    inward: HashMap<IpAddr, IpAddr>,
    outward: HashMap<IpAddr, IpAddr>,
    pool: Box<[IpAddr]>,
    ports: Option<Span>,
    /// By protocol, address and port.
    forwards: HashMap<(u8, SocketAddr), SocketAddr>,
    /// Longest prefixes first.
    snat: Box<[(IpNet, IpAddr)]>,
}

impl Nat {
    /// That of `router`, whose configuration was checked; `None` when it has none.
    pub fn build(router: &Router) -> Option<Self> {
        let pairs = || router.floating_ips.iter().map(|floating| (floating.external, floating.internal));
        let nat = Self {
            inward: pairs().collect(),
            outward: pairs().map(|(external, internal)| (internal, external)).collect(),
            pool: router.snat_pool.clone().into(),
            ports: router.snat_ports.clone().map(Span::from),
            forwards: router
                .port_forwards
                .iter()
                .map(|it| ((it.protocol.number(), it.external), it.internal))
                .collect(),
            snat: {
                let mut rules: Vec<_> = router.static_snat.iter().map(|it| (it.source, it.address)).collect();
                rules.sort_by_key(|(source, _)| std::cmp::Reverse(source.prefix_len()));
                rules.into()
            },
        };
        (router.translates() || !nat.pool.is_empty() || nat.ports.is_some()).then_some(nat)
    }

    /// Where what is sent to `external` by `protocol` leads.
    #[inline]
    pub fn forward(&self, protocol: u8, external: SocketAddr) -> Option<SocketAddr> {
        self.forwards.get(&(protocol, external)).copied()
    }

    /// The address that connections of `source` leave with where it is `near`. Looks at each rule: they are few.
    #[inline]
    pub fn sourced(&self, source: IpAddr, near: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let rule = self.snat.iter().find(|(prefix, address)| prefix.contains(&source) && near(*address));
        rule.map(|(_, address)| *address)
    }

    /// The station that `external` stands for.
    #[inline]
    pub fn inward(&self, external: IpAddr) -> Option<IpAddr> {
        self.inward.get(&external).copied()
    }

    /// The address that stands for the station `internal`.
    #[inline]
    pub fn outward(&self, internal: IpAddr) -> Option<IpAddr> {
        self.outward.get(&internal).copied()
    }

    /// The ports that connections leave with, if they are not all the same.
    #[inline]
    pub fn ports(&self) -> Option<Span> {
        self.ports
    }

    /// True when `address` is one of the pool.
    pub fn pools(&self, address: IpAddr) -> bool {
        self.pool.contains(&address)
    }

    /// Of the pool's addresses of the family of `source` that are `near`, the one that connections of `source` leave with:
    /// always the same while it is there (rendezvous hashing). Looks at each of the pool, which is short.
    #[inline]
    pub fn pooled(&self, source: IpAddr, near: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let fits = |address: &&IpAddr| address.is_ipv4() == source.is_ipv4() && near(**address);
        self.pool.iter().filter(fits).max_by_key(|address| weight(source, **address)).copied()
    }
}

fn weight(source: IpAddr, address: IpAddr) -> u64 {
    let number = |address: IpAddr| match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ (v6.to_bits() as u64).rotate_left(32),
    };
    let mixed = fold(number(source) ^ 0x9e37_79b9_7f4a_7c15, number(address) ^ 0xbf58_476d_1ce4_e5b9);
    fold(mixed, 0x94d0_49bb_1331_11eb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shunt_config::{FloatingIp, PortForward, RouterName, ServiceProtocol, StaticSnat};

    fn nat(pool: usize) -> Nat {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let router = Router {
            name: RouterName::new("r").unwrap(),
            routes: Default::default(),
            external_ips: Vec::new(),
            floating_ips: vec![FloatingIp { external: address("192.0.2.7"), internal: address("10.0.0.7") }],
            snat_pool: (0..pool).map(|at| [192, 0, 2, 16 + at as u8].into()).collect(),
            snat_ports: None,
            port_forwards: vec![PortForward {
                protocol: ServiceProtocol::Tcp,
                external: "192.0.2.8:8080".parse().unwrap(),
                internal: "10.0.0.8:80".parse().unwrap(),
            }],
            static_snat: ["10.0.0.0/8 192.0.2.8", "10.0.3.0/24 192.0.2.9"]
                .map(|rule| rule.split_once(' ').unwrap())
                .map(|(source, address)| StaticSnat {
                    source: source.parse().unwrap(),
                    address: address.parse().unwrap(),
                })
                .into(),
            timeouts: Default::default(),
            gateway_mode: Default::default(),
            management_port: None,
        };
        Nat::build(&router).unwrap()
    }

    #[test]
    fn a_floating_address_leads_to_its_station_and_back() {
        let nat = nat(0);
        let [external, internal]: [IpAddr; 2] = [[192, 0, 2, 7].into(), [10, 0, 0, 7].into()];
        assert_eq!((nat.inward(external), nat.outward(internal)), (Some(internal), Some(external)));
        assert_eq!((nat.inward(internal), nat.outward(external)), (None, None));
    }

    #[test]
    fn a_port_leads_to_a_station_and_others_of_its_address_do_not() {
        let nat = nat(0);
        let end = |text: &str| -> SocketAddr { text.parse().unwrap() };
        assert_eq!(nat.forward(6, end("192.0.2.8:8080")), Some(end("10.0.0.8:80")));
        for (protocol, other) in [(17, "192.0.2.8:8080"), (6, "192.0.2.8:8081"), (6, "192.0.2.9:8080")] {
            assert_eq!(nat.forward(protocol, end(other)), None, "{protocol} {other}");
        }
    }

    #[test]
    fn of_prefixes_the_longest_whose_address_is_near_counts() {
        let nat = nat(0);
        let [long, short] = [9, 8].map(|last| IpAddr::from([192, 0, 2, last]));
        assert_eq!(nat.sourced([10, 0, 3, 1].into(), |_| true), Some(long));
        assert_eq!(nat.sourced([10, 0, 4, 1].into(), |_| true), Some(short));
        assert_eq!(nat.sourced([10, 0, 3, 1].into(), |address| address == short), Some(short));
        assert_eq!(nat.sourced([11, 0, 3, 1].into(), |_| true), None);
    }

    #[test]
    fn stations_spread_over_the_pool_and_stay_when_others_leave_it() {
        let (all, fewer) = (nat(4), nat(3));
        let gone = IpAddr::from([192, 0, 2, 19]);
        let mut used = HashMap::<IpAddr, usize>::new();
        for host in 0..=255 {
            let source = IpAddr::from([10, 0, 1, host]);
            let address = all.pooled(source, |_| true).unwrap();
            *used.entry(address).or_default() += 1;
            assert!(address == gone || fewer.pooled(source, |_| true) == Some(address));
        }
        assert!(used.len() == 4 && used.values().all(|stations| (32..96).contains(stations)), "{used:?}");
        assert_eq!(all.pooled("fd00::1".parse().unwrap(), |_| true), None);
        assert_eq!(all.pooled([10, 0, 1, 1].into(), |address| address == gone), Some(gone));
    }
}
