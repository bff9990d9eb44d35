//! What a policy with `action = "reject"` says to a kernel's TCP: a reset, which ends connect(2) at once with "connection refused".

use std::time::{Duration, Instant};

use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Interface, Netns, Ping, Shuntd, Veth, require};

const CONFIG: &str = r#"
[memory]
hugepages = "never"
[[router]]
name = "r"
[[network]]
name = "pods"
router = "r"
gateways = ["10.16.0.1/24", "fd00:16::1/64"]
[[port]]
name = "a"
kind = "veth"
device = "pod-a"
network = "pods"
endpoints = [{ mac = "02:00:00:00:10:0a", ip = ["10.16.0.10", "fd00:16::10"] }]
[[port]]
name = "b"
kind = "veth"
device = "pod-b"
network = "pods"
endpoints = [{ mac = "02:00:00:00:10:0b", ip = ["10.16.0.11", "fd00:16::11"] }]
[[namespace]]
name = "n"
[[pod]]
namespace = "n"
name = "b"
labels = { app = "b" }
addresses = ["10.16.0.11", "fd00:16::11"]
[[policy]]
namespace = "n"
name = "only-80"
pod_selector = {}
policy_types = ["ingress"]
ingress = [{ ports = [{ port = 80 }] }]
"#;

/// connect(2), and what came of it.
const CONNECT: &str = r#"
use IO::Socket::IP;
my $s = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => $ARGV[1], Type => 1);
print $s ? "connected" : "$!";
"#;

struct Node {
    shuntd: Shuntd,
    pods: [Netns; 2],
    _node: Netns,
}

#[track_caller]
fn start(action: &str) -> Node {
    let node = Netns::new().unwrap();
    let pods = [("a", "10"), ("b", "11")].map(|(name, last)| {
        let pod = Netns::new().unwrap();
        let mac = format!("02:00:00:00:10:0{name}");
        let addrs = [format!("10.16.0.{last}/24"), format!("fd00:16::{last}/64")];
        let inside = Interface { mac: Some(&mac), addrs: &[&addrs[0], &addrs[1]], ..Interface::default() };
        // It ends with the namespaces.
        std::mem::forget(Veth::pair(&format!("pod-{name}"), Some(&node), &pod, &inside).unwrap());
        pod
    });
    let shuntd = Shuntd::start_in(&node, &format!("{CONFIG}action = \"{action}\"\n")).unwrap();
    let up = |ports: &serde_json::Value| {
        ports.as_array().into_iter().flatten().all(|row| row["oper_up"] == true && row["link"] == true)
    };
    shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, up).unwrap();
    for gateway in ["10.16.0.1", "fd00:16::1"] {
        let end = Instant::now() + PATIENCE;
        while Ping::to(gateway).run(&pods[0]).unwrap().received == 0 {
            assert!(Instant::now() < end, "{gateway} does not answer");
        }
    }
    Node { shuntd, pods, _node: node }
}

impl Node {
    fn refused(&self) -> u64 {
        let drops = self.shuntd.cli(&["show", "drops", "--json"]).unwrap();
        let rows = drops.as_array().into_iter().flatten();
        rows.filter(|row| row["reason"] == "policy_ingress").filter_map(|row| row["count"].as_u64()).sum()
    }
}

#[test]
fn a_connection_that_a_policy_rejects_is_refused_at_once() {
    require!(root(), tool("perl"), shuntd());
    let node = start("reject");
    for to in ["10.16.0.11", "fd00:16::11"] {
        let (before, begin) = (node.refused(), Instant::now());
        let said = node.pods[0].exec(&["perl", "-e", CONNECT, to, "81"]).unwrap().stdout;
        assert!(said.contains("Connection refused"), "{to}: {said}");
        assert!(begin.elapsed() < Duration::from_secs(1), "{to}: after {:?}", begin.elapsed());
        assert!(node.refused() > before, "{to}: not by the policy");
    }
}
