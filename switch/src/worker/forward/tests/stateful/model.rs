//! The rules once more, naively: a list of connections, and for each packet the ways it may go, in the words of docs/services.md,
//! docs/connections.md and docs/policies.md. Where a choice is free (a backend, a port) there are several.

use std::collections::HashMap;
use std::net::IpAddr;

use shunt_config::{Service, ServiceEndpoint, TrafficPolicy};

use super::frames::{REQUEST, Segment, Talk};
use super::places::{self, OUTSIDE, gateway, network_of};
use super::switch::own_addresses;
use super::world::{AREA, NODE, World};
use crate::drop::DropReason;
use crate::policy::tests::model::{self as specification, Packet as Asked};
use crate::wire::protocol::{ICMP, ICMPV6, TCP};

/// A packet that a station sends: to the router, or straight to a station of its network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) station: usize,
    pub(super) straight: Option<usize>,
    pub(super) talk: Talk,
    pub(super) segment: Segment,
}

/// What made a connection, and what it rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rests {
    /// A service sent it to its backend.
    pub(super) service: bool,
    /// A floating address, and the station it stood for.
    pub(super) floating: Option<(IpAddr, IpAddr)>,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Unreplied,
    Replied,
    SynSent,
    SynReceived,
    Established,
    Closed,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) original: Talk,
    pub(super) reply: Talk,
    pub(super) rests: Rests,
    pub(super) life: Life,
    /// Second of the last packet.
    pub(super) last: u32,
    /// First sequence numbers of both sides.
    pub(super) first: (u32, u32),
    /// Both sides have spoken.
    pub(super) both: bool,
}

impl Connection {
    /// Seconds of silence after which it is forgotten (those of Linux).
    pub(super) fn patience(&self) -> u32 {
        match self.life {
            Life::Unreplied => 30,
            Life::Replied if self.original.protocol == ICMP => 30,
            Life::Replied | Life::SynSent => 120,
            Life::SynReceived => 60,
            Life::Established => 432_000,
            Life::Closed => 10,
        }
    }
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// To that station, as this. `routed`: by the router, not bridged.
    Out { to: usize, talk: Talk, routed: bool },
    /// Answered by the switch itself.
    Echoed,
    /// Dropped, and the sender hears that nobody is there.
    Refused(DropReason),
    /// Dropped; the sender may be told.
    Lost(DropReason),
}

/// The port that the sender of a new connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Its own if nobody is answered in the same way; another one otherwise.
    Own,
    /// The same, but no well-known one.
    Shared,
}

/// A connection that is opened on the way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opens {
    pub(super) from: From,
    /// Its sender gets an address of the pool.
    pub(super) pooled: bool,
    pub(super) rests: Rests,
    /// A client of a service that is to stay, and his backend.
    pub(super) stays: Option<(Client, Backend)>,
}

/// A service's port, and who uses it.
pub(super) type Client = (usize, usize, IpAddr);
pub(super) type Backend = (IpAddr, u16);

#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) end: End,
    pub(super) opens: Option<Opens>,
    /// The backend that was chosen for it.
    pub(super) backend: Option<Backend>,
}

/// What the model remembers.
#[derive(Default)]
pub(super) struct Model {
    pub(super) open: Vec<Connection>,
    /// Which backend clients are to stay with, and until when.
    pub(super) stays: HashMap<Client, (Backend, u32)>,
}

/// By which address of a service a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cluster,
    LoadBalancer,
    External,
    Node,
}

/// A packet on its way through the rules: what it has become so far.
#[derive(Clone, Copy, Debug)]
struct Draft {
    talk: Talk,
    rests: Rests,
    stays: Option<(Client, Backend)>,
    /// Its receiver was changed.
    sent_on: bool,
    /// Its sender was changed.
    guised: bool,
    /// It must leave with an address of this node.
    masked: bool,
}

impl Model {
    /// The connection that a packet belongs to, what it becomes, and whether it is an answer.
    pub(super) fn find(&self, talk: &Talk) -> Option<(usize, Talk, bool)> {
        self.open.iter().enumerate().find_map(|(at, it)| match () {
            () if it.original == *talk => Some((at, it.reply.back(), false)),
            () if it.reply == *talk => Some((at, it.original.back(), true)),
            () => None,
        })
    }

    /// True when no connection has packets of that kind.
    pub(super) fn is_free(&self, talk: &Talk) -> bool {
        self.find(talk).is_none()
    }

