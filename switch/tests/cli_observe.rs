//! `shunt dump-flows` and `shunt trace` without a daemon: what is asked, and every character that is printed.

use clap::Parser;
use shunt_switch::cli::options::{Command, Options};
use shunt_switch::cli::{Failure, flows, trace};
use shunt_switch::control::api::proto;
use shunt_switch::control::api::proto::trace_request::What;

fn parse(words: &[&str]) -> Command {
    Options::try_parse_from([&["shunt"], words].concat()).unwrap().command
}

fn dump(words: &[&str]) -> proto::DumpFlowsRequest {
    let Command::DumpFlows(wanted) = parse(&[&["dump-flows"], words].concat()) else { unreachable!() };
    flows::request(&wanted)
}

fn traced(words: &[&str]) -> Result<proto::TraceRequest, Failure> {
    let Command::Trace(wanted) = parse(&[&["trace", "--in", "pod1"], words].concat()) else { unreachable!() };
    trace::request(&wanted)
}

#[track_caller]
fn golden(text: &str, expected: &str) {
    assert_eq!(text, expected, "got:\n{text}\nexpected:\n{expected}");
    assert!(text.lines().all(|line| line.trim_end() == line), "spaces at the end: {text}");
}

#[test]
fn a_dump_of_the_cache_is_asked_for_by_port_and_limit() {
    assert_eq!(dump(&["--cached"]), proto::DumpFlowsRequest { port: String::new(), limit: 10_000 });
    let some = dump(&["--cached", "--port", "pod1", "--limit", "5"]);
    assert_eq!(some, proto::DumpFlowsRequest { port: "pod1".into(), limit: 5 });
}

#[test]
fn a_trace_takes_one_frame_in_one_of_three_ways() {
    let what = |request: Result<proto::TraceRequest, Failure>| request.unwrap().what.unwrap();
    let text = "ip4.dst==10.0.0.2 && udp.dst==53";
    assert_eq!(what(traced(&[text])), What::Expression(text.into()));
    assert_eq!(what(traced(&["--hex", "02:00 ff"])), What::Raw(vec![2, 0, 255]));

    let mut capture = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 100, 1, 0, 0, 2, 2] {
        capture.extend(word.to_le_bytes());
    }
    capture.extend([7, 8]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), capture).unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(what(traced(&["--pcap", path])), What::Raw(vec![7, 8]));
    let failure = traced(&["--pcap", path, "--packet", "2"]).unwrap_err();
    let message = format!("shunt: {path}: it has 1 frames, there is no number 2");
    assert_eq!(failure, Failure { code: 2, message });
}

#[test]
fn mistakes_are_found_without_a_daemon() {
    for (words, message) in [
        (
            &["tcp.dst==1 && udp.dst==2"][..],
            "shunt: tcp.dst==1 and udp.dst==2 contradict each other: no frame is both; leave one of them out",
        ),
        (
            &["udp.dst==http"],
            "shunt: udp.dst takes a number from 0 to 65535, decimal or as 0x1f, not \"http\"",
        ),
        (
            &["--hex", "020"],
            "shunt: --hex takes an even number of hexadecimal digits: a frame from the ethernet header on",
        ),
    ] {
        assert_eq!(traced(words).unwrap_err(), Failure { code: 2, message: message.into() }, "{words:?}");
    }
    for words in [
        &["trace", "--in", "a", "--pcap", "f", "--hex", "00"][..],
        &["trace", "--in", "a", "ip4", "--packet", "1"],
        &["trace", "--in", "a", "--pcap", "f", "--packet", "0"],
        &["dump-flows", "--cached", "--limit", "0"],
    ] {
        let error = Options::try_parse_from([&["shunt"], words].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words:?}");
    }
}

fn flow(port: &str, packets: u64, stale: bool) -> proto::Flow {
    proto::Flow {
        worker: 0,
        port: port.into(),
        r#match: "eth.src==02:00:00:00:00:01 && eth.dst==02:00:00:00:00:02 && eth.type==0x0800".into(),
        packets,
        bytes: packets * 98,
        age: 1,
        generation: 7,
        stale,
        actions: vec!["dec ip4.ttl".into(), "output:pod2".into()],
    }
}

