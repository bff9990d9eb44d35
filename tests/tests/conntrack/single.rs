//! Single frames made by hand: what comes to a closed network from outside, segments that are not due.

use shunt_tests::frames::{Payload, Transport};
use shunt_tests::require;
use shunt_tests::scene::build::PATIENCE;

use crate::crafted::{CONFIG, FAR, Node, POD, ROUTER, WORLD, Who, vxlan};

/// A short datagram; it is told by its source port.
pub(crate) fn short(from: Who, to: Who, ports: (u16, u16), v6: bool) -> Vec<u8> {
    from.frame(to, Payload { transport: Transport::Udp(ports.0, ports.1, true), data: vec![0; 30] }, v6)
}

/// The frame, or the one inside a tunnel packet, is that of `short`.
pub(crate) fn is_short(frame: &[u8], port: u16, v6: bool) -> bool {
    let header = if v6 { 54 } else { 34 };
    let at = |start: usize| frame.get(start..start + 2) == Some(&port.to_be_bytes()[..]);
    at(header) || at(50 + header)
}

#[test]
fn external_to_overlay_pod() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    for v6 in [false, true] {
        let mut node = Node::start();
        let short = |from, to, port| short(from, to, (port, 53), v6);
        let is_short = |frame: &[u8], port| is_short(frame, port, v6);
        // Nobody outside begins with a pod of the overlay, whose addresses are nobody's business there.
        node.world.send(&short(WORLD, FAR, 1001)).unwrap();
        node.waits_for_drops("world", "overlay_not_reachable", 1);
        // A masqueraded network that is no overlay is open unless it says otherwise; and within the masqueraded ones all talk.
        node.world.send(&short(WORLD, POD, 1002)).unwrap();
        node.pod.wait(PATIENCE, |frame| is_short(frame, 1002)).unwrap();
        node.pod.send(&short(POD, FAR, 1003)).unwrap();
        node.uplink.wait(PATIENCE, |frame| is_short(frame, 1003)).unwrap();
        // What the pod of the overlay has asked for gets through to it.
        node.uplink.send(&vxlan(&short(FAR, WORLD, 2004))).unwrap();
        node.world.wait(PATIENCE, |frame| is_short(frame, 2004)).unwrap();
        node.world.send(&self::short(WORLD, ROUTER, (53, 2004), v6)).unwrap();
        node.uplink.wait(PATIENCE, |frame| is_short(frame, 53)).unwrap();
        assert!(node.uplink.seen().iter().all(|frame| !is_short(frame, 1001)));
        // Closed and opened by configuration.
        let closed = CONFIG.replacen("name = \"inside\"\n", "name = \"inside\"\nclosed = true\n", 1);
        let closed = closed.replacen("name = \"blue\"\n", "name = \"blue\"\nclosed = false\n", 1);
        let file = node.shuntd.dir().join("closed.toml");
        std::fs::write(&file, closed).unwrap();
        node.shuntd.cli_text(&["apply", &file.to_string_lossy()]).unwrap();
        node.world.send(&short(WORLD, POD, 1002)).unwrap();
        node.waits_for_drops("world", "overlay_not_reachable", 2);
        node.world.send(&short(WORLD, FAR, 1001)).unwrap();
        node.uplink.wait(PATIENCE, |frame| is_short(frame, 1001)).unwrap();
    }
}

/// A TCP segment with these flags, and nothing in it.
pub(crate) fn segment(from: Who, to: Who, ports: (u16, u16), flags: u8, v6: bool) -> Vec<u8> {
    from.frame(to, Payload { transport: Transport::Tcp(ports.0, ports.1, flags, 0), data: vec![] }, v6)
}

#[test]
fn invalid() {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    for v6 in [false, true] {
        let mut node = Node::with(&format!("[connections]\ntcp_loose = false\n{CONFIG}"));
        let (family, protocol, header) = if v6 { ([0x86, 0xdd], 20, 54) } else { ([8, 0], 23, 34) };
        let is_tcp = move |frame: &[u8]| frame[12..14] == family && frame[protocol] == 6;
        let is = |flags: u8| move |frame: &[u8]| is_tcp(frame) && frame[header + 13] == flags;
        // No first segments, nor flags that a sound sender sets together.
        for (flags, wanted) in
            [SYN | ACK, FIN | ACK, RST, RST | ACK, ACK, 0, SYN | FIN, SYN | RST].into_iter().zip(1..)
        {
            node.pod.send(&segment(POD, WORLD, (5000, 80), flags, v6)).unwrap();
            node.waits_for_drops("pod", "invalid_state", wanted);
        }
        assert_eq!(node.shuntd.cli_text(&["conntrack", "-C"]).unwrap().trim(), "0");
        // A first one; a reset and an answer that do not acknowledge it come from who has not seen it.
        node.pod.send(&segment(POD, WORLD, (5000, 80), SYN, v6)).unwrap();
        node.world.wait(PATIENCE, is(SYN)).unwrap();
        for (flags, wanted) in [RST, SYN | ACK].into_iter().zip(1..) {
            node.world.send(&segment(WORLD, ROUTER, (80, 5000), flags, v6)).unwrap();
            node.waits_for_drops("world", "invalid_state", wanted);
        }
        let list = node.shuntd.cli_text(&["conntrack", "-L"]).unwrap();
        assert!(list.lines().count() == 1 && list.contains(" SYN_SENT "), "{list}");
        assert!(!node.pod.seen().iter().any(|frame| is_tcp(frame)));
    }
}
