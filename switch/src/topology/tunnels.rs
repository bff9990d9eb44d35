//! Tunnels: how an overlay network reaches its peers, worked out when a topology is built.
//!
//! An overlay's packets are routed a second time, in the network that carries them (the transport): route to the peer's
//! address, neighbour, MAC table, port. What comes of it is a header template and a port, so that a packet costs one copy
//! and four patched fields. The opposite direction is a [`Terminator`] for each transport: what a frame that arrives there
//! is unwrapped by.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Gateway, Network, Port, Router};
use crate::drop::DropReason;
use crate::encap::terminator::{Row, Terminator};
use crate::encap::{self, Dscp, Encap, Outer, Template};
use crate::flow::Depth;
use crate::flow::execute::Rewrites;
use crate::flow::parse::{End, Openers};
use crate::ids::{NetworkId, PortId};
use crate::pipeline::Question;
use crate::table::fib::Route;
use crate::wire::ethernet::{CUSTOMER_TAG, SERVICE_TAG};

/// What an overlay network is made of, in a [`Plan`](super::Plan).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOverlay {
    /// The network whose frames are carried.
    pub network: NetworkId,
    /// The network that carries them; it has a gateway with the address `local`.
    pub transport: NetworkId,
    /// Our ends, addresses of the transport's gateway: to a peer belongs the first of its family.
    pub locals: Box<[IpAddr]>,
    /// How they are wrapped.
    pub encap: Encap,
    /// UDP port of those that have one.
    pub port: u16,
    /// DSCP of outer packets.
    pub dscp: Dscp,
    /// Outer packets have a UDP checksum; `None`: over IPv6 only.
    pub udp_checksum: Option<bool>,
    /// The nodes at the other end, by peer number; `None` for a number that nobody has.
    pub peers: Box<[Option<PlannedPeer>]>,
    /// Frames to many are sent to every peer (head-end replication).
    pub flood: bool,
    /// Stations behind peers may be learned from traffic.
    pub learning: bool,
    /// Every peer may send packets of stations of the router's underlays; else only of those that are behind it.
    pub admits_underlays: bool,
}

impl PlannedOverlay {
    /// Our end of the tunnel to `remote`.
    pub fn local_to(&self, remote: IpAddr) -> Option<IpAddr> {
        self.locals.iter().copied().find(|local| local.is_ipv4() == remote.is_ipv4())
    }
}

/// A node at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPeer {
    /// Its address in the transport network.
    pub address: IpAddr,
}

/// An overlay in a topology.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// As planned.
    pub planned: Arc<PlannedOverlay>,
    /// By peer number.
    pub tunnels: Box<[Option<Tunnel>]>,
}

impl Overlay {
    /// The tunnel to peer number `peer`.
    #[inline]
    pub fn tunnel(&self, peer: u16) -> Option<&Tunnel> {
        self.tunnels.get(usize::from(peer))?.as_ref()
    }
}

/// The way to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The peer's address in the transport network.
    pub remote: IpAddr,
    /// How it is reached.
    pub way: Result<Way, Blocked>,
}

/// How a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Network that the wrapped packet leaves by.
    pub network: NetworkId,
    /// The next hop's address there.
    pub hop: IpAddr,
    /// Port that it leaves by.
    pub port: PortId,
    /// Index of the outer headers.
    pub template: u16,
}

/// Why a peer cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// For that reason.
    By(DropReason),
    /// The next hop has not been heard of: ask.
    Unresolved(Question),
}

/// Everything about tunnels in one topology.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    /// By network; `None` for networks that are no overlay.
    pub(super) overlays: Box<[Option<Overlay>]>,
    /// By network; `None` for networks that carry no overlay.
    pub(super) terminators: Box<[Option<Arc<Terminator>>]>,
    pub(super) rewrites: Arc<Rewrites>,
}

impl Tunnels {
    /// What opens the tunnels that end behind `port`; `None` when none does.
    pub(super) fn openers(&self, port: &Port, networks: &[Network], full_key: bool) -> Option<Openers> {
        let terminator = |id: NetworkId| self.terminators.get(id.index())?.clone();
        // Connections may come back by tunnels: their ports are part of what they are found by.
        let carries = |overlay: &Overlay| {
            let here = port.attachments().any(|(network, _)| network == overlay.planned.transport);
            let network = networks.get(overlay.planned.network.index());
            here && network.is_some_and(|network| network.zone.is_some())
        };
        let tracks = self.overlays.iter().flatten().any(carries);
        let mut openers = Openers {
            untagged: None,
            tagged: Box::default(),
            tpid: match &port.vlans {
                Some(vlans) if vlans.service => SERVICE_TAG,
                _ => CUSTOMER_TAG,
            },
            depth: port.depth(networks),
            // The sender's address is asked for, whatever the overlay's stages read. Ports are for those who wrap.
            inner: if full_key || tracks { Depth::Transport } else { Depth::Network },
        };
        let mut tagged = Vec::new();
        for (network, tag) in port.attachments() {
            let Some(terminator) = terminator(network) else { continue };
            let gateway = networks.get(network.index()).and_then(|network| network.gateway.as_ref());
            let Some(mac) = gateway.map(|gateway| gateway.mac) else { continue };
            let end = End { mac, terminator };
            match tag {
                None => openers.untagged = Some(end),
                Some(tag) => tagged.push((tag.vid, end)),
            }
        }
        openers.tagged = tagged.into();
        (openers.untagged.is_some() || !openers.tagged.is_empty()).then_some(openers)
    }
}