#[test]
fn one_line_for_each_flow() {
    let mut flows = proto::Flows { flows: vec![flow("pod1", 1200, false), flow("p", 3, true)], more: 0 };
    let table = "\
WORKER  PORT  PACKETS   BYTES  SEEN-S  GENERATION  MATCH                                                                         ACTIONS
     0  pod1     1200  117600       1           7  eth.src==02:00:00:00:00:01 && eth.dst==02:00:00:00:00:02 && eth.type==0x0800  dec ip4.ttl, output:pod2
     0  p           3     294       1           7  eth.src==02:00:00:00:00:01 && eth.dst==02:00:00:00:00:02 && eth.type==0x0800  dec ip4.ttl, output:pod2 (stale: decided anew by the next frame)
";
    golden(&flows::text(&flows), table);
    flows.more = 12;
    golden(
        &flows::text(&flows),
        &format!("{table}and 12 more with fewer packets; raise --limit to see them\n"),
    );
    golden(&flows::text(&proto::Flows::default()), "no flow is cached\n");
}

fn frame(hex: &str) -> proto::TracedFrame {
    let length = hex.len() as u32 / 2;
    proto::TracedFrame { hex: hex.into(), length, summary: "a > b, ipv4".into() }
}

#[test]
fn a_trace_from_the_frame_to_the_verdict() {
    let table = |table, name: &str, steps: &[&str]| proto::TracedTable {
        table,
        name: name.into(),
        steps: steps.iter().map(ToString::to_string).collect(),
    };
    let routed = proto::Traced {
        generation: 5,
        port: "pod1".into(),
        network: "blue".into(),
        assumed: vec!["ip.src==10.0.1.2 (its neighbour entry)".into()],
        before: Some(frame(&"ab".repeat(140))),
        r#match: "ip4.dst==10.0.2.9".into(),
        tables: vec![
            table(0, "ingress", &[]),
            table(16, "lookup", &["matched the gateway's address", "10.0.2.9: route 10.0.2.0/24"]),
            table(17, "next-hop", &["neighbour 10.0.2.9 has 02:00:00:00:00:09"]),
        ],
        steps: vec!["pod: 10.0.1.9 sends to 10.0.2.9".into(), "port: out of pod2, 2 bytes, sent".into()],
        actions: vec!["dec ip4.ttl".into(), "output:pod2".into()],
        after: Some(frame("0102")),
        verdict: "output to pod2".into(),
        drop: None,
        outputs: vec![proto::TracedOutput {
            port: "pod2".into(),
            outcome: "sent".into(),
            drop: None,
            member: None,
        }],
        cacheable: true,
        rests_on: vec!["port pod1".into(), "network blue".into()],
        effects: vec!["learn that 02:00:00:00:00:01 is behind pod1".into()],
    };
    let bytes = "ab".repeat(32);
    golden(
        &trace::text(&routed),
        &format!(
            "\
generation 5: into pod1, network blue
frame    140 bytes: a > b, ipv4
         {bytes}
         {bytes}
         {bytes}
         {bytes}
         and 12 more bytes (--json has all)
chosen   ip.src==10.0.1.2 (its neighbour entry)
flow     ip4.dst==10.0.2.9

 0. ingress
16. lookup
    matched the gateway's address
    10.0.2.9: route 10.0.2.0/24
17. next-hop
    neighbour 10.0.2.9 has 02:00:00:00:00:09

step 1   pod: 10.0.1.9 sends to 10.0.2.9
step 2   port: out of pod2, 2 bytes, sent

actions  dec ip4.ttl, output:pod2
frame    2 bytes: a > b, ipv4
         0102
verdict  output to pod2
         pod2: sent
cache    kept for the flow until one of these changes: port pod1, network blue
would    learn that 02:00:00:00:00:01 is behind pod1
"
        ),
    );
    let runt = proto::Traced {
        generation: 5,
        port: "pod1".into(),
        before: Some(frame("0102")),
        actions: vec!["drop(runt)".into()],
        verdict: "drop: runt (Shorter than an Ethernet header (14 bytes))".into(),
        drop: Some("runt".into()),
        ..proto::Traced::default()
    };
    golden(
        &trace::text(&runt),
        "\
generation 5: into pod1
frame    2 bytes: a > b, ipv4
         0102

actions  drop(runt)
verdict  drop: runt (Shorter than an Ethernet header (14 bytes))
",
    );
}
