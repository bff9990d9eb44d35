//! Table 16, lookup: which port has the destination. Reads destination and ingress; writes nothing.

use super::observe::{Observe, Step};
use super::packet::Packet;
use super::{Ingress, Verdict};
use crate::drop::DropReason;
use crate::topology::Topology;

/// Number of this table in traces and flow dumps.
pub const TABLE: u8 = 16;

/// Finds the destination's port; a group or unknown destination is flooded.
#[inline]
pub fn lookup(
    topology: &Topology,
    ingress: &Ingress<'_>,
    packet: &Packet<'_>,
    see: &mut impl Observe,
) -> Result<Verdict, DropReason> {
    see.step(Step::Table(TABLE, "lookup"));
    let dst = packet.header.dst;
    if dst.is_group() {
        see.step(Step::Matched("group address"));
        return Ok(Verdict::Flood);
    }
    let Some(entry) = ingress.network.fdb.get(dst) else {
        see.step(Step::Address(dst, None));
        return Ok(Verdict::Flood);
    };
    let port = topology.port(entry.port());
    see.step(Step::Address(dst, port.map(|port| port.name.as_str())));
    match port {
        _ if entry.port() == ingress.port.id => Err(DropReason::SamePort),
        Some(port) if port.up && port.network == ingress.network.id => Ok(Verdict::Port(port.id)),
        _ => Err(DropReason::EgressDown),
    }
}
