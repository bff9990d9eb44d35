//! The neighbours of one network on the control side: what ARP and ND taught, with its age, and what configuration gives;
//! together they become the next [`NeighborTable`].
//!
//! A learned neighbour goes when ARP or ND has not confirmed it for the network's `neighbor_ageing`, or when its station
//! goes from the MAC table. Forwarded packets do not confirm it: they say that it sends, not that it still has the address.
//! One that packets are routed to is asked before that, by itself (RFC 4861 section 7.3.3, `probe`), so that it need not be
//! looked for again while it is in use.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use shunt_config::{Network, NetworkName};

use super::domains::Domains;
use super::ports::Ports;
use crate::table::neighbor::{Neighbor, NeighborTable, Row};
use crate::wire::ethernet::Mac;

/// Neighbours learned per network at most.
const LIMIT: usize = 8192;
/// Of these, addresses of one station: a router that answers for others has many, but nobody takes all the room.
const PER_STATION: usize = 1024;
/// Times a neighbour is asked, a second apart, before it is forgotten (RFC 4861 section 10, `MAX_UNICAST_SOLICIT`).
const TRIES: u8 = 3;
/// Neighbours of one network that are asked in one second at most.
const PROBES: usize = 256;

/// What ARP or ND said of an address.
#[derive(Clone, Copy, Debug)]
struct Learned {
    mac: Mac,
    /// Seconds on the workers' clock, as far as the control thread knows.
    last_seen: u32,
    /// Times it was asked since, and the second of the last.
    asked: (u8, u32),
}

impl Learned {
    fn new(mac: Mac, now: u32) -> Self {
        Self { mac, last_seen: now, asked: (0, 0) }
    }
}

/// The neighbours of one network.
#[derive(Debug)]
pub(super) struct Neighbors {
    learned: HashMap<IpAddr, Learned>,
    /// How many of `learned` each station has.
    of_station: HashMap<Mac, usize>,
    dirty: bool,
    /// What configuration has put into the table.
    given: Vec<(IpAddr, Neighbor)>,
    table: Arc<NeighborTable>,
    /// Addresses not learned because a limit was reached.
    refused: u64,
}

impl Default for Neighbors {
    fn default() -> Self {
        Self {
            learned: HashMap::new(),
            of_station: HashMap::new(),
            dirty: true,
            given: Vec::new(),
            table: Arc::default(),
            refused: 0,
        }
    }
}

impl Neighbors {
    /// True when the table must be built anew.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Marks the table for rebuilding (a given neighbour changed).
    pub(super) fn invalidate(&mut self) {
        self.dirty = true;
    }

    /// The table, rebuilt if anything changed. `given` are the rows of configuration; of two for one address the first
    /// counts.
    pub(super) fn table(&mut self, given: &[(IpAddr, Neighbor)]) -> Arc<NeighborTable> {
        if self.dirty || self.given != given {
            self.refresh();
            self.given = given.to_vec();
            let given = given.iter().map(|&(address, neighbor)| Row { address, neighbor, last_seen: 0 });
            let learned = self.learned.iter().map(|(&address, &Learned { mac, last_seen, .. })| Row {
                address,
                neighbor: Neighbor { mac, own: false, fixed: false },
                last_seen,
            });
            let rows: Vec<Row> = given.chain(learned).collect();
            self.table = Arc::new(NeighborTable::build(rows.into_iter()));
            self.dirty = false;
        }
        self.table.clone()
    }

    /// Notes that `mac` has `address`.
    pub(super) fn learn(&mut self, address: IpAddr, mac: Mac, now: u32) {
        if self.table.get(address).is_some_and(|neighbor| neighbor.fixed) {
            return;
        }
        let before = self.learned.get(&address).map(|learned| learned.mac);
        if before == Some(mac) {
            self.learned.insert(address, Learned::new(mac, now));
            return;
        }
        let full = before.is_none() && self.learned.len() >= LIMIT;
        if full || self.of_station.get(&mac).is_some_and(|count| *count >= PER_STATION) {
            self.refused += 1;
            return;
        }
        self.learned.insert(address, Learned::new(mac, now));
        *self.of_station.entry(mac).or_default() += 1;
        if let Some(count) = before.and_then(|mac| self.of_station.get_mut(&mac)) {
            *count -= 1;
        }
        self.dirty = true;
    }

