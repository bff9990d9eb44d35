//! Metrics and health of a daemon at work, as Prometheus and Kubernetes' probes see them.

#[path = "metrics/page.rs"]
mod page;

mod node;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::{Kind, MEMORY, Node, PATIENCE, Plan};
use page::{LISTEN, PARSER, Page, get};
use serde_json::Value;
use shunt_tests::{Cmd, Ping, require};

fn head() -> String {
    format!("{MEMORY}[metrics]\nlisten = \"{LISTEN}\"\n")
}

fn start(pods: &[Kind]) -> Node {
    Node::start(&Plan { pods, quiet: true, head: &head(), ..Plan::default() })
}

#[track_caller]
fn ping(node: &Node, count: u32) {
    let ping = Ping { count, ..Ping::to("10.0.0.2") };
    assert_eq!(ping.run(&node.pods[0].netns).unwrap().received, count);
}

/// The host end of a pod's veth pair.
fn device(node: &Node, pod: usize) -> &str {
    node.pods[pod].veth.as_ref().unwrap().host_name()
}

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

#[test]
fn a_scrape_agrees_with_what_shunt_shows() {
    require!(root(), tool("ping"), tool("curl"), file(PARSER), shuntd());
    let node = start(&[Kind::Veth; 2]);
    ping(&node, 20);
    // To a station behind the port that it comes from.
    let pod = &node.pods[0].netns;
    let own = pod.exec(&["cat", "/sys/class/net/eth0/address"]).unwrap().stdout;
    pod.exec(&["ip", "neigh", "replace", "10.0.0.9", "lladdr", own.trim(), "dev", "eth0"]).unwrap();
    let lost = Ping { count: 3, ..Ping::to("10.0.0.9") }.run(pod).unwrap();
    assert_eq!(lost.received, 0);
    // Until nothing moves any more, what is shown before and after the scrape is the same.
    let deadline = Instant::now() + PATIENCE;
    let (shown, page) = loop {
        let all = || ["ports", "drops", "topology"].map(|what| node.show(what));
        let (before, page) = (all(), Page::of(&node));
        let still = |shown: &[Value; 3]| (shown[0].clone(), shown[1].clone(), shown[2]["generation"].clone());
        let after = all();
        let forget = |(mut ports, drops, generation): (Value, Value, Value)| {
            // Only the seconds of a port's state go on.
            ports.as_array_mut().unwrap().iter_mut().for_each(|port| port["seconds"] = 0.into());
            (ports, drops, generation)
        };
        if forget(still(&before)) == forget(still(&after)) {
            break (after, page);
        }
        assert!(Instant::now() < deadline, "traffic goes on");
    };
    let [ports, drops, topology] = &shown;
    for port in ports.as_array().unwrap() {
        let name = port["name"].as_str().unwrap();
        for (metric, key) in [
            ("shunt_port_rx_frames_total", "rx_packets"),
            ("shunt_port_rx_bytes_total", "rx_bytes"),
            ("shunt_port_tx_frames_total", "tx_packets"),
            ("shunt_port_tx_bytes_total", "tx_bytes"),
            ("shunt_port_taken_frames_total", "taken"),
            ("shunt_port_missed_frames_total", "missed"),
            ("shunt_port_full_bursts_total", "full_bursts"),
            ("shunt_port_deaths_total", "deaths"),
        ] {
            let series = format!("{metric}{{port={name}}}");
            assert_eq!(page.value(&series), port[key].as_f64().unwrap(), "{series}");
        }
        assert!(page.value(&format!("shunt_port_rx_frames_total{{port={name}}}")) >= 20.0);
        for flag in ["shunt_port_up", "shunt_port_link_up", "shunt_port_admin_up"] {
            assert_eq!(page.value(&format!("{flag}{{port={name}}}")), 1.0);
        }
        assert_eq!(page.value(&format!("shunt_port_info{{kind=veth,network=default,port={name}}}")), 1.0);
    }
    assert_eq!(page.value("shunt_port_dropped_frames_total{port=pod1,reason=same_port}"), 3.0);
    assert_eq!(page.value("shunt_dropped_frames_total{reason=same_port}"), 3.0);
    for drop in drops.as_array().unwrap() {
        let (port, reason) = (drop["port"].as_str().unwrap(), drop["reason"].as_str().unwrap());
        let series = format!("shunt_port_dropped_frames_total{{port={port},reason={reason}}}");
        assert_eq!(page.value(&series), drop["count"].as_f64().unwrap(), "{series}");
    }
    assert_eq!(page.value("shunt_topology_generation{}"), topology["generation"].as_f64().unwrap());
    assert_eq!(page.value("shunt_topology_in_force{}"), 1.0);
    assert_eq!(page.value("shunt_mempool_buffers{}"), topology["mbufs"][0].as_f64().unwrap());
    assert_eq!(page.value("shunt_fdb_entries{network=default}"), 2.0);
    agrees_on_workers(&node, &page);
    // All publications are still listed: there were few.
    let generations = node.show("generations").as_array().unwrap().len() as f64;
    assert_eq!(page.value("shunt_topology_build_seconds_count{}"), generations);
    assert_eq!(page.value("shunt_topology_build_seconds_bucket{le=+Inf}"), generations);
    let resident = page.value("process_resident_memory_bytes{}");
    assert!(resident > 1e6, "{resident}");
}

