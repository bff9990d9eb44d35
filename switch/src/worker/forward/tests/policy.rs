//! Policies through cache, stages and connections: the upstream matrix, and random clusters, packets and changes, against
//! the naive model of the specification and a naive list of connections.
//!
//! Nine pods, each behind a port of its own, three to a network, so that pods of a namespace are bridged and others routed;
//! two ends outside share a tenth port.

mod matrix;
mod random;
mod site;

use std::net::IpAddr;
use std::sync::Arc;

use etherparse::PacketBuilder;
use shunt_config::Cluster;

use super::*;
use crate::policy::tests::model::{self as specification, Packet as Asked};
use crate::topology::Topology;
use crate::wire::protocol::{SCTP, TCP, UDP};
use crate::worker::forward::connect::Track;
use matrix::{case, upstream};
use site::{Site, address, gateway_mac, mac, network_of, port_of};

/// An INIT without ports, with the tag 7; its checksum is nobody's business who only forwards it.
const INIT: [u8; 32] =
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1];

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
            SCTP => {
                let mut init = Vec::from(INIT);
                init[..2].copy_from_slice(&self.ports.0.to_be_bytes());
                init[2..4].copy_from_slice(&self.ports.1.to_be_bytes());
                packet.write(&mut bytes, etherparse::IpNumber::SCTP, &init).unwrap();
            }
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

#[test]
fn an_established_connection_stops_when_it_is_forbidden_and_goes_on_when_it_is_not() {
    let none = upstream("");
    let by_pod = case("by pod");
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
