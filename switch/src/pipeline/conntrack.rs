//! Table 4, conntrack: the connection of a packet that is sent to a router, or of any in networks where what is bridged
//! may be translated, too. Reads the key; writes the connection, whose destination the later stages route by, and the edits that count and translate the packet (RFC 3022, RFC 4787).
//!
//! The stages find connections and never make one: a trace changes nothing. What opens one says so ([`Opens`]), and the
//! worker enters it.

use std::net::IpAddr;

use super::observe::{Observe, Step};
use super::packet::{Known, Opens, Packet};
use super::{Ingress, host, nat, related};
use crate::drop::DropReason;
use crate::flow::actions::Edits;
use crate::flow::{Actions, FlowKey};
use crate::state::{Direction, Found, Tuple};
use crate::topology::{Network, Topology};

/// Number of this table in traces and flow dumps.
pub const TABLE: u8 = 4;

/// Looks for the connection of a packet that is sent to its network's gateway; of every packet where answers of a
/// translated connection may be sent straight to a station of the same subnet.
#[inline]
pub fn find(topology: &Topology, ingress: &Ingress<'_>, packet: &mut Packet<'_>, see: &mut impl Observe) {
    let (Some(zone), Some(table)) = (ingress.network.zone, topology.connections()) else { return };
    let network = ingress.network;
    let routed = network.gateway.as_ref().is_some_and(|gateway| gateway.mac == packet.dst);
    if !routed && (!network.tracks_bridged || packet.dst.is_group()) {
        return;
    }
    see.step(Step::Table(TABLE, "conntrack"));
    let Some(tuple) = Tuple::of(packet.key(), zone) else {
        let about =
            related::is_error(packet.key()).then(|| related::translate(packet, table, zone)).flatten();
        see.step(match &about {
            Some(_) => Step::Rewrote("an ICMP error about a connection"),
            None => Step::Matched("nothing that has connections"),
        });
        packet.connection = about;
        return;
    };
    let known = table.lookup(&tuple).and_then(|found| {
        let to = table.back(found.conn, found.direction)?.reversed();
        Some(Known { found, to })
    });
    match &known {
        Some(known) if host::passes_on(topology, ingress, known.found, packet) => {
            see.step(Step::Matched(host::PASSES_ON));
            return;
        }
        Some(known) => {
            see.step(Step::Connection(&known.to));
            join(&mut packet.actions, known.found);
        }
        None => {
            see.step(Step::Matched("no connection"));
            packet.actions.edits = packet.actions.edits.and(Edits::STRANGER);
        }
    }
    packet.connection = known;
}

/// True when a connection may be looked for with the packet that has `key`: before any stage has seen it, so that its
/// fragments can be told apart first.
#[inline]
pub fn may_track(topology: &Topology, ingress: &Ingress<'_>, key: &FlowKey) -> bool {
    let network = ingress.network;
    let gateway = network.gateway.as_ref().is_some_and(|gateway| gateway.mac == key.dst());
    let own = topology.own_end(network.id).is_some_and(|end| end.mac == Some(key.dst()));
    // Frames without an Ethernet header are for the router, and so may be what is sent to another one.
    let bare = ingress.port.l3.is_some() || ingress.peer.is_some();
    let other = (network.tracks_bridged || network.crossing.local_route) && !key.dst().is_group();
    network.zone.is_some() && (gateway || own || bare || other)
}

/// Makes a packet one of a connection.
#[inline]
pub fn join(actions: &mut Actions, found: Found) {
    let (slot, generation) = found.conn.numbers();
    actions.translation = slot;
    actions.generation = generation as u16;
    let reply = if found.direction == Direction::Reply { Edits::REPLY } else { Edits::NONE };
    actions.edits = actions.edits.without(Edits::STRANGER).and(Edits::TRACK).and(reply);
}

/// True for a packet for a closed network that nobody there has asked for: from a network into which what the closed one sends is
/// translated, not from the node itself, of no connection, and sent to no service.
#[inline]
pub fn is_outsider(ingress: &Ingress<'_>, closed: &Network, packet: &Packet<'_>) -> bool {
    closed.is_translated_into(ingress.network)
        && packet.connection.is_none()
        && packet.opens.is_none_or(|opens| opens.destination.is_none())
        && !super::host::is_ingress(ingress)
}

/// Table 17: what leaves a masqueraded network for one that is not gets an address of the router's there, or the floating one
/// of its sender, and with that a connection, by which the answers find back.
#[inline]
pub fn masquerade(
    topology: &Topology,
    ingress: &Ingress<'_>,
    egress: &Network,
    hop: IpAddr,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<(), DropReason> {
    if packet.connection.is_some() {
        return Ok(());
    }
    let (Some(zone), Some(gateway)) = (ingress.network.zone, &egress.gateway) else { return Ok(()) };
    let Some((source, _)) = packet.key().addresses() else { return Ok(()) };
    let Some((guise, rule)) = nat::guise(topology, ingress, (egress, gateway), hop, source)? else {
        return Ok(());
    };
    let mut opens = match packet.opens {
        Some(opens) => opens,
        None => Opens::plain(Tuple::of(packet.key(), zone).ok_or(DropReason::Untracked)?),
    };
    let tuple = &opens.tuple;
    if opens.source.is_some() {
        return Ok(());
    }
    if !tuple.may_open() {
        return Err(DropReason::InvalidState);
    }
    see.step(Step::Masquerade(guise.address));
    opens.source = Some(guise);
    opens.rule |= rule;
    packet.opens = Some(opens);
    Ok(())
}
