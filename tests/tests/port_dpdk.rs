//! Port kind `dpdk`: captures played in and written out, byte by byte.

mod node;

use std::path::Path;

use node::capture::{self, frame};
use node::{MEMORY, Node, PATIENCE, Plan};
use shunt_tests::frames::{Body, Frame, Payload, Transport};
use shunt_tests::require;

const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const ALL: [u8; 6] = [0xff; 6];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];

/// A port that plays `name` once, with its frames in a file of the node.
fn play(node: &Node, name: &str, frames: &[Vec<u8>]) {
    let file = node.path(&format!("{name}.in"));
    capture::write(&file, frames);
    node.cli(&format!(
        "port add {name} kind=dpdk devargs=net_pcap_{name},rx_pcap={},tx_pcap={}.back",
        file.display(),
        file.display()
    ));
}

/// The configuration of ports that write what they get; DPDK writes it out when the port is closed.
fn writers(names: &[&str]) -> String {
    let port = |name: &&str| {
        format!(
            "[[port]]\nname = \"{name}\"\nkind = \"dpdk\"\ndevargs = \"net_pcap_{name},tx_pcap=DIR/{name}.out\"\n"
        )
    };
    names.iter().map(port).collect()
}

/// Closes the port and returns what it wrote.
fn written(node: &Node, name: &str) -> Vec<Vec<u8>> {
    node.cli(&format!("port del {name}"));
    capture::read(&node.path(&format!("{name}.out")))
}

#[track_caller]
fn wait_received(node: &Node, name: &str, frames: usize) {
    node.wait_port(name, "has played its file", |port| port.rx_packets == frames as u64);
}

/// The same frames in the same order; the message is about the first difference, not a megabyte of bytes.
#[track_caller]
fn same(got: &[Vec<u8>], sent: &[Vec<u8>]) {
    for (n, (got, sent)) in got.iter().zip(sent).enumerate() {
        let differs = got.iter().zip(sent).position(|(a, b)| a != b);
        assert!(
            got == sent,
            "frame {n}: {} bytes of {}, first difference at {differs:?}",
            got.len(),
            sent.len()
        );
    }
    assert_eq!(got.len(), sent.len());
}

fn start(writing: &[&str], head: &str) -> Node {
    Node::start(&Plan { head, tail: &writers(writing), ..Plan::default() })
}

#[test]
fn frames_of_every_length_come_out_as_they_went_in() {
    require!(root(), shuntd());
    let node = start(&["out"], MEMORY);
    let frames: Vec<_> = (60..=1514).map(|length| frame(B, A, length, length as u8)).collect();
    play(&node, "in", &frames);
    wait_received(&node, "in", frames.len());
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let (rx, tx) = (node.port("in"), node.port("out"));
    assert_eq!((rx.rx_bytes, tx.tx_bytes), (bytes as u64, bytes as u64));
    node.assert_no_loss();
    same(&written(&node, "out"), &frames);
}

#[test]
fn jumbo_frames_come_out_whole() {
    require!(root(), shuntd());
    // The device takes single buffers: these hold the longest frame.
    let head = "[memory]\nhugepages = \"never\"\nmbufs = 2048\nmbuf_size = 9600\n";
    let tail = writers(&["out"]);
    let node = Node::start(&Plan { head, mtu: 9000, tail: &tail, ..Plan::default() });
    let frames: Vec<_> = (1000..=9014).step_by(61).map(|length| frame(B, A, length, 7)).collect();
    play(&node, "in", &frames);
    wait_received(&node, "in", frames.len());
    node.assert_no_loss();
    same(&written(&node, "out"), &frames);
}

#[test]
fn a_frame_that_the_device_cannot_take_is_counted() {
    require!(root(), shuntd());
    let head = "[memory]\nhugepages = \"never\"\nmbuf_size = 1024\n";
    let tail = writers(&["out"]);
    let node = Node::start(&Plan { head, mtu: 9000, tail: &tail, ..Plan::default() });
    let frames: Vec<_> = (100..=9014).step_by(61).map(|length| frame(B, A, length, 7)).collect();
    let (short, long): (Vec<_>, Vec<_>) = frames.iter().cloned().partition(|frame| frame.len() <= 1024);
    play(&node, "in", &frames);
    wait_received(&node, "in", frames.len());
    assert_eq!(node.drops(), [("out: too_long_for_buffer".to_owned(), long.len() as u64)].into());
    same(&written(&node, "out"), &short);
}

#[test]
fn the_shortest_frames_pass_and_shorter_ones_are_counted() {
    require!(root(), shuntd());
    let node = start(&["out"], MEMORY);
    let long_enough: Vec<_> = (14..60).map(|length| frame(B, A, length, 3)).collect();
    let mut frames: Vec<Vec<u8>> = (1..14).map(|length| frame(B, A, 14, 0)[..length].to_vec()).collect();
    let runts = frames.len() as u64;
    frames.extend(long_enough.clone());
    play(&node, "in", &frames);
    wait_received(&node, "in", frames.len());
    assert_eq!(node.drops(), [("in: runt".to_owned(), runts)].into());
    assert!(written(&node, "out") == long_enough);
}

