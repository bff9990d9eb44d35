//! Random pods, policies, packets and changes, against the specification and a list of connections.

use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::*;
use shunt_config::Cluster;

use super::site::{Site, address, network_of, port_of};
use super::{Sent, forwarder, send};
use crate::ids::NetworkId;
use crate::policy::tests::arbitrary::{ADDRESSES, cluster, pods};
use crate::policy::tests::model as specification;
use crate::wire::protocol::{SCTP, UDP};

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
    let places = || 0..ADDRESSES.len() / 2;
    let protocol = prop::sample::select(vec![UDP, SCTP]);
    let sent = (places(), places(), any::<bool>(), protocol, (ports(), ports()));
    let sent = sent.prop_map(|(from, to, v6, protocol, ports)| {
        let shift = if v6 { 11 } else { 0 };
        Sent { from: from + shift, to: to + shift, protocol, ports }
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
