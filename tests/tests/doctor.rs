//! `shunt doctor` against things that are really broken, each by the symptom that the references' tables have for it, and against
//! whole scenes in which nothing is; `shunt resync` against a host whose routes somebody has removed.

#[path = "bonds/stall.rs"]
mod stall;

use std::time::Duration;

use serde_json::Value;
use shunt_tests::ovs::DAEMON;
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::scene::{self, Scene};
use shunt_tests::{Interface, Netns, Ping, Shuntd, Veth, Wire, require};

/// Pods of two networks, an uplink with a router behind it, a trunk, two pods of which one takes small packets only, and a port of the
/// node's own stack.
const CONFIG: &str = r#"
[memory]
hugepages = "never"
[[router]]
name = "node"
routes = [{ to = "198.51.100.0/24", via = "192.168.1.1" }]
[[network]]
name = "pods"
router = "node"
gateways = ["10.0.1.1/24"]
[[network]]
name = "phy"
router = "node"
gateways = ["192.168.1.2/24"]
[[network]]
name = "br-vlan"
vlans = [100]
[[network]]
name = "jumbo"
mtu = 9000
[[network]]
name = "noise"
[[port]]
name = "veth_pod_a"
kind = "veth"
device = "veth_pod_a"
network = "pods"
endpoints = [{ mac = "02:00:00:00:01:0a", ip = ["10.0.1.10"] }]
[[port]]
name = "veth_pod_b"
kind = "veth"
device = "veth_pod_b"
network = "pods"
endpoints = [{ mac = "02:00:00:00:01:0b", ip = ["10.0.1.11"] }]
[[port]]
name = "eth0"
kind = "veth"
device = "eth0"
network = "phy"
[[port]]
name = "trunk0"
kind = "veth"
device = "trunk0"
network = "br-vlan"
trunk = [100]
[[port]]
name = "jumbo_a"
kind = "veth"
device = "jumbo_a"
network = "jumbo"
endpoints = [{ mac = "02:00:00:00:09:0a", ip = ["10.0.9.10"] }]
[[port]]
name = "jumbo_b"
kind = "veth"
device = "jumbo_b"
network = "jumbo"
endpoints = [{ mac = "02:00:00:00:09:0b", ip = ["10.0.9.11"] }]
[[port]]
name = "br-ex"
kind = "tap"
network = "pods"
addresses = ["10.0.1.9/24"]
routes = [{ to = "10.96.0.0/12", via = "10.0.1.1" }]
"#;

/// A pod of the namespace that nobody may send to.
const DENY: &str = r#"
[[pod]]
namespace = "shop"
name = "web"
addresses = ["10.0.1.10"]
[[pod]]
namespace = "shop"
name = "db"
labels = { app = "db" }
addresses = ["10.0.1.11"]
[[policy]]
namespace = "shop"
name = "deny"
pod_selector = { match_labels = { app = "db" } }
"#;

struct Site {
    // Before the namespaces.
    shuntd: Shuntd,
    node: Netns,
    places: Vec<(&'static str, Netns)>,
}

/// What the doctor said.
struct Diagnosis {
    code: Option<i32>,
    findings: Vec<Value>,
    text: String,
}

impl Diagnosis {
    #[track_caller]
    fn of(shuntd: &Shuntd, words: &[&str]) -> Self {
        let words = [&["doctor", "--json"], words].concat();
        let done = shuntd.cli_cmd(&words).unwrap().timeout(Duration::from_secs(60)).run().unwrap();
        let text = format!("{}{}", done.stdout, done.stderr);
        let said: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{words:?}: {text}"));
        let findings = said["findings"].as_array().cloned().unwrap_or_default();
        Self { code: done.status.code(), findings, text }
    }

    /// Those of this state, as `check subject`.
    fn in_state(&self, state: &str) -> Vec<String> {
        let wanted = self.findings.iter().filter(|finding| finding["state"] == state);
        let words = |finding: &Value| {
            let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            format!("{} {}", word("check"), word("subject"))
        };
        // What else runs on the cores of the test is not the lab's.
        wanted.map(words).filter(|words| !words.starts_with("cpu ")).collect()
    }

