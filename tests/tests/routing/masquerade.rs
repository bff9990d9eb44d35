//! Masquerading: pods reach a station that knows no way back to them but the router's address.

use shunt_tests::iperf::Tcp;
use shunt_tests::{Iperf, require};

use crate::lab::{
    Places, Sniffer, all_answered, apply, both_talk, config, dropped, echo, gateway_v4, losses, routed,
    until_answered,
};
use crate::node::{Kind, Node};

/// Two pods of network 1, and a station of network 2 without any route.
const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Tap, 1), (Kind::Veth, 2)];

fn masquerades() -> Node {
    let node = routed(PLACES, "");
    let text = config("", &node.pods, PLACES).replacen(
        "name = \"net1\"\n",
        "name = \"net1\"\nmasquerade = true\n",
        1,
    );
    apply(&node, &text);
    for family in ["-4", "-6"] {
        node.pods[2].netns.exec(&["ip", family, "route", "del", "default"]).unwrap();
    }
    node
}

#[test]
fn masqueraded_pods_reach_who_has_no_route_to_them() {
    require!(root(), tool("iperf3"), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = masquerades();
    let [a, tap, outside] = &node.pods[..] else { unreachable!("three pods") };
    for pod in [a, tap] {
        until_answered(&node, pod, &outside.v4);
        until_answered(&node, pod, &outside.v6);
        all_answered(&node, pod, &outside.v4);
        all_answered(&node, pod, &outside.v6);
    }
    let sniffer = Sniffer::on(outside);
    assert!(echo(a, &outside.v4, 64));
    let request = sniffer.wait(|frame| frame[12..14] == [8, 0] && frame[23] == 1 && frame[34] == 8);
    let source: Vec<String> = request[26..30].iter().map(u8::to_string).collect();
    assert_eq!(source.join("."), gateway_v4(2));
    // Within the network nothing is translated, and nobody outside can begin.
    assert!(echo(a, &tap.v4, 64));
    assert!(!echo(outside, &a.v4, 64));
    both_talk(outside, [a, tap]);
    assert_eq!(
        dropped(&node, "pod1", "invalid_state") + dropped(&node, "pod2", "invalid_state"),
        0,
        "{:?}",
        losses(&node)
    );
}

#[test]
fn connections_are_listed_and_ended() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let node = masquerades();
    let [a, _, outside] = &node.pods[..] else { unreachable!("three pods") };
    until_answered(&node, a, &outside.v4);
    let mut server = Iperf::serve(&outside.netns, &outside.v4).unwrap();
    server.tcp(&a.netns, &Tcp { seconds: 1, ..Tcp::default() }).unwrap();
    let list = node.cli("conntrack -L");
    let icmp = format!("src={} dst={} type=8 code=0 id=", a.v4, outside.v4);
    assert!(list.lines().any(|line| line.starts_with("icmp ") && line.contains(&icmp)), "{list}");
    // Both of iperf3's connections have ended, and their packets went both ways.
    let tcp = node.cli("conntrack -L -p tcp");
    let answers = format!("src={} dst={} sport=5201", outside.v4, gateway_v4(2));
    for line in tcp.lines() {
        assert!(line.starts_with("tcp      6 ") && line.contains(&answers), "{tcp}");
        assert!(["TIME_WAIT", "CLOSE", "LAST_ACK"].iter().any(|state| line.contains(state)), "{tcp}");
    }
    assert_eq!(tcp.lines().count(), 2, "{tcp}");
    let rows: serde_json::Value = serde_json::from_str(&node.cli("conntrack -L -p tcp -o json")).unwrap();
    assert_eq!(rows[0]["original"]["source"], a.v4.as_str());
    assert_eq!(node.cli("conntrack -D -p tcp"), "2 connections have been ended.\n");
    assert_eq!(node.cli("conntrack -L -p tcp"), "");
    // A cached flow's connection is ended under it: its next packet opens another.
    until_answered(&node, a, &outside.v4);
    node.cli("conntrack -F");
    assert_eq!(node.cli("conntrack -C").trim(), "0");
    all_answered(&node, a, &outside.v4);
}
