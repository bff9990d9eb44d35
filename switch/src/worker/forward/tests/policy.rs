//! Policies through cache, stages and connections: the upstream matrix, and random clusters, packets and changes, against
//! the naive model of the specification and a naive list of connections.
//!
//! Nine pods, each behind a port of its own, three to a network, so that pods of a namespace are bridged and others routed;
//! two ends outside share a tenth port.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use etherparse::PacketBuilder;
use proptest::prelude::*;
use shunt_config::Cluster;

use super::*;
use crate::flow::execute::Rewrites;
use crate::ids::NetworkId;
use crate::policy::Resolver;
use crate::policy::tests::arbitrary::{ADDRESSES, cluster, pods};
use crate::policy::tests::model::{self as specification, Packet as Asked};
use crate::state::{Limits, Size, Table};
use crate::table::fdb::{self, Fdb, Place as At};
use crate::table::fib::{self, Fib, Route};
use crate::table::neighbor::{self, Neighbor, NeighborTable};
use crate::topology::{Answers, Gateway, Plan, PlannedNetwork, PlannedRouter, Port, RouterId, Topology};
use crate::wire::ethernet::Mac;
use crate::wire::protocol::{TCP, UDP};
use crate::worker::forward::connect::Track;

const NETWORKS: usize = 4;
const ENDS: usize = 10;
const OUTSIDE: usize = 3;

/// Port of an address, by its place in [`ADDRESSES`]; those outside share one.
fn port_of(place: usize) -> usize {
    (place % 11).min(ENDS - 1)
}

fn network_of(place: usize) -> usize {
    port_of(place) / 3
}

fn address(place: usize) -> IpAddr {
    ADDRESSES[place].parse().unwrap()
}

fn mac(place: usize) -> Mac {
    Mac::from_bytes([2, 0, 0, 0, 1, (place % 11) as u8])
}

fn gateway_mac(network: usize) -> Mac {
    Mac::from_bytes([2, 0, 0, 0, 0xfe, network as u8])
}

fn prefixes(network: usize) -> [String; 2] {
    match network {
        OUTSIDE => ["192.0.2.0/24".into(), "2001:db8::/64".into()],
        inside => [format!("10.0.{}.0/24", inside + 1), format!("fd00::{}:0/112", inside + 1)],
    }
}

fn gateway_addresses(network: usize) -> [(IpAddr, u8); 2] {
    match network {
        OUTSIDE => [("192.0.2.254".parse().unwrap(), 24), ("2001:db8::fe".parse().unwrap(), 64)],
        inside => [
            (format!("10.0.{}.254", inside + 1).parse().unwrap(), 24),
            (format!("fd00::{}:fe", inside + 1).parse().unwrap(), 112),
        ],
    }
}

fn network(number: usize, policies: Option<&Arc<crate::table::policy::Policies>>) -> PlannedNetwork {
    let here: Vec<usize> = (0..ADDRESSES.len()).filter(|place| network_of(*place) == number).collect();
    let stations: Vec<_> = here
        .iter()
        .map(|place| fdb::Row {
            mac: mac(*place),
            place: At::Port(PortId::new(port_of(*place)).unwrap()),
            fixed: true,
            last_seen: 0,
        })
        .collect();
    let own = gateway_addresses(number);
    let neighbors: Vec<_> = here
        .iter()
        .map(|place| (address(*place), Neighbor { mac: mac(*place), own: false, fixed: true }))
        .chain(own.map(|(own, _)| (own, Neighbor { mac: gateway_mac(number), own: true, fixed: true })))
        .map(|(address, neighbor)| neighbor::Row { address, neighbor, last_seen: 0 })
        .collect();
    PlannedNetwork {
        name: shunt_config::NetworkName::new(&format!("n{number}")).unwrap(),
        fdb: Arc::new(Fdb::build(stations.into_iter())),
        neighbors: Arc::new(NeighborTable::build(neighbors.into_iter())),
        gateway: Some(Gateway { mac: gateway_mac(number), addresses: own.into(), router: RouterId::FIRST }),
        answers: Answers::Own,
        demux: None,
        host: None,
        mtu: 1500,
        mss_clamp: false,
        storm_limit: 0,
        forward_control: false,
        meter: None,
        masquerade: false,
        closed: false,
        zone: 7,
        tracks_bridged: policies.is_some(),
        policies: policies.cloned(),
        crossing: crate::topology::Crossing::default(),
    }
}

