//! Clients as people have them: `ab` and `wrk` with a connection for each request, `dig` against two servers of which one goes.

use std::time::{Duration, Instant};

use shunt_tests::{Running, require};

use crate::cluster::{bracketed, config, http_at_last, serve, service};
use crate::lab::{apply, routed, until_answered};
use crate::node::{Node, PATIENCE, Pod};
use crate::{ADDRESSES, PLACES, V4, V6};

/// What has ended is forgotten soon.
const SOON: &str = "[connections]\ntcp_timeout_syn_sent = \"3s\"\ntcp_timeout_fin_wait = \"3s\"\ntcp_timeout_close_wait = \"3s\"\n\
                    tcp_timeout_last_ack = \"3s\"\ntcp_timeout_time_wait = \"2s\"\ntcp_timeout_close = \"1s\"\nicmp_timeout = \"1s\"\n\
                    udp_timeout = \"1s\"\nudp_timeout_stream = \"1s\"\n";
const REQUESTS: u32 = 1_000;

/// The number behind `label` in a report.
#[track_caller]
fn number(report: &str, label: &str) -> u32 {
    let line = report.lines().find_map(|line| line.trim().strip_prefix(label));
    let word = line
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or_else(|| panic!("no {label}: {report}"));
    word.parse().unwrap_or_else(|_| panic!("{label} {word}"))
}

/// Every request of `ab` is answered, each over a connection of its own. (Pages are as long as the names in them.)
#[track_caller]
fn ab(node: &Node, from: &Pod, host: &str, port: u16) {
    let (url, count) = (format!("http://{}:{port}/", bracketed(host)), REQUESTS.to_string());
    let argv = ["ab", "-q", "-l", "-n", &count, "-c", "10", "-s", "20", &url];
    let report = from.netns.cmd(&argv).timeout(Duration::from_secs(60)).check();
    let report = report.unwrap_or_else(|error| panic!("{url}: {error}: {:?}", node.drops())).stdout;
    assert_eq!(number(&report, "Complete requests:"), REQUESTS, "{report}");
    assert_eq!(number(&report, "Failed requests:"), 0, "{report}");
    assert!(!report.contains("Non-2xx"), "{report}");
}

/// `wrk` for two seconds: no connection fails, and no answer is missing or wrong.
#[track_caller]
fn wrk(node: &Node, from: &Pod, host: &str, port: u16) {
    let url = format!("http://{}:{port}/", bracketed(host));
    let argv = ["wrk", "-t", "1", "-c", "10", "-d", "2s", "-H", "Connection: close", &url];
    let report = from.netns.cmd(&argv).timeout(Duration::from_secs(30)).check().unwrap().stdout;
    let asked =
        report.lines().find(|line| line.contains(" requests in ")).unwrap_or_else(|| panic!("{report}"));
    let asked: u32 = asked.split_whitespace().next().unwrap().parse().unwrap();
    println!("{url}: {asked} requests of wrk");
    assert!(asked > 50, "{report}: {:?}", node.drops());
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}: {:?}", node.drops());
}

/// Connections that the table holds.
fn held(node: &Node) -> u64 {
    node.cli("conntrack -C").trim().parse().unwrap()
}

