//! Host ports: programs of the node itself on the physical network, by a TAP that shares addresses with the switch; with
//! kernels on all sides. `br-ex` is the node's leg in the physical network, `ovn-k8s-mp0` its leg among the pods.

#[path = "services/cluster.rs"]
#[allow(dead_code, reason = "shared with the test of services, which uses all of it")]
mod cluster;
#[path = "routing/lab.rs"]
#[allow(dead_code, reason = "shared with the test of routing, which uses all of it")]
mod lab;
mod node;

use lab::{Sniffer, dropped, echo, mac, until_answered};
use node::{Kind, Node, PATIENCE, Plan, Pod, traffic};
use shunt_tests::iperf::Tcp;
use shunt_tests::{Interface, Iperf, Netns, Ping, Veth, require};

const NODE_MAC: &str = "02:00:00:00:fe:82";
const BACKEND_MAC: &str = "02:00:00:00:00:90";

/// The node's part of the configuration: `more` are further keys of `br-ex`'s network.
fn sections(v4: &str, pod: &Pod, far: &Pod) -> String {
    format!(
        r#"
[[router]]
name = "node"
routes = [{{ to = "0.0.0.0/0", via = "10.184.134.1" }}, {{ to = "::/0", via = "fd84::1" }}]
[[network]]
name = "br-phy"
[[network]]
name = "node-net"
kind = "underlay"
mode = "bridged"
bridge = "br-phy"
router = "node"
gateways = ["{v4}/24", "fd84::82/64"]
gateway_mac = "{NODE_MAC}"
host_port = "br-ex"
[[network]]
name = "pods"
router = "node"
gateways = ["10.128.0.1/24"]
[[network]]
name = "far"
router = "node"
gateways = ["10.130.0.1/24"]
[[port]]
name = "ens33"
kind = "veth"
device = "h-uplink"
network = "node-net"
[[port]]
name = "br-ex"
kind = "tap"
network = "node-net"
addresses = ["{v4}/24", "fd84::82/64"]
routes = [
    {{ to = "0.0.0.0/0", via = "10.184.134.1" }},
    {{ to = "::/0", via = "fd84::1" }},
    {{ to = "10.130.0.0/24" }},
]
[[port]]
name = "ovn-k8s-mp0"
kind = "tap"
network = "pods"
addresses = ["10.128.0.2/24"]
routes = [{{ to = "10.96.0.0/12", via = "10.128.0.1", src = "10.128.0.2" }}]
{}network = "pods"
{}network = "far"
"#,
        pod.section(),
        far.section()
    )
}

/// The node, a pod, a pod in another network, and the physical network: a kernel that is its router.
struct Site {
    node: Node,
    physical: Pod,
}

impl Site {
    fn start() -> Self {
        let mut node = Node::start(&Plan::default());
        let pod = |n: u8, network: &str| {
            let mut pod = Pod::new(Kind::Veth, n, 1500, true, &node.netns);
            pod.v4 = format!("10.{network}.0.{}", n + 4);
            pod.plug(1500, true, &node.netns);
            let gateway = format!("10.{network}.0.1");
            pod.netns.exec(&["ip", "route", "add", "default", "via", &gateway]).unwrap();
            pod
        };
        let (near, far) = (pod(1, "128"), pod(2, "130"));
        let netns = Netns::new().unwrap();
        let inside = Interface { addrs: &["10.184.134.1/24", "fd84::1/64"], ..Interface::default() };
        let veth = Veth::pair("h-uplink", Some(&node.netns), &netns, &inside).unwrap();
        for line in [
            "ip addr add 192.0.2.1/32 dev lo",
            "ip addr add fd99::1/128 dev lo",
            "ip route add 10.128.0.0/14 via 10.184.134.82",
            "sysctl -qw net.ipv4.ip_forward=1",
        ] {
            netns.exec(&line.split(' ').collect::<Vec<_>>()).unwrap();
        }
        let (v4, v6) = ("10.184.134.1".to_owned(), "fd84::1".to_owned());
        let physical = Pod {
            kind: Kind::Veth,
            number: 9,
            quiet: false,
            port: "ens33".into(),
            v4,
            v6,
            veth: Some(veth),
            testpmd: None,
            netns,
        };
        node.pods = vec![near, far];
        Self { node, physical }
    }

    fn config(&self, v4: &str) -> String {
        let [near, far] = &self.node.pods[..] else { unreachable!("two pods") };
        format!("{}{}", node::MEMORY, sections(v4, near, far))
    }

