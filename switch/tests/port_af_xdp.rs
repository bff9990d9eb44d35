//! Kind `af_xdp` against the kernel: pods behind veth pairs, nothing changed inside them.

mod node;

use std::time::Duration;

use node::{Node, Wired, pings};
use shunt_tests::iperf::{Tcp, Udp};
use shunt_tests::{Cmd, Interface, Iperf, Netns, Ping, Veth, require};

const A: [&str; 2] = ["10.0.0.1/24", "fd00::1/64"];
const B: [&str; 2] = ["10.0.0.2/24", "fd00::2/64"];

fn xdp(name: &str, device: &str) -> String {
    format!("[[port]]\nname = \"{name}\"\nkind = \"af_xdp\"\ndevice = \"{device}\"\n")
}

fn veth(name: &str, device: &str) -> String {
    format!("[[port]]\nname = \"{name}\"\nkind = \"veth\"\ndevice = \"{device}\"\n")
}

/// TCP both ways, v4 and v6, then UDP: more than a handshake and a window must pass.
fn loads(a: &Netns, b: &Netns) {
    for to in ["10.0.0.2", "fd00::2"] {
        let mut iperf = Iperf::serve(b, to).unwrap();
        for reverse in [false, true] {
            let result = iperf.tcp(a, &Tcp { seconds: 1, streams: 2, reverse }).unwrap();
            println!("tcp {to} reverse {reverse}: {result:?}");
            assert!(result.bytes > 5_000_000, "{to} reverse {reverse}: {result:?}");
            let result = iperf.udp(a, &Udp { seconds: 1, mbits: 20, reverse, ..Udp::default() }).unwrap();
            println!("udp {to} reverse {reverse}: {result:?}");
            assert!(result.sent > 1500 && result.loss() < 0.01, "{to} reverse {reverse}: {result:?}");
        }
    }
}

#[test]
fn two_pods_by_af_xdp_exchange_ping_tcp_and_udp() {
    require!(root(), tool("iperf3"), tool("ping"));
    let (a, b) = (Wired::new(&A, 1500), Wired::new(&B, 1500));
    let node = Node::start("", &(xdp("a", &a.device) + &xdp("b", &b.device)));
    node.until(|node| node.port("a").link && node.port("b").link);
    pings(&a.pod, &["10.0.0.2", "fd00::2"]);
    loads(&a.pod, &b.pod);
    let whole = Ping { size: 1472, whole: true, count: 5, ..Ping::to("10.0.0.2") }.run(&a.pod).unwrap();
    assert_eq!(whole.received, 5, "{whole:?}");
    let row = node.port("a");
    assert!(row.about.contains("veth") && row.about.contains("net_af_xdp"), "{row:?}");
    println!("{:?}", node.drops());
}

#[test]
fn a_pod_by_af_xdp_and_one_by_veth_exchange_ping_tcp_and_udp() {
    require!(root(), tool("iperf3"), tool("ping"));
    let (a, b) = (Wired::new(&A, 1500), Wired::new(&B, 1500));
    let node = Node::start("", &(xdp("a", &a.device) + &veth("b", &b.device)));
    pings(&a.pod, &["10.0.0.2", "fd00::2"]);
    loads(&a.pod, &b.pod);
    drop(node);
}

/// Segments that two workers send through the one queue of a port; jumbo frames as large as the buffers allow.
#[test]
fn workers_share_the_queue_and_frames_fill_the_buffers() {
    require!(root(), tool("iperf3"), tool("ping"));
    let (a, b) = (Wired::new(&A, 3400), Wired::new(&B, 3400));
    let ports = xdp("a", &a.device)
        + "placement = [0]\nmtu = 3400\n"
        + &xdp("b", &b.device)
        + "placement = [1]\nmtu = 3400\n";
    let node = Node::start("count = 2\n", &ports);
    loads(&a.pod, &b.pod);
    let whole = Ping { size: 3372, whole: true, count: 5, ..Ping::to("10.0.0.2") }.run(&a.pod).unwrap();
    assert_eq!(whole.received, 5, "{whole:?}");
    drop(node);
}

