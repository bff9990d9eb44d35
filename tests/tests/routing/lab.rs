//! Two networks with a router between them, others without, and pods of kinds of which each is a kernel of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shunt_tests::iperf::{Tcp, Udp};
use shunt_tests::{Iperf, Ping, Running};

use crate::node::{self, Kind, Node, PATIENCE, Plan, Pod, traffic};

/// Networks 1 and 2 have a router in common; 3 has gateways and a router of its own, 4 has none.
pub(crate) const NETWORKS: u8 = 4;
/// Whose network each pod of a test is: pod `n` is in the `n`th of them.
pub(crate) type Places<'a> = &'a [(Kind, u8)];

pub(crate) const PAIR: Places<'_> = &[(Kind::Veth, 1), (Kind::Veth, 2)];

pub(crate) fn gateway_mac(network: u8) -> String {
    format!("02:00:00:00:fe:{network:02x}")
}

pub(crate) fn gateway_v4(network: u8) -> String {
    format!("10.0.{network}.254")
}

pub(crate) fn gateway_v6(network: u8) -> String {
    format!("fd00:{network}::254")
}

/// Routers and networks; `routes` are those of the common router.
pub(crate) fn networks(routes: &str) -> String {
    let mut text =
        format!("[[router]]\nname = \"common\"\nroutes = [{routes}]\n[[router]]\nname = \"lone\"\n");
    for network in 1..=NETWORKS {
        text += &format!("[[network]]\nname = \"net{network}\"\nmtu = 1500\n");
        let router = match network {
            1 | 2 => "common",
            3 => "lone",
            _ => continue,
        };
        text += &format!(
            "router = \"{router}\"\ngateways = [\"{}/24\", \"{}/64\"]\ngateway_mac = \"{}\"\n",
            gateway_v4(network),
            gateway_v6(network),
            gateway_mac(network)
        );
    }
    text
}

/// The section of a pod's port.
pub(crate) fn section(pod: &Pod, network: u8) -> String {
    format!("{}network = \"net{network}\"\n", pod.section())
}

/// A whole configuration.
pub(crate) fn config(routes: &str, pods: &[Pod], places: Places<'_>) -> String {
    config_on(node::MEMORY, routes, pods, places)
}

/// The same with the sections `head` in front.
pub(crate) fn config_on(head: &str, routes: &str, pods: &[Pod], places: Places<'_>) -> String {
    let sections = pods.iter().zip(places).map(|(pod, (_, network))| section(pod, *network));
    format!("{head}{}{}", networks(routes), sections.collect::<String>())
}

/// Gives the pod its way out: everything that is not in its own network is for the gateway.
pub(crate) fn point_to_gateway(pod: &Pod, network: u8) {
    let (v4, v6) = (gateway_v4(network), gateway_v6(network));
    let via = |family, gateway| {
        let line: &[&str] = match pod.kind {
            Kind::Tun => &["ip", family, "route", "add", "default", "dev", "eth0"],
            _ => &["ip", family, "route", "add", "default", "via", gateway, "dev", "eth0"],
        };
        pod.netns.exec(line).unwrap();
    };
    via("-4", v4.as_str());
    via("-6", v6.as_str());
}

/// A node with these pods; pod `n` has the last byte `n` in its network.
pub(crate) fn routed(places: Places<'_>, routes: &str) -> Node {
    routed_on(node::MEMORY, places, routes)
}

/// The same on a daemon that starts with the sections `head`.
pub(crate) fn routed_on(head: &str, places: Places<'_>, routes: &str) -> Node {
    let text = networks(routes);
    let mut node = Node::start(&Plan { head, tail: &text, ..Plan::default() });
    for (n, &(kind, network)) in (1..).zip(places) {
        let mut pod = Pod::new(kind, n, 1500, false, &node.netns);
        (pod.v4, pod.v6) = (format!("10.0.{network}.{n}"), format!("fd00:{network}::{n}"));
        if kind == Kind::Veth {
            pod.plug(1500, false, &node.netns);
        }
        node.pods.push(pod);
    }
    apply(&node, &config_on(head, routes, &node.pods, places));
    for (pod, (_, network)) in node.pods.iter().zip(places) {
        node.wait_port(&pod.port, "it is open", |port| port.oper_up && port.link);
        point_to_gateway(pod, *network);
    }
    node
}

/// Applies a configuration; it is in force then.
#[track_caller]
pub(crate) fn apply(node: &Node, text: &str) {
    let file = node.path("config.toml");
    std::fs::write(&file, text).unwrap();
    node.cli(&format!("apply {}", file.display()));
}

/// How often frames of `port` were dropped for this reason.
#[track_caller]
pub(crate) fn dropped(node: &Node, port: &str, reason: &str) -> u64 {
    node.drops().get(&format!("{port}: {reason}")).copied().unwrap_or(0)
}

