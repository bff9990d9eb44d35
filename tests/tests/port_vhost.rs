//! Port kind `vhost-user`: testpmd's virtio-user as guests, and a virtual machine with the kernel's driver.

mod node;

use std::path::Path;
use std::time::Instant;

use node::{Kind, MEMORY, Node, PATIENCE, Plan, traffic};
use shunt_tests::guest::{Backend, Nic, Options};
use shunt_tests::testpmd::{self, Forward, Memory, PortStats};
use shunt_tests::{Guest, Hugepages, Interface, Netns, Ping, Testpmd, require};

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";

/// How two guests are connected.
#[derive(Clone, Copy)]
struct Case {
    guests_listen: bool,
    queues: u16,
    memory: Memory,
    keys: &'static str,
}

const PLAIN: Case = Case { guests_listen: false, queues: 1, memory: Memory::Ordinary(256), keys: "" };

impl Case {
    /// A guest that sends to `peer` when it begins.
    fn guest(&self, socket: &Path, mac: &str, peer: &str) -> Testpmd {
        let vdev = testpmd::virtio_user(0, socket, mac, self.queues, self.guests_listen);
        let args = vec![format!("--eth-peer=0,{peer}")];
        let (memory, queues) = (self.memory, self.queues);
        if self.guests_listen && socket.exists() {
            // A killed one left it; the driver does not replace it.
            std::fs::remove_file(socket).unwrap();
        }
        Testpmd::launch(&testpmd::Options { vdevs: vec![vdev], memory, queues, args, ..Default::default() })
            .unwrap()
    }

    fn ports(&self) -> String {
        let mode = if self.guests_listen { "client" } else { "server" };
        let port = |name: &str| {
            format!(
                "[[port]]\nname = \"{name}\"\nkind = \"vhost-user\"\npath = \"DIR/{name}\"\nmode = \"{mode}\"\n\
                 queues = {}\n{}\n",
                self.queues, self.keys
            )
        };
        port("a") + &port("b")
    }

    fn start(&self) -> Node {
        let head =
            if self.queues > 1 { format!("{MEMORY}[workers]\ncount = 2\n") } else { MEMORY.to_owned() };
        Node::start(&Plan { head: &head, tail: &self.ports(), ..Plan::default() })
    }

    /// Two guests send a burst to and fro until it has passed `rounds` times: what one sent the other has, and the switch lost none.
    fn exchange(&self) {
        let node = self.start();
        let mut a = self.guest(&node.path("a"), A, B);
        let mut b = self.guest(&node.path("b"), B, A);
        for port in ["a", "b"] {
            node.wait_port(port, "the guest is attached", |port| port.link);
        }
        bounce(&mut a, &mut b);
        node.assert_no_loss();
        let (a, b) = (node.port("a"), node.port("b"));
        assert_eq!((a.rx_packets, b.rx_packets), (b.tx_packets, a.tx_packets), "{a:?} {b:?}");
    }
}

/// Polls the counters until `enough` holds.
#[track_caller]
fn until(guest: &mut Testpmd, enough: impl Fn(&PortStats) -> bool) -> PortStats {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stats = guest.port_stats(0).unwrap();
        if enough(&stats) {
            return stats;
        }
        assert!(Instant::now() < deadline, "{stats:?}");
    }
}

#[track_caller]
fn bounce(a: &mut Testpmd, b: &mut Testpmd) {
    b.start(Forward::MacSwap).unwrap();
    a.start_with_burst(Forward::MacSwap).unwrap();
    until(a, |stats| stats.rx_packets > 20_000);
    // a stops: b gives back what is still on its way, and then has all that a ever sent.
    a.stop().unwrap();
    let sent = a.port_stats(0).unwrap().tx_packets;
    let got = until(b, |stats| stats.rx_packets >= sent && stats.tx_packets == stats.rx_packets);
    assert_eq!((got.rx_packets, got.tx_errors, got.rx_errors), (sent, 0, 0), "{got:?}");
    b.stop().unwrap();
}

#[test]
fn two_guests_exchange_frames_without_loss() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    PLAIN.exchange();
}

#[test]
fn two_guests_that_make_their_sockets() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    Case { guests_listen: true, ..PLAIN }.exchange();
}

