//! The logical tables in the order in which a frame walks them, as plain functions over the immutable topology.
//!
//! ```text
//!        0 ingress ──────────────► 16 lookup ──► 20 output (worker)
//!          │  └ L3 port: link         │
//!          └ own ARP/ND: reply        └ flood
//! ```
//! Every stage is generic over an [`Observe`]r. In forwarding it is [`Silent`] and compiles to nothing; a trace runs
//! the very same functions with one that writes down what they decided. A stage is pure: it reads the topology, may
//! rewrite the frame, and says what comes next or why the frame is dropped.

pub mod ingress;
pub mod link;
pub mod lookup;
pub mod observe;
pub mod packet;

pub use observe::{Observe, Silent};
pub use packet::{Packet, Teach};

use crate::drop::DropReason;
use crate::ids::PortId;
use crate::topology::{Network, Port, Topology};

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Out of one port.
    Port(PortId),
    /// Out of every other port of the ingress port's network.
    Flood,
    /// Back out of the port it came in by: the switch rewrote it into an answer.
    Reply,
}

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

/// Walks all stages.
#[inline]
pub fn run(
    topology: &Topology,
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Verdict, DropReason> {
    if let Next::Done(verdict) = ingress::admit(ingress, packet, see)? {
        return Ok(verdict);
    }
    lookup::lookup(topology, ingress, packet, see)
}
