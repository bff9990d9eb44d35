//! What a learning switch owes its ports, with frames of our own making on veth pods.

mod node;

use std::collections::BTreeSet;
use std::time::Duration;

use node::station::{BROADCAST, SHORTEST, fence};
use node::{Kind, Node, Plan, Station, traffic};
use shunt_tests::require;

const A: &str = "02:00:00:00:aa:01";
const B: &str = "02:00:00:00:aa:02";
const C: &str = "02:00:00:00:aa:03";
const UNKNOWN: &str = "02:00:00:00:aa:ff";
const MULTICAST: &str = "01:00:5e:00:00:05";

const THREE: Plan<'_> = Plan {
    pods: &[Kind::Veth, Kind::Veth, Kind::Veth],
    mtu: 1500,
    keys: "",
    head: node::MEMORY,
    network: "",
    tail: "",
    quiet: true,
};

/// A station on each pod of the plan.
fn stations<const N: usize>(plan: &Plan<'_>) -> (Node, [Station; N]) {
    let node = Node::start(plan);
    let stations = std::array::from_fn(|n| Station::on(&node.pods[n].netns));
    (node, stations)
}

/// Makes the switch learn where `src` is, and waits until it has.
#[track_caller]
fn learn(node: &Node, station: &mut Station, src: &str, port: &str) {
    station.send(BROADCAST, src);
    node.wait_learned(src, &[port]);
    settle(node);
}

/// Waits until no worker can use any topology but the newest.
#[track_caller]
fn settle(node: &Node) {
    let newest = |generations: &serde_json::Value| generations[0]["in_force_us"].is_f64();
    node.shuntd.cli_until(&["show", "generations", "--json"], node::PATIENCE, newest).unwrap();
}

#[test]
fn group_and_unknown_destinations_reach_every_other_port_once() {
    require!(root(), tool("perl"), shuntd());
    let (node, [mut a, mut b, c]) = stations(&THREE);
    for dst in [BROADCAST, MULTICAST, "33:33:00:00:00:01", UNKNOWN] {
        let number = a.send(dst, A);
        fence(&mut a, A, &[&b, &c]);
        fence(&mut b, B, &[&a]);
        assert_eq!((a.times(number), b.times(number), c.times(number)), (0, 1, 1), "{dst}");
    }
    node.assert_no_loss();
}

/// IEEE 802.1Q clause 8.6.3: what is sent to 01-80-C2-00-00-00 to -0F goes no further than the bridge, unless it is told to pass it on.
#[test]
fn frames_of_the_links_own_protocols_go_no_further() {
    require!(root(), tool("perl"), shuntd());
    for (key, passes) in [("", false), ("forward_control = true", true)] {
        let (node, [mut a, b, c]) = stations(&Plan { network: key, ..THREE });
        let numbers: Vec<u32> =
            (0..16).map(|last| a.send(&format!("01:80:c2:00:00:{last:02x}"), A)).collect();
        // The first addresses that are a group's as any other (GMRP, GVRP: clause 10).
        let beyond = a.send("01:80:c2:00:00:20", A);
        fence(&mut a, A, &[&b, &c]);
        let times = usize::from(passes);
        assert!(numbers.iter().all(|number| b.times(*number) == times && c.times(*number) == times), "{key}");
        assert_eq!((b.times(beyond), c.times(beyond)), (1, 1));
        let drops = if passes { 0 } else { 16 };
        assert_eq!(node.drops().get("pod1: link_control").copied().unwrap_or(0), drops, "{key}");
    }
}

#[test]
fn a_learned_address_is_sent_to_its_port_alone() {
    require!(root(), tool("perl"), shuntd());
    let (node, [mut a, mut b, c]) = stations(&THREE);
    learn(&node, &mut b, B, "pod2");
    let number = a.send(B, A);
    fence(&mut a, A, &[&b, &c]);
    assert_eq!((b.times(number), c.times(number)), (1, 0));
    node.assert_no_loss();
}

#[test]
fn nothing_goes_back_where_it_came_from() {
    require!(root(), tool("perl"), shuntd());
    let (node, [mut a, mut b, c]) = stations(&THREE);
    learn(&node, &mut a, A, "pod1");
    let number = a.send(A, B);
    fence(&mut a, A, &[&b, &c]);
    fence(&mut b, C, &[&a]);
    assert_eq!((a.times(number), b.times(number), c.times(number)), (0, 0, 0));
    assert_eq!(node.drops(), [("pod1: same_port".to_owned(), 1)].into());
}

