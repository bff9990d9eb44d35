//! Two workers: what opens a connection is seen by one, what answers by the other, and both judge alike.

use std::time::{Duration, Instant};

use shunt_tests::{Ping, require};

use crate::lab::{
    Places, all_answered, apply, both_talk, config_on, dropped, gateway_v4, gateway_v6, routed_on,
    until_answered,
};
use crate::node::{Kind, MEMORY, Node, PATIENCE};

/// Two pods of network 1, which is masqueraded, and one of network 2. The first has a worker to itself.
const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Veth, 1), (Kind::Veth, 2)];
const PLACEMENT: [u8; 3] = [0, 1, 1];

fn head() -> String {
    format!("{MEMORY}[workers]\ncount = 2\n")
}

fn with(node: &Node, policies: &str) -> String {
    let mut text = config_on(&head(), "", &node.pods, PLACES);
    text = text.replacen("name = \"net1\"\n", "name = \"net1\"\nmasquerade = true\n", 1);
    for ((pod, worker), name) in node.pods.iter().zip(PLACEMENT).zip(["near", "other", "server"]) {
        let port = format!("name = \"{}\"\n", pod.port);
        text = text.replacen(&port, &format!("{port}placement = [{worker}]\n"), 1);
        text += &format!(
            "[[pod]]\nnamespace = \"shop\"\nname = \"{name}\"\nlabels = {{ app = \"{name}\" }}\naddresses = [\"{}\", \"{}\"]\n",
            pod.v4, pod.v6
        );
    }
    text + policies
}

/// Who may send to the server.
fn only(names: &str) -> String {
    format!(
        "[[policy]]\nnamespace = \"shop\"\nname = \"guard\"\npod_selector = {{ match_labels = {{ app = \"server\" }} }}\n\
         ingress = [{{ from = [{{ pod_selector = {{ match_expressions = [{{ key = \"app\", operator = \"In\", values = [{names}] }}] }} }}] }}]\n"
    )
}

#[test]
fn connections_of_one_worker_are_known_to_the_other() {
    require!(root(), tool("iperf3"), shuntd());
    let node = routed_on(&head(), PLACES, "");
    let [near, other, server] = &node.pods[..] else { unreachable!("three pods") };
    let both = only("\"near\", \"other\"");
    apply(&node, &with(&node, &both));
    let workers = node.show("workers");
    let queues = |at: usize| workers[at]["queues"].as_array().map(Vec::len);
    assert_eq!((queues(0), queues(1)), (Some(1), Some(2)), "{workers}");
    for (to, gateway) in [(&server.v4, gateway_v4(2)), (&server.v6, gateway_v6(2))] {
        for pod in [near, other] {
            until_answered(&node, pod, to);
        }
        all_answered(&node, near, to);
        let listed = node.cli("conntrack -L");
        let entered = listed.lines().any(|line| {
            line.contains(&format!("src={} dst={gateway}", server.v4))
                || line.contains(&format!("src={} dst={gateway}", server.v6))
        });
        assert!(entered, "{listed}");
    }
    both_talk(server, [near, other]);
    // One flow that each worker sees one half of, and the other client's, which stays allowed.
    let flow = near.netns.spawn(&["ping", "-n", "-i", "0.02", &server.v4]).unwrap();
    flow.expect("icmp_seq=", 0, PATIENCE).unwrap();
    for round in 0..3 {
        let before = dropped(&node, "pod1", "policy_ingress");
        apply(&node, &with(&node, &only("\"other\"")));
        let at = flow.stdout().position();
        let deadline = Instant::now() + PATIENCE;
        while dropped(&node, "pod1", "policy_ingress") < before + 5 {
            assert!(Instant::now() < deadline, "round {round}: the flow goes on: {:?}", node.drops());
            std::thread::sleep(Duration::from_millis(20));
        }
        let late = flow.stdout().text(at);
        assert!(late.matches("icmp_seq=").count() <= 1, "round {round}: answered after the change: {late}");
        let answers = Ping { count: 20, wait_ms: 2000, ..Ping::to(&server.v4) }.run(&other.netns).unwrap();
        assert_eq!(answers.received, 20, "{:?}", node.drops());
        apply(&node, &with(&node, &both));
        let at = flow.stdout().position();
        flow.expect("icmp_seq=", at, PATIENCE).unwrap();
    }
}
