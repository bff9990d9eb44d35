//! Scenarios with kernels' stacks on both sides.

use std::collections::BTreeSet;

use shunt_tests::{Running, require};

use crate::lab::{dropped, echo, gateway_v4, gateway_v6, until_answered};
use crate::node::{Node, PATIENCE, Pod};
use crate::site::masquerades;

/// Answers every HTTP request at port 80 of its argument with the address that asked.
const HTTP: &str = r#"
use strict; use IO::Socket::IP; $| = 1;
my $s = IO::Socket::IP->new(LocalHost => $ARGV[0], LocalPort => 80, Listen => 64, ReuseAddr => 1) or die "listen: $@";
print "ready\n";
while (my $c = $s->accept) {
    while (defined(my $line = <$c>)) { last if $line =~ /^\r?\n/ }
    my $body = $c->peerhost . "\n";
    print $c "HTTP/1.0 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    close $c;
}
"#;

/// Sends a datagram to a port and prints what its socket hears of it.
const KNOCK: &str = r#"
use strict; use IO::Socket::IP;
my $s = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => 9, Proto => "udp") or die "socket: $!";
alarm 5;
$s->send("x") or die "send: $!";
defined($s->recv(my $data, 9)) ? print "answered\n" : print "heard: $!\n";
"#;

/// Sends one datagram each to so many ports from the first on.
const SPRAY: &str = r#"
use strict; use IO::Socket::IP;
my ($to, $first, $count) = @ARGV;
for my $port ($first .. $first + $count - 1) {
    my $s = IO::Socket::IP->new(PeerHost => $to, PeerPort => $port, Proto => "udp") or die "socket: $!";
    $s->send("x");
}
"#;

fn http(pod: &Pod, address: &str) -> Running {
    let server = pod.netns.spawn(&["perl", "-e", HTTP, address]).unwrap();
    server.expect("ready\n", 0, PATIENCE).unwrap();
    server
}

/// The address that the server of `to` saw, as curl got it.
#[track_caller]
fn seen_by(from: &Pod, to: &str) -> String {
    let host = if to.contains(':') { format!("[{to}]") } else { to.to_owned() };
    let got = from.netns.exec(&["curl", "-sS", "--max-time", "10", &format!("http://{host}/")]).unwrap();
    got.stdout.trim().to_owned()
}

fn three(node: &Node) -> (&Pod, &Pod, &Pod) {
    let [a, b, outside] = &node.pods[..] else { unreachable!("three pods") };
    (a, b, outside)
}

/// The number behind `name=` in what `conntrack -S` prints.
#[track_caller]
fn statistic(node: &Node, name: &str) -> u64 {
    let text = node.cli("conntrack -S");
    let words = text.lines().next().unwrap_or_default().split(' ');
    let found = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')).next();
    found.map_or(0, |number| number.parse().unwrap())
}

#[test]
fn ipv4_ping() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let node = masquerades("");
    let (a, _, outside) = three(&node);
    until_answered(&node, a, &outside.v4);
    let list = node.cli("conntrack -L -p icmp");
    let there = format!("src={} dst={} type=8 code=0 id=", a.v4, outside.v4);
    let back = format!("src={} dst={} type=0 code=0 id=", outside.v4, gateway_v4(2));
    assert!(list.lines().all(|line| line.contains(&there) && line.contains(&back)), "{list}");
    assert!(!list.is_empty());
    assert!(!echo(outside, &a.v4, 64), "nobody outside begins");
}

#[test]
fn ipv6_ping() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let node = masquerades("");
    let (a, _, outside) = three(&node);
    until_answered(&node, a, &outside.v6);
    let list = node.cli("conntrack -L -p icmpv6");
    let there = format!("src={} dst={} type=128 code=0 id=", a.v6, outside.v6);
    let back = format!("src={} dst={} type=129 code=0 id=", outside.v6, gateway_v6(2));
    assert!(list.lines().all(|line| line.contains(&there) && line.contains(&back)), "{list}");
    assert!(!list.is_empty());
    assert!(!echo(outside, &a.v6, 64), "nobody outside begins");
}

