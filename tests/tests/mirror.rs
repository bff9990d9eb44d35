//! What a mirror gets, seen by the kernel at its other end.

mod node;

use node::{Kind, Node, PATIENCE, Plan};
use shunt_tests::{Ping, Wire, require};

const GATEWAY: &str = "10.0.0.254";
/// The switch routes nothing there: it says so.
const NOWHERE: &str = "10.99.0.1";
const NETWORK: &str = "router = \"r\"\ngateways = [\"10.0.0.254/24\"]\ngateway_mac = \"02:00:00:00:ff:01\"";
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0xff, 1];

/// A pod that is watched and one that it talks with, and a third at the mirror, in a network of its own. Without IPv6, so that nobody
/// says anything that was not asked for.
fn node(direction: &str) -> Node {
    let node = Node::start(&Plan {
        pods: &[Kind::Veth, Kind::Veth, Kind::Veth],
        network: NETWORK,
        tail: "[[router]]\nname = \"r\"\n[[network]]\nname = \"spans\"\n",
        quiet: true,
        ..Plan::default()
    });
    let mut config = node.config().replace("name = \"pod3\"", "name = \"pod3\"\nnetwork = \"spans\"");
    let keys = format!("name = \"pod1\"\nmirror = \"pod3\"\nmirror_direction = \"{direction}\"");
    config = config.replace("name = \"pod1\"", &keys);
    let file = node.path("mirror.toml");
    std::fs::write(&file, config).unwrap();
    node.cli(&format!("apply {}", file.display()));
    node.pods[0].netns.exec(&["ip", "route", "add", "default", "via", GATEWAY]).unwrap();
    node
}

/// What a frame is, for those that the test makes come about.
fn name(frame: &[u8]) -> Option<&'static str> {
    let ours = frame.get(6..12) == Some(&GATEWAY_MAC);
    match (frame.get(12..14)?, frame.get(21)?, frame.get(23)?, frame.get(34).copied().unwrap_or(0)) {
        ([8, 6], 1, ..) if !ours => Some("asks"),
        ([8, 6], 2, ..) if ours => Some("is answered"),
        ([8, 0], _, 1, 8) => Some("echo request"),
        ([8, 0], _, 1, 0) if ours => Some("echo reply of the switch"),
        ([8, 0], _, 1, 0) => Some("echo reply of a pod"),
        ([8, 0], _, 1, 3) if ours => Some("unreachable"),
        _ => None,
    }
}

/// ARP, an echo and an error of the switch's own, an echo of another pod: what of it the mirror has seen.
fn seen(direction: &str) -> Vec<&'static str> {
    let node = node(direction);
    let pod = &node.pods[0].netns;
    let wire = Wire::on(&node.pods[2].netns, "eth0").unwrap();
    pod.exec(&["ip", "neigh", "flush", "dev", "eth0"]).unwrap();
    assert_eq!(Ping::to(GATEWAY).run(pod).unwrap().received, 1);
    assert_eq!(Ping { wait_ms: 300, ..Ping::to(NOWHERE) }.run(pod).unwrap().received, 0);
    assert_eq!(Ping::to("10.0.0.2").run(pod).unwrap().received, 1);
    // What was copied before has come when the last exchange has.
    let last = if direction == "egress" { "echo reply of a pod" } else { "echo request" };
    let at_pod2 = |frame: &[u8]| {
        let end = if direction == "egress" { 26..30 } else { 30..34 };
        name(frame) == Some(last) && frame.get(end) == Some(&[10, 0, 0, 2])
    };
    wire.wait(PATIENCE, at_pod2).unwrap();
    let mut seen: Vec<_> = wire.seen().iter().filter_map(|frame| name(frame)).collect();
    seen.sort_unstable();
    seen.dedup();
    seen
}

#[test]
fn what_comes_in_is_copied_though_the_switch_answers_it() {
    require!(root(), shuntd());
    assert_eq!(seen("ingress"), ["asks", "echo request"]);
}

#[test]
fn what_goes_out_is_copied_though_the_switch_has_made_it() {
    require!(root(), shuntd());
    let out = ["echo reply of a pod", "echo reply of the switch", "is answered", "unreachable"];
    assert_eq!(seen("egress"), out);
}

/// Both ways, each frame once, large sends whole, and none of a mirror's own copies copied again.
#[test]
fn everything_is_copied_once() {
    require!(root(), tool("iperf3"), shuntd());
    let node = node("both");
    let count = || {
        let ports = node.ports();
        let (pod, span) = (&ports["pod1"], &ports["pod3"]);
        let lost = node.drops().get("pod3: tx_full").copied().unwrap_or(0);
        (pod.rx_packets + pod.tx_packets, span.tx_packets + lost)
    };
    let before = count();
    let mut iperf = shunt_tests::Iperf::serve(&node.pods[1].netns, "10.0.0.2").unwrap();
    iperf.tcp(&node.pods[0].netns, &shunt_tests::iperf::Tcp { seconds: 1, ..Default::default() }).unwrap();
    let answers = Ping { count: 20, size: 1400, ..Ping::to("10.0.0.2") }.run(&node.pods[0].netns).unwrap();
    assert_eq!((answers.received, answers.duplicates), (20, 0));
    // Counters are a moment old: until they agree.
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let now = count();
        let (frames, copies) = (now.0 - before.0, now.1 - before.1);
        if frames == copies && frames > 1_000 {
            break;
        }
        let drops = node.drops();
        assert!(std::time::Instant::now() < deadline, "{frames} frames, {copies} copies, {drops:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
