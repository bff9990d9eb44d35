//! Networks: uplinks, the routers that routes lead to, the other ends of tunnels.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::chart::Check;
use super::sent::Size;
use super::{DoctorError, Examination, Findings};
use crate::control::Control;
use crate::control::flows::words;
use crate::drop::DropReason;
use crate::ids::NetworkId;
use crate::table::fdb::Entry;
use crate::table::fib::Route;
use crate::topology::tunnels::Blocked;
use crate::topology::{Network, Topology};
use crate::wire::ethernet::Mac;
use crate::wire::{arp, nd};
use crate::worker::mailbox::Message;

/// Who are asked at most.
const ASKED: usize = 64;

/// Somebody who was asked whether he has an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    network: String,
    address: IpAddr,
    /// The second on the workers' clock in which he had last confirmed it before: an answer in the same one tells nothing.
    before: Option<u32>,
}

/// The next routers that routes lead to, but for those that configuration gives a MAC address.
fn routers(topology: &Topology) -> BTreeSet<(u16, IpAddr)> {
    let rows = topology.routers().iter().flat_map(|router| router.fib.iter());
    let hops = rows.filter_map(|row| match row.route {
        Route::Via(network, address) => Some((network.0, address)),
        _ => None,
    });
    let learned = |(network, address): &(u16, IpAddr)| {
        let network = topology.network(NetworkId(*network));
        network.is_some_and(|network| network.neighbors.get(*address).is_none_or(|neighbor| !neighbor.fixed))
    };
    hops.filter(learned).take(ASKED).collect()
}

/// Next hops of tunnels that have not been heard of.
fn tunnel_ends(topology: &Topology) -> BTreeSet<(u16, IpAddr)> {
    let overlays = topology.networks().iter().filter_map(|network| topology.overlay(network.id));
    let tunnels = overlays.flat_map(|overlay| overlay.tunnels.iter().flatten());
    let ends = tunnels.filter_map(|tunnel| match tunnel.way {
        Err(Blocked::Unresolved(question)) => Some((question.network.0, question.target)),
        _ => None,
    });
    ends.take(ASKED).collect()
}

/// The question who has `target`: to the station that is known to have it, else to everybody.
fn question(topology: &Topology, network: &Network, target: IpAddr) -> Option<Message> {
    let gateway = network.gateway.as_ref()?;
    let source = gateway.source_for(target).or_else(|| gateway.own(target))?;
    let known: Option<Mac> = network.neighbors.get(target).map(|neighbor| neighbor.mac);
    let message = |frame: &[u8]| Message::new(network.id, topology.numbering(), None, frame);
    match (source, target, known) {
        (IpAddr::V4(source), IpAddr::V4(target), Some(mac)) => {
            Some(message(&arp::probe(gateway.mac, source, target, mac)))
        }
        (IpAddr::V4(source), IpAddr::V4(target), None) => {
            Some(message(&arp::request(gateway.mac, source, target)))
        }
        (IpAddr::V6(source), IpAddr::V6(target), Some(mac)) => {
            Some(message(&nd::probe(gateway.mac, source, target, mac)))
        }
        (IpAddr::V6(source), IpAddr::V6(target), None) => {
            Some(message(&nd::solicitation(gateway.mac, source, target)))
        }
        _ => None,
    }
}

impl Control {
    /// Asks routers, the ends of tunnels, and whoever packets of the pair would wait for.
    pub(super) fn ask_around(&mut self, examination: &Examination) -> Result<Vec<Asked>, DoctorError> {
        let topology = self.publisher.current();
        let mut targets = routers(topology);
        targets.extend(tunnel_ends(topology));
        if let (Some(from), Some(to)) = (&examination.from, &examination.to) {
            for (network, address) in self.pair_asks(from, to, &examination.flow)? {
                let topology = self.publisher.current();
                let found = topology.networks().iter().find(|known| known.name.as_str() == network);
                targets.extend(found.map(|network| (network.id.0, address)));
            }
        }
        let topology = self.publisher.current();
        let asked = targets.into_iter().filter_map(|(network, address)| {
            let network = topology.network(NetworkId(network))?.name.to_string();
            let mut asked = Asked { network, address, before: None };
            asked.before = self.heard(&asked).map(|(_, second)| second);
            self.ask_again(&asked).then_some(asked)
        });
        Ok(asked.collect())
    }

    /// Asks somebody; false when he cannot be asked: the switch has no address there, or its workers hang.
    pub(super) fn ask_again(&self, asked: &Asked) -> bool {
        let topology = self.publisher.current();
        let network = topology.networks().iter().find(|network| network.name.as_str() == asked.network);
        let message = network.and_then(|network| question(topology, network, asked.address));
        message.is_some_and(|message| self.workers.iter().any(|worker| worker.mail.say(message)))
    }

    /// True when the address was confirmed since it was asked for.
    pub(super) fn has_answered(&self, asked: &Asked) -> bool {
        self.heard(asked).map(|(_, second)| second) > asked.before
    }

    /// The MAC address of who was asked, and the second in which he last confirmed it.
    fn heard(&self, asked: &Asked) -> Option<(Mac, u32)> {
        let topology = self.publisher.current();
        let network = topology.networks().iter().find(|network| network.name.as_str() == asked.network)?;
        let row = network.neighbors.iter().find(|row| row.address == asked.address)?;
        Some((row.neighbor.mac, row.last_seen))
    }

    /// Looks at all of it.
    pub(super) fn check_networks(&mut self, examination: &Examination, findings: &mut Findings) {
        self.check_uplinks(findings);
        self.check_gateways(examination, findings);
        self.check_tunnels(findings);
    }

