//! Static translations of one router: floating addresses, each of which stands for one station, and the pool that
//! masqueraded connections leave with (RFC 3022 section 2, RFC 4787 section 4.1).

use std::collections::HashMap;
use std::net::IpAddr;

use shunt_config::Router;

use crate::flow::hash::fold;

/// What a router translates besides services. Immutable.
#[derive(Debug, PartialEq, Eq)]
pub struct Nat {
    inward: HashMap<IpAddr, IpAddr>,
    outward: HashMap<IpAddr, IpAddr>,
    pool: Box<[IpAddr]>,
}

impl Nat {
    /// That of `router`, whose configuration was checked; `None` when it has neither.
    pub fn build(router: &Router) -> Option<Self> {
        let pairs = || router.floating_ips.iter().map(|floating| (floating.external, floating.internal));
        let nat = Self {
            inward: pairs().collect(),
            outward: pairs().map(|(external, internal)| (internal, external)).collect(),
            pool: router.snat_pool.clone().into(),
        };
        (!nat.inward.is_empty() || !nat.pool.is_empty()).then_some(nat)
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

    /// Of the pool's addresses of the family of `source` that are `near`, the one that connections of `source` leave with:
    /// always the same while it is there (rendezvous hashing). Looks at each of the pool, which is short.
    #[inline]
    pub fn pooled(&self, source: IpAddr, near: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let fits = |address: &&IpAddr| address.is_ipv4() == source.is_ipv4() && near(**address);
        self.pool.iter().filter(fits).max_by_key(|address| weight(source, **address)).copied()
    }

    /// Whether any address stands for a station.
    pub fn has_floating(&self) -> bool {
        !self.inward.is_empty()
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
    use shunt_config::{FloatingIp, RouterName};

    fn nat(pool: usize) -> Nat {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let router = Router {
            name: RouterName::new("r").unwrap(),
            routes: Default::default(),
            external_ips: Vec::new(),
            floating_ips: vec![FloatingIp { external: address("192.0.2.7"), internal: address("10.0.0.7") }],
            snat_pool: (0..pool).map(|at| [192, 0, 2, 16 + at as u8].into()).collect(),
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
