//! Single ports that lead inside (`port_forwards`), and the addresses that connections of a prefix leave with (`static_snat`).

use std::time::Instant;

use shunt_tests::require;

use crate::cluster::{Answer, Talk, config, datagram, http, http_at_last, serve};
use crate::lab::{Places, apply, dropped, echo, gateway_v4, gateway_v6, routed, until_answered};
use crate::node::{Kind, Node, PATIENCE};

/// Two pods of network 1, and a station of network 2 without any route.
const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Veth, 1), (Kind::Veth, 2)];
/// Addresses of nobody in the subnets of network 2.
const LENT: [&str; 2] = ["10.0.2.90", "fd00:2::90"];

fn start() -> Node {
    let node = routed(PLACES, "");
    for family in ["-4", "-6"] {
        node.pods[2].netns.exec(&["ip", family, "route", "del", "default"]).unwrap();
    }
    node
}

/// Network 1 is masqueraded when `masquerade` says so; the router has `keys`.
fn told(node: &Node, masquerade: bool, keys: &str) {
    let router = format!("name = \"common\"\n{keys}");
    apply(node, &config(node, PLACES, masquerade, "").replacen("name = \"common\"\n", &router, 1));
}

/// TCP 8081 of the router's own addresses and UDP 53 of those of nobody, of both families, to port 8080 of pod number `pod`.
fn forwards(node: &Node, pod: usize) -> String {
    let pod = &node.pods[pod];
    let ends = [
        ("tcp", format!("{}:8081", gateway_v4(2)), format!("{}:8080", pod.v4)),
        ("tcp", format!("[{}]:8081", gateway_v6(2)), format!("[{}]:8080", pod.v6)),
        ("udp", format!("{}:53", LENT[0]), format!("{}:8080", pod.v4)),
        ("udp", format!("[{}]:53", LENT[1]), format!("[{}]:8080", pod.v6)),
    ];
    let rows = ends.map(|(protocol, external, internal)| {
        format!("{{ protocol = \"{protocol}\", external = \"{external}\", internal = \"{internal}\" }}")
    });
    format!("port_forwards = [{}]\n", rows.join(", "))
}

fn seen(node: &Node, by: usize, peer: &str) -> Answer {
    Answer { name: node.pods[by].port.clone(), peer: peer.to_owned() }
}

#[test]
fn a_port_leads_to_a_pod_and_the_others_of_its_address_do_not() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = start();
    let [server, other, outside] = &node.pods[..] else { unreachable!("three pods") };
    told(&node, true, &forwards(&node, 0));
    let _running = serve(server, 8080);
    let families = [
        (gateway_v4(2), LENT[0], &outside.v4, &other.v4, gateway_v4(1)),
        (gateway_v6(2), LENT[1], &outside.v6, &other.v6, gateway_v6(1)),
    ];
    for (own, lent, client, pod, gateway) in families {
        // Who asks is seen as himself, from wherever: only the pod itself is not, which would not answer itself.
        for (from, peer) in [(outside, client), (other, pod), (server, &gateway)] {
            let expected = seen(&node, 0, peer);
            assert_eq!(http_at_last(&node, from, &own, 8081), expected);
            assert_eq!(datagram(from, lent, 53), Ok(expected), "{lent}: {:?}", node.drops());
        }
        // What leads nowhere is refused at once, and the address answers pings.
        for (at, port) in [(own.as_str(), 8082), (own.as_str(), 53), (lent, 54), (lent, 8081)] {
            assert!(datagram(outside, at, port).unwrap_err().contains("refused"), "{at} {port}");
        }
        assert!(http(outside, lent, 53).is_err(), "another protocol");
        assert!(echo(outside, lent, 64) && echo(outside, &own, 64), "{:?}", node.drops());
    }
    let listed = node.cli("conntrack -L -p tcp");
    let way = format!("src={} dst={} sport=", outside.v4, gateway_v4(2));
    let back = format!("src={} dst={} sport=8080", server.v4, outside.v4);
    assert!(listed.lines().any(|line| line.contains(&way) && line.contains(&back)), "{listed}");
    let traced = node.cli(&format!(
        "trace --in pod3 ip4.src=={}&&ip4.dst=={}&&tcp.src==1&&tcp.dst==8081",
        outside.v4,
        gateway_v4(2)
    ));
    let found = format!("port {}:8081 leads to {}:8080", gateway_v4(2), server.v4);
    assert!(traced.contains(&found), "{traced}");
    // What the pod itself opens is masqueraded as ever.
    let _elsewhere = serve(outside, 8080);
    assert_eq!(http_at_last(&node, server, &outside.v4, 8080), seen(&node, 2, &gateway_v4(2)));
}