    /// The node with its host ports open.
    fn ready() -> Self {
        let site = Self::start();
        lab::apply(&site.node, &site.config("10.184.134.82"));
        site.node.wait_ports("all are open", |ports| {
            ports.len() == 5 && ports.values().all(|port| port.oper_up && port.link)
        });
        site
    }

    /// The configuration with IPv6 among the pods, and on the node's leg there.
    fn dual_config(&self) -> String {
        let mut text = self.config("10.184.134.82");
        for (old, new) in [
            ("\"10.128.0.1/24\"", "\"10.128.0.1/24\", \"fd28::1/64\""),
            ("\"10.130.0.1/24\"", "\"10.130.0.1/24\", \"fd30::1/64\""),
            ("\"10.128.0.2/24\"", "\"10.128.0.2/24\", \"fd28::2/64\""),
            ("{ to = \"10.130.0.0/24\" }", "{ to = \"10.130.0.0/24\" }, { to = \"fd30::/64\" }"),
        ] {
            assert_eq!(text.matches(old).count(), 1, "{old}");
            text = text.replacen(old, new, 1);
        }
        text
    }

    /// Gives the node and its pods IPv6 among themselves, and the physical network a way to them; the pods' addresses.
    fn dual(&self) -> (String, String) {
        lab::apply(&self.node, &self.dual_config());
        self.node.wait_ports("all are open", |ports| ports.values().all(|port| port.oper_up && port.link));
        for (pod, network) in self.node.pods.iter().zip(["fd28", "fd30"]) {
            let own = format!("{network}::{}/64", pod.number + 4);
            for line in [
                "sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0".to_owned(),
                format!("ip addr add {own} dev eth0 nodad"),
                format!("ip route add default via {network}::1"),
            ] {
                pod.netns.exec(&line.split(' ').collect::<Vec<_>>()).unwrap();
            }
        }
        for line in [
            "ip route add fd28::/64 via fd84::82",
            "ip route add fd30::/64 via fd84::82",
            "sysctl -qw net.ipv6.conf.all.forwarding=1",
        ] {
            self.physical.netns.exec(&line.split(' ').collect::<Vec<_>>()).unwrap();
        }
        ("fd28::5".to_owned(), "fd30::6".to_owned())
    }

    /// The node's own stack, as somewhere to run programs.
    fn host(&self) -> &Netns {
        &self.node.netns
    }

    fn pings(&self, from: &Netns, to: &str) -> bool {
        let answers = Ping { wait_ms: 2000, ..Ping::to(to) }.run(from).unwrap();
        answers.received == 1
    }
}

#[test]
fn the_node_and_the_physical_network_reach_each_other() {
    require!(root(), tool("iperf3"), tool("perl"), file("/dev/net/tun"), shuntd());
    let site = Site::ready();
    let (host, physical) = (site.host(), &site.physical.netns);
    // The first packet is answered, in each direction, also by way of the node's default route.
    for to in ["10.184.134.1", "fd84::1", "192.0.2.1", "fd99::1"] {
        assert!(site.pings(host, to), "{to}: {:?} {}", site.node.drops(), site.node.show("fdb"));
    }
    for to in ["10.184.134.82", "fd84::82"] {
        assert!(site.pings(physical, to), "{to}: {:?}", site.node.drops());
        let mut iperf = Iperf::serve(host, to).unwrap();
        let tcp = || {
            let result =
                iperf.tcp(physical, &Tcp { seconds: 1, ..Tcp::default() }).map_err(|e| e.to_string())?;
            if result.gbits > 0.02 { Ok(()) } else { Err(format!("{result:?}")) }
        };
        traffic::thrice(tcp).unwrap();
    }
    // Nobody but the switch answers for the shared addresses, and with one MAC address.
    let known = physical.exec(&["ip", "neigh", "show", "10.184.134.82"]).unwrap().stdout;
    assert!(known.contains(NODE_MAC), "{known}");
    let link = host.exec(&["cat", "/sys/class/net/br-ex/address"]).unwrap().stdout;
    assert_eq!(link.trim(), NODE_MAC);
    assert!(site.node.learned(NODE_MAC).is_empty(), "the shared address is no station");
    let drops = site.node.drops();
    let bad = |what: &str| drops.keys().any(|key| key.ends_with(what));
    assert!(!bad("source_is_gateway") && !bad("for_switch") && !bad("neighbor_unresolved"), "{drops:?}");
}

