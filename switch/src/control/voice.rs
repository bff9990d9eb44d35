//! What the switch says of its own accord: it asks neighbours that are in use whether they are still there. Composed
//! here, sent by a worker ([`Message`]) at a limited rate.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::Control;
use crate::ids::{NetworkId, PortId};
use crate::topology::{Network, Topology};
use crate::wire::ethernet::Mac;
use crate::wire::{arp, nd};
use crate::worker::mailbox::Message;

/// Messages that wait at most; more are not said.
const WAITING: usize = 4096;
/// Messages handed over in one tick of the control thread: a few hundred a second, whatever there is to say.
const PER_TICK: usize = 32;

/// Messages that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Voice {
    waiting: VecDeque<Message>,
}

impl Voice {
    /// True when more can be said soon.
    fn has_room(&self) -> bool {
        self.waiting.len() < PER_TICK * 4
    }

    /// Says `message` as soon as may be.
    pub(super) fn say(&mut self, message: Message) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back(message);
        }
    }
}

/// The question to `neighbor` alone whether it still has `target`, from whoever the switch is in `network`.
fn probe(topology: &Topology, network: &Network, target: IpAddr, neighbor: Mac) -> Option<Message> {
    let gateway =
        network.gateway.as_ref().and_then(|gateway| Some((gateway.mac, gateway.source_for(target)?)));
    let of_port = |id: PortId| {
        let interface = topology.port(id)?.l3?;
        let address = match target {
            IpAddr::V4(_) => interface.ipv4.map(IpAddr::from),
            IpAddr::V6(_) => interface.ipv6.map(IpAddr::from),
        };
        Some((interface.mac, address?))
    };
    let (mac, source) = gateway.or_else(|| network.members.iter().find_map(|member| of_port(member.port)))?;
    let message = |frame: &[u8]| Message::new(network.id, topology.numbering(), None, frame);
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => Some(message(&arp::probe(mac, source, target, neighbor))),
        (IpAddr::V6(source), IpAddr::V6(target)) => Some(message(&nd::probe(mac, source, target, neighbor))),
        _ => None,
    }
}

impl Control {
    /// Hands waiting messages to the first worker that takes them.
    pub(super) fn speak(&mut self) {
        for _ in 0..PER_TICK {
            let Some(message) = self.voice.waiting.front() else { break };
            if !self.workers.iter().any(|worker| worker.mail.say(*message)) {
                break;
            }
            self.voice.waiting.pop_front();
        }
    }

    /// Asks the neighbours that packets have been routed to since they were last heard, when three quarters of the time have
    /// passed after which they or their stations would be forgotten. Once a second. True when one was asked in vain and is
    /// forgotten.
    pub(super) fn probe_neighbors(&mut self, now: u32) -> bool {
        if !self.voice.has_room() {
            return false;
        }
        let topology = self.publisher.current();
        let mut forgotten = false;
        for (index, config) in self.config.networks.iter().enumerate() {
            let Some(network) = topology.network(NetworkId(index as u16)) else { continue };
            if !network.has_l3 || network.name != config.name {
                continue;
            }
            // Zero is never.
            let late = |ageing: Duration, seen: u32| {
                let silent = u64::from(now.saturating_sub(seen));
                !ageing.is_zero() && silent * 4 >= ageing.as_secs() * 3
            };
            let due = |address: IpAddr, mac: Mac, confirmed: u32| {
                let station = network.fdb.get(mac).filter(|entry| !entry.is_fixed());
                let silent = station.is_some_and(|entry| late(config.mac_ageing, entry.last_seen()));
                (silent || late(config.neighbor_ageing, confirmed))
                    && topology.activity().neighbor(network.id, address) > confirmed
            };
            let (asked, fewer) = self.learned.network(&config.name).probe(now, due);
            forgotten |= fewer;
            for (address, mac) in asked {
                if let Some(message) = probe(topology, network, address, mac) {
                    self.voice.say(message);
                }
            }
        }
        forgotten
    }
}