#[test]
fn a_group_address_is_no_source() {
    require!(root(), tool("perl"), shuntd());
    let (node, [mut a, b, c]) = stations(&THREE);
    let numbers = [a.send(BROADCAST, BROADCAST), a.send(UNKNOWN, MULTICAST)];
    fence(&mut a, A, &[&b, &c]);
    assert!(numbers.iter().all(|&number| b.times(number) + c.times(number) == 0));
    assert_eq!(node.drops(), [("pod1: source_is_group".to_owned(), 2)].into());
    assert!(node.learned(MULTICAST).is_empty() && node.learned(BROADCAST).is_empty());
}

#[test]
fn an_address_moves_with_its_traffic() {
    require!(root(), tool("perl"), shuntd());
    let (node, [mut a, mut b, mut c]) = stations(&THREE);
    learn(&node, &mut a, A, "pod1");
    let before = c.send(A, C);
    fence(&mut c, C, &[&a, &b]);
    learn(&node, &mut b, A, "pod2");
    let after = c.send(A, C);
    fence(&mut c, C, &[&a, &b]);
    assert_eq!((a.times(before), b.times(before)), (1, 0));
    assert_eq!((a.times(after), b.times(after)), (0, 1));
    let topology = node.show("topology");
    assert_eq!(topology["networks"][0]["mac_moves"], 1, "{topology}");
}

#[test]
fn a_silent_address_is_forgotten_and_a_talking_one_is_not() {
    require!(root(), tool("perl"), shuntd());
    let (node, [mut a, mut b, c]) = stations(&Plan { network: "mac_ageing = \"2s\"", ..THREE });
    learn(&node, &mut a, A, "pod1");
    learn(&node, &mut b, B, "pod2");
    let deadline = std::time::Instant::now() + node::PATIENCE;
    while !node.learned(B).is_empty() {
        // The table is told of traffic by the workers alone: nothing is learned anew here.
        a.send(UNKNOWN, A);
        assert_eq!(node.learned(A), ["pod1"], "it talks, and was forgotten");
        assert!(std::time::Instant::now() < deadline, "{B} is still known: {}", node.show("fdb"));
    }
    settle(&node);
    let number = a.send(B, A);
    fence(&mut a, A, &[&b, &c]);
    assert_eq!((b.times(number), c.times(number)), (1, 1), "flooded again");
}

#[test]
fn a_given_address_neither_ages_nor_moves() {
    require!(root(), tool("perl"), shuntd());
    let (node, [mut a, mut b, c]) = stations(&Plan {
        pods: &[Kind::Veth, Kind::Veth, Kind::Veth],
        network: "mac_ageing = \"1s\"",
        ..THREE
    });
    let config =
        node.config().replace("device = \"h-pod1\"", &format!("device = \"h-pod1\"\nstations = [\"{A}\"]"));
    node.shuntd.reload(&config).unwrap();
    node.wait_learned(A, &["pod1"]);
    settle(&node);
    b.send(BROADCAST, A);
    // C is learned after that frame and forgotten after its ageing: the given one has had the time to go.
    learn(&node, &mut b, C, "pod2");
    node.wait_learned(C, &[]);
    assert_eq!(node.learned(A), ["pod1"]);
    let mut c = c;
    let number = c.send(A, B);
    fence(&mut c, B, &[&a, &b]);
    assert_eq!((a.times(number), b.times(number)), (1, 0));
    a.send(BROADCAST, A);
}

#[test]
fn a_network_learns_no_more_than_its_limit() {
    require!(root(), tool("perl"), shuntd());
    let (node, [mut a, b, mut c]) = stations(&Plan { network: "mac_limit = 4", ..THREE });
    let mac = |n: u32| format!("02:00:00:00:bb:{n:02x}");
    let numbers: Vec<u32> = (0..10).map(|n| a.send(UNKNOWN, &mac(n))).collect();
    fence(&mut a, &mac(0), &[&b, &c]);
    assert!(
        numbers.iter().all(|&number| b.times(number) == 1),
        "what is not learned is forwarded all the same"
    );
    let full = |topology: &serde_json::Value| {
        let network = &topology["networks"][0];
        network["macs"] == 4 && network["mac_refused"].as_u64().unwrap() >= 6
    };
    node.shuntd.cli_until(&["show", "topology", "--json"], node::PATIENCE, full).unwrap();
    settle(&node);
    // Not learned: flooded.
    let number = c.send(&mac(9), C);
    fence(&mut c, C, &[&a, &b]);
    assert_eq!((a.times(number), b.times(number)), (1, 1));
}

#[test]
fn a_port_learns_no_more_than_its_limit_and_leaves_room_for_others() {
    require!(root(), tool("perl"), shuntd());
    let (node, [mut a, mut b, _c]) = stations(&Plan { keys: "mac_limit = 2\n", ..THREE });
    let mac = |n: u32| format!("02:00:00:00:cc:{n:02x}");
    for n in 0..8 {
        a.send(UNKNOWN, &mac(n));
    }
    fence(&mut a, &mac(0), &[&b]);
    learn(&node, &mut b, B, "pod2");
    let fdb = node.show("fdb");
    let of_a = fdb.as_array().unwrap().iter().filter(|row| row["port"] == "pod1").count();
    assert_eq!(of_a, 2, "{fdb}");
}

