//! Which worker polls a queue when nobody says: the one that has the fewest.

mod node;

use node::{MEMORY, Node, Plan};
use shunt_tests::require;

/// Names of the queues on each worker.
#[track_caller]
fn queues(node: &Node) -> Vec<Vec<String>> {
    let workers = node.show("workers");
    let names = |row: &serde_json::Value| {
        let mut names: Vec<_> =
            row["queues"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    workers.as_array().unwrap().iter().map(names).collect()
}

#[track_caller]
fn loads(node: &Node) -> Vec<usize> {
    queues(node).iter().map(Vec::len).collect()
}

fn null(name: &str, keys: &str) -> String {
    format!("[[port]]\nname = \"{name}\"\nkind = \"dpdk\"\ndevargs = \"net_null_{name},no-rx=1\"\n{keys}\n")
}

#[test]
fn queues_go_to_the_worker_that_has_the_fewest() {
    require!(root(), shuntd());
    let head = format!("{MEMORY}[workers]\ncount = 3\n");
    // The first has its place; the others fill up what is free, also the queues of one port.
    let tail = null("fixed", "queues = 1\nplacement = [2]") + &null("wide", "queues = 4") + &null("last", "");
    let node = Node::start(&Plan { head: &head, tail: &tail, ..Plan::default() });
    assert_eq!(loads(&node), [2, 2, 2], "{:?}", queues(&node));

    // What goes leaves room, which the next one takes.
    let before = queues(&node);
    let emptied = before.iter().position(|names| names.iter().any(|name| name == "last/0")).unwrap();
    node.cli("port del last");
    let mut wanted = [2; 3];
    wanted[emptied] = 1;
    assert_eq!(loads(&node), wanted);
    node.cli("port add next kind=dpdk devargs=net_null_next,no-rx=1");
    assert!(queues(&node)[emptied].contains(&"next/0".to_owned()), "{:?}", queues(&node));
    assert_eq!(loads(&node), [2, 2, 2]);

    // One at a time, evenly; where several have the fewest, the first.
    for n in 0..4 {
        node.cli(&format!("port add n{n} kind=dpdk devargs=net_null_n{n},no-rx=1"));
    }
    assert_eq!(loads(&node), [4, 3, 3]);
    assert!(queues(&node)[0].contains(&"n0/0".to_owned()) && queues(&node)[1].contains(&"n1/0".to_owned()));
    // A place that is given is not made even.
    node.cli("port add pinned kind=dpdk devargs=net_null_pinned,no-rx=1 placement=0");
    assert_eq!(loads(&node), [5, 3, 3]);
    // No other queue was moved for any of this.
    for (worker, names) in before.iter().enumerate() {
        let now = &queues(&node)[worker];
        assert!(names.iter().all(|name| name == "last/0" || now.contains(name)), "{before:?} {now:?}");
    }
}