#[test]
fn simple_snat() {
    require!(root(), tool("curl"), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = masquerades("");
    let (a, tap, outside) = three(&node);
    let _server = http(outside, &outside.v4);
    for pod in [a, tap] {
        until_answered(&node, pod, &outside.v4);
        assert_eq!(seen_by(pod, &outside.v4), gateway_v4(2));
    }
    let list = node.cli("conntrack -L -p tcp");
    assert!(list.lines().count() == 2 && list.lines().all(|line| line.contains("dport=80 ")), "{list}");
}

#[test]
fn ipv6_http_with_snat() {
    require!(root(), tool("curl"), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = masquerades("");
    let (a, tap, outside) = three(&node);
    let _server = http(outside, &outside.v6);
    for pod in [a, tap] {
        until_answered(&node, pod, &outside.v6);
        assert_eq!(seen_by(pod, &outside.v6), gateway_v6(2));
    }
}

#[test]
fn icmp_related_with_nat() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = masquerades("");
    let (a, tap, outside) = three(&node);
    for pod in [a, tap] {
        until_answered(&node, pod, &outside.v4);
        let heard = pod.netns.exec(&["perl", "-e", KNOCK, &outside.v4]).unwrap().stdout;
        assert!(heard.contains("heard: Connection refused"), "{heard}; {:?}", node.drops());
    }
}

#[test]
fn ipv6_icmp6_related_with_snat() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = masquerades("");
    let (a, tap, outside) = three(&node);
    for pod in [a, tap] {
        until_answered(&node, pod, &outside.v6);
        let heard = pod.netns.exec(&["perl", "-e", KNOCK, &outside.v6]).unwrap().stdout;
        assert!(heard.contains("heard: Connection refused"), "{heard}; {:?}", node.drops());
    }
}

#[test]
fn ct_flush_by_5_tuple() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = masquerades("");
    let (a, tap, outside) = three(&node);
    for pod in [a, tap] {
        until_answered(&node, pod, &outside.v4);
        pod.netns.exec(&["perl", "-e", SPRAY, &outside.v4, "7000", "3"]).unwrap();
    }
    let ended = node.cli(&format!("conntrack -D -p udp -s {} -d {}", a.v4, outside.v4));
    assert_eq!(ended, "3 connections have been ended.\n");
    let left = node.cli("conntrack -L -p udp");
    assert!(
        left.lines().count() == 3 && left.lines().all(|line| line.contains(&format!("src={} ", tap.v4))),
        "{left}"
    );
}

#[test]
fn limit_by_zone() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let limit = |zone: u32| format!("[connections]\nper_zone = {zone}\n");
    let node = masquerades(&limit(10));
    let (a, _, outside) = three(&node);
    until_answered(&node, a, &outside.v4);
    node.cli("conntrack -F");
    a.netns.exec(&["perl", "-e", SPRAY, &outside.v4, "7000", "25"]).unwrap();
    let refused = |wanted: u64| {
        node.shuntd
            .cli_until(&["show", "drops", "--json"], PATIENCE, |_| {
                dropped(&node, "pod1", "connection_zone") >= wanted
            })
            .unwrap_or_else(|error| panic!("{error}: {}", node.cli("conntrack -L")))
    };
    refused(15);
    assert_eq!(node.cli("conntrack -C").trim(), "10");
    assert_eq!((statistic(&node, "entries"), statistic(&node, "connection_zone")), (10, 15));
    // Another limit, while it runs.
    let text = std::fs::read_to_string(node.path("config.toml")).unwrap().replace(&limit(10), &limit(14));
    crate::lab::apply(&node, &text);
    a.netns.exec(&["perl", "-e", SPRAY, &outside.v4, "8000", "5"]).unwrap();
    refused(16);
    assert_eq!(node.cli("conntrack -C").trim(), "14");
}

