//! How a topology is made of a plan, and how it follows the one before.

use std::sync::Arc;

use super::plan::{Plan, PlannedNetwork};
use super::stamps::Stamps;
use super::{
    Answers, Egress, Inlet, Member, Meter, Network, OwnEnd, Port, Router, RouterId, Topology, tunnels,
};
use crate::flow::Depth;
use crate::flow::parse::Openers;
use crate::ids::{MAX_PORTS, NetworkId};

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
        let ports = slots(plan);
        let networks = networks(plan);
        let routers = routers(plan);
        let tunnels = tunnels::build(&plan.overlays, &networks, &routers, &plan.rewrites);
        let openers: Box<[Option<Openers>]> =
            ports.iter().map(|port| tunnels.openers(port.as_ref()?, &networks, plan.full_key)).collect();
        let inlets = inlets(plan, &ports, &networks, &openers);
        let egress = ports.iter().map(|port| port.as_ref().map_or_else(Egress::default, egress)).collect();
        Self {
            generation,
            numbering: generation,
            ports,
            inlets,
            egress,
            openers,
            networks,
            ends: OwnEnd::by_network(&plan.ends, plan.networks.len()),
            routers,
            services: plan.services.clone().into(),
            nat: plan.nat.clone().into(),
            management: plan.management.clone().into(),
            tunnels,
            affinity: plan.affinity.clone(),
            stamps: Stamps::all(generation),
            activity: Arc::default(),
        }
    }

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
}

/// The ports by their slots.
fn slots(plan: &Plan) -> Box<[Option<Port>]> {
    let mut ports: Box<[Option<Port>]> = (0..MAX_PORTS).map(|_| None).collect();
    for port in &plan.ports {
        let known = |network: NetworkId| network.index() < plan.networks.len();
        let all = known(port.network) && port.attachments().all(|(network, _)| known(network));
        assert!(all, "port {} is in no network", port.name);
        ports[port.id.index()] = Some(port.clone());
    }
    ports
}

/// A port as one of its networks has it, up or not.
#[derive(Clone, Copy)]
struct Attached {
    member: Member,
    up: bool,
    l3: bool,
}

fn networks(plan: &Plan) -> Box<[Network]> {
    let mut attached: Vec<Vec<Attached>> = vec![Vec::new(); plan.networks.len()];
    for port in &plan.ports {
        for (network, tag) in port.attachments() {
            let member = Member { port: port.id, tag };
            attached[network.index()].push(Attached { member, up: port.up, l3: port.l3.is_some() });
        }
    }
    for all in &mut attached {
        all.sort_unstable_by_key(|port| port.member.port);
    }
    let numbered = (0..).map(NetworkId).zip(&plan.networks).zip(&attached);
    numbered.map(|((id, planned), attached)| network(plan, id, planned, attached)).collect()
}

fn network(plan: &Plan, id: NetworkId, planned: &PlannedNetwork, attached: &[Attached]) -> Network {
    if let Some(gateway) = &planned.gateway {
        let known = gateway.router.index() < plan.routers.len();
        assert!(known, "network {} has no router", planned.name);
    }
    let asks = planned.answers != Answers::Own || planned.demux.is_some();
    let has_l3 = asks || planned.gateway.is_some() || attached.iter().any(|port| port.l3);
    let tracks = tracks(plan, planned);
    let deep = plan.full_key || tracks || planned.policies.is_some();
    // Flows are told apart inside a tunnel by their addresses, and by ports that are read from each packet.
    let wraps = plan.overlays.iter().any(|overlay| overlay.network == id);
    Network {
        id,
        name: planned.name.clone(),
        members: attached.iter().filter(|port| port.up).map(|port| port.member).collect(),
        attached: attached.iter().map(|port| port.member).collect(),
        has_tags: attached.iter().any(|port| port.member.tag.is_some()),
        fdb: planned.fdb.clone(),
        neighbors: planned.neighbors.clone(),
        gateway: planned.gateway.clone(),
        answers: planned.answers,
        demux: planned.demux,
        host: planned.host,
        mtu: planned.mtu,
        mss_clamp: planned.mss_clamp,
        masquerade: planned.masquerade,
        closed: planned.closed,
        zone: tracks.then_some(planned.zone),
        tracks_bridged: planned.tracks_bridged,
        policies: planned.policies.clone(),
        storm_limit: planned.storm_limit,
        forward_control: planned.forward_control,
        meter: planned.meter.clone(),
        crossing: planned.crossing.clone(),
        has_l3,
        depth: match () {
            () if deep => Depth::Transport,
            () if has_l3 || wraps => Depth::Network,
            () => Depth::Ethernet,
        },
    }
}

/// True when what comes in from the network may belong to a connection.
fn tracks(plan: &Plan, network: &PlannedNetwork) -> bool {
    let router = router(network);
    let joined = |other: &&PlannedNetwork| router.is_some() && self::router(other) == router;
    let translates = |other: &PlannedNetwork| other.masquerade || other.crossing.translates();
    plan.rewrites.connections.is_some()
        && (network.tracks_bridged || plan.networks.iter().filter(joined).any(translates))
}

fn router(network: &PlannedNetwork) -> Option<RouterId> {
    network.gateway.as_ref().map(|gateway| gateway.router)
}

fn routers(plan: &Plan) -> Box<[Router]> {
    let numbered = (0..).map(RouterId).zip(&plan.routers);
    numbered.map(|(id, router)| Router { id, name: router.name.clone(), fib: router.fib.clone() }).collect()
}

fn inlets(
    plan: &Plan,
    ports: &[Option<Port>],
    networks: &[Network],
    openers: &[Option<Openers>],
) -> Box<[Inlet]> {
    let tracks_in = |id: NetworkId| networks.get(id.index()).is_some_and(|network| network.zone.is_some());
    let metered = |id: NetworkId| networks.get(id.index()).is_some_and(|network| network.meter.is_some());
    let inlet = |port: &Port| {
        let opens = openers.get(port.id.index()).is_some_and(Option::is_some);
        Inlet {
            up: true,
            opens,
            tracks: port.attachments().any(|(network, _)| tracks_in(network))
                || opens && plan.overlays.iter().any(|overlay| tracks_in(overlay.network)),
            police: port.meter.is_some() || port.attachments().any(|(id, _)| metered(id)),
            mirror: port.mirror.is_some_and(|mirror| mirror.ingress),
            depth: port.depth(networks),
        }
    };
    let up = |port: &Option<Port>| port.as_ref().filter(|port| port.up).map(inlet);
    ports.iter().map(|port| up(port).unwrap_or_default()).collect()
}

fn egress(port: &Port) -> Egress {
    if !port.up {
        return Egress::default();
    }
    Egress {
        max_frame: port.max_frame,
        l3: port.l3.is_some(),
        mirror: port.mirror.is_some_and(|mirror| mirror.egress),
    }
}
