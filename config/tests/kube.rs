//! Kubernetes objects as changes of a running configuration, and the messages about those that are none. After a wanted change
//! of the messages, write the file anew with `SHUNT_BLESS=1 cargo test -p shunt-config --test kube`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shunt_config::{Config, Encap, Merged, Mtu, Network, NetworkKind, UnderlayMode, merge, parse, remove};

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
    let Merged { config, notes, .. } = merged("../../examples/kube-ovn-subnet.yaml");
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
    let Merged { config, notes, .. } = merged("several.yaml");
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
    let Merged { config, notes, .. } = merged("policies.yaml");
    let written = parse(&text("policies.toml"), "policies.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.cluster, written.cluster);
    assert!(notes.is_empty(), "{notes:?}");
    // Twice is once, and all else is as it was.
    let again = merge(&config, &text("policies.yaml"), "again").unwrap();
    assert_eq!(again.config, config);
    assert_eq!(Config { cluster: Default::default(), ..config }, node());
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

#[test]
fn what_was_applied_is_taken_out_again() {
    let all = text("policies.yaml");
    let applied = merge(&node(), &all, "f").unwrap().config;
    // One of the pods has ended, and was never kept.
    assert_eq!(remove(&applied, &all, "f", true, |_| false).unwrap().config, node());
    // One by its name alone; all else stays.
    let name = &applied.cluster.policies[0];
    let one = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: {}, namespace: {} }}\n",
        name.name, name.namespace
    );
    let left = remove(&applied, &one, "f", false, |_| false).unwrap().config;
    assert_eq!(left.cluster.policies, applied.cluster.policies[1..]);
    assert_eq!((&left.cluster.pods, &left.services), (&applied.cluster.pods, &applied.services));
    let twice = remove(&left, &one, "f", false, |_| false).unwrap_err().to_string();
    assert_eq!(
        twice,
        format!(
            "f:1:1: document 1: metadata.name: there is no NetworkPolicy {}; `shunt show policies` lists what there is",
            name.full_name()
        )
    );
    assert_eq!(remove(&left, &one, "f", true, |_| false).unwrap().config, left);
}

#[test]
fn a_namespace_goes_with_all_that_is_in_it() {
    let service = |namespace: &str, address: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: web, namespace: {namespace}, annotations: {{ shunt/router: node }} }}\n\
             spec: {{ clusterIP: {address}, ports: [{{ port: 80 }}] }}\n"
        )
    };
    let pod = |namespace: &str, address: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: p, namespace: {namespace} }}\nstatus: {{ podIP: {address} }}\n"
        )
    };
    let one =
        merge(&node(), &(service("shop", "10.96.0.1") + &pod("shop", "10.16.0.7")), "f").unwrap().config;
    let both = merge(&one, &(service("test", "10.96.0.2") + &pod("test", "10.16.0.8")), "f").unwrap().config;
    let gone = "apiVersion: v1\nkind: Namespace\nmetadata: { name: test }\n";
    assert_eq!(remove(&both, gone, "f", false, |_| false).unwrap().config, one);
    let unknown = remove(&one, gone, "f", false, |_| false).unwrap_err().to_string();
    assert!(unknown.contains("there is no Namespace test"), "{unknown}");
}

#[test]
fn slices_and_subnets_go_and_what_is_still_in_use_stays() {
    let slice = |name: &str, address: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{ name: {name}, namespace: shop, labels: {{ kubernetes.io/service-name: web }} }}\n\
             addressType: IPv4\nports: [{{ port: 8080 }}]\nendpoints: [{{ addresses: [{address}] }}]\n"
        )
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: shop, annotations: { shunt/router: node } }\n\
                   spec: { clusterIP: 10.96.0.1, ports: [{ port: 80 }] }\n";
    let running =
        merge(&node(), &(service.to_owned() + &slice("a", "10.16.0.7") + &slice("b", "10.16.0.8")), "f");
    let running = running.unwrap().config;
    let by_name =
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: a, namespace: shop }\n";
    let left = remove(&running, by_name, "f", false, |_| false).unwrap().config;
    let addresses: Vec<_> = left.services[0].endpoints.iter().map(|it| it.address.to_string()).collect();
    assert_eq!(addresses, ["10.16.0.8"]);
    assert!(remove(&left, by_name, "f", false, |_| false).is_err());
    assert_eq!(remove(&left, service, "f", false, |_| false).unwrap().config, node());
    // A headless service was never here.
    let headless =
        "apiVersion: v1\nkind: Service\nmetadata: { name: h, namespace: shop }\nspec: { clusterIP: None }\n";
    let noted = remove(&running, headless, "f", false, |_| false).unwrap();
    assert_eq!((noted.config, noted.notes.len()), (running, 1));

    let subnet = text("../../examples/kube-ovn-subnet.yaml");
    let applied = merge(&node(), &subnet, "f").unwrap().config;
    assert_eq!(remove(&applied, &subnet, "f", false, |_| false).unwrap().config, node());
    let words = [("name", "p"), ("kind", "tap"), ("network", "underlay-subnet")];
    let words = words.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut used = applied.clone();
    used.ports.push(shunt_config::parse_port(&words, &applied).unwrap());
    let refused = remove(&used, &subnet, "f", false, |_| false).unwrap_err().to_string();
    assert!(
        refused.contains("unknown network \"underlay-subnet\"") && refused.contains("running configuration"),
        "{refused}"
    );
}

/// Only what a service can be in conflict with is looked at again; the mistake is found all the same, whichever is later.
#[test]
fn a_service_in_conflict_with_one_of_many_is_found() {
    let service = |name: &str, address: &str, port: u16| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop, annotations: {{ shunt/router: node }} }}\n\
             spec: {{ type: NodePort, clusterIP: {address}, ports: [{{ port: 80, nodePort: {port} }}] }}\n"
        )
    };
    let many: String = (1..=20)
        .map(|last| service(&format!("s{last}"), &format!("10.96.0.{last}"), 30_000 + last))
        .collect();
    let running = merge(&node(), &many, "f").unwrap().config;
    let added = merge(&running, &service("new", "10.96.0.21", 30_021), "f").unwrap().config;
    assert_eq!((added.services.len(), &added.services[..20]), (21, &running.services[..]));
    let wrong = |name: &str, address: &str, port| {
        merge(&running, &service(name, address, port), "f.yaml").unwrap_err().to_string()
    };
    assert_eq!(
        wrong("new", "10.96.0.7", 30_021),
        "f.yaml:2:1: document 1: as a service, cluster_ips[0]: 10.96.0.7 is an address of service shop/s7; choose another"
    );
    assert_eq!(
        wrong("new", "10.96.0.21", 30_009),
        "f.yaml:2:1: document 1: as a service, ports[0].node_port: 30009 is a node port of service shop/s9 already; choose another"
    );
    // The one that was there is the later one.
    let earlier = wrong("s3", "10.96.0.15", 30_003);
    assert!(
        earlier.contains("10.96.0.15 is an address of service shop/s3")
            && earlier.contains("running configuration"),
        "{earlier}"
    );
}
