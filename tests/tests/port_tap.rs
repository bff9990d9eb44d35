//! Port kind `tap`: the daemon makes the device, moves it into the pod and configures it there.

mod node;

use node::{Kind, Node, Plan, traffic};
use shunt_tests::iperf::Tcp;
use shunt_tests::{Iperf, Ping, require};

#[test]
fn pods_exchange_everything() {
    require!(root(), tool("iperf3"), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Tap, Kind::Tap], ..Plan::default() });
    traffic::all(&node.pods[0], &node.pods[1]).unwrap();
    node.assert_no_drops();
    for (name, port) in node.ports() {
        let mean = port.rx_bytes / port.rx_packets;
        assert!(mean > 1600, "{name}: large sends did not pass whole: {port:?}");
    }
}

#[test]
fn jumbo_frames_pass() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Tap, Kind::Tap], mtu: 9000, ..Plan::default() });
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    let answers = Ping { count: 5, size: 9000 - 28, whole: true, ..Ping::to(&b.v4) }.run(&a.netns).unwrap();
    assert_eq!(answers.received, 5, "{answers:?}");
    traffic::tcp(a, b).unwrap();
    node.assert_no_drops();
}

#[test]
fn the_device_in_the_pod_is_as_configured() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let keys = "mtu = 1400\n";
    let node = Node::start(&Plan { pods: &[Kind::Tap], keys, ..Plan::default() });
    let shown = node.pods[0].netns.exec(&["ip", "addr", "show", "dev", "eth0"]).unwrap().stdout;
    for part in ["02:00:00:00:02:01", "mtu 1400", "10.0.0.1/24", "fd00::1/64", "UP"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let left = node.netns.exec(&["ip", "-o", "link", "show"]).unwrap().stdout;
    assert!(!left.contains("eth0"), "the device is still with the daemon: {left}");
    node.cli("port del pod1");
    let gone = node.pods[0].netns.exec(&["ip", "link", "show", "dev", "eth0"]);
    assert!(gone.is_err(), "the device outlives its port");
}

#[test]
fn a_namespace_may_be_given_by_its_path() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let mut node = Node::start(&Plan { pods: &[Kind::Veth], ..Plan::default() });
    let late = node::Pod::new(Kind::Tap, 2, 1500, false, &node.netns);
    let path = late.netns.path();
    node.cli(&format!(
        "port add pod2 kind=tap device=eth0 netns={} addresses=10.0.0.2/24,fd00::2/64",
        path.display()
    ));
    traffic::ping(&node.pods[0], &late, 20, 56).unwrap();
    node.pods.push(late);
}

#[test]
fn two_queues_on_two_workers_share_the_load() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let head = format!("{}[workers]\ncount = 2\n", node::MEMORY);
    let keys = "queues = 2\nplacement = [0, 1]\n";
    let node = Node::start(&Plan { pods: &[Kind::Tap, Kind::Tap], keys, head: &head, ..Plan::default() });
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    traffic::ping(a, b, 20, 56).unwrap();
    let mut iperf = Iperf::serve(&b.netns, &b.v4).unwrap();
    // The kernel chooses the queue by a hash of the flow: 8 flows each way are all on one with 1 in 2^15.
    let result = iperf.tcp(&a.netns, &Tcp { seconds: 2, streams: 8, reverse: false }).unwrap();
    assert!(result.gbits > 0.1, "{result:?}");
    let workers = node.show("workers");
    for worker in workers.as_array().unwrap() {
        assert_eq!(worker["queues"].as_array().unwrap().len(), 2, "{worker}");
        assert!(worker["packets"].as_u64().unwrap() > 100, "a worker has nothing to do: {workers}");
    }
}
