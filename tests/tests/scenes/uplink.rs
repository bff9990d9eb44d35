//! Reference 002's `bond0`: two links to a physical switch that speaks LACP, under overlay traffic.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use shunt_tests::iperf::Tcp;
use shunt_tests::ovs::DAEMON;
use shunt_tests::scene::Scene;
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Cmd, Iperf, Wire, outage, require};

const MEMBERS: [&str; 2] = ["ens5f0np0", "ens7f0np0"];
/// The pod that sends, and its port.
const FROM: (&str, &str) = ("pod-9-60", "upvx4279f78e5dc");
const TO: &str = "10.20.6.10";
/// What a link that both sides see go down may cost.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Each member of node1's bond with what `shunt show bonds` says of it.
#[track_caller]
fn members(scene: &Scene) -> Vec<Value> {
    let bonds = scene.node("node1").shuntd.cli(&["show", "bonds", "--json"]).unwrap();
    bonds[0]["members"].as_array().cloned().unwrap()
}

/// The member that a trace says a UDP datagram from that port takes, with the step that says it.
#[track_caller]
fn traced(scene: &Scene, port: u16) -> (String, String) {
    let packet = format!("ip4.src==10.20.9.60 && ip4.dst=={TO} && udp.src=={port} && udp.dst==9");
    let words = ["trace", "--in", FROM.1, &packet, "--json"];
    let traced = scene.node("node1").shuntd.cli(&words).unwrap();
    let step = traced["steps"][8].as_str().unwrap_or_default().to_owned();
    (traced["outputs"][0]["member"].as_str().unwrap_or_default().to_owned(), step)
}

/// A datagram of the pod in VXLAN, from that port: outer headers of 50 bytes, inner ones of 34.
fn is_from(frame: &[u8], port: u16) -> bool {
    frame.get(36..38) == Some(&[0x12, 0xb5]) && frame.get(84..86) == Some(&port.to_be_bytes())
}

/// The member that `shunt trace` names in step 9 is the link over which the packet comes to the physical switch.
#[test]
fn a_trace_names_the_link_that_a_packet_takes() {
    require!(root(), tool("ethtool"), tool("perl"), file(DAEMON), file("/dev/net/tun"), shuntd());
    let scene = super::up("production");
    let fabric = scene.fabric().unwrap().netns();
    let wires = MEMBERS.map(|member| Wire::on(fabric, &format!("node1.{member}")).unwrap());
    let mut used = BTreeSet::new();
    for port in 40_000..40_012_u16 {
        let (member, step) = traced(&scene, port);
        assert_eq!(step, format!("bond: the layer3+4 hash of the outer headers chooses {member} of bond0"));
        let send = "use IO::Socket::INET; IO::Socket::INET->new(Proto => 'udp', LocalPort => $ARGV[0], \
                    PeerAddr => $ARGV[1], PeerPort => 9)->send('x') or die";
        Cmd::new(["perl", "-e", send, &port.to_string(), TO]).within(scene.place(FROM.0)).check().unwrap();
        let at = MEMBERS.iter().position(|it| *it == member).unwrap_or_else(|| panic!("no member: {member}"));
        let there = wires[at].wait(PATIENCE, |frame| is_from(frame, port));
        there.unwrap_or_else(|error| panic!("{port} by {member}: {error}\n{}", scene.state()));
        assert!(!wires[1 - at].seen().iter().any(|frame| is_from(frame, port)), "{port} by both");
        used.insert(member);
    }
    assert_eq!(used.len(), 2, "all took one link");
}

/// A link of the bond fails under overlay traffic: connections go on over the other one, and come back.
#[test]
fn a_link_of_the_uplink_fails_and_connections_go_on() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    let scene = super::up("production");
    let (pod, switch) = (scene.place(FROM.0), scene.fabric().unwrap().netns());
    let set = |member: &str, state: &str| {
        switch.exec(&["ip", "link", "set", "dev", &format!("node1.{member}"), state]).unwrap();
    };
    let sent = |member: usize| members(&scene)[member]["tx_packets"].as_u64().unwrap();
    let mut iperf = Iperf::serve(scene.place("pod-6-10"), TO).unwrap();
    for (at, member) in MEMBERS.into_iter().enumerate() {
        thread::scope(|scope| {
            let load = scope.spawn(|| iperf.tcp(pod, &Tcp { seconds: 6, streams: 8, reverse: false }));
            let mut before = 0;
            let (lost, doubled) = outage(pod, TO, Duration::from_secs(4), || {
                set(member, "down");
                before = sent(1 - at);
            })
            .unwrap();
            assert!(lost < AT_ONCE, "{member}: {lost:?} without an answer\n{}", scene.state());
            assert_eq!(doubled, 0, "{member}");
            assert_eq!(members(&scene)[at]["distributing"], false, "{member}");
            assert!(sent(1 - at) > before + 1_000, "{member}: the other link carries no load");
            // Every connection lived to the end of the load, or iperf3 says which did not.
            let tcp = load.join().unwrap().unwrap();
            assert!(tcp.bytes > 10_000_000, "{member}: {tcp:?}\n{}", scene.state());
        });
        set(member, "up");
        let carry = |bonds: &Value| {
            let members = bonds[0]["members"].as_array();
            members.is_some_and(|members| members.iter().all(|member| member["distributing"] == true))
        };
        scene.node("node1").shuntd.cli_until(&["show", "bonds", "--json"], PATIENCE, carry).unwrap();
        scene.fabric().unwrap().until_agreed().unwrap();
    }
}
