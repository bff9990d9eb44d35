//! Policies in reference 002, whole: pods behind tunnels of two nodes, underlay pods that share a MAC address, and the node itself.

use std::time::{Duration, Instant};

use shunt_tests::scene::{self, Scene};
use shunt_tests::{Ping, require};

use crate::node::PATIENCE;

/// Who is where: name, node, address.
const PODS: [(&str, &str, &str); 6] = [
    ("pod-9-41", "node1", "10.20.9.41"),
    ("pod-9-60", "node1", "10.20.9.60"),
    ("pod-6-10", "node2", "10.20.6.10"),
    ("pod_a", "node1", "10.186.155.6"),
    ("pod_b", "node1", "10.186.155.40"),
    ("pod_d", "node2", "10.186.155.7"),
];

fn address(pod: &str) -> &'static str {
    PODS.iter().find(|(name, ..)| *name == pod).map(|(.., address)| *address).unwrap()
}

/// All pods of the cluster; as labels they have their names.
fn pods() -> String {
    let object = |(name, node, address): (&str, &str, &str)| {
        let name = name.replace('_', "-");
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: shop, labels: {{ app: {name} }} }}\n\
             spec: {{ nodeName: {node} }}\nstatus: {{ podIP: {address} }}\n"
        )
    };
    PODS.map(object).concat()
}

/// A policy about `pod`, which may talk to `peers` alone.
fn only(direction: &str, pod: &str, peers: &[&str]) -> String {
    let pod = pod.replace('_', "-");
    let (types, key) = if direction == "ingress" { ("Ingress", "from") } else { ("Egress", "to") };
    let peer =
        |peer: &&str| format!("{{ podSelector: {{ matchLabels: {{ app: {} }} }} }}", peer.replace('_', "-"));
    let rules = match peers {
        [] => String::new(),
        peers => format!("{{ {key}: [{}] }}", peers.iter().map(peer).collect::<Vec<_>>().join(", ")),
    };
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: only, namespace: shop }}\n\
         spec: {{ podSelector: {{ matchLabels: {{ app: {pod} }} }}, policyTypes: [{types}], {direction}: [{rules}] }}\n"
    )
}

#[track_caller]
fn apply(scene: &Scene, node: &str, objects: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("objects.yaml");
    std::fs::write(&file, objects).unwrap();
    scene.node(node).shuntd.cli_text(&["apply", "-f", &file.to_string_lossy()]).unwrap();
}

fn answered(scene: &Scene, from: &str, to: &str) -> bool {
    let ping = Ping { wait_ms: 1_000, ..Ping::to(to) };
    ping.run(scene.place(from)).unwrap().received == 1
}

/// Answered, perhaps after tables on the way have been filled.
#[track_caller]
fn passes(scene: &Scene, from: &str, to: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !answered(scene, from, to) {
        assert!(Instant::now() < deadline, "{from} does not reach {to}: {}", why(scene));
    }
}

/// Not answered, and `node` says that it dropped it as `reason`.
#[track_caller]
fn refused(scene: &Scene, (from, to): (&str, &str), node: &str, reason: &str) {
    let before = scene.node(node).dropped(reason).unwrap();
    assert!(!answered(scene, from, to), "{from} reaches {to}");
    let after = scene.node(node).dropped(reason).unwrap();
    assert!(after > before, "{from} to {to}: {node} dropped nothing as {reason}: {}", why(scene));
}

fn why(scene: &Scene) -> String {
    let told = |node: &scene::Node| {
        let drops = node.shuntd.cli_text(&["show", "drops"]).unwrap();
        format!("{}: {drops}\n{}", node.name, node.shuntd.cli_text(&["drops", "--why"]).unwrap())
    };
    scene.nodes.iter().map(told).collect()
}

