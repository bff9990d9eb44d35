//! `shunt tcpdump -i any -w -` into a pipe: what comes out of it while the capture goes on, as `wireshark -k -i -` reads it.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use pcap_file::pcapng::{Block, PcapNgReader};
use shunt_tests::frames::{Body, Frame, Payload, Transport};
use shunt_tests::{Cmd, Wire, require, shuntd};

use super::node::{Kind, Node, PATIENCE, Plan};

const FRAMES: u8 = 8;
/// In by one port, out by the other.
const TIMES: usize = 2;

/// A datagram that carries its number.
fn numbered(n: u8, dst: [u8; 6]) -> Vec<u8> {
    let Frame { body: Body::Ipv4(ip, _), .. } = Frame::plain() else { unreachable!("it is IPv4") };
    let payload = Payload { transport: Transport::Udp(4000, 5000, true), data: vec![n; 18] };
    Frame { dst, body: Body::Ipv4(ip, payload), ..Frame::plain() }.bytes()
}

/// Numbers of the datagrams in a capture that may be cut off anywhere.
fn numbers(capture: &[u8]) -> Vec<u8> {
    let Ok(mut reader) = PcapNgReader::new(capture) else { return Vec::new() };
    let mut found = Vec::new();
    while let Some(Ok(block)) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block {
            found.extend(packet.data.last());
        }
    }
    found
}

/// The program, and what it writes as it writes it.
fn capture(node: &Node, words: &[&str]) -> (Child, Receiver<Vec<u8>>) {
    let mut child = Command::new(shuntd::binary("shunt").unwrap())
        .arg("--socket")
        .arg(node.shuntd.socket())
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    // One line: from then on frames are copied.
    let mut said = Vec::new();
    while !said.ends_with(b"\n") {
        let mut byte = [0];
        errors.read_exact(&mut byte).expect("it listens");
        said.extend(byte);
    }
    child.stderr = Some(errors);
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = out.read(&mut buffer) {
            if send.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    (child, receive)
}

#[test]
fn frames_come_out_of_the_pipe_one_by_one() {
    require!(root(), tool("tcpdump"), tool("perl"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth; 2], quiet: true, ..Plan::default() });
    // Nobody has it: to all others, which is one.
    let nobody = [2, 0, 0, 0, 0, 0x77];
    let mut wire = Wire::on(&node.pods[0].netns, "eth0").unwrap();
    let count = (usize::from(FRAMES) * TIMES).to_string();
    let (mut child, pipe) = capture(&node, &["tcpdump", "-i", "any", "-c", &count, "-w", "-", "udp"]);
    let mut all = Vec::new();
    for n in 1..=FRAMES {
        wire.send(&numbered(n, nobody)).unwrap();
        // Nothing else is sent before it is there, whole.
        let deadline = Instant::now() + PATIENCE;
        let wanted: Vec<u8> = (1..=n).flat_map(|n| [n; TIMES]).collect();
        while numbers(&all) != wanted {
            let left = deadline.saturating_duration_since(Instant::now());
            match pipe.recv_timeout(left) {
                Ok(chunk) => all.extend(chunk),
                Err(error) => panic!("frame {n} is not in the pipe: {error}: {:?}", numbers(&all)),
            }
        }
    }
    assert!(child.wait().unwrap().success());

    // A reader of pcapng that is not ours, at the other end of a shell's pipe.
    let shunt = shuntd::binary("shunt").unwrap();
    let line = format!(
        "{} --socket {} tcpdump -i any -w - udp | tcpdump -r - -nn -l -x",
        shunt.display(),
        node.shuntd.socket().display()
    );
    let mut both = Cmd::new(["sh", "-c", &line]).spawn().unwrap();
    both.stderr().wait_for("listening on", 0, PATIENCE).unwrap();
    for n in 1..=FRAMES {
        let from = both.stdout().position();
        wire.send(&numbered(n, nobody)).unwrap();
        let bytes = format!("{n:02x}{n:02x} {n:02x}{n:02x}\n");
        both.expect(&bytes, from, PATIENCE).unwrap();
    }
    both.kill();
}