    /// Nothing is wrong.
    #[track_caller]
    fn is_fine(&self) {
        assert!(!self.findings.is_empty(), "nothing was looked at: {}", self.text);
        assert_eq!((self.in_state("fail"), self.in_state("warn")), (Vec::new(), Vec::new()), "{}", self.text);
        assert_eq!(self.code, Some(0), "{}", self.text);
    }

    /// This thing is in this state; returns what was seen of it, with what to do.
    #[track_caller]
    fn says(&self, state: &str, check: &str, subject: &str) -> String {
        let is = |finding: &&Value| {
            finding["state"] == state && finding["check"] == check && finding["subject"] == subject
        };
        let found = self.findings.iter().find(is);
        let found = found.unwrap_or_else(|| panic!("no {state} of {check} {subject}: {}", self.text));
        let word = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        format!("{}; {}; {}", word("symptom"), word("evidence"), word("fix"))
    }

    /// These things are broken and no others; returns what was seen of the first, with what to do.
    #[track_caller]
    fn is_broken(&self, wanted: &[&str], symptom: &str) -> String {
        assert_eq!(self.in_state("fail"), wanted, "{}", self.text);
        assert_eq!(self.code, Some(1), "{}", self.text);
        let first = self.findings.iter().find(|finding| finding["state"] == "fail").unwrap();
        assert_eq!(first["symptom"], symptom, "{first}");
        for key in ["cause", "reference", "fix"] {
            assert!(first[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {first}");
        }
        format!("{}; {}", first["evidence"].as_str().unwrap(), first["fix"].as_str().unwrap())
    }
}

impl Site {
    #[track_caller]
    fn start() -> Self {
        let node = Netns::new().unwrap();
        let mut places = Vec::new();
        for (port, mac, address, mtu) in [
            ("veth_pod_a", Some("02:00:00:00:01:0a"), "10.0.1.10/24", 1500),
            ("veth_pod_b", Some("02:00:00:00:01:0b"), "10.0.1.11/24", 1500),
            ("eth0", None, "192.168.1.1/24", 1500),
            ("trunk0", None, "10.0.100.1/24", 1500),
            ("jumbo_a", Some("02:00:00:00:09:0a"), "10.0.9.10/24", 9000),
            ("jumbo_b", Some("02:00:00:00:09:0b"), "10.0.9.11/24", 9000),
        ] {
            let place = Netns::new().unwrap();
            place.exec(&["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"]).unwrap();
            let inside = Interface { mac, addrs: &[address], mtu, ..Interface::default() };
            // It ends with the namespaces.
            std::mem::forget(Veth::pair(port, Some(&node), &place, &inside).unwrap());
            places.push((port, place));
        }
        let site = Self { shuntd: Shuntd::start_in(&node, CONFIG).unwrap(), node, places };
        for pod in ["veth_pod_a", "veth_pod_b"] {
            site.place(pod).exec(&["ip", "route", "add", "default", "via", "10.0.1.1"]).unwrap();
        }
        let up = |ports: &Value| {
            ports.as_array().into_iter().flatten().all(|row| row["oper_up"] == true && row["link"] == true)
        };
        site.shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, up).unwrap();
        site
    }

    #[track_caller]
    fn place(&self, port: &str) -> &Netns {
        self.places.iter().find(|(name, _)| *name == port).map(|(_, place)| place).unwrap()
    }

    #[track_caller]
    fn ask(&self, words: &[&str]) -> Diagnosis {
        Diagnosis::of(&self.shuntd, words)
    }

    #[track_caller]
    fn apply(&self, more: &str) {
        let file = self.shuntd.dir().join("next.toml");
        std::fs::write(&file, format!("{CONFIG}{more}")).unwrap();
        self.shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
    }

    /// `count` answers to pings from the place behind one port.
    #[track_caller]
    fn talks(&self, from: &str, to: &str) {
        let answers = Ping { count: 3, ..Ping::to(to) }.run(self.place(from)).unwrap();
        assert!(answers.received > 0, "{from} does not reach {to}: {answers:?}");
    }
}

#[test]
fn links_routes_and_routers() {
    require!(root(), tool("perl"), shuntd());
    let site = Site::start();
    site.talks("veth_pod_a", "10.0.1.11");
    site.talks("jumbo_a", "10.0.9.11");
    site.ask(&[]).is_fine();
    site.ask(&["veth_pod_a", "veth_pod_b"]).is_fine();
    site.ask(&["veth_pod_a", "198.51.100.7", "--flow", "tcp 443"]).is_fine();

    // The pod's own end is down.
    site.place("veth_pod_b").exec(&["ip", "link", "set", "eth0", "down"]).unwrap();
    for words in [&["veth_pod_b"][..], &["veth_pod_b", "--symptom", "ping: timeout"]] {
        let seen = site.ask(words).is_broken(&["link veth_pod_b"], "ping: timeout");
        assert!(seen.contains("no carrier") && seen.contains("ip link set eth0 up"), "{seen}");
    }
    site.place("veth_pod_b").exec(&["ip", "link", "set", "eth0", "up"]).unwrap();
    let port = site.ask(&["veth_pod_b"]);
    assert_eq!(port.in_state("fail"), Vec::<String>::new(), "{}", port.text);

    // The port is switched off.
    site.shuntd.cli_text(&["port", "down", "veth_pod_b"]).unwrap();
    let seen = site.ask(&["10.0.1.11"]).is_broken(&["admin veth_pod_b"], "ping: timeout");
    assert!(seen.ends_with("shunt port up veth_pod_b"), "{seen}");
    site.shuntd.cli_text(&["port", "up", "veth_pod_b"]).unwrap();

    // No route: of a pair, and by what a pod has tried.
    let pair = site.ask(&["veth_pod_a", "172.16.0.9", "--symptom", "no route to host"]);
    let way = ["route veth_pod_a > 172.16.0.9", "way veth_pod_a > 172.16.0.9"];
    let seen = pair.is_broken(&way, "no route to host");
    assert!(seen.contains("missing prefix 172.16.0.9/32"), "{seen}");
    Ping { count: 5, interval_ms: 20, wait_ms: 100, ..Ping::to("172.16.0.9") }
        .run(site.place("veth_pod_a"))
        .unwrap();
    let seen = site.ask(&["veth_pod_a"]).is_broken(&["route veth_pod_a"], "no route to host");
    assert!(seen.contains("10.0.1.10 > 172.16.0.9 icmp, missing prefix 172.16.0.9/32"), "{seen}");

    // The router behind the uplink is silent.
    site.place("eth0").exec(&["ip", "addr", "flush", "dev", "eth0"]).unwrap();
    let asked = site.ask(&["veth_pod_a", "198.51.100.7", "--symptom", "network unreachable"]);
    let seen = asked.is_broken(&["gateway 192.168.1.1 in phy"], "ping: timeout");
    assert!(seen.contains("does not answer ARP now") && seen.contains("last frame from it"), "{seen}");
    assert!(seen.contains("shunt ping --from phy -c 3 192.168.1.1"), "{seen}");

    // Nobody has the address.
    let seen = site.ask(&["veth_pod_a", "10.0.1.77", "--symptom", "ARP fails"]);
    let broken = ["gateway 192.168.1.1 in phy", "neighbor 10.0.1.77 in pods"];
    seen.is_broken(&broken, "ping: timeout");
}

/// An ARP request with an 802.1Q tag.
fn tagged(vid: u16) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 0x64, 0x81, 0]);
    frame.extend(vid.to_be_bytes());
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0x64, 10, 0, 100, 1]);
    frame.extend([0, 0, 0, 0, 0, 0, 10, 0, 100, 2]);
    frame.resize(64, 0);
    frame
}

