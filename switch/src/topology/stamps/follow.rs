//! What the stamps of a topology are that follows another one: which rows differ, and where what all decisions rest on does.

use std::sync::Arc;

use super::{ALWAYS, PEER, Stamps, TUNNEL, neighbor_slot, policy_slot, service_slot, slot};
use crate::ids::{NetworkId, PortId};
use crate::table::fdb::{Entry, Place};
use crate::table::neighbor::Neighbor;
use crate::table::service::Services;
use crate::topology::tunnels::Overlay;
use crate::topology::{Network, Port, RouterId, Topology};
use crate::wire::ethernet::Mac;

impl Stamps {
    /// The stamps of `new`, which follows `old`.
    pub fn follow(old: &Topology, new: &Topology) -> Self {
        let same_networks = old.networks().len() == new.networks().len()
            && old.networks().iter().zip(new.networks()).all(|(old, new)| old.name == new.name);
        let same_era = old.generation() >> 32 == new.generation() >> 32;
        if !same_networks || !same_era || !same_tags(old, new) || !same_lengths(old, new) {
            return Self::all(new.generation());
        }
        let mut stamps = old.stamps().clone();
        let generation = new.generation() as u32;
        stamps.slots[usize::from(ALWAYS)] = generation;
        let mut changed = vec![false; new.networks().len()];
        for (before, after) in old.networks().iter().zip(new.networks()) {
            let overlays = (old.overlay(before.id), new.overlay(after.id));
            changed[after.id.index()] = !decides_alike(old, before, new, after) || !planned_alike(overlays);
            stamps.compare_tunnels(after.id, overlays, generation);
            if !Arc::ptr_eq(&before.fdb, &after.fdb) {
                stamps.compare_stations(before, after, generation);
            }
            if !Arc::ptr_eq(&before.neighbors, &after.neighbors) {
                stamps.compare_neighbors(before, after, generation);
            }
        }
        stamps.compare_policies(old, new, generation);
        // Where they do not stand alike, all of the router's networks have changed.
        for router in new.routers().iter().map(|router| router.id) {
            let pair = old.services(router).zip(new.services(router));
            let pair = pair.filter(|(before, after)| before.stands_like(after));
            if let Some((before, after)) = pair {
                for number in before.differing(after) {
                    stamps.slots[usize::from(service_slot(router, number))] = generation;
                }
            }
        }
        for (index, stamp) in stamps.ports.iter_mut().enumerate() {
            let Some(id) = PortId::new(index) else { continue };
            let (before, after) = (old.port(id), new.port(id));
            let same = match (before, after) {
                (None, None) => continue,
                (Some(before), Some(after)) => same_ingress(before, after),
                _ => false,
            };
            // What comes in may belong to an overlay that the port's network carries.
            let touched = |port: &Port| {
                port.attachments().any(|(network, _)| {
                    let carries = |id: &NetworkId| changed[id.index()];
                    changed[network.index()]
                        || new.carried(network).chain(old.carried(network)).any(|id| carries(&id))
                })
            };
            if !same || after.is_some_and(touched) {
                *stamp = generation;
            }
        }
        stamps
    }

    /// Pods that policies see otherwise. The networks that ask at all have mostly one table in common.
    fn compare_policies(&mut self, old: &Topology, new: &Topology, generation: u32) {
        let mut last = None;
        for (before, after) in old.networks().iter().zip(new.networks()) {
            let (Some(before), Some(after)) = (&before.policies, &after.policies) else { continue };
            let pair = (Arc::as_ptr(before), Arc::as_ptr(after));
            if pair.0 == pair.1 || last == Some(pair) {
                continue;
            }
            last = Some(pair);
            before.compare(after, |address| self.policies[usize::from(policy_slot(address))] = generation);
        }
    }

    fn compare_stations(&mut self, before: &Network, after: &Network, generation: u32) {
        let mut note = |mac: Mac, places: [Option<Place>; 2]| {
            self.slots[usize::from(slot(after.id, mac.0, 0))] = generation;
            for place in places.into_iter().flatten() {
                if let Place::Peer(peer) = place {
                    self.slots[usize::from(slot(after.id, u64::from(peer), PEER))] = generation;
                }
            }
        };
        for entry in after.fdb.iter() {
            let old = before.fdb.get(entry.mac()).map(Entry::place);
            if old != Some(entry.place()) {
                note(entry.mac(), [old, Some(entry.place())]);
            }
        }
        for old in before.fdb.iter().filter(|old| after.fdb.get(old.mac()).is_none()) {
            note(old.mac(), [Some(old.place()), None]);
        }
    }