/// The switch, its policies and its connections.
struct Site {
    resolver: Resolver,
    connections: Arc<Table>,
    fib: Arc<Fib>,
    topology: Topology,
    generation: u64,
}

impl Site {
    fn new(cluster: &Arc<Cluster>) -> Self {
        let size = Size { capacity: 1024, threads: 2, limits: Limits::NONE };
        let connected = |number: usize| {
            prefixes(number).map(|prefix| fib::Row {
                prefix: prefix.parse().unwrap(),
                route: Route::Connected(NetworkId::new(number)),
            })
        };
        let beyond = ["198.51.100.0/24", "2001:db8:1::/48"].map(|prefix| fib::Row {
            prefix: prefix.parse().unwrap(),
            route: Route::Connected(NetworkId::new(OUTSIDE)),
        });
        let mut site = Self {
            resolver: Resolver::default(),
            connections: Arc::new(Table::new(size, 3).unwrap()),
            fib: Arc::new(Fib::build((0..NETWORKS).flat_map(connected).chain(beyond))),
            topology: Topology::empty(),
            generation: 0,
        };
        site.follow(cluster);
        site
    }

    fn follow(&mut self, cluster: &Arc<Cluster>) {
        self.resolver.follow(cluster);
        let policies = self.resolver.table();
        let port = |number: usize| Port {
            id: PortId::new(number).unwrap(),
            name: shunt_config::PortName::new(&format!("p{number}")).unwrap(),
            network: NetworkId::new(number / 3),
            vlans: None,
            up: true,
            max_frame: 1522,
            l3: None,
            identity: None,
            guarded: false,
            mirror: None,
            meter: None,
        };
        let plan = Plan {
            networks: (0..NETWORKS).map(|number| network(number, policies.as_ref())).collect(),
            routers: vec![PlannedRouter {
                name: shunt_config::RouterName::new("r").unwrap(),
                fib: self.fib.clone(),
            }],
            ports: (0..ENDS).map(port).collect(),
            rewrites: Arc::new(Rewrites {
                connections: Some(self.connections.clone()),
                ..Rewrites::default()
            }),
            ..Plan::default()
        };
        self.generation += 1;
        let next = Topology::build(self.generation, &plan);
        self.topology = next.following(&self.topology);
    }
}

/// A packet between two places, with its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sent {
    from: usize,
    to: usize,
    protocol: u8,
    ports: (u16, u16),
}

impl Sent {
    fn back(self) -> Self {
        Self { from: self.to, to: self.from, ports: (self.ports.1, self.ports.0), ..self }
    }

    fn bytes(self) -> Vec<u8> {
        let network = network_of(self.from);
        let to = if network == network_of(self.to) { mac(self.to) } else { gateway_mac(network) };
        let frame = PacketBuilder::ethernet2(mac(self.from).bytes(), to.bytes());
        let packet = match (address(self.from), address(self.to)) {
            (IpAddr::V4(from), IpAddr::V4(to)) => frame.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => frame.ipv6(from.octets(), to.octets(), 64),
            _ => panic!("both are of one family"),
        };
        let mut bytes = Vec::new();
        match self.protocol {
            TCP => packet.tcp(self.ports.0, self.ports.1, 1, 1024).syn().write(&mut bytes, b"").unwrap(),
            _ => packet.udp(self.ports.0, self.ports.1).write(&mut bytes, b"hello").unwrap(),
        }
        bytes
    }

    /// What the specification says of a connection that it opens.
    fn may_open(self, cluster: &Cluster) -> bool {
        let asked = Asked {
            source: address(self.from),
            destination: address(self.to),
            protocol: self.protocol,
            port: Some(self.ports.1),
        };
        specification::judged(cluster, &asked) == (true, true)
    }
}

