//! Reference 003 with real traffic, in both gateway modes: what pods send leaves from the switch or through the node's own stack,
//! and what comes for services comes in likewise; answers take the same way back. Two nodes and a host outside.

use shunt_tests::scene::{self, Scene};
use shunt_tests::{Netns, Running, require};

use crate::cluster::SERVER;
use crate::node::PATIENCE;
use crate::remote::{datagram, page, serve};

const NODE: &str = "10.184.134.82";
const OUTSIDE: &str = "10.184.134.7";
const BALANCER: &str = "10.184.134.100";
const CLUSTER: &str = "10.96.0.10";
/// Pods of this node and of the other one.
const PODS: [&str; 2] = ["10.128.0.5", "10.130.0.5"];

/// What the node's own stack is told by whoever sets it up (docs/gateway-modes.md): in both modes a node port of its own node leads it
/// to the cluster address, and what it sends by the management port is from its address there.
const RULES: &str = r#"
table ip nat {
    chain output {
        type nat hook output priority -100;
        ip daddr 10.184.134.82 tcp dport 30080 dnat to 10.96.0.10:80
    }
    chain postrouting {
        type nat hook postrouting priority 100;
        oifname "ovn-k8s-mp0" ip saddr 10.184.134.82 snat to 10.128.0.2
    }
}
"#;
/// And in mode `local`: node ports go on into the switch, and what pods send leaves with the node's address.
const LOCAL_RULES: &str = r#"
table ip nat {
    chain prerouting {
        type nat hook prerouting priority -100;
        iifname "br-ex" ip daddr 10.184.134.82 meta l4proto { tcp, udp } th dport 30000-32767 dnat to 169.254.169.3
    }
    chain postrouting {
        oifname "br-ex" ip saddr 10.128.0.0/14 masquerade
    }
}
"#;

/// The first node in `mode`, with a service of that policy and those backends.
fn config(mode: &str, policy: &str, backends: &[&str]) -> String {
    let text = include_str!("../../scenes/ovn-kubernetes/node1.toml");
    let router =
        format!("name = \"ovn-cluster\"\ngateway_mode = \"{mode}\"\nmanagement_port = \"ovn-k8s-mp0\"\n");
    let to_pods = "{ to = \"10.128.0.0/14\", via = \"10.128.0.1\" }";
    let routes = ["10.96.0.0/16", "169.254.169.3/32", "10.184.134.100/32"]
        .map(|to| format!(", {{ to = \"{to}\", via = \"10.128.0.1\" }}"));
    let endpoints = backends.iter().map(|backend| {
        let (address, node) = backend.split_once(' ').unwrap();
        let port = if address == NODE { 9090 } else { 8080 };
        format!("{{ address = \"{address}\", ports = {{ t = {port}, u = {port} }}, node = \"{node}\" }}")
    });
    let endpoints: Vec<_> = endpoints.collect();
    let text = text
        .replacen("name = \"ovn-cluster\"\n", &router, 1)
        .replacen("vtep =", "masquerade = true\nvtep =", 1)
        .replacen(to_pods, &format!("{to_pods}{}", routes.concat()), 1);
    format!(
        "[node]\nname = \"node1\"\n{text}[[service]]\nname = \"shop/web\"\ncluster_ips = [\"{CLUSTER}\"]\n\
         load_balancer_ips = [\"{BALANCER}\"]\nexternal_traffic_policy = \"{policy}\"\n\
         ports = [{{ name = \"t\", port = 80, node_port = 30080 }}, {{ name = \"u\", protocol = \"udp\", port = 80, node_port = 30080 }}]\n\
         endpoints = [{}]\n",
        endpoints.join(", ")
    )
}

#[track_caller]
fn apply(scene: &Scene, text: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node1.toml");
    std::fs::write(&file, text).unwrap();
    scene.node("node1").shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
}

#[track_caller]
fn rules(node: &Netns, text: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.nft");
    std::fs::write(&file, text).unwrap();
    node.exec(&["nft", "-f", &file.to_string_lossy()]).unwrap();
}

struct Lab {
    scene: Scene,
    mode: &'static str,
    _servers: Vec<Running>,
}

impl Lab {
    fn start(mode: &'static str) -> Self {
        let scene = scene::make("ovn-kubernetes").unwrap_or_else(|error| panic!("{error}"));
        let node = scene.place("node1");
        node.exec(&["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2"]).unwrap();
        rules(node, RULES);
        if mode == "local" {
            node.exec(&["sysctl", "-qw", "net.ipv4.ip_forward=1"]).unwrap();
            rules(node, LOCAL_RULES);
        }
        let mut servers: Vec<_> =
            ["pod_a", "pod_b", "outside"].iter().map(|name| serve(scene.place(name), name)).collect();
        // At the address that is asked: the kernel would answer datagrams to pods from the management port's.
        let host = node.spawn(&["perl", "-e", SERVER, "node1", "9090", NODE]).unwrap();
        host.expect("ready\n", 0, PATIENCE).unwrap();
        servers.push(host);
        Self { scene, mode, _servers: servers }
    }

