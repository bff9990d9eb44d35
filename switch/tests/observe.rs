//! The flow cache dumped while it works, and traces that agree with what then happens to real frames: in this process,
//! with frames out of a capture file, and without privilege.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shunt_switch::control::flows::{FlowRow, FlowWalk, FlowsError};
use shunt_switch::control::trace::expression::Probe;
use shunt_switch::control::trace::{Frame, TraceError, TraceRow, compose::compose};
use shunt_switch::control::{Control, Handle, Running};

const PATIENCE: Duration = Duration::from_secs(20);

fn frame(expression: &str) -> Vec<u8> {
    compose(&Probe::parse(expression).unwrap()).unwrap()
}

/// A capture file with these frames.
fn capture(directory: &Path, frames: &[Vec<u8>]) -> PathBuf {
    let mut bytes = Vec::new();
    let words =
        |bytes: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
    words(&mut bytes, &[0xa1b2_c3d4, 0x0004_0002, 0, 0, 0xffff, 1]);
    for frame in frames {
        words(&mut bytes, &[0, 0, frame.len() as u32, frame.len() as u32]);
        bytes.extend(frame);
    }
    let path = directory.join("in.pcap");
    std::fs::write(&path, bytes).unwrap();
    path
}

struct Switch {
    running: Option<Running>,
    handle: Handle,
}

impl Switch {
    fn start(text: &str) -> Self {
        let config = shunt_config::parse(text, "test").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let mut control = Control::start(&config).unwrap();
        let errors = control.apply_at_start(&config);
        assert!(errors.is_empty(), "{errors:?}");
        let running = control.spawn().unwrap();
        let handle = running.handle();
        Self { running: Some(running), handle }
    }

    fn call<R: Send + 'static>(&self, job: impl FnOnce(&mut Control) -> R + Send + 'static) -> R {
        self.handle.call(job).unwrap()
    }

    fn flows(&self, limit: usize) -> (Vec<FlowRow>, u64) {
        self.call(move |control| control.flows(limit, None)).unwrap()
    }

    fn trace(&self, port: &str, expression: &str) -> TraceRow {
        let (port, frame) = (port.to_owned(), Frame::Made(Probe::parse(expression).unwrap()));
        self.call(move |control| control.trace(&port, frame)).unwrap()
    }

    /// Polls the flows until `holds`.
    #[track_caller]
    fn until(&self, holds: impl Fn(&[FlowRow]) -> bool) -> Vec<FlowRow> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let flows = self.flows(100_000).0;
            if holds(&flows) {
                return flows;
            }
            assert!(Instant::now() < deadline, "{} flows, as {:?}", flows.len(), flows.first());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

const SMALL: &str =
    "[memory]\nhugepages = \"never\"\n[workers]\npoll = \"adaptive\"\nmax_sleep = \"100us\"\n";

fn port(name: &str, network: &str, devargs: &str) -> String {
    format!(
        "[[port]]\nname = \"{name}\"\nkind = \"dpdk\"\nnetwork = \"{network}\"\ndevargs = \"{devargs}\"\n"
    )
}

fn source(path: &Path, repeat: bool) -> String {
    format!("net_pcap0,rx_pcap={},infinite_rx={}", path.display(), u8::from(repeat))
}