    /// Addresses not learned because a limit was reached.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// The neighbours to be asked now whether they still have their addresses: those that are `due` (by address, station and
    /// second of the last confirmation), and those that have not answered yet. Who was asked in vain is forgotten.
    pub(super) fn probe(&mut self, now: u32, due: impl Fn(IpAddr, Mac, u32) -> bool) -> Vec<(IpAddr, Mac)> {
        self.refresh();
        let mut asked = Vec::new();
        let mut silent = HashSet::new();
        for (&address, learned) in &mut self.learned {
            let (times, second) = learned.asked;
            let again = times > 0 && now > second;
            if times == TRIES && again {
                silent.insert(address);
            } else if asked.len() < PROBES
                && (again || times == 0 && due(address, learned.mac, learned.last_seen))
            {
                learned.asked = (times + 1, now);
                asked.push((address, learned.mac));
            }
        }
        self.retain(|address, _| !silent.contains(address));
        asked
    }

    /// Forgets the addresses of stations that are gone.
    pub(super) fn forget_stations(&mut self, gone: &HashSet<Mac>) {
        self.retain(|_, learned| !gone.contains(&learned.mac));
    }

    /// Forgets what [`learnable`] would not learn in `network` as it is now.
    pub(super) fn keep_learnable(&mut self, network: &Network, has_l3_port: bool) {
        self.retain(|address, learned| learnable(network, || has_l3_port, *address, learned.mac));
    }

    /// Forgets what was not confirmed for `limit` seconds; true when there was any.
    pub(super) fn age(&mut self, now: u32, limit: u64) -> bool {
        self.refresh();
        self.retain(|_, learned| u64::from(now.saturating_sub(learned.last_seen)) <= limit)
    }

    fn retain(&mut self, keep: impl Fn(&IpAddr, &Learned) -> bool) -> bool {
        let before = self.learned.len();
        self.learned.retain(|address, learned| keep(address, learned));
        let fewer = self.learned.len() != before;
        if fewer {
            self.dirty = true;
            self.of_station.clear();
            for learned in self.learned.values() {
                *self.of_station.entry(learned.mac).or_default() += 1;
            }
        }
        fewer
    }

    /// Takes over the confirmations that workers wrote into the running table.
    fn refresh(&mut self) {
        for row in self.table.iter().filter(|row| !row.neighbor.fixed) {
            if let Some(learned) = self.learned.get_mut(&row.address)
                && learned.mac == row.neighbor.mac
                && learned.last_seen < row.last_seen
            {
                *learned = Learned::new(learned.mac, row.last_seen);
            }
        }
    }
}

/// True when untagged frames of an L3 port whose device is open are in the domain `name`.
pub(super) fn has_l3_port(ports: &Ports, domains: &Domains, name: &NetworkName) -> bool {
    ports.iter().any(|port| port.l3().is_some() && domains.of_untagged(&port.config.name) == Some(name))
}