/// Carrier lost and found, then the interface deleted under traffic and made again: the port follows, others go on.
#[test]
fn an_interface_that_goes_away_comes_back() {
    require!(root(), tool("ping"));
    let (a, b, c) = (Wired::new(&A, 1500), Wired::new(&B, 1500), Wired::new(&["10.0.0.3/24"], 1500));
    let node = Node::start("", &(xdp("a", &a.device) + &xdp("b", &b.device) + &veth("c", &c.device)));
    pings(&a.pod, &["10.0.0.2", "10.0.0.3"]);

    a.pod.exec(&["ip", "link", "set", "eth0", "down"]).unwrap();
    node.until(|node| !node.port("a").link);
    assert!(node.port("a").oper_up, "no carrier is no death");
    // The station is known to be behind `a`: what goes there is dropped by name, not kept for later.
    let none = Ping { count: 5, wait_ms: 100, ..Ping::to("10.0.0.1") }.run(&b.pod).unwrap();
    assert_eq!(none.received, 0, "{none:?}");
    assert!(node.dropped("a", "link_down") >= 1, "{:?}", node.drops());
    a.pod.exec(&["ip", "link", "set", "eth0", "up"]).unwrap();
    node.until(|node| node.port("a").link);
    pings(&a.pod, &["10.0.0.2"]);

    let others = b.pod.cmd(&["ping", "-n", "-q", "-c", "300", "-i", "0.01", "-W", "1", "10.0.0.3"]);
    let mut others = others.spawn().unwrap();
    let mut victim = a.pod.spawn(&["ping", "-n", "-q", "-f", "-c", "100000", "10.0.0.2"]).unwrap();
    Cmd::new(["ip", "link", "del", &a.device]).check().unwrap();
    node.until(|node| !node.port("a").oper_up && node.port("a").deaths == 1);
    node.until(|node| node.port("a").about.contains("create it first"));
    victim.kill();

    let inside = Interface { addrs: &A, ..Interface::default() };
    let _again = Veth::pair(&a.device, None, &a.pod, &inside).unwrap();
    node.until(|node| node.port("a").oper_up && node.port("a").link);
    pings(&a.pod, &["10.0.0.2", "10.0.0.3"]);
    others.wait(Duration::from_secs(10)).unwrap();
    let report = others.stdout().text(0);
    assert!(report.contains("300 packets transmitted, 300 received"), "{report}");
}

/// An idle worker sleeps on the sockets, not on a timer.
#[test]
fn an_idle_worker_sleeps_until_a_frame_comes() {
    require!(root(), tool("ping"));
    let (a, b) = (Wired::new(&A[..1], 1500), Wired::new(&B[..1], 1500));
    let node = Node::start("max_sleep = \"1s\"\n", &(xdp("a", &a.device) + &xdp("b", &b.device)));
    pings(&a.pod, &["10.0.0.2"]);
    let before = node.worker();
    std::thread::sleep(Duration::from_secs(2));
    let after = node.worker();
    let (total, slept) = (after.cycles.total - before.cycles.total, after.cycles.slept - before.cycles.slept);
    let awake = 100.0 * (total - slept) as f64 / total as f64;
    println!("awake {awake:.3} % of the time, {} sleeps in 2 s", after.sleeps - before.sleeps);
    assert!(awake < 3.0, "{awake} %");
    // With a timer of a second, an answer within it can only be the descriptor's doing.
    let first = Ping { wait_ms: 900, ..Ping::to("10.0.0.2") }.run(&a.pod).unwrap();
    let rtt = first.rtts.first().expect("an answer").1;
    println!("first ping after 2 s: {rtt:?}");
    assert!(rtt < Duration::from_millis(100), "{rtt:?}");
}

