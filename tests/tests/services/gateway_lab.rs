//! Two nodes of reference 003 with both families, a host outside, and a service on the first node in either gateway mode.

use shunt_tests::scene::{self, Scene};
use shunt_tests::{Netns, Running};

use crate::cluster::SERVER;
use crate::node::PATIENCE;
use crate::remote::{datagram, page, serve};

/// Who has which address in one family.
pub(crate) struct Family {
    /// The first node, to the world and to its own programs.
    pub(crate) node: &'static str,
    /// The host outside.
    pub(crate) outside: &'static str,
    /// Addresses of the service: in the node's own subnet, anywhere, and of the cluster.
    pub(crate) balancer: &'static str,
    pub(crate) external: &'static str,
    pub(crate) cluster: &'static str,
    /// The pods of the two nodes.
    pub(crate) pods: [&'static str; 2],
    /// The gateway of the first node's pods, and the node at its management port.
    pub(crate) gateway: &'static str,
    pub(crate) management: &'static str,
    /// What the first node alone has in the overlay.
    pub(crate) alone: &'static str,
    /// Who the node sees when a service sends back to it what it has sent itself.
    pub(crate) itself: &'static str,
}

pub(crate) const V4: Family = Family {
    node: "10.184.134.82",
    outside: "10.184.134.7",
    balancer: "10.184.134.100",
    external: "203.0.113.9",
    cluster: "10.96.0.10",
    pods: ["10.128.0.5", "10.130.0.5"],
    gateway: "10.128.0.1",
    management: "10.128.0.2",
    alone: "10.128.0.0",
    itself: "169.254.169.1",
};

pub(crate) const V6: Family = Family {
    node: "fd00:184::82",
    outside: "fd00:184::7",
    balancer: "fd00:184::100",
    external: "fd00:203::9",
    cluster: "fd00:96::10",
    pods: ["fd00:10:128::5", "fd00:10:130::5"],
    gateway: "fd00:10:128::1",
    management: "fd00:10:128::2",
    alone: "fd00:10:128::ffff",
    itself: "fd69::1",
};

/// What the scene's nodes have besides: IPv6.
const DUAL: [(&str, &str); 12] = [
    ("\"10.184.134.82/24\"", "\"10.184.134.82/24\", \"fd00:184::82/64\""),
    ("\"10.184.134.83/24\"", "\"10.184.134.83/24\", \"fd00:184::83/64\""),
    ("\"10.128.0.0/14\"\nrouter", "[\"10.128.0.0/14\", \"fd00:10::/32\"]\nrouter"),
    ("\"10.128.0.1/23\"", "\"10.128.0.1/23\", \"fd00:10:128::1/64\""),
    ("\"10.130.0.1/23\"", "\"10.130.0.1/23\", \"fd00:10:130::1/64\""),
    ("\"10.128.0.0/23\"", "\"10.128.0.0/23\", \"fd00:10:128::/64\""),
    ("\"10.130.0.0/23\"", "\"10.130.0.0/23\", \"fd00:10:130::/64\""),
    ("\"10.128.0.2/23\"", "\"10.128.0.2/23\", \"fd00:10:128::2/64\""),
    ("ip = [\"10.128.0.2\"]", "ip = [\"10.128.0.2\", \"fd00:10:128::2\"]"),
    ("ip = [\"10.128.0.5\"]", "ip = [\"10.128.0.5\", \"fd00:10:128::5\"]"),
    ("ip = [\"10.130.0.5\"]", "ip = [\"10.130.0.5\", \"fd00:10:130::5\"]"),
    ("{ to = \"169.254.169.0/29\" }", "{ to = \"169.254.169.0/29\" }, { to = \"fd69::/125\" }"),
];

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
table ip6 nat {
    chain output {
        type nat hook output priority -100;
        ip6 daddr fd00:184::82 tcp dport 30080 dnat to [fd00:96::10]:80
    }
    chain postrouting {
        type nat hook postrouting priority 100;
        oifname "ovn-k8s-mp0" ip6 saddr fd00:184::82 snat to fd00:10:128::2
    }
}
"#;
/// And in mode `local`: node ports go on into the switch, and what pods send leaves with the node's address. A node that looks at
/// connections sees all of each: a packet of none that it knows is counted, and goes no further.
const LOCAL_RULES: &str = r#"
table ip nat {
    chain prerouting {
        type nat hook prerouting priority -100;
        iifname "br-ex" ip daddr 10.184.134.82 meta l4proto { tcp, udp, sctp } th dport 30000-32767 dnat to 169.254.169.3
    }
    chain postrouting {
        oifname "br-ex" ip saddr 10.128.0.0/14 masquerade
    }
}
table ip6 nat {
    chain prerouting {
        type nat hook prerouting priority -100;
        iifname "br-ex" ip6 daddr fd00:184::82 meta l4proto { tcp, udp, sctp } th dport 30000-32767 dnat to fd69::3
    }
    chain postrouting {
        oifname "br-ex" ip6 saddr fd00:10::/32 masquerade
    }
}
table inet strict {
    counter strays { }
    chain forward {
        type filter hook forward priority 0;
        ct state invalid counter name "strays" drop
        ct state new tcp flags & (fin | syn | rst | ack) != syn counter name "strays" drop
    }
}
"#;

/// Who answers for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The pod of the first node.
    Here,
    /// The pod of the other node.
    There,
    /// A program of the first node.
    Itself,
}