/// What becomes of a packet, with the stages alone and with the cache; both must say the same.
fn send(forwarder: &mut Forwarder, topology: &Topology, sent: Sent) -> Result<PortId, DropReason> {
    let port = PortId::new(port_of(sent.from)).unwrap();
    let (counters, changed) = (WorkerCounters::new(), topology.stamps().ingress(port));
    let (inlet, ours) = (topology.inlet(port), counters.port(port));
    let scene = Scene { topology, port, inlet, ours, now: 0, changed, storm: None };
    let (mut flows, mut burst) = ([Flow::default()], Burst::new());
    burst.push(pool().frame(&sent.bytes()).unwrap()).unwrap();
    forwarder.parse(&scene, &burst, &mut flows);
    forwarder.find(&mut flows);
    let [flow] = flows;
    let mut frame = burst.pop().unwrap();
    let mut fresh = pool().frame(&sent.bytes()).unwrap();
    let mut packet = Packet::new(&mut fresh, &flow.key, flow.layout, 0);
    let uncached = pipeline::run(topology, &mut packet, &mut Silent);
    let actions = match forwarder.hit(&scene, &flow, &mut frame) {
        Some(place) => forwarder.cache.actions(place),
        None => match forwarder.miss(&scene, &flow, &mut frame) {
            Ok(place) => forwarder.cache.actions(place),
            Err(decided) => decided.actions,
        },
    };
    assert_eq!(actions.verdict, uncached.verdict, "cache and stages differ for {sent:?}");
    match actions.verdict {
        Verdict::Port(to) => {
            if actions.edits.has(Edits::TRACK) {
                assert_eq!(forwarder.track(&scene, &actions, &flow, &frame), Ok(Track::GoesOn));
            }
            execute::edit(&actions, flow.layout, topology.rewrites(), &mut frame)?;
            Ok(to)
        }
        Verdict::Drop(reason) | Verdict::Reject(reason, _) => Err(reason),
        other => panic!("nothing here is flooded or answered: {other:?}"),
    }
}