    /// The ways that a packet may go; `looks`: there are policies about somebody.
    pub(super) fn ways(&self, world: &World, looks: bool, sent: &Sent, now: u32) -> Vec<Way> {
        let served = world.services.iter().any(Option::is_some);
        let bridged = looks || served || world.floating.is_some();
        let routed = sent.straight.is_none();
        let tracks = if routed { bridged || world.masquerade != [false; 2] } else { bridged };
        let draft = Draft {
            talk: sent.talk,
            rests: Rests::default(),
            stays: None,
            sent_on: false,
            guised: false,
            masked: false,
        };
        if let Some((_, talk, answers)) = self.find(&sent.talk).filter(|_| tracks) {
            return vec![onward(world, looks, sent, Draft { talk, ..draft }, Some(answers))];
        }
        if routed && let Some(ways) = self.by_service(world, looks, sent, draft, now) {
            return ways;
        }
        if routed && let Some(station) = world.floating {
            let pair = (places::floating(sent.talk.is_v6()), places::address(station, sent.talk.is_v6()));
            if sent.talk.to == pair.0 {
                let mut draft = Draft { sent_on: true, ..draft };
                draft.talk.to = pair.1;
                draft.rests.floating = Some(pair);
                let draft = hairpin(sent, draft);
                return vec![onward(world, looks, sent, draft, None)];
            }
        }
        vec![onward(world, looks, sent, draft, None)]
    }

    /// Where an error goes that the receiver of a packet of a connection sends back, and about which packet it is then: the one
    /// that its sender has sent. `answers`: about an answer. Policies let errors about known connections pass.
    pub(super) fn complains(world: &World, it: &Connection, answers: bool, sent: &Sent) -> (End, Talk) {
        let (about, back) = match answers {
            false => (it.original, it.original.back()),
            true => (it.reply, it.reply.back()),
        };
        let talk = Talk { from: back.from, to: back.to, ..sent.talk };
        let draft = Draft {
            talk,
            rests: Rests::default(),
            stays: None,
            sent_on: false,
            guised: false,
            masked: false,
        };
        (onward(world, false, sent, draft, Some(!answers)).end, about)
    }

    /// What services make of a packet; `None` when it is for none.
    fn by_service(
        &self,
        world: &World,
        looks: bool,
        sent: &Sent,
        draft: Draft,
        now: u32,
    ) -> Option<Vec<Way>> {
        let talk = &sent.talk;
        let refused = |reason| Some(vec![Way { end: End::Refused(reason), opens: None, backend: None }]);
        let Some((number, at, kind)) = front(world, talk) else {
            let mut all = world.services.iter().flatten();
            let own =
                all.any(|it| it.cluster_ips.contains(&talk.to) || it.load_balancer_ips.contains(&talk.to));
            return match own {
                true if talk.protocol == ICMP => {
                    Some(vec![Way { end: End::Echoed, opens: None, backend: None }])
                }
                true => refused(DropReason::ServiceNoPort),
                false => None,
            };
        };
        let service = world.services[number].as_deref()?;
        let ranges = &service.source_ranges;
        if kind == Kind::LoadBalancer
            && !ranges.is_empty()
            && !ranges.iter().any(|net| net.contains(&talk.from))
        {
            return Some(vec![lost(DropReason::ServiceSourceRefused)]);
        }
        let inside = is_inside(world, network_of(sent.station));
        let policy = match kind {
            Kind::Cluster => service.internal_traffic_policy,
            _ if inside => TrafficPolicy::Cluster,
            _ => service.external_traffic_policy,
        };
        let everywhere = candidates(service, talk.is_v6(), false);
        let mut backends = match policy {
            TrafficPolicy::Cluster => everywhere.clone(),
            TrafficPolicy::Local => candidates(service, talk.is_v6(), true),
        };
        match (backends.is_empty(), everywhere.is_empty()) {
            (true, true) => return refused(DropReason::ServiceNoEndpoints),
            (true, false) => return Some(vec![lost(DropReason::ServiceNoneHere)]),
            _ => {}
        }
        let client = (number, at, talk.from);
        let sticky = service.affinity == shunt_config::Affinity::ClientIp;
        if sticky
            && let Some((held, until)) = self.stays.get(&client)
            && *until >= now
            && backends.contains(held)
        {
            backends = vec![*held];
        }
        let way = |backend: Backend| {
            let mut draft = Draft { sent_on: true, stays: sticky.then_some((client, backend)), ..draft };
            (draft.talk.to, draft.talk.ports.1) = backend;
            draft.rests.service = true;
            draft.masked = kind != Kind::Cluster && !inside && policy == TrafficPolicy::Cluster;
            let draft = hairpin(sent, draft);
            Way { backend: Some(backend), ..onward(world, looks, sent, draft, None) }
        };
        Some(backends.into_iter().map(way).collect())
    }
}

