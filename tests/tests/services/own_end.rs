//! A backend of another node in an overlay of its own subnet, whose gateway every node has: clients outside are seen as the node
//! that they asked, by an address that no other node has (`node_ips`). Two nodes with a daemon each.

use shunt_tests::scene::{self, Scene};
use shunt_tests::{Ping, require};

use crate::node::PATIENCE;
use crate::remote::{datagram, page, serve};

const NODES: [(&str, &str); 2] = [
    ("node1", include_str!("../../scenes/overlay-geneve/node1.toml")),
    ("node2", include_str!("../../scenes/overlay-geneve/node2.toml")),
];
/// Those of the first node in `ovn-default`.
const OWN: [&str; 2] = ["10.16.255.1", "fd00:10:16::ff01"];
/// The node itself, to the world.
const NODE: [&str; 2] = ["10.184.134.82", "fd00:184::82"];
const BACKEND: [&str; 2] = ["10.16.0.3", "fd00:10:16::3"];

/// What a node is configured with: `encap`; `own` has the first node's addresses on it, `known` on the second.
fn config(node: usize, encap: &str, own: bool, known: bool) -> String {
    let addresses = format!("node_ips = [\"{}\", \"{}\"]", OWN[0], OWN[1]);
    let subnet = "gateways = [\"10.16.0.1/16\", \"fd00:10:16::1/64\"]\n";
    let text = NODES[node].1.replace("encap = \"geneve\"", &format!("encap = \"{encap}\""));
    // The nodes' own network is one of the router's, and has IPv6, too.
    let (last, text) = (82 + node, text.replacen("router = \"node\"", "router = \"ovn-cluster\"", 1));
    let text = text.replacen(&format!(".{last}/24\""), &format!(".{last}/24\", \"fd00:184::{last}/64\""), 1);
    let text = match (node, own, known) {
        (0, true, _) => text.replacen(subnet, &format!("{subnet}{addresses}\n"), 1),
        (1, _, true) => text.replacen("\"10.184.134.82\", ", &format!("\"10.184.134.82\", {addresses}, "), 1),
        _ => text,
    };
    if node == 1 {
        return text;
    }
    let endpoints: Vec<_> = BACKEND
        .iter()
        .map(|at| format!("{{ address = \"{at}\", ports = {{ t = 8080, u = 8080 }} }}"))
        .collect();
    format!(
        "{text}[[service]]\nname = \"shop/web\"\nrouter = \"ovn-cluster\"\nports = [{{ name = \"t\", port = 80, node_port = 30080 }}, \
         {{ name = \"u\", protocol = \"udp\", port = 80, node_port = 30080 }}]\ncluster_ips = [\"10.96.0.10\", \"fd00:96::10\"]\n\
         endpoints = [{}]\n",
        endpoints.join(", ")
    )
}

#[track_caller]
fn apply(scene: &Scene, encap: &str, own: bool, known: bool) {
    let dir = tempfile::tempdir().unwrap();
    for (at, (name, _)) in NODES.iter().enumerate() {
        let file = dir.path().join(name);
        std::fs::write(&file, config(at, encap, own, known)).unwrap();
        scene.node(name).shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
    }
}

#[test]
fn a_backend_behind_a_peer_that_switches_answers_the_node_that_was_asked() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let scene = scene::make("overlay-geneve").unwrap_or_else(|error| panic!("{error}"));
    let [client, server] = ["outside", "pod_b"].map(|name| scene.place(name));
    let [first, second] = ["node1", "node2"].map(|name| scene.node(name));
    let _running = serve(server, "pod_b");
    let state = || {
        let drops = [first, second].map(|node| node.shuntd.cli_text(&["show", "drops"]).unwrap());
        format!("{}\n{}\n{}", drops[0], drops[1], first.shuntd.cli_text(&["conntrack", "-L"]).unwrap())
    };
    for encap in ["vxlan", "geneve"] {
        apply(&scene, encap, true, true);
        for family in [0, 1] {
            let (at, seen) = (NODE[family], format!("pod_b {}", OWN[family]));
            assert_eq!(page(client, at, 30080), seen, "{encap}: {}", state());
            assert_eq!(datagram(client, at, 30080), seen, "{encap}: {}", state());
            // A pod is seen as itself, and each node's address answers all pods.
            let cluster = ["10.96.0.10", "fd00:96::10"][family];
            let pod = ["10.16.0.2", "fd00:10:16::2"][family];
            assert_eq!(page(scene.place("pod_a"), cluster, 80), format!("pod_b {pod}"), "{}", state());
            for pod in ["pod_a", "pod_b"] {
                let ping = Ping { count: 3, ..Ping::to(OWN[family]) }.run(scene.place(pod)).unwrap();
                assert_eq!(ping.received, 3, "{pod} to {}: {ping:?} {}", OWN[family], state());
            }
        }
        let listed = first.shuntd.cli_text(&["conntrack", "-L", "-p", "tcp"]).unwrap();
        assert!(listed.contains(&format!("src={} dst={} sport=8080", BACKEND[0], OWN[0])), "{listed}");
        assert_eq!(second.dropped("tunnel_inner_source").unwrap(), 0);
    }
    // The second node is told nothing of the address: it believes nobody who says he has it.
    apply(&scene, "geneve", true, false);
    first.shuntd.cli_text(&["conntrack", "-F"]).unwrap();
    assert_eq!(datagram(client, NODE[0], 30080), "silence", "{}", state());
    assert!(second.dropped("tunnel_inner_source").unwrap() > 0, "{}", state());
    // Without such an address the answer would go to the other node's gateway.
    apply(&scene, "geneve", false, false);
    assert_eq!(datagram(client, NODE[0], 30080), "silence", "{}", state());
    assert!(first.dropped("service_no_source").unwrap() > 0, "{}", state());
    apply(&scene, "geneve", true, true);
    let deadline = std::time::Instant::now() + PATIENCE;
    while datagram(client, NODE[0], 30080) != format!("pod_b {}", OWN[0]) {
        assert!(std::time::Instant::now() < deadline, "{}", state());
    }
}

/// A station with the node's address, of either sort, is nobody.
#[test]
fn nobody_else_has_the_address_of_a_node() {
    require!(root(), shuntd());
    let text = config(0, "geneve", true, true);
    let wrong = |text: &str| shunt_config::parse(text, "node1.toml").unwrap_err().to_string();
    let taken = text.replacen("\"10.16.0.2\", ", "\"10.16.255.1\", ", 1);
    assert!(wrong(&taken).contains("10.16.255.1 is already an address of this node"), "{}", wrong(&taken));
}
