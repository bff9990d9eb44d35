//! The numbers of peers. Tables and remembered flows name a peer by number, so one that stays keeps its own while others
//! come and go, and a number that becomes free is not given away by the same configuration, unless there is no other.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use shunt_config::{Config, NetworkName, Overlay};

/// The peers of all overlays by number.
#[derive(Debug, Default)]
pub(in crate::control) struct Numbers {
    networks: HashMap<NetworkName, Network>,
}

/// A peer that is no more: what was learned behind it is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct Gone {
    /// Its overlay, which may be gone too.
    pub(in crate::control) network: NetworkName,
    /// Its number until now.
    pub(in crate::control) number: u16,
}

#[derive(Debug, Default)]
struct Network {
    by_address: HashMap<IpAddr, u16>,
    /// By number; `None` is free.
    by_number: Vec<Option<IpAddr>>,
}

impl Numbers {
    /// The number of the peer at `address`.
    pub(in crate::control) fn get(&self, network: &NetworkName, address: IpAddr) -> Option<u16> {
        self.networks.get(network)?.by_address.get(&address).copied()
    }

    /// The peers of `network` by number, `None` for a number that nobody has.
    pub(in crate::control) fn peers(&self, network: &NetworkName) -> &[Option<IpAddr>] {
        self.networks.get(network).map_or(&[], |network| &network.by_number)
    }

    /// Takes over the peers of `config`; returns those that are no more.
    pub(in crate::control) fn follow(&mut self, config: &Config) -> Vec<Gone> {
        let mut gone = Vec::new();
        let overlays: HashMap<&NetworkName, &Overlay> =
            config.networks.iter().filter_map(|network| Some((&network.name, network.overlay()?))).collect();
        self.networks.retain(|name, network| {
            let stays = overlays.contains_key(name);
            if !stays {
                let numbers = network.by_address.values();
                gone.extend(numbers.map(|number| Gone { network: name.clone(), number: *number }));
            }
            stays
        });
        for (name, overlay) in overlays {
            let freed = self.networks.entry(name.clone()).or_default().follow(overlay);
            gone.extend(freed.into_iter().map(|number| Gone { network: name.clone(), number }));
        }
        gone.sort_unstable_by(|a, b| (&a.network, a.number).cmp(&(&b.network, b.number)));
        gone
    }
}

impl Network {
    /// Takes over the peers of `overlay`; returns the numbers of those that are no more.
    fn follow(&mut self, overlay: &Overlay) -> BTreeSet<u16> {
        let kept: HashSet<IpAddr> = overlay.all_peers().map(|peer| peer.address).collect();
        let mut freed = BTreeSet::new();
        self.by_address.retain(|address, number| {
            let stays = kept.contains(address);
            if !stays {
                self.by_number[usize::from(*number)] = None;
                freed.insert(*number);
            }
            stays
        });
        let is_free = |(number, slot): (u16, &Option<IpAddr>)| slot.is_none().then_some(number);
        let mut free: BTreeSet<u16> = (0..=u16::MAX).zip(&self.by_number).filter_map(is_free).collect();
        free.retain(|number| !freed.contains(number));
        let mut last_resort = freed.clone();
        for peer in overlay.all_peers() {
            if self.by_address.contains_key(&peer.address) {
                continue;
            }
            let fresh = u16::try_from(self.by_number.len()).ok();
            // Validation has seen that there are fewer peers than numbers.
            let Some(number) = free.pop_first().or(fresh).or_else(|| last_resort.pop_first()) else { break };
            if usize::from(number) == self.by_number.len() {
                self.by_number.push(None);
            }
            self.by_number[usize::from(number)] = Some(peer.address);
            self.by_address.insert(peer.address, number);
        }
        let used = self.by_number.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.by_number.truncate(used);
        freed
    }
}