/// Pings with a TTL; true when answered.
#[track_caller]
pub(crate) fn echo(from: &Pod, to: &str, ttl: u8) -> bool {
    let ttl = ttl.to_string();
    let cmd = from.netns.cmd(&["ping", "-n", "-c", "1", "-W", "1", "-t", &ttl, to]);
    cmd.run().unwrap().status.code() == Some(0)
}

/// Pings one at a time until answered.
#[track_caller]
pub(crate) fn until_answered(node: &Node, from: &Pod, to: &str) {
    let deadline = Instant::now() + PATIENCE;
    let ping = Ping { wait_ms: 200, ..Ping::to(to) };
    while ping.run(&from.netns).unwrap().received == 0 {
        assert!(
            Instant::now() < deadline,
            "{to} does not answer {}: {:?}, {}, {}",
            from.port,
            node.drops(),
            node.show("fdb"),
            node.cli("show topology --json")
        );
    }
}

/// Drops but for those of a pod alone in its network, whose kernel speaks to groups now and then.
#[track_caller]
pub(crate) fn losses(node: &Node) -> BTreeMap<String, u64> {
    node.drops().into_iter().filter(|(what, _)| !what.ends_with(": no_receiver")).collect()
}

/// A series is answered whole, and the switch drops nothing.
#[track_caller]
pub(crate) fn all_answered(node: &Node, from: &Pod, to: &str) {
    let before = losses(node);
    let ping = Ping { count: 20, wait_ms: 2000, ..Ping::to(to) };
    let series = || {
        let answers = ping.run(&from.netns).map_err(|error| error.to_string())?;
        if (answers.received, answers.duplicates) == (20, 0) { Ok(()) } else { Err(format!("{answers:?}")) }
    };
    traffic::thrice(series).unwrap();
    assert_eq!(losses(node), before);
}

/// Prints the beginning of every frame that comes in by `eth0`.
pub(crate) struct Sniffer(Running);

pub(crate) const SNIFF: &str = r#"
use strict; $| = 1;
open(my $f, "<", "/sys/class/net/eth0/ifindex") or die "ifindex: $!"; my $index = <$f> + 0;
socket(my $s, 17, 3, unpack("S", pack("n", 3))) or die "socket: $!";
bind($s, pack("S n i S C C a8", 17, 3, $index, 0, 0, 0, "")) or die "bind: $!";
print "ready\n";
while (defined(my $from = recv($s, my $frame, 65536, 0))) { print "got ", unpack("H256", $frame), "\n" }
"#;

impl Sniffer {
    #[track_caller]
    pub(crate) fn on(pod: &Pod) -> Self {
        let program = pod.netns.spawn(&["perl", "-e", SNIFF]).unwrap();
        program.expect("ready\n", 0, PATIENCE).unwrap();
        Self(program)
    }

    /// How many frames of those so far `are` the ones.
    #[track_caller]
    pub(crate) fn count(&self, are: impl Fn(&[u8]) -> bool) -> usize {
        self.frames().iter().filter(|frame| are(frame)).count()
    }

    /// Those of which all has been printed.
    fn frames(&self) -> Vec<Vec<u8>> {
        let text = self.0.stdout().text(0);
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        whole.lines().filter_map(|line| line.strip_prefix("got ")).map(bytes).collect()
    }

    /// The bytes of the first frame that `is` the one.
    #[track_caller]
    pub(crate) fn wait(&self, is: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let at = self.0.stdout().position();
            if let Some(frame) = self.frames().into_iter().find(|frame| is(frame)) {
                return frame;
            }
            assert!(Instant::now() < deadline, "no such frame: {}", self.0.stdout().text(0));
            let _ = self.0.stdout().wait_for("\n", at, Duration::from_millis(50));
        }
    }
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

pub(crate) fn mac(text: &str) -> Vec<u8> {
    bytes(&text.replace(':', ""))
}

/// A second of TCP and one of UDP between each of `clients` and `server`, begun by the client, each way and by both families: some
/// TCP arrives, and no datagram is lost.
#[track_caller]
pub(crate) fn both_talk(server: &Pod, [one, other]: [&Pod; 2]) {
    for to in [&server.v4, &server.v6] {
        let mut iperf = Iperf::serve(&server.netns, to).unwrap();
        for (pod, reverse) in [(one, false), (other, true), (other, false), (one, true)] {
            let about = format!("{to} from {}, reverse {reverse}", pod.port);
            let carried = iperf.tcp(&pod.netns, &Tcp { seconds: 1, reverse, ..Tcp::default() }).unwrap();
            assert!(carried.gbits > 0.01, "{about}: {carried:?}");
            let load = Udp { seconds: 1, mbits: 50, reverse, ..Udp::default() };
            let carried = iperf.udp(&pod.netns, &load).unwrap();
            assert_eq!(carried.lost_on_the_way(), 0, "{about}: {carried:?}");
        }
    }
}
