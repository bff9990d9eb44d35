//! Table 18, encap: which headers go in front, and by which port the whole leaves. Reads the peer's number; writes the
//! template and the tag edits.
//!
//! The second routing, of the wrapped packet in the transport network, was done when the topology was built
//! ([`crate::topology::tunnels`]): here it is one row.

use super::observe::{Observe, Step};
use super::packet::Packet;
use super::{Ingress, leave};
use crate::drop::DropReason;
use crate::encap::entropy;
use crate::flow::Verdict;
use crate::flow::actions::Edits;
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
    let (overlay, tunnel) = overlay
        .and_then(|overlay| Some((overlay, overlay.tunnel(peer)?)))
        .ok_or(DropReason::TunnelUnknownPeer)?;
    see.step(Step::Tunnel(topology, overlay, tunnel));
    let way = match tunnel.way {
        Ok(way) => way,
        Err(Blocked::By(reason)) => return Err(reason),
        Err(Blocked::Unresolved(question)) => return Err(packet.ask(question)),
    };
    leave::wrapped(ingress, packet);
    packet.actions.template = way.template;
    packet.actions.entropy = entropy(packet.key());
    packet.actions.edits = packet.actions.edits.and(Edits::ENCAP);
    Ok(Verdict::Port(way.port))
}