#[test]
fn a_port_that_is_taken_back_or_leads_elsewhere_takes_its_connections_with_it() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = start();
    let [server, other, outside] = &node.pods[..] else { unreachable!("three pods") };
    told(&node, true, &forwards(&node, 0));
    let _running = [serve(server, 8080), serve(other, 8080)];
    let own = gateway_v4(2);
    http_at_last(&node, outside, &own, 8081);
    until_answered(&node, other, &outside.v4);
    let (mut tcp, mut udp) =
        (Talk::open(outside, "tcp", &own, 8081), Talk::open(outside, "udp", LENT[0], 53));
    assert_eq!((tcp.ask(), udp.ask()), (Ok(seen(&node, 0, &outside.v4)), Ok(seen(&node, 0, &outside.v4))));
    // Others do not notice: neither a flow by the same router nor a connection that the pod has opened.
    let flow = other.netns.spawn(&["ping", "-n", "-i", "0.01", "-c", "300", &outside.v4]).unwrap();
    for round in 0..21 {
        let to = 1 - round % 2;
        told(&node, true, &forwards(&node, to));
        let deadline = Instant::now() + PATIENCE;
        // An answer may come when its connection has just been ended: then there is silence.
        while udp.ask() != Ok(seen(&node, to, &outside.v4)) {
            assert!(Instant::now() < deadline, "round {round}: {}", node.cli("conntrack -L"));
        }
        assert_eq!(http(outside, &own, 8081), Ok(seen(&node, to, &outside.v4)), "round {round}");
    }
    let at = flow.expect(" packet loss", 0, PATIENCE).unwrap();
    let text = flow.stdout().text(0);
    assert!(text[..at].contains("300 packets transmitted, 300 received"), "{text}");
    assert!(tcp.ask().is_err(), "its pod is another by now");
    told(&node, true, "");
    assert!(datagram(outside, &own, 8081).unwrap_err().contains("refused"));
    assert!(datagram(outside, LENT[0], 53).is_err(), "nobody has the address");
    let deadline = Instant::now() + PATIENCE;
    while node.cli("conntrack -L").contains("dport=8081") {
        assert!(Instant::now() < deadline, "{}", node.cli("conntrack -L"));
    }
}

#[test]
fn connections_of_a_prefix_leave_with_its_address() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = start();
    let [first, second, outside] = &node.pods[..] else { unreachable!("three pods") };
    let _running = serve(outside, 8080);
    let rules = format!(
        "static_snat = [{{ source = \"10.0.1.0/24\", address = \"10.0.2.91\" }}, {{ source = \"{}/32\", address = \"{}\" }}, \
         {{ source = \"{}/128\", address = \"{}\" }}]\n",
        first.v4, LENT[0], first.v6, LENT[1]
    );
    for masquerade in [true, false] {
        told(&node, masquerade, &rules);
        for (pod, at, peer) in
            [(first, &outside.v4, LENT[0]), (first, &outside.v6, LENT[1]), (second, &outside.v4, "10.0.2.91")]
        {
            assert_eq!(http_at_last(&node, pod, at, 8080), seen(&node, 2, peer), "masquerade {masquerade}");
            assert_eq!(datagram(pod, at, 8080), Ok(seen(&node, 2, peer)), "{:?}", node.drops());
        }
        // Nobody opens a connection to such an address; who asks hears so.
        assert!(datagram(outside, LENT[0], 8080).unwrap_err().contains("refused"));
    }
    assert_eq!(dropped(&node, "pod1", "no_masquerade_address"), 0);
    let mut talk = Talk::open(first, "udp", &outside.v4, 8080);
    assert_eq!(talk.ask(), Ok(seen(&node, 2, LENT[0])));
    told(&node, true, "");
    let deadline = Instant::now() + PATIENCE;
    while talk.ask().unwrap() != seen(&node, 2, &gateway_v4(2)) {
        assert!(Instant::now() < deadline, "{}", node.cli("conntrack -L"));
    }
}

