//! Every scene of the lab: who can and who cannot talk, and what is particular to each.

#[path = "scenes/dual.rs"]
mod dual;
#[path = "scenes/hops.rs"]
mod hops;
#[path = "scenes/lengths.rs"]
mod lengths;
#[path = "scenes/returns.rs"]
mod returns;
#[path = "scenes/six.rs"]
mod six;
#[path = "scenes/uplink.rs"]
mod uplink;
#[path = "scenes/whole.rs"]
mod whole;

use shunt_tests::frames::Frame;
use shunt_tests::ovs::DAEMON;
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::scene::{self, Scene};
use shunt_tests::{Ping, Wire, require};

const POD_A: [u8; 6] = [0xaa, 0xbb, 0xcc, 0xdd, 0xee, 2];
/// The node's end of `biz` in the scene `production`.
const BIZ: [u8; 6] = [2, 0x62, 0x69, 0x7a, 0, 1];
const POD_B: [u8; 6] = [0xaa, 0xbb, 0xcc, 0xdd, 0xee, 3];

#[track_caller]
fn up(name: &str) -> Scene {
    let scene = scene::make(name).unwrap_or_else(|error| panic!("{error}"));
    scene.assert_checks();
    scene
}

/// Pings until answered: neighbours have to be found first.
#[track_caller]
fn answered(scene: &Scene, from: &str, to: &str) {
    let deadline = std::time::Instant::now() + PATIENCE;
    let ping = Ping { wait_ms: 300, ..Ping::to(to) };
    while ping.run(scene.place(from)).unwrap().received == 0 {
        assert!(std::time::Instant::now() < deadline, "{from} to {to}\n{}", scene.state());
    }
}

/// What `shunt ping` of a node says of `target`: exit code, and the line with the counts, `S packets transmitted, R received, ...`.
#[track_caller]
fn ping(scene: &Scene, node: &str, from: &str, target: &str) -> (Option<i32>, String, String) {
    let words = ["ping", "--from", from, "-c", "5", "-i", "0.05", target];
    let done = scene.node(node).shuntd.cli_cmd(&words).unwrap().run().unwrap();
    let counts = done.stdout.lines().find(|line| line.contains(" packets transmitted, "));
    (done.status.code(), counts.unwrap_or_default().to_owned(), format!("{}{}", done.stdout, done.stderr))
}

/// Everybody is asked by the switch itself, and answers each time.
#[track_caller]
fn pings(scene: &Scene, node: &str, pairs: &[(&str, &str)]) {
    for (from, target) in pairs {
        let (code, counts, all) = ping(scene, node, from, target);
        assert_eq!(code, Some(0), "{from} to {target}: {all}");
        assert!(counts.starts_with("5 packets transmitted, 5 received, 0% packet loss"), "{all}");
        assert_eq!(all.matches(" bytes from ").count(), 5, "{all}");
    }
}

#[test]
fn same_node() {
    require!(root(), tool("iperf3"), tool("tcpdump"), tool("perl"), shuntd());
    let scene = up("same-node");
    let node = scene.node("node1");
    pings(&scene, "node1", &[("br-int", "10.16.0.3"), ("veth_pod_a", "fd00:10:16::2")]);
    let lost = node.dropped("for_switch").unwrap();
    assert_eq!(lost, 0, "an answer to the switch is no loss");
    let (code, counts, all) = ping(&scene, "node1", "br-int", "10.16.0.99");
    assert_eq!(code, Some(1), "{all}");
    assert!(counts.starts_with("5 packets transmitted, 0 received, +5 errors, 100% packet loss"), "{all}");
    assert!(all.contains("From 10.16.0.1 icmp_seq=1 neighbor_unresolved: 10.16.0.99 "), "{all}");
    for (from, target, why) in [
        ("nowhere", "10.16.0.3", "there is no port or network \"nowhere\""),
        ("other", "10.16.0.3", "the switch has no IPv4 address in network other"),
        ("br-int", "10.16.0.1", "10.16.0.1 is an address of the switch itself"),
    ] {
        let (code, _, all) = ping(&scene, "node1", from, target);
        assert!(code == Some(2) && all.starts_with("shunt: ") && all.contains(why), "{code:?} {all}");
    }
    // No tunnel, no uplink.
    let before = node.counter("eth0", "tx_packets").unwrap();
    let answers = Ping { count: 20, ..Ping::to("10.16.0.3") }.run(scene.place("pod_a")).unwrap();
    assert_eq!(answers.received, 20, "{answers:?}");
    assert_eq!(node.counter("eth0", "tx_packets").unwrap(), before);

    // What arrives is what was sent, byte for byte.
    let mut a = Wire::on(scene.place("pod_a"), "eth0").unwrap();
    let b = Wire::on(scene.place("pod_b"), "eth0").unwrap();
    let frame = Frame { dst: POD_B, src: POD_A, ..Frame::plain() }.bytes();
    a.send(&frame).unwrap();
    let got = b.wait(PATIENCE, |got| got[..14] == frame[..14] && got[26..38] == frame[26..38]).unwrap();
    assert_eq!(got, frame);
}

