//! Policers: a flood is cut to its rate where it comes in, and others keep their latency.

mod node;

use std::thread;
use std::time::{Duration, Instant};

use node::capture;
use node::{Kind, Node, PATIENCE, Plan};
use shunt_tests::frames::{Body, Frame, Payload, Transport};
use shunt_tests::{Iperf, Ping, require};

/// The middle of the times in which echoes were answered.
#[track_caller]
fn median(node: &Node) -> Duration {
    let ping = Ping { count: 400, interval_ms: 10, wait_ms: 2000, ..Ping::to("10.0.0.2") };
    let answers = ping.run(&node.pods[0].netns).unwrap();
    assert_eq!(answers.received, 400, "{:?}", node.drops());
    let mut times: Vec<Duration> = answers.rtts.iter().map(|(_, rtt)| *rtt).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Pods 1 and 2 are one plane, 3 and 4 another: a flood of the second one passes at its rate, and the first one's echoes are answered, as
/// fast as reference 001 wants them (alarm at 5 ms).
#[test]
fn a_flood_on_one_port_leaves_others_their_latency() {
    require!(root(), tool("iperf3"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth; 4], quiet: true, ..Plan::default() });
    let config = node.config().replace("name = \"pod3\"", "name = \"pod3\"\npolice_frames = 2000");
    let file = node.path("policed.toml");
    std::fs::write(&file, config).unwrap();
    node.cli(&format!("apply {}", file.display()));
    let flood = shunt_tests::iperf::Udp { seconds: 6, mbits: 1_000, length: 200, reverse: false };
    let started = Instant::now();
    let (median, result) = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut iperf = Iperf::serve(&node.pods[3].netns, &node.pods[3].v4).unwrap();
            iperf.udp(&node.pods[2].netns, &flood).unwrap()
        });
        // The flood is under way.
        let deadline = Instant::now() + PATIENCE;
        while node.drops().get("pod3: policed").is_none_or(|count| *count < 1_000) {
            assert!(Instant::now() < deadline, "no flood: {:?}", node.drops());
            thread::sleep(Duration::from_millis(20));
        }
        let median = median(&node);
        (median, load.join().unwrap())
    });
    let seconds = started.elapsed().as_secs_f64();
    println!("median {median:?}, {result:?}");
    assert!(median < Duration::from_millis(5), "{median:?} under a policed flood");
    let passed = result.sent - result.lost_on_the_way();
    assert!((passed as f64) < 2_000.0 * (seconds + 1.0), "{passed} in {seconds} s: {result:?}");
    assert!(result.lost > result.sent / 2, "no flood: {result:?}");
    // Nobody else was policed.
    let policed: Vec<_> = node.drops().into_keys().filter(|key| key.ends_with("policed")).collect();
    assert_eq!(policed, ["pod3: policed"]);
}

/// A trunk carries two planes, of which one has a rate: that one's frames are cut to it, the other's all pass.
#[test]
fn a_plane_has_its_rate_on_a_trunk() {
    require!(root(), shuntd());
    let writer = |name: &str, network: &str| {
        format!(
            "[[port]]\nname = \"{name}\"\nkind = \"dpdk\"\nnetwork = \"{network}\"\n\
             devargs = \"net_pcap_{name},tx_pcap=DIR/{name}.out\"\n"
        )
    };
    let tail = "[[network]]\nname = \"br\"\nvlans = [10, 20]\n\
                [[network]]\nname = \"biz\"\nkind = \"underlay\"\nbridge = \"br\"\nvlan = 10\nmode = \"bridged\"\npolice_frames = 100\n\
                [[network]]\nname = \"ctl\"\nkind = \"underlay\"\nbridge = \"br\"\nvlan = 20\nmode = \"bridged\"\n"
        .to_owned()
        + &writer("biz", "biz")
        + &writer("ctl", "ctl");
    let node = Node::start(&Plan { tail: &tail, ..Plan::default() });
    let tagged = |n: u16| {
        let mut frame = Frame { dst: [0xff; 6], src: [2, 0, 0, 0, 0, 7], ..Frame::plain() };
        frame.tags = vec![(0x8100, if n.is_multiple_of(2) { 10 } else { 20 })];
        if let Body::Ipv4(_, payload) = &mut frame.body {
            *payload = Payload { transport: Transport::Udp(n, 5000, true), data: vec![0; 18] };
        }
        frame.bytes()
    };
    let frames: Vec<_> = (0..8_000).map(tagged).collect();
    let file = node.path("trunk.in");
    capture::write(&file, &frames);
    let started = Instant::now();
    node.cli(&format!(
        "port add trunk kind=dpdk network=br trunk=10,20 devargs=net_pcap_trunk,rx_pcap={}",
        file.display()
    ));
    node.wait_port("trunk", "has played its file", |port| port.rx_packets == 8_000);
    let seconds = started.elapsed().as_secs_f64();
    let policed = node.drops().get("trunk: policed").copied().unwrap_or(0);
    let sent = |name: &str| {
        node.cli(&format!("port del {name}"));
        capture::read(&node.path(&format!("{name}.out")))
            .iter()
            .filter(|frame| frame[12..14] == [8, 0])
            .count()
    };
    let (biz, ctl) = (sent("biz"), sent("ctl"));
    assert_eq!(ctl, 4_000);
    assert_eq!(biz as u64 + policed, 4_000, "{:?}", node.drops());
    // A tenth of a second's worth at once, and one; the rate from then on.
    assert!(biz >= 11 && biz as f64 <= 12.0 + 100.0 * seconds, "{biz} in {seconds} s");
}
