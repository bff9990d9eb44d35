//! `shunt ping`: echo requests from an address of the switch, and who answers.
//!
//! A request goes the way of a routed packet, from the gateway of a network on (route, next hop, tunnel). What comes back for the
//! switch is copied by the worker that gets it, as for a capture, but nothing else is. Times are those of the workers.

use std::net::IpAddr;

use super::Control;
use super::capture::{CaptureError, Session};
use super::flows::port_named;
use crate::drop::DropReason;
use crate::ids::{NetworkId, PortId};
use crate::table::fdb::{Entry, Place};
use crate::topology::{Gateway, Network, Topology};
use crate::wire::echo::{self, Echo};
use crate::worker::mailbox::{Command, Origin, Outcome, Reply};

/// A ping under way. It goes on until [`Control::end_capture`] of its session.
#[derive(Debug)]
pub struct Ping {
    /// Where answers are.
    pub session: Session,
    /// What is sent.
    pub plan: Plan,
}

/// What is sent, and from where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the network whose gateway asks.
    pub network: String,
    /// The request, as the next one is to be.
    pub echo: Echo,
    /// A port that what is lost on the way out is counted at.
    port: String,
}

/// Why nobody is asked.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// There is no such port or network.
    #[error("there is no port or network {0:?}; `shunt show ports` and `shunt show topology` list them")]
    NoPlace(String),
    /// The switch has no address there.
    #[error(
        "the switch has no {1} address in network {0}: it asks from a gateway's; add one under `gateways`, or ping from another network"
    )]
    NoSource(String, &'static str),
    /// The switch would ask itself.
    #[error("{0} is an address of the switch itself, which has no answer to wait for; ping another")]
    Own(IpAddr),
    /// The answer would go to another node's switch.
    #[error(
        "{target} is on another node, where the switch has the address {from} too: the answer would end there; ping the node from network {transport}, or from a pod"
    )]
    Shared {
        /// Who is asked.
        target: IpAddr,
        /// The address that all nodes have.
        from: IpAddr,
        /// The network that carries the overlay.
        transport: String,
    },
    /// There is no port at all.
    #[error("there is no port that a packet could leave by; add one")]
    NoPort,
    /// Not to be listened for.
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

impl Control {
    /// Prepares to ask `target` with `size` bytes of data, from the gateway of the network `from`, or of that of the port `from`.
    ///
    /// # Errors
    /// There is no such place, no address to ask from, or nobody who could answer.
    pub fn start_ping(&mut self, from: &str, target: IpAddr, size: usize) -> Result<Ping, PingError> {
        let topology = self.publisher.current();
        let (network, gateway) = place(topology, from, target)?;
        let source = source(gateway, target).ok_or_else(|| {
            let family = if target.is_ipv4() { "IPv4" } else { "IPv6" };
            PingError::NoSource(network.name.to_string(), family)
        })?;
        if network.neighbors.get(target).is_some_and(|neighbor| neighbor.own) {
            return Err(PingError::Own(target));
        }
        if let Some(transport) = shared(topology, network, target) {
            return Err(PingError::Shared { target, from: source, transport });
        }
        let host = network.host;
        let port = |id: PortId| topology.port(id).filter(|port| port.up && Some(id) != host);
        let all = network.members.iter().map(|member| member.port).chain(topology.ports().map(|it| it.id));
        let port = { all }.find_map(port).ok_or(PingError::NoPort)?.name.to_string();
        let network = network.name.to_string();
        // Told apart from other pings of this and of another daemon; whether the answer is from the right one is seen by its addresses.
        let ident = (self.captures as u16).wrapping_mul(0x9e37) ^ std::process::id() as u16;
        let session = self.listen_for_echo(ident)?;
        Ok(Ping { session, plan: Plan { network, echo: Echo { ident, seq: 0, source, target, size }, port } })
    }

    /// Sends the request of `plan` once. A worker that hangs is as good as a lost packet.
    pub fn ping(&mut self, plan: &Plan) -> Outcome {
        let topology = self.publisher.current();
        let lost = Outcome::Lost(DropReason::IngressDown);
        let by_name = |network: &&Network| network.name.as_str() == plan.network;
        let Some(network) = topology.networks().iter().find(by_name) else { return lost };
        let Some(gateway) = &network.gateway else { return lost };
        let (Some(port), Some(frame)) =
            (port_named(topology, &plan.port), echo::request(&plan.echo, gateway.mac))
        else {
            return lost;
        };
        let origin =
            Origin { network: network.id, numbering: topology.numbering(), port, frame, outcome: lost };
        match self.ask(0, Command::Originate(Box::new(origin))) {
            Ok(Some(Reply::Originated(origin))) => origin.outcome,
            _ => lost,
        }
    }
}

/// The network whose gateway asks: that called `from`, or one of the port's, by preference the one whose subnet has `target`.
fn place<'t>(
    topology: &'t Topology,
    from: &str,
    target: IpAddr,
) -> Result<(&'t Network, &'t Gateway), PingError> {
    let by_port = port_named(topology, from).and_then(|id| topology.port(id)).map(|port| {
        let ids: Vec<NetworkId> = port.attachments().map(|(id, _)| id).collect();
        ids.into_iter().filter_map(|id| topology.network(id)).collect::<Vec<_>>()
    });
    let by_name = || {
        let found = topology.networks().iter().find(|network| network.name.as_str() == from)?;
        Some(vec![found])
    };
    let networks = by_port.or_else(by_name).ok_or_else(|| PingError::NoPlace(from.to_owned()))?;
    let with_gateway = || {
        let found = networks.iter().filter_map(|network| Some((*network, network.gateway.as_ref()?)));
        found.filter(|(_, gateway)| source(gateway, target).is_some())
    };
    let near = with_gateway().find(|(_, gateway)| gateway.source_for(target).is_some());
    near.or_else(|| with_gateway().next()).ok_or_else(|| {
        let name = networks.first().map_or(from, |network| network.name.as_str());
        PingError::NoSource(name.to_owned(), if target.is_ipv4() { "IPv4" } else { "IPv6" })
    })
}

/// The address that the gateway asks `target` from: of a subnet with it; else its own in the overlay (the VTEP's, the last), which no other
/// node has; else a link-local one, which has answers from this node only.
fn source(gateway: &Gateway, target: IpAddr) -> Option<IpAddr> {
    let of_family = || {
        let all = gateway.addresses.iter().map(|(address, _)| *address);
        all.filter(|address| address.is_ipv4() == target.is_ipv4())
    };
    let link_local = |address: &IpAddr| match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    gateway
        .source_for(target)
        .or_else(|| of_family().rfind(|address| !link_local(address)))
        .or_else(|| of_family().next())
}

/// The transport network, when `target` is a station of an overlay that switches by MAC address, behind another node.
fn shared(topology: &Topology, network: &Network, target: IpAddr) -> Option<String> {
    let overlay = topology.overlay(network.id)?;
    network.gateway.as_ref()?.source_for(target)?;
    let neighbor = network.neighbors.get(target)?;
    let place = network.fdb.get(neighbor.mac).map(Entry::place);
    matches!(place, Some(Place::Peer(_))).then_some(())?;
    Some(topology.network(overlay.planned.transport)?.name.to_string())
}
