//! The logical tables in the order in which a frame walks them, as plain functions over the immutable topology.
//!
//! ```text
//!   0 ingress ────────────► 16 lookup ─────────────────────► 20 output (worker)
//!     │ └ L3 port: link        │ └ to the gateway: 16 route ► 17 next-hop ► 20
//!     └ own ARP/ND: reply      └ unknown or group: flood
//! ```
//! This is the slow path, and it is taken on the same worker for the first frame of a flow only: it decides by the flow key
//! ([`crate::flow::key`]) and writes [`crate::flow::Actions`], which the flow cache keeps.
//!
//! Every stage is generic over an [`Observe`]r. In forwarding it is [`Silent`] and compiles to nothing; a trace runs
//! the very same functions with one that writes down what they decided. A stage is pure: it reads the topology and the key
//! and says what comes next or why the frame is dropped.

pub mod ingress;
pub mod link;
pub mod lookup;
pub mod nexthop;
pub mod observe;
pub mod packet;
pub mod route;

pub use observe::{Observe, Silent, Step};
pub use packet::{Packet, Question, Teach};

use crate::drop::DropReason;
use crate::flow::{Actions, Verdict};
use crate::ids::PortId;
use crate::topology::{Network, Port, Topology};

/// What a stage wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The following stage.
    Continue,
    /// No further stage.
    Done(Verdict),
}

/// Where a burst came in: looked up once per burst.
#[derive(Clone, Copy, Debug)]
pub struct Ingress<'t> {
    /// The port.
    pub port: &'t Port,
    /// Its network.
    pub network: &'t Network,
}

impl<'t> Ingress<'t> {
    /// The ingress of frames from port `id`; a drop when the port is not up in this topology.
    #[inline]
    pub fn of(topology: &'t Topology, id: PortId) -> Result<Self, DropReason> {
        let port = topology.port(id).filter(|port| port.up).ok_or(DropReason::IngressDown)?;
        let network = topology.network(port.network).ok_or(DropReason::IngressDown)?;
        Ok(Self { port, network })
    }
}

/// Walks all stages and says what is to be done.
#[inline]
pub fn run(
    topology: &Topology,
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Actions {
    match walk(topology, ingress, packet, see) {
        Ok(verdict) => packet.actions.verdict = verdict,
        // What is dropped need not be edited first.
        Err(reason) => packet.actions = Actions::unchanged(Verdict::Drop(reason)),
    }
    see.step(Step::Verdict(topology, packet.actions.verdict));
    packet.actions
}

#[inline]
fn walk(
    topology: &Topology,
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Verdict, DropReason> {
    if let Next::Done(verdict) = ingress::admit(ingress, packet, see)? {
        return Ok(verdict);
    }
    if let Next::Done(verdict) = lookup::lookup(topology, ingress, packet, see)? {
        return Ok(verdict);
    }
    let hop = route::route(topology, ingress, packet, see)?;
    nexthop::resolve(topology, &hop, packet, see)
}