#[test]
fn overlay_vxlan() {
    require!(root(), tool("iperf3"), shuntd());
    let scene = up("overlay-vxlan");
    let node = scene.node("node1");
    // A pod of this node, one of another node through the tunnel, the physical gateway.
    pings(
        &scene,
        "node1",
        &[("vxlan.2", "10.20.9.60"), ("vxlan.2", "10.20.6.10"), ("bond0", "10.186.152.254")],
    );
    pings(&scene, "node1", &[("upvx4279f78e5dc", "10.20.4.5")]);
    let (code, _, all) = ping(&scene, "node1", "vxlan.2", "10.20.3.5");
    assert!(code == Some(1) && all.contains("From 10.20.9.0 icmp_seq=1 overlay_unreachable: "), "{all}");
    // Pods of one node reach each other without a tunnel.
    let before = node.counter("bond0", "tx_packets").unwrap();
    let answers = Ping { count: 20, ..Ping::to("10.20.9.41") }.run(scene.place("pod-9-60")).unwrap();
    assert_eq!(answers.received, 20, "{answers:?}");
    let sent = node.counter("bond0", "tx_packets").unwrap() - before;
    assert!(sent < 10, "{sent} frames on the uplink");
    // What the overlay does not know is not sent by the default route.
    let gateway = Wire::on(scene.place("gateway"), "eth0").unwrap();
    let lost = Ping { count: 3, wait_ms: 200, ..Ping::to("10.20.3.5") }.run(scene.place("pod-9-60")).unwrap();
    assert_eq!(lost.received, 0);
    assert!(!gateway.seen().iter().any(|frame| frame.get(30..34) == Some(&[10, 20, 3, 5])));
}

#[test]
fn overlay_geneve() {
    require!(root(), tool("iperf3"), shuntd());
    let scene = up("overlay-geneve");
    pings(&scene, "node1", &[("ovn-default", "10.16.0.2"), ("br-ex", "10.184.134.83")]);
    // Every node has the gateway's address: the other one would take the answer.
    let (code, _, all) = ping(&scene, "node1", "ovn-default", "10.16.0.3");
    assert!(
        code == Some(2) && all.contains("10.16.0.3 is on another node") && all.contains("network br-ex"),
        "{all}"
    );
}

#[test]
fn ovn_kubernetes() {
    require!(root(), tool("iperf3"), tool("tcpdump"), tool("perl"), file("/dev/net/tun"), shuntd());
    let scene = up("ovn-kubernetes");
    pings(&scene, "node1", &[("br-int", "10.128.0.5"), ("br-int", "10.130.0.5"), ("br-ex", "10.184.134.83")]);
    // What the node's programs say to pods goes by the management port, from its address there.
    let node = scene.node("node1");
    let before = node.counter("ovn-k8s-mp0", "rx_packets").unwrap();
    let there = Wire::on(scene.place("pod_b"), "eth0").unwrap();
    let answers = Ping { count: 3, ..Ping::to("10.130.0.5") }.run(&node.netns).unwrap();
    assert_eq!(answers.received, 3, "{answers:?}");
    assert!(node.counter("ovn-k8s-mp0", "rx_packets").unwrap() >= before + 3);
    let from_x2 =
        |frame: &[u8]| frame.get(12..14) == Some(&[8, 0]) && frame.get(26..30) == Some(&[10, 128, 0, 2]);
    there.wait(PATIENCE, from_x2).unwrap();
}