/// Opened and closed again and again under traffic, and refused as often: no buffer, no descriptor and no queue stays
/// behind. What 40 devices need does not fit the memory that the switch starts with.
#[test]
fn a_port_added_and_removed_leaves_nothing_behind() {
    require!(root(), tool("ping"));
    let (a, b) = (Wired::new(&A[..1], 1500), Wired::new(&B[..1], 1500));
    let big = Wired::new(&[], 9000);
    Cmd::new(["ip", "link", "set", &big.device, "mtu", "1500"]).check().unwrap();
    let node = Node::start("", &xdp("b", &b.device));
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let free = |node: &Node| node.call(|control| control.topology().mbufs.1);
    let before = free(&node);
    let _traffic = a.pod.spawn(&["ping", "-n", "-q", "-f", "-c", "20000000", "10.0.0.2"]).unwrap();
    let mut open = Vec::new();
    for round in 0..40 {
        node.add(&xdp("a", &a.device)).unwrap_or_else(|error| panic!("round {round}: {error}"));
        node.until(|node| node.port("a").rx_packets > 20);
        // On a busy machine the kernel may take longer to let go of the queue than the port waits for it.
        let refused =
            |node: &Node| node.add(&xdp("big", &big.device)).expect_err("its other end is too large");
        node.until(|node| refused(node).contains("lower the mtu of the veth's other end"));
        node.call(|control| control.remove_port("a").map(drop)).unwrap();
        open.push(descriptors());
    }
    // Known defect, in docs/ports/af_xdp.md: the driver's libraries leave two BPF descriptors open at each close. Not one
    // more may stay.
    assert!(open[39] <= open[0] + 2 * 39, "descriptors leak: {open:?}");
    // Frames of other pools pass through; the switch's own is as full as before.
    node.until(|node| free(node) == before);
}

/// Each refusal is one line that says what to do.
#[test]
fn what_cannot_work_is_refused_with_advice() {
    require!(root());
    let (a, b) = (Wired::new(&A, 1500), Wired::new(&B, 9000));
    let node = Node::start("", &xdp("a", &a.device));
    let refused = |port: &str, what: &str| {
        let error = node.add(port).expect_err(what);
        println!("{error}");
        assert!(error.contains(what) && !error.contains('\n'), "{error}");
    };
    refused(&xdp("x", "shnone0"), "create it first");
    refused(&(xdp("x", &a.device) + "start_queue = 1\n"), "lower `start_queue`");
    refused(&(xdp("x", &b.device) + "queues = 4\n"), "lower `queues`");
    refused(&(xdp("x", &b.device) + "mtu = 9000\n"), "mtu 9000 is too large: af_xdp carries up to 3434");
    refused(&xdp("x", &b.device), "has mtu 9000, lower it");
    // Only the host end is small enough: the kernel minds the other one.
    Cmd::new(["ip", "link", "set", &b.device, "mtu", "1500"]).check().unwrap();
    refused(&xdp("x", &b.device), "lower the mtu of the veth's other end");
    b.pod.exec(&["ip", "link", "set", "eth0", "mtu", "1500"]).unwrap();
    node.add(&xdp("x", &b.device)).unwrap();
}

/// A queue that another process has bound.
#[test]
fn a_busy_queue_is_refused_and_free_again_when_its_owner_ends() {
    require!(root(), tool("dpdk-testpmd"));
    let a = Wired::new(&A, 1500);
    let vdev = format!("net_af_xdp0,iface={}", a.device);
    let options = shunt_tests::testpmd::Options { vdevs: vec![vdev], ..Default::default() };
    let other = shunt_tests::Testpmd::launch(&options).unwrap();
    let node = Node::start("", "");
    let error = node.add(&xdp("a", &a.device)).expect_err("the queue is taken");
    println!("{error}");
    assert!(error.contains("is taken by another af_xdp socket"), "{error}");
    drop(other);
    node.until(|node| node.add(&xdp("a", &a.device)).is_ok());
}