impl Backend {
    fn section(self, family: &Family) -> String {
        let (address, port, node) = match self {
            Self::Here => (family.pods[0], 8080, "node1"),
            Self::There => (family.pods[1], 8080, "node2"),
            Self::Itself => (family.node, 9090, "node1"),
        };
        format!(
            "{{ address = \"{address}\", ports = {{ t = {port}, u = {port}, s = {port} }}, node = \"{node}\" }}"
        )
    }
}

fn dual(text: &str) -> String {
    DUAL.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
}

/// The first node in `mode`, with a service of that policy and those backends.
fn config(mode: &str, policy: &str, backends: &[Backend]) -> String {
    let text = dual(include_str!("../../scenes/ovn-kubernetes/node1.toml"));
    let router = format!(
        "name = \"ovn-cluster\"\ngateway_mode = \"{mode}\"\nmanagement_port = \"ovn-k8s-mp0\"\n\
         external_ips = [\"203.0.113.0/24\", \"fd00:203::/64\"]\n"
    );
    let to_pods = "{ to = \"10.128.0.0/14\", via = \"10.128.0.1\" }";
    let via = |gateway: &'static str| move |to: &str| format!(", {{ to = \"{to}\", via = \"{gateway}\" }}");
    let v4 = ["10.96.0.0/16", "169.254.169.3/32", "10.184.134.100/32", "203.0.113.9/32"].map(via(V4.gateway));
    let v6 = ["fd00:10::/32", "fd00:96::/64", "fd69::3/128", "fd00:184::100/128", "fd00:203::9/128"];
    let routes = format!("{to_pods}{}{}", v4.concat(), v6.map(via(V6.gateway)).concat());
    let endpoints = backends.iter().flat_map(|backend| [&V4, &V6].map(|family| backend.section(family)));
    let endpoints: Vec<_> = endpoints.collect();
    let both = |of: fn(&Family) -> &'static str| format!("[\"{}\", \"{}\"]", of(&V4), of(&V6));
    let text = text
        .replacen("name = \"ovn-cluster\"\n", &router, 1)
        .replacen("vtep =", &format!("masquerade = true\nnode_ips = [\"{}\"]\nvtep =", V6.alone), 1)
        .replacen(to_pods, &routes, 1);
    format!(
        "[node]\nname = \"node1\"\n{text}[[service]]\nname = \"shop/web\"\ncluster_ips = {}\nload_balancer_ips = {}\n\
         external_ips = {}\nexternal_traffic_policy = \"{policy}\"\n\
         ports = [{{ name = \"t\", port = 80, node_port = 30080 }}, {{ name = \"u\", protocol = \"udp\", port = 80, node_port = 30080 }}, \
         {{ name = \"s\", protocol = \"sctp\", port = 80, node_port = 30080 }}]\n\
         endpoints = [{}]\n",
        both(|family| family.cluster),
        both(|family| family.balancer),
        both(|family| family.external),
        endpoints.join(", ")
    )
}

#[track_caller]
fn apply(scene: &Scene, name: &str, text: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    std::fs::write(&file, text).unwrap();
    scene.node(name).shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
}

#[track_caller]
fn rules(node: &Netns, text: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.nft");
    std::fs::write(&file, text).unwrap();
    node.exec(&["nft", "-f", &file.to_string_lossy()]).unwrap();
}