#[test]
fn underlay_routed() {
    require!(root(), tool("iperf3"), tool("ethtool"), tool("tcpdump"), tool("perl"), file(DAEMON), shuntd());
    let scene = up("underlay-routed");
    // A hop each way: the packet is routed, though both pods are in one /24.
    let there = Wire::on(scene.place("pod_b"), "eth0").unwrap();
    let answers = Ping::to("192.168.1.21").run(scene.place("pod_a")).unwrap();
    assert_eq!(answers.received, 1);
    let echo =
        |frame: &[u8]| frame.get(12..14) == Some(&[8, 0]) && frame.get(26..30) == Some(&[192, 168, 1, 20]);
    let request = there.wait(PATIENCE, echo).unwrap();
    assert!(request[22] < 64, "TTL {}", request[22]);
}

/// A gateway that answers ARP for everybody on the link (proxy ARP within one link, as private VLANs want it) changes nothing: pods are
/// answered by the switch, once.
#[test]
fn underlay_routed_with_a_gateway_that_answers_for_everybody() {
    require!(root(), tool("iperf3"), tool("ethtool"), tool("tcpdump"), tool("perl"), file(DAEMON), shuntd());
    let scene = scene::make("underlay-routed").unwrap_or_else(|error| panic!("{error}"));
    for key in ["proxy_arp", "proxy_arp_pvlan"] {
        let key = format!("net/ipv4/conf/vlan.100/{key}=1");
        scene.place("router").exec(&["sysctl", "-qw", &key]).unwrap();
    }
    scene.assert_checks();
    // The router would answer for the other node's pod, and the switch answers; one answer comes.
    let pod = scene.place("pod_a");
    let wire = Wire::on(pod, "eth0").unwrap();
    pod.exec(&["ip", "neigh", "flush", "dev", "eth0"]).unwrap();
    assert_eq!(Ping::to("192.168.1.21").run(pod).unwrap().received, 1);
    let series = Ping { count: 20, ..Ping::to("192.168.1.21") }.run(pod).unwrap();
    assert_eq!((series.received, series.duplicates), (20, 0), "{series:?}");
    let is_reply = |frame: &&Vec<u8>| {
        frame.get(12..14) == Some(&[8, 6])
            && frame.get(21) == Some(&2)
            && frame.get(28..32) == Some(&[192, 168, 1, 21])
    };
    let seen = wire.seen();
    let senders: Vec<_> = seen.iter().filter(is_reply).map(|frame| frame[22..28].to_vec()).collect();
    assert!(!senders.is_empty() && senders.windows(2).all(|pair| pair[0] == pair[1]), "{senders:?}");
}

/// An ICMP packet between these in a frame without a tag: its TTL.
fn ttl(frame: &[u8], from: [u8; 4], to: [u8; 4]) -> Option<u8> {
    let is = frame.get(12..14) == Some(&[8, 0])
        && frame.get(23) == Some(&1)
        && frame.get(26..34) == Some(&[from, to].concat()[..]);
    is.then(|| frame[22])
}

#[test]
fn underlay_vlan() {
    require!(root(), tool("iperf3"), tool("ethtool"), tool("tcpdump"), tool("perl"), file(DAEMON), shuntd());
    let scene = up("underlay-vlan");
    // Within a VLAN the router sees nothing and no hop is lost; into another one, on the same node or not, a packet is in the router's
    // hands, and has a hop less.
    let a1 = [10, 186, 155, 6];
    for (to, address, by_router) in [
        ("a2", [10, 186, 155, 7], false),
        ("a3", [10, 186, 155, 8], false),
        ("b1", [10, 186, 156, 6], true),
        ("b4", [10, 186, 156, 9], true),
    ] {
        let [router, pod] = [("router", "vlan.1155"), (to, "eth0")]
            .map(|(place, device)| Wire::on(scene.place(place), device).unwrap());
        let answers =
            Ping::to(&address.map(|byte| byte.to_string()).join(".")).run(scene.place("a1")).unwrap();
        assert_eq!(answers.received, 1, "{to}: {answers:?}");
        let came = pod.wait(PATIENCE, |frame| ttl(frame, a1, address).is_some()).unwrap();
        assert_eq!(ttl(&came, a1, address), Some(if by_router { 63 } else { 64 }), "{to}");
        let passed = |frame: &[u8]| ttl(frame, a1, address) == Some(64);
        if by_router {
            router.wait(PATIENCE, passed).unwrap();
        } else {
            assert!(!router.seen().iter().any(|frame| passed(frame)), "{to}: by the router");
        }
    }
}