/// What workers count that stands still without traffic.
#[track_caller]
fn agrees_on_workers(node: &Node, page: &Page) {
    let workers = node.show("workers");
    let worker = &workers[0];
    for (metric, value) in [
        ("shunt_worker_frames_total", &worker["packets"]),
        ("shunt_flow_cache_hits_total", &worker["cache"]["hits"]),
        ("shunt_flow_cache_misses_total", &worker["cache"]["misses"]),
        ("shunt_flow_cache_entered_total", &worker["cache"]["entered"]),
        ("shunt_flow_cache_stale_total", &worker["cache"]["stale"]),
        ("shunt_flow_cache_unsound_total", &worker["cache"]["unsound"]),
        ("shunt_flow_cache_capacity", &worker["cache"]["capacity"]),
        ("shunt_worker_generation", &worker["generation"]),
        ("shunt_worker_full_iterations_total", &worker["pace"]["full"]),
        ("shunt_worker_latency_seconds_count", &worker["pace"]["busy"]),
        ("shunt_worker_lessons_lost_total", &worker["lessons_lost"]),
        ("shunt_worker_queues", &2.into()),
        ("shunt_worker_frames_total", &worker["carried"]["rx_packets"]),
        ("shunt_worker_rx_bytes_total", &worker["carried"]["rx_bytes"]),
        ("shunt_worker_tx_frames_total", &worker["carried"]["tx_packets"]),
        ("shunt_worker_tx_bytes_total", &worker["carried"]["tx_bytes"]),
        ("shunt_worker_taken_frames_total", &worker["carried"]["taken"]),
    ] {
        let series = format!("{metric}{{worker=0}}");
        assert_eq!(page.value(&series), value.as_f64().unwrap(), "{series}");
    }
    let cycles =
        |key: &str| worker["cycles"][key].as_f64().unwrap() / worker["cycles"]["hz"].as_f64().unwrap();
    let busy = page.value("shunt_worker_busy_seconds_total{worker=0}");
    assert!((busy - cycles("busy")).abs() < 1e-6 && busy > 0.0, "{busy}");
    assert!((page.value("shunt_worker_latency_seconds_sum{worker=0}") - busy).abs() < 1e-6);
    let time = page.value("shunt_worker_time_seconds_total{worker=0}");
    // A worker that sleeps counts no time either: both may be the same but for their last digit.
    assert!(time > busy && time <= cycles("total") + 1e-6, "{time}");
}

