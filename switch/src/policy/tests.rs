//! The resolver and its table against a naive model of the specification.

pub(crate) mod arbitrary;
pub(crate) mod model;
pub(crate) mod speed;

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use shunt_config::{Cluster, Pod, Policy};

use super::Resolver;
use crate::table::policy::{Asked, Direction, Policies};
use arbitrary::{ADDRESSES, cluster, pods};
use model::Packet;

/// What the table says of a new connection: of what its source may send, and its destination receive.
fn judged(table: Option<&Policies>, packet: &Packet) -> (bool, bool) {
    let Some(table) = table else { return (true, true) };
    let (source, destination) = (table.get(packet.source), table.get(packet.destination));
    let asked = |peer, peer_identity| Asked {
        peer,
        peer_identity,
        receiver: destination,
        protocol: packet.protocol,
        port: packet.port,
    };
    let egress = source.and_then(|it| it.side(Direction::Egress));
    let ingress = destination.and_then(|it| it.side(Direction::Ingress));
    (
        egress.is_none_or(|side| side.judge(&asked(packet.destination, destination)).passes()),
        ingress.is_none_or(|side| side.judge(&asked(packet.source, source)).passes()),
    )
}

/// Every packet between any two addresses that the model tells apart.
fn packets() -> Vec<Packet> {
    let kinds = [
        (6, Some(80)),
        (6, Some(81)),
        (6, Some(1_000)),
        (17, Some(80)),
        (17, Some(81)),
        (132, Some(80)),
        (132, Some(1_000)),
        (1, None),
        (6, None),
        (132, None),
    ];
    let mut packets = Vec::new();
    let addresses: Vec<IpAddr> = ADDRESSES.iter().map(|text| text.parse().unwrap()).collect();
    for source in &addresses {
        for destination in addresses.iter().filter(|it| it.is_ipv4() == source.is_ipv4() && *it != source) {
            packets.extend(kinds.map(|(protocol, port)| Packet {
                source: *source,
                destination: *destination,
                protocol,
                port,
            }));
        }
    }
    packets
}

