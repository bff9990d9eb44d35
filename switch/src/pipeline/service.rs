//! Table 6, service: a new connection to an address of a service goes to one of its backends. Reads addresses, protocol and
//! ports; writes the connection that the packet opens.
//!
//! Packets of known connections were translated in table 4 already, whatever has become of the service since: established
//! connections stay with their backend. What comes of a choice rests on the connection that it opens, not on the service; a
//! refusal rests on the service, and is decided anew when that changes.

use std::net::IpAddr;

use super::observe::{Observe, Step};
use super::packet::{Guise, Opens, Packet, Stays, Target};
use super::{Ingress, host, nat};
use crate::drop::DropReason;
use crate::flow::Answer;
use crate::flow::hash::fold;
use crate::state::Tuple;
use crate::state::affinity::Client;
use crate::table::fdb::Place;
use crate::table::service::{Found, Front, Kind, Pick, Scope};
use crate::topology::{Gateway, Management, Network, Topology};

/// Number of this table in traces and flow dumps.
pub const TABLE: u8 = 6;
/// What connections that services make have as their rule.
pub const RULE: u32 = 6;
/// The part of it that says that the node's own stack has passed on what opened the connection (gateway mode `local`).
pub const PASSED: u32 = 0x100;

/// Chooses the backend of a packet that was sent to a service by way of its network's gateway.
#[inline]
pub fn translate(
    topology: &Topology,
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<(), DropReason> {
    let Some(gateway) = &ingress.network.gateway else { return Ok(()) };
    let Some(services) = topology.services(gateway.router) else { return Ok(()) };
    let known = packet.connection.is_some() || packet.by_host;
    if packet.dst != gateway.mac || known || ingress.has_foreign_tags(packet.key()) {
        return Ok(());
    }
    let Some((source, destination)) = packet.key().addresses() else { return Ok(()) };
    see.step(Step::Table(TABLE, "service"));
    if !services.concerns(destination) {
        see.step(Step::Matched("no service"));
        return Ok(());
    }
    let whole = services.has(destination);
    let tuple = ingress.network.zone.and_then(|zone| Tuple::of(packet.key(), zone));
    let Some(tuple) = tuple else {
        // An error about a connection that is gone, a later fragment: nobody's.
        return if whole { Err(DropReason::Untracked) } else { Ok(()) };
    };
    let found = match tuple.has_ports() && tuple.echo().is_none() {
        true => services.get(destination, tuple.protocol(), tuple.destination_port()),
        false if whole => Found::Address(destination),
        false => Found::Nothing,
    };
    // What comes from outside for a service goes through the node's own stack, and comes back from that.
    let passes = |management: &Management| management.leads_out;
    if ingress.network.host.is_some_and(|host| host != ingress.port.id)
        && !matches!(found, Found::Nothing)
        && topology.management(gateway.router).is_some_and(passes)
    {
        see.step(Step::Matched(host::PASSES_ON));
        packet.by_host = true;
        return Ok(());
    }
    match found {
        Found::Front(front) => open(topology, (ingress, gateway), (&front, tuple, source), packet, see),
        Found::Address(_) => {
            // Echo requests are answered; of all else its sender hears that nobody is there. It must not leave by a shorter
            // prefix.
            see.step(Step::Matched("an address of a service"));
            Err(packet.reject(DropReason::ServiceNoPort, Answer::Own))
        }
        Found::Nothing => {
            see.step(Step::Matched("no service"));
            Ok(())
        }
    }
}

/// Says which connection the packet opens.
fn open(
    topology: &Topology,
    (ingress, gateway): (&Ingress<'_>, &Gateway),
    (front, tuple, source): (&Front<'_>, Tuple, IpAddr),
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<(), DropReason> {
    see.step(Step::Service(front));
    if !front.row.admits(front.kind, source) {
        packet.rests_on.service(gateway.router, front.number);
        return Err(DropReason::ServiceSourceRefused);
    }
    let passed_on = is_passed_on(topology, ingress, gateway, source);
    let inside = is_inside(topology, ingress) && !passed_on;
    let scope = front.row.scope(front.kind, inside);
    let affinity = front.row.affinity();
    let client = Client { service: front.port.id, address: source };
    // Without memory of him, a client that is to stay goes by his address alone: the same backend on every node.
    let (hash, held) = match affinity {
        None => (spread(&tuple), None),
        Some(_) => (of_client(source), topology.affinity().and_then(|table| table.get(&client, packet.now))),
    };
    let backend = match front.port.backends(source).pick(scope, hash, held) {
        Pick::Backend(backend) => backend,
        Pick::NoneHere => {
            packet.rests_on.service(gateway.router, front.number);
            return Err(DropReason::ServiceNoneHere);
        }
        Pick::Nobody => {
            packet.rests_on.service(gateway.router, front.number);
            return Err(packet.reject(DropReason::ServiceNoEndpoints, Answer::Own));
        }
    };
    see.step(Step::Backend(backend.address, backend.port));
    // Who is sent back to himself must not see himself as the sender.
    let hairpin = match backend.address == source {
        true => Some(gateway.own(source).ok_or(DropReason::ServiceNoSource)?),
        false => None,
    };
    packet.masquerades =
        hairpin.is_none() && front.kind != Kind::Cluster && !inside && scope == Scope::Cluster;
    packet.opens = Some(Opens {
        destination: Some(Target { address: backend.address, port: Some(backend.port) }),
        source: hairpin.map(|address| Guise::own(address, ingress.network.host.is_some())),
        rule: RULE | if hairpin.is_some() { nat::OWN } else { 0 } | if passed_on { PASSED } else { 0 },
        stays: affinity.map(|seconds| Stays { client, backend: backend.id as u32, seconds }),
        ..Opens::plain(tuple)
    });
    Ok(())
}

/// True when the sender is inside of the cluster: in a network whose addresses nobody outside knows. The short way to a
/// backend is his, whatever the policy for others.
fn is_inside(topology: &Topology, ingress: &Ingress<'_>) -> bool {
    ingress.network.masquerade || topology.overlay(ingress.network.id).is_some()
}

/// True for what somebody outside has sent, and the node's own stack passes on.
fn is_passed_on(topology: &Topology, ingress: &Ingress<'_>, gateway: &Gateway, source: IpAddr) -> bool {
    let management = topology.management(gateway.router);
    management.is_some_and(|it| it.leads_out && it.port == ingress.port.id && !it.addresses.contains(&source))
}

/// The hash of a connection, the same on every node: without the zone, which each numbers for itself.
fn spread(tuple: &Tuple) -> u64 {
    let parts = tuple.parts();
    let ports = u64::from(parts.protocol) << 32
        | u64::from(parts.source_port) << 16
        | u64::from(parts.destination_port);
    fold(
        of_client(parts.source) ^ ports,
        of_client(parts.destination).rotate_left(23) ^ 0x94d0_49bb_1331_11eb,
    )
}

/// The hash of a client.
fn of_client(address: IpAddr) -> u64 {
    let (high, low) = match address {
        IpAddr::V4(v4) => (4, u64::from(v4.to_bits())),
        IpAddr::V6(v6) => ((v6.to_bits() >> 64) as u64, v6.to_bits() as u64),
    };
    let mixed = fold(high ^ 0x9e37_79b9_7f4a_7c15, low ^ 0xbf58_476d_1ce4_e5b9);
    fold(mixed, 0x2545_f491_4f6c_dd1d)
}

/// Table 17: what a client outside has opened to a backend that may be anywhere leaves with an address of this node, to
/// which the answers come back.
#[inline]
pub fn masquerade(
    topology: &Topology,
    egress: &Network,
    hop: IpAddr,
    place: Option<Place>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<(), DropReason> {
    // What leads to a station behind a peer comes back by this node, too.
    let away = matches!(place, Some(Place::Peer(_)));
    let forwarded = away && packet.opens.is_some_and(|opens| opens.rule & nat::INWARD == nat::FORWARD);
    if !packet.masquerades && !forwarded {
        return Ok(());
    }
    let Some(opens) = packet.opens.as_mut().filter(|opens| opens.source.is_none()) else { return Ok(()) };
    let client = opens.tuple.parts().source;
    let gateway = egress.gateway.as_ref().ok_or(DropReason::ServiceNoSource)?;
    let (source, rule) = match place {
        Some(Place::Port(_)) => (gateway.source_for(hop), nat::OWN),
        // Each node has the gateway's address: the backend's own would take the answer.
        _ if topology.overlay(egress.id).is_some() => {
            (topology.own_end(egress.id).and_then(|end| end.like(client)), 0)
        }
        _ => (gateway.source_for(hop), nat::OWN),
    };
    let source = source.filter(|source| source.is_ipv4() == client.is_ipv4());
    let source = source.ok_or(DropReason::ServiceNoSource)?;
    see.step(Step::Masquerade(source));
    opens.source = Some(Guise::own(source, egress.host.is_some()));
    opens.rule |= rule;
    Ok(())
}