#[test]
fn the_node_and_its_pods_reach_each_other() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let site = Site::ready();
    let [near, far] = &site.node.pods[..] else { unreachable!("two pods") };
    let host = site.host();
    // By the leg among the pods; by the switch's router, where the node has a route to the link.
    for pod in [near, far] {
        assert!(site.pings(host, &pod.v4), "{}: {:?}", pod.v4, site.node.drops());
        assert!(site.pings(&pod.netns, "10.184.134.82"), "{}: {:?}", pod.v4, site.node.drops());
    }
    assert!(site.pings(&near.netns, "10.128.0.2"));
    // One hop less is none for the node itself.
    assert!(echo(far, "10.184.134.82", 1), "{:?}", site.node.drops());
    // Pods and the physical network, through the switch.
    assert!(site.pings(&near.netns, "192.0.2.1") && site.pings(&site.physical.netns, &far.v4));
    // A gateway without a host port is the switch alone: no program is there.
    assert_eq!(dropped(&site.node, "pod1", "for_switch"), 0);
    let via = host.exec(&["ip", "route", "get", "10.96.0.10"]).unwrap().stdout;
    assert!(via.contains("via 10.128.0.1 dev ovn-k8s-mp0") && via.contains("src 10.128.0.2"), "{via}");
}

/// Reference 003: programs of the node reach services by its leg among the pods, pods reach services of the node's own programs,
/// and the physical network reaches node ports.
#[test]
fn services_are_reached_by_the_node_and_answered_by_it() {
    require!(root(), tool("perl"), tool("curl"), file("/dev/net/tun"), shuntd());
    const SERVICE: &str = "10.96.0.10";
    let site = Site::ready();
    let [near, far] = &site.node.pods[..] else { unreachable!("two pods") };
    let put = |backend: &str| {
        let service = format!(
            "[[service]]\nname = \"shop/web\"\nrouter = \"node\"\ncluster_ips = [\"{SERVICE}\"]\n\
             ports = [{{ port = 80, node_port = 30080 }}]\nendpoints = [{{ address = \"{backend}\", port = 8080 }}]\n"
        );
        lab::apply(&site.node, &format!("{}{service}", site.config("10.184.134.82")));
    };
    let page = |from: &Netns, at: &str| {
        let url = format!("http://{at}/");
        let curl =
            ["curl", "--silent", "--show-error", "--max-time", "5", "--retry", "3", "--noproxy", "*", &url];
        let output = from.cmd(&curl).run().unwrap();
        format!("{}{}", output.stdout.trim(), output.stderr.trim())
    };
    for pod in [near, far] {
        let _running = cluster::serve(pod, 8080);
        put(&pod.v4);
        // The node comes by its leg among the pods, which its route names.
        assert_eq!(page(site.host(), SERVICE), format!("{} 10.128.0.2", pod.port), "{:?}", site.node.drops());
        // The physical network comes by the node's address, and is not seen behind it.
        let gateway = if pod.number == 1 { "10.128.0.1" } else { "10.130.0.1" };
        let seen = page(&site.physical.netns, "10.184.134.82:30080");
        assert_eq!(seen, format!("{} {gateway}", pod.port), "{:?}", site.node.drops());
    }
    // A program of the node is the backend: its answers go to pods of both networks by ways of its own.
    let listening =
        site.host().spawn(&["perl", "-e", cluster::SERVER, "pod-of-node", "8080", "0.0.0.0"]).unwrap();
    listening.expect("ready\n", 0, PATIENCE).unwrap();
    put("10.184.134.82");
    for pod in [near, far] {
        assert_eq!(page(&pod.netns, SERVICE), format!("pod-of-node {}", pod.v4), "{:?}", site.node.drops());
    }
}

