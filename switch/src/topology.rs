//! The topology: everything a worker looks at to decide where a frame goes, immutable and shared.
//!
//! The control thread builds a whole new [`Topology`] for every change, reusing the tables that did not change (each is
//! an `Arc`), and publishes it through [`shunt_ffi::rcu`]. [`Topology::build`] is a pure function of its input.

pub mod activity;
mod attachment;
mod crossing;
mod diff;
mod identity;
mod management;
mod meter;
mod own_end;
mod router;
pub mod stamps;
pub mod tunnels;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use shunt_config::{NetworkName, PortName};

use crate::flow::Depth;
use crate::flow::execute::Rewrites;
use crate::flow::parse::Openers;
use crate::ids::{MAX_PORTS, NetworkId, PortId};
use crate::port::FRAME_OVERHEAD;
use crate::state::{Affinity, Fragments, Table};
use crate::table::fdb::Fdb;
use crate::table::nat::Nat;
use crate::table::neighbor::{Neighbor, NeighborTable};
use crate::table::policy::Policies;
use crate::table::service::Services;
use crate::wire::ethernet::Mac;

pub use activity::Activity;
pub use attachment::{Member, Tag, Vlans, retagged};
pub use crossing::Crossing;
pub use diff::{Change, diff};
pub use identity::Identity;
pub use management::Management;
pub use meter::Meter;
pub use own_end::OwnEnd;
pub use router::{Gateway, PlannedRouter, Router, RouterId};
pub use stamps::Stamps;
pub use tunnels::PlannedOverlay;
use tunnels::{Overlay, Tunnels};

/// The addresses with which the switch speaks for an L3 port (TUN), whose frames have no Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L3Interface {
    /// MAC address that the network sees.
    pub mac: Mac,
    /// First IPv4 address: sender of ARP requests.
    pub ipv4: Option<Ipv4Addr>,
    /// First IPv6 address: sender of neighbour solicitations.
    pub ipv6: Option<Ipv6Addr>,
}

/// A port as the data path sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Slot.
    pub id: PortId,
    /// Name, for people.
    pub name: PortName,
    /// Network it belongs to: of a port with `vlans` the bridge, whose VLANs are networks of their own.
    pub network: NetworkId,
    /// The VLANs it belongs to; to a port without, tags are payload.
    pub vlans: Option<Vlans>,
    /// Administratively up and alive: frames go in and out.
    pub up: bool,
    /// Longest frame it takes, Ethernet header and tags included, FCS not; large sends count by their segments.
    pub max_frame: u32,
    /// Set for L3 ports.
    pub l3: Option<L3Interface>,
    /// Who may send behind it; `None` lets everybody.
    pub identity: Option<Arc<Identity>>,
    /// It does not send control protocols of links and routers, nor from addresses that nobody has.
    pub guarded: bool,
    /// Port that gets copies of frames of this one.
    pub mirror: Option<Mirror>,
    /// What may come in by it.
    pub meter: Option<Arc<Meter>>,
}

impl Port {
    /// The networks it is attached to, each with the tag it has there.
    pub fn attachments(&self) -> impl Iterator<Item = (NetworkId, Option<Tag>)> + '_ {
        let alone = self.vlans.is_none().then_some((self.network, None));
        alone.into_iter().chain(self.vlans.iter().flat_map(Vlans::attachments))
    }
}

/// Who gets copies of a port's frames, and of which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The port that gets them.
    pub to: PortId,
    /// Of what comes in.
    pub ingress: bool,
    /// Of what goes out.
    pub egress: bool,
}