#[test]
fn get_nconns_and_get_set_maxconns() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = masquerades("[connections]\nper_source = 5\n");
    let (a, tap, outside) = three(&node);
    until_answered(&node, a, &outside.v4);
    until_answered(&node, tap, &outside.v4);
    node.cli("conntrack -F");
    assert_eq!((statistic(&node, "capacity"), statistic(&node, "entries")), (262_144, 0));
    a.netns.exec(&["perl", "-e", SPRAY, &outside.v4, "7000", "9"]).unwrap();
    tap.netns.exec(&["perl", "-e", SPRAY, &outside.v4, "7000", "3"]).unwrap();
    node.shuntd
        .cli_until(&["show", "drops", "--json"], PATIENCE, |_| {
            dropped(&node, "pod1", "connection_limit") == 4
        })
        .unwrap();
    // One pod has as many as it may, and another does not notice.
    assert_eq!((node.cli("conntrack -C").trim(), dropped(&node, "pod2", "connection_limit")), ("8", 0));
    let shown = node.show("topology");
    assert_eq!(
        (&shown["connections"]["entries"], &shown["connections"]["capacity"]),
        (&8.into(), &262_144.into())
    );
    let text = std::fs::read_to_string(node.path("config.toml"))
        .unwrap()
        .replace("per_source = 5", "capacity = 4096");
    std::fs::write(node.path("config.toml"), text).unwrap();
    let path = node.path("config.toml").to_string_lossy().into_owned();
    let refused = node.shuntd.cli_cmd(&["apply", &path]).unwrap().run().unwrap();
    assert!(
        !refused.status.success() && refused.stderr.contains("connections.capacity"),
        "{}",
        refused.stderr
    );
}

#[test]
fn new_connections_of_one_source_in_a_second() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = masquerades("[connections]\nper_source_rate = 10\n");
    let (a, _, outside) = three(&node);
    until_answered(&node, a, &outside.v4);
    a.netns.exec(&["perl", "-e", SPRAY, &outside.v4, "7000", "400"]).unwrap();
    let made = || statistic(&node, "opened");
    let refused = || statistic(&node, "connection_rate");
    node.shuntd.cli_until(&["show", "drops", "--json"], PATIENCE, |_| made() + refused() > 400).unwrap();
    // All within a second or three.
    assert!(refused() > 300, "{}", node.cli("conntrack -S"));
}

#[test]
fn zone_based_timeout_policy() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = masquerades("[connections]\nudp_timeout = \"1s\"\n");
    let (a, _, outside) = three(&node);
    until_answered(&node, a, &outside.v4);
    a.netns.exec(&["perl", "-e", SPRAY, &outside.v4, "7000", "5"]).unwrap();
    node.shuntd
        .cli_until(&["conntrack", "-L", "-p", "udp", "-o", "json"], PATIENCE, |rows| {
            rows.as_array().is_some_and(Vec::is_empty)
        })
        .unwrap();
    assert!(statistic(&node, "expired") >= 5);
    // Echoes have a time of their own.
    assert!(node.cli("conntrack -L -p icmp").contains("type=8"));
}

#[test]
fn events_are_told_as_they_happen() {
    require!(root(), tool("curl"), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = masquerades("");
    let (a, _, outside) = three(&node);
    let _server = http(outside, &outside.v4);
    until_answered(&node, a, &outside.v4);
    let all = node.shuntd.cli_cmd(&["conntrack", "-E"]).unwrap().spawn().unwrap();
    let tcp = node.shuntd.cli_cmd(&["conntrack", "-E", "-p", "tcp"]).unwrap().spawn().unwrap();
    // Both watch when they tell of something.
    let heard = |running: &Running, what: &str| running.stdout().wait_for(what, 0, PATIENCE).is_some();
    while running_silent(&all) {
        assert!(echo(a, &outside.v4, 64));
    }
    while running_silent(&tcp) {
        seen_by(a, &outside.v4);
    }
    assert!(heard(&all, "    [NEW] icmp     1 30 src=") && heard(&all, " [UPDATE] tcp      6 "));
    for what in [
        "[NEW] tcp      6 120 SYN_SENT",
        "[UPDATE] tcp      6 60 SYN_RECV",
        "[UPDATE] tcp      6 432000 ESTABLISHED",
    ] {
        assert!(heard(&tcp, what), "{what}: {}", tcp.stdout().text(0));
    }
    node.cli("conntrack -F");
    assert!(heard(&all, "[DESTROY] icmp     1 src=") && heard(&tcp, "[DESTROY] tcp      6 "));
    let kinds: BTreeSet<String> = tcp
        .stdout()
        .text(0)
        .lines()
        .filter_map(|line| Some(line.split_whitespace().nth(1)?.to_owned()))
        .collect();
    assert_eq!(kinds, BTreeSet::from(["tcp".to_owned()]));
}

/// True while it has printed nothing.
fn running_silent(running: &Running) -> bool {
    running.stdout().wait_for("\n", 0, std::time::Duration::from_millis(50)).is_none()
}
