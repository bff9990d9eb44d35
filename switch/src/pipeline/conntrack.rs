//! Table 4, conntrack: the connection of a packet that is sent to a router, or of any in networks where what is bridged
//! may be translated, too. Reads the key; writes the connection, whose destination the later stages route by, and the edits that count and translate the packet (RFC 3022, RFC 4787).
//!
//! The stages find connections and never make one: a trace changes nothing. What opens one says so ([`Opens`]), and the
//! worker enters it.

use std::net::IpAddr;

use super::observe::{Observe, Step};
use super::packet::{Guise, Known, Opens, Packet};
use super::{Ingress, related};
use crate::drop::DropReason;
use crate::flow::Actions;
use crate::flow::actions::Edits;
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
        Some(known) => {
            see.step(Step::Connection(&known.to));
            join(&mut packet.actions, known.found);
        }
        None => see.step(Step::Matched("no connection")),
    }
    packet.connection = known;
}

/// Makes a packet one of a connection.
#[inline]
pub fn join(actions: &mut Actions, found: Found) {
    let (slot, generation) = found.conn.numbers();
    actions.translation = slot;
    actions.generation = generation as u16;
    let reply = if found.direction == Direction::Reply { Edits::REPLY } else { Edits::NONE };
    actions.edits = actions.edits.and(Edits::TRACK).and(reply);
}

/// Table 17: what leaves a masqueraded network for one that is not gets the router's address there, and with that a
/// connection, by which the answers find back.
#[inline]
pub fn masquerade(
    ingress: &Ingress<'_>,
    egress: &Network,
    hop: IpAddr,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<(), DropReason> {
    if !ingress.network.is_translated_into(egress) || packet.connection.is_some() {
        return Ok(());
    }
    let (Some(zone), Some(gateway)) = (ingress.network.zone, &egress.gateway) else { return Ok(()) };
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
    // A next hop of the other family (RFC 8950) is none that is configured: the address is of its subnet.
    let source = gateway.source_for(hop).filter(|source| source.is_ipv4() == tuple.is_v4());
    let source = source.ok_or(DropReason::NoMasqueradeAddress)?;
    see.step(Step::Masquerade(source));
    opens.source = Some(Guise { address: source, shared: egress.host.is_some() });
    packet.opens = Some(opens);
    Ok(())
}
