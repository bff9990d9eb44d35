//! Kind `memif` against `dpdk-testpmd` with the same driver on the other side, and against a pod through it.

mod node;

use std::path::Path;

use node::{Node, Wired, pings};
use shunt_tests::testpmd::{self, Forward, Options};
use shunt_tests::{Ping, Testpmd, require};

const POD: [&str; 1] = ["10.0.0.1/24"];

fn memif(socket: &Path, more: &str) -> String {
    format!("[[port]]\nname = \"m\"\nkind = \"memif\"\npath = \"{}\"\n{more}", socket.display())
}

fn veth(device: &str) -> String {
    format!("[[port]]\nname = \"pod\"\nkind = \"veth\"\ndevice = \"{device}\"\n")
}

/// The other side, answering echo requests for any address.
fn echo(socket: &Path, server: bool, more: &str) -> Testpmd {
    let vdevs = vec![testpmd::memif(0, socket, 0, server) + more];
    let mut pmd = Testpmd::launch(&Options { vdevs, ..Options::default() }).unwrap();
    pmd.start(Forward::IcmpEcho).unwrap();
    pmd
}

/// As server: a socket file that a crash left is no obstacle, the peer comes, is killed, and comes back.
#[test]
fn a_server_outlives_its_client() {
    require!(root(), tool("dpdk-testpmd"), tool("ping"));
    let (dir, pod) = (tempfile::tempdir().unwrap(), Wired::new(&POD, 1500));
    let socket = dir.path().join("memif");
    node::stale_socket(&socket);
    let node = Node::start("count = 2\n", &(memif(&socket, "secret = \"s3cret\"\n") + &veth(&pod.device)));
    assert!(!node.port("m").link, "nobody is there yet");
    // Nothing goes to a peer that is not there, and it is counted as that.
    let nobody = Ping { count: 3, wait_ms: 100, ..Ping::to("10.0.0.2") }.run(&pod.pod).unwrap();
    assert_eq!(nobody.received, 0);
    assert!(node.dropped("m", "link_down") > 0, "{:?}", node.drops());

    for round in 0..3 {
        let mut peer = echo(&socket, false, ",secret=s3cret");
        node.until(|node| node.port("m").link);
        pings(&pod.pod, &["10.0.0.2"]);
        let row = node.port("m");
        assert!(row.about.contains("net_memif") && row.deaths == 0, "round {round}: {row:?}");
        peer.running().kill();
        node.until(|node| !node.port("m").link);
        assert!(node.port("m").oper_up, "the port waits for the next client");
    }
    let mut stranger = echo(&socket, false, ",secret=wrong");
    let nobody = Ping { count: 3, wait_ms: 100, ..Ping::to("10.0.0.2") }.run(&pod.pod).unwrap();
    assert_eq!(nobody.received, 0, "a wrong secret is no way in");
    assert!(!node.port("m").link);
    stranger.running().kill();
    node.call(|control| control.remove_port("m").map(drop)).unwrap();
    assert!(!socket.exists(), "the socket goes with the port");
}

/// As client: the port opens again when its server comes back.
#[test]
fn a_client_follows_its_server() {
    require!(root(), tool("dpdk-testpmd"), tool("ping"));
    let (dir, pod) = (tempfile::tempdir().unwrap(), Wired::new(&POD, 1500));
    let socket = dir.path().join("memif");
    let node = Node::start("", &veth(&pod.device));
    let error = node.add(&memif(&socket, "role = \"client\"\n")).expect_err("no server");
    println!("{error}");
    assert!(error.contains("nobody listens on") && error.contains("start the other side"), "{error}");

    let mut peer = echo(&socket, true, "");
    node.add(&memif(&socket, "role = \"client\"\n")).unwrap();
    node.until(|node| node.port("m").link);
    pings(&pod.pod, &["10.0.0.2"]);
    peer.running().kill();
    node.until(|node| node.port("m").deaths == 1 && !node.port("m").oper_up);
    node.until(|node| node.port("m").about.contains("nobody listens on"));
    // One that has another interface only: no loop, a reason.
    std::fs::remove_file(&socket).unwrap();
    let vdevs = vec![testpmd::memif(0, &socket, 5, true)];
    let mut other = Testpmd::launch(&Options { vdevs, ..Options::default() }).unwrap();
    node.until(|node| node.port("m").about.contains("check `id` (0) and `secret`"));
    other.running().kill();
    // A killed server leaves its socket file, which is the server's to remove.
    std::fs::remove_file(&socket).unwrap();
    let _again = echo(&socket, true, "");
    node.until(|node| node.port("m").link);
    pings(&pod.pod, &["10.0.0.2"]);
}

