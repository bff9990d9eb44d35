//! Devices that go away under traffic: the port is down and counted, the others do not notice, and its return brings it back.

mod node;

use std::time::{Duration, Instant};

use node::disturb::{load, undisturbed};
use node::{Kind, Node, PATIENCE, Plan, Pod, traffic};
use shunt_tests::testpmd::{self, Forward};
use shunt_tests::{Netns, Ping, Testpmd, require};

const THREE_VETH: &[Kind] = &[Kind::Veth, Kind::Veth, Kind::Veth];

#[test]
fn a_pod_that_is_deleted_and_made_again() {
    require!(root(), shuntd());
    let mut node = Node::start(&Plan { pods: THREE_VETH, ..Plan::default() });
    let _load = load(&node, "10.0.0.3");
    let mut third = node.pods.pop().unwrap();
    undisturbed(&node, 2000, |node| {
        // The namespace takes its end with it, and the kernel removes the host's end.
        third.netns = Netns::new().unwrap();
        node.wait_port("pod3", "is down", |port| !port.oper_up && port.deaths == 1);
        third.plug(1500, false, &node.netns);
        node.wait_port("pod3", "is back", |port| port.oper_up && port.link);
    });
    traffic::ping(&node.pods[0], &third, 20, 1400).unwrap();
    assert_eq!(node.port("pod3").deaths, 1);
    node.pods.push(third);
}

#[test]
fn an_interface_that_is_taken_down_and_up() {
    require!(root(), shuntd());
    let node = Node::start(&Plan { pods: THREE_VETH, ..Plan::default() });
    undisturbed(&node, 1000, |node| {
        let veth = node.pods[2].veth.as_ref().unwrap();
        for _ in 0..5 {
            veth.set_up(false).unwrap();
            node.wait_port("pod3", "has no carrier", |port| !port.link || !port.oper_up);
            veth.set_up(true).unwrap();
            node.wait_port("pod3", "has it back", |port| port.link && port.oper_up);
        }
    });
    traffic::ping(&node.pods[0], &node.pods[2], 20, 1400).unwrap();
}

#[test]
fn a_pod_whose_own_end_is_taken_down_and_up() {
    require!(root(), shuntd());
    let node = Node::start(&Plan { pods: THREE_VETH, ..Plan::default() });
    let third = &node.pods[2];
    undisturbed(&node, 1000, |node| {
        for _ in 0..5 {
            third.netns.exec(&["ip", "link", "set", "dev", "eth0", "down"]).unwrap();
            node.wait_port("pod3", "has no carrier", |port| !port.link);
            third.netns.exec(&["ip", "link", "set", "dev", "eth0", "up"]).unwrap();
            node.wait_port("pod3", "has it back", |port| port.link && port.oper_up);
        }
    });
    let answers = Ping { count: 10, ..Ping::to(&third.v4) }.run(&node.pods[0].netns).unwrap();
    assert_eq!(answers.received, 10);
    assert_eq!(node.port("pod3").deaths, 0, "the device was there all the time");
}

/// A pod whose device the daemon has made is deleted, and a namespace of the same name made again.
fn made_device(kind: Kind) {
    let mut node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Veth, kind], ..Plan::default() });
    let _load = load(&node, "10.0.0.3");
    let third = node.pods.pop().unwrap();
    let (v4, port, name) = (third.v4.clone(), third.port.clone(), third.netns.name().to_owned());
    undisturbed(&node, 2000, |node| {
        drop(third);
        node.wait_port(&port, "is down", |port| !port.oper_up && port.deaths == 1);
        shunt_tests::Cmd::new(["ip", "netns", "add", &name]).check().unwrap();
        node.wait_port(&port, "is back", |port| port.oper_up);
    });
    let inside =
        ["ip", "netns", "exec", &name, "ping", "-n", "-c", "20", "-i", "0.01", "-W", "2", "10.0.0.1"];
    // The first packet of a tun port gives way to the question for its neighbour.
    shunt_tests::Cmd::new(inside[..4].iter().copied().chain(["ping", "-c", "1", "-W", "1", "10.0.0.1"]))
        .run()
        .unwrap();
    let answers = shunt_tests::Cmd::new(inside).run();
    shunt_tests::Cmd::new(["ip", "netns", "del", &name]).check().unwrap();
    let answers = answers.unwrap().stdout;
    assert!(answers.contains("20 packets transmitted, 20 received"), "from {v4}: {answers}");
}

#[test]
fn a_tap_pod_that_is_deleted_and_made_again() {
    require!(root(), file("/dev/net/tun"), shuntd());
    made_device(Kind::Tap);
}