/// A network: one isolated broadcast domain.
#[derive(Clone, Debug)]
pub struct Network {
    /// Index.
    pub id: NetworkId,
    /// Name, for people.
    pub name: NetworkName,
    /// The ports of the network that are up, by port.
    pub members: Arc<[Member]>,
    /// All its ports, up or not, by port.
    pub attached: Arc<[Member]>,
    /// Some of its ports have a tag.
    pub has_tags: bool,
    /// MAC table.
    pub fdb: Arc<Fdb>,
    /// Neighbours; filled only while the switch has addresses of its own in the network.
    pub neighbors: Arc<NeighborTable>,
    /// The router's place in the network; without one it is an Ethernet bridge and no more.
    pub gateway: Option<Gateway>,
    /// The port to the node's own stack, which has the gateway's addresses, too: what is sent to them and is nothing that
    /// the switch itself answers goes there, and so do answers to what the node has asked.
    pub host: Option<PortId>,
    /// True when the switch has addresses of its own in the network, a gateway's or an L3 port's: only then does ARP and
    /// ND traffic have to be looked at.
    pub has_l3: bool,
    /// How deep the stages of the network look into a frame.
    pub depth: Depth,
    /// Whose addresses the switch answers ARP and ND requests for.
    pub answers: Answers,
    /// Its stations share a MAC address.
    pub demux: Option<Demux>,
    /// Longest IP packet that is routed into it, bytes.
    pub mtu: u16,
    /// TCP SYNs that are routed into or out of it announce no larger segments than fit its MTU (RFC 4459 section 3.2).
    pub mss_clamp: bool,
    /// What its stations send to networks that are not masqueraded leaves with the router's address there.
    pub masquerade: bool,
    /// Its stations are reached from networks that are not masqueraded only by the connections that they have opened.
    pub closed: bool,
    /// Where connections of what is routed out of it are looked for: set when some network of its router is masqueraded, or
    /// what is bridged has connections, too.
    pub zone: Option<u16>,
    /// Connections are looked for also of what is only bridged in it: a service's answers may be, and what a policy forbids.
    pub tracks_bridged: bool,
    /// Who may talk to whom; `None` where no policy can be about what comes in.
    pub policies: Option<Arc<Policies>>,
    /// Frames a second that each port may have flooded in it; 0 is any number.
    pub storm_limit: u32,
    /// Frames to the addresses that no bridge forwards to are flooded.
    pub forward_control: bool,
    /// What may come into it by its ports.
    pub meter: Option<Arc<Meter>>,
    /// Rules for traffic between it and other networks of its router.
    pub crossing: Crossing,
}

/// A network whose stations share a MAC address and are told apart by IP address, each a given neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demux {
    /// The address.
    pub mac: Mac,
    /// Port that gets what is for none of them.
    pub host: Option<PortId>,
}

/// Whose addresses the switch answers ARP and ND requests for, in place of their owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// Its own.
    #[default]
    Own,
    /// Also those of neighbours that configuration gives: nobody else need be asked (RFC 9161 section 3).
    Given,
    /// Everybody's but those of stations behind the asking port, with the gateway's MAC address (proxy ARP, RFC 1027).
    Everybody,
}

impl Network {
    /// The destination of frames to a neighbour: its MAC address, but of a station of a demux network the one that all share. (What
    /// the tables have for those, which configuration gives, is a name.)
    #[inline]
    pub fn mac_on_wire(&self, neighbor: &Neighbor) -> Mac {
        self.demux.filter(|_| neighbor.fixed).map_or(neighbor.mac, |demux| demux.mac)
    }

    /// Longest IP packet that may be routed into it through `port`, which may take less than the others, bytes.
    #[inline]
    pub fn mtu_at(&self, port: &Port) -> u16 {
        let takes = port.max_frame.saturating_sub(FRAME_OVERHEAD);
        self.mtu.min(takes.min(u32::from(u16::MAX)) as u16)
    }

    /// The tag that the network's frames have at `port`, be it up or not: a decision outlives that.
    #[inline]
    pub fn tag_at(&self, port: PortId) -> Option<Tag> {
        if !self.has_tags {
            return None;
        }
        let at = self.attached.binary_search_by_key(&port, |member| member.port).ok()?;
        self.attached.get(at)?.tag
    }
}

/// What [`Topology::build`] makes a topology of. Networks and routers are in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Names and tables of the networks.
    pub networks: Vec<PlannedNetwork>,
    /// Names and routes of the routers.
    pub routers: Vec<PlannedRouter>,
    /// All ports, in any order; their `network` indexes `networks`.
    pub ports: Vec<Port>,
    /// Flow keys hold every field they can, whatever the stages read: for measuring.
    pub full_key: bool,
    /// Networks that other networks carry in tunnels.
    pub overlays: Vec<Arc<PlannedOverlay>>,
    /// Translations that actions name by index. A plan that changes them gives what is new a new index: cached flows keep
    /// theirs. Its templates are not looked at: those of the overlays take their place.
    pub rewrites: Arc<Rewrites>,
    /// The services of each router, by its index; routers at the end may be left out.
    pub services: Vec<Option<Arc<Services>>>,
    /// The static translations of each router, by its index; routers at the end may be left out.
    pub nat: Vec<Option<Arc<Nat>>>,
    /// Which backends clients of services are to stay with.
    pub affinity: Option<Arc<Affinity>>,
    /// The management port of each router, by its index; routers at the end may be left out.
    pub management: Vec<Option<Management>>,
    /// What this node alone has in overlays, of those in which it has something.
    pub ends: Vec<OwnEnd>,
}