#[test]
fn a_port_that_is_down_neither_sends_nor_receives() {
    require!(root(), tool("perl"), shuntd());
    let (node, [mut a, mut b, mut c]) = stations(&THREE);
    learn(&node, &mut b, B, "pod2");
    node.cli("port down pod2");
    settle(&node);
    let to_b = a.send(B, A);
    fence(&mut a, A, &[&c]);
    let from_b = b.send(BROADCAST, B);
    node.wait_port("pod2", "what it sends is counted and dropped", |port| port.drops == 1);
    fence(&mut c, C, &[&a]);
    assert_eq!((b.times(to_b), a.times(from_b), c.times(from_b)), (0, 0, 0));
    assert_eq!(node.drops(), [("pod2: ingress_down".to_owned(), 1)].into());
    assert!(node.learned(B).is_empty(), "an address behind a port that is down is forgotten");
    node.cli("port up pod2");
    settle(&node);
    fence(&mut a, A, &[&b, &c]);
    fence(&mut b, B, &[&a, &c]);
}

#[test]
fn frames_of_every_length_pass_whole_and_longer_ones_are_counted() {
    require!(root(), tool("perl"), shuntd());
    let tail =
        "[[port]]\nname = \"narrow\"\nkind = \"dpdk\"\ndevargs = \"net_null_narrow,no-rx=1\"\nmtu = 1500\n";
    let (node, [mut a, b]) =
        stations::<2>(&Plan { pods: &[Kind::Veth, Kind::Veth], mtu: 9000, tail, ..THREE });
    let lengths: Vec<usize> =
        (SHORTEST..200).chain((200..9014).step_by(173)).chain([1514, 1518, 9013, 9014]).collect();
    let numbers: Vec<u32> = lengths.iter().map(|&length| a.send_long(BROADCAST, A, length)).collect();
    fence(&mut a, A, &[&b]);
    let seen = b.seen();
    for (number, length) in numbers.iter().zip(&lengths) {
        let got: Vec<usize> = seen.iter().filter(|f| f.number == *number).map(|f| f.length).collect();
        assert_eq!(got, [*length]);
    }
    // The port's maximum is its MTU and an Ethernet header with two VLAN tags.
    let too_long = lengths.iter().filter(|&&length| length > 1500 + 14 + 8).count() as u64;
    assert_eq!(node.drops(), [("narrow: too_long".to_owned(), too_long)].into());
    assert_eq!(node.port("narrow").tx_packets, lengths.len() as u64 + 1 - too_long);
}

/// Frames a second that each port may have flooded.
const FLOODS: u32 = 50;

#[test]
fn a_storm_is_cut_to_its_limit_and_harms_nobody_else() {
    require!(root(), tool("perl"), shuntd());
    let network = &format!("storm_limit = {FLOODS}");
    let (node, [mut a, mut b, mut c]) = stations(&Plan { network, ..THREE });
    learn(&node, &mut b, B, "pod2");
    let started = std::time::Instant::now();
    let (mut sent, mut passed) = (0, 0);
    for dst in [BROADCAST, MULTICAST, UNKNOWN] {
        let before = node.drops().get("pod1: storm_limit").copied().unwrap_or(0);
        // All but the first are of one cached flow each.
        let both: Vec<(u32, u32)> = (0..500).map(|_| (a.send(dst, A), a.send(B, A))).collect();
        b.wait(both[499].1);
        // What came to B of this kind, and all of it to C.
        fence(&mut b, B, &[&c]);
        let at = |station: &Station| -> BTreeSet<u32> { station.seen().iter().map(|it| it.number).collect() };
        let (at_b, at_c) = (at(&b), at(&c));
        let flooded = |at: &BTreeSet<u32>| both.iter().filter(|(flood, _)| at.contains(flood)).count() as u64;
        assert!(both.iter().all(|(_, one)| at_b.contains(one)), "unicast is no storm");
        assert_eq!(flooded(&at_b), flooded(&at_c));
        sent += both.len() as u64;
        passed += flooded(&at_b);
        let dropped = node.drops()["pod1: storm_limit"];
        assert!(dropped > before, "{dst}");
        assert_eq!(passed + dropped, sent, "what is not dropped arrives");
        // What the bucket held, and what has come into it since.
        let most = f64::from(FLOODS) * (1.0 + started.elapsed().as_secs_f64());
        assert!(passed as f64 <= most + 1.0, "{passed} of {sent} passed, {most} may");
    }
    assert!(passed >= u64::from(FLOODS), "{passed} passed");
    let others: Vec<u32> = (0..FLOODS).map(|_| c.send(BROADCAST, C)).collect();
    a.wait(others[others.len() - 1]);
    b.wait(others[others.len() - 1]);
    assert!(others.iter().all(|&number| (a.times(number), b.times(number)) == (1, 1)));
    assert_eq!(node.drops().len(), 1, "{:?}", node.drops());
}

