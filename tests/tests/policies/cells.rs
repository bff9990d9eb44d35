//! Who reaches whom, cell by cell: pods in three namespaces and a station that is none ask each other over TCP and UDP, in both
//! families, under policies as Kubernetes objects; what is answered is what the naive model of the specification says, and as much
//! of it as was counted by hand.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;
use shunt_config::Cluster;
use shunt_tests::{Running, require};

use crate::lab::{Places, routed, until_answered};
use crate::model::{Packet, judged};
use crate::node::{Kind, Node, PATIENCE, Pod};

/// Pods x/a, x/b, y/a, which are bridged; y/b, z/a, z/b beyond the router, and beside them somebody who is no pod.
const PLACES: Places<'_> = &[
    (Kind::Veth, 1),
    (Kind::Veth, 1),
    (Kind::Veth, 1),
    (Kind::Veth, 2),
    (Kind::Veth, 2),
    (Kind::Veth, 2),
    (Kind::Veth, 2),
];
/// Namespace, name, and named ports of each that is a pod.
const PODS: [(&str, &str, &str); 6] = [
    ("x", "a", "{ name: web, containerPort: 80 }"),
    ("x", "b", ""),
    ("y", "a", "{ name: web, containerPort: 81 }"),
    ("y", "b", "{ name: web, containerPort: 80, protocol: UDP }"),
    ("z", "a", ""),
    ("z", "b", ""),
];
/// What is asked.
const PORTS: [(&str, u8, u16); 4] = [("tcp", 6, 80), ("tcp", 6, 81), ("udp", 17, 80), ("udp", 17, 81)];

/// Of the 42 pairs, how many are answered at each of [`PORTS`].
type Count = [usize; 4];

/// What a case is called, its objects, and how many are answered over IPv4 and over IPv6.
const CASES: [(&str, &str, [Count; 2]); 8] = [
    ("nothing", "", [[42; 4]; 2]),
    (
        "nobody sends to a namespace",
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: p, namespace: x }\nspec: { podSelector: {} }\n",
        [[30; 4]; 2],
    ),
    (
        "another namespace, at one port",
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: p, namespace: x }\n\
         spec:\n  podSelector: { matchLabels: { pod: a } }\n  ingress:\n\
         \x20   - from: [{ namespaceSelector: { matchLabels: { ns: y } } }]\n      ports: [{ port: 80 }]\n",
        [[38, 36, 36, 36]; 2],
    ),
    (
        // 10.0.2.4/31 are y/b and z/a.
        "a block without a part of it",
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: p, namespace: x }\n\
         spec:\n  podSelector: { matchLabels: { pod: a } }\n  ingress:\n    - from:\n\
         \x20       - ipBlock: { cidr: 10.0.0.0/16, except: [10.0.2.4/31] }\n\
         \x20       - ipBlock: { cidr: \"fd00::/16\", except: [\"fd00:2::/64\"] }\n",
        [[40; 4], [38; 4]],
    ),
    (
        "ranges of ports",
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: p, namespace: y }\n\
         spec:\n  podSelector: {}\n  ingress:\n    - ports: [{ port: 70, endPort: 80 }, { protocol: UDP, port: 81, endPort: 90 }]\n",
        [[42, 30, 30, 42]; 2],
    ),
    (
        "a port by its name, which is another one at each pod",
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: p, namespace: z }\n\
         spec:\n  podSelector: {}\n  policyTypes: [Egress]\n  egress:\n    - ports: [{ port: web }]\n",
        [[32, 32, 30, 30]; 2],
    ),
    (
        "to some pods and to an address outside",
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: p, namespace: x }\n\
         spec:\n  podSelector: {}\n  policyTypes: [Egress]\n  egress:\n\
         \x20   - to: [{ namespaceSelector: { matchLabels: { ns: y } }, podSelector: { matchLabels: { pod: a } } }]\n\
         \x20   - to: [{ ipBlock: { cidr: 10.0.2.7/32 } }]\n      ports: [{ protocol: UDP, port: 80, endPort: 81 }]\n\
         \x20   - to: [{ ipBlock: { cidr: \"fd00:2::7/128\" } }]\n      ports: [{ port: 81 }]\n",
        [[32, 32, 34, 34], [32, 34, 32, 32]],
    ),
    (
        "an admin policy above, one of a namespace between, a baseline below",
        "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: { name: guard }\n\
         spec:\n  priority: 10\n  subject: { namespaces: { matchLabels: { ns: x } } }\n  ingress:\n\
         \x20   - { action: Allow, from: [{ namespaces: { matchLabels: { ns: y } } }], ports: [{ portNumber: { port: 80 } }] }\n\
         \x20   - { action: Deny, from: [{ namespaces: { matchLabels: { ns: y } } }] }\n\
         \x20   - { action: Pass, from: [{ namespaces: { matchLabels: { ns: z } } }] }\n\
         ---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: p, namespace: x }\n\
         spec:\n  podSelector: { matchLabels: { pod: b } }\n  ingress:\n\
         \x20   - from: [{ namespaceSelector: { matchLabels: { ns: z } }, podSelector: { matchLabels: { pod: a } } }]\n\
         ---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: { name: default }\n\
         spec:\n  subject: { namespaces: {} }\n  ingress:\n\
         \x20   - { action: Deny, from: [{ namespaces: {} }], ports: [{ portNumber: { protocol: UDP, port: 81 } }] }\n",
        [[39, 35, 35, 12]; 2],
    ),
];

/// Says its name to whoever opens a connection to port 80 or 81, or sends a datagram there.
const SERVE: &str = r#"
use strict; use IO::Socket::IP; use IO::Select; use Socket qw(SOCK_STREAM SOCK_DGRAM);
my $name = shift;
my $ready = IO::Select->new;
my %stream;
for my $port (80, 81) {
    my %at = (LocalHost => "::", LocalPort => $port, V6Only => 0, ReuseAddr => 1);
    my $tcp = IO::Socket::IP->new(%at, Type => SOCK_STREAM, Listen => 64) or die "tcp: $!";
    my $udp = IO::Socket::IP->new(%at, Type => SOCK_DGRAM, Proto => "udp") or die "udp: $!";
    $stream{$tcp} = 1;
    $ready->add($tcp, $udp);
}
$| = 1; print "ready\n";
while (my @some = $ready->can_read) {
    for my $one (@some) {
        if ($stream{$one}) { my $client = $one->accept or next; syswrite($client, $name); next }
        my $from = $one->recv(my $said, 100) or next;
        $one->send($name, 0, $from);
    }
}
"#;

/// Asks all of its arguments, `PROTOCOL,HOST,PORT`, at once, datagrams three times; prints which were answered, and by whom.
const ASK: &str = r#"
use strict; use Fcntl; use Time::HiRes qw(time); use IO::Select;
use Socket qw(:DEFAULT AF_INET6 inet_pton pack_sockaddr_in6);
my ($waiting, %asked) = (IO::Select->new);
for my $what (@ARGV) {
    my ($protocol, $host, $port) = split /,/, $what;
    my $v6 = $host =~ /:/;
    my $at = $v6 ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $host)) : pack_sockaddr_in($port, inet_aton($host));
    socket(my $s, $v6 ? AF_INET6 : AF_INET, $protocol eq "tcp" ? SOCK_STREAM : SOCK_DGRAM, 0) or die "socket: $!";
    fcntl($s, F_SETFL, O_NONBLOCK) or die "fcntl: $!";
    connect($s, $at) or $!{EINPROGRESS} or die "$what: $!";
    $asked{fileno $s} = [$what, $s, $protocol];
    $waiting->add($s);
}
for my $turn (1 .. 3) {
    for (values %asked) { send($_->[1], "?", 0) if $_->[2] eq "udp" }
    my $until = time + 0.4;
    while ($waiting->count && (my $left = $until - time) > 0) {
        for my $s ($waiting->can_read($left)) {
            my ($what) = @{delete $asked{fileno $s}};
            my $came = sysread($s, my $name, 100);
            print "$what ", $came ? $name : "failed: $!", "\n";
            $waiting->remove($s);
        }
    }
}
print "asked\n";
"#;

