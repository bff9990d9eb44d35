//! Services between overlay and underlay (rows A2b): pods of an underlay ask for cluster addresses by the physical router, which knows
//! none of them, and are backends of others. Two nodes with a daemon each, both families.

use shunt_tests::ovs::DAEMON;
use shunt_tests::scene::{self, Scene};
use shunt_tests::{Interface, Netns, Veth, Wire, require};

use crate::dual;
use crate::node::PATIENCE;
use crate::remote::{datagram, page, serve};

const NODES: [(&str, &str); 2] = [
    ("node1", include_str!("../../scenes/overlay-underlay/node1.toml")),
    ("node2", include_str!("../../scenes/overlay-underlay/node2.toml")),
];
const CLUSTER: [&str; 2] = ["10.96.0.10", "fd00:96::10"];
/// Who is where: the place, and its addresses.
type Place = (&'static str, [&'static str; 2]);
/// Overlay pods of the two nodes.
const OVER1: Place = ("pod-9-60", ["10.20.9.60", "fd00:20:0:9::60"]);
const OVER2: Place = ("pod-6-10", ["10.20.6.10", "fd00:20:0:6::10"]);
/// Underlay pods of the two nodes, in VLAN 1155.
const UNDER1: Place = ("pod_a", ["10.186.155.6", "fd00:1155::6"]);
const UNDER2: Place = ("pod_d", ["10.186.155.7", "fd00:1155::7"]);
/// One that the scene does not have, beside the first.
const BESIDE: Place = ("pod_c", ["10.186.155.8", "fd00:1155::8"]);
/// A machine of that VLAN which is no pod, as the API server of a cluster may be; it is the physical router, too.
const MACHINE: Place = ("router", ["10.186.155.30", "fd00:1155::30"]);

/// The port of the pod beside.
const PORT: &str = "[[port]]\nname = \"eth0@pod_c\"\nkind = \"veth\"\ndevice = \"veth_pod_c\"\nnetwork = \"biz.1155\"\n\
                    endpoints = [{ ip = [\"10.186.155.8\", \"fd00:1155::8\"] }]\n";

/// The first underlay pod may open connections to the overlay pod of its node, and to nobody else.
const POLICY: &str = "[[pod]]\nnamespace = \"shop\"\nname = \"a\"\nlabels = { app = \"a\" }\naddresses = [\"10.186.155.6\"]\n\
                      [[policy]]\nnamespace = \"shop\"\nname = \"only\"\npod_selector = { match_labels = { app = \"a\" } }\n\
                      policy_types = [\"egress\"]\negress = [{ to = [{ ip_block = { cidr = \"10.20.9.60/32\" } }] }]\n";

/// Both nodes with the service and these backends, the first with further sections.
#[track_caller]
fn apply(scene: &Scene, backends: &[&str], more: &str) {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = |at: &&str| format!("{{ address = \"{at}\", ports = {{ t = 8080, u = 8080 }} }}");
    let endpoints: Vec<_> = backends.iter().map(endpoint).collect();
    for (name, text) in NODES {
        let text = dual::with_v6(text);
        let text = format!(
            "{text}[[service]]\nname = \"shop/web\"\ncluster_ips = [\"{}\", \"{}\"]\n\
             ports = [{{ name = \"t\", port = 80 }}, {{ name = \"u\", protocol = \"udp\", port = 80 }}]\nendpoints = [{}]\n",
            CLUSTER[0],
            CLUSTER[1],
            endpoints.join(", ")
        );
        let text = if name == "node1" { text + PORT + more } else { text };
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        scene.node(name).shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
    }
}

/// One more underlay pod of node 1, in VLAN 1155.
#[track_caller]
fn beside(scene: &Scene) -> Netns {
    let pod = Netns::named(BESIDE.0).unwrap();
    let inside =
        Interface { mac: Some("8e:78:9c:32:b5:72"), addrs: &["10.186.155.8/27"], ..Interface::default() };
    // It ends with the pod's namespace.
    std::mem::forget(Veth::pair("veth_pod_c", Some(scene.place("node1")), &pod, &inside).unwrap());
    pod.exec(&["ip", "route", "add", "default", "via", "10.186.155.30"]).unwrap();
    pod
}