/// A network in a [`Plan`].
#[derive(Clone, Debug)]
pub struct PlannedNetwork {
    /// Name.
    pub name: NetworkName,
    /// MAC table.
    pub fdb: Arc<Fdb>,
    /// Neighbours; a gateway's own addresses are among them.
    pub neighbors: Arc<NeighborTable>,
    /// Gateway; its `router` indexes the plan's routers.
    pub gateway: Option<Gateway>,
    /// See [`Network::answers`].
    pub answers: Answers,
    /// See [`Network::demux`].
    pub demux: Option<Demux>,
    /// The port to the node's own stack, one of the network's ports.
    pub host: Option<PortId>,
    /// See [`Network::mtu`].
    pub mtu: u16,
    /// See [`Network::mss_clamp`].
    pub mss_clamp: bool,
    /// See [`Network::masquerade`].
    pub masquerade: bool,
    /// See [`Network::closed`].
    pub closed: bool,
    /// The number that its router has among connections, the same as long as the router lives.
    pub zone: u16,
    /// See [`Network::tracks_bridged`]; then it has connections whether or not something is masqueraded.
    pub tracks_bridged: bool,
    /// See [`Network::policies`]; then `tracks_bridged`, too.
    pub policies: Option<Arc<Policies>>,
    /// See [`Network::storm_limit`].
    pub storm_limit: u32,
    /// See [`Network::forward_control`].
    pub forward_control: bool,
    /// See [`Network::meter`].
    pub meter: Option<Arc<Meter>>,
    /// See [`Network::crossing`].
    pub crossing: Crossing,
}

/// An immutable topology.
#[derive(Debug)]
pub struct Topology {
    generation: u64,
    numbering: u64,
    ports: Box<[Option<Port>]>,
    networks: Box<[Network]>,
    routers: Box<[Router]>,
    stamps: Stamps,
    inlets: Box<[Inlet]>,
    egress: Box<[Egress]>,
    tunnels: Tunnels,
    openers: Box<[Option<Openers>]>,
    activity: Arc<Activity>,
    services: Box<[Option<Arc<Services>>]>,
    nat: Box<[Option<Arc<Nat>>]>,
    affinity: Option<Arc<Affinity>>,
    /// By router.
    management: Box<[Option<Management>]>,
    /// By network.
    ends: Box<[Option<OwnEnd>]>,
}

/// What a burst from a port is received by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inlet {
    /// The port is there and up.
    pub up: bool,
    /// Tunnels end behind it: [`Topology::openers`] parse its frames.
    pub opens: bool,
    /// Some of its frames may belong to connections.
    pub tracks: bool,
    /// It or a network of its frames has a [`Meter`].
    pub police: bool,
    /// Its frames are copied.
    pub mirror: bool,
    /// How deep its frames are looked into: as deep as the deepest of its networks reads.
    pub depth: Depth,
}

/// What sending out of a port asks of it for every frame, in 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Longest frame it takes; 0 while it is down or not there.
    pub max_frame: u32,
    /// It is an L3 port.
    pub l3: bool,
    /// What leaves by it is copied.
    pub mirror: bool,
}

/// A port as one of its networks has it, up or not.
#[derive(Clone, Copy)]
struct Attached {
    member: Member,
    up: bool,
    l3: bool,
}

/// How deep the frames of `port` must be looked into.
fn depth(port: &Port, networks: &[Network]) -> Depth {
    let needed = |(network, _): (NetworkId, _)| networks.get(network.index()).map(|network| network.depth);
    let deepest = port.attachments().filter_map(needed).max().unwrap_or_default();
    if port.guarded {
        return Depth::Transport;
    }
    // At this depth tags are told apart, and addresses read.
    let deeper = port.vlans.is_some() || port.identity.is_some();
    if deeper { deepest.max(Depth::Network) } else { deepest }
}

impl Topology {
    /// A topology without ports.
    pub fn empty() -> Self {
        Self::build(0, &Plan::default())
    }