/// Many flows of one pair of stations, told apart by their ports.
#[test]
fn a_dump_has_every_flow_and_forwarding_goes_on() {
    const FLOWS: u16 = 3000;
    let directory = tempfile::tempdir().unwrap();
    let ends = "eth.src==02:00:00:00:00:01 && eth.dst==02:00:00:00:00:02";
    let frames: Vec<_> =
        (0..FLOWS).map(|n| frame(&format!("{ends} && udp.dst==9 && udp.src=={n}"))).collect();
    let path = capture(directory.path(), &frames);
    let switch = Switch::start(&format!(
        "{SMALL}[flow_cache]\nkey = \"full\"\nentries = 16384\n[[network]]\nname = \"n\"\n{}{}stations = [\"02:00:00:00:00:02\"]\n",
        port("in", "n", &source(&path, true)),
        port("out", "n", "net_null0,no-rx=1"),
    ));
    let output = ["output:out".to_owned()];
    let settled = |flows: &[FlowRow]| {
        flows.len() == usize::from(FLOWS)
            && flows.iter().all(|flow| flow.actions == output && flow.packets > 1)
    };
    let flows = switch.until(settled);
    let mut matches: Vec<&str> = flows.iter().map(|flow| flow.r#match.as_str()).collect();
    matches.sort_unstable();
    matches.dedup();
    assert_eq!(matches.len(), usize::from(FLOWS), "flows are told apart");
    let wanted = "ip4.src==192.0.2.1 && ip4.dst==192.0.2.2 && udp.src==77 && udp.dst==9";
    assert!(matches.contains(&format!("{ends} && {wanted}").as_str()), "{}", matches[0]);
    assert!(flows.iter().all(|flow| flow.port == "in" && flow.bytes == flow.packets * 60));
    assert!(flows.is_sorted_by(|one, next| one.packets >= next.packets), "the busiest first");

    let (some, more) = switch.flows(100);
    assert_eq!((some.len(), more), (100, u64::from(FLOWS) - 100));
    let by_port = |name: &str| {
        let name = Some(name.to_owned());
        switch.call(move |control| control.flows(10_000, name))
    };
    assert_eq!(by_port("in").unwrap().0.len(), usize::from(FLOWS));
    assert_eq!(by_port("out").unwrap().0.len(), 0);
    assert!(matches!(by_port("x").unwrap_err(), FlowsError::NoPort(name) if name == "x"));

    // The worker forwards between two pieces: its counter moves while one walk is on.
    let mut walk = FlowWalk::new(10, None);
    let (mut steps, packets) = (0, |control: &mut Control| control.workers()[0].cache.hits);
    let before = switch.call(packets);
    while !walk.is_done() {
        walk = switch.call(move |control| control.walk_flows(walk)).unwrap();
        steps += 1;
    }
    assert!(switch.call(packets) > before, "no frame moved during {steps} steps");
}

/// What a trace says, and what the worker's cache then says of the same frames.
#[test]
fn what_a_trace_says_is_what_happens() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = "02:00:00:00:0a:01";
    let to_gateway = format!("eth.src==02:00:00:00:01:09 && eth.dst=={gateway} && ip4.src==10.0.1.9");
    let expressions = [
        format!("{to_gateway} && ip4.dst==10.0.2.9 && udp.dst==53"),
        format!("{to_gateway} && ip4.dst==10.9.9.9 && udp.dst==53"),
        format!("{to_gateway} && ip4.dst==10.7.1.1 && udp.dst==53"),
        format!("{to_gateway} && ip4.dst==10.0.2.9 && ip.ttl==1 && udp.dst==53"),
        "eth.src==02:00:00:00:01:09 && eth.dst==02:00:00:00:01:77 && ip4.src==10.0.1.9".to_owned(),
    ];
    // The neighbour says where it is, by ARP, on its own network: the second source.
    let hello = frame(
        "eth.src==02:00:00:00:02:09 && eth.dst==ff:ff:ff:ff:ff:ff && arp.op==request && arp.spa==10.0.2.9 && arp.tpa==10.0.2.1",
    );
    let path = capture(directory.path(), &expressions.iter().map(|text| frame(text)).collect::<Vec<_>>());
    let second = tempfile::tempdir().unwrap();
    let hello = capture(second.path(), &[hello]);
    let switch = Switch::start(&format!(
        "{SMALL}[[router]]\nname = \"r\"\nroutes = [{{ to = \"10.7.0.0/16\", blackhole = true }}]\n\
         [[network]]\nname = \"a\"\nrouter = \"r\"\ngateways = [\"10.0.1.1/24\"]\ngateway_mac = \"{gateway}\"\n\
         [[network]]\nname = \"b\"\nrouter = \"r\"\ngateways = [\"10.0.2.1/24\"]\ngateway_mac = \"{gateway}\"\n{}{}{}",
        port("in", "a", &source(&path, true)),
        port("other", "a", "net_null0,no-rx=1"),
        port("out", "b", &source(&hello, true).replace("net_pcap0", "net_pcap1")),
    ));
    // All learned, and decided under the topology that has it.
    let flows = switch.until(|flows| {
        let routed = |flow: &FlowRow| flow.actions.last().is_some_and(|last| last == "output:out");
        flows.iter().filter(|flow| flow.port == "in" && !flow.stale).count() == expressions.len()
            && flows.iter().any(routed)
    });
    for expression in &expressions {
        let traced = switch.trace("in", expression);
        let cached = flows.iter().find(|flow| flow.r#match == traced.r#match);
        let cached = cached.unwrap_or_else(|| panic!("{} is not cached: {flows:#?}", traced.r#match));
        assert_eq!(traced.actions, cached.actions, "{expression}");
        let told = |effect: &String| effect.starts_with("tell its sender");
        assert!(traced.cacheable && traced.effects.iter().all(told), "{traced:?}");
    }

    let routed = switch.trace("in", &expressions[0]);
    let tables: Vec<_> = routed.tables.iter().map(|table| (table.table, table.name)).collect();
    assert_eq!(tables, [(0, "ingress"), (16, "lookup"), (17, "next-hop")]);
    assert_eq!(
        routed.tables[1].steps,
        ["matched the gateway's address", "10.0.2.9: route 10.0.2.0/24, connected to network b"]
    );
    assert_eq!(
        routed.tables[2].steps,
        ["neighbour 10.0.2.9 has 02:00:00:00:02:09", "02:00:00:00:02:09 is behind out"]
    );
    assert_eq!((routed.verdict.as_str(), routed.drop), ("output to out", None));
    assert_eq!(routed.outputs.iter().map(|output| output.port.as_str()).collect::<Vec<_>>(), ["out"]);
    let after = routed.after.expect("it was rewritten");
    assert!(
        after
            .summary
            .starts_with("02:00:00:00:0a:01 > 02:00:00:00:02:09, ipv4 10.0.1.9 > 10.0.2.9 ttl 63, udp "),
        "{}",
        after.summary
    );
    for row in ["port in", "network a", "station 02:00:00:00:02:09 in b", "neighbour 10.0.2.9 in b"] {
        assert!(routed.rests_on.iter().any(|held| held == row), "{row} is not in {:?}", routed.rests_on);
    }
    assert!(!routed.rests_on.iter().any(|held| held.contains("02:00:00:00:0a:01")), "{:?}", routed.rests_on);

    let refusals =
        [(1, "no_route", "type 3 code 0"), (2, "blackhole", ""), (3, "ttl_exceeded", "type 11 code 0")];
    for (index, reason, message) in refusals {
        let dropped = switch.trace("in", &expressions[index]);
        assert_eq!(dropped.drop, Some(reason), "{}", expressions[index]);
        assert!(dropped.verdict.starts_with(&format!("drop: {reason} (")), "{}", dropped.verdict);
        let Some(after) = dropped.after else {
            assert_eq!(message, "", "no message about {}", expressions[index]);
            continue;
        };
        // What its sender is told.
        assert!(after.summary.contains("ipv4 10.0.1.1 > 10.0.1.9"), "{}", after.summary);
        assert!(!message.is_empty() && after.summary.ends_with(message), "{}", after.summary);
        assert!(
            dropped.outputs.iter().map(|output| output.port.as_str()).eq(["in"]),
            "{:?}",
            dropped.outputs
        );
    }
    let unknown = switch.trace("in", &expressions[4]);
    assert_eq!(unknown.verdict, "flood to other");
}

#[test]
fn what_is_left_open_is_what_a_station_would_send() {
    let switch = Switch::start(&format!(
        "{SMALL}[[router]]\nname = \"r\"\n\
         [[network]]\nname = \"a\"\nrouter = \"r\"\ngateways = [\"10.0.1.1/24\"]\ngateway_mac = \"02:00:00:00:0a:01\"\n\
         [[network]]\nname = \"l2\"\n{}stations = [\"02:00:00:00:01:09\"]\n{}{}",
        port("p", "a", "net_null0,no-rx=1"),
        port("q", "a", "net_null1,no-rx=1"),
        port("lone", "l2", "net_null2,no-rx=1"),
    ));
    let traced = switch.trace("p", "ip4.dst==10.9.9.9");
    assert_eq!(
        traced.assumed,
        [
            "eth.src==02:00:00:00:01:09 (a station behind p)",
            "ip.src==10.0.1.2 (in the subnet 10.0.1.0/24)",
            "eth.dst==02:00:00:00:0a:01 (the gateway 02:00:00:00:0a:01)"
        ]
    );
    assert_eq!(traced.drop, Some("no_route"));

    // A neighbour that is not known: who would be asked, and nobody is.
    let traced = switch.trace("p", "ip4.dst==10.0.1.9 && eth.dst==02:00:00:00:0a:01");
    assert_eq!((traced.drop, traced.cacheable), (Some("neighbor_unresolved"), false));
    assert_eq!(traced.effects, ["ask who has 10.0.1.9 in network a, for 10.0.1.1"]);

    // The switch answers for its gateway, and the trace teaches it nothing.
    let traced = switch.trace("q", "arp.tpa==10.0.1.1 && arp.spa==10.0.1.7 && eth.src==02:00:00:00:01:07");
    assert_eq!((traced.verdict.as_str(), traced.outputs[0].port.as_str()), ("reply to q", "q"));
    assert!(traced.after.unwrap().summary.ends_with("arp reply, 10.0.1.1 at 02:00:00:00:0a:01 to 10.0.1.7"));
    assert_eq!(traced.effects, ["learn that 10.0.1.7 at 02:00:00:00:01:07 is behind q"]);
    assert!(switch.call(|control| control.fdb()).iter().all(|row| row.mac != "02:00:00:00:01:07"));
    assert_eq!(switch.trace("p", "eth.dst==02:00:00:00:01:07").verdict, "flood to q");

    let traced = switch.trace("lone", "arp");
    assert_eq!((traced.drop, traced.actions), (Some("no_receiver"), vec!["flood".to_owned()]));
    let long = switch.trace("p", "eth.dst==02:00:00:00:01:07 && len==9000");
    let output = &long.outputs[0];
    assert_eq!((long.verdict.as_str(), output.drop), ("flood to q", Some("too_long")), "{output:?}");
    switch.call(|control| control.set_port("q", false)).unwrap();
    assert_eq!(switch.trace("q", "ip4").drop, Some("ingress_down"));

    let refused = |port: &str, frame| {
        let port = port.to_owned();
        switch.call(move |control| control.trace(&port, frame)).unwrap_err()
    };
    assert!(matches!(refused("x", Frame::Raw(vec![0; 60])), TraceError::NoPort(_)));
    assert!(matches!(refused("p", Frame::Raw(vec![0; 65_536])), TraceError::TooLong(65_536)));
    let runt = switch.call(|control| control.trace("p", Frame::Raw(vec![0; 13]))).unwrap();
    assert_eq!((runt.drop, runt.actions), (Some("runt"), vec!["drop(runt)".to_owned()]));
    let free = switch.call(|control| control.topology().mbufs);
    assert_eq!(free.0, free.1, "a trace gives its buffer back");
}