fn compare(cluster: &Cluster, table: Option<&Policies>) -> Result<(), TestCaseError> {
    for packet in packets() {
        prop_assert_eq!(judged(table, &packet), model::judged(cluster, &packet), "{:?}", packet);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_says_what_the_specification_says(cluster in cluster()) {
        let mut resolver = Resolver::default();
        resolver.follow(&cluster);
        compare(&cluster, resolver.table().as_deref())?;
    }

    #[test]
    fn following_changes_leads_where_a_new_start_leads(
        first in cluster(),
        later in prop::collection::vec((pods(), prop::option::weighted(0.2, cluster())), 1..5),
    ) {
        let mut resolver = Resolver::default();
        resolver.follow(&first);
        let mut cluster = first;
        for (pods, other) in later {
            // Mostly pods change, and now and then everything.
            cluster = other.unwrap_or(cluster);
            Arc::make_mut(&mut cluster).pods = pods;
            resolver.follow(&cluster);
            compare(&cluster, resolver.table().as_deref())?;
            let mut fresh = Resolver::default();
            fresh.follow(&cluster);
            prop_assert_eq!(resolver.subjects(), fresh.subjects());
            prop_assert_eq!(resolver.table().is_some(), fresh.table().is_some());
        }
    }
}

/// How a cluster becomes more like another.
#[derive(Clone, Copy, Debug)]
enum Part {
    Namespaces,
    AdminPolicies,
    /// That policy comes, goes or changes.
    Policy(usize),
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![Just(Part::Namespaces), Just(Part::AdminPolicies), (0usize..6).prop_map(Part::Policy)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Namespaces get other labels, and policies come and go one by one, while most stays, sometimes with the pods too.
    #[test]
    fn following_single_changes_leads_where_a_new_start_leads(
        first in cluster(),
        later in prop::collection::vec((cluster(), part(), any::<bool>()), 1..12),
    ) {
        let mut resolver = Resolver::default();
        resolver.follow(&first);
        let mut running = first;
        for (other, part, moves) in later {
            let cluster = Arc::make_mut(&mut running);
            match part {
                Part::Namespaces => cluster.namespaces.clone_from(&other.namespaces),
                Part::AdminPolicies => cluster.admin_policies.clone_from(&other.admin_policies),
                Part::Policy(at) => {
                    let new = other.policies.first().cloned();
                    match (cluster.policies.get_mut(at), new) {
                        (Some(known), Some(new)) if new.namespace == known.namespace => {
                            *known = Policy { name: known.name.clone(), ..Policy::clone(&new) }.into();
                        }
                        (Some(_), _) => drop(cluster.policies.remove(at)),
                        (None, Some(new)) => {
                            let taken = |number: &usize| {
                                cluster.policies.iter().any(|it| it.name == format!("p{number}"))
                            };
                            let free = (0..).find(|number| !taken(number)).unwrap_or_default();
                            let name = format!("p{free}");
                            cluster.policies.push(Policy { name, ..Policy::clone(&new) }.into());
                        }
                        (None, None) => {}
                    }
                }
            }
            if moves {
                cluster.pods.clone_from(&other.pods);
            }
            resolver.follow(&running);
            let table = resolver.table();
            compare(&running, table.as_deref())?;
            let mut fresh = Resolver::default();
            fresh.follow(&running);
            prop_assert_eq!(resolver.subjects(), fresh.subjects());
            prop_assert_eq!(table.is_some(), fresh.table().is_some());
        }
    }
}

#[test]
fn nothing_changed_is_the_same_table() {
    let text = "[[pod]]\nnamespace = \"x\"\nname = \"a\"\naddresses = [\"10.0.1.1\"]\n\
                [[pod]]\nnamespace = \"y\"\nname = \"b\"\naddresses = [\"10.0.2.1\"]\n\
                [[policy]]\nnamespace = \"x\"\nname = \"deny\"\n";
    let cluster = shunt_config::parse(text, "test").unwrap().cluster;
    let mut resolver = Resolver::default();
    resolver.follow(&cluster);
    let table = resolver.table().unwrap();
    assert_eq!(table.len(), 1, "a pod that no policy has to do with is not there");
    resolver.follow(&cluster);
    assert!(std::sync::Arc::ptr_eq(&table, &resolver.table().unwrap()));
    // Another pod that no policy has to do with.
    let mut more = cluster.clone();
    Arc::make_mut(&mut more).pods.push(Arc::new(Pod {
        name: "c".into(),
        addresses: vec!["10.0.2.9".parse().unwrap()],
        ..Pod::clone(&cluster.pods[1])
    }));
    resolver.follow(&more);
    assert!(std::sync::Arc::ptr_eq(&table, &resolver.table().unwrap()));
    Arc::make_mut(&mut more).pods.remove(0);
    resolver.follow(&more);
    assert!(resolver.table().is_none(), "no pod is left that a policy is about");
}

/// As when a workload is rolled: the next pod has the labels, and the address at once, of one that goes.
#[test]
fn addresses_pass_from_pod_to_pod_in_one_step() {
    let policies = "[[policy]]\nnamespace = \"x\"\nname = \"deny\"\n";
    let cluster = |pods: &[(&str, &str)]| {
        let pod = |(name, address): &(&str, &str)| {
            format!("[[pod]]\nnamespace = \"x\"\nname = \"{name}\"\naddresses = [\"{address}\"]\n")
        };
        let text: String = pods.iter().map(pod).collect();
        shunt_config::parse(&(text + policies), "test").unwrap().cluster
    };
    let mut resolver = Resolver::default();
    let isolated = |resolver: &mut Resolver| -> Vec<String> {
        let table = resolver.table().unwrap();
        table.iter().filter(|(_, it)| it.is_subject()).map(|(address, _)| address.to_string()).collect()
    };
    resolver.follow(&cluster(&[("a", "10.0.1.1"), ("b", "10.0.1.2")]));
    assert_eq!(isolated(&mut resolver), ["10.0.1.1", "10.0.1.2"]);
    resolver.follow(&cluster(&[("a", "10.0.1.2"), ("b", "10.0.1.1")]));
    assert_eq!(isolated(&mut resolver), ["10.0.1.1", "10.0.1.2"], "they change places");
    resolver.follow(&cluster(&[("b", "10.0.1.1"), ("c", "10.0.1.2")]));
    assert_eq!(isolated(&mut resolver), ["10.0.1.1", "10.0.1.2"], "c takes over from a");
    resolver.follow(&cluster(&[("c", "10.0.1.2")]));
    assert_eq!(isolated(&mut resolver), ["10.0.1.2"]);
}

#[test]
fn numbers_stay_when_policies_come_and_go() {
    let policies = ["web", "db", "dns"].map(|app| {
        format!(
            "[[policy]]\nnamespace = \"x\"\nname = \"{app}\"\npod_selector = {{ match_labels = {{ app = \"{app}\" }} }}\n\
             ingress = [{{ from = [{{ pod_selector = {{ match_labels = {{ to = \"{app}\" }} }} }}], ports = [{{ port = \"{app}\" }}] }}]\n"
        )
    });
    let pods: String = ["web", "db", "dns"]
        .iter()
        .zip(1..)
        .map(|(app, last)| {
            format!(
                "[[pod]]\nnamespace = \"x\"\nname = \"{app}\"\nlabels = {{ app = \"{app}\", to = \"{app}\" }}\n\
                 addresses = [\"10.0.1.{last}\"]\nports = [{{ name = \"{app}\", port = 80 }}]\n"
            )
        })
        .collect();
    let cluster = |chosen: &[usize]| {
        let text: String = chosen.iter().map(|at| policies[*at].as_str()).collect();
        shunt_config::parse(&format!("{pods}{text}"), "test").unwrap().cluster
    };
    let mut resolver = Resolver::default();
    resolver.follow(&cluster(&[0, 1, 2]));
    let mut before = resolver.table().unwrap();
    for (chosen, differ) in
        [(&[1, 2][..], "10.0.1.1"), (&[2], "10.0.1.2"), (&[0, 2], "10.0.1.1"), (&[0, 2, 1], "10.0.1.2")]
    {
        resolver.follow(&cluster(chosen));
        let after = resolver.table().unwrap();
        let mut differing = Vec::new();
        before.compare(&after, |address| differing.push(address.to_string()));
        assert_eq!(differing, [differ], "{chosen:?}");
        before = after;
    }
}

#[test]
fn a_judgement_names_its_policies() {
    let text = "[[pod]]\nnamespace = \"x\"\nname = \"a\"\naddresses = [\"10.0.1.1\"]\n\
                [[policy]]\nnamespace = \"x\"\nname = \"deny\"\n\
                [[policy]]\nnamespace = \"x\"\nname = \"web\"\naction = \"reject\"\n\
                ingress = [{ ports = [{ port = 443 }] }, { ports = [{ port = 80 }] }]\n\
                [[admin_policy]]\nname = \"no-ssh\"\npriority = 3\nsubject = { namespace_selector = {} }\n\
                ingress = [{ action = \"deny\", ports = [{ port = 22 }] }]\n";
    let mut resolver = Resolver::default();
    resolver.follow(&shunt_config::parse(text, "test").unwrap().cluster);
    let table = resolver.table().unwrap();
    let pod = table.get("10.0.1.1".parse().unwrap()).unwrap();
    let said = |port| {
        let peer = "192.0.2.1".parse().unwrap();
        let asked = Asked { peer, peer_identity: None, receiver: Some(pod), protocol: 6, port: Some(port) };
        let judgement = pod.side(Direction::Ingress).unwrap().judge(&asked);
        (judgement.describe(), judgement.rejects())
    };
    assert_eq!(said(80), ("allowed by policy x/web rule 1".to_owned(), false));
    assert_eq!(said(22), ("denied by admin policy no-ssh rule 0".to_owned(), false));
    assert_eq!(said(81), ("allowed by no rule of x/deny, x/web, which isolate the pod".to_owned(), true));
    assert!(pod.side(Direction::Egress).is_none(), "isolated in one direction only");
}