fn lost(reason: DropReason) -> Way {
    Way { end: End::Lost(reason), opens: None, backend: None }
}

/// Who is sent back to himself must not see himself as the sender.
fn hairpin(sent: &Sent, mut draft: Draft) -> Draft {
    if draft.talk.to == draft.talk.from {
        draft.talk.from = gateway(network_of(sent.station), draft.talk.is_v6());
        draft.guised = true;
    }
    draft
}

fn is_inside(world: &World, network: usize) -> bool {
    network != OUTSIDE && world.masquerade[network]
}

/// The service whose port a packet is for, the port, and by which address.
fn front(world: &World, talk: &Talk) -> Option<(usize, usize, Kind)> {
    world.services.iter().enumerate().find_map(|(number, service)| {
        let service = service.as_ref()?;
        let lists = [
            (&service.cluster_ips, Kind::Cluster),
            (&service.load_balancer_ips, Kind::LoadBalancer),
            (&service.external_ips, Kind::External),
        ];
        let at = |port: &dyn Fn(&shunt_config::ServicePort) -> Option<u16>| {
            let fits = |it: &shunt_config::ServicePort| {
                it.protocol.number() == talk.protocol && port(it) == Some(talk.ports.1)
            };
            service.ports.iter().position(fits)
        };
        if let Some((_, kind)) = lists.into_iter().find(|(list, _)| list.contains(&talk.to)) {
            return Some((number, at(&|it| Some(it.port))?, kind));
        }
        let own = own_addresses().any(|own| own == talk.to);
        own.then(|| at(&|it| it.node_port)).flatten().map(|at| (number, at, Kind::Node))
    })
}

/// Who answers: those that are ready, or when none is those that serve though they are on their way out.
fn candidates(service: &Service, v6: bool, local: bool) -> Vec<Backend> {
    let all = service.endpoints.iter().filter(|it| it.address.is_ipv6() == v6 && it.weight > 0);
    let all: Vec<&ServiceEndpoint> = all.collect();
    let ready: Vec<_> = all.iter().copied().filter(|it| it.ready).collect();
    let here = |it: &ServiceEndpoint| match &it.node {
        Some(node) => node == NODE,
        None => places::subnet_of(it.address).is_some_and(|network| network != OUTSIDE),
    };
    let near = |it: &ServiceEndpoint| it.zones.iter().any(|zone| zone == AREA);
    let hinted = ready.iter().all(|it| !it.zones.is_empty()) && ready.iter().any(|it| near(it));
    let fits = |it: &&ServiceEndpoint| match (local, hinted) {
        (true, _) => here(it),
        (false, true) => near(it),
        (false, false) => true,
    };
    let chosen: Vec<_> = ready.into_iter().filter(fits).collect();
    let leaving = || all.iter().copied().filter(|it| it.serving && it.terminating && fits(it)).collect();
    let chosen: Vec<&ServiceEndpoint> = if chosen.is_empty() { leaving() } else { chosen };
    chosen.into_iter().map(|it| (it.address, it.port.unwrap())).collect()
}

/// What policies say of a packet: whether they know one of its ends, or why it is dropped.
fn policies(world: &World, sent: &Sent, draft: &Draft, known: Option<bool>) -> Result<bool, DropReason> {
    let (client, server, port) = match known {
        Some(true) => (draft.talk.to, sent.talk.from, sent.talk.ports.0),
        _ => (sent.talk.from, draft.talk.to, draft.talk.ports.1),
    };
    if client == server {
        return Ok(false);
    }
    let (protocol, port) = match (sent.talk.protocol, sent.talk.is_v6()) {
        (ICMP, true) => (ICMPV6, None),
        (ICMP, false) => (ICMP, None),
        (protocol, _) => (protocol, Some(port)),
    };
    match specification::judged(
        &world.cluster,
        &Asked { source: client, destination: server, protocol, port },
    ) {
        (false, _) => Err(DropReason::PolicyEgress),
        (true, false) => Err(DropReason::PolicyIngress),
        (true, true) => {
            Ok([client, server].into_iter().any(|end| specification::is_subject(&world.cluster, end)))
        }
    }
}

