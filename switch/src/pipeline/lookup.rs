//! Table 16, lookup, by MAC address: which port has the destination. Reads destination and ingress; writes nothing.

use super::observe::{Observe, Step};
use super::packet::Packet;
use super::{Ingress, Next, leave};
use crate::drop::DropReason;
use crate::flow::Verdict;
use crate::table::fdb::{Entry, Place};
use crate::topology::Topology;

/// Number of this table in traces and flow dumps.
pub const TABLE: u8 = 16;

/// What an observer is told of a frame to the network's gateway.
pub const GATEWAY: &str = "the gateway's address";
/// And of one to many.
pub const GROUP: &str = "group address";

/// Finds the destination's port; a group or unknown destination is flooded, the network's gateway routes.
#[inline]
pub fn lookup(
    topology: &Topology,
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Next, DropReason> {
    see.step(Step::Table(TABLE, "lookup"));
    let dst = packet.dst;
    let network = ingress.network;
    if network.gateway.as_ref().is_some_and(|gateway| gateway.mac == dst) {
        see.step(Step::Matched(GATEWAY));
        return Ok(Next::Continue);
    }
    if dst.is_group() {
        see.step(Step::Matched(GROUP));
        return Ok(Next::Done(flood(ingress, packet)));
    }
    packet.rests_on.station(network.id, dst);
    let entry = network.fdb.get(dst);
    see.step(Step::Station(topology, network, dst, entry.map(Entry::place)));
    let Some(entry) = entry else { return Ok(Next::Done(flood(ingress, packet))) };
    let to = match entry.place() {
        Place::Port(to) => to,
        // A peer that wants to reach another peer sends there itself.
        Place::Peer(_) if ingress.peer.is_some() => return Err(DropReason::SplitHorizon),
        Place::Peer(peer) => return Ok(Next::Encap(peer)),
    };
    if entry.place() == ingress.place() {
        return Err(DropReason::SamePort);
    }
    Ok(Next::Done(leave::by_port(ingress, network, to, packet)))
}

fn flood(ingress: &Ingress<'_>, packet: &mut Packet<'_>) -> Verdict {
    let network = ingress.network.id;
    let verdict = if ingress.peer.is_some() { Verdict::FloodLocal(network) } else { Verdict::Flood(network) };
    leave::by_many(ingress, packet, verdict)
}