#[test]
fn vlans_policies_and_lengths() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let site = Site::start();
    site.talks("veth_pod_a", "10.0.1.11");
    site.talks("jumbo_a", "10.0.9.11");

    // Tagged with what is not the trunk's.
    let mut wire = Wire::on(site.place("trunk0"), "eth0").unwrap();
    for _ in 0..20 {
        wire.send(&tagged(200)).unwrap();
    }
    let told = |rows: &Value| {
        let rows = rows.as_array().into_iter().flatten();
        rows.into_iter().any(|row| row["why"] == "vlan_mismatch(got=200,want=100)" && row["port"] == "trunk0")
    };
    site.shuntd.cli_until(&["drops", "--why", "--json"], PATIENCE, told).unwrap();
    let seen = site.ask(&["trunk0", "--symptom", "ARP"]).is_broken(&["vlan trunk0"], "ARP fails");
    assert!(seen.contains("vlan_mismatch(got=200,want=100) 20 times"), "{seen}");
    assert!(seen.contains("shunt list port trunk0"), "{seen}");

    // The receiver's device takes less than the sender's.
    site.ask(&["jumbo_a", "jumbo_b"]).is_fine();
    site.node.exec(&["ip", "link", "set", "jumbo_b", "mtu", "1500"]).unwrap();
    let broken = ["mtu jumbo_b", "mtu jumbo_a > jumbo_b"];
    let pair = site.ask(&["jumbo_a", "jumbo_b", "--symptom", "large packets hang"]);
    let seen = pair.is_broken(&broken, "ping works, large packets are lost");
    assert!(seen.contains("takes 1500 bytes, the switch sends up to 9000"), "{seen}");
    assert!(seen.contains("ip link set jumbo_b mtu 9000"), "{seen}");

    // A policy forbids one direction; the other may be opened.
    site.apply(DENY);
    let pair = site.ask(&["shop/web", "shop/db", "--symptom", "permission denied"]);
    let broken = ["policy shop/web > shop/db", "way shop/web > shop/db"];
    let seen = pair.is_broken(&broken, "permission denied");
    assert!(seen.contains("shop/deny") && seen.contains("policy_ingress"), "{seen}");
    site.ask(&["shop/db", "shop/web", "--symptom", "same node"]).in_state("warn").iter().for_each(|warned| {
        assert!(warned.ends_with("shop/web > shop/db"), "{warned}");
    });
    site.apply("");
    site.ask(&["veth_pod_a", "veth_pod_b", "--symptom", "permission denied"]).is_fine();
}