/// A talk by UDP and one by TCP of the pod with the station outside, which sees both as `peer`.
#[track_caller]
fn talks(node: &Node, peer: &str) -> (Talk, Talk) {
    let [pod, _, outside] = &node.pods[..] else { unreachable!("three pods") };
    assert_eq!(http_at_last(node, pod, &outside.v4, 8080), seen(node, 2, peer));
    let (mut udp, mut tcp) =
        (Talk::open(pod, "udp", &outside.v4, 8080), Talk::open(pod, "tcp", &outside.v4, 8080));
    assert_eq!((udp.ask(), tcp.ask()), (Ok(seen(node, 2, peer)), Ok(seen(node, 2, peer))));
    (udp, tcp)
}

/// The datagrams of `udp` are seen as from `peer` at last, `tcp` gets no more answers, and no connection has the address `gone`.
#[track_caller]
fn move_on(node: &Node, (mut udp, mut tcp): (Talk, Talk), gone: &str, peer: &str) {
    let deadline = Instant::now() + PATIENCE;
    while udp.ask() != Ok(seen(node, 2, peer)) {
        assert!(Instant::now() < deadline, "{}", node.cli("conntrack -L"));
    }
    assert!(tcp.ask().is_err(), "its other end knows it by {gone}");
    let listed = || node.cli("conntrack -L");
    while listed().contains(&format!("dst={gone} ")) {
        assert!(Instant::now() < deadline, "{}", listed());
    }
}

#[test]
fn connections_end_with_the_address_that_they_leave_with() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = start();
    let _running = serve(&node.pods[2], 8080);
    let outer = gateway_v4(2);
    let prefix =
        format!("static_snat = [{{ source = \"{}/32\", address = \"10.0.2.93\" }}]\n", node.pods[0].v4);
    // An address of a prefix and the only one of the pool are taken back.
    for (keys, address) in [(prefix.as_str(), "10.0.2.93"), ("snat_pool = [\"10.0.2.94\"]\n", "10.0.2.94")] {
        told(&node, true, keys);
        let talks = talks(&node, address);
        told(&node, true, "");
        move_on(&node, talks, address, &outer);
    }
    // Of two in the pool one stays, and its connections do; the other one's go on with that one.
    let pool = |addresses: &[&str]| format!("snat_pool = {addresses:?}\n");
    let both = ["10.0.2.94", "10.0.2.95"];
    told(&node, true, &pool(&both));
    let used = http_at_last(&node, &node.pods[0], &node.pods[2].v4, 8080).peer;
    let other = both.into_iter().find(|address| *address != used).expect("there are two");
    let (mut udp, mut tcp) = talks(&node, &used);
    told(&node, true, &pool(&[&used]));
    told(&node, true, &pool(&both));
    for _ in 0..20 {
        assert_eq!((udp.ask(), tcp.ask()), (Ok(seen(&node, 2, &used)), Ok(seen(&node, 2, &used))));
    }
    told(&node, true, &pool(&[other]));
    move_on(&node, (udp, tcp), &used, other);
    // The router's own address becomes another one.
    told(&node, true, "");
    let talks = talks(&node, &outer);
    let moved = config(&node, PLACES, true, "").replacen(&format!("\"{outer}/24\""), "\"10.0.2.96/24\"", 1);
    assert!(moved.contains("10.0.2.96"), "{moved}");
    apply(&node, &moved);
    move_on(&node, talks, &outer, "10.0.2.96");
}