#[test]
fn a_tun_pod_that_is_deleted_and_made_again() {
    require!(root(), file("/dev/net/tun"), shuntd());
    made_device(Kind::Tun);
}

fn guest(node: &Node) -> Testpmd {
    let vdev = testpmd::virtio_user(0, &node.path("vm"), "02:00:00:00:00:33", 1, false);
    let mut guest = Testpmd::launch(&testpmd::Options { vdevs: vec![vdev], ..Default::default() }).unwrap();
    guest.start(Forward::IcmpEcho).unwrap();
    guest
}

#[test]
fn a_guest_that_is_killed_and_started_again() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    let tail = "[[port]]\nname = \"vm\"\nkind = \"vhost-user\"\npath = \"DIR/vm\"\n";
    let node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Veth], tail, ..Plan::default() });
    let _load = load(&node, "10.0.0.3");
    let mut first = guest(&node);
    node.wait_port("vm", "the guest is attached", |port| port.link);
    let mut second = None;
    undisturbed(&node, 2000, |node| {
        first.running().kill();
        node.wait_port("vm", "the guest's end is seen", |port| !port.link);
        second = Some(guest(node));
        node.wait_port("vm", "the next guest is attached", |port| port.link);
    });
    let answers = Ping { count: 20, ..Ping::to("10.0.0.44") }.run(&node.pods[0].netns).unwrap();
    assert_eq!(answers.received, 20, "{answers:?}");
}

/// Removes the socket file of port `vm` while nobody is attached: it is counted, and made again without being asked.
#[track_caller]
fn remove_socket(node: &Node, deaths: u64) {
    std::fs::remove_file(node.path("vm")).unwrap();
    node.wait_port("vm", "is back", |port| port.deaths == deaths && port.oper_up);
    assert!(node.path("vm").exists());
}

#[test]
fn a_socket_file_that_is_removed_is_made_again() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    let tail = "[[port]]\nname = \"vm\"\nkind = \"vhost-user\"\npath = \"DIR/vm\"\n";
    let node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Veth], tail, ..Plan::default() });
    undisturbed(&node, 3000, |node| {
        remove_socket(node, 1);
        let mut first = guest(node);
        node.wait_port("vm", "the guest is attached", |port| port.link);
        // A guest that is attached needs the file no more, and is left alone; the next one does.
        std::fs::remove_file(node.path("vm")).unwrap();
        let answers = Ping { count: 100, interval_ms: 10, ..Ping::to("10.0.0.44") };
        assert_eq!(answers.run(&node.pods[0].netns).unwrap().received, 100);
        let port = node.port("vm");
        assert!((port.link, port.deaths) == (true, 1) && !node.path("vm").exists(), "{port:?}");
        first.running().kill();
        node.wait_port("vm", "is back", |port| port.deaths == 2 && port.oper_up && !port.link);
    });
    let _second = guest(&node);
    node.wait_port("vm", "the next guest is attached", |port| port.link);
    let answers = Ping { count: 20, ..Ping::to("10.0.0.44") }.run(&node.pods[0].netns).unwrap();
    assert_eq!(answers.received, 20, "{answers:?}");
}

/// The name is somebody else's now: the port is down and says why, and the other's file stays.
#[test]
fn a_socket_file_that_another_has_taken_stays_his() {
    require!(root(), shuntd());
    let tail = "[[port]]\nname = \"vm\"\nkind = \"vhost-user\"\npath = \"DIR/vm\"\n";
    let node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Veth], tail, ..Plan::default() });
    let path = node.path("vm");
    let next = node.path("next");
    let other = std::os::unix::net::UnixListener::bind(&next).unwrap();
    std::fs::rename(&next, &path).unwrap();
    node.wait_port("vm", "is down", |port| !port.oper_up && port.about.contains("busy"));
    assert_eq!(node.port("vm").deaths, 1);
    assert!(path.exists(), "the other's socket was removed");
    drop(other);
    // Nobody listens there any more: it is taken over.
    node.wait_port("vm", "is back", |port| port.oper_up);
}