    /// Networks whose packets leave the node, and have no port by which they could.
    fn check_uplinks(&mut self, findings: &mut Findings) {
        let rows = self.ports();
        for network in &self.config.networks {
            let Some(underlay) = network.underlay() else { continue };
            // A bridge with one underlay is looked at once, by any of them.
            let bridge = underlay.bridge.as_str();
            let uplinks: Vec<_> = rows.iter().filter(|row| row.network == bridge).collect();
            let names: Vec<&str> = uplinks.iter().map(|row| row.name.as_str()).collect();
            let up: Vec<&str> = uplinks
                .iter()
                .filter(|row| row.admin_up && row.oper_up && row.link)
                .map(|row| row.name.as_str())
                .collect();
            let fix = format!("shunt addr show {bridge}");
            match (names.is_empty(), up.is_empty()) {
                (true, _) => {
                    let evidence = format!("bridge {bridge} has no port to the physical network");
                    let fix = format!("`shunt port add NAME kind=... network={bridge}`; {fix}");
                    findings.fail(Check::Uplink, bridge, evidence, fix);
                }
                (false, true) => {
                    let evidence = format!("no carrier on {}", names.join(", "));
                    let fix = format!("look at cable and switch, `shunt port reset {}`; {fix}", names[0]);
                    findings.fail(Check::Uplink, bridge, evidence, fix);
                }
                (false, false) => findings.ok(Check::Uplink, bridge, format!("carrier on {}", up.join(", "))),
            }
        }
    }

    /// Routers that routes lead to: do they answer, and when did anything come from them.
    fn check_gateways(&self, examination: &Examination, findings: &mut Findings) {
        let topology = self.publisher.current();
        let routers = routers(topology);
        for asked in &examination.asked {
            let Some(network) = topology.networks().iter().find(|it| it.name.as_str() == asked.network)
            else {
                continue;
            };
            let check = if routers.contains(&(network.id.0, asked.address)) {
                Check::Gateway
            } else {
                Check::Neighbor
            };
            let subject = format!("{} in {}", asked.address, asked.network);
            let protocol = if asked.address.is_ipv4() { "ARP" } else { "ND" };
            let Some((mac, second)) = self.heard(asked) else {
                let evidence = format!("does not answer {protocol}, and is not known");
                findings.fail(check, &subject, evidence, gateway_fix(asked));
                continue;
            };
            let seen = network.fdb.get(mac).map(Entry::last_seen).map(|at| self.now().saturating_sub(at));
            let seen = seen.map_or_else(
                || "nothing from it".to_owned(),
                |age| format!("last frame from it {age} s ago"),
            );
            let mac = words::mac(mac);
            if self.has_answered(asked) {
                findings.ok(check, &subject, format!("answers {protocol}: {mac}; {seen}"));
            } else {
                let age = self.now().saturating_sub(second);
                let evidence =
                    format!("does not answer {protocol} now; was {mac}, confirmed {age} s ago; {seen}");
                findings.fail(check, &subject, evidence, gateway_fix(asked));
            }
        }
    }

    fn check_tunnels(&self, findings: &mut Findings) {
        let topology = self.publisher.current();
        for network in topology.networks() {
            let Some(overlay) = topology.overlay(network.id) else { continue };
            let carrier =
                topology.network(overlay.planned.transport).map_or("?", |network| network.name.as_str());
            for tunnel in overlay.tunnels.iter().flatten() {
                let subject = format!("{} in {}", tunnel.remote, network.name);
                let port = |id| topology.port(id).map_or("?", |port| port.name.as_str());
                let (evidence, reason) = match tunnel.way {
                    Ok(way) => {
                        let evidence = format!("by {} out of {}, network {carrier}", way.hop, port(way.port));
                        findings.ok(Check::Tunnel, &subject, evidence);
                        continue;
                    }
                    Err(Blocked::Unresolved(question)) => (
                        format!("its next hop {} does not answer in network {carrier}", question.target),
                        DropReason::NeighborUnresolved,
                    ),
                    Err(Blocked::By(reason)) => {
                        (format!("{}: {}", reason.name(), reason.describe().trim_end_matches('.')), reason)
                    }
                };
                let fix = match reason {
                    DropReason::NeighborUnresolved => format!(
                        "`shunt ping --from {carrier} -c 3 {}`; is that node up, and `peers` right?",
                        tunnel.remote
                    ),
                    reason => super::ports::fix(reason, carrier),
                };
                findings.fail(Check::Tunnel, &subject, evidence, fix);
            }
        }
    }
}

fn gateway_fix(asked: &Asked) -> String {
    let Asked { network, address, .. } = asked;
    format!(
        "look at cable, VLAN and that machine; `shunt ping --from {network} -c 3 {address}`, `shunt tcpdump -i any -e arp`"
    )
}

impl Control {
    /// Whom packets of the pair would wait for, each way, and whom nobody has said to be there.
    fn pair_asks(
        &mut self,
        from: &super::Who,
        to: &super::Who,
        flow: &str,
    ) -> Result<Vec<(String, IpAddr)>, DoctorError> {
        let mut asks = Vec::new();
        for (one, other) in [(from, to), (to, from)] {
            let Some(traced) = self.trace_pair(one, other, flow, Size::Small)? else { continue };
            let near = |address: &IpAddr| {
                let networks = self.publisher.current().networks().iter();
                let found =
                    networks.filter(|network| network.name.as_str() == traced.network).find_map(|network| {
                        network
                            .neighbors
                            .get(*address)
                            .is_none()
                            .then_some(network.gateway.as_ref()?)?
                            .source_for(*address)
                    });
                found.is_some()
            };
            let unheard = other.address.filter(near);
            asks.extend(unheard.map(|address| (traced.network.clone(), address)));
            asks.extend(traced.asks);
        }
        Ok(asks)
    }
}
