//! The difference, key by key: each key alone is noticed, named, and sorted into "on the open port", "open anew" or
//! "restart". The list of keys itself says whether one was forgotten.

use std::collections::{BTreeMap, BTreeSet};

use shunt_config::{Config, Port, SECTIONS, Step, diff, parse};

fn config(text: &str) -> Config {
    parse(text, "test").unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Two values for a key, as TOML; the first may be the default.
fn two_values(key: &str) -> (&'static str, &'static str) {
    match key {
        "network" => ("\"default\"", "\"blue\""),
        "admin_up" | "tso" | "mergeable" | "spoof_check" | "trusted" | "tcp_loose" | "closed"
        | "announce" | "flood" | "proxy_arp" => ("true", "false"),
        "mss_clamp" | "masquerade" | "local_route" | "learning" | "udp_checksum" | "service_tag"
        | "untagged" | "needs_pod" | "forward_control" => ("false", "true"),
        "vlan" | "native_vlan" => ("1155", "1156"),
        "vlans" | "trunk" => ("[1155]", "[1155, 1156]"),
        "mirror_direction" => ("\"ingress\"", "\"both\""),
        "police_frames" | "police_bits" => ("0", "1000"),
        "storm_limit" => ("0", "10000"),
        "bridge" => ("\"b0\"", "\"b1\""),
        "parent_mac" => ("\"02:00:00:00:00:0c\"", "\"02:00:00:00:00:0d\""),
        "host_port" => ("\"h0\"", "\"h1\""),
        "mirror" => ("\"m0\"", "\"m1\""),
        "encap" => ("\"vxlan\"", "\"geneve\""),
        "vni" => ("1", "2"),
        "payload" => ("\"ethernet\"", "\"ip\""),
        "transport" => ("\"t0\"", "\"t1\""),
        "local" => ("\"10.1.0.1\"", "\"10.1.1.1\""),
        "port" => ("4789", "8472"),
        "cidr" => ("[]", "\"10.20.0.0/16\""),
        "dscp" => ("0", "\"inherit\""),
        "ovn_ports" => ("[]", "[3, 5]"),
        "snat" => ("[]", "[{ to = \"t0\", source = \"none\" }]"),
        "return" => ("\"symmetric\"", "\"gateway\""),
        "vtep" => ("\"10.20.9.0\"", "\"10.20.8.0\""),
        "node_ips" => ("[\"10.0.0.2\"]", "[\"10.0.0.3\"]"),
        "peers" => ("[]", "[{ address = \"10.1.0.2\" }]"),
        "peers_file" => ("\"/a\"", "\"/b\""),
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
        "path" | "socket" | "state_dir" => ("\"/a\"", "\"/b\""),
        "mode" | "role" => ("\"server\"", "\"client\""),
        "secret" => ("\"a\"", "\"b\""),
        "ring_size_log2" => ("10", "11"),
        "buffer_size" | "mbuf_size" => ("2048", "4096"),
        "devargs" => ("\"net_null0\"", "\"net_null0,no-rx=1\""),
        "hugepages" => ("\"auto\"", "\"never\""),
        "mbufs" => ("16384", "32768"),
        "listen" => ("\"127.0.0.1:9464\"", "\"/a\""),
        "count" => ("1", "2"),
        "cores" => ("[1]", "[2]"),
        "poll" => ("\"adaptive\"", "\"busy\""),
        "burst" => ("32", "64"),
        "idle_after" => ("\"50us\"", "\"60us\""),
        "max_sleep" => ("\"500us\"", "\"600us\""),
        "mac_ageing" | "neighbor_ageing" => ("\"5m\"", "\"0\""),
        "entries" => ("0", "1024"),
        "capacity" => ("1024", "2048"),
        key if key.starts_with("per_") => ("100", "200"),
        key if key.contains("_timeout") && key != "idle_timeout" => ("\"30s\"", "\"31s\""),
        "back_off" => ("true", "false"),
        "key" => ("\"needed\"", "\"full\""),
        "verify" => ("0", "100"),
        "idle_timeout" => ("\"10s\"", "\"20s\""),
        "router" => ("\"r\"", "\"s\""),
        "gateways" => ("[\"10.0.0.1/24\"]", "[\"10.0.0.1/24\", \"fd00::1/64\"]"),
        "gateway_mac" => ("\"02:00:00:00:00:0a\"", "\"02:00:00:00:00:0b\""),
        "zone" => ("\"a\"", "\"b\""),
        "node_ports" => ("\"1-2\"", "\"1-3\""),
        "external_ips" => ("[]", "[\"203.0.113.0/28\"]"),
        "floating_ips" => ("[]", "[{ external = \"192.0.2.7\", internal = \"10.0.0.7\" }]"),
        "snat_pool" => ("[]", "[\"10.0.0.77\"]"),
        "snat_ports" => ("\"40000-40015\"", "\"40000-40016\""),
        "timeouts" => ("{}", "{ udp_timeout = \"1s\" }"),
        "port_forwards" => ("[]", "[{ external = \"192.0.2.7:80\", internal = \"10.0.0.7:8080\" }]"),
        "gateway_mode" => ("\"shared\"", "\"local\""),
        "management_port" => ("\"h0\"", "\"h1\""),
        "static_snat" => ("[]", "[{ source = \"10.1.0.0/24\", address = \"10.0.0.77\" }]"),
        "routes" => ("[]", "[{ to = \"::/0\", blackhole = true }]"),
        other => panic!("no values for the new key {other}: add some, and see that diff() compares it"),
    }
}

/// A configuration with one port of `kind` whose keys all have their first value, except `other`. It has of VLANs only
/// `vlans`.
fn with_port(kind: &str, other: &str, vlans: &str) -> Config {
    let port = SECTIONS.iter().find(|s| s.name == "port").unwrap();
    let mut text = String::from(
        "[workers]\ncount = 2\n[[network]]\nname = \"default\"\nvlans = [1155, 1156]\n[[network]]\nname = \"blue\"\n",
    );
    text += &format!("[[port]]\nname = \"p\"\nkind = \"{kind}\"\n{vlans}");
    for key in port.keys.iter().filter(|k| k.kinds.is_empty() || k.kinds.contains(&kind)) {
        let vlan = matches!(key.name, "vlan" | "trunk" | "native_vlan" | "untagged" | "service_tag");
        let left_out = matches!(key.name, "name" | "kind") || (vlan && other != key.name);
        if left_out || (other == "queues" && key.name == "placement") {
            continue;
        }
        let (first, second) = match key.name {
            "routes" => ("[]", "[{ to = \"10.9.0.0/16\" }]"),
            name => two_values(name),
        };
        text += &format!("{} = {}\n", key.name, if key.name == other { second } else { first });
    }
    for mirror in ["m0", "m1"] {
        text += &format!("[[port]]\nname = \"{mirror}\"\nkind = \"tap\"\n");
    }
    config(&text)
}

#[test]
fn each_key_of_each_port_kind_alone() {
    let live = [
        "network",
        "admin_up",
        "mtu",
        "placement",
        "mac_limit",
        "stations",
        "endpoints",
        "spoof_check",
        "trusted",
        "mirror",
        "mirror_direction",
        "police_frames",
        "police_bits",
    ];
    let vlans = ["vlan", "trunk", "native_vlan", "untagged", "service_tag"];
    let live: BTreeSet<_> = live.into_iter().chain(vlans).collect();
    let port = SECTIONS.iter().find(|s| s.name == "port").unwrap();
    for kind in ["veth", "tap", "tun", "af_xdp", "vhost-user", "memif", "dpdk"] {
        for key in port.keys.iter().filter(|k| k.kinds.is_empty() || k.kinds.contains(&kind)) {
            let tags = matches!(key.name, "trunk" | "native_vlan" | "untagged" | "service_tag");
            // A port can need its pod only when it has addresses.
            if matches!(key.name, "name" | "kind" | "needs_pod") || (tags && kind == "tun") {
                continue;
            }
            let also = if matches!(key.name, "native_vlan" | "untagged" | "service_tag") {
                "trunk = [1155]\n"
            } else {
                ""
            };
            let mut old = with_port(kind, "", also);
            if key.name == "queues" {
                old.ports[0].placement.clear();
            }
            let new = with_port(kind, key.name, also);
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
fn a_port_begins_to_need_its_pod_while_it_is_open() {
    let with = |needs: bool| {
        config(&format!(
            "[[port]]\nname = \"p\"\nkind = \"tap\"\nneeds_pod = {needs}\nendpoints = [{{ mac = \"02:00:00:00:00:08\", ip = [\"10.0.0.8\"] }}]\n"
        ))
    };
    let found = diff(&with(false), &with(true));
    assert_eq!(found.changed_ports.len(), 1);
    assert_eq!(
        (found.changed_ports[0].keys.as_slice(), found.changed_ports[0].reopen),
        (&["needs_pod"][..], false)
    );
    let alone =
        parse("[[port]]\nname = \"p\"\nkind = \"tap\"\nneeds_pod = true\n", "t").unwrap_err().to_string();
    assert_eq!(
        alone,
        "t:4:13: port[0].needs_pod: the pod is found by its addresses; give them, as endpoints = [{ mac = MAC, ip = [\"10.16.0.2\"] }]"
    );
}

/// The keys that a network of `kind` needs besides `key` so that both values of that can stand.
fn needed(kind: &str, key: &str) -> Vec<(&'static str, &'static str)> {
    let mut keys = match kind {
        "underlay" => vec![("kind", "\"underlay\""), ("bridge", "\"b0\""), ("mode", "\"bridged\"")],
        "overlay" => {
            vec![("kind", "\"overlay\""), ("encap", "\"vxlan\""), ("vni", "1"), ("transport", "\"t0\"")]
        }
        _ => vec![],
    };
    match key {
        "router" | "gateways" | "gateway_mac" | "proxy_arp" | "mss_clamp" | "masquerade" | "snat"
        | "local_route" | "cidr" | "vtep" | "node_ips" => {
            keys.extend([("router", "\"r\""), ("gateways", "[\"10.0.0.1/24\"]")]);
        }
        "closed" => {
            keys.extend([("router", "\"r\""), ("gateways", "[\"10.0.0.1/24\"]"), ("masquerade", "true")])
        }
        "parent_mac" => keys.push(("mode", "\"demux\"")),
        "encap" => keys.push(("port", "4000")),
        "ovn_ports" => keys.push(("encap", "\"geneve\"")),
        "payload" => {
            keys.extend([("encap", "\"gre\""), ("router", "\"r\""), ("gateways", "[\"10.0.0.1/24\"]")])
        }
        _ => {}
    }
    keys
}

/// Network `n` of `kind` with `key = value` and what it needs, among others that it may refer to.
fn with_network(kind: &str, key: &str, value: &str) -> Config {
    let mut keys: BTreeMap<&str, &str> = needed(kind, key).into_iter().collect();
    keys.insert(key, value);
    let keys: String = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    let mut text = String::from("[[router]]\nname = \"s\"\n[[router]]\nname = \"r\"\n");
    for bridge in ["b0", "b1"] {
        text += &format!("[[network]]\nname = \"{bridge}\"\nvlans = [1155, 1156]\n");
    }
    for (transport, router) in [("t0", "r"), ("t1", "s")] {
        text += &format!("[[network]]\nname = \"{transport}\"\nrouter = \"{router}\"\n");
        text += "gateways = [\"10.1.0.1/24\", \"10.1.1.1/24\"]\n";
    }
    text += &format!("[[network]]\nname = \"n\"\n{keys}");
    if key == "host_port" {
        for port in ["h0", "h1"] {
            text += &format!("[[port]]\nname = \"{port}\"\nkind = \"tap\"\nnetwork = \"n\"\n");
        }
    }
    config(&text)
}

#[test]
fn each_key_of_each_network_kind_alone() {
    let network = SECTIONS.iter().find(|s| s.name == "network").unwrap();
    for kind in ["bridge", "underlay", "overlay"] {
        for key in network.keys.iter().filter(|k| k.kinds.is_empty() || k.kinds.contains(&kind)) {
            if matches!(key.name, "name" | "kind") {
                continue;
            }
            let (first, second) = match key.name {
                // Of a network, not of a port.
                "mode" => ("\"bridged\"", "\"demux\""),
                name => two_values(name),
            };
            let [old, new] = [first, second].map(|value| with_network(kind, key.name, value));
            let found = diff(&old, &new);
            assert_eq!(found.changed_networks.len(), 1, "{kind} {}", key.name);
            let change = &found.changed_networks[0];
            assert_eq!(change.keys, [key.name], "{kind}");
            assert!(
                found.restart_required.is_empty() && found.changed_ports.is_empty(),
                "{kind} {}",
                key.name
            );
            assert_eq!(found.steps(), [Step::ChangeNetwork(change)]);
            let identity = ["bridge", "vlan", "encap", "vni", "payload", "transport"];
            assert_eq!(change.replaces(), identity.contains(&key.name), "{kind} {}", key.name);
        }
    }
}

/// An underlay of router `r` with a host port, and two ports of the node's own in network `n`.
const OWN_STACK: &str = r#"
    [[network]]
    name = "phy"
    [[network]]
    name = "br-ex"
    kind = "underlay"
    bridge = "phy"
    mode = "bridged"
    router = "r"
    gateways = ["10.7.0.1/24"]
    host_port = "ex"
    [[port]]
    name = "ex"
    kind = "tap"
    network = "br-ex"
    addresses = ["10.7.0.1/24"]
    [[port]]
    name = "h0"
    kind = "tap"
    network = "n"
    addresses = ["10.0.0.2/24"]
    [[port]]
    name = "h1"
    kind = "tap"
    network = "n"
    addresses = ["10.0.0.3/24"]
"#;

#[test]
fn each_key_of_the_other_sections_alone() {
    let cluster = ["namespace", "pod", "policy", "admin_policy"];
    let apart = |name: &str| matches!(name, "port" | "network" | "service") || cluster.contains(&name);
    for section in SECTIONS.iter().filter(|s| !apart(s.name)) {
        for key in section.keys.iter().filter(|k| !matches!(k.name, "name" | "kind")) {
            let (first, second) = two_values(key.name);
            let head = match section.name {
                "router" => "[[network]]\nname = \"n\"\nrouter = \"r\"\ngateways = [\"10.0.0.1/24\"]\n\
                             [[router]]\nname = \"s\"\n[[router]]\nname = \"r\"\n"
                    .to_owned(),
                name => format!("[{name}]\n"),
            };
            // A way in and out of the node's own stack, for those who need one.
            let tail = match key.name {
                "gateway_mode" => "management_port = \"h0\"\n",
                _ => "",
            };
            let stack = match key.name {
                "gateway_mode" | "management_port" => OWN_STACK,
                _ => "",
            };
            let text = |value: &str| format!("{stack}{head}{} = {value}\n{tail}", key.name);
            let [old, new] = [first, second].map(|value| config(&text(value)));
            let found = diff(&old, &new);
            if section.name == "router" {
                let change = &found.changed_routers[0];
                assert_eq!((&change.from, &change.to), (&old.routers[1], &new.routers[1]));
                assert_eq!(found.steps(), [Step::ChangeRouter(change)]);
            } else if section.name == "node" {
                assert!(found.node_changed && found.restart_required.is_empty(), "{}", key.name);
            } else if section.name == "connections" && key.name != "capacity" {
                // The running daemon takes it over.
                assert_eq!(found.connections.as_ref(), Some(&new.connections), "{}", key.name);
                assert!(found.restart_required.is_empty() && found.steps().is_empty());
            } else {
                assert_eq!(found.connections, None);
                assert_eq!(found.restart_required, [format!("{}.{}", section.name, key.name)]);
                assert!(found.steps().is_empty() && !found.is_empty());
            }
        }
    }
}

/// A service with one key.
fn with_service(key: &str, value: &str) -> Config {
    let ports = if key == "ports" { "" } else { "ports = [{ port = 80 }]\n" };
    let balancer =
        if key.starts_with("load_balancer") { "" } else { "load_balancer_ips = [\"192.0.2.1\"]\n" };
    let balancer =
        if key == "load_balancer_network" { "load_balancer_ips = [\"192.0.2.1\"]\n" } else { balancer };
    let router = if key == "router" { "" } else { "router = \"r\"\n" };
    config(&format!(
        "[[router]]\nname = \"r\"\nexternal_ips = [\"203.0.113.0/28\"]\n[[router]]\nname = \"s\"\n\
         [[network]]\nname = \"a\"\nrouter = \"r\"\ngateways = [\"10.0.1.1/24\"]\n\
         [[network]]\nname = \"b\"\nrouter = \"r\"\ngateways = [\"10.0.2.1/24\"]\n\
         [[service]]\nname = \"n/other\"\nrouter = \"s\"\n\
         [[service]]\nname = \"n/s\"\n{router}{ports}{balancer}{key} = {value}\n"
    ))
}

#[test]
fn each_key_of_a_service_alone() {
    let section = SECTIONS.iter().find(|section| section.name == "service").unwrap();
    for key in section.keys.iter().filter(|key| key.name != "name") {
        let (first, second) = match key.name {
            "router" => ("\"r\"", "\"s\""),
            "cluster_ips" | "load_balancer_ips" => ("[]", "[\"10.96.0.1\"]"),
            "external_ips" => ("[]", "[\"203.0.113.1\"]"),
            "load_balancer_network" => ("\"a\"", "\"b\""),
            "ports" => ("[{ port = 80 }]", "[{ port = 81 }]"),
            "affinity" => ("\"none\"", "\"client_ip\""),
            "affinity_timeout" => ("\"1m\"", "\"2m\""),
            "external_traffic_policy" | "internal_traffic_policy" => ("\"cluster\"", "\"local\""),
            "source_ranges" => ("[]", "[\"10.0.0.0/8\"]"),
            "endpoints" => {
                ("[{ address = \"10.0.0.1\" }]", "[{ address = \"10.0.0.1\", terminating = true }]")
            }
            other => panic!("no values for the new key {other}"),
        };
        let [old, new] = [first, second].map(|value| with_service(key.name, value));
        let found = diff(&old, &new);
        let name = shunt_config::ServiceName::new("n/s").unwrap();
        assert_eq!(found.changed_services, std::slice::from_ref(&name), "{}", key.name);
        assert!(found.removed_services.is_empty() && found.restart_required.is_empty(), "{}", key.name);
        let mut without = old.clone();
        without.services.pop();
        assert_eq!(diff(&old, &without).removed_services, std::slice::from_ref(&name));
        assert_eq!(diff(&without, &old).changed_services, [name]);
    }
}

#[test]
fn each_key_of_pods_and_policies_makes_them_be_resolved_anew() {
    let objects = [
        ("namespace", "name = \"n\"", &["labels = { a = \"b\" }"][..]),
        (
            "pod",
            "namespace = \"n\"\nname = \"p\"",
            &[
                "labels = { a = \"b\" }",
                "addresses = [\"10.0.0.1\"]",
                "ports = [{ name = \"http\", port = 80 }]",
                "node = \"k\"",
                "host_network = true",
            ],
        ),
        (
            "policy",
            "namespace = \"n\"\nname = \"p\"",
            &[
                "pod_selector = { match_labels = { a = \"b\" } }",
                "policy_types = [\"egress\"]",
                "ingress = [{}]",
                "egress = [{}]",
                "action = \"reject\"",
            ],
        ),
        (
            "admin_policy",
            "name = \"p\"\npriority = 1\nsubject = { namespace_selector = {} }",
            &["ingress = [{ action = \"deny\" }]", "egress = [{ action = \"deny\" }]", "action = \"reject\""],
        ),
    ];
    for (section, least, more) in objects {
        let old = config(&format!("[[{section}]]\n{least}\n"));
        for key in more {
            let new = config(&format!("[[{section}]]\n{least}\n{key}\n"));
            let found = diff(&old, &new);
            assert!(found.policies && found.steps().is_empty() && found.restart_required.is_empty(), "{key}");
        }
        let listed = SECTIONS.iter().find(|it| it.name == section).unwrap().keys.iter();
        let shown = |name: &str| {
            least.lines().chain(more.iter().copied()).any(|line| line.starts_with(&format!("{name} = ")))
        };
        let missing: Vec<_> =
            listed.map(|key| key.name).filter(|name| !shown(name) && *name != "tier").collect();
        assert!(missing.is_empty(), "add a value for {missing:?} of {section}");
        assert!(diff(&Config::default(), &old).policies && diff(&old, &Config::default()).policies);
    }
}

#[test]
fn another_kind_of_network_replaces_it() {
    let old = config("[[network]]\nname = \"b0\"\n[[network]]\nname = \"n\"\n");
    let text = "[[network]]\nname = \"b0\"\n[[network]]\nname = \"n\"\nkind = \"underlay\"\nbridge = \"b0\"\nmode = \"bridged\"\n";
    let change = &diff(&old, &config(text)).changed_networks[0];
    assert_eq!((change.keys.as_slice(), change.replaces()), (&["kind"][..], true));
}

#[test]
fn another_kind_under_the_same_name_is_opened_anew() {
    let [old, new] = ["tap", "tun"].map(|kind| with_port(kind, "", ""));
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
