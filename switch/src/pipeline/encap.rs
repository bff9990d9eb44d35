//! Table 18, encap: which headers go in front, and by which port the whole leaves. Reads the peer's number; writes the
//! template and the tag edits.
//!
//! The second routing, of the wrapped packet in the transport network, was done when the topology was built
//! ([`crate::topology::tunnels`]): here it is one row.

use super::observe::{Observe, Step};
use super::packet::Packet;
use super::{Ingress, leave};
use crate::drop::DropReason;
use crate::encap::Entropy;
use crate::flow::actions::Edits;
use crate::flow::{Answer, Verdict};
use crate::topology::tunnels::Blocked;
use crate::topology::{Network, Topology};

/// Number of this table in traces and flow dumps.
pub const TABLE: u8 = 18;

/// Wraps a packet of `network` for its peer number `peer`.
pub fn encap(
    topology: &Topology,
    ingress: &Ingress<'_>,
    network: &Network,
    peer: u16,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Verdict, DropReason> {
    see.step(Step::Table(TABLE, "encap"));
    packet.rests_on.tunnel(network.id, peer);
    let overlay = topology.overlay(network.id);
    let found = overlay.and_then(|overlay| Some((overlay, overlay.tunnel(peer)?)));
    let Some((overlay, tunnel)) = found else {
        return Err(lost(packet, DropReason::TunnelUnknownPeer));
    };
    see.step(Step::Tunnel(topology, overlay, tunnel));
    let way = match tunnel.way {
        Ok(way) => way,
        Err(Blocked::By(reason)) => return Err(lost(packet, reason)),
        Err(Blocked::Unresolved(question)) => return Err(packet.ask(question)),
    };
    leave::wrapped(ingress, packet);
    packet.actions.template = way.template;
    packet.actions.entropy = Entropy::of(packet.key());
    packet.actions.edits = packet.actions.edits.and(Edits::ENCAP);
    Ok(Verdict::Port(way.port))
}

/// Gives up a packet that has no way to its peer. Whoever sent a routed one hears that the host cannot be reached: to a sender
/// the tunnel is a link (RFC 2003 section 4, RFC 2473 section 8). A bridge tells nobody, nor does a black hole.
fn lost(packet: &mut Packet<'_>, reason: DropReason) -> DropReason {
    let edits = packet.actions.edits;
    let routed = edits.has(Edits::TTL) || edits.has(Edits::HOP_LIMIT);
    match reason {
        DropReason::Blackhole => reason,
        reason if routed => packet.reject(reason, Answer::NoHost),
        reason => reason,
    }
}
