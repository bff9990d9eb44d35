//! Many pods on one node: as many as a kubelet allows by default, each a kernel of its own; and ports up to nearly all there are.

mod node;

use std::collections::BTreeSet;
use std::time::Duration;

use node::{Kind, Node, PATIENCE, Plan, Pod};
use shunt_tests::{Ping, require};

/// What a kubelet allows by default (`maxPods`).
const PODS: u8 = 110;
/// The switch has room for 1,024.
const PORTS: usize = 1_000;

#[test]
fn as_many_pods_as_a_kubelet_allows_reach_each_other() {
    require!(root(), tool("ping"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth; PODS as usize], quiet: true, ..Plan::default() });
    let [first, .., last] = &node.pods[..] else { unreachable!("110 pods") };
    // One asks all, and all ask one.
    let asks =
        |from: &Pod, to: &Pod| Ping { wait_ms: 3000, ..Ping::to(&to.v4) }.run(&from.netns).unwrap().received;
    for pod in &node.pods {
        if pod.number != first.number {
            assert_eq!(asks(first, pod), 1, "{} does not answer: {:?}", pod.v4, node.drops());
        }
        if pod.number != last.number {
            assert_eq!(asks(pod, last), 1, "{} is not answered: {:?}", pod.v4, node.drops());
        }
    }
    let learned = node
        .show("fdb")
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["port"].as_str().map(str::to_owned))
        .collect::<BTreeSet<_>>();
    assert_eq!(learned.len(), usize::from(PODS), "each is known where it is");
}

#[test]
fn a_thousand_ports_are_opened_and_two_of_them_talk() {
    require!(root(), tool("ping"), file("/dev/net/tun"), shuntd());
    let ports: String = (0..PORTS)
        .map(|n| format!("[[port]]\nname = \"many{n}\"\nkind = \"tap\"\nnetwork = \"many\"\n"))
        .collect();
    let tail = format!("[[network]]\nname = \"many\"\n{ports}");
    // A queue of a port has buffers of its own.
    let head = "[memory]\nhugepages = \"never\"\nmbufs = 131072\n";
    let mut node =
        Node::start(&Plan { pods: &[Kind::Veth; 2], head, tail: &tail, quiet: true, ..Plan::default() });
    assert_eq!(node.ports().values().filter(|port| port.oper_up).count(), PORTS + 2);
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    let series = Ping { count: 100, wait_ms: PATIENCE.as_millis() as u32 / 3, ..Ping::to(&b.v4) };
    let answers = series.run(&a.netns).unwrap();
    assert_eq!((answers.received, answers.duplicates), (100, 0), "{answers:?}");
    // One more while they stand, and gone again.
    node.cli("port add more kind=tap network=many");
    node.cli("port del more");
    assert_eq!(node.ports().len(), PORTS + 2);
    // The kernel takes some 20 ms for each TAP that goes: together longer than tests wait otherwise, and shorter than systemd does.
    node.shuntd.stop_within(Duration::from_secs(80)).unwrap();
}