#[test]
fn networks_with_the_same_addresses_do_not_meet() {
    require!(root(), tool("perl"), shuntd());
    // Pods 1 and 2 stay in `default`; 3 and 4 are in `blue`, with the addresses of 1 and 2.
    let node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Veth], ..THREE });
    let twin = |n: u8| {
        let mut pod = node::Pod::new(Kind::Tap, n, 1500, true, &node.netns);
        pod.v4 = format!("10.0.0.{}", n - 2);
        pod
    };
    let twins = [twin(3), twin(4)];
    let mut config = node.config().to_owned() + "[[network]]\nname = \"blue\"\n";
    for pod in &twins {
        config += &format!(
            "[[port]]\nname = \"{}\"\nkind = \"tap\"\nnetwork = \"blue\"\ndevice = \"eth0\"\nnetns = \"{}\"\n\
             addresses = [\"{}/24\"]\n",
            pod.port,
            pod.netns.name(),
            pod.v4
        );
    }
    node.shuntd.reload(&config).unwrap();
    node.wait_ports("the new network's ports are open", |ports| {
        ports.len() == 4 && ports.values().all(|port| port.oper_up)
    });
    settle(&node);
    for [a, b] in [[&node.pods[0], &node.pods[1]], [&twins[0], &twins[1]]] {
        for (from, to) in [(a, b), (b, a)] {
            let ping = shunt_tests::Ping { count: 20, ..shunt_tests::Ping::to(&to.v4) };
            assert_eq!(ping.run(&from.netns).unwrap().received, 20, "{}", from.port);
        }
    }
    let (mut a, mut other) = (Station::on(&node.pods[0].netns), Station::on(&twins[0].netns));
    let (b, far) = (Station::on(&node.pods[1].netns), Station::on(&twins[1].netns));
    let number = a.send(BROADCAST, A);
    fence(&mut a, A, &[&b]);
    fence(&mut other, A, &[&far]);
    assert_eq!((b.times(number), other.times(number), far.times(number)), (1, 0, 0));
    node.shuntd
        .cli_until(&["show", "fdb", "--json"], node::PATIENCE, |fdb| {
            let rows = fdb.as_array().unwrap().iter().filter(|row| row["mac"] == A);
            let mut of: Vec<String> = rows.map(|row| format!("{} {}", row["network"], row["port"])).collect();
            of.sort();
            of == ["\"blue\" \"pod3\"", "\"default\" \"pod1\""]
        })
        .unwrap();
}

#[test]
fn a_port_that_changes_its_network_is_cut_off_from_the_old_one() {
    require!(root(), tool("perl"), shuntd());
    let (node, [mut a, mut b, c]) = stations(&Plan { tail: "[[network]]\nname = \"blue\"\n", ..THREE });
    learn(&node, &mut b, B, "pod2");
    let config = node.config().replace("device = \"h-pod2\"", "device = \"h-pod2\"\nnetwork = \"blue\"");
    node.shuntd.reload(&config).unwrap();
    node.shuntd
        .cli_until(&["show", "ports", "--json"], node::PATIENCE, |ports| {
            ports.as_array().unwrap().iter().any(|port| port["name"] == "pod2" && port["network"] == "blue")
        })
        .unwrap();
    settle(&node);
    let numbers = [a.send(B, A), a.send(BROADCAST, A)];
    fence(&mut a, A, &[&c]);
    assert!(c.comes(numbers[0], Duration::ZERO), "the address is unknown in the old network: flooded");
    b.send(BROADCAST, B);
    node.wait_port("pod2", "alone in its network", |port| port.drops == 1);
    assert!(numbers.iter().all(|&number| b.times(number) == 0));
    assert_eq!(node.drops(), [("pod2: no_receiver".to_owned(), 1)].into());
}

#[test]
fn pods_of_many_kinds_are_one_network() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let node =
        Node::start(&Plan { pods: &[Kind::Veth, Kind::Tap, Kind::Tun, Kind::Veth], ..Plan::default() });
    for a in 0..node.pods.len() {
        for b in 0..a {
            let (a, b) = (&node.pods[a], &node.pods[b]);
            let both = traffic::meet(a, b).and_then(|()| traffic::ping(a, b, 10, 1400));
            both.unwrap_or_else(|error| panic!("{error}, {:?}, {}", node.drops(), node.show("fdb")));
        }
    }
}