#[test]
fn two_guests_with_two_queue_pairs() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    Case { queues: 2, ..PLAIN }.exchange();
}

#[test]
fn two_guests_without_mergeable_buffers_and_offloads() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    Case { keys: "mergeable = false\ntso = false\n", ..PLAIN }.exchange();
}

#[test]
fn two_guests_in_hugepages() {
    require!(root(), tool("dpdk-testpmd"), hugepages(512), shuntd());
    let _pages = Hugepages::reserve(512).unwrap();
    Case { memory: Memory::Huge(256), ..PLAIN }.exchange();
}

/// The guest is killed and started again several times; each time it works, and nothing is left over.
fn killed_and_back(case: Case) {
    let node = case.start();
    let mut b = case.guest(&node.path("b"), B, A);
    node.wait_port("b", "the guest is attached", |port| port.link);
    for _ in 0..3 {
        let mut a = case.guest(&node.path("a"), A, B);
        node.wait_port("a", "the guest is attached", |port| port.link);
        b.clear_stats().unwrap();
        bounce(&mut a, &mut b);
        a.start_with_burst(Forward::MacSwap).unwrap();
        b.start(Forward::MacSwap).unwrap();
        until(&mut a, |stats| stats.rx_packets > 1000);
        a.running().kill();
        node.wait_port("a", "the guest's end is seen", |port| !port.link);
        b.stop().unwrap();
    }
    assert!(node.port("b").link, "the other guest is not disturbed");
    let (free, all) = node.buffers();
    assert!(free + 128 >= all, "buffers are missing: {free} free of {all}");
    // What was on its way to the killed guest is counted, and nothing else.
    let drops = node.drops();
    assert!(drops.keys().all(|key| key == "a: link_down" || key == "a: tx_full"), "{drops:?}");
}

#[test]
fn a_killed_guest_comes_back() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    killed_and_back(PLAIN);
}

#[test]
fn a_killed_guest_that_makes_its_socket_comes_back() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    killed_and_back(Case { guests_listen: true, ..PLAIN });
}

#[test]
fn a_guest_that_answers_echoes_is_reached_by_a_pod() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth], tail: &PLAIN.ports(), ..Plan::default() });
    let mut a = PLAIN.guest(&node.path("a"), A, B);
    a.start(Forward::IcmpEcho).unwrap();
    node.wait_port("a", "the guest is attached", |port| port.link);
    for size in [0, 56, 1472] {
        let answers = Ping { count: 20, size, ..Ping::to("10.0.0.77") }.run(&node.pods[0].netns).unwrap();
        assert_eq!((answers.received, answers.duplicates), (20, 0), "{size}: {answers:?}");
    }
}

#[test]
fn guests_of_a_switch_that_was_killed_come_back_to_the_next() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    // The guests make the sockets; both switches connect to them.
    let case = Case { guests_listen: true, ..PLAIN };
    let mut node = case.start();
    let mut a = case.guest(&node.path("a"), A, B);
    let mut b = case.guest(&node.path("b"), B, A);
    for port in ["a", "b"] {
        node.wait_port(port, "the guest is attached", |port| port.link);
    }
    bounce(&mut a, &mut b);
    node.shuntd.kill();
    node.shuntd = shunt_tests::Shuntd::start_in(&node.netns, node.config()).unwrap();
    for port in ["a", "b"] {
        node.wait_port(port, "the guest is attached again", |port| port.link);
    }
    for guest in [&mut a, &mut b] {
        guest.clear_stats().unwrap();
    }
    b.start(Forward::MacSwap).unwrap();
    a.start_with_burst(Forward::MacSwap).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while a.port_stats(0).unwrap().rx_packets < 20_000 {
        let mut states = || [a.port_stats(0).unwrap(), b.port_stats(0).unwrap()];
        assert!(Instant::now() < deadline, "{:?}, {:?}, {:?}", states(), node.ports(), node.drops());
    }
    node.assert_no_loss();
}

const INSIDE: Interface<'static> =
    Interface { name: "eth0", mac: Some(B), addrs: &["10.0.0.11/24", "fd00::11/64"], mtu: 1500 };