    #[track_caller]
    fn has(&self, policy: &str, backends: &[&str]) {
        apply(&self.scene, &config(self.mode, policy, backends));
    }

    fn state(&self) -> String {
        let node = |name: &str, words: &[&str]| self.scene.node(name).shuntd.cli_text(words).unwrap();
        let drops = ["node1", "node2"].map(|name| node(name, &["show", "drops"]));
        let rules = self.scene.place("node1").exec(&["nft", "list", "ruleset"]).unwrap().stdout;
        format!("{}: {}\n{}\n{}\n{rules}", self.mode, drops[0], drops[1], node("node1", &["conntrack", "-L"]))
    }

    /// Both a connection and a datagram from `from` are answered by `who`, who sees `peer`.
    #[track_caller]
    fn reaches(&self, from: &str, at: &str, port: u16, (who, peer): (&str, &str)) {
        let expected = format!("{who} {peer}");
        let from = self.scene.place(from);
        assert_eq!(page(from, at, port), expected, "{at}: {}", self.state());
        if at != NODE || from.name() != self.scene.place("node1").name() {
            assert_eq!(datagram(from, at, port), expected, "{at}: {}", self.state());
        }
    }

    /// Frames that the switch has given to the node by its management port.
    fn by_management(&self) -> u64 {
        self.scene.node("node1").counter("ovn-k8s-mp0", "tx_packets").unwrap()
    }
}

/// What is the same for everybody outside and inside, whichever way it takes; and that it takes the way of the mode.
fn in_mode(mode: &'static str) {
    let lab = Lab::start(mode);
    let [here, there] =
        PODS.map(|pod| if pod == PODS[0] { format!("{pod} node1") } else { format!("{pod} node2") });
    let itself = format!("{NODE} node1");
    lab.has("cluster", &[&here]);
    // A pod out; programs of the node in and out, who have nothing to do with services.
    let before = lab.by_management();
    lab.reaches("pod_a", OUTSIDE, 8080, ("outside", NODE));
    let passed = lab.by_management() - before;
    assert_eq!(passed > 4, mode == "local", "{passed} frames by the node's own stack: {}", lab.state());
    let listed = lab.scene.node("node1").shuntd.cli_text(&["conntrack", "-L", "-s", PODS[0]]).unwrap();
    assert_eq!(listed.contains(&format!("dst={NODE}")), mode == "shared", "{listed}");
    lab.reaches("outside", NODE, 9090, ("node1", OUTSIDE));
    lab.reaches("node1", OUTSIDE, 8080, ("outside", NODE));
    // From outside, with both policies: by a node port and by a load balancer's address.
    for (backend, who, gateway) in [(&here, "pod_a", "10.128.0.1"), (&there, "pod_b", "10.128.0.0")] {
        lab.has("cluster", &[backend]);
        for (at, port) in [(NODE, 30080), (BALANCER, 80)] {
            let before = lab.by_management();
            lab.reaches("outside", at, port, (who, gateway));
            let passed = lab.by_management() - before;
            assert_eq!(passed > 4, mode == "local", "{at}: {passed} frames by the node: {}", lab.state());
        }
        // From the node's own programs and from pods: by the management port, and at once.
        lab.reaches("node1", CLUSTER, 80, (who, "10.128.0.2"));
        lab.reaches("node1", NODE, 30080, (who, "10.128.0.2"));
        let (client, own) = if who == "pod_a" { ("pod_a", "10.128.0.1") } else { ("pod_a", PODS[0]) };
        lab.reaches(client, CLUSTER, 80, (who, own));
    }
    lab.has("local", &[&here, &there]);
    for (at, port) in [(NODE, 30080), (BALANCER, 80)] {
        for _ in 0..5 {
            lab.reaches("outside", at, port, ("pod_a", OUTSIDE));
        }
    }
    lab.has("local", &[&there]);
    assert_eq!(datagram(lab.scene.place("outside"), NODE, 30080), "silence");
    assert!(lab.scene.node("node1").dropped("service_none_here").unwrap() > 0, "{}", lab.state());
    // The backend is a program of the node that asks: it would take its own address for a forgery.
    lab.has("cluster", &[&itself]);
    lab.reaches("node1", CLUSTER, 80, ("node1", "169.254.169.1"));
    lab.reaches("pod_a", CLUSTER, 80, ("node1", PODS[0]));
    assert_eq!(lab.scene.node("node2").dropped("tunnel_inner_source").unwrap(), 0);
}

#[test]
fn in_gateway_mode_shared_the_switch_leads_out() {
    require!(root(), tool("perl"), tool("curl"), tool("nft"), file("/dev/net/tun"), shuntd());
    in_mode("shared");
}

#[test]
fn in_gateway_mode_local_the_nodes_own_stack_leads_out() {
    require!(root(), tool("perl"), tool("curl"), tool("nft"), file("/dev/net/tun"), shuntd());
    in_mode("local");
}