#[test]
fn workers_that_have_no_time() {
    require!(root(), tool("perl"), shuntd());
    let site = Site::start();
    site.ask(&["--symptom", "latency > 5 ms"]).is_fine();
    // A source without end.
    site.shuntd
        .cli_text(&["port", "add", "noise", "kind=dpdk", "devargs=net_null7", "network=noise"])
        .unwrap();
    let seen =
        site.ask(&["--symptom", "latency > 5 ms"]).is_broken(&["worker worker 0"], "latency above 5 ms");
    assert!(seen.contains("busy") && seen.contains("`count` under [workers]"), "{seen}");
    site.shuntd.cli_text(&["port", "del", "noise"]).unwrap();
    site.ask(&["--symptom", "latency > 5 ms"]).is_fine();

    // One that stands still runs an old generation.
    let stalled = stall::Stalled::worker(&site.shuntd, 0);
    site.shuntd
        .cli_cmd(&["port", "down", "jumbo_a"])
        .unwrap()
        .timeout(Duration::from_secs(30))
        .run()
        .unwrap();
    let asked = site.ask(&["--symptom", "network unreachable"]);
    assert!(asked.in_state("fail").contains(&"generation worker 0".to_owned()), "{}", asked.text);
    drop(stalled);
    site.shuntd.cli_text(&["port", "up", "jumbo_a"]).unwrap();
    let asked = site.ask(&["--symptom", "same node"]);
    assert!(!asked.in_state("fail").contains(&"generation worker 0".to_owned()), "{}", asked.text);
}

