//! Scenarios about how many connections there may be, how long they live, and who ends them.

use shunt_tests::require;

use crate::ends::{own, spray, statistic, three};
use crate::lab::{apply, dropped, until_answered};
use crate::node::{Node, PATIENCE};
use crate::site::masquerades;

/// Waits until so many frames of `port` have been dropped for that reason.
#[track_caller]
fn refused(node: &Node, port: &str, reason: &str, wanted: u64) {
    let counted = |_: &serde_json::Value| dropped(node, port, reason) >= wanted;
    let waited = node.shuntd.cli_until(&["show", "drops", "--json"], PATIENCE, counted);
    waited.unwrap_or_else(|error| panic!("{error}: {:?}, {}", node.drops(), node.cli("conntrack -L")));
}

/// The running configuration with another text in the place of one.
#[track_caller]
fn changed(node: &Node, from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(node.path("config.toml")).unwrap();
    assert!(text.contains(from), "{text}");
    text.replace(from, to)
}

#[test]
fn ct_flush_by_5_tuple() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    for v6 in [false, true] {
        let node = masquerades("");
        let (a, tap, outside) = three(&node);
        let to = own(outside, v6);
        for pod in [a, tap] {
            until_answered(&node, pod, to);
            spray(pod, to, 7000, 3);
        }
        // One of a's three by all that tells it, then what is left of them by who they are between.
        let listed = node.cli(&format!("conntrack -L -p udp -s {} -d {to} --dport 7001", own(a, v6)));
        let sport = listed.split(' ').find_map(|word| word.strip_prefix("sport=")).expect("one connection");
        let others = sport.parse::<u16>().unwrap() ^ 1;
        let five = |protocol: &str, sport: &str, dport: u16| {
            let ends = format!("-s {} -d {to} --sport {sport} --dport {dport}", own(a, v6));
            node.cli(&format!("conntrack -D -p {protocol} {ends}"))
        };
        for (protocol, sport, dport) in
            [("tcp", sport, 7001), ("udp", sport, 7003), ("udp", &others.to_string(), 7001)]
        {
            assert_eq!(five(protocol, sport, dport), "0 connections have been ended.\n");
        }
        assert_eq!(five("udp", sport, 7001), "1 connections have been ended.\n");
        assert_eq!(node.cli("conntrack -L -p udp --dport 7001").lines().count(), 1, "that of the other pod");
        let ended = node.cli(&format!("conntrack -D -p udp -s {} -d {to}", own(a, v6)));
        assert_eq!(ended, "2 connections have been ended.\n");
        let left = node.cli("conntrack -L -p udp");
        let of_tap = format!("src={} ", own(tap, v6));
        assert!(left.lines().count() == 3 && left.lines().all(|line| line.contains(&of_tap)), "{left}");
    }
}

#[test]
fn limit_by_zone() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let limit = |zone: u32| format!("[connections]\nper_zone = {zone}\n");
    for v6 in [false, true] {
        let node = masquerades(&limit(10));
        let (a, _, outside) = three(&node);
        let to = own(outside, v6);
        until_answered(&node, a, to);
        node.cli("conntrack -F");
        spray(a, to, 7000, 25);
        refused(&node, "pod1", "connection_zone", 15);
        assert_eq!(node.cli("conntrack -C").trim(), "10");
        assert_eq!((statistic(&node, "entries"), statistic(&node, "connection_zone")), (10, 15));
        // Another limit, while it runs.
        apply(&node, &changed(&node, &limit(10), &limit(14)));
        spray(a, to, 8000, 5);
        refused(&node, "pod1", "connection_zone", 16);
        assert_eq!(node.cli("conntrack -C").trim(), "14");
    }
}

#[test]
fn get_nconns_and_get_set_maxconns() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    for v6 in [false, true] {
        let node = masquerades("[connections]\nper_source = 5\n");
        let (a, tap, outside) = three(&node);
        let to = own(outside, v6);
        until_answered(&node, a, to);
        until_answered(&node, tap, to);
        node.cli("conntrack -F");
        assert_eq!((statistic(&node, "capacity"), statistic(&node, "entries")), (262_144, 0));
        spray(a, to, 7000, 9);
        spray(tap, to, 7000, 3);
        refused(&node, "pod1", "connection_limit", 4);
        let all = |shown: &serde_json::Value| shown["connections"]["entries"] == 8;
        node.shuntd.cli_until(&["show", "topology", "--json"], PATIENCE, all).unwrap();
        // One pod has as many as it may, and another does not notice.
        assert_eq!((node.cli("conntrack -C").trim(), dropped(&node, "pod2", "connection_limit")), ("8", 0));
        let shown = node.show("topology");
        assert_eq!(
            (&shown["connections"]["entries"], &shown["connections"]["capacity"]),
            (&8.into(), &262_144.into())
        );
        std::fs::write(node.path("config.toml"), changed(&node, "per_source = 5", "capacity = 4096"))
            .unwrap();
        let path = node.path("config.toml").to_string_lossy().into_owned();
        let told = node.shuntd.cli_cmd(&["apply", &path]).unwrap().run().unwrap();
        assert!(!told.status.success() && told.stderr.contains("connections.capacity"), "{}", told.stderr);
    }
}

#[test]
fn new_connections_of_one_source_in_a_second() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    for v6 in [false, true] {
        let node = masquerades("[connections]\nper_source_rate = 10\n");
        let (a, tap, outside) = three(&node);
        until_answered(&node, a, own(outside, v6));
        until_answered(&node, tap, own(outside, v6));
        spray(a, own(outside, v6), 7000, 400);
        let made = || statistic(&node, "opened");
        let refused = || statistic(&node, "connection_rate");
        node.shuntd.cli_until(&["show", "drops", "--json"], PATIENCE, |_| made() + refused() > 400).unwrap();
        // All within a second or three.
        assert!(refused() > 300, "{}", node.cli("conntrack -S"));
        // While one is refused another goes on.
        spray(a, own(outside, v6), 7000, 100);
        spray(tap, own(outside, v6), 7000, 5);
        let listed = || node.cli(&format!("conntrack -L -p udp -s {}", own(tap, v6))).lines().count() == 5;
        node.shuntd.cli_until(&["show", "drops", "--json"], PATIENCE, |_| listed()).unwrap();
        assert_eq!(dropped(&node, "pod2", "connection_rate"), 0);
    }
}

#[test]
fn timeouts_of_protocols() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    for v6 in [false, true] {
        let node = masquerades("[connections]\nudp_timeout = \"1s\"\n");
        let (a, _, outside) = three(&node);
        let to = own(outside, v6);
        until_answered(&node, a, to);
        spray(a, to, 7000, 5);
        node.shuntd
            .cli_until(&["conntrack", "-L", "-p", "udp", "-o", "json"], PATIENCE, |rows| {
                rows.as_array().is_some_and(Vec::is_empty)
            })
            .unwrap();
        assert!(statistic(&node, "expired") >= 5);
        // Echoes have a time of their own.
        let (protocol, kind) = if v6 { ("icmpv6", "type=128") } else { ("icmp", "type=8") };
        assert!(node.cli(&format!("conntrack -L -p {protocol}")).contains(kind));
    }
}