    fn compare_tunnels(
        &mut self,
        network: NetworkId,
        (before, after): (Option<&Overlay>, Option<&Overlay>),
        generation: u32,
    ) {
        let count = |overlay: Option<&Overlay>| overlay.map_or(0, |overlay| overlay.tunnels.len());
        for peer in (0..=u16::MAX).take(count(before).max(count(after))) {
            let tunnel =
                |overlay: Option<&Overlay>| overlay.and_then(|overlay| overlay.tunnel(peer)).cloned();
            if tunnel(before) != tunnel(after) {
                self.slots[usize::from(slot(network, u64::from(peer), TUNNEL))] = generation;
            }
        }
    }

    fn compare_neighbors(&mut self, before: &Network, after: &Network, generation: u32) {
        let mut note = |address, neighbors: [Option<Neighbor>; 2]| {
            self.slots[usize::from(neighbor_slot(after.id, address))] = generation;
            for neighbor in neighbors.into_iter().flatten() {
                for fdb in [&before.fdb, &after.fdb] {
                    if let Some(Place::Peer(peer)) = fdb.get(neighbor.mac).map(Entry::place) {
                        self.slots[usize::from(slot(after.id, u64::from(peer), PEER))] = generation;
                    }
                }
            }
        };
        for row in after.neighbors.iter() {
            let old = before.neighbors.get(row.address);
            if old != Some(row.neighbor) {
                note(row.address, [old, Some(row.neighbor)]);
            }
        }
        for row in before.neighbors.iter().filter(|old| after.neighbors.get(old.address).is_none()) {
            note(row.address, [Some(row.neighbor), None]);
        }
    }
}

/// True when frames from a port are told apart in the same way.
fn same_ingress(before: &Port, after: &Port) -> bool {
    before.name == after.name
        && before.network == after.network
        && before.vlans == after.vlans
        && before.l3 == after.l3
        && before.identity == after.identity
}

/// True when no port has come into a VLAN, gone out of one or changed its tag there: tags are part of decisions about frames
/// that leave by the port, wherever they come from.
fn same_tags(old: &Topology, new: &Topology) -> bool {
    old.ports().all(|port| new.port(port.id).is_none_or(|after| after.vlans == port.vlans))
}

/// True when every port takes as long frames as before: the longest packet is part of decisions about what is routed to it.
fn same_lengths(old: &Topology, new: &Topology) -> bool {
    old.ports().all(|port| new.port(port.id).is_none_or(|after| after.max_frame == port.max_frame))
}

/// True when what all decisions in a network rest on is the same: its depth, its gateway, the routes behind it.
fn decides_alike(old: &Topology, before: &Network, new: &Topology, after: &Network) -> bool {
    before.depth == after.depth
        && before.has_l3 == after.has_l3
        && before.zone == after.zone
        && before.tracks_bridged == after.tracks_bridged
        && match (&before.policies, &after.policies) {
            (None, None) => true,
            // What they say of pods has slots of its own.
            (Some(before), Some(after)) => before.has_node_of(after),
            _ => false,
        }
        && before.answers == after.answers
        && before.demux == after.demux
        && before.gateway == after.gateway
        && before.host == after.host
        && before.crossing == after.crossing
        && match (&before.gateway, &after.gateway) {
            (Some(one), Some(other)) => routes_alike(old, one.router, new, other.router),
            _ => true,
        }
}

/// True when frames out of an overlay's tunnels are told apart in the same way.
fn planned_alike((before, after): (Option<&Overlay>, Option<&Overlay>)) -> bool {
    match (before, after) {
        (None, None) => true,
        (Some(before), Some(after)) => {
            Arc::ptr_eq(&before.planned, &after.planned) || before.planned == after.planned
        }
        _ => false,
    }
}

/// True when services stand at the same addresses and ports.
fn services_alike(old: Option<&Arc<Services>>, new: Option<&Arc<Services>>) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old.stands_like(new),
        _ => false,
    }
}

/// True when two routers have the same routes and static translations, services at the same addresses, and the same gateways and MTU in all networks.
fn routes_alike(old: &Topology, before: RouterId, new: &Topology, after: RouterId) -> bool {
    let (Some(one), Some(other)) = (old.router(before), new.router(after)) else { return false };
    let gateways = |topology: &'_ Topology, router: RouterId| -> Vec<_> {
        let joins =
            |network: &&Network| network.gateway.as_ref().is_some_and(|gateway| gateway.router == router);
        let joined = topology.networks().iter().filter(joins);
        joined
            .map(|network| {
                let switches = (network.mss_clamp, network.masquerade, network.closed);
                let switches = (switches, network.crossing.clone());
                (network.gateway.clone(), network.host, network.mtu, switches)
            })
            .collect()
    };
    let services = services_alike(old.services(before), new.services(after));
    services
        && old.ends == new.ends
        && old.management(before) == new.management(after)
        && old.nat(before) == new.nat(after)
        && Arc::ptr_eq(&one.fib, &other.fib)
        && gateways(old, before) == gateways(new, after)
}