/// Two memif ports share one socket file, which the driver makes again only when neither has the old one.
#[test]
fn a_shared_memif_socket_file_that_is_removed_is_made_again() {
    require!(root(), tool("dpdk-testpmd"), shuntd());
    let port = |name: &str, id: u32| {
        format!("[[port]]\nname = \"{name}\"\nkind = \"memif\"\npath = \"DIR/vm\"\nid = {id}\n")
    };
    let tail = port("vm", 0) + &port("other", 1);
    let node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Veth], tail: &tail, ..Plan::default() });
    let peer = |id: u32| {
        let vdevs = vec![testpmd::memif(0, &node.path("vm"), id, false)];
        let mut peer = Testpmd::launch(&testpmd::Options { vdevs, ..Default::default() }).unwrap();
        peer.start(Forward::IcmpEcho).unwrap();
        peer
    };
    undisturbed(&node, 3000, |node| {
        remove_socket(node, 1);
        node.wait_port("other", "is back", |port| port.deaths == 1 && port.oper_up);
        let mut first = peer(1);
        node.wait_port("other", "the peer is attached", |port| port.link);
        std::fs::remove_file(node.path("vm")).unwrap();
        let answers = Ping { count: 100, interval_ms: 10, ..Ping::to("10.0.0.44") };
        assert_eq!(answers.run(&node.pods[0].netns).unwrap().received, 100);
        assert_eq!((node.port("vm").deaths, node.port("other").deaths), (1, 1));
        first.running().kill();
        node.wait_ports("both are back", |ports| {
            ["vm", "other"].iter().all(|name| ports[*name].deaths == 2 && ports[*name].oper_up)
        });
    });
    let _second = peer(0);
    node.wait_port("vm", "the next peer is attached", |port| port.link);
    let answers = Ping { count: 20, ..Ping::to("10.0.0.44") }.run(&node.pods[0].netns).unwrap();
    assert_eq!(answers.received, 20, "{answers:?}");
}

/// A pseudo-random number generator (Marsaglia's xorshift64): the same sequence in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// Twenty seconds of pulling plugs at random, under traffic to every port that is pulled.
#[test]
fn random_unplugging_under_traffic() {
    require!(root(), tool("dpdk-testpmd"), file("/dev/net/tun"), shuntd());
    const TIME: Duration = Duration::from_secs(20);
    let tail = "[[port]]\nname = \"vm\"\nkind = \"vhost-user\"\npath = \"DIR/vm\"\n";
    let kinds = [Kind::Veth, Kind::Veth, Kind::Veth, Kind::Tap, Kind::Veth];
    let mut node = Node::start(&Plan { pods: &kinds, tail, ..Plan::default() });
    let _loads: Vec<_> = ["10.0.0.3", "10.0.0.4", "10.0.0.5"].map(|to| load(&node, to)).into();
    let mut victims: Vec<Pod> = node.pods.drain(2..).collect();
    let tap_netns = victims[1].netns.name().to_owned();
    let mut vm = None;
    let mut dice = Dice(0x5eed_0001);
    let mut done = [0_u32; 6];
    // On a busy machine ping takes 4 ms for an interval of 1 ms.
    let echoes = u32::try_from(TIME.as_millis() / 4).unwrap();
    undisturbed(&node, echoes, |node| {
        let end = Instant::now() + TIME;
        while Instant::now() < end {
            let what = dice.roll(done.len());
            done[what] += 1;
            match what {
                // The pair vanishes, and comes back.
                0 | 1 => {
                    let victim = &mut victims[[0, 2][what]];
                    victim.veth = None;
                    victim.plug(1500, false, &node.netns);
                }
                // The whole namespace, and a new one.
                2 => {
                    victims[0].netns = Netns::new().unwrap();
                    victims[0].plug(1500, false, &node.netns);
                }
                // The tap's device is deleted from inside; the daemon makes it again.
                3 => {
                    let _ = victims[1].netns.exec(&["ip", "link", "del", "dev", "eth0"]);
                }
                4 => {
                    victims[2].veth.as_ref().unwrap().set_up(dice.roll(2) == 0).unwrap();
                }
                _ => vm = if vm.take().is_some() { None } else { Some(guest(node)) },
            }
        }
    });
    assert!(done.iter().all(|&times| times > 0), "not everything was tried: {done:?}");
    victims[2].veth.as_ref().unwrap().set_up(true).unwrap();
    node.wait_ports("all are back", |ports| ports.values().all(|port| port.oper_up));
    assert_eq!(victims[1].netns.name(), tap_netns);
    for victim in &victims {
        node.wait_port(&victim.port, "has a carrier", |port| port.link);
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = traffic::ping(&node.pods[0], victim, 5, 56) {
            // Neighbour entries of the time without it live on for a moment.
            assert!(Instant::now() < deadline, "{error}");
        }
        assert!(node.port(&victim.port).deaths > 0, "{} was never seen to die: {done:?}", victim.port);
    }
    drop(vm);
    let (free, all) = node.buffers();
    assert!(free + 512 >= all, "buffers are missing: {free} free of {all}");
    println!("pulled {done:?}; ports {:?}", node.ports());
}