#[track_caller]
fn ip(place: &Netns, words: &str) {
    place.exec(&["ip"].into_iter().chain(words.split(' ')).collect::<Vec<_>>()).unwrap();
}

pub(crate) struct Lab {
    servers: Vec<Running>,
    pub(crate) scene: Scene,
}

impl Lab {
    /// The scene in that mode, and servers everywhere; the node's own stack is set up for both modes.
    #[track_caller]
    pub(crate) fn start(mode: &str) -> Self {
        let scene = scene::make("ovn-kubernetes").unwrap_or_else(|error| panic!("{error}"));
        let node = scene.place("node1");
        // Addresses are there at once; what is for others is passed on.
        let keys = ["all", "br-ex", "ovn-k8s-mp0"].map(|scope| format!("net/ipv6/conf/{scope}/accept_dad=0"));
        let passes_on =
            ["net/ipv4/conf/all/rp_filter=2", "net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1"];
        for key in keys.iter().map(String::as_str).chain(passes_on) {
            node.exec(&["sysctl", "-qw", key]).unwrap();
        }
        rules(node, RULES);
        rules(node, LOCAL_RULES);
        for (place, gateway) in [("pod_a", V6.gateway), ("pod_b", "fd00:10:130::1")] {
            let own = V6.pods[usize::from(place == "pod_b")];
            ip(scene.place(place), &format!("-6 addr add {own}/64 dev eth0 nodad"));
            ip(scene.place(place), &format!("-6 route add default via {gateway}"));
        }
        let outside = scene.place("outside");
        ip(outside, &format!("-6 addr add {}/64 dev eth0 nodad", V6.outside));
        for family in [&V4, &V6] {
            ip(outside, &format!("route add {} via {}", family.external, family.node));
        }
        apply(&scene, "node2", &dual(include_str!("../../scenes/ovn-kubernetes/node2.toml")));
        let mut lab = Self { scene, servers: Vec::new() };
        lab.has(mode, "cluster", &[Backend::Here]);
        let places = ["pod_a", "pod_b", "outside"];
        lab.servers.extend(places.map(|name| serve(lab.scene.place(name), name)));
        // At the addresses that are asked: the kernel would answer datagrams to pods from the management port's.
        for family in [&V4, &V6] {
            let host = lab
                .scene
                .place("node1")
                .spawn(&["perl", "-e", SERVER, "node1", "9090", family.node])
                .unwrap();
            host.expect("ready\n", 0, PATIENCE).unwrap();
            lab.servers.push(host);
        }
        lab
    }

    #[track_caller]
    pub(crate) fn has(&self, mode: &str, policy: &str, backends: &[Backend]) {
        apply(&self.scene, "node1", &config(mode, policy, backends));
    }

    pub(crate) fn state(&self) -> String {
        let node = |name: &str, words: &[&str]| self.scene.node(name).shuntd.cli_text(words).unwrap();
        let drops = ["node1", "node2"].map(|name| node(name, &["show", "drops"]));
        let rules = self.scene.place("node1").exec(&["nft", "list", "ruleset"]).unwrap().stdout;
        format!("{}\n{}\n{}\n{rules}", drops[0], drops[1], node("node1", &["conntrack", "-L"]))
    }

    /// Both a connection and a datagram from `from` are answered by `who`, who sees `peer`.
    #[track_caller]
    pub(crate) fn reaches(&self, from: &str, at: &str, port: u16, (who, peer): (&str, &str)) {
        let expected = format!("{who} {peer}");
        let itself = from == "node1" && [V4.node, V6.node].contains(&at);
        let from = self.scene.place(from);
        assert_eq!(page(from, at, port), expected, "{at}: {}", self.state());
        if !itself {
            assert_eq!(datagram(from, at, port), expected, "{at}: {}", self.state());
        }
    }

    /// Frames that the switch has given to the node by its management port.
    pub(crate) fn by_management(&self) -> u64 {
        self.scene.node("node1").counter("ovn-k8s-mp0", "tx_packets").unwrap()
    }

    /// Packets that the node's own stack was to pass on and that are of no connection which it knows.
    #[track_caller]
    pub(crate) fn strays(&self) -> u64 {
        let told = self
            .scene
            .place("node1")
            .exec(&["nft", "list", "counter", "inet", "strict", "strays"])
            .unwrap()
            .stdout;
        let packets = told.split_whitespace().skip_while(|word| *word != "packets").nth(1);
        packets.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{told}"))
    }
}