#[test]
fn pods_behind_tunnels_are_judged_at_both_ends() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let scene = scene::make("production").unwrap_or_else(|error| panic!("{error}"));
    let [near, far] = [address("pod-9-60"), address("pod-6-10")];
    passes(&scene, "pod-9-60", far);
    passes(&scene, "pod-9-41", far);
    for node in ["node1", "node2"] {
        apply(&scene, node, &pods());
    }

    // Only the receiver's node knows the policy: what comes out of the tunnel is judged there.
    let ingress = only("ingress", "pod-6-10", &["pod-9-41"]);
    apply(&scene, "node2", &ingress);
    refused(&scene, ("pod-9-60", far), "node2", "policy_ingress");
    passes(&scene, "pod-9-41", far);
    // What the pod itself opens is answered.
    passes(&scene, "pod-6-10", near);
    let told = scene.node("node2").shuntd.cli_text(&["drops", "--why"]).unwrap();
    assert!(told.contains("shop/only") && told.contains(near), "{told}");
    // The sender's node knows it, too, and keeps the packet out of the tunnel.
    apply(&scene, "node1", &ingress);
    refused(&scene, ("pod-9-60", far), "node1", "policy_ingress");
    passes(&scene, "pod-9-41", far);

    // What a pod may send its own node judges, and nobody else has to.
    for node in ["node1", "node2"] {
        apply(&scene, node, &only("egress", "pod-9-60", &["pod-9-41"]));
    }
    refused(&scene, ("pod-9-60", far), "node1", "policy_egress");
    passes(&scene, "pod-9-60", address("pod-9-41"));
    passes(&scene, "pod-6-10", near);
    for node in ["node1", "node2"] {
        scene.node(node).shuntd.cli_text(&["delete", "netpol/only", "-n", "shop"]).unwrap();
    }
    passes(&scene, "pod-9-60", far);
}

#[test]
fn underlay_pods_with_one_mac_address_are_judged_each() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let scene = scene::make("production").unwrap_or_else(|error| panic!("{error}"));
    let (a, b, d) = (address("pod_a"), address("pod_b"), address("pod_d"));
    for (from, to) in [("pod_d", a), ("pod_b", a), ("internet", a), ("node1", a), ("pod_a", d), ("pod_a", b)]
    {
        passes(&scene, from, to);
    }
    for node in ["node1", "node2"] {
        apply(&scene, node, &(pods() + &only("ingress", "pod_a", &["pod_d"])));
    }
    // By the wire from another node, and by the physical router from the same one and from outside.
    passes(&scene, "pod_d", a);
    refused(&scene, ("pod_b", a), "node1", "policy_ingress");
    refused(&scene, ("internet", a), "node1", "policy_ingress");
    // The node asks its pods how they are, and the pod asks whom it likes.
    passes(&scene, "node1", a);
    passes(&scene, "pod_a", d);
    passes(&scene, "pod_a", "8.8.8.8");
    // Its neighbour behind the same MAC address is another pod.
    passes(&scene, "internet", b);

    for node in ["node1", "node2"] {
        apply(&scene, node, &only("egress", "pod_a", &["pod_d"]));
    }
    passes(&scene, "pod_a", d);
    refused(&scene, ("pod_a", b), "node1", "policy_egress");
    refused(&scene, ("pod_a", "8.8.8.8"), "node1", "policy_egress");
    passes(&scene, "internet", a);
    passes(&scene, "pod_a", "10.186.155.1");
}

/// A flow between nodes goes on without a loss while policies about others come and go.
#[test]
fn flows_that_a_change_is_not_about_lose_nothing() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let scene = scene::make("production").unwrap_or_else(|error| panic!("{error}"));
    for node in ["node1", "node2"] {
        apply(&scene, node, &(pods() + &only("ingress", "pod-6-10", &["pod-9-41"])));
    }
    passes(&scene, "pod-9-41", address("pod-6-10"));
    let flow = scene
        .place("pod-9-41")
        .spawn(&["ping", "-n", "-i", "0.01", "-c", "600", address("pod-6-10")])
        .unwrap();
    flow.expect("icmp_seq=", 0, PATIENCE).unwrap();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        for node in ["node1", "node2"] {
            apply(&scene, node, &only("egress", "pod-9-60", &[]).replace("name: only", "name: other"));
            scene.node(node).shuntd.cli_text(&["delete", "netpol", "other", "-n", "shop"]).unwrap();
        }
    }
    let at = flow.expect(" packet loss", 0, PATIENCE).unwrap();
    let text = flow.stdout().text(0);
    assert!(
        text[..at].contains("600 packets transmitted, 600 received, 0% packet loss"),
        "{text}; {}",
        why(&scene)
    );
}
