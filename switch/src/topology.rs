//! The topology: everything a worker looks at to decide where a frame goes, immutable and shared.
//!
//! The control thread builds a whole new [`Topology`] for every change, reusing the tables that did not change (each is
//! an `Arc`), and publishes it through [`shunt_ffi::rcu`]. [`Topology::build`] is a pure function of its input, a [`Plan`].
//!
//! | file | holds |
//! |---|---|
//! | `port` | [`Port`], and what every burst from it and every frame to it is asked: [`Inlet`], [`Egress`] |
//! | `network`, `attachment` | [`Network`], and by which tags ports belong to it |
//! | `router`, `crossing`, `management` | [`Router`], [`Gateway`], and what has a say between the networks of a router |
//! | [`tunnels`], `own_end` | overlays: the way to each peer, worked out beforehand |
//! | `identity`, `meter` | who may send behind a port, and how much |
//! | `plan`, `build` | [`Plan`], and what a topology is made of it |
//! | [`stamps`], [`activity`] | which cached decisions a new topology makes doubtful, and which rows traffic rests on |
//! | `diff` | what changed, in words |

pub mod activity;
mod attachment;
mod build;
mod crossing;
mod diff;
mod identity;
mod management;
mod meter;
mod network;
mod own_end;
mod plan;
mod port;
mod router;
pub mod stamps;
#[cfg(test)]
mod tests;
pub mod tunnels;

use std::sync::Arc;

use crate::flow::execute::Rewrites;
use crate::flow::parse::Openers;
use crate::ids::{NetworkId, PortId};
use crate::state::{Affinity, Fragments, Table};
use crate::table::nat::Nat;
use crate::table::service::Services;

pub use activity::Activity;
pub use attachment::{Member, Tag, Vlans, retagged};
pub use crossing::Crossing;
pub use diff::{Change, diff};
pub use identity::Identity;
pub use management::Management;
pub use meter::Meter;
pub use network::{Answers, Demux, Network};
pub use own_end::OwnEnd;
pub use plan::{Plan, PlannedNetwork};
pub use port::{Egress, Inlet, L3Interface, Mirror, Port};
pub use router::{Gateway, PlannedRouter, Router, RouterId};
pub use stamps::Stamps;
pub use tunnels::PlannedOverlay;
use tunnels::{Overlay, Tunnels};

/// An immutable topology.
#[derive(Debug)]
pub struct Topology {
    generation: u64,
    numbering: u64,
    /// By slot.
    ports: Box<[Option<Port>]>,
    inlets: Box<[Inlet]>,
    egress: Box<[Egress]>,
    openers: Box<[Option<Openers>]>,
    /// By network.
    networks: Box<[Network]>,
    ends: Box<[Option<OwnEnd>]>,
    /// By router.
    routers: Box<[Router]>,
    services: Box<[Option<Arc<Services>>]>,
    nat: Box<[Option<Arc<Nat>>]>,
    management: Box<[Option<Management>]>,
    tunnels: Tunnels,
    affinity: Option<Arc<Affinity>>,
    stamps: Stamps,
    activity: Arc<Activity>,
}

impl Topology {
    /// Number of the publication this topology was built for.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The generation in which networks last came, went or changed places: while it is the same, so are their numbers.
    #[inline]
    pub fn numbering(&self) -> u64 {
        self.numbering
    }

    /// The port in slot `id`.
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.ports[id.index()].as_ref()
    }

    /// All ports in the order of their slots.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().flatten()
    }

    /// What a burst from port `id` is received by.
    #[inline]
    pub fn inlet(&self, id: PortId) -> Inlet {
        self.inlets.get(id.index()).copied().unwrap_or_default()
    }

    /// What sending out of port `id` asks of it.
    #[inline]
    pub fn egress(&self, id: PortId) -> Egress {
        self.egress.get(id.index()).copied().unwrap_or_default()
    }

    /// What opens the tunnels that end behind port `id`.
    #[inline]
    pub fn openers(&self, id: PortId) -> Option<&Openers> {
        self.openers.get(id.index())?.as_ref()
    }

    /// The network `id`.
    #[inline]
    pub fn network(&self, id: NetworkId) -> Option<&Network> {
        self.networks.get(id.index())
    }

    /// All networks.
    pub fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// The router `id`.
    #[inline]
    pub fn router(&self, id: RouterId) -> Option<&Router> {
        self.routers.get(id.index())
    }

    /// All routers.
    pub fn routers(&self) -> &[Router] {
        &self.routers
    }

    /// The services of a router, where it has any.
    #[inline]
    pub fn services(&self, router: RouterId) -> Option<&Arc<Services>> {
        self.services.get(router.index())?.as_ref()
    }

    /// The static translations of a router, where it has any.
    #[inline]
    pub fn nat(&self, router: RouterId) -> Option<&Nat> {
        self.nat.get(router.index())?.as_deref()
    }

    /// The management port of a router, where it has one.
    #[inline]
    pub fn management(&self, router: RouterId) -> Option<&Management> {
        self.management.get(router.index())?.as_ref()
    }

    /// The overlay of network `id`; `None` when it is none.
    #[inline]
    pub fn overlay(&self, id: NetworkId) -> Option<&Overlay> {
        self.tunnels.overlays.get(id.index())?.as_ref()
    }

    /// The overlays that network `id` carries.
    pub fn carried(&self, id: NetworkId) -> impl Iterator<Item = NetworkId> + '_ {
        let overlays = self.tunnels.overlays.iter().flatten();
        overlays.filter(move |overlay| overlay.planned.transport == id).map(|overlay| overlay.planned.network)
    }

    /// What this node alone has in an overlay, where it has something.
    #[inline]
    pub fn own_end(&self, overlay: NetworkId) -> Option<&OwnEnd> {
        self.ends.get(overlay.index())?.as_ref()
    }

    /// Templates and translations that actions name by index.
    #[inline]
    pub fn rewrites(&self) -> &Rewrites {
        &self.tunnels.rewrites
    }

    /// The connections of all workers, where there are any.
    #[inline]
    pub fn connections(&self) -> Option<&Table> {
        self.rewrites().connections.as_deref()
    }

    /// Datagrams of which fragments are under way, where there are connections.
    #[inline]
    pub fn fragments(&self) -> Option<&Fragments> {
        self.rewrites().fragments.as_deref()
    }

    /// Which backends clients of services are to stay with, where any are.
    #[inline]
    pub fn affinity(&self) -> Option<&Affinity> {
        self.affinity.as_deref()
    }

    /// When what decisions rest on last changed.
    #[inline]
    pub fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// Which rows traffic rests on at present.
    #[inline]
    pub fn activity(&self) -> &Activity {
        &self.activity
    }
}