/// What the workers carried, all together, is what the ports did: in `shunt show` while all ports are there, in the metrics also after
/// one is gone.
#[test]
fn workers_and_ports_add_up_to_the_same() {
    require!(root(), tool("ping"), tool("curl"), file(PARSER), shuntd());
    let head = format!("{}[workers]\ncount = 2\n", head());
    let node = Node::start(&Plan { pods: &[Kind::Veth; 3], quiet: true, head: &head, ..Plan::default() });
    ping(&node, 20);
    // Dropped for a reason of its own by each worker: addresses behind the port that asks.
    for pod in &node.pods {
        let own = pod.mac();
        pod.netns.exec(&["ip", "neigh", "replace", "10.0.0.9", "lladdr", &own, "dev", "eth0"]).unwrap();
        assert_eq!(Ping { count: 3, ..Ping::to("10.0.0.9") }.run(&pod.netns).unwrap().received, 0);
    }
    const KEYS: [&str; 5] = ["rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "taken"];
    let sum = |rows: &Value, of: &dyn Fn(&Value) -> u64| rows.as_array().unwrap().iter().map(of).sum::<u64>();
    let by_ports = || {
        let (ports, drops) = (node.show("ports"), node.drops());
        (KEYS.map(|key| sum(&ports, &|row| row[key].as_u64().unwrap())), drops.values().sum::<u64>())
    };
    let drops = |row: &Value| sum(&row["carried"]["drops"], &|drop| drop["count"].as_u64().unwrap());
    let by_workers = || {
        let workers = node.show("workers");
        let carried = KEYS.map(|key| sum(&workers, &|row| row["carried"][key].as_u64().unwrap()));
        (carried, sum(&workers, &drops))
    };
    let deadline = Instant::now() + PATIENCE;
    let workers = loop {
        let (before, workers, after) = (by_ports(), by_workers(), by_ports());
        if before == after {
            assert_eq!(workers, after);
            break workers;
        }
        assert!(Instant::now() < deadline, "traffic goes on");
    };
    // The third pod's first frame was flooded: nobody knew yet where it is.
    assert!(workers.0[0] >= 40 && workers.1 >= 8, "{workers:?}");
    let each = node.show("workers");
    assert!(each.as_array().unwrap().iter().all(|row| drops(row) >= 3), "each worker dropped some: {each}");

    // What a port has counted that is gone is still the workers'.
    node.cli("port del pod3");
    let families = [
        ("shunt_worker_tx_frames_total", workers.0[2]),
        ("shunt_worker_tx_bytes_total", workers.0[3]),
        ("shunt_worker_taken_frames_total", workers.0[4]),
    ];
    let page = Page::of(&node);
    for (family, least) in families {
        let now: f64 = (0..2).map(|worker| page.value(&format!("{family}{{worker={worker}}}"))).sum();
        assert!(now >= least as f64, "{family}: {now}, was {least}");
    }
    for reason in node.show("drops").as_array().unwrap().iter().map(|drop| drop["reason"].as_str().unwrap()) {
        let of = |worker| {
            page.find(&format!("shunt_worker_dropped_frames_total{{reason={reason},worker={worker}}}"))
        };
        let all = page.value(&format!("shunt_dropped_frames_total{{reason={reason}}}"));
        assert_eq!((0..2).filter_map(of).sum::<f64>(), all, "{reason}");
    }
}

/// A worker that slept through a publication was not held up by it: one under traffic is.
#[test]
fn a_swap_under_traffic_is_among_the_stalls() {
    require!(root(), tool("ping"), tool("curl"), file(PARSER), shuntd());
    let node = start(&[Kind::Veth; 2]);
    let count = || Page::of(&node).value("shunt_topology_swap_stall_seconds_count{}");
    let before = count();
    let flood = ["ping", "-q", "-i", "0.002", "-w", "30", "10.0.0.2"];
    let _traffic = Cmd::new(flood).within(&node.pods[0].netns).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while count() == before {
        assert!(Instant::now() < deadline, "no swap found the worker awake");
        node.cli("resync");
    }
}

#[test]
fn counters_go_on_when_a_port_is_removed_and_added_again() {
    require!(root(), tool("ping"), tool("curl"), file(PARSER), shuntd());
    let node = start(&[Kind::Veth; 2]);
    let device = device(&node, 0);
    let rx = "shunt_port_rx_frames_total{port=pod1}";
    let never_back = |before: &Page, after: &Page| {
        for (series, value) in before.counters() {
            let now = after.find(series).unwrap_or(value);
            assert!(now >= value, "{series} went from {value} to {now}");
        }
    };
    ping(&node, 10);
    let first = Page::of(&node);
    assert!(first.value(rx) >= 10.0);

    node.cli("port del pod1");
    let without = Page::of(&node);
    assert_eq!(without.find(rx), None, "a port that is gone has no series");
    never_back(&first, &without);

    node.cli(&format!("port add pod1 kind=veth device={device}"));
    node.wait_port("pod1", "it is open", |port| port.oper_up && port.link);
    let again = Page::of(&node);
    never_back(&first, &again);
    assert!(again.value(rx) >= first.value(rx));
    ping(&node, 10);
    let after = Page::of(&node);
    never_back(&again, &after);
    assert!(after.value(rx) >= first.value(rx) + 10.0);
    // What is shown is the new port's own.
    let shown = node.port("pod1").rx_packets as f64;
    assert!(shown >= 10.0 && shown <= after.value(rx) - first.value(rx) + 10.0, "{shown}");

    node.cli("port reset pod1");
    node.wait_port("pod1", "it is open", |port| port.oper_up && port.link);
    never_back(&after, &Page::of(&node));
}

#[test]
fn how_deep_the_rings_of_dpdk_devices_are() {
    require!(root(), tool("curl"), file(PARSER), shuntd());
    let node = start(&[Kind::Veth; 2]);
    node.cli("port add nic kind=dpdk devargs=net_null8,no-rx=1 network=default");
    node.wait_port("nic", "it is open", |port| port.oper_up);
    let (page, shown) = (Page::of(&node), node.show("ports"));
    let shown = shown.as_array().unwrap().iter().find(|row| row["name"] == "nic").unwrap();
    for way in ["rx", "tx"] {
        // What is asked for of a device that sets no limits.
        assert_eq!(page.value(&format!("shunt_port_{way}_ring_descriptors{{port=nic}}")), 1024.0);
        assert_eq!(shown[format!("{way}_ring")], 1024, "{shown}");
        assert_eq!(page.find(&format!("shunt_port_{way}_ring_descriptors{{port=pod1}}")), None);
    }
}

/// Two pods, of which one may begin to talk with the other: what a policy is about is tracked.
const POLICY: &str = "
[[pod]]
namespace = \"x\"
name = \"a\"
labels = { app = \"a\" }
addresses = [\"10.0.0.1\"]

[[pod]]
namespace = \"x\"
name = \"b\"
labels = { app = \"b\" }
addresses = [\"10.0.0.2\"]

[[policy]]
namespace = \"x\"
name = \"allow\"
pod_selector = { match_labels = { app = \"b\" } }
ingress = [{ from = [{ pod_selector = { match_labels = { app = \"a\" } } }] }]
";

#[test]
fn connections_and_policies_are_counted() {
    require!(root(), tool("ping"), tool("curl"), file(PARSER), shuntd());
    let plan = Plan { pods: &[Kind::Veth; 2], quiet: true, head: &head(), tail: POLICY, ..Plan::default() };
    let node = Node::start(&plan);
    ping(&node, 20);
    let page = Page::of(&node);
    let shown: Value = node.shuntd.cli(&["conntrack", "-S", "--json"]).unwrap();
    for (metric, key) in [
        ("shunt_connections_capacity{}", "capacity"),
        ("shunt_connections_memory_bytes{}", "bytes"),
        ("shunt_connections_opened_total{}", "opened"),
        ("shunt_connections_deleted_total{}", "deleted"),
    ] {
        assert_eq!(page.value(metric), shown[key].as_f64().unwrap(), "{metric}");
    }
    assert!(
        page.value("shunt_connections{}") >= 1.0 && page.value("shunt_connections_opened_total{}") >= 1.0
    );
    assert!(page.value("shunt_zone_connections{zone=default}") >= 1.0);
    assert_eq!(page.value("shunt_policies{tier=policy}"), 1.0);
    assert_eq!(page.value("shunt_pods{}"), 2.0);
    assert_eq!(page.value("shunt_policy_apply_seconds_count{}"), 0.0);

    // The walk through the table comes by, some seconds later.
    let deadline = Instant::now() + Duration::from_secs(60);
    while Page::of(&node).value("shunt_protocol_connections{protocol=icmp}") < 1.0 {
        ping(&node, 1);
        assert!(Instant::now() < deadline, "no walk has found the pings");
    }

    let file = node.path("next.toml");
    fs::write(&file, format!("{}\n[[policy]]\nnamespace = \"y\"\nname = \"deny\"\n", node.config())).unwrap();
    node.cli(&format!("apply {}", file.display()));
    let page = Page::of(&node);
    assert_eq!(page.value("shunt_policy_apply_seconds_count{}"), 1.0);
    assert_eq!(page.value("shunt_policies{tier=policy}"), 2.0);
}

#[test]
fn health_and_readiness_and_ports_that_are_down() {
    require!(root(), tool("curl"), shuntd());
    let node = start(&[Kind::Veth; 2]);
    let health = get(&node, "/healthz", &[]);
    assert_eq!((health.status, health.text.as_str()), (200, "ok\n"));
    let ready = get(&node, "/readyz", &[]);
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(
        ready.text.starts_with("ready: generation ") && ready.text.ends_with(", workers: 1\n"),
        "{ready:?}"
    );

    node.netns.exec(&["ip", "link", "del", device(&node, 1)]).unwrap();
    node.wait_port("pod2", "its device is gone", |port| !port.oper_up);
    let ready = get(&node, "/readyz", &[]);
    // A pod that is gone is no reason to give the node no traffic.
    assert_eq!(ready.status, 200);
    assert!(ready.text.lines().nth(1).unwrap().starts_with("port pod2 is down: "), "{ready:?}");

    // Who does not ask for OpenMetrics gets the older format, which every tool reads.
    let plain = get(&node, "/metrics", &[]);
    assert_eq!((plain.status, plain.kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    assert!(plain.text.contains("\n# TYPE shunt_port_up gauge\n"), "{}", plain.text);
    assert!(plain.text.contains("\nshunt_port_up{port=\"pod2\"} 0\n"), "{}", plain.text);
    let lost = get(&node, "/", &[]);
    assert_eq!((lost.status, lost.text.as_str()), (404, "there are /metrics, /healthz and /readyz\n"));
    assert_eq!(get(&node, "/metrics", &["-X", "POST"]).status, 405);
}

#[test]
fn a_unix_socket_serves_the_same_and_is_removed_at_the_end() {
    require!(root(), tool("curl"), shuntd());
    let head = format!("{MEMORY}[metrics]\nlisten = \"DIR/metrics.sock\"\n");
    let mut node = Node::start(&Plan { quiet: true, head: &head, ..Plan::default() });
    let socket = node.path("metrics.sock");
    let asked = get(&node, "/healthz", &["--unix-socket", &socket.to_string_lossy()]);
    assert_eq!((asked.status, asked.text.as_str()), (200, "ok\n"));
    node.shuntd.stop().unwrap();
    assert!(!socket.exists());
}

#[test]
fn an_iteration_of_more_than_5_ms_is_an_alarm() {
    require!(root(), shuntd());
    // A worker that never sleeps is in an iteration whenever it is stopped.
    let head = format!("{MEMORY}[workers]\npoll = \"busy\"\n");
    let node = Node::start(&Plan { quiet: true, head: &head, ..Plan::default() });
    let pid = Pid::from_raw(node.shuntd.pid() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    thread::sleep(Duration::from_millis(120));
    kill(pid, Signal::SIGCONT).unwrap();
    let late = |workers: &Value| workers[0]["pace"]["worst_late_us"].as_f64().unwrap() >= 100_000.0;
    let workers = node.shuntd.cli_until(&["show", "workers", "--json"], PATIENCE, late).unwrap();
    assert!(workers[0]["pace"]["late"].as_u64().unwrap() >= 1, "{workers}");
    let text = node.cli("show workers");
    assert!(text.contains("\nALARM: worker 0 made frames late "), "{text}");
}

/// The rows of the tables of docs/metrics.md: name, type and meaning.
fn documented() -> Vec<(String, String, String)> {
    let text = fs::read_to_string(docs("metrics.md")).unwrap();
    let (_, tables) = text.split_once("## All metrics").unwrap();
    let rows = tables.lines().filter(|line| line.starts_with("| `"));
    let cells = |row: &str| {
        let cells: Vec<String> =
            row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        assert_eq!(cells.len(), 4, "{row}");
        (cells[0].trim_matches('`').to_owned(), cells[1].clone(), cells[3].clone())
    };
    rows.map(cells).collect()
}

#[test]
fn the_documentation_and_the_alerts_name_what_is_exported() {
    require!(root(), tool("curl"), tool("promtool"), tool("prometheus"), file(PARSER), shuntd());
    let node = start(&[Kind::Veth; 2]);
    let page = Page::of(&node);
    let exported: Vec<_> = page
        .families
        .iter()
        .map(|family| (family.name.clone(), family.kind.clone(), family.help.clone()))
        .collect();
    let documented = documented();
    let missing: Vec<_> = exported.iter().filter(|row| !documented.contains(row)).collect();
    let gone: Vec<_> = documented.iter().filter(|row| !exported.contains(row)).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not in docs/metrics.md: {missing:#?}\nnot exported: {gone:#?}"
    );

    let alerts = docs("alerts.yml").to_string_lossy().into_owned();
    Cmd::new(["promtool", "check", "rules", &alerts]).check().unwrap();
    let text = fs::read_to_string(&alerts).unwrap();
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let used: BTreeSet<&str> = text.split(word).filter(|word| word.starts_with("shunt_")).collect();
    let known = |name: &str| {
        let base = name.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
        exported.iter().any(|(exported, ..)| *exported == name || *exported == base)
    };
    assert!(used.len() > 5 && used.iter().all(|name| known(name)), "{used:?}");

    prometheus_takes_it(&node, &alerts);
}

/// Prometheus itself scrapes the daemon and evaluates the alerts.
fn prometheus_takes_it(node: &Node, alerts: &str) {
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{alerts}\"]\n\
         scrape_configs: [{{ job_name: shunt, static_configs: [{{ targets: [\"{LISTEN}\"] }}] }}]\n"
    );
    let file = node.path("prometheus.yml");
    fs::write(&file, config).unwrap();
    let server = Cmd::new([
        "prometheus".to_owned(),
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", node.path("tsdb").display()),
        "--web.listen-address=127.0.0.1:9090".to_owned(),
    ]);
    let _server = server.within(&node.netns).spawn().unwrap();
    let ask = |query: &str| {
        let argv = ["promtool", "query", "instant", "http://127.0.0.1:9090", query];
        Cmd::new(argv).within(&node.netns).run().unwrap().stdout
    };
    let until = |query: &str, wanted: &str| {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = ask(query);
            if answer.contains(wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{query}: {answer}");
            thread::sleep(Duration::from_millis(100));
        }
    };
    until("up{job=\"shunt\"}", "=> 1 ");
    until("shunt_port_up{port=\"pod1\"}", "=> 1 ");
    until("count(shunt_worker_latency_seconds_bucket)", "=> 21 ");
    // The port dies, and who watches hears of it.
    node.netns.exec(&["ip", "link", "del", device(node, 1)]).unwrap();
    until("ALERTS{alertname=\"ShuntPortDown\"}", "port=\"pod2\"");
}
