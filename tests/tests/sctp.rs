//! SCTP with a stack that is not ours on both sides (libusrsctp, over raw IP sockets): through masquerading, to services, and what
//! does not belong to its associations.

#[path = "sctp/ends.rs"]
mod ends;
#[path = "routing/lab.rs"]
#[allow(dead_code, reason = "the tests of routing use all of it")]
mod lab;
mod node;
#[path = "sctp/services.rs"]
mod services;

use std::time::{Duration, Instant};

use ends::{End, Listener, is_sound, raw, unfinished, with_checksum};
use lab::{Places, apply, config, dropped, gateway_mac, gateway_v4, gateway_v6, routed, until_answered};
use node::{Kind, Node, PATIENCE};
use shunt_tests::require;

/// Two pods of network 1, which is masqueraded, and a station of network 2 that knows no way back to them.
const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Veth, 1), (Kind::Veth, 2)];
const PORT: u16 = 5000;
const SERVED: u16 = 2905;

/// A node with these, and `services`.
fn site(services: &str) -> Node {
    let node = routed(PLACES, "");
    serve(&node, services);
    for family in ["-4", "-6"] {
        node.pods[2].netns.exec(&["ip", family, "route", "del", "default"]).unwrap();
    }
    node
}

#[track_caller]
fn serve(node: &Node, services: &str) {
    let networks = config("", &node.pods, PLACES);
    let networks = networks.replacen("name = \"net1\"\n", "name = \"net1\"\nmasquerade = true\n", 1);
    apply(node, &format!("{networks}{services}"));
}