/// Works out all tunnels of `planned` between `networks`.
pub(super) fn build(
    planned: &[Arc<PlannedOverlay>],
    networks: &[Network],
    routers: &[Router],
    rewrites: &Arc<Rewrites>,
) -> Tunnels {
    if planned.is_empty() {
        let (overlays, terminators) = (Box::default(), Box::default());
        return Tunnels { overlays, terminators, rewrites: rewrites.clone() };
    }
    let mut templates = Vec::new();
    let mut overlays: Box<[Option<Overlay>]> = networks.iter().map(|_| None).collect();
    let mut rows: HashMap<NetworkId, Vec<Row>> = HashMap::new();
    for overlay in planned {
        let tunnels = overlay.peers.iter().map(|peer| {
            let remote = peer.as_ref()?.address;
            let way = reach(overlay, remote, networks, routers).and_then(|path| {
                // Configuration has no more than this many.
                let template =
                    u16::try_from(templates.len()).map_err(|_| Blocked::By(DropReason::NoRewrite))?;
                templates.push(path.template);
                Ok(Way { network: path.network, hop: path.hop, port: path.port, template })
            });
            Some(Tunnel { remote, way })
        });
        let tunnels = tunnels.collect();
        if let Some(slot) = overlays.get_mut(overlay.network.index()) {
            *slot = Some(Overlay { planned: overlay.clone(), tunnels });
        }
        for local in &overlay.locals {
            let numbered = (0..).zip(&overlay.peers);
            rows.entry(overlay.transport).or_default().push(Row {
                local: *local,
                encap: overlay.encap,
                port: overlay.port,
                // RFC 6936 section 4: only where that was agreed on.
                zero_checksum: local.is_ipv4() || overlay.udp_checksum == Some(false),
                binding: binding(overlay.network),
                peers: numbered.filter_map(|(number, peer)| Some((peer.as_ref()?.address, number))).collect(),
            });
        }
    }
    let terminator =
        |network: &Network| rows.remove(&network.id).map(|rows| Arc::new(Terminator::build(&rows)));
    let terminators = networks.iter().map(terminator).collect();
    let rewrites = Arc::new(Rewrites { templates: templates.into(), ..Rewrites::clone(rewrites) });
    Tunnels { overlays, terminators, rewrites }
}

/// What a flow key says of the overlay that a frame was unwrapped into; never 0.
#[inline]
pub(crate) const fn binding(network: NetworkId) -> u16 {
    // A plan has fewer networks than numbers, so that none is lost.
    network.0 + 1
}

/// The overlay behind [`binding`].
#[inline]
pub(crate) fn bound(binding: u16) -> Option<NetworkId> {
    binding.checked_sub(1).map(NetworkId)
}

struct Path {
    network: NetworkId,
    hop: IpAddr,
    port: PortId,
    template: Template,
}

/// The way to `remote`, with the headers in front of what goes there.
fn reach(
    overlay: &PlannedOverlay,
    remote: IpAddr,
    networks: &[Network],
    routers: &[Router],
) -> Result<Path, Blocked> {
    let no_route = Blocked::By(DropReason::NoRoute);
    let network = |id: NetworkId| networks.get(id.index()).ok_or(no_route);
    let gateway =
        |network: &'_ Network| -> Result<Gateway, Blocked> { network.gateway.clone().ok_or(no_route) };
    let router = gateway(network(overlay.transport)?)?.router;
    let route = routers.get(router.index()).and_then(|router| router.fib.get(remote));
    let (through, hop) = match route {
        Some(Route::Connected(id)) => (network(id)?, remote),
        Some(Route::Via(id, hop)) => (network(id)?, hop),
        Some(Route::Blackhole) => return Err(Blocked::By(DropReason::Blackhole)),
        Some(Route::Unreachable) => return Err(Blocked::By(DropReason::OverlayUnreachable)),
        None => return Err(no_route),
    };
    let ours = gateway(through)?;
    if ours.owns(hop) {
        return Err(Blocked::By(DropReason::TunnelLoop));
    }
    let unresolved = || match ours.source_for(hop) {
        Some(source) => {
            Blocked::Unresolved(Question { network: through.id, target: hop, source, mac: ours.mac })
        }
        None => Blocked::By(DropReason::NeighborUnresolved),
    };
    let neighbor = through.neighbors.get(hop).ok_or_else(unresolved)?;
    let place = through.fdb.get(neighbor.mac).ok_or_else(unresolved)?.place();
    // A tunnel inside a tunnel: the packet would come back to where it is now.
    let port = place.port().ok_or(Blocked::By(DropReason::TunnelLoop))?;
    let tag = through.tag_at(port);
    let outer = Outer {
        dst: neighbor.mac,
        src: ours.mac,
        tag: tag.map(|tag| encap::Tag { tci: tag.vid, service: tag.service }),
        local: overlay.local_to(remote).ok_or(no_route)?,
        remote,
        ttl: Outer::TTL,
        dscp: overlay.dscp,
        port: overlay.port,
        udp_checksum: overlay.udp_checksum.unwrap_or(remote.is_ipv6()),
    };
    let template = overlay.encap.template(&outer).map_err(|_| Blocked::By(DropReason::NoRewrite))?;
    Ok(Path { network: through.id, hop, port, template })
}
