//! The difference, key by key: each key alone is noticed, named, and sorted into "on the open port", "open anew" or
//! "restart". The list of keys itself says whether one was forgotten.

use std::collections::BTreeSet;

use shunt_config::{Config, Port, SECTIONS, Step, diff, parse};

fn config(text: &str) -> Config {
    parse(text, "test").unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Two values for a key, as TOML; the first may be the default.
fn two_values(key: &str) -> (&'static str, &'static str) {
    match key {
        "network" => ("\"default\"", "\"blue\""),
        "admin_up" | "tso" | "mergeable" => ("true", "false"),
        "mtu" => ("1500", "1400"),
        "mac" | "peer_mac" => ("\"02:00:00:00:00:01\"", "\"02:00:00:00:00:02\""),
        "queues" => ("1", "2"),
        "placement" => ("[0]", "[1]"),
        "mac_limit" => ("8", "9"),
        "endpoints" => ("[]", "[{ mac = \"02:00:00:00:00:08\", ip = [\"10.0.0.8\"] }]"),
        "stations" => ("[]", "[\"02:00:00:00:00:09\"]"),
        "device" => ("\"a\"", "\"b\""),
        "netns" => ("\"a\"", "\"/run/netns/b\""),
        "addresses" => ("[\"10.0.0.2/24\"]", "[\"10.0.0.2/16\"]"),
        "start_queue" | "id" => ("0", "1"),
        "path" | "socket" => ("\"/a\"", "\"/b\""),
        "mode" | "role" => ("\"server\"", "\"client\""),
        "secret" => ("\"a\"", "\"b\""),
        "ring_size_log2" => ("10", "11"),
        "buffer_size" | "mbuf_size" => ("2048", "4096"),
        "devargs" => ("\"net_null0\"", "\"net_null0,no-rx=1\""),
        "hugepages" => ("\"auto\"", "\"never\""),
        "mbufs" => ("16384", "32768"),
        "count" => ("1", "2"),
        "cores" => ("[1]", "[2]"),
        "poll" => ("\"adaptive\"", "\"busy\""),
        "burst" => ("32", "64"),
        "idle_after" => ("\"50us\"", "\"60us\""),
        "max_sleep" => ("\"500us\"", "\"600us\""),
        "mac_ageing" | "neighbor_ageing" => ("\"5m\"", "\"0\""),
        "entries" => ("0", "1024"),
        "key" => ("\"needed\"", "\"full\""),
        "verify" => ("0", "100"),
        "idle_timeout" => ("\"10s\"", "\"20s\""),
        "router" => ("\"r\"", "\"s\""),
        "gateways" => ("[\"10.0.0.1/24\"]", "[\"10.0.0.1/24\", \"fd00::1/64\"]"),
        "gateway_mac" => ("\"02:00:00:00:00:0a\"", "\"02:00:00:00:00:0b\""),
        "routes" => ("[]", "[{ to = \"::/0\", blackhole = true }]"),
        other => panic!("no values for the new key {other}: add some, and see that diff() compares it"),
    }
}

/// A configuration with one port of `kind` whose keys all have their first value, except `other`.
fn with_port(kind: &str, other: &str) -> Config {
    let port = SECTIONS.iter().find(|s| s.name == "port").unwrap();
    let mut text =
        String::from("[workers]\ncount = 2\n[[network]]\nname = \"default\"\n[[network]]\nname = \"blue\"\n");
    text += &format!("[[port]]\nname = \"p\"\nkind = \"{kind}\"\n");
    for key in port.keys.iter().filter(|k| k.kinds.is_empty() || k.kinds.contains(&kind)) {
        if matches!(key.name, "name" | "kind") || (other == "queues" && key.name == "placement") {
            continue;
        }
        let (first, second) = two_values(key.name);
        text += &format!("{} = {}\n", key.name, if key.name == other { second } else { first });
    }
    config(&text)
}

#[test]
fn each_key_of_each_port_kind_alone() {
    let live = ["network", "admin_up", "mtu", "placement", "mac_limit", "stations", "endpoints"];
    let live: BTreeSet<_> = live.into();
    let port = SECTIONS.iter().find(|s| s.name == "port").unwrap();
    for kind in ["veth", "tap", "tun", "af_xdp", "vhost-user", "memif", "dpdk"] {
        for key in port.keys.iter().filter(|k| k.kinds.is_empty() || k.kinds.contains(&kind)) {
            if matches!(key.name, "name" | "kind") {
                continue;
            }
            let mut old = with_port(kind, "");
            if key.name == "queues" {
                old.ports[0].placement.clear();
            }
            let new = with_port(kind, key.name);
            let found = diff(&old, &new);
            assert_eq!(found.changed_ports.len(), 1, "{kind} {}", key.name);
            let change = &found.changed_ports[0];
            assert_eq!(change.keys, [key.name], "{kind}");
            assert_eq!(change.reopen, !live.contains(key.name), "{kind} {}", key.name);
            assert_eq!((&change.from, &change.to), (&old.ports[0], &new.ports[0]));
            let steps = found.steps();
            if change.reopen {
                assert_eq!(steps, [Step::ClosePort(&old.ports[0].name), Step::OpenPort(&new.ports[0])]);
            } else {
                assert_eq!(steps, [Step::ChangePort(change)]);
            }
        }
    }
}

#[test]
fn each_key_of_the_other_sections_alone() {
    for section in SECTIONS.iter().filter(|s| s.name != "port") {
        for key in section.keys.iter().filter(|k| !matches!(k.name, "name" | "kind")) {
            let (first, second) = two_values(key.name);
            // What a network says of its router goes together.
            let also = match key.name {
                "router" | "gateway_mac" => ["router", "gateways"],
                "gateways" => ["router", ""],
                _ => [""; 2],
            };
            let also = also.iter().filter(|name| !name.is_empty() && **name != key.name);
            let also: String = also.map(|name| format!("{name} = {}\n", two_values(name).0)).collect();
            let routers = "[[router]]\nname = \"s\"\n[[router]]\nname = \"r\"\n";
            let head = match section.name {
                "network" => format!("{routers}[[network]]\nname = \"n\"\n"),
                "router" => routers.to_owned(),
                name => format!("[{name}]\n"),
            };
            let [old, new] =
                [first, second].map(|value| config(&format!("{head}{also}{} = {value}\n", key.name)));
            let found = diff(&old, &new);
            if section.name == "network" {
                assert_eq!(found.changed_networks.len(), 1, "{}", key.name);
                assert_eq!(found.changed_networks[0].keys, [key.name]);
                assert!(found.restart_required.is_empty());
                assert_eq!(found.steps(), [Step::ChangeNetwork(&found.changed_networks[0])]);
            } else if section.name == "router" {
                let change = &found.changed_routers[0];
                assert_eq!((&change.from, &change.to), (&old.routers[1], &new.routers[1]));
                assert_eq!(found.steps(), [Step::ChangeRouter(change)]);
            } else {
                assert_eq!(found.restart_required, [format!("{}.{}", section.name, key.name)]);
                assert!(found.steps().is_empty() && !found.is_empty());
            }
        }
    }
}

#[test]
fn another_kind_under_the_same_name_is_opened_anew() {
    let [old, new] = ["tap", "tun"].map(|kind| with_port(kind, ""));
    let found = diff(&old, &new);
    assert_eq!(found.changed_ports[0].keys, ["kind"]);
    assert!(found.changed_ports[0].reopen);
}

#[test]
fn an_mtu_inherited_from_the_network_changes_the_port() {
    let text = |mtu| {
        config(&format!(
            "[[network]]\nname = \"default\"\nmtu = {mtu}\n\
             [[port]]\nname = \"inherits\"\nkind = \"tap\"\n[[port]]\nname = \"own\"\nkind = \"tap\"\nmtu = 1500\n"
        ))
    };
    let (old, new) = (text(1500), text(9000));
    let found = diff(&old, &new);
    let changed: Vec<_> =
        found.changed_ports.iter().map(|c| (c.to.name.as_str(), c.keys.as_slice(), c.reopen)).collect();
    assert_eq!(changed, [("inherits", &["mtu"][..], false)]);
    assert_eq!([&new.ports[0], &new.ports[1]].map(|p| new.port_mtu(p)), [9000, 1500]);
}

#[test]
fn a_device_name_written_out_is_the_same_device() {
    let [old, new] =
        ["", "device = \"p\""].map(|line| config(&format!("[[port]]\nname = \"p\"\nkind = \"tap\"\n{line}")));
    assert_ne!(old.ports, new.ports);
    assert!(diff(&old, &new).is_empty());
}

#[test]
fn a_device_passes_from_one_port_to_another() {
    let text = |a, b| {
        let port =
            |name, device| format!("[[port]]\nname = \"{name}\"\nkind = \"veth\"\ndevice = \"{device}\"\n");
        config(&(port("a", a) + &port("b", b)))
    };
    let (old, new) = (text("x", "y"), text("y", "x"));
    let order: Vec<_> = diff(&old, &new).steps().iter().map(|s| matches!(s, Step::ClosePort(_))).collect();
    assert_eq!(order, [true, true, false, false]);
}

#[test]
fn a_placement_on_workers_to_come_waits_for_the_restart() {
    let running = config("[workers]\ncount = 1\n");
    let new = config("[workers]\ncount = 4\n[[port]]\nname = \"p\"\nkind = \"tap\"\nplacement = [3]\n");
    let errors = new.on_running(&running, "new.toml").unwrap_err();
    assert_eq!(
        errors.to_string(),
        "new.toml: port p.placement[0]: there is no worker 3; choose 0 to 0, or raise workers.count"
    );
    let placed = |worker| Port { placement: vec![worker], ..new.ports[0].clone() };
    let fits = Config { ports: vec![placed(0)], ..new.clone() };
    let taken = fits.on_running(&running, "new.toml").unwrap();
    assert_eq!((taken.workers, taken.ports), (running.workers, vec![placed(0)]));
}
