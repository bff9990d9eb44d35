//! What goes on elsewhere while a test disturbs one port.

use std::thread;

use shunt_tests::{Ping, Running};

use super::{Node, PATIENCE};

/// Pods 1 and 2 exchange echoes, a millisecond apart, while `disturb` runs (and for as long as `echoes` take): all are answered.
#[track_caller]
pub fn undisturbed(node: &Node, echoes: u32, disturb: impl FnOnce(&Node)) {
    let (from, to) = (&node.pods[0], &node.pods[1].v4);
    thread::scope(|scope| {
        let ping = Ping { count: echoes, interval_ms: 1, wait_ms: 2000, ..Ping::to(to) };
        let stream = scope.spawn(move || ping.run(&from.netns).unwrap());
        disturb(node);
        let answers = stream.join().unwrap();
        assert_eq!(
            (answers.sent, answers.received),
            (echoes, echoes),
            "the others were disturbed: {:?}",
            node.drops()
        );
    });
    let (one, two) = (node.port("pod1"), node.port("pod2"));
    assert_eq!((one.deaths, two.deaths, one.missed, two.missed), (0, 0, 0, 0));
}

/// Traffic towards the third pod for as long as the guard lives.
pub fn load(node: &Node, to: &str) -> Running {
    // A neighbour entry of its own: the stream goes on when nobody answers for the address.
    node.pods[1]
        .netns
        .exec(&["ip", "neigh", "replace", to, "lladdr", "02:00:00:00:00:33", "dev", "eth0"])
        .unwrap();
    node.pods[1].netns.spawn(&["ping", "-q", "-i", "0.002", "-W", "1", to]).unwrap()
}

/// Polls until so many packet buffers are free again as were `before`: none is lost with a port that went.
#[track_caller]
pub fn buffers_back(node: &Node, before: u64) {
    let free =
        |topology: &serde_json::Value| topology["mbufs"][1].as_u64().is_some_and(|free| free >= before);
    let waited = node.shuntd.cli_until(&["show", "topology", "--json"], PATIENCE, free);
    waited.unwrap_or_else(|error| panic!("of {before} buffers some do not come back: {error}"));
}