#[test]
fn production() {
    require!(
        root(),
        tool("iperf3"),
        tool("ethtool"),
        tool("tcpdump"),
        tool("perl"),
        file(DAEMON),
        file("/dev/net/tun"),
        shuntd()
    );
    let scene = up("production");
    // The node's own stack has the address on `ctl` too: the switch hears the answer all the same.
    pings(
        &scene,
        "node1",
        &[("ctl", "10.186.152.254"), ("ctl", "10.186.152.101"), ("vxlan.2", "10.20.6.10")],
    );
    // `biz` is a trunk: who asks there with a tag is answered by the router of that VLAN, with the tag.
    let mut biz = Wire::on(&scene.node("node1").netns, "biz").unwrap();
    for (vid, router) in [(1156_u16, [10, 186, 155, 62]), (1158, [10, 186, 155, 126])] {
        let [mut tag, own] = [[0x81, 0, 0, 0], [10, 186, 155, router[3] - 1]];
        tag[2..].copy_from_slice(&vid.to_be_bytes());
        let arp = [&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1][..], &BIZ, &own, &[0; 6], &router].concat();
        biz.send(&[&[0xff; 6][..], &BIZ, &tag, &arp].concat()).unwrap();
        let reply = |frame: &[u8]| {
            frame[..6] == BIZ
                && frame[12..16] == tag
                && frame.get(24..26) == Some(&[0, 2])
                && frame.get(32..36) == Some(&router)
        };
        biz.wait(PATIENCE, reply).unwrap_or_else(|error| panic!("VLAN {vid}: {error}\n{}", scene.state()));
    }
}

/// Node 1 of the scene with the default route of the reference's picture: by `biz`, which is VLAN 1155 here, for pods and for the node
/// itself; `ctl` is left with its own subnet and the outer packets of the overlay.
fn default_by_biz() -> String {
    let text = include_str!("../scenes/production/node1.toml");
    let legs = "routes = [{ to = \"0.0.0.0/0\", via = \"10.186.152.254\" }]\n";
    let biz = "routes = [{ to = \"0.0.0.0/0\", via = \"10.186.155.30\" }]\n";
    let leg = "peer_mac = \"02:62:69:7a:55:01\"\nnetwork = \"biz.1155\"\naddresses = [\"10.186.155.1/27\"]\n";
    let text = text.replacen(legs, biz, 1).replacen(legs, "", 1);
    let text =
        text.replacen(leg, &format!("network = \"biz.1155\"\naddresses = [\"10.186.155.1/27\"]\n{biz}"), 1);
    let routed = "host_port = \"vlan.1155\"\nrouter = \"node\"\ngateways = [\"10.186.155.1/27\"]\n";
    // The gateway has IPv4 only.
    let text = text.replacen(", \"fd00:186:155::6\"", "", 1);
    text.replacen("host_port = \"vlan.1155\"\n", routed, 1).replacen("vtep =", "masquerade = true\nvtep =", 1)
}

