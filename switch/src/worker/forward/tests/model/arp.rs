//! Who answers an ARP request (RFC 826, RFC 1027), and where a message goes that nobody answers.

use super::frames::Arp;
use super::rules::{Decided, Expected};
use super::world::World;
use super::{At, BRIDGE, DEMUX, SHARED, gateway_mac, host, port_id, router, station_mac, subnet};
use crate::drop::DropReason;
use crate::flow::Verdict;
use crate::ids::PortId;
use crate::topology::Answers;
use crate::wire::ethernet::Mac;

impl World {
    /// What the rules say of an ARP message that comes in by `port`.
    pub(super) fn expects_arp(&self, port: PortId, arp: &Arp) -> Option<Expected> {
        let arrived = arp.bytes();
        let (network, tci) = match self.network_of(port, arp.tag.map(|tci| (tci, false)))? {
            Ok(found) => found,
            Err(reason) => return Some((Verdict::Drop(reason), arrived)),
        };
        let is_node = self.hosts[network].map(port_id) == Some(port);
        let admitted = self.claims_behind(port, arp).and_then(|()| {
            let gateway = router(network).filter(|_| network != DEMUX).map(|_| gateway_mac(network));
            if gateway == Some(arp.src) && !is_node { Err(DropReason::SourceIsGateway) } else { Ok(()) }
        });
        if admitted.is_ok() && network != BRIDGE {
            if !arp.is_reply
                && let Some(mac) = self.answers_with(network, port, arp)
            {
                return Some((Verdict::Reply, arp.answer(mac)));
            }
            let for_us = router(network).is_some() && arp.target == host(network, 1);
            if arp.is_reply && for_us {
                let to = self.hosts[network].filter(|to| port_id(*to) != port);
                let Some(to) = to else { return Some((Verdict::Consume, arrived)) };
                return self.outcome(arrived, network, tci, Ok(Decided::bridged(Some(At::Port(to)), false)));
            }
        }
        let decided = admitted.and_then(|()| self.carry(network, port, arp));
        self.outcome(arrived, network, tci, decided)
    }

    /// Where a message goes that the switch does not answer.
    fn carry(&self, network: usize, port: PortId, arp: &Arp) -> Result<Decided, DropReason> {
        if network == DEMUX && (arp.dst == SHARED || arp.dst == Mac::BROADCAST) {
            let (_, asker) = arp.sender;
            let for_all = asker.is_unspecified() || asker == arp.target;
            let [front @ .., last] = arp.target.octets();
            let child = Some(last).filter(|_| front == subnet(DEMUX)).and_then(|last| self.child_at(last));
            return match child {
                _ if arp.dst == Mac::BROADCAST && for_all => Ok(Decided::bridged(None, false)),
                None if arp.dst == Mac::BROADCAST => Ok(Decided::bridged(None, false)),
                child => self.to_child(Some(port), child),
            };
        }
        if router(network).is_some() && arp.dst == gateway_mac(network) {
            return Err(DropReason::NotForGateway);
        }
        self.bridge(network, Some(port), arp.dst)
    }

    /// The MAC address with which the switch answers a request.
    fn answers_with(&self, network: usize, port: PortId, arp: &Arp) -> Option<Mac> {
        let (_, asker) = arp.sender;
        let probe = asker.is_unspecified() || asker == arp.target;
        let gateway = router(network).map(|_| gateway_mac(network));
        let is_node = self.hosts[network].map(port_id) == Some(port);
        let [front @ .., last] = arp.target.octets();
        let near = front == subnet(network);
        if gateway.is_some() && near && last == 1 {
            // The node shares the address and only announces it.
            return gateway.filter(|_| !is_node);
        }
        if is_node && !probe && !near && gateway.is_some() {
            return gateway;
        }
        if probe || arp.target.is_multicast() {
            return None;
        }
        let here = |mac: Mac| self.place(network, mac) == Some(At::Port(port.index() as u8));
        let known = self.neighbors[network].get(&last).filter(|_| near);
        let known = known.map(|(station, fixed)| (station_mac(*station), *fixed));
        let given = known.filter(|(mac, fixed)| *fixed && !here(*mac)).map(|(mac, _)| mac);
        match self.answers[network] {
            Answers::Own => None,
            Answers::Given => given,
            Answers::Everybody => {
                let is_ours = |(number, (_, fixed)): (&u8, &(At, bool))| {
                    *fixed && station_mac(*number) == arp.src && here(arp.src)
                };
                let ours = self.stations[network].iter().any(is_ours);
                let other = !known.is_some_and(|(mac, _)| here(mac));
                gateway.filter(|_| given.is_some() || ours && other)
            }
        }
    }
}