#[test]
fn what_somebody_removed_from_the_host_is_set_again() {
    require!(root(), tool("perl"), shuntd());
    let site = Site::start();
    site.talks("veth_pod_a", "10.0.1.11");
    let quiet = site.shuntd.cli_text(&["resync"]).unwrap();
    assert!(quiet.contains("nothing was to be repaired") && quiet.contains("WORKER"), "{quiet}");

    for line in ["ip route del 10.96.0.0/12", "ip link set veth_pod_b down"] {
        site.node.exec(&line.split(' ').collect::<Vec<_>>()).unwrap();
    }
    let seen = site.ask(&["--symptom", "network unreachable"]);
    let lost = seen.is_broken(&["link veth_pod_b", "host veth_pod_b", "host br-ex"], "ping: timeout");
    assert!(lost.contains("no carrier"), "{lost}");
    assert!(seen.text.contains("no route 10.96.0.0/12 via 10.0.1.1"), "{}", seen.text);
    // What lives, lives on.
    let before = site.shuntd.cli(&["show", "ports", "--json"]).unwrap();
    let stream = std::thread::scope(|scope| {
        let from = &site.node;
        let stream = scope.spawn(move || {
            Ping { count: 300, interval_ms: 2, wait_ms: 1000, ..Ping::to("10.0.1.10") }.run(from).unwrap()
        });
        let told = site.shuntd.cli_text(&["resync"]).unwrap();
        assert!(told.contains("repaired  br-ex: no route 10.96.0.0/12 via 10.0.1.1"), "{told}");
        assert!(told.contains("repaired  veth_pod_b: the interface is down"), "{told}");
        stream.join().unwrap()
    });
    assert_eq!((stream.sent, stream.received), (300, 300), "{stream:?}");
    let after = site.shuntd.cli(&["show", "ports", "--json"]).unwrap();
    for (old, new) in before.as_array().unwrap().iter().zip(after.as_array().unwrap()) {
        assert_eq!(
            (&old["slot"], &old["deaths"], &old["name"]),
            (&new["slot"], &new["deaths"], &new["name"])
        );
    }
    let routes = site.node.exec(&["ip", "route"]).unwrap().stdout;
    assert!(routes.contains("10.96.0.0/12 via 10.0.1.1 dev br-ex"), "{routes}");
    site.talks("veth_pod_a", "10.0.1.11");

    // An address, and with it the routes that rest on it.
    site.node.exec(&["ip", "addr", "del", "10.0.1.9/24", "dev", "br-ex"]).unwrap();
    let told = site.shuntd.cli_text(&["resync"]).unwrap();
    assert!(
        told.contains("br-ex: no address 10.0.1.9/24") && told.contains("br-ex: no route 10.96.0.0/12"),
        "{told}"
    );
    site.ask(&["--symptom", "network unreachable"]).is_fine();

    // A route that cannot be set is said, and the rest is done.
    for line in ["ip route del 10.96.0.0/12", "ip route add 10.96.0.0/12 dev lo"] {
        site.node.exec(&line.split(' ').collect::<Vec<_>>()).unwrap();
    }
    let done = site.shuntd.cli_cmd(&["resync"]).unwrap().run().unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", done.stdout);
    assert!(
        done.stdout.contains("refused   br-ex: ") && done.stdout.contains("10.96.0.0/12"),
        "{}",
        done.stdout
    );
}

#[test]
fn words_that_mean_nobody() {
    require!(root(), tool("perl"), shuntd());
    let site = Site::start();
    for (words, why) in [
        (&["doctor", "nobody"][..], "no port, pod or address \"nobody\""),
        (&["doctor", "203.0.113.9", "veth_pod_a"], "nobody here is known to have 203.0.113.9"),
        (&["doctor", "--symptom", "toothache"], "no symptom is called \"toothache\""),
        (
            &["doctor", "veth_pod_a", "veth_pod_b", "--flow", "quic 1"],
            "\"quic 1\" is nothing that can be sent",
        ),
        (&["doctor", "veth_pod_a", "--flow", "tcp 80"], "required"),
    ] {
        let done = site.shuntd.cli_cmd(words).unwrap().run().unwrap();
        assert_eq!(done.status.code(), Some(2), "{words:?}: {}", done.stderr);
        assert!(done.stderr.contains(why), "{words:?}: {}", done.stderr);
    }
}