/// Echoes and TCP both ways between the virtual machine and a pod.
#[track_caller]
fn talk(guest: &mut Guest, pod: &Netns, address: &str) {
    let answers = guest.sh(&format!("ping -c 10 -i 0.1 -W 2 {address}")).unwrap();
    assert!(answers.contains("10 packets received"), "{answers}");
    let answers =
        Ping { count: 10, interval_ms: 50, wait_ms: 3000, ..Ping::to("10.0.0.11") }.run(pod).unwrap();
    assert_eq!(answers.received, 10, "{answers:?}");
    // A page of 4 MiB each way: the guest fetches the pod's, the pod the guest's.
    let page = "test -d /tmp/www || (mkdir /tmp/www && head -c 4194304 /dev/zero > /tmp/www/page)";
    guest.sh(&format!("{page} && (pidof httpd > /dev/null || httpd -p 80 -h /tmp/www)")).unwrap();
    let fetch = "busybox wget -q -O - http://10.0.0.11/page | wc -c";
    assert_eq!(pod.exec(&["sh", "-c", fetch]).unwrap().stdout.trim(), "4194304");
    let web = tempfile::tempdir().unwrap();
    std::fs::write(web.path().join("page"), vec![b'x'; 4 << 20]).unwrap();
    let root = web.path().to_string_lossy();
    let _server = pod.spawn(&["busybox", "httpd", "-f", "-p", "80", "-h", &root]).unwrap();
    let fetch = format!(
        "for i in 1 2 3 4 5; do wget -q -O /tmp/page http://{address}/page && break; usleep 200000; done; wc -c < /tmp/page"
    );
    assert_eq!(guest.sh(&fetch).unwrap().trim(), "4194304");
}

fn virtual_machine(guest_listens: bool) {
    let mode = if guest_listens { "client" } else { "server" };
    let tail =
        format!("[[port]]\nname = \"vm\"\nkind = \"vhost-user\"\npath = \"DIR/vm\"\nmode = \"{mode}\"\n");
    let node = Node::start(&Plan { pods: &[Kind::Veth], tail: &tail, ..Plan::default() });
    let socket = node.path("vm");
    let backend = if guest_listens { Backend::Listen(socket) } else { Backend::Connect(socket) };
    let mut guest =
        Guest::boot(&Options { nics: vec![Nic::new(backend, INSIDE)], ..Options::default() }).unwrap();
    node.wait_port("vm", "the guest is attached", |port| port.link);
    let pod = &node.pods[0];
    talk(&mut guest, &pod.netns, &pod.v4);
    let about = node.port("vm").about;
    assert!(about.contains("csum") && about.contains("tso") && about.contains("mergeable"), "{about}");
    drop(guest);
    node.wait_port("vm", "the guest's end is seen", |port| !port.link);
}

#[test]
fn a_virtual_machine_talks_to_a_pod() {
    require!(root(), guest(), shuntd());
    virtual_machine(false);
}

#[test]
fn a_virtual_machine_that_makes_its_socket_talks_to_a_pod() {
    require!(root(), guest(), shuntd());
    virtual_machine(true);
}

#[test]
fn a_virtual_machine_survives_a_restart_of_the_switch() {
    require!(root(), guest(), shuntd());
    let tail = "[[port]]\nname = \"vm\"\nkind = \"vhost-user\"\npath = \"DIR/vm\"\n";
    let mut node = Node::start(&Plan { pods: &[Kind::Veth], tail, ..Plan::default() });
    let nic = Nic::new(Backend::Connect(node.path("vm")), INSIDE);
    let mut guest = Guest::boot(&Options { nics: vec![nic], ..Options::default() }).unwrap();
    node.wait_port("vm", "the guest is attached", |port| port.link);
    talk(&mut guest, &node.pods[0].netns, &node.pods[0].v4);
    node.shuntd.stop().unwrap();
    node.shuntd = shunt_tests::Shuntd::start_in(&node.netns, node.config()).unwrap();
    node.wait_port("vm", "the guest is attached again", |port| port.link);
    talk(&mut guest, &node.pods[0].netns, &node.pods[0].v4);
}

#[test]
fn two_pods_behind_virtio_user_exchange_ping_and_tcp() {
    require!(root(), tool("dpdk-testpmd"), tool("iperf3"), tool("perl"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::VhostUser, Kind::VhostUser], ..Plan::default() });
    traffic::brief(&node.pods[0], &node.pods[1], &traffic::TESTPMD).unwrap();
}