/// Kubelet asks its pods how they are, whatever policies say; who is not the node is not let in by its ways.
#[test]
fn the_node_reaches_isolated_pods_and_nobody_else_does() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let site = Site::ready();
    let [near, far] = &site.node.pods[..] else { unreachable!("two pods") };
    let (near_v6, far_v6) = site.dual();
    let host = site.host();
    let reached = || {
        let families = [(near.v4.as_str(), far.v4.as_str()), (near_v6.as_str(), far_v6.as_str())];
        let families = families.map(|(near_at, far_at)| {
            [
                (host, near_at),
                (host, far_at),
                (&near.netns, far_at),
                (&far.netns, near_at),
                (&site.physical.netns, near_at),
            ]
        });
        std::thread::scope(|scope| {
            let ask = |(from, to)| {
                scope.spawn(move || Ping { wait_ms: 2000, ..Ping::to(to) }.run(from).unwrap().received == 1)
            };
            families.map(|family| family.map(ask).map(|asked| asked.join().unwrap()))
        })
    };
    assert_eq!(reached(), [[true; 5]; 2], "{:?}", site.node.drops());
    let pods: String = [("near", near, &near_v6), ("far", far, &far_v6)]
        .map(|(name, pod, v6)| {
            format!(
                "[[pod]]\nnamespace = \"shop\"\nname = \"{name}\"\naddresses = [\"{}\", \"{v6}\"]\n",
                pod.v4
            )
        })
        .concat();
    let deny = |types: &str| {
        let policy = format!("[[policy]]\nnamespace = \"shop\"\nname = \"deny\"\npolicy_types = [{types}]\n");
        lab::apply(&site.node, &format!("{}{pods}{policy}", site.dual_config()));
    };
    deny("\"ingress\"");
    assert_eq!(reached(), [[true, true, false, false, false]; 2], "{:?}", site.node.drops());
    assert!(
        dropped(&site.node, "ens33", "policy_ingress") > 0
            && dropped(&site.node, "pod1", "policy_ingress") > 0
    );
    // They ask the node, and what is outside, and are answered.
    for to in ["10.128.0.2", "10.184.134.82", "192.0.2.1", "fd28::2", "fd84::82", "fd99::1"] {
        assert!(site.pings(&near.netns, to), "{to}: {:?}", site.node.drops());
    }
    deny("\"ingress\", \"egress\"");
    assert_eq!(reached(), [[true, true, false, false, false]; 2], "{:?}", site.node.drops());
    for (from, to) in [(near, "10.128.0.2"), (far, "10.184.134.82"), (near, "fd28::2"), (far, "fd84::82")] {
        assert!(site.pings(&from.netns, to), "{to}: {:?}", site.node.drops());
    }
    let before = dropped(&site.node, "pod1", "policy_egress");
    assert!(!site.pings(&near.netns, "192.0.2.1") && !site.pings(&near.netns, "fd99::1"));
    assert!(dropped(&site.node, "pod1", "policy_egress") >= before + 2);
}

#[test]
fn a_host_port_follows_its_gateway_and_goes_with_its_routes() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let site = Site::ready();
    let shown = |words: &[&str]| site.host().cmd(words).run().unwrap().stdout;
    lab::apply(&site.node, &site.config("10.184.134.83"));
    site.node.wait_port("br-ex", "it is open again", |port| port.oper_up);
    let addresses = shown(&["ip", "-4", "addr", "show", "dev", "br-ex"]);
    assert!(addresses.contains("10.184.134.83/24") && !addresses.contains("134.82"), "{addresses}");
    assert!(site.pings(site.host(), "192.0.2.1") && site.pings(&site.physical.netns, "10.184.134.83"));
    // What the gateway has besides, the node has too.
    let more = site.config("10.184.134.83").replace(
        "gateways = [\"10.184.134.83/24\"",
        "gateways = [\"10.184.135.83/24\", \"10.184.134.83/24\"",
    );
    lab::apply(&site.node, &more);
    site.node.wait_port("br-ex", "it is open again", |port| port.oper_up);
    let addresses = shown(&["ip", "-4", "addr", "show", "dev", "br-ex"]);
    assert!(addresses.contains("10.184.135.83/24"), "{addresses}");
    let none = site.config("10.184.134.83").replace("host_port = \"br-ex\"\n", "");
    let start = none.find("[[port]]\nname = \"br-ex\"").unwrap();
    let end = start + none[start..].find("[[port]]\nname = \"ovn-k8s-mp0\"").unwrap();
    lab::apply(&site.node, &format!("{}{}", &none[..start], &none[end..]));
    assert!(!shown(&["ip", "link"]).contains("br-ex"));
    assert!(!shown(&["ip", "route"]).contains("default"));
    // Now the addresses are the switch's alone: it answers pings, and nothing listens there.
    assert!(site.pings(&site.physical.netns, "10.184.134.83"));
    let connect = ["timeout", "5", "bash", "-c", ": </dev/tcp/10.184.134.83/22"];
    assert!(site.physical.netns.exec(&connect).is_err());
    assert!(dropped(&site.node, "ens33", "for_switch") >= 1, "{:?}", site.node.drops());
}