/// Polls the list of SCTP's connections until a line holds all of `words`.
#[track_caller]
fn until_listed(node: &Node, words: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = node.cli("conntrack -L -p sctp");
        if listed.lines().any(|line| words.iter().all(|word| line.contains(word))) {
            return;
        }
        assert!(Instant::now() < deadline, "no {words:?} in:\n{listed}{:?}", node.drops());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn two_with_the_same_port_reach_one_destination_through_one_address() {
    require!(root(), tool("cc"), file(ends::HEADER), shuntd());
    let node = site("");
    let [one, other, server] = &node.pods[..] else { unreachable!("three pods") };
    for (pick, gateway) in [(false, gateway_v4(2)), (true, gateway_v6(2))] {
        let of = |pod: &node::Pod| if pick { pod.v6.clone() } else { pod.v4.clone() };
        until_answered(&node, one, &of(server));
        until_answered(&node, other, &of(server));
        let _serving = End::serve(server, &of(server), SERVED);
        let mut talks = [one, other].map(|pod| End::talk(pod, &of(pod), PORT, &of(server), SERVED));
        let seen = talks.each_mut().map(|talk| talk.say("hello"));
        // The first one's port is preserved, the second one's cannot be.
        assert_eq!(seen[0], format!("{} {gateway} {PORT} hello", server.port));
        let renamed = seen[1].strip_prefix(&format!("{} {gateway} ", server.port)).expect("by the router");
        let renamed: u16 = renamed.strip_suffix(" hello").unwrap().parse().unwrap();
        assert_ne!(renamed, PORT);
        for talk in &mut talks {
            assert_eq!(talk.big(100_000), "same", "{:?}", node.drops());
        }
        let (from, to) = (format!("src={}", of(other)), format!("dst={}", of(server)));
        let back = format!("src={} dst={gateway} sport={SERVED} dport={renamed} ", of(server));
        let line =
            ["sctp     132 ", "ESTABLISHED ", &from, &to, "sport=5000 dport=2905 ", &back, "[ASSURED]"];
        until_listed(&node, &line);
        let [graceful, brutal] = talks;
        graceful.ends("close");
        brutal.ends("abort");
        for pod in [one, other] {
            until_listed(&node, &["CLOSED ", &format!("src={}", of(pod)), &to]);
        }
    }
    // The station's own ND finds nobody else in its network.
    let strange: Vec<_> = node.drops().into_iter().filter(|(key, _)| key != "pod3: no_receiver").collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn a_service_has_another_port_than_its_backend_and_a_node_port() {
    require!(root(), tool("cc"), file(ends::HEADER), shuntd());
    let node = site("");
    let [client, backend, outside] = &node.pods[..] else { unreachable!("three pods") };
    serve(
        &node,
        &format!(
            "[[service]]\nname = \"core/amf\"\nrouter = \"common\"\ncluster_ips = [\"10.96.0.10\", \"fd00:96::10\"]\n\
             ports = [{{ port = 38412, protocol = \"sctp\", node_port = 30412 }}]\n\
             endpoints = [{{ address = \"{}\", port = {SERVED} }}, {{ address = \"{}\", port = {SERVED} }}]\n",
            backend.v4, backend.v6
        ),
    );
    let families = [
        (&client.v4, &outside.v4, &backend.v4, "10.96.0.10", gateway_v4(1), gateway_v4(2)),
        (&client.v6, &outside.v6, &backend.v6, "fd00:96::10", gateway_v6(1), gateway_v6(2)),
    ];
    for (inner, outer, server, address, hidden, at) in families {
        until_answered(&node, client, server);
        until_answered(&node, outside, &at);
        let _serving = End::serve(backend, server, SERVED);
        let mut talk = End::talk(client, inner, PORT, address, 38_412);
        assert_eq!(
            talk.say("in"),
            format!("{} {inner} {PORT} in", backend.port),
            "the backend sees its client"
        );
        assert_eq!(talk.big(50_000), "same", "{:?}", node.drops());
        let way = format!("src={inner} dst={address} sport=5000 dport=38412 ");
        let back = format!("src={server} dst={inner} sport={SERVED} dport=5000 ");
        until_listed(&node, &["ESTABLISHED ", &way, &back]);
        talk.ends("close");
        until_listed(&node, &["CLOSED ", &way]);
        let mut talk = End::talk(outside, outer, PORT, &at, 30_412);
        let seen = talk.say("out");
        assert!(seen.starts_with(&format!("{} {hidden} ", backend.port)), "{seen}");
        assert_eq!(talk.big(50_000), "same", "{:?}", node.drops());
        talk.ends("close");
    }
}

#[test]
fn a_forwarded_port_leads_to_another_port_of_a_pod() {
    require!(root(), tool("cc"), file(ends::HEADER), shuntd());
    let node = site("");
    let [server, other, outside] = &node.pods[..] else { unreachable!("three pods") };
    // One of the router's own addresses, and one of nobody.
    let lent = "fd00:2::90";
    let forwarded = |pod: &node::Pod| {
        format!(
            "port_forwards = [{{ protocol = \"sctp\", external = \"{}:38412\", internal = \"{}:{SERVED}\" }}, \
             {{ protocol = \"sctp\", external = \"[{lent}]:38412\", internal = \"[{}]:{SERVED}\" }}]\n",
            gateway_v4(2),
            pod.v4,
            pod.v6
        )
    };
    let told = |pod: &node::Pod| {
        let router = format!("name = \"common\"\n{}", forwarded(pod));
        let networks = config("", &node.pods, PLACES);
        let networks = networks.replacen("name = \"net1\"\n", "name = \"net1\"\nmasquerade = true\n", 1);
        apply(&node, &networks.replacen("name = \"common\"\n", &router, 1));
    };
    told(server);
    let families = [
        (&server.v4, &outside.v4, &other.v4, gateway_v4(2)),
        (&server.v6, &outside.v6, &other.v6, lent.to_owned()),
    ];
    for (served, outer, inner, external) in &families {
        until_answered(&node, other, served);
        until_answered(&node, outside, external);
        let _serving = End::serve(server, served, SERVED);
        let mut talk = End::talk(outside, outer, PORT, external, 38_412);
        assert_eq!(talk.say("out"), format!("{} {outer} {PORT} out", server.port), "the pod sees who asks");
        assert_eq!(talk.big(100_000), "same", "{:?}", node.drops());
        let way = format!("src={outer} dst={external} sport=5000 dport=38412 ");
        let back = format!("src={served} dst={outer} sport={SERVED} dport=5000 ");
        until_listed(&node, &["ESTABLISHED ", &way, &back, "[ASSURED]"]);
        // Its neighbour, too.
        let mut near = End::talk(other, inner, PORT, external, 38_412);
        assert_eq!(near.say("near"), format!("{} {inner} {PORT} near", server.port));
        near.ends("close");
        talk.ends("close");
        until_listed(&node, &["CLOSED ", &way, &back]);
    }
    // It leads elsewhere: who went there is ended, who asks anew finds the other.
    let (served, outer, _, external) = &families[0];
    let _serving = [End::serve(server, served, SERVED), End::serve(other, &other.v4, SERVED)];
    let mut talk = End::talk(outside, outer, PORT + 1, external, 38_412);
    assert_eq!(talk.say("here"), format!("{} {outer} {} here", server.port, PORT + 1));
    // Two stacks on raw sockets in one namespace would abort each other's associations.
    drop(talk);
    told(other);
    let mut talk = End::talk(outside, outer, PORT + 2, external, 38_412);
    assert_eq!(talk.say("there"), format!("{} {outer} {} there", other.port, PORT + 2));
    let old = format!("src={served} dst={outer} sport={SERVED} dport={} ", PORT + 1);
    let deadline = Instant::now() + PATIENCE;
    while node.cli("conntrack -L -p sctp").contains(&old) {
        assert!(Instant::now() < deadline, "{}", node.cli("conntrack -L -p sctp"));
    }
}

#[test]
fn who_does_not_know_the_tags_ends_nothing() {
    require!(root(), tool("cc"), tool("perl"), file(ends::HEADER), shuntd());
    let node = site("");
    let [client, other, server] = &node.pods[..] else { unreachable!("three pods") };
    until_answered(&node, client, &server.v4);
    until_answered(&node, other, &server.v4);
    let _serving = End::serve(server, &server.v4, SERVED);
    let mut talk = End::talk(client, &client.v4, PORT, &server.v4, SERVED);
    talk.say("hello");
    // ABORT, ABORT with the T bit, SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE, COOKIE ACK, DATA, and a chunk of no length.
    let chunks = ["06000004", "06010004", "0700000800000000", "08000004", "0e010004", "0b000004"];
    let chunks = chunks.into_iter().chain(["0003001100000000000000000000000041000000", "03000000"]);
    for (sent, chunk) in (1..).zip(chunks) {
        raw(client, &server.v4, &format!("{PORT:04x}{SERVED:04x}0badcafe00000000{chunk}"));
        let deadline = Instant::now() + PATIENCE;
        while dropped(&node, "pod1", "invalid_state") < sent {
            assert!(Instant::now() < deadline, "{chunk}: {:?}", node.drops());
        }
        assert_eq!(talk.say(chunk), format!("{} {} {PORT} {chunk}", server.port, gateway_v4(2)));
    }
    until_listed(&node, &["ESTABLISHED ", &format!("src={}", client.v4)]);
    talk.ends("close");
    // Of no association at all: a COOKIE ECHO is no first packet.
    raw(other, &server.v4, &format!("{:04x}{SERVED:04x}0badcafe000000000a000004", PORT + 1));
    let deadline = Instant::now() + PATIENCE;
    while dropped(&node, "pod2", "invalid_state") < 1 {
        assert!(Instant::now() < deadline, "{:?}", node.drops());
    }
}

/// An INIT that offers the tag 7, without its checksum.
fn init() -> String {
    format!("{PORT:04x}{SERVED:04x}0000000000000000010000140000000700010000000100010000beef")
}

#[test]
fn a_checksum_that_is_left_to_the_device_is_made_before_the_port_changes() {
    require!(root(), tool("perl"), shuntd());
    let node = site("");
    let [one, other, server] = &node.pods[..] else { unreachable!("three pods") };
    until_answered(&node, one, &server.v4);
    until_answered(&node, other, &server.v4);
    raw(one, &server.v4, &with_checksum(&init()));
    until_listed(&node, &["COOKIE_WAIT ", &format!("src={}", one.v4)]);
    // What comes back quotes it as it left the pod, but for the checksum: that was made here, and put back by the changed port.
    let listener = Listener::start(other, false);
    unfinished(other, &gateway_mac(1), &server.v4, &init());
    assert_eq!(listener.quoted(), with_checksum(&init()), "{:?}", node.drops());
}

#[test]
fn an_error_quotes_the_packet_as_its_sender_sent_it() {
    require!(root(), tool("perl"), shuntd());
    let node = site("");
    let [one, other, server] = &node.pods[..] else { unreachable!("three pods") };
    for v6 in [false, true] {
        let of = |pod: &node::Pod| if v6 { pod.v6.clone() } else { pod.v4.clone() };
        until_answered(&node, one, &of(server));
        until_answered(&node, other, &of(server));
        // The kernel at the other side knows no SCTP, and says so.
        let init = init();
        let sent = with_checksum(&init);
        raw(one, &of(server), &sent);
        until_listed(&node, &["COOKIE_WAIT ", &format!("src={}", of(one))]);
        let listener = Listener::start(other, v6);
        raw(other, &of(server), &sent);
        let quoted = listener.quoted();
        assert_eq!(quoted, sent, "ports and checksum, {:?}", node.drops());
        assert!(is_sound(&quoted));
        let line = format!("src={} dst={} sport=5000 dport=2905 ", of(other), of(server));
        until_listed(&node, &["COOKIE_WAIT ", &line, "[UNREPLIED]"]);
    }
}
