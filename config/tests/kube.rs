//! Kubernetes objects as changes of a running configuration, and the messages about those that are none. After a wanted change
//! of the messages, write the file anew with `SHUNT_BLESS=1 cargo test -p shunt-config --test kube`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shunt_config::{Config, Encap, Merged, Mtu, Network, NetworkKind, UnderlayMode, merge, parse};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn node() -> Config {
    parse(&text("node.toml"), "node.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn merged(name: &str) -> Merged {
    merge(&node(), &text(name), name).unwrap_or_else(|errors| panic!("{errors}"))
}

fn network<'c>(config: &'c Config, name: &str) -> &'c Network {
    config.network(name).unwrap_or_else(|| panic!("there is no {name}"))
}

fn gateways(network: &Network) -> Vec<String> {
    network.gateways.iter().map(ToString::to_string).collect()
}

#[test]
fn the_subnet_of_reference_000_is_an_underlay_without_a_gateway_of_ours() {
    let Merged { config, notes } = merged("../../examples/kube-ovn-subnet.yaml");
    let subnet = network(&config, "underlay-subnet");
    let NetworkKind::Underlay(underlay) = &subnet.kind else { panic!("{subnet:?}") };
    assert_eq!((underlay.bridge.as_str(), underlay.vlan), ("br-phy", Some(100)));
    assert_eq!(underlay.mode, UnderlayMode::Bridged, "pods are stations of the physical network");
    assert_eq!((&subnet.router, gateways(subnet)), (&None, vec![]), "the gateway is the physical one");
    assert!(notes.is_empty(), "{notes:?}");
    // All else is as it was.
    let mut rest = config.clone();
    rest.networks.retain(|network| network.name.as_str() != "underlay-subnet");
    assert_eq!(rest, node());
    // Twice is once.
    let again = merge(&config, &text("../../examples/kube-ovn-subnet.yaml"), "again").unwrap();
    assert_eq!(again.config, config);
}

#[test]
fn several_objects_of_a_file_are_applied_together() {
    let Merged { config, notes } = merged("several.yaml");
    let changed = network(&config, "ovn-default");
    let overlay = changed.overlay().unwrap();
    assert_eq!(gateways(changed), ["10.17.0.1/16", "fd00:10:17::1/112"]);
    assert!(overlay.cidr.is_empty());
    assert_eq!(changed.mtu, Mtu::Bytes(1400));
    // What a Subnet does not say stays.
    assert_eq!(
        (overlay.vni, overlay.peers.len(), changed.mac_ageing),
        (Some(3), 1, Duration::from_secs(600))
    );
    assert_eq!(config.router("ovn-cluster").unwrap().routes.len(), 1);

    let blue = network(&config, "blue");
    let overlay = blue.overlay().unwrap();
    assert_eq!((overlay.encap, overlay.vni, overlay.transport.as_str()), (Encap::Geneve, Some(77), "ctl"));
    assert_eq!(overlay.local.to_string(), "10.184.134.82");
    assert_eq!(gateways(blue), ["10.18.0.1/24"], "the first address, as nothing else is said");
    assert_eq!(blue.router.as_ref().unwrap().as_str(), "tenant");
    assert!(blue.masquerade && !changed.masquerade, "natOutgoing");
    assert!(config.router("tenant").is_some(), "a router that was not there is made");
    assert_eq!(blue.gateway_mac, None, "derived from the name, so that it is the same on every node");

    let ext = network(&config, "ext");
    assert_eq!(ext.underlay().unwrap().vlan, Some(100));
    assert_eq!(
        (gateways(ext), ext.router.as_ref().unwrap().as_str()),
        (vec!["192.168.1.254/24".to_owned()], "node")
    );
    assert_eq!(
        notes,
        [
            "document 1 (Subnet ovn-default): spec.excludeIps: whoever hands out addresses must heed it; shunt hands out none",
            "document 1 (Subnet ovn-default): spec.default: whoever hands out addresses must heed it; shunt has no default subnet",
        ]
    );
}