/// Large frames fill one shared buffer; what would need two is refused.
#[test]
fn jumbo_frames_pass_in_one_buffer() {
    require!(root(), tool("dpdk-testpmd"), tool("ping"));
    let (dir, pod) = (tempfile::tempdir().unwrap(), Wired::new(&POD, 4000));
    let socket = dir.path().join("memif");
    let node = Node::start("", &(veth(&pod.device) + "mtu = 4000\n"));
    let error = node.add(&memif(&socket, "mtu = 4000\n")).expect_err("2048 bytes are too few");
    println!("{error}");
    assert!(error.contains("needs `buffer_size` 4022 or more"), "{error}");
    node.add(&memif(&socket, "mtu = 4000\nbuffer_size = 4096\n")).unwrap();
    let _peer = echo(&socket, false, ",bsize=4096");
    node.until(|node| node.port("m").link);
    // testpmd answers in place, in a chain of 2 KiB buffers; sizes mixed, more of them than the ring has slots.
    for size in [56, 3972, 1472, 3000, 3972, 56] {
        let series = Ping { count: 400, interval_ms: 1, size, ..Ping::to("10.0.0.2") };
        let answers = series.run(&pod.pod).unwrap();
        // The last ones may be late, see `pings`; what is lost in between would show as a gap.
        let last = answers.rtts.iter().map(|(number, _)| *number).max().unwrap_or(0);
        println!("{size}: {} of {last}", answers.received);
        assert!(last > 200, "{size}: {answers:?} {:?}", node.drops());
        assert_eq!((answers.received, answers.duplicates), (last, 0), "{size}: {:?}", node.drops());
    }
}

/// A burst that goes round between testpmd and testpmd through the switch, and a peer that is killed in the middle of it:
/// the other port goes on.
#[test]
fn a_peer_that_dies_under_load_disturbs_nobody() {
    require!(root(), tool("dpdk-testpmd"), tool("ping"));
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (Wired::new(&POD, 1500), Wired::new(&["10.0.0.3/24"], 1500));
    let socket = dir.path().join("memif");
    let other = format!("[[port]]\nname = \"b\"\nkind = \"veth\"\ndevice = \"{}\"\n", b.device);
    let node = Node::start("", &(memif(&socket, "") + &veth(&a.device) + &other));
    let options = Options { vdevs: vec![testpmd::memif(0, &socket, 0, false)], ..Options::default() };
    for round in 0..5 {
        let mut flood = Testpmd::launch(&options).unwrap();
        node.until(|node| node.port("m").link);
        let before = node.port("m").rx_packets;
        flood.start(Forward::TxOnly).unwrap();
        node.until(|node| node.port("m").rx_packets > before + 10_000);
        flood.running().kill();
        node.until(|node| !node.port("m").link);
        let answers = Ping { count: 10, ..Ping::to("10.0.0.3") }.run(&a.pod).unwrap();
        assert!(answers.received > 0, "round {round}: {answers:?}");
        println!("round {round}: {} frames", node.port("m").rx_packets - before);
    }
}

#[test]
fn what_cannot_work_is_refused_with_advice() {
    require!(root(), tool("dpdk-testpmd"));
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start("", "");
    let refused = |port: &str, what: &str| {
        let error = node.add(port).expect_err(what);
        println!("{error}");
        assert!(error.contains(what) && !error.contains('\n') && !error.contains("s3cret"), "{error}");
    };
    refused(&memif(&dir.path().join("none/memif"), "secret = \"s3cret\"\n"), "create it");
    refused(&memif(&dir.path().join("memif"), "queues = 2\n"), "has one queue");
    let taken = dir.path().join("taken");
    let vdevs = vec![testpmd::memif(0, &taken, 0, true)];
    let mut other = Testpmd::launch(&Options { vdevs, ..Options::default() }).unwrap();
    refused(&memif(&taken, "secret = \"s3cret\"\n"), "in use by another process");
    other.command("show port stats 0").expect("it was not disturbed by being asked");
    // Two ports on one socket are fine, and the second does not take the first one's for a stranger's.
    let both = dir.path().join("memif");
    node.add(&memif(&both, "")).unwrap();
    node.add(&memif(&both, "id = 1\n").replace("\"m\"", "\"n\"")).unwrap();
}