/// A well-known case: its name, the policies, and how many of the 72 pairs of pods may talk at TCP 80, and at TCP 81.
const MATRIX: [(&str, &str, usize, usize); 17] = [
    ("nothing", "", 72, 72),
    ("deny all ingress of a namespace", "[[policy]]\nnamespace = \"x\"\nname = \"p\"\n", 48, 48),
    (
        "deny all of a namespace",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npolicy_types = [\"ingress\", \"egress\"]\n",
        30,
        30,
    ),
    (
        "allow all beside deny all",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\n[[policy]]\nnamespace = \"x\"\nname = \"q\"\ningress = [{}]\n",
        72,
        72,
    ),
    (
        "by namespace",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ from = [{ namespace_selector = { match_labels = { ns = \"y\" } } }] }]\n",
        67,
        67,
    ),
    (
        "by namespace, with an expression",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ from = [{ namespace_selector = { match_expressions = [{ key = \"ns\", operator = \"NotIn\", values = [\"x\"] }] } }] }]\n",
        70,
        70,
    ),
    (
        "by pod",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ from = [{ pod_selector = { match_labels = { pod = \"b\" } } }] }]\n",
        65,
        65,
    ),
    (
        "by pod and namespace",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ from = [{ namespace_selector = { match_labels = { ns = \"y\" } }, pod_selector = { match_labels = { pod = \"b\" } } }] }]\n",
        65,
        65,
    ),
    (
        "by pod or namespace",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ from = [{ namespace_selector = { match_labels = { ns = \"y\" } } }, { pod_selector = { match_labels = { pod = \"b\" } } }] }]\n",
        68,
        68,
    ),
    (
        "by addresses but some",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ from = [{ ip_block = { cidr = \"10.0.0.0/16\", except = [\"10.0.2.0/24\"] } }] }]\n",
        69,
        69,
    ),
    (
        "a port",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ ports = [{ port = 80 }] }]\n",
        72,
        64,
    ),
    (
        "a named port",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ ports = [{ port = \"serve-81\" }] }]\n",
        64,
        72,
    ),
    (
        "a range of ports",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ ports = [{ port = 81, end_port = 90 }] }]\n",
        64,
        72,
    ),
    (
        "egress of a pod, to a namespace",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\npolicy_types = [\"egress\"]\n\
         egress = [{ to = [{ namespace_selector = { match_labels = { ns = \"y\" } } }] }]\n",
        67,
        67,
    ),
    (
        "egress to a named port",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npolicy_types = [\"egress\"]\negress = [{ ports = [{ port = \"serve-80\" }] }]\n",
        72,
        48,
    ),
    (
        "an admin policy above, and its exception",
        "[[admin_policy]]\nname = \"p\"\npriority = 1\nsubject = { namespace_selector = { match_labels = { ns = \"x\" } } }\n\
         ingress = [{ action = \"allow\", ports = [{ port = 80 }] }, { action = \"deny\" }]\n\
         [[policy]]\nnamespace = \"x\"\nname = \"q\"\ningress = [{}]\n",
        72,
        48,
    ),
    (
        "a baseline below",
        "[[admin_policy]]\nname = \"p\"\ntier = \"baseline\"\nsubject = { namespace_selector = {} }\n\
         ingress = [{ action = \"deny\" }]\n[[policy]]\nnamespace = \"x\"\nname = \"q\"\ningress = [{}]\n",
        24,
        24,
    ),
];

/// Nine pods as the upstream tests have them: a, b, c in x, y, z, each serving ports 80 and 81 over both protocols.
fn upstream(policies: &str) -> Arc<Cluster> {
    let mut text = String::new();
    for (number, namespace) in ["x", "y", "z"].iter().enumerate() {
        text += &format!("[[namespace]]\nname = \"{namespace}\"\nlabels = {{ ns = \"{namespace}\" }}\n");
        for (last, pod) in ["a", "b", "c"].iter().enumerate() {
            text += &format!(
                "[[pod]]\nnamespace = \"{namespace}\"\nname = \"{pod}\"\nlabels = {{ pod = \"{pod}\" }}\n\
                 addresses = [\"10.0.{0}.{1}\", \"fd00::{0}:{1}\"]\n",
                number + 1,
                last + 1
            );
            text += "ports = [{ name = \"serve-80\", port = 80 }, { name = \"serve-81\", port = 81 }, \
                     { name = \"serve-80-udp\", port = 80, protocol = \"udp\" }]\n";
        }
    }
    let config = shunt_config::parse(&(text + policies), "matrix");
    config.unwrap_or_else(|errors| panic!("{errors}")).cluster
}

/// Sends the first packet of a connection from each pod to each other, at each port, over IPv4 and IPv6, and the answer to
/// each that came through; returns how many pairs could talk at TCP 80 and 81 over IPv4.
fn connectivity(
    name: &str,
    cluster: &Cluster,
    site: &Site,
    forwarder: &mut Forwarder,
    source: u16,
) -> (usize, usize) {
    let mut talk = [0; 2];
    for v6 in [0, 11] {
        for (from, to) in (0..9).flat_map(|from| (0..9).map(move |to| (from + v6, to + v6))) {
            if from == to {
                continue;
            }
            for (protocol, port) in [(TCP, 80), (TCP, 81), (UDP, 80), (UDP, 81)] {
                let sent = Sent { from, to, protocol, ports: (source, port) };
                let came = send(forwarder, &site.topology, sent);
                let may = sent.may_open(cluster);
                assert_eq!(came.is_ok(), may, "{name}: {sent:?} {came:?}");
                let Ok(came) = came else { continue };
                assert_eq!(came.index(), port_of(to), "{name}: {sent:?}");
                if protocol == UDP {
                    let back = send(forwarder, &site.topology, sent.back());
                    assert_eq!(back.map(PortId::index), Ok(port_of(from)), "{name}: the answer to {sent:?}");
                } else if v6 == 0 {
                    talk[usize::from(port - 80)] += 1;
                }
            }
        }
    }
    (talk[0], talk[1])
}

#[test]
fn the_upstream_matrix() {
    for (name, policies, at_80, at_81) in MATRIX {
        let cluster = upstream(policies);
        let (site, mut forwarder) = (Site::new(&cluster), forwarder(4096));
        let talk = connectivity(name, &cluster, &site, &mut forwarder, 40_000);
        assert_eq!(talk, (at_80, at_81), "{name}");
    }
}

#[test]
fn policies_and_labels_change_on_the_running_switch() {
    let mut site = Site::new(&Arc::default());
    let mut forwarder = forwarder(4096);
    // The same switch goes through all cases, back and forth, with new connections and with those it has.
    for (name, policies, at_80, at_81) in MATRIX.iter().chain(MATRIX.iter().rev()) {
        let cluster = upstream(policies);
        site.follow(&cluster);
        let talk = connectivity(name, &cluster, &site, &mut forwarder, 40_000);
        assert_eq!(talk, (*at_80, *at_81), "{name}");
    }
    let by_pod = MATRIX.iter().find(|case| case.0 == "by pod").unwrap().1;
    let mut cluster = upstream(by_pod);
    for pod in &mut Arc::make_mut(&mut cluster).pods {
        // Everybody is b now, so nobody is isolated.
        Arc::make_mut(pod).labels.insert("pod", "b");
    }
    site.follow(&cluster);
    assert_eq!(connectivity("labels", &cluster, &site, &mut forwarder, 40_000), (72, 72));
}

#[test]
fn an_established_connection_stops_when_it_is_forbidden_and_goes_on_when_it_is_not() {
    let none = upstream("");
    let by_pod = upstream(MATRIX.iter().find(|case| case.0 == "by pod").unwrap().1);
    let deny =
        upstream("[[policy]]\nnamespace = \"x\"\nname = \"p\"\npolicy_types = [\"ingress\", \"egress\"]\n");
    let mut site = Site::new(&by_pod);
    let mut forwarder = forwarder(64);
    // x/b to x/a, bridged.
    let sent = Sent { from: 1, to: 0, protocol: UDP, ports: (5000, 80) };
    assert!(send(&mut forwarder, &site.topology, sent).is_ok());
    assert!(send(&mut forwarder, &site.topology, sent.back()).is_ok());
    site.follow(&deny);
    assert_eq!(send(&mut forwarder, &site.topology, sent), Err(DropReason::PolicyEgress));
    assert_eq!(
        send(&mut forwarder, &site.topology, sent.back()),
        Err(DropReason::PolicyEgress),
        "its answers, too"
    );
    site.follow(&by_pod);
    assert!(send(&mut forwarder, &site.topology, sent.back()).is_ok(), "the connection is still known");
    assert!(send(&mut forwarder, &site.topology, sent).is_ok());
    site.follow(&none);
    assert!(send(&mut forwarder, &site.topology, sent).is_ok());
    // The other way round it was never allowed.
    site.follow(&by_pod);
    let knock = Sent { from: 2, to: 0, protocol: UDP, ports: (5000, 80) };
    assert_eq!(send(&mut forwarder, &site.topology, knock), Err(DropReason::PolicyIngress));
}

/// What a change is not about is forwarded from the cache as before.
#[test]
fn only_flows_of_pods_that_a_change_is_about_are_decided_anew() {
    let isolated = "[[policy]]\nnamespace = \"x\"\nname = \"p\"\ningress = [{}]\n\
                    [[policy]]\nnamespace = \"y\"\nname = \"q\"\ningress = [{ from = [{ pod_selector = {} }] }]\n";
    let mut cluster = upstream(isolated);
    let (mut site, mut forwarder) = (Site::new(&cluster), forwarder(64));
    let flow = |from, to| Sent { from, to, protocol: UDP, ports: (5000, 80) };
    // Within x, and within y: one pair each, both ways.
    let (near, far) = (flow(1, 0), flow(4, 3));
    let stale = |forwarder: &Forwarder| forwarder.counters.flows.stale.get();
    let mut pass = |site: &Site, sents: &[Sent]| {
        let before = stale(&forwarder);
        for sent in sents {
            assert!(send(&mut forwarder, &site.topology, *sent).is_ok(), "{sent:?}");
        }
        stale(&forwarder) - before
    };
    let all = [near, near.back(), far, far.back()];
    assert_eq!(pass(&site, &all), 0);
    assert_eq!(pass(&site, &all), 0);
    // The policy of y gets another rule: x has nothing to do with it.
    let changed =
        isolated.replace("pod_selector = {} }] }]", "pod_selector = {} }] }, { ports = [{ port = 9 }] }]");
    assert_ne!(changed, isolated);
    cluster = upstream(&changed);
    site.follow(&cluster);
    assert_eq!(pass(&site, &[near, near.back()]), 0);
    assert_eq!(pass(&site, &[far, far.back()]), 2);
    // x/c gets other labels, goes, and comes back: neither pair is one of its.
    let pods = &mut Arc::make_mut(&mut cluster).pods;
    Arc::make_mut(&mut pods[2]).labels.insert("tier", "front");
    site.follow(&cluster);
    assert_eq!(pass(&site, &all), 0);
    let gone = Arc::make_mut(&mut cluster).pods.remove(2);
    site.follow(&cluster);
    assert_eq!(pass(&site, &all), 0);
    Arc::make_mut(&mut cluster).pods.push(gone);
    site.follow(&cluster);
    assert_eq!(pass(&site, &all), 0);
    // A policy more, in x: its pods' flows are judged again.
    let more = format!(
        "{changed}[[policy]]\nnamespace = \"x\"\nname = \"r\"\npolicy_types = [\"egress\"]\negress = [{{}}]\n"
    );
    site.follow(&upstream(&more));
    assert_eq!(pass(&site, &all), 2);
}

#[derive(Clone, Debug)]
enum Event {
    /// Other pods.
    Pods(Vec<Arc<shunt_config::Pod>>),
    /// Another cluster.
    Cluster(Arc<Cluster>),
    /// One of the pods, or of the policies, is no more.
    Gone(bool, usize),
    Packet(Sent),
    /// The other way round, one of the packets that came through.
    Answer(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let ports = || prop::sample::select(vec![80_u16, 81, 1_000]);
    let sent = (0..ADDRESSES.len() / 2, 0..ADDRESSES.len() / 2, any::<bool>(), (ports(), ports()));
    let sent = sent.prop_map(|(from, to, v6, ports)| {
        let shift = if v6 { 11 } else { 0 };
        Sent { from: from + shift, to: to + shift, protocol: UDP, ports }
    });
    prop_oneof![
        2 => pods().prop_map(Event::Pods),
        1 => cluster().prop_map(Event::Cluster),
        3 => (any::<bool>(), any::<usize>()).prop_map(|(pod, which)| Event::Gone(pod, which)),
        30 => sent.prop_map(Event::Packet),
        20 => any::<usize>().prop_map(Event::Answer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// With a large cache, a tiny one and none, through changes of pods and policies: a packet passes when the connection it
    /// belongs to, or would open, is allowed now.
    #[test]
    fn cached_uncached_and_specification_agree(
        entries in prop::sample::select(vec![0_usize, 16, 4096]),
        first in cluster(),
        events in prop::collection::vec(event(), 1..150),
    ) {
        let mut now = first;
        let mut site = Site::new(&now);
        let mut forwarder = forwarder(entries);
        // Connections that have been entered, as their first packets; and everything that came through.
        let mut open: HashSet<Sent> = HashSet::new();
        let mut passed: Vec<Sent> = Vec::new();
        for event in events {
            let sent = match event {
                Event::Pods(pods) => {
                    Arc::make_mut(&mut now).pods = pods;
                    site.follow(&now);
                    continue;
                }
                Event::Cluster(cluster) => {
                    now = cluster;
                    site.follow(&now);
                    continue;
                }
                Event::Gone(pod, which) => {
                    let cluster = Arc::make_mut(&mut now);
                    match pod {
                        true if !cluster.pods.is_empty() => drop(cluster.pods.remove(which % cluster.pods.len())),
                        false if !cluster.policies.is_empty() => {
                            drop(cluster.policies.remove(which % cluster.policies.len()))
                        }
                        _ => {}
                    }
                    site.follow(&now);
                    continue;
                }
                Event::Packet(sent) => sent,
                Event::Answer(index) if !passed.is_empty() => passed[index % passed.len()].back(),
                Event::Answer(_) => continue,
            };
            // Both outside, or one and the same: not the switch's business here.
            if port_of(sent.from) == port_of(sent.to) {
                continue;
            }
            let looks = site.topology.network(NetworkId::new(network_of(sent.from))).unwrap().policies.is_some();
            let opener = if open.contains(&sent.back()) && !open.contains(&sent) { sent.back() } else { sent };
            let expected = !looks || opener.may_open(&now);
            let came = send(&mut forwarder, &site.topology, sent);
            prop_assert_eq!(came.is_ok(), expected, "{:?} of the connection {:?}: {:?}", sent, opener, came);
            if came.is_ok() {
                passed.push(sent);
                let subject = |place: usize| specification::is_subject(&now, address(place));
                if looks && !open.contains(&sent.back()) && (subject(sent.from) || subject(sent.to)) {
                    open.insert(sent);
                }
            }
        }
    }
}
