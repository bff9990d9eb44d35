//! Looking into a switch at work: the flows that real traffic leaves in the cache, and traces of the same frames.

mod node;

use node::{Kind, Node, Plan};
use serde_json::Value;
use shunt_tests::{Ping, require};

/// Reads the address that a pod's interface has.
fn mac(node: &Node, pod: usize) -> String {
    let shown = node.pods[pod].netns.exec(&["cat", "/sys/class/net/eth0/address"]).unwrap();
    shown.stdout.trim().to_owned()
}

#[track_caller]
fn trace(node: &Node, port: &str, words: &[&str]) -> Value {
    node.shuntd.cli(&[&["trace", "--json", "--in", port], words].concat()).unwrap()
}

#[track_caller]
fn flows(node: &Node, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let rows = |answer: &Value| answer["flows"].as_array().cloned().unwrap_or_default();
    let dump = ["dump-flows", "--cached", "--json"];
    let answer = node.shuntd.cli_until(&dump, node::PATIENCE, |answer| holds(&rows(answer))).unwrap();
    rows(&answer)
}

#[test]
fn the_flow_of_a_ping_is_in_the_cache_and_a_trace_goes_the_same_way() {
    require!(root(), tool("ping"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth; 3], quiet: true, ..Plan::default() });
    let answers = Ping { count: 20, ..Ping::to("10.0.0.2") }.run(&node.pods[0].netns).unwrap();
    assert_eq!(answers.received, 20);
    let (one, other) = (mac(&node, 0), mac(&node, 1));
    let key = format!("eth.src=={one} && eth.dst=={other} && eth.type==0x0800");
    let is = |row: &Value| row["match"] == key.as_str() && row["port"] == "pod1";
    let rows = flows(&node, |rows| rows.iter().any(is));
    let flow = rows.iter().find(|row| is(row)).unwrap();
    assert_eq!(flow["actions"], serde_json::json!(["output:pod2"]), "{flow}");
    let (packets, bytes) = (flow["packets"].as_u64().unwrap(), flow["bytes"].as_u64().unwrap());
    assert!((10..=20).contains(&packets) && bytes == packets * 98, "{flow}");

    // The dump's own words, and a frame byte by byte: both go where the pings went.
    let hex = format!("{}{}0800{}", other.replace(':', ""), one.replace(':', ""), "00".repeat(46));
    for words in [&[key.as_str()][..], &["--hex", &hex]] {
        let traced = trace(&node, "pod1", words);
        assert_eq!(traced["verdict"], "output to pod2", "{traced}");
        assert_eq!(
            traced["outputs"],
            serde_json::json!([{"port": "pod2", "outcome": "sent", "drop": null, "member": null}])
        );
        assert_eq!((&traced["cacheable"], &traced["match"]), (&true.into(), &key.as_str().into()));
    }
    let unknown = trace(&node, "pod1", &["eth.dst==02:00:00:00:00:77"]);
    assert_eq!(unknown["verdict"], "flood to pod2, pod3", "{unknown}");
    let text = node.cli("trace --in pod1 eth.dst==02:00:00:00:00:77");
    assert!(text.contains("02:00:00:00:00:77 is behind no known port\n"), "{text}");

    // Nothing of this was sent.
    let before = node.port("pod3").tx_packets;
    trace(&node, "pod1", &["eth.dst==ff:ff:ff:ff:ff:ff"]);
    assert_eq!(node.port("pod3").tx_packets, before);

    let workers = node.show("workers");
    let cache = &workers[0]["cache"];
    assert!(cache["hits"].as_u64().unwrap() >= packets && cache["unsound"] == 0, "{cache}");
    let refused = node.shuntd.cli_cmd(&["trace", "--in", "pod9", "ip4"]).unwrap().run().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
}

#[test]
fn a_flow_that_falls_silent_leaves_the_dump() {
    require!(root(), tool("ping"), shuntd());
    let head = format!("{}[flow_cache]\nidle_timeout = \"1s\"\n", node::MEMORY);
    let node = Node::start(&Plan { pods: &[Kind::Veth; 2], quiet: true, head: &head, ..Plan::default() });
    Ping { count: 3, ..Ping::to("10.0.0.2") }.run(&node.pods[0].netns).unwrap();
    flows(&node, |rows| !rows.is_empty());
    flows(&node, |rows| rows.is_empty());
    assert_eq!(node.cli("dump-flows --cached"), "no flow is cached\n");
}

#[test]
fn a_bare_ip_packet_gets_its_ethernet_header_in_the_trace_too() {
    require!(root(), tool("ping"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Tun], quiet: true, ..Plan::default() });
    // The first ones are lost until the neighbour is known.
    let answers = Ping { count: 10, ..Ping::to("10.0.0.1") }.run(&node.pods[1].netns).unwrap();
    assert!(answers.received > 0, "{answers:?}");
    let traced = trace(&node, "pod2", &["ip4.src==10.0.0.2 && ip4.dst==10.0.0.1 && icmp4"]);
    assert_eq!(traced["verdict"], "output to pod1", "{traced}");
    assert_eq!(traced["tables"][0]["steps"], serde_json::json!(["made ethernet header of an L3 port"]));
    let after = traced["after"]["summary"].as_str().unwrap();
    assert!(
        after.contains(&format!(" > {}, ipv4 10.0.0.2 > 10.0.0.1 ttl 64, icmp4 ", mac(&node, 0))),
        "{after}"
    );

    let cmd = node.shuntd.cli_cmd(&["trace", "--in", "pod2", "eth.src==02:00:00:00:00:01"]).unwrap();
    let refused = cmd.run().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(
        refused.stderr.trim_end(),
        "shunt: eth.src: pod2 is an l3 port, its frames are bare IP packets; leave it out"
    );
}

/// `tcpdump --json`: a frame a line, the same that it prints without.
#[test]
fn captured_frames_as_json() {
    require!(root(), tool("ping"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth; 2], quiet: true, ..Plan::default() });
    assert!(Ping { count: 3, ..Ping::to("10.0.0.2") }.run(&node.pods[0].netns).unwrap().received > 0);
    let words = ["--json", "tcpdump", "-i", "any", "-c", "4", "icmp"];
    let mut capture = node.shuntd.cli_cmd(&words).unwrap().spawn().unwrap();
    assert!(capture.stderr().wait_for("listening on", 0, node::PATIENCE).is_some());
    assert_eq!(Ping { count: 1, ..Ping::to("10.0.0.2") }.run(&node.pods[0].netns).unwrap().received, 1);
    assert_eq!(capture.wait(node::PATIENCE).unwrap().code(), Some(0));
    let text = capture.stdout().text(0);
    let frames: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ways: Vec<_> =
        frames.iter().map(|it| (it["port"].as_str().unwrap(), it["way"].as_str().unwrap())).collect();
    assert_eq!(ways, [("pod1", "in"), ("pod2", "out"), ("pod2", "in"), ("pod1", "out")], "{text}");
    let first = &frames[0];
    assert!(
        first["text"].as_str().unwrap().starts_with("IP 10.0.0.1 > 10.0.0.2: ICMP echo request"),
        "{first}"
    );
    assert_eq!((first["length"].as_u64(), first["data"].as_str().unwrap().len()), (Some(98), 196));
    // As it came in, so it went out.
    assert_eq!(first["data"], frames[1]["data"]);
}