    /// Builds the topology of `plan`. Pure: the same plan gives the same topology.
    ///
    /// # Panics
    /// If a port names a network, or a gateway a router, that the plan does not have; the control side makes plans from
    /// validated configuration.
    pub fn build(generation: u64, plan: &Plan) -> Self {
        let mut ports: Box<[Option<Port>]> = (0..MAX_PORTS).map(|_| None).collect();
        for port in &plan.ports {
            let known = |network: NetworkId| network.index() < plan.networks.len();
            let all = known(port.network) && port.attachments().all(|(network, _)| known(network));
            assert!(all, "port {} is in no network", port.name);
            ports[port.id.index()] = Some(port.clone());
        }
        let mut attached: Vec<Vec<Attached>> = vec![Vec::new(); plan.networks.len()];
        for port in &plan.ports {
            for (network, tag) in port.attachments() {
                let member = Member { port: port.id, tag };
                attached[network.index()].push(Attached { member, up: port.up, l3: port.l3.is_some() });
            }
        }
        // Flows are told apart inside a tunnel by their addresses, and by ports that are read from each packet.
        let wraps = |id: NetworkId, network: &PlannedNetwork| {
            let router = network.gateway.as_ref().map(|gateway| gateway.router);
            plan.overlays.iter().any(|overlay| {
                let carried = plan.networks.get(overlay.network.index());
                let joined =
                    carried.and_then(|carried| carried.gateway.as_ref()).map(|gateway| gateway.router);
                overlay.network == id || router.is_some() && router == joined
            })
        };
        let router = |network: &PlannedNetwork| network.gateway.as_ref().map(|gateway| gateway.router);
        let tracks = |network: &PlannedNetwork| {
            let joined =
                |other: &&PlannedNetwork| router(other).is_some() && router(other) == router(network);
            plan.rewrites.connections.is_some()
                && (network.tracks_bridged
                    || plan
                        .networks
                        .iter()
                        .filter(joined)
                        .any(|other| other.masquerade || other.crossing.translates()))
        };
        let networks = plan.networks.iter().zip(&attached).enumerate().map(|(index, (network, attached))| {
            let id = NetworkId(index as u16);
            let mut all: Vec<&Attached> = attached.iter().collect();
            all.sort_unstable_by_key(|port| port.member.port);
            let members = all.iter().filter(|port| port.up).map(|port| port.member);
            let tag = |port: &&Attached| port.member.tag.is_some();
            if let Some(gateway) = &network.gateway {
                assert!(
                    gateway.router.index() < plan.routers.len(),
                    "network {} has no router",
                    network.name
                );
            }
            let asks = network.answers != Answers::Own || network.demux.is_some();
            let has_l3 = asks || network.gateway.is_some() || attached.iter().any(|port| port.l3);
            Network {
                id,
                name: network.name.clone(),
                members: members.collect(),
                attached: all.iter().map(|port| port.member).collect(),
                has_tags: all.iter().any(tag),
                fdb: network.fdb.clone(),
                neighbors: network.neighbors.clone(),
                gateway: network.gateway.clone(),
                answers: network.answers,
                demux: network.demux,
                host: network.host,
                mtu: network.mtu,
                mss_clamp: network.mss_clamp,
                masquerade: network.masquerade,
                closed: network.closed,
                zone: tracks(network).then_some(network.zone),
                tracks_bridged: network.tracks_bridged,
                policies: network.policies.clone(),
                storm_limit: network.storm_limit,
                forward_control: network.forward_control,
                meter: network.meter.clone(),
                crossing: network.crossing.clone(),
                has_l3,
                depth: match () {
                    () if plan.full_key || tracks(network) || network.policies.is_some() => Depth::Transport,
                    () if has_l3 || wraps(id, network) => Depth::Network,
                    () => Depth::Ethernet,
                },
            }
        });
        let networks: Box<[Network]> = networks.collect();
        let routers: Box<[Router]> = plan
            .routers
            .iter()
            .enumerate()
            .map(|(index, router)| Router {
                id: RouterId(index as u16),
                name: router.name.clone(),
                fib: router.fib.clone(),
            })
            .collect();
        let egress = ports.iter().map(|port| match port {
            Some(port) if port.up => Egress {
                max_frame: port.max_frame,
                l3: port.l3.is_some(),
                mirror: port.mirror.is_some_and(|mirror| mirror.egress),
            },
            _ => Egress::default(),
        });
        let egress = egress.collect();
        let tunnels = tunnels::build(&plan.overlays, &networks, &routers, &plan.rewrites);
        let openers: Box<[Option<Openers>]> =
            ports.iter().map(|port| tunnels.openers(port.as_ref()?, &networks, plan.full_key)).collect();
        let tracks_in =
            |id: NetworkId| networks.get(id.index()).is_some_and(|network| network.zone.is_some());
        let tracks_at = |port: &Port| {
            let tunnels = openers.get(port.id.index()).is_some_and(Option::is_some);
            port.attachments().any(|(network, _)| tracks_in(network))
                || tunnels && plan.overlays.iter().any(|overlay| tracks_in(overlay.network))
        };
        let metered = |id: NetworkId| networks.get(id.index()).is_some_and(|network| network.meter.is_some());
        let inlets = ports.iter().map(|port| match port {
            Some(port) if port.up => Inlet {
                up: true,
                opens: openers.get(port.id.index()).is_some_and(Option::is_some),
                tracks: tracks_at(port),
                police: port.meter.is_some() || port.attachments().any(|(id, _)| metered(id)),
                mirror: port.mirror.is_some_and(|mirror| mirror.ingress),
                depth: depth(port, &networks),
            },
            _ => Inlet::default(),
        });
        let inlets = inlets.collect();
        let stamps = Stamps::all(generation);
        Self {
            generation,
            numbering: generation,
            ports,
            networks,
            routers,
            stamps,
            inlets,
            egress,
            tunnels,
            openers,
            activity: Arc::default(),
            services: plan.services.clone().into(),
            nat: plan.nat.clone().into(),
            affinity: plan.affinity.clone(),
            management: plan.management.clone().into(),
            ends: OwnEnd::by_network(&plan.ends, plan.networks.len()),
        }
    }