/// Namespaces and pods.
fn objects(node: &Node) -> String {
    let mut text = String::new();
    for namespace in ["x", "y", "z"] {
        text += &format!(
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: {namespace}, labels: {{ ns: {namespace} }} }}\n"
        );
    }
    for ((namespace, name, ports), pod) in PODS.iter().zip(&node.pods) {
        text += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: {namespace}, labels: {{ pod: {name} }} }}\n\
             spec: {{ containers: [{{ name: c, image: c, ports: [{ports}] }}] }}\n\
             status: {{ phase: Running, podIPs: [{{ ip: \"{}\" }}, {{ ip: \"{}\" }}] }}\n",
            pod.v4, pod.v6
        );
    }
    text
}

/// A question of one pod to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    v6: bool,
    port: usize,
    from: usize,
    to: usize,
}

fn address(pod: &Pod, v6: bool) -> &str {
    if v6 { &pod.v6 } else { &pod.v4 }
}

impl Cell {
    fn all() -> BTreeSet<Self> {
        let pairs = |v6, port| {
            (0..7)
                .flat_map(move |from| (0..7).map(move |to| Self { v6, port, from, to }))
                .filter(|it| it.from != it.to)
        };
        [false, true]
            .into_iter()
            .flat_map(|v6| (0..PORTS.len()).flat_map(move |port| pairs(v6, port)))
            .collect()
    }

    fn question(self, node: &Node) -> String {
        let (protocol, _, port) = PORTS[self.port];
        format!("{protocol},{},{port}", address(&node.pods[self.to], self.v6))
    }

    /// What the specification says.
    fn may(self, node: &Node, cluster: &Cluster) -> bool {
        let at = |pod: usize| -> IpAddr { address(&node.pods[pod], self.v6).parse().unwrap() };
        let (_, protocol, port) = PORTS[self.port];
        let packet = Packet { source: at(self.from), destination: at(self.to), protocol, port: Some(port) };
        judged(cluster, &packet) == (true, true)
    }
}

/// Asks all of `cells`, all pods at once; those that were answered, each by the pod that was asked.
fn answered(node: &Node, cells: &BTreeSet<Cell>) -> BTreeSet<Cell> {
    let asking = |pod: usize| -> (Vec<Cell>, Option<Running>) {
        let mine: Vec<Cell> = cells.iter().copied().filter(|cell| cell.from == pod).collect();
        let questions: Vec<String> = mine.iter().map(|cell| cell.question(node)).collect();
        let mut argv = vec!["perl", "-e", ASK];
        argv.extend(questions.iter().map(String::as_str));
        let program = (!mine.is_empty()).then(|| node.pods[pod].netns.spawn(&argv).unwrap());
        (mine, program)
    };
    let all: Vec<_> = (0..7).map(asking).collect();
    let mut answered = BTreeSet::new();
    for (mine, program) in all {
        let Some(program) = program else { continue };
        program.expect("asked\n", 0, PATIENCE).unwrap();
        let said = program.stdout().text(0);
        for cell in mine {
            let question = format!("{} ", cell.question(node));
            let Some(by) = said.lines().find_map(|line| line.strip_prefix(&question)) else { continue };
            assert_eq!(by, node.pods[cell.to].port, "{cell:?}");
            answered.insert(cell);
        }
    }
    answered
}

#[test]
fn every_cell_is_as_the_specification_says() {
    require!(root(), tool("perl"), shuntd());
    let node = routed(PLACES, "");
    let put = |what: &str, text: &str| {
        let file = node.path("objects.yaml");
        std::fs::write(&file, text).unwrap();
        node.cli(&format!("{what} -f {}", file.display()))
    };
    let serve = |pod: &Pod| {
        let program = pod.netns.spawn(&["perl", "-e", SERVE, &pod.port]).unwrap();
        program.expect("ready\n", 0, PATIENCE).unwrap();
        program
    };
    let _serving: Vec<Running> = node.pods.iter().map(serve).collect();
    for from in &node.pods {
        for to in node.pods.iter().filter(|to| to.port != from.port) {
            until_answered(&node, from, &to.v4);
            until_answered(&node, from, &to.v6);
        }
    }
    let pods = objects(&node);
    put("apply", &pods);
    let nothing = shunt_config::parse("", "nothing").unwrap();
    for (name, policies, counts) in CASES {
        if !policies.is_empty() {
            put("apply", policies);
        }
        let merged = shunt_config::merge(&nothing, &format!("{pods}{policies}"), name).unwrap();
        let may: BTreeSet<Cell> =
            Cell::all().into_iter().filter(|cell| cell.may(&node, &merged.config.cluster)).collect();
        for (v6, counts) in [false, true].into_iter().zip(counts) {
            let counted = |port| may.iter().filter(|cell| (cell.v6, cell.port) == (v6, port)).count();
            assert_eq!([0, 1, 2, 3].map(counted), counts, "{name}, IPv6 {v6}: the model itself");
        }
        let mut came = answered(&node, &Cell::all());
        let why = node.cli("drops --why");
        // What is forbidden never passes; what is allowed may be late on a busy machine.
        for _ in 0..3 {
            let wrong: Vec<_> = came.difference(&may).collect();
            assert!(wrong.is_empty(), "{name}: answered, and must not be: {wrong:?}\n{why}");
            let late: BTreeSet<Cell> = may.difference(&came).copied().collect();
            came.extend(answered(&node, &late));
        }
        assert_eq!(came, may, "{name}: {:?}\n{why}", node.drops());
        if policies.contains("AdminNetworkPolicy") {
            let rows: Vec<Value> = serde_json::from_str(&node.cli("drops --why --json")).unwrap();
            let row = |own: &str, to: &str, protocol: &str, port: u64, rule: &str| {
                let is = |row: &&Value| {
                    row["source"] == own && row["destination"] == to && row["protocol"] == protocol
                };
                let said: BTreeSet<&str> = rows
                    .iter()
                    .filter(is)
                    .filter(|row| row["destination_port"] == port)
                    .map(|row| row["why"].as_str().unwrap())
                    .collect();
                assert_eq!(said, BTreeSet::from([rule]), "{own} to {to}, {protocol} {port}: {why}");
            };
            let [xa, xb, ya, _, za, zb, _] = &node.pods[..] else { unreachable!("seven pods") };
            row(&ya.v4, &xa.v4, "tcp", 81, "denied by admin policy guard rule 1");
            row(&ya.v6, &xa.v6, "udp", 80, "denied by admin policy guard rule 1");
            row(&zb.v4, &xb.v4, "tcp", 80, "allowed by no rule of x/p, which isolate the pod");
            row(&za.v6, &ya.v6, "udp", 81, "denied by baseline policy default rule 0");
        }
        if !policies.is_empty() {
            put("delete", policies);
        }
    }
}
