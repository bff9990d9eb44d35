//! Ports that are removed under traffic while their other side lives, and added again: the other side sees its link end, nobody else
//! notices anything, no buffer is lost, and the new port works.

mod node;

use std::time::{Duration, Instant};

use node::disturb::{buffers_back, load, undisturbed};
use node::{Kind, Node, PATIENCE, Plan, traffic};
use shunt_tests::guest::{Backend, Nic, Options};
use shunt_tests::testpmd::{self, Forward};
use shunt_tests::{Guest, Interface, Ping, Testpmd, require};

/// Where the other side of the port that comes and goes is.
const THERE: &str = "10.0.0.33";
const MAC: &str = "02:00:00:00:00:33";

/// Two pods and nothing else; the buffers that are free then.
fn two_pods() -> (Node, u64) {
    let node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Veth], quiet: true, ..Plan::default() });
    traffic::ping_v4(&node.pods[0], &node.pods[1], 5).unwrap();
    let free = node.buffers().0;
    (node, free)
}

/// Echoes from the first pod until one is answered, then twenty that all are.
#[track_caller]
fn answers(node: &Node, to: &str) {
    let from = &node.pods[0].netns;
    let deadline = Instant::now() + PATIENCE;
    while (Ping { wait_ms: 200, ..Ping::to(to) }).run(from).unwrap().received == 0 {
        assert!(Instant::now() < deadline, "{to} does not answer: {:?}, {:?}", node.ports(), node.drops());
    }
    let answers = Ping { count: 20, wait_ms: 2000, ..Ping::to(to) }.run(from).unwrap();
    assert_eq!(answers.received, 20, "{answers:?}");
}

/// Waits until port `name` carries the load.
#[track_caller]
fn loaded(node: &Node, name: &str) {
    let before = node.port(name).tx_packets;
    node.wait_port(name, "the load has come", |port| port.tx_packets > before + 20);
}

/// Polls the guest's view of its link.
#[track_caller]
fn wait_carrier(guest: &mut Guest, up: bool) {
    let deadline = Instant::now() + PATIENCE;
    let wanted = if up { "1" } else { "0" };
    while guest.sh("cat /sys/class/net/eth0/carrier").unwrap().trim() != wanted {
        assert!(Instant::now() < deadline, "the guest does not see its link, up: {up}");
    }
}

#[test]
fn a_guests_port_removed_and_added_under_traffic() {
    require!(root(), guest(), shuntd());
    let (node, free) = two_pods();
    let add = format!("port add vm kind=vhost-user path={}", node.path("vm").display());
    node.cli(&add);
    let inside = Interface { mac: Some(MAC), addrs: &["10.0.0.33/24"], ..Interface::default() };
    let nic = Nic::new(Backend::Connect(node.path("vm")), inside);
    let mut guest = Guest::boot(&Options { nics: vec![nic], ..Options::default() }).unwrap();
    node.wait_port("vm", "the guest is attached", |port| port.link);
    answers(&node, THERE);
    let _load = load(&node, THERE);
    for _ in 0..2 {
        loaded(&node, "vm");
        undisturbed(&node, 500, |node| {
            node.cli("port del vm");
            assert!(!node.path("vm").exists() && !node.ports().contains_key("vm"));
        });
        wait_carrier(&mut guest, false);
        buffers_back(&node, free);
        undisturbed(&node, 500, |node| {
            node.cli(&add);
            node.wait_port("vm", "the guest is attached again", |port| port.link);
        });
        wait_carrier(&mut guest, true);
        answers(&node, THERE);
    }
    let text = guest.sh("ping -c 5 -i 0.2 -W 2 10.0.0.1").unwrap();
    assert!(text.contains("5 packets received"), "{text}");
}

#[test]
fn a_tun_port_removed_and_added_under_traffic() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let (node, free) = two_pods();
    let pod = shunt_tests::Netns::new().unwrap();
    let add = format!(
        "port add late kind=tun device=eth0 netns={} addresses={THERE}/24 peer_mac={MAC}",
        pod.name()
    );
    node.cli(&add);
    answers(&node, THERE);
    let _load = load(&node, THERE);
    for _ in 0..5 {
        loaded(&node, "late");
        // The pod sends, too: its sender hears of the end and goes on.
        let _own = pod.spawn(&["ping", "-q", "-i", "0.002", "-W", "1", "10.0.0.1"]).unwrap();
        undisturbed(&node, 500, |node| {
            node.cli("port del late");
        });
        let links = pod.exec(&["ip", "-o", "link"]).unwrap().stdout;
        assert!(!links.contains("eth0"), "the device is left: {links}");
        buffers_back(&node, free);
        undisturbed(&node, 500, |node| {
            node.cli(&add);
            node.wait_port("late", "is open", |port| port.oper_up);
        });
        answers(&node, THERE);
    }
}

/// What testpmd thinks of its link.
#[track_caller]
fn wait_link(peer: &mut Testpmd, up: bool) {
    let deadline = Instant::now() + PATIENCE;
    let wanted = if up { "Link status: up" } else { "Link status: down" };
    while !peer.command("show port info 0").unwrap().contains(wanted) {
        assert!(Instant::now() < deadline, "testpmd does not see its link, up: {up}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn memif(peer_listens: bool) {
    let (node, free) = two_pods();
    let role = if peer_listens { "client" } else { "server" };
    let add = format!("port add app kind=memif path={} role={role}", node.path("app").display());
    let vdevs = vec![testpmd::memif(0, &node.path("app"), 0, peer_listens)];
    let launch = || {
        let mut peer = Testpmd::launch(&testpmd::Options { vdevs, ..Default::default() }).unwrap();
        peer.start(Forward::IcmpEcho).unwrap();
        peer
    };
    // Who connects comes second.
    let mut peer = if peer_listens {
        let peer = launch();
        node.cli(&add);
        peer
    } else {
        node.cli(&add);
        launch()
    };
    node.wait_port("app", "the peer is attached", |port| port.link);
    answers(&node, THERE);
    let _load = load(&node, THERE);
    for _ in 0..3 {
        loaded(&node, "app");
        // The driver takes the memory away under testpmd's own forwarding thread, which may die of it.
        peer.stop().unwrap();
        undisturbed(&node, 500, |node| {
            node.cli("port del app");
        });
        wait_link(&mut peer, false);
        buffers_back(&node, free);
        undisturbed(&node, 500, |node| {
            node.cli(&add);
            if !peer_listens {
                // DPDK's client does not connect again by itself.
                for command in ["port stop 0", "port start 0"] {
                    peer.command(command).unwrap();
                }
            }
            node.wait_port("app", "the peer is attached again", |port| port.link);
            peer.start(Forward::IcmpEcho).unwrap();
        });
        wait_link(&mut peer, true);
        answers(&node, THERE);
    }
}

#[test]
fn a_memif_port_removed_and_added_while_its_server_lives() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    memif(true);
}

#[test]
fn a_memif_port_removed_and_added_while_its_client_lives() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    memif(false);
}