#[test]
fn every_mistake_has_its_document_and_field() {
    let errors = merge(&node(), &text("mistakes.yaml"), "mistakes.yaml").unwrap_err();
    let (found, expected) = (format!("{errors}\n"), path("mistakes.txt"));
    if std::env::var_os("SHUNT_BLESS").is_some() {
        std::fs::write(&expected, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(expected).unwrap());
}

#[test]
fn what_does_not_fit_the_node_is_said_at_the_object() {
    let wrong = |text: &str| merge(&node(), text, "f.yaml").unwrap_err().to_string();
    let subnet = |name: &str, spec: &str| {
        format!(
            "---\n\n---\napiVersion: kubeovn.io/v1\nkind: Subnet\nmetadata: {{ name: {name}, annotations: {{ shunt/vni: 9, shunt/transport: ctl }} }}\nspec: {{ {spec} }}\n"
        )
    };
    assert_eq!(
        wrong(&subnet("a", "cidrBlock: 10.16.4.0/24")),
        "f.yaml:4:1: document 2: as a network, gateways[0]: 10.16.4.0/24 overlaps 10.16.0.0/16 of network ovn-default; give each network of a router subnets of its own"
    );
    let mtu = wrong(&subnet("a", "cidrBlock: 10.19.4.0/24, mtu: 10"));
    assert!(mtu.contains("document 2: spec.mtu: 10 is out of range"), "{mtu}");
}

#[test]
fn what_is_no_object_is_refused() {
    let wrong = |text: &str| merge(&node(), text, "f.yaml").unwrap_err().to_string();
    assert!(wrong("a: [1, 2\nb: 3").starts_with("f.yaml:2:"), "{}", wrong("a: [1, 2\nb: 3"));
    assert!(wrong("a: &x 1\nb: *x\n").contains("anchors and aliases"), "no small text stands for a huge one");
    assert!(wrong("a: 1\na: 2\n").contains("\"a\" is given twice"));
    assert!(wrong(&"- ".repeat(10_000)).contains("nested deeper"));
    assert!(wrong(&"[".repeat(10_000)).contains("f.yaml:1:"));
    // Nothing asks for nothing.
    for nothing in ["", "# a comment\n", "---\n---\n"] {
        assert_eq!(merge(&node(), nothing, "f.yaml").unwrap().config, node());
    }
}

#[test]
fn pods_and_policies_are_those_of_the_api() {
    let Merged { config, notes } = merged("policies.yaml");
    let written = parse(&text("policies.toml"), "policies.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.cluster, written.cluster);
    assert!(notes.is_empty(), "{notes:?}");
    // Twice is once, and all else is as it was.
    let again = merge(&config, &text("policies.yaml"), "again").unwrap();
    assert_eq!(again.config, config);
    assert_eq!(Config { cluster: shunt_config::Cluster::default(), ..config }, node());
}

#[test]
fn a_pod_that_has_ended_goes_and_one_that_changed_takes_its_place() {
    let pod = |labels: &str, phase: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{ name: p, labels: {{ {labels} }} }}\nstatus: {{ phase: {phase}, podIP: 10.16.0.7 }}\n"
        )
    };
    let running = merge(&node(), &pod("a: b", "Running"), "f").unwrap().config;
    assert_eq!((running.cluster.pods[0].namespace.as_str(), running.cluster.pods.len()), ("default", 1));
    let changed = merge(&running, &pod("a: c", "Running"), "f").unwrap().config;
    assert_eq!((changed.cluster.pods[0].labels.get("a"), changed.cluster.pods.len()), (Some("c"), 1));
    assert_eq!(merge(&changed, &pod("a: c", "Failed"), "f").unwrap().config, node());
}

#[test]
fn every_mistake_of_a_policy_has_its_document_and_field() {
    let errors = merge(&node(), &text("policy-mistakes.yaml"), "policy-mistakes.yaml").unwrap_err();
    let (found, expected) = (format!("{errors}\n"), path("policy-mistakes.txt"));
    if std::env::var_os("SHUNT_BLESS").is_some() {
        std::fs::write(&expected, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(expected).unwrap());
}
