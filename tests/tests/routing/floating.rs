//! Floating addresses, each of which stands for one pod, both ways; and the pool that other pods leave with.

use shunt_tests::iperf::Tcp;
use shunt_tests::{Iperf, require};

use crate::lab::{Places, Sniffer, apply, config, echo, routed, until_answered};
use crate::node::{Kind, Node, Pod};

/// Two pods of network 1, and a station of network 2 without any route.
const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Tap, 1), (Kind::Veth, 2)];
/// Stands for the first pod, in the subnet of network 2.
const FLOATING: &str = "10.0.2.77";
const POOLED: &str = "10.0.2.78";

fn told(node: &Node, router: &str) {
    let text = config("", &node.pods, PLACES)
        .replacen("name = \"common\"\n", &format!("name = \"common\"\n{router}"), 1)
        .replacen("name = \"net1\"\n", "name = \"net1\"\nmasquerade = true\n", 1);
    apply(node, &text);
}

/// Who the echo requests of `pod` to `outside` seem to come from.
fn seen_as(pod: &Pod, outside: &Pod) -> String {
    let sniffer = Sniffer::on(outside);
    assert!(echo(pod, &outside.v4, 64));
    let request = sniffer.wait(|frame| frame[12..14] == [8, 0] && frame[23] == 1 && frame[34] == 8);
    request[26..30].iter().map(u8::to_string).collect::<Vec<_>>().join(".")
}

#[test]
fn a_floating_address_stands_for_its_pod_both_ways() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let node = routed(PLACES, "");
    let [a, tap, outside] = &node.pods[..] else { unreachable!("three pods") };
    outside.netns.exec(&["ip", "route", "del", "default"]).unwrap();
    let keys = format!(
        "floating_ips = [{{ external = \"{FLOATING}\", internal = \"{}\" }}]\nsnat_pool = [\"{POOLED}\"]\n",
        a.v4
    );
    told(&node, &keys);
    until_answered(&node, outside, FLOATING);
    until_answered(&node, a, &outside.v4);
    until_answered(&node, tap, &outside.v4);
    assert_eq!((seen_as(a, outside), seen_as(tap, outside)), (FLOATING.to_owned(), POOLED.to_owned()));
    // From inside, and from the pod itself, it is the same pod.
    for pod in [tap, a] {
        assert!(echo(pod, FLOATING, 64), "{}: {:?}", pod.port, node.drops());
    }
    let mut server = Iperf::serve(&a.netns, &a.v4).unwrap().known_as(FLOATING);
    for reverse in [false, true] {
        let carried = server.tcp(&outside.netns, &Tcp { seconds: 1, reverse, ..Tcp::default() }).unwrap();
        assert!(carried.gbits > 0.01, "reverse {reverse}: {carried:?}");
    }
    let listed = node.cli(&format!("conntrack -L -p tcp -d {FLOATING}"));
    let answers = format!("src={} dst={} sport=5201", a.v4, outside.v4);
    assert!(!listed.is_empty() && listed.lines().all(|line| line.contains(&answers)), "{listed}");
    // With the address its connections go, too.
    told(&node, &format!("snat_pool = [\"{POOLED}\"]\n"));
    assert!(!echo(outside, FLOATING, 64));
    assert_eq!(node.cli(&format!("conntrack -L -d {FLOATING}")), "");
    assert_eq!(seen_as(a, outside), POOLED);
}