#[track_caller]
fn until_empty(node: &Node) {
    let deadline = Instant::now() + PATIENCE;
    while held(node) > 0 {
        assert!(Instant::now() < deadline, "{}", node.cli("conntrack -L"));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn http_with_a_connection_for_each_request() {
    require!(root(), tool("perl"), tool("curl"), tool("ab"), tool("wrk"), shuntd());
    let node = routed(PLACES, "");
    let [client, near, far] = &node.pods[..] else { unreachable!("three pods") };
    let web = service(ADDRESSES, &[&near.v4, &near.v6, &far.v4, &far.v6]);
    // The client's network is masqueraded towards the other one, whose pod knows no way back.
    apply(&node, &config(&node, PLACES, true, &format!("{web}{SOON}")));
    for family in ["-4", "-6"] {
        far.netns.exec(&["ip", family, "route", "del", "default"]).unwrap();
    }
    let _running = [serve(near, 8080), serve(far, 8080)];
    let refused = node.shuntd.cli_cmd(&["tcpdump", "drop", "invalid_state"]).unwrap().spawn().unwrap();
    refused.stderr().wait_for("listening on", 0, PATIENCE).expect("it listens");
    for (cluster, outside) in [(V4, &far.v4), (V6, &far.v6)] {
        until_answered(&node, client, outside);
        http_at_last(&node, client, cluster, 80);
        for (host, port) in [(cluster, 80), (outside.as_str(), 8080)] {
            ab(&node, client, host, port);
            assert!(held(&node) > 0, "its connections are in the table");
            wrk(&node, client, host, port);
        }
    }
    until_empty(&node);
    // wrk ends in the middle of requests: its host resets what still comes, once a segment and with the number that the segment asks
    // for. Only the one that the server waits for goes through (RFC 5961 section 3.2), so of the others, and of nothing else, is heard.
    let lost = refused.stdout().text(0);
    assert_eq!(lost.lines().find(|line| !line.contains("Flags [R], ")), None);
    let (drops, connections) = (node.drops(), ["connections_full", "masquerade_ports", "connection_gone"]);
    assert!(!drops.keys().any(|what| connections.iter().any(|reason| what.ends_with(reason))), "{drops:?}");
}

/// A DNS server in `pod` that has one name, with that address.
#[track_caller]
fn dns(pod: &Pod, address: &str) -> Running {
    let name = format!("--address=/who.test/{address}");
    let argv =
        ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--port=8053", "--user=root", &name];
    let more = ["--conf-file=/dev/null", "--pid-file=", "--log-facility=-"];
    let running = pod.netns.spawn(&[&argv[..], &more].concat()).unwrap();
    let started = running.stderr().wait_for("started", 0, PATIENCE);
    started.unwrap_or_else(|| panic!("dnsmasq: {}", running.stderr().text(0)));
    running
}

/// What a resolver that asks once, from that port, is told.
#[track_caller]
fn dig(from: &Pod, own: &str, port: u16, server: &str, more: &[&str]) -> String {
    let (at, bound) = (format!("@{server}"), format!("{own}#{port}"));
    let argv = ["dig", "+short", "+tries=1", "+time=2", "-b", &bound, &at, "who.test", "A"];
    from.netns.cmd(&[&argv[..], more].concat()).run().unwrap().stdout.trim().to_owned()
}

#[test]
fn a_resolver_that_keeps_its_port_is_answered_when_a_server_goes() {
    require!(root(), tool("dig"), tool("dnsmasq"), shuntd());
    const PORTS: std::ops::Range<u16> = 40_000..40_012;
    let node = routed(PLACES, "");
    let [client, near, far] = &node.pods[..] else { unreachable!("three pods") };
    let addresses = "cluster_ips = [\"10.96.0.10\", \"fd00:96::10\"]\nports = [{ name = \"t\", port = 53 }, { name = \"u\", protocol = \"udp\", port = 53 }]\n";
    let has = |pods: &[&Pod]| {
        let backends: Vec<&str> = pods.iter().flat_map(|pod| [pod.v4.as_str(), pod.v6.as_str()]).collect();
        apply(&node, &config(&node, PLACES, false, &service(addresses, &backends).replace("8080", "8053")));
    };
    let mut goes = dns(near, "10.9.9.1");
    let _stays = dns(far, "10.9.9.2");
    has(&[near, far]);
    for to in [&near.v4, &near.v6, &far.v4, &far.v6] {
        until_answered(&node, client, to);
    }
    let families = [(&client.v4, V4), (&client.v6, V6)];
    let all = || -> Vec<String> {
        let asked = families.iter().flat_map(|family| PORTS.map(move |port| (family, port)));
        asked.map(|((own, server), port)| dig(client, own, port, server, &[])).collect()
    };
    let spread = all();
    assert!(spread.iter().all(|answer| answer.starts_with("10.9.9.")), "{spread:?}: {:?}", node.drops());
    for answer in ["10.9.9.1", "10.9.9.2"] {
        assert!(spread.iter().any(|it| it == answer), "{answer} has no share: {spread:?}");
    }
    // The entries of its questions live on for half a minute, unless somebody ends them.
    let entries = node.cli("conntrack -L -p udp");
    assert!(entries.contains(&format!("src={} dst={} sport=8053", near.v4, client.v4)), "{entries}");
    has(&[far]);
    goes.kill();
    let deadline = Instant::now() + PATIENCE;
    let to_near =
        |listed: &str| [&near.v4, &near.v6].iter().any(|own| listed.contains(&format!("src={own} dst=")));
    while to_near(&node.cli("conntrack -L -p udp")) {
        assert!(Instant::now() < deadline, "{}", node.cli("conntrack -L -p udp"));
    }
    let after = all();
    assert!(after.iter().all(|answer| answer == "10.9.9.2"), "{after:?}: {:?}", node.drops());
    for (own, server) in families {
        assert_eq!(dig(client, own, 0, server, &["+tcp"]), "10.9.9.2");
    }
}