/// True when traffic may teach that `mac` has `address`. A gateway has use for addresses in its subnets only, and its own
/// MAC address is nobody else's; an L3 port may send anywhere.
pub(super) fn learnable(
    network: &Network,
    has_l3_port: impl FnOnce() -> bool,
    address: IpAddr,
    mac: Mac,
) -> bool {
    if network.gateways.is_empty() {
        return true;
    }
    // Last what asks every port.
    mac != Mac::from(network.gateway_mac()) && (network.subnet_of(address).is_some() || has_l3_port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn known(neighbors: &mut Neighbors, address: IpAddr) -> Option<Mac> {
        neighbors.table(&[]).get(address).map(|neighbor| neighbor.mac)
    }

    #[test]
    fn what_is_not_confirmed_ages_and_what_is_does_not() {
        let (quiet, alive) = (address("10.0.0.1"), address("10.0.0.2"));
        let mut neighbors = Neighbors::default();
        neighbors.learn(quiet, Mac(2), 100);
        neighbors.learn(alive, Mac(4), 100);
        let table = neighbors.table(&[]);
        table.touch(alive, 150);
        assert!(!neighbors.age(160, 60), "60 seconds are not longer than 60 seconds");
        assert!(Arc::ptr_eq(&table, &neighbors.table(&[])), "nothing changed, so the table is the same");
        assert!(neighbors.age(161, 60));
        assert_eq!((known(&mut neighbors, quiet), known(&mut neighbors, alive)), (None, Some(Mac(4))));
        assert!(neighbors.age(211, 60));
        assert_eq!(known(&mut neighbors, alive), None);
    }

    #[test]
    fn a_neighbour_goes_with_its_station() {
        let mut neighbors = Neighbors::default();
        for (text, mac) in [("10.0.0.1", 2), ("fd00::1", 2), ("10.0.0.2", 4)] {
            neighbors.learn(address(text), Mac(mac), 0);
        }
        neighbors.forget_stations(&[Mac(2)].into());
        assert_eq!(known(&mut neighbors, address("10.0.0.1")), None);
        assert_eq!(known(&mut neighbors, address("fd00::1")), None);
        assert_eq!(known(&mut neighbors, address("10.0.0.2")), Some(Mac(4)));
    }

    #[test]
    fn traffic_takes_no_given_address_and_fills_no_memory() {
        let given = (address("10.0.0.1"), Neighbor { mac: Mac(2), own: false, fixed: true });
        let mut neighbors = Neighbors::default();
        neighbors.table(&[given]);
        neighbors.learn(given.0, Mac(4), 0);
        assert!(!neighbors.is_dirty());
        let mut claim = |mac: u32| {
            for host in 0..2 * LIMIT as u32 {
                let address = std::net::Ipv4Addr::from_bits(11 << 24 | mac << 16 | host);
                neighbors.learn(address.into(), Mac(mac.into()), 0);
            }
            neighbors.table(&[given]).len() - 1
        };
        assert_eq!(claim(4), PER_STATION, "one station has a share");
        assert_eq!(claim(6), 2 * PER_STATION, "and takes nothing from another");
        let all = (4..40).map(|mac| claim(2 * mac)).last();
        assert_eq!(all, Some(LIMIT));
        let table = neighbors.table(&[given]);
        assert_eq!(table.get(given.0), Some(given.1));
        assert!(neighbors.refused() > 0);
        // What goes makes room again.
        neighbors.forget_stations(&[Mac(4)].into());
        assert!(neighbors.learned.len() < LIMIT && !neighbors.of_station.contains_key(&Mac(4)));
        neighbors.learn(address("10.0.0.9"), Mac(4), 0);
        assert_eq!(neighbors.of_station[&Mac(4)], 1);
    }

    #[test]
    fn a_neighbour_is_asked_thrice_and_then_forgotten_unless_it_answers() {
        let (used, idle) = (address("10.0.0.1"), address("10.0.0.2"));
        let mut neighbors = Neighbors::default();
        neighbors.learn(used, Mac(2), 100);
        neighbors.learn(idle, Mac(4), 100);
        let table = neighbors.table(&[]);
        let probe = |neighbors: &mut Neighbors, now| {
            neighbors.probe(now, |address, _, seen| address == used && now - seen >= 45)
        };
        assert_eq!(probe(&mut neighbors, 144), []);
        assert_eq!(probe(&mut neighbors, 145), [(used, Mac(2))]);
        assert_eq!(probe(&mut neighbors, 145), [], "once a second");
        assert_eq!(probe(&mut neighbors, 146), [(used, Mac(2))]);
        table.touch(used, 146);
        assert_eq!(probe(&mut neighbors, 147), [], "it has answered");
        for now in 191..194 {
            assert_eq!(probe(&mut neighbors, now), [(used, Mac(2))]);
        }
        assert_eq!((probe(&mut neighbors, 194), neighbors.is_dirty()), (vec![], true));
        assert_eq!((known(&mut neighbors, used), known(&mut neighbors, idle)), (None, Some(Mac(4))));
    }

    #[test]
    fn a_gateway_learns_in_its_subnets_and_never_its_own_mac() {
        let text = "[[router]]\nname = \"r\"\n[[network]]\nname = \"n\"\nrouter = \"r\"\ngateways = [\"10.0.1.1/24\"]\n";
        let network = shunt_config::parse(text, "test").unwrap().networks.remove(0);
        let own = Mac::from(network.gateway_mac());
        let learn = |text, mac, l3| learnable(&network, || l3, address(text), mac);
        assert!(learn("10.0.1.9", Mac(2), false));
        assert!(!learn("10.0.1.9", own, false) && !learn("10.0.1.9", own, true));
        assert!(!learn("10.0.2.9", Mac(2), false) && !learn("fe80::9", Mac(2), false));
        assert!(!learn("10.0.1.255", Mac(2), false), "the broadcast address is no station's");
        assert!(learn("10.0.2.9", Mac(2), true));
        assert!(learnable(&Network::default(), || false, address("10.0.2.9"), Mac(2)));
    }
}