fn state(scene: &Scene) -> String {
    let node = |name: &str| {
        let said = |words: &[&str]| scene.node(name).shuntd.cli_text(words).unwrap();
        format!("{name}: {}\n{}", said(&["show", "drops"]), said(&["conntrack", "-L"]))
    };
    ["node1", "node2"].map(node).concat()
}

/// The client asks the service over both families and protocols, and is answered by that backend, who sees it as `seen`.
#[track_caller]
fn reaches(scene: &Scene, client: Place, backend: Place, seen: [&str; 2]) {
    apply(scene, &backend.1, "");
    for (at, seen) in CLUSTER.into_iter().zip(seen) {
        let (about, expected) =
            (format!("{} to {} by {at}", client.0, backend.0), format!("{} {seen}", backend.0));
        let from = scene.place(client.0);
        assert_eq!(page(from, at, 80), expected, "{about}\n{}", state(scene));
        assert_eq!(datagram(from, at, 80), expected, "{about}\n{}", state(scene));
    }
}

#[test]
fn underlay_pods_ask_for_cluster_addresses_and_answer_for_them() {
    require!(root(), tool("perl"), tool("curl"), tool("ethtool"), tool("tcpdump"), file(DAEMON), shuntd());
    let scene = scene::make("overlay-underlay").unwrap_or_else(|error| panic!("{error}"));
    dual::give(scene.place("router"), "vlan.1155", "fd00:1155::30/64", None);
    for (name, [_, v6]) in [UNDER1, UNDER2] {
        dual::give(scene.place(name), "eth0", &format!("{v6}/64"), Some("fd00:1155::30"));
    }
    for (name, [_, v6]) in [OVER1, OVER2] {
        dual::give(scene.place(name), "eth0", &format!("{v6}/128"), Some("fd00:20::1"));
    }
    let pod_c = beside(&scene);
    dual::give(&pod_c, "eth0", "fd00:1155::8/64", Some("fd00:1155::30"));
    let places = [OVER1, OVER2, UNDER1, UNDER2, MACHINE];
    let mut running: Vec<_> = places.iter().map(|(name, _)| serve(scene.place(name), name)).collect();
    running.push(serve(&pod_c, BESIDE.0));
    let router = Wire::on(scene.place("router"), "vlan.1155").unwrap();
    for (client, backend) in [
        // From the underlay into the overlay, on the node and through the tunnel, and between underlay pods of the two nodes.
        (UNDER1, OVER1),
        (UNDER1, OVER2),
        (UNDER2, OVER1),
        (UNDER1, UNDER2),
        (UNDER2, UNDER1),
        // To a backend beside the client, which answers it directly.
        (UNDER1, BESIDE),
        // From the overlay to backends in the underlay.
        (OVER1, UNDER1),
        (OVER2, UNDER1),
        // A node's address among the backends: nothing that is no pod's is left out.
        (UNDER1, MACHINE),
    ] {
        reaches(&scene, client, backend, client.1);
    }
    // To itself it is the network's gateway.
    reaches(&scene, UNDER1, UNDER1, ["10.186.155.1", "fd00:1155::1"]);
    // A policy is about the backend, also where the pod has a route to cluster addresses by the switch itself.
    scene
        .place("pod_a")
        .exec(&["ip", "route", "add", "10.96.0.0/16", "via", "169.254.2.1", "dev", "eth0", "onlink"])
        .unwrap();
    for (backend, expected) in [(OVER1, "pod-9-60 10.186.155.6"), (OVER2, "silence")] {
        apply(&scene, &backend.1, POLICY);
        assert_eq!(datagram(scene.place("pod_a"), CLUSTER[0], 80), expected, "{}", state(&scene));
    }
    assert!(scene.node("node1").dropped("policy_egress").unwrap() > 0, "{}", state(&scene));
    // The physical router was asked for none of it.
    let to_service = |frame: &Vec<u8>| {
        frame.get(30..34) == Some(&[10, 96, 0, 10]) || frame.get(38..42) == Some(&[0xfd, 0, 0, 0x96])
    };
    assert!(!router.seen().iter().any(to_service));
    // Without `local_route` what a pod sends to the physical router is the physical router's.
    let other = Wire::on(scene.place("router"), "vlan.1156").unwrap();
    let said = datagram(scene.place("pod_b"), CLUSTER[0], 80);
    assert!(!said.contains("pod"), "{said}\n{}", state(&scene));
    other.wait(PATIENCE, |frame| to_service(&frame.to_vec())).unwrap();
}