/// The node's way to the physical network: without carrier, without a port, without an address (000-13d).
#[test]
fn a_physical_network_that_is_not_there() {
    require!(root(), tool("iperf3"), tool("tcpdump"), tool("perl"), file("/dev/net/tun"), shuntd());
    let scene = scene::make("ovn-kubernetes").unwrap_or_else(|error| panic!("{error}"));
    let node = scene.node("node1");
    let ask = || Diagnosis::of(&node.shuntd, &["--symptom", "network unreachable"]);
    // The address is in the underlay, which has the bridge's uplinks.
    let shown = node.shuntd.cli_text(&["addr", "show", "br-ex"]).unwrap();
    assert!(shown.contains("10.184.134.82/24"), "{shown}");
    ask().is_fine();
    assert!(ask().says("ok", "uplink", "br-phy").contains("carrier on ens33"));

    // The cable is out.
    let cable = |state: &str| {
        let switch = scene.fabric().unwrap().netns();
        switch.exec(&["ip", "link", "set", "node1.ens33", state]).unwrap();
        let link = |ports: &Value| {
            let mut rows = ports.as_array().into_iter().flatten();
            rows.any(|row| row["name"] == "ens33" && row["link"] == (state == "up"))
        };
        node.shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, link).unwrap();
    };
    cable("down");
    let asked = ask();
    let said = asked.says("fail", "uplink", "br-phy");
    assert!(said.starts_with("network unreachable; no carrier on ens33; "), "{said}");
    assert!(said.contains("shunt port reset ens33") && said.ends_with("shunt addr show br-phy"), "{said}");
    asked.says("fail", "link", "ens33");
    assert_eq!(asked.code, Some(1));
    cable("up");
    ask().is_fine();

    // The port was taken out, and comes back.
    node.shuntd.cli_text(&["port", "del", "ens33"]).unwrap();
    let said = ask().says("fail", "uplink", "br-phy");
    assert!(said.contains("bridge br-phy has no port to the physical network"), "{said}");
    assert!(said.contains("shunt port add NAME kind=... network=br-phy"), "{said}");
    node.shuntd.cli_text(&["port", "add", "ens33", "kind=veth", "device=ens33", "network=br-phy"]).unwrap();
    cable("up");
    ask().is_fine();

    // The node's own stack has lost its address there.
    node.netns.exec(&["ip", "addr", "del", "10.184.134.82/24", "dev", "br-ex"]).unwrap();
    let said = ask().says("fail", "host", "br-ex");
    assert!(said.contains("no address 10.184.134.82/24") && said.contains("shunt resync"), "{said}");
    node.shuntd.cli_text(&["resync"]).unwrap();
    ask().is_fine();

    // That the switch has none in a network of its router cannot be: it is told at once.
    let text = include_str!("../scenes/ovn-kubernetes/node1.toml");
    let file = node.shuntd.dir().join("bare.toml");
    let bare = "[[network]]\nname = \"bare\"\nrouter = \"ovn-cluster\"\n";
    std::fs::write(&file, format!("{text}{bare}")).unwrap();
    let told = node.shuntd.cli_cmd(&["apply", &file.to_string_lossy()]).unwrap().run().unwrap();
    assert!(told.stderr.contains("the router has no address in the network; add it"), "{}", told.stderr);
}

/// A scene in which nothing is wrong.
#[track_caller]
fn healthy(name: &str, pairs: &[(&str, &str, &str)]) {
    let scene: Scene = scene::make(name).unwrap_or_else(|error| panic!("{error}"));
    for node in &scene.nodes {
        Diagnosis::of(&node.shuntd, &[]).is_fine();
    }
    for (node, from, to) in pairs {
        Diagnosis::of(&scene.node(node).shuntd, &[from, to]).is_fine();
    }
}

#[test]
fn the_scene_same_node_is_fine() {
    require!(root(), tool("iperf3"), tool("tcpdump"), tool("perl"), shuntd());
    healthy("same-node", &[("node1", "veth_pod_a", "veth_pod_b"), ("node1", "10.16.0.2", "10.16.0.1")]);
}

#[test]
fn the_scene_underlay_vlan_is_fine() {
    require!(root(), tool("iperf3"), tool("tcpdump"), tool("perl"), file(DAEMON), shuntd());
    healthy(
        "underlay-vlan",
        &[
            ("node1", "veth_a1", "10.186.155.8"),
            ("node1", "veth_a1", "veth_a2"),
            ("node2", "veth_a3", "10.186.155.6"),
        ],
    );
}

#[test]
fn the_scene_overlay_vxlan_is_fine() {
    require!(root(), tool("iperf3"), tool("tcpdump"), tool("perl"), shuntd());
    healthy(
        "overlay-vxlan",
        &[
            ("node1", "10.20.9.60", "10.20.9.41"),
            ("node1", "10.20.9.60", "10.20.6.10"),
            ("node2", "upvx6f1b2c3d4e5", "10.20.4.5"),
        ],
    );
}