    /// Tells this topology that it follows `previous`: what did not change between the two keeps its stamp, so that
    /// cached flows that rest on it need not be decided anew.
    #[must_use]
    pub fn following(mut self, previous: &Self) -> Self {
        self.stamps = Stamps::follow(previous, &self);
        self.activity = previous.activity.clone();
        for port in self.ports.iter_mut().flatten().filter(|port| port.meter.is_some()) {
            let before = previous.ports().find(|before| before.name == port.name);
            Meter::follow(&mut port.meter, before.and_then(|before| before.meter.as_ref()));
        }
        for network in self.networks.iter_mut().filter(|network| network.meter.is_some()) {
            let before = previous.networks.iter().find(|before| before.name == network.name);
            Meter::follow(&mut network.meter, before.and_then(|before| before.meter.as_ref()));
        }
        let names =
            |topology: &Self| -> Vec<_> { topology.networks.iter().map(|it| it.name.clone()).collect() };
        if names(previous) == names(&self) {
            self.numbering = previous.numbering;
        }
        self
    }

    /// This topology, under which every cached decision is made anew.
    #[must_use]
    pub fn anew(mut self) -> Self {
        self.stamps = Stamps::all(self.generation);
        self
    }

    /// The generation in which networks last came, went or changed places: while it is the same, so are their numbers.
    #[inline]
    pub fn numbering(&self) -> u64 {
        self.numbering
    }

    /// Which rows traffic rests on at present.
    #[inline]
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// The connections of all workers, where there are any.
    #[inline]
    pub fn connections(&self) -> Option<&Table> {
        self.rewrites().connections.as_deref()
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

    /// Which backends clients of services are to stay with, where any are.
    #[inline]
    pub fn affinity(&self) -> Option<&Affinity> {
        self.affinity.as_deref()
    }

    /// The management port of a router, where it has one.
    #[inline]
    pub fn management(&self, router: RouterId) -> Option<&Management> {
        self.management.get(router.index())?.as_ref()
    }

    /// What this node alone has in an overlay, where it has something.
    #[inline]
    pub fn own_end(&self, overlay: NetworkId) -> Option<&OwnEnd> {
        self.ends.get(overlay.index())?.as_ref()
    }

    /// Datagrams of which fragments are under way, where there are connections.
    #[inline]
    pub fn fragments(&self) -> Option<&Fragments> {
        self.rewrites().fragments.as_deref()
    }

    /// When what decisions rest on last changed.
    #[inline]
    pub fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// Number of the publication this topology was built for.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The port in slot `id`.
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.ports[id.index()].as_ref()
    }

    /// Templates and translations that actions name by index.
    #[inline]
    pub fn rewrites(&self) -> &Rewrites {
        &self.tunnels.rewrites
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

    /// What opens the tunnels that end behind port `id`.
    #[inline]
    pub fn openers(&self, id: PortId) -> Option<&Openers> {
        self.openers.get(id.index())?.as_ref()
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

    /// The network `id`.
    #[inline]
    pub fn network(&self, id: NetworkId) -> Option<&Network> {
        self.networks.get(id.index())
    }

    /// All ports in the order of their slots.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().flatten()
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

    /// All networks.
    pub fn networks(&self) -> &[Network] {
        &self.networks
    }
}
