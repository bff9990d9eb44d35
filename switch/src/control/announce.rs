//! Announcements: who in the physical network has an address, said when it appears or moves, so that switches and stations
//! there need not wait for their tables to age (RFC 5227 section 3, RFC 4861 section 7.2.6).
//!
//! What is to be known is computed from configuration and open ports; what differs from before is announced, three times, a
//! second apart. So a port that comes back, an endpoint that is configured at another port and a gateway at start are one
//! case.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use shunt_config::{Network, NetworkName, UnderlayMode};

use super::ports::PortState;
use super::{Control, host};
use crate::ids::PortId;
use crate::wire::ethernet::Mac;
use crate::wire::{arp, nd};
use crate::worker::mailbox::Message;

/// Times each is said (RFC 4861 section 10, `MAX_NEIGHBOR_ADVERTISEMENT`; RFC 5227 asks for two of ARP's).
const TIMES: u8 = 3;
/// Between them (RFC 4861 section 10, `RETRANS_TIMER`).
const INTERVAL: Duration = Duration::from_secs(1);

/// An address in a network.
type Address = (NetworkName, IpAddr);

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    /// The MAC address by which others reach it.
    mac: Mac,
    /// The port it is behind, which need not hear of it.
    port: Option<PortId>,
}

/// An announcement that is due.
#[derive(Debug)]
struct Due {
    address: Address,
    owner: Owner,
    left: u8,
    at: Instant,
}

/// What was announced, and what is still to be.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    known: HashMap<Address, Owner>,
    due: Vec<Due>,
}

impl Announcer {
    /// Takes over who has which address now. What is new or elsewhere is due at once; what is gone or superseded is not
    /// said any more.
    fn update(&mut self, owners: HashMap<Address, Owner>, now: Instant) {
        self.due.retain(|due| owners.get(&due.address) == Some(&due.owner));
        let fresh = owners.iter().filter(|(address, owner)| self.known.get(*address) != Some(owner));
        let announced = |(address, owner): (&Address, &Owner)| Due {
            address: address.clone(),
            owner: *owner,
            left: TIMES,
            at: now,
        };
        self.due.extend(fresh.map(announced));
        self.known = owners;
    }

    /// What is to be said now.
    fn take(&mut self, now: Instant) -> Vec<(Address, Owner)> {
        let mut said = Vec::new();
        for due in self.due.iter_mut().filter(|due| due.at <= now) {
            said.push((due.address.clone(), due.owner));
            due.left -= 1;
            due.at += INTERVAL;
        }
        self.due.retain(|due| due.left > 0);
        said
    }
}

/// The MAC address by which the physical network reaches an endpoint of `network` whose own is `mac`; `None` where nothing
/// is announced.
fn reached_by(network: &Network, mac: Mac) -> Option<Mac> {
    let underlay = network.underlay().filter(|underlay| underlay.announce)?;
    match underlay.mode {
        UnderlayMode::Routed => (!network.gateways.is_empty()).then(|| network.gateway_mac().into()),
        UnderlayMode::Demux => network.parent_mac().map(Mac::from),
        _ => Some(mac),
    }
}

impl Control {
    /// Notes what has changed since the last publication that was not traffic's doing.
    pub(super) fn note_owners(&mut self) {
        let mut owners = HashMap::new();
        for network in &self.config.networks {
            let own = Mac::from(network.gateway_mac());
            if reached_by(network, own).is_none() {
                continue;
            }
            let host = host::port(network);
            let host = self.ports.iter().find(|port| Some(&port.config.name) == host).map(|port| port.id);
            for gateway in &network.gateways {
                owners.insert((network.name.clone(), gateway.addr()), Owner { mac: own, port: host });
            }
            for address in self.services.answered(&network.name) {
                owners.insert((network.name.clone(), *address), Owner { mac: own, port: host });
            }
            let here = |port: &&PortState| {
                let of = self.config.network_of(&port.config);
                of.is_some_and(|it| it.name == network.name) && port.is_up()
            };
            for port in self.ports.iter().filter(here) {
                for endpoint in &port.config.endpoints {
                    let Some(mac) = reached_by(network, endpoint.mac.into()) else { continue };
                    let owner = Owner { mac, port: Some(port.id) };
                    owners.extend(endpoint.ip.iter().map(|ip| ((network.name.clone(), *ip), owner)));
                }
            }
        }
        self.announcer.update(owners, Instant::now());
    }

    /// Says what is due.
    pub(super) fn announce(&mut self) {
        let topology = self.publisher.current();
        for ((name, address), owner) in self.announcer.take(Instant::now()) {
            let Some(network) = topology.networks().iter().find(|network| network.name == name) else {
                continue;
            };
            let message = |frame: &[u8]| Message::new(network.id, topology.numbering(), owner.port, frame);
            self.voice.say(match address {
                IpAddr::V4(address) => message(&arp::announcement(owner.mac, address)),
                IpAddr::V6(address) => message(&nd::announcement(owner.mac, address)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        (NetworkName::new("n").unwrap(), text.parse().unwrap())
    }

    fn owner(mac: u64, port: usize) -> Owner {
        Owner { mac: Mac(mac), port: PortId::new(port) }
    }

    #[test]
    fn what_appears_or_moves_is_said_thrice_a_second_apart() {
        let (mut announcer, start) = (Announcer::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (one, two) = (address("10.0.0.1"), address("fd00::2"));
        announcer.update([(one.clone(), owner(2, 1))].into(), at(0));
        assert_eq!(announcer.take(at(0)), [(one.clone(), owner(2, 1))]);
        assert!(announcer.take(at(0)).is_empty());
        announcer.update([(one.clone(), owner(2, 1)), (two.clone(), owner(4, 2))].into(), at(1));
        let mut both = announcer.take(at(1));
        both.sort_by_key(|(address, _)| address.1);
        assert_eq!(both, [(one.clone(), owner(2, 1)), (two.clone(), owner(4, 2))]);
        // The one moves, the other goes: neither is said of as before.
        announcer.update([(one.clone(), owner(2, 3))].into(), at(2));
        for second in 2..5 {
            assert_eq!(announcer.take(at(second)), [(one.clone(), owner(2, 3))], "second {second}");
        }
        assert!(announcer.take(at(9)).is_empty() && announcer.due.is_empty());
        announcer.update(HashMap::new(), at(10));
        announcer.update([(one.clone(), owner(2, 3))].into(), at(11));
        assert_eq!(announcer.take(at(11)).len(), 1, "it is back");
    }

    #[test]
    fn others_reach_an_endpoint_by_its_own_the_gateways_or_the_shared_address() {
        let text = "[[router]]\nname = \"r\"\n[[network]]\nname = \"b\"\n[[network]]\nname = \"n\"\nkind = \"underlay\"\n\
                    bridge = \"b\"\nrouter = \"r\"\ngateways = [\"10.0.1.1/24\"]\n";
        let of = |keys: &str| {
            let config = shunt_config::parse(&format!("{text}{keys}"), "test")
                .unwrap_or_else(|errors| panic!("{errors}"));
            let network = config.networks[1].clone();
            (reached_by(&network, Mac(2)), network)
        };
        let (routed, network) = of("mode = \"routed\"");
        assert_eq!(routed, Some(Mac::from(network.gateway_mac())));
        assert_eq!(of("mode = \"bridged\"").0, Some(Mac(2)));
        let (demux, network) = of("mode = \"demux\"");
        assert!(demux.is_some() && demux == network.parent_mac().map(Mac::from));
        assert_eq!(of("announce = false").0, None);
    }
}