/// Who appears on the physical network says so: the node's addresses at start, an endpoint when it is added and when it
/// moves to another port.
#[test]
fn what_appears_or_moves_is_announced() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let site = Site::start();
    let sniffer = Sniffer::on(&site.physical);
    lab::apply(&site.node, &site.config("10.184.134.82"));
    let arp = |from: &str, ip: [u8; 4]| {
        let from = mac(from);
        move |frame: &[u8]| {
            frame[..6] == [0xff; 6]
                && frame[6..12] == from
                && frame[12..14] == [8, 6]
                && frame[28..32] == ip
                && frame[38..42] == ip
        }
    };
    sniffer.wait(arp(NODE_MAC, [10, 184, 134, 82]));
    // The unsolicited advertisement of that address: override, not solicited, with its owner's MAC address.
    let advertised = |from: &str, address: &str| {
        let (from, address) = (mac(from), address.parse::<std::net::Ipv6Addr>().unwrap().octets());
        move |frame: &[u8]| {
            frame.len() == 86
                && frame[..6] == [0x33, 0x33, 0, 0, 0, 1]
                && frame[6..12] == from
                && frame[12..14] == [0x86, 0xdd]
                && frame[22..38] == address
                && frame[54] == 136
                && frame[58] == 0x20
                && frame[62..78] == address
                && frame[78..80] == [2, 1]
                && frame[80..86] == from
        }
    };
    sniffer.wait(advertised(NODE_MAC, "fd84::82"));
    let endpoint = |port: &str| {
        format!(
            "{}[[port]]\nname = \"{port}\"\nkind = \"tap\"\nnetwork = \"node-net\"\n\
             endpoints = [{{ mac = \"{BACKEND_MAC}\", ip = [\"10.184.134.90\", \"fd84::90\"] }}]\n",
            site.config("10.184.134.82")
        )
    };
    lab::apply(&site.node, &endpoint("backend"));
    sniffer.wait(arp(BACKEND_MAC, [10, 184, 134, 90]));
    sniffer.wait(advertised(BACKEND_MAC, "fd84::90"));
    let neighbor = || site.physical.netns.exec(&["ip", "neigh", "show", "10.184.134.90"]).unwrap().stdout;
    assert!(!neighbor().contains("FAILED"), "{}", neighbor());
    let moved = Sniffer::on(&site.physical);
    lab::apply(&site.node, &endpoint("elsewhere"));
    moved.wait(arp(BACKEND_MAC, [10, 184, 134, 90]));
    moved.wait(advertised(BACKEND_MAC, "fd84::90"));
}

/// One way only, to a station that says nothing: its neighbour entry is confirmed by a question to it alone, and nothing is
/// lost or asked of everybody while it is in use.
#[test]
fn a_neighbour_in_use_is_asked_before_it_expires() {
    require!(root(), tool("perl"), shuntd());
    let site = Site::start();
    let keys = "neighbor_ageing = \"4s\"\nmac_ageing = \"4s\"\n";
    let config = site.config("10.184.134.82");
    let config = config.replace("name = \"far\"\n", &format!("name = \"far\"\n{keys}"));
    lab::apply(&site.node, &config);
    let [near, far] = &site.node.pods[..] else { unreachable!("two pods") };
    until_answered(&site.node, near, &far.v4);
    let sniffer = Sniffer::on(far);
    // Nobody answers.
    far.netns.exec(&["sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"]).unwrap();
    let ping = ["ping", "-n", "-q", "-i", "0.2", "-c", "60", "-W", "1", &far.v4];
    let before = site.node.port("pod2").tx_packets;
    near.netns.cmd(&ping).timeout(PATIENCE * 2).run().unwrap();
    assert!(site.node.port("pod2").tx_packets >= before + 60);
    let asked =
        |frame: &[u8]| frame[12..14] == [8, 6] && frame[20..22] == [0, 1] && frame[38..42] == [10, 130, 0, 6];
    let to_it = mac(&far.mac());
    let frame = sniffer.wait(|frame| asked(frame) && frame[..6] == to_it);
    assert_eq!(frame[28..32], [10, 130, 0, 1], "the gateway asks");
    assert_eq!(dropped(&site.node, "pod1", "neighbor_unresolved"), 0);
}