#[test]
fn an_unknown_destination_is_flooded_and_a_group_source_is_dropped() {
    require!(root(), shuntd());
    let node = start(&["one", "two", "three"], MEMORY);
    let good = vec![frame(B, A, 60, 1), frame(ALL, A, 61, 2), frame(GROUP, A, 62, 3), frame(B, A, 1514, 4)];
    let mut frames = good.clone();
    frames.insert(2, frame(B, GROUP, 60, 5));
    frames.push(frame(A, B, 60, 6));
    play(&node, "in", &frames);
    wait_received(&node, "in", frames.len());
    let drops = node.drops();
    assert_eq!(drops.get("in: source_is_group"), Some(&1), "{drops:?}");
    for name in ["one", "two", "three"] {
        // The last frame is for an address that came in by the same port: flooded too if that is not learned yet.
        let got = written(&node, name);
        assert!(
            got == good || (got.len() == good.len() + 1 && got[..good.len()] == good),
            "{name}: {}",
            got.len()
        );
    }
    node.cli("port del in");
    assert!(
        capture::read(Path::new(&format!("{}.back", node.path("in.in").display()))).is_empty(),
        "reflected"
    );
}

#[test]
fn a_learned_destination_is_sent_to_one_port() {
    require!(root(), shuntd());
    let node = start(&["one", "two"], MEMORY);
    play(&node, "b", &[frame(ALL, B, 60, 0)]);
    node.wait_learned("02:00:00:00:00:0b", &["b"]);
    let frames: Vec<_> = (0..1000).map(|n| frame(B, A, 60 + n % 1400, n as u8)).collect();
    play(&node, "in", &frames);
    wait_received(&node, "in", frames.len());
    assert_eq!((node.port("one").tx_packets, node.port("two").tx_packets), (1, 1));
    assert_eq!(node.port("b").tx_packets, frames.len() as u64);
    node.cli("port del b");
    assert!(capture::read(Path::new(&format!("{}.back", node.path("b.in").display()))) == frames);
}

#[test]
fn a_null_device_takes_everything() {
    require!(root(), shuntd());
    let tail = "[[port]]\nname = \"sink\"\nkind = \"dpdk\"\ndevargs = \"net_null_sink,no-rx=1\"\n";
    let node = Node::start(&Plan { tail, ..Plan::default() });
    let frames: Vec<_> = (0..5000).map(|n| frame(B, A, 64, n as u8)).collect();
    play(&node, "in", &frames);
    wait_received(&node, "in", frames.len());
    assert_eq!(node.port("sink").tx_packets, 5000);
    let (free, all) = node.buffers();
    assert!(free + 64 >= all, "buffers are missing: {free} free of {all}");
}

/// A static bond of two files: every flow is in one of them, whole and in its order, and both have some.
#[test]
fn flows_keep_their_link_of_a_static_bond() {
    require!(root(), shuntd());
    let link = |n| {
        format!(
            "{{ name = \"link{n}\", kind = \"dpdk\", devargs = \"net_pcap_link{n},tx_pcap=DIR/link{n}.out\" }}"
        )
    };
    let members = [0, 1].map(link).join(", ");
    let tail =
        format!("[[port]]\nname = \"out\"\nkind = \"bond\"\nmode = \"static\"\nmembers = [{members}]\n");
    let node = Node::start(&Plan { tail: &tail, ..Plan::default() });
    const FLOWS: u16 = 64;
    let datagram = |n: u16| {
        let mut frame = Frame { dst: B, src: A, ..Frame::plain() };
        if let Body::Ipv4(_, payload) = &mut frame.body {
            let data = n.to_be_bytes().repeat(9);
            *payload = Payload { transport: Transport::Udp(1024 + n % FLOWS, 5000, true), data };
        }
        frame.bytes()
    };
    let frames: Vec<_> = (0..2048).map(datagram).collect();
    play(&node, "in", &frames);
    wait_received(&node, "in", frames.len());
    node.assert_no_loss();
    node.cli("port del out");
    let links = [0, 1].map(|n| capture::read(&node.path(&format!("link{n}.out"))));
    assert_eq!(links[0].len() + links[1].len(), frames.len());
    let of = |frames: &[Vec<u8>], flow: u16| -> Vec<Vec<u8>> {
        let port = (1024 + flow).to_be_bytes();
        frames.iter().filter(|frame| frame[34..36] == port).cloned().collect()
    };
    for flow in 0..FLOWS {
        let sent = of(&frames, flow);
        assert!(links.iter().any(|link| of(link, flow) == sent), "flow {flow} was divided or reordered");
    }
    for link in &links {
        assert!(link.len() > frames.len() / 4, "{} and {}", links[0].len(), links[1].len());
    }
}

/// A bond whose links end where they begin (`net_ring`): it hears itself, says so, and carries nothing.
#[test]
fn a_bond_that_hears_itself_carries_nothing() {
    require!(root(), shuntd());
    // As many rings to read from as to write into: a worker's and the protocol's.
    let tail = "[[port]]\nname = \"loop\"\nkind = \"bond\"\nqueues = 2\nmembers = [\
                { name = \"r0\", kind = \"dpdk\", devargs = \"net_ring0\" }, \
                { name = \"r1\", kind = \"dpdk\", devargs = \"net_ring1\" }]\n";
    let node = Node::launch(&Plan { tail, ..Plan::default() });
    let looped = |bonds: &serde_json::Value| bonds[0]["looped"].as_u64().is_some_and(|count| count > 4);
    node.shuntd.cli_until(&["show", "bonds", "--json"], PATIENCE, looped).unwrap();
    let bond = node.show("bonds")[0].clone();
    assert_eq!((&bond["up"], &bond["changes"]), (&false.into(), &0.into()), "{bond}");
    assert_ne!(bond["system"], "00:00:00:00:00:00", "the driver has no address; the bond needs one");
    play(&node, "in", &[frame(B, A, 60, 0)]);
    wait_received(&node, "in", 1);
    assert_eq!(node.drops().get("loop: link_down"), Some(&1), "{:?}", node.drops());
}
