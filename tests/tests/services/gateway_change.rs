//! The gateway mode is changed while TCP streams run: which of them go on, and in which way (docs/gateway-modes.md says it).

use shunt_tests::{Netns, Running, require};

use crate::cluster::TALK;
use crate::gateway_lab::{Backend, Family, Lab, V4, V6};
use crate::node::PATIENCE;

/// One stream of TCP that stays open.
struct Stream {
    about: String,
    program: Running,
    /// Who answers, and whom he sees.
    expected: String,
}

impl Stream {
    #[track_caller]
    fn open(from: &Netns, at: &str, port: u16, (who, peer): (&str, &str)) -> Self {
        let about = format!("{} to {at}:{port}", from.name());
        let program = from.spawn(&["perl", "-e", TALK, "tcp", at, &port.to_string()]).unwrap();
        program.expect("open\n", 0, PATIENCE).unwrap_or_else(|error| panic!("{about}: {error}"));
        Self { about, program, expected: format!("{who} {peer} hello") }
    }

    /// What comes back.
    #[track_caller]
    fn say(&mut self) -> String {
        let at = self.program.stdout().position();
        self.program.send_line("hello").unwrap();
        self.program.expect("\n", at, PATIENCE).unwrap();
        self.program.stdout().text(at).trim().to_owned()
    }

    #[track_caller]
    fn goes_on(&mut self, lab: &Lab) {
        let said = self.say();
        assert_eq!(said, self.expected, "{}: {}", self.about, lab.state());
    }

    /// Its end is told at once: whoever it belongs to opens another one.
    #[track_caller]
    fn is_reset(&mut self, lab: &Lab) {
        let said = self.say();
        assert!(said.contains("Connection reset"), "{}: {said}: {}", self.about, lab.state());
    }
}

/// Streams of every path, in the order of the table in the docs.
struct Streams {
    /// Of a pod to the world.
    out: Stream,
    /// Of the world to a node port.
    node_port: Stream,
    /// Of the world to the service's other addresses; those that do not leave the cluster; of the world to a program of the node.
    others: Vec<Stream>,
}

impl Streams {
    #[track_caller]
    fn open(lab: &Lab, family: &Family) -> Self {
        let [pod, node, outside] = ["pod_a", "node1", "outside"].map(|name| lab.scene.place(name));
        let hidden = ("pod_b", family.alone);
        Self {
            out: Stream::open(pod, family.outside, 8080, ("outside", family.node)),
            node_port: Stream::open(outside, family.node, 30080, hidden),
            others: vec![
                Stream::open(outside, family.balancer, 80, hidden),
                Stream::open(outside, family.external, 80, hidden),
                Stream::open(pod, family.cluster, 80, ("pod_b", family.pods[0])),
                Stream::open(node, family.cluster, 80, ("pod_b", family.management)),
                Stream::open(outside, family.node, 9090, ("node1", family.outside)),
            ],
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Stream> {
        [&mut self.out, &mut self.node_port].into_iter().chain(&mut self.others)
    }
}

/// Streams of both families in one mode, and the lab in the other; `check` looks at those.
#[track_caller]
fn change(from: &str, to: &str, check: impl Fn(&Lab, &mut Streams)) {
    let lab = Lab::start(from);
    lab.has(from, "cluster", &[Backend::There]);
    let mut streams = [&V4, &V6].map(|family| Streams::open(&lab, family));
    streams.iter_mut().flat_map(Streams::all).for_each(|stream| stream.goes_on(&lab));
    assert_eq!(lab.strays(), 0, "{}", lab.state());
    lab.has(to, "cluster", &[Backend::There]);
    for streams in &mut streams {
        check(&lab, streams);
    }
    // What is new goes the new way.
    for family in [&V4, &V6] {
        let before = lab.by_management();
        lab.reaches("pod_a", family.outside, 8080, ("outside", family.node));
        for (at, port) in [(family.node, 30080), (family.balancer, 80), (family.external, 80)] {
            lab.reaches("outside", at, port, ("pod_b", family.alone));
        }
        let passed = lab.by_management() - before;
        assert_eq!(passed > 16, to == "local", "{passed} frames by the node's own stack: {}", lab.state());
    }
}

#[test]
fn streams_go_on_when_the_gateway_mode_becomes_local() {
    require!(root(), tool("perl"), tool("curl"), tool("nft"), file("/dev/net/tun"), shuntd());
    change("shared", "local", |lab, streams| {
        for _ in 0..3 {
            streams.all().for_each(|stream| stream.goes_on(lab));
        }
        assert_eq!(lab.strays(), 0, "{}", lab.state());
    });
}

#[test]
fn streams_go_on_or_are_reset_when_the_gateway_mode_becomes_shared() {
    require!(root(), tool("perl"), tool("curl"), tool("nft"), file("/dev/net/tun"), shuntd());
    change("local", "shared", |lab, streams| {
        streams.out.is_reset(lab);
        streams.node_port.is_reset(lab);
        let strays = lab.strays();
        for _ in 0..3 {
            streams.others.iter_mut().for_each(|stream| stream.goes_on(lab));
        }
        assert_eq!(lab.strays(), strays, "{}", lab.state());
    });
}