/// Policies, the route and who sends; `known` says whether it is an answer, of a connection that there is.
fn onward(world: &World, looks: bool, sent: &Sent, mut draft: Draft, known: Option<bool>) -> Way {
    let v6 = sent.talk.is_v6();
    let subject = match looks.then(|| policies(world, sent, &draft, known)).transpose() {
        Ok(subject) => subject.unwrap_or(false),
        Err(reason) => return lost(reason),
    };
    let (mut from, mut pooled) = (From::Own, false);
    let (to, routed) = match sent.straight {
        Some(station) => (station, false),
        None => {
            let to = draft.talk.to;
            let ours = world.pool && places::pool().contains(&to)
                || world.floating.is_some() && places::floating(v6) == to;
            if ours || own_addresses().any(|own| own == draft.talk.to) {
                let end = match sent.talk.protocol == ICMP && sent.talk.ports.1 == REQUEST {
                    true => End::Echoed,
                    false => End::Refused(DropReason::ForSwitch),
                };
                return Way { end, opens: None, backend: None };
            }
            let network = match places::subnet_of(draft.talk.to) {
                Some(network) => network,
                None if world.default_route => OUTSIDE,
                None => return lost(DropReason::NoRoute),
            };
            let ingress = network_of(sent.station);
            let translates = |from: usize, to: usize| is_inside(world, from) && !is_inside(world, to);
            if network == 0 && world.closed && translates(0, ingress) && known.is_none() && !draft.sent_on {
                return lost(DropReason::OverlayNotReachable);
            }
            if known.is_none() && !draft.guised {
                let floats = world.floating.filter(|station| places::address(*station, v6) == sent.talk.from);
                if floats.is_some() && network == OUTSIDE && ingress != OUTSIDE {
                    draft.talk.from = places::floating(v6);
                    draft.rests.floating = Some((places::floating(v6), sent.talk.from));
                    draft.guised = true;
                } else if translates(ingress, network) || draft.masked {
                    pooled = world.pool && network == OUTSIDE && !draft.masked;
                    draft.talk.from = gateway(network, v6);
                    draft.guised = true;
                    from = From::Shared;
                }
            } else if draft.guised {
                from = From::Shared;
            }
            let hop =
                if places::subnet_of(draft.talk.to).is_some() { draft.talk.to } else { places::far(v6) };
            match world.home(hop) {
                Some(station) => (station, true),
                None => return lost(DropReason::NoFdbEntry),
            }
        }
    };
    let opens = known.is_none() && (draft.sent_on || draft.guised || subject);
    Way {
        end: End::Out { to, talk: draft.talk, routed },
        opens: opens.then_some(Opens { from, pooled, rests: draft.rests, stays: draft.stays }),
        backend: None,
    }
}

/// Whether a connection may go on in a changed world.
pub(super) fn goes_on(world: &World, it: &Connection) -> bool {
    let stands = it.rests.floating.is_none_or(|(external, internal)| {
        world.floating.is_some_and(|station| {
            (external, internal)
                == (places::floating(external.is_ipv6()), places::address(station, internal.is_ipv6()))
        })
    });
    let v6 = it.original.is_v6();
    // One that began before the address stood for a station.
    let early =
        it.original.to == places::floating(v6) && world.floating.is_some() && it.rests.floating.is_none();
    let front = front(world, &it.original);
    stands
        && !early
        && match (it.rests.service, front) {
            (true, None) | (false, Some(_)) => false,
            (false, None) => true,
            (true, Some((number, _, _))) => {
                let backend = (it.reply.from, it.reply.ports.0);
                world.services[number]
                    .iter()
                    .flat_map(|it| &it.endpoints)
                    .any(|endpoint| (endpoint.address, endpoint.port) == (backend.0, Some(backend.1)))
            }
        }
}

/// The packet of a connection that is due next, in a direction; and what the connection is then.
pub(super) fn due(it: &Connection, answers: bool, resets: bool) -> Option<(Segment, Life)> {
    if it.original.protocol != TCP {
        return Some((Segment::default(), if answers { Life::Replied } else { it.life }));
    }
    let (mine, yours) = if answers { (it.first.1, it.first.0) } else { it.first };
    let go = Segment { sequence: mine + 1, acknowledges: Some(yours + 1), ..Segment::default() };
    let syn = Segment { syn: true, sequence: mine, ..Segment::default() };
    Some(match (it.life, answers) {
        (Life::SynSent, false) => (syn, Life::SynSent),
        (Life::SynSent | Life::SynReceived, true) => {
            (Segment { acknowledges: Some(yours + 1), ..syn }, Life::SynReceived)
        }
        (Life::SynReceived, false) => (go, Life::Established),
        (Life::Established, _) if resets && it.both => (Segment { reset: true, ..go }, Life::Closed),
        (Life::Established, _) => (go, Life::Established),
        // Another one in its place: see `play`.
        (Life::Closed | Life::Unreplied | Life::Replied, _) => return None,
    })
}