/// 002-6: the text of the reference has the default route by `ctl`, as the scene does; its picture by `biz`.
#[test]
fn production_with_the_default_route_by_biz() {
    require!(root(), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    let scene = scene::make("production").unwrap_or_else(|error| panic!("{error}"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node1.toml");
    std::fs::write(&file, default_by_biz()).unwrap();
    scene.node("node1").shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
    let [ctl, biz] = ["ctl", "vlan.1155"].map(|leg| Wire::on(scene.place("router"), leg).unwrap());
    let answered = |from: &str, to: &str| {
        let deadline = std::time::Instant::now() + PATIENCE;
        while Ping::to(to).run(scene.place(from)).unwrap().received == 0 {
            let drops = scene.node("node1").shuntd.cli_text(&["show", "drops"]).unwrap();
            assert!(std::time::Instant::now() < deadline, "{from} to {to}: {drops}");
        }
    };
    // A pod of the overlay and the node itself, both as the node in that VLAN; an underlay pod as itself.
    let outside =
        |frame: &[u8]| frame.get(12..14) == Some(&[8, 0]) && frame.get(30..34) == Some(&[8, 8, 8, 8]);
    for (from, source) in
        [("pod-9-60", [10, 186, 155, 1]), ("node1", [10, 186, 155, 1]), ("pod_a", [10, 186, 155, 6])]
    {
        answered(from, "8.8.8.8");
        let sent = biz.wait(PATIENCE, |frame| outside(frame) && frame[26..30] == source).unwrap();
        assert_eq!(
            sent.get(6..12),
            Some(&[0x8e, 0x78, 0x9c, 0x32, 0xb5, 0x72][..]),
            "{from}: one MAC address"
        );
    }
    // The control plane and the tunnels stay where they are.
    answered("node1", "10.186.152.101");
    answered("pod-9-60", "10.20.6.10");
    answered("node1", "10.186.152.254");
    assert!(!ctl.seen().iter().any(|frame| outside(frame)), "nothing goes outside by ctl");
    assert!(!biz.seen().iter().any(|frame| frame.get(30..33) == Some(&[10, 186, 152])), "nor ctl by biz");
}

/// The last bytes of the source address of what arrives at `to` when `from` pings it.
#[track_caller]
fn source_seen(scene: &Scene, from: &str, to: &str, address: [u8; 4]) -> [u8; 4] {
    let wire = Wire::on(scene.place(to), "eth0").unwrap();
    let target = address.map(|byte| byte.to_string()).join(".");
    assert_eq!(Ping::to(&target).run(scene.place(from)).unwrap().received, 1, "{from} to {target}");
    // ICMP echo requests.
    let is = |frame: &[u8]| {
        frame.get(12..14) == Some(&[8, 0])
            && frame.get(30..34) == Some(&address)
            && frame.get(23) == Some(&1)
            && frame.get(34) == Some(&8)
    };
    *wire.wait(PATIENCE, is).unwrap()[26..].first_chunk().unwrap()
}

#[test]
fn overlay_underlay() {
    require!(root(), tool("iperf3"), tool("ethtool"), tool("tcpdump"), tool("perl"), file(DAEMON), shuntd());
    let scene = up("overlay-underlay");
    // Whose address they have.
    assert_eq!(source_seen(&scene, "pod-9-60", "pod_a", [10, 186, 155, 6]), [10, 20, 9, 60]);
    assert_eq!(source_seen(&scene, "pod-9-60", "pod_b", [10, 186, 155, 40]), [10, 186, 155, 33]);
    assert_eq!(source_seen(&scene, "pod_a", "pod-6-10", [10, 20, 6, 10]), [10, 186, 155, 6]);
    // What is on the node stays there.
    let node = scene.node("node1");
    for (from, to) in [("pod-9-60", "10.186.155.6"), ("pod_a", "10.20.9.60")] {
        let before = node.counter("bond0", "tx_packets").unwrap();
        let answers = Ping { count: 20, ..Ping::to(to) }.run(scene.place(from)).unwrap();
        assert_eq!(answers.received, 20, "{answers:?}");
        let sent = node.counter("bond0", "tx_packets").unwrap() - before;
        assert!(sent < 10, "{from} to {to}: {sent} frames on the uplink");
    }
    // What goes to the other node goes in the tunnel both ways: the physical router sees none of it.
    let router = Wire::on(scene.place("router"), "vlan.1155").unwrap();
    let answers = Ping { count: 20, ..Ping::to("10.20.6.10") }.run(scene.place("pod_a")).unwrap();
    assert_eq!(answers.received, 20, "{answers:?}");
    let overlay = |frame: &Vec<u8>| {
        let part = |at: usize| frame.get(at..at + 2) == Some(&[10, 20]);
        frame.get(12..14) == Some(&[8, 0]) && (part(26) || part(30))
    };
    assert!(!router.seen().iter().any(overlay));
    // One MAC address towards the physical network.
    let fabric = scene.node("node1").shuntd.cli_text(&["addr", "show"]).unwrap();
    assert!(fabric.contains("8e:78:9c:32:b5:72"), "{fabric}");
    // With a route back, a machine of the physical network answers the pod itself: the pair is not translated.
    scene.place("router").exec(&["ip", "route", "add", "10.20.9.0/25", "via", "10.186.155.1"]).unwrap();
    let answers = Ping { count: 5, ..Ping::to("10.186.155.30") }.run(scene.place("pod-9-60")).unwrap();
    assert_eq!(answers.received, 5, "{answers:?}");
}
