//! Limits end to end, by hand-made frames: who has as many as he may is refused by name, and another goes on.

use shunt_tests::frames::{Payload, Transport};
use shunt_tests::require;
use shunt_tests::scene::build::PATIENCE;

use crate::crafted::{CONFIG, Node, POD, ROUTER, TAGGED, WORLD, Who, address};
use crate::crafted::{asks_for_gateway, solicits_gateway, tagged, untagged};
use crate::single::{is_short, segment, short};

const SYN: u8 = 2;

/// A node with these limits that knows the station behind the trunk.
#[track_caller]
fn with(limits: &str) -> Node {
    let mut node = Node::with(&format!("[connections]\n{limits}{CONFIG}"));
    for (asks, family) in [(asks_for_gateway(TAGGED), [8, 6]), (solicits_gateway(TAGGED), [0x86, 0xdd])] {
        node.trunk.send(&tagged(&asks)).unwrap();
        let answers = |frame: &[u8]| untagged(frame).is_some_and(|frame| frame[12..14] == family);
        node.trunk.wait(PATIENCE, answers).unwrap();
    }
    node
}

/// First segments from these ports; behind the trunk they have a tag.
#[track_caller]
fn opens(node: &mut Node, who: Who, ports: std::ops::Range<u16>, v6: bool) {
    for port in ports {
        let first = segment(who, WORLD, (port, 80), SYN, v6);
        match who.subnet == TAGGED.subnet {
            true => node.trunk.send(&tagged(&first)).unwrap(),
            false => node.pod.send(&first).unwrap(),
        }
    }
}

/// Waits until the first segment from that port has come.
#[track_caller]
fn comes(node: &Node, port: u16, v6: bool) {
    let (family, header) = if v6 { ([0x86, 0xdd], 54) } else { ([8, 0], 34) };
    let is = |frame: &[u8]| {
        frame[12..14] == family && frame.get(header..header + 2) == Some(&port.to_be_bytes()[..])
    };
    node.world.wait(PATIENCE, is).unwrap();
}

fn held(node: &Node, filter: &str) -> usize {
    let words: Vec<&str> = ["conntrack", "-L"].into_iter().chain(filter.split_whitespace()).collect();
    node.shuntd.cli_text(&words).unwrap().lines().count()
}

#[test]
fn handshakes_of_one_source() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let mut node = with("per_source_half_open = 5\n");
    // A source is an address: a pod with two has as much by each.
    for (v6, refused) in [(false, 3), (true, 6)] {
        opens(&mut node, POD, 5000..5008, v6);
        node.waits_for_drops("pod", "connection_limit", refused);
        comes(&node, 5004, v6);
        assert_eq!(held(&node, "-p tcp"), if v6 { 5 + 3 + 1 + 5 } else { 5 });
        // Another one goes on, and so does what is no handshake.
        opens(&mut node, TAGGED, 6000..6003, v6);
        comes(&node, 6002, v6);
        node.pod.send(&short(POD, WORLD, (7000, 53), v6)).unwrap();
        node.world.wait(PATIENCE, |frame| is_short(frame, 7000, v6)).unwrap();
        // Where one is over there is room for one.
        assert_eq!(
            node.shuntd.cli_text(&["conntrack", "-D", "-s", &text(POD, v6), "--sport", "5000"]).unwrap(),
            "1 connections have been ended.\n"
        );
        opens(&mut node, POD, 5010..5011, v6);
        comes(&node, 5010, v6);
        node.waits_for_drops("pod", "connection_limit", refused);
        opens(&mut node, TAGGED, 6003..6004, v6);
        comes(&node, 6003, v6);
    }
    assert_eq!(dropped(&node, "trunk"), 0);
}

/// The text of an address.
fn text(who: Who, v6: bool) -> String {
    let bytes = address(who, v6);
    match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(v4) => std::net::Ipv4Addr::from(v4).to_string(),
        Err(_) => std::net::Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).unwrap()).to_string(),
    }
}

/// Frames of a port that were dropped, whatever for.
fn dropped(node: &Node, port: &str) -> u64 {
    let drops = node.shuntd.cli(&["show", "drops", "--json"]).unwrap();
    let ours = drops.as_array().into_iter().flatten().filter(|row| row["port"] == port);
    ours.filter_map(|row| row["count"].as_u64()).sum()
}

/// The zone's own limit is for all of it; with one for each source below it nobody takes it all.
#[test]
fn handshakes_of_a_zone() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    for v6 in [false, true] {
        let mut node = with("per_zone_half_open = 6\nper_source_half_open = 4\n");
        opens(&mut node, POD, 5000..5008, v6);
        node.waits_for_drops("pod", "connection_limit", 4);
        opens(&mut node, TAGGED, 6000..6004, v6);
        node.waits_for_drops("trunk", "connection_zone", 2);
        comes(&node, 6001, v6);
        assert_eq!(held(&node, "-p tcp"), 6);
        let statistics = node.shuntd.cli_text(&["conntrack", "-S"]).unwrap();
        assert!(statistics.contains("router=r entries=6 half_open=6"), "{statistics}");
        // What is no handshake is not concerned.
        node.pod.send(&short(POD, WORLD, (7000, 53), v6)).unwrap();
        node.world.wait(PATIENCE, |frame| is_short(frame, 7000, v6)).unwrap();
    }
}

/// More sources than there is room for, each with a few: what is answered goes on, and there is room again soon.
#[test]
fn connections_full() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    for v6 in [false, true] {
        let mut node = with("capacity = 1024\n");
        let answer = |number: u8| {
            let data = vec![number; 30];
            WORLD.frame(ROUTER, Payload { transport: Transport::Udp(53, 7000, true), data }, v6)
        };
        let is = |number: u8| move |frame: &[u8]| is_short(frame, 53, v6) && frame.last() == Some(&number);
        node.pod.send(&short(POD, WORLD, (7000, 53), v6)).unwrap();
        node.world.wait(PATIENCE, |frame| is_short(frame, 7000, v6)).unwrap();
        node.world.send(&answer(1)).unwrap();
        node.pod.wait(PATIENCE, is(1)).unwrap();
        let refused = || {
            let drops = node.shuntd.cli(&["show", "drops", "--json"]).unwrap();
            crate::wires::dropped(&drops, "pod", "connections_full")
        };
        // Each of two hundred has eight at most; what is not answered is forgotten soon when it is tight.
        'full: for round in 0..20_u16 {
            for last in 2..=201 {
                for port in 0..8 {
                    let who = Who { last, ..POD };
                    node.pod.send(&short(who, WORLD, (8000 + 8 * round + port, 53), v6)).unwrap();
                }
                if last % 20 == 1 && refused() > 0 {
                    break 'full;
                }
            }
        }
        assert!(refused() > 0, "{}", node.shuntd.cli_text(&["conntrack", "-S"]).unwrap());
        node.world.send(&answer(2)).unwrap();
        node.pod.wait(PATIENCE, is(2)).unwrap();
        let room = |shown: &serde_json::Value| shown["connections"]["entries"].as_u64() < Some(1000);
        node.shuntd.cli_until(&["show", "topology", "--json"], PATIENCE, room).unwrap();
        node.pod.send(&short(POD, WORLD, (7001, 53), v6)).unwrap();
        node.world.wait(PATIENCE, |frame| is_short(frame, 7001, v6)).unwrap();
    }
}
