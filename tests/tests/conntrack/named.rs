//! Scenarios with kernels' stacks on both sides.

use std::collections::BTreeSet;

use shunt_tests::{Running, require};

use crate::ends::{KNOCK, http, seen_by, three};
use crate::lab::{echo, gateway_v4, gateway_v6, until_answered};
use crate::node::PATIENCE;
use crate::site::masquerades;

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
