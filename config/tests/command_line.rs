//! One port from the words of a command line.

use shunt_config::{Config, PortKind, Secret, parse, parse_port};

fn words(words: &[(&str, &str)]) -> Vec<(String, String)> {
    words.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn refusal(args: &[(&str, &str)], known: &Config) -> String {
    parse_port(&words(args), known).expect_err("the words hold a mistake").to_string()
}

#[test]
fn words_and_text_give_the_same_port() {
    let args = [
        ("name", "t0"),
        ("kind", "tap"),
        ("device", "eth0"),
        ("netns", "/proc/1/ns/net"),
        ("addresses", "10.0.0.2/24,fd00::2/64"),
        ("peer_mac", "02:00:00:00:00:02"),
        ("admin_up", "false"),
        ("mtu", "9000"),
        ("queues", "2"),
        ("placement", "0, 0"),
    ];
    let text = r#"
        [[port]]
        name = "t0"
        kind = "tap"
        device = "eth0"
        netns = "/proc/1/ns/net"
        addresses = ["10.0.0.2/24", "fd00::2/64"]
        peer_mac = "02:00:00:00:00:02"
        admin_up = false
        mtu = 9000
        queues = 2
        placement = [0, 0]
    "#;
    let port = parse_port(&words(&args), &Config::default()).unwrap();
    assert_eq!(port, parse(text, "text").unwrap().ports[0]);
}

#[test]
fn an_endpoint_is_one_word() {
    let known = "[[router]]\nname = \"r\"\n[[network]]\nname = \"default\"\nrouter = \"r\"\ngateways = [\"10.0.2.254/24\"]\n";
    let known = parse(known, "known").unwrap();
    let with = |endpoints| [("name", "t0"), ("kind", "tap"), ("endpoints", endpoints)];
    let port =
        parse_port(&words(&with("02:00:00:00:00:01/10.0.2.1/fe80::1,02:00:00:00:00:02")), &known).unwrap();
    let text = known.to_toml()
        + "[[port]]\nname = \"t0\"\nkind = \"tap\"\n\
           endpoints = [{ mac = \"02:00:00:00:00:01\", ip = [\"10.0.2.1\", \"fe80::1\"] }, { mac = \"02:00:00:00:00:02\" }]";
    assert_eq!(port, parse(&text, "text").unwrap().ports[0]);
    assert_eq!(
        refusal(&with("02:00:00:00:00:01/10.0.2,02:00:00:00:00"), &known),
        "argument 3: endpoints[0]: \"02:00:00:00:00:01/10.0.2\": \"10.0.2\" is not an IP address; write it as \"10.0.2.7\" or \"fd00::7\"\n\
         argument 3: endpoints[1]: \"02:00:00:00:00\": not a MAC address; write six pairs of hex digits, as 02:00:00:00:00:01"
    );
    assert_eq!(
        refusal(&with("02:00:00:00:00:01/10.0.3.1"), &known),
        "argument 3: endpoints[0].ip[0]: 10.0.3.1 is in no subnet of network default; use an address in 10.0.2.0/24"
    );
}

#[test]
fn device_arguments_keep_their_commas_and_equals_signs() {
    let args = [("name", "d"), ("kind", "dpdk"), ("devargs", "net_pcap0,rx_pcap=a.pcap"), ("placement", "")];
    let port = parse_port(&words(&args), &Config::default()).unwrap();
    assert_eq!(port.kind, PortKind::Dpdk { devargs: "net_pcap0,rx_pcap=a.pcap".into() });
    assert!(port.placement.is_empty());
}

#[test]
fn mistakes_count_words_and_come_all_at_once() {
    let args =
        [("name", "p0"), ("kind", "veth"), ("devise", "x"), ("mtu", "9k"), ("admin_up", "yes"), ("mtu", "1")];
    assert_eq!(
        refusal(&args, &Config::default()),
        "argument: device: required but missing; add it, as device=veth0\n\
         argument 3: devise: unknown key; did you mean device?\n\
         argument 4: mtu: expected an integer, found \"9k\"; write a number from 68 to 65521\n\
         argument 5: admin_up: expected a boolean, found \"yes\"; write true or false\n\
         argument 6: mtu: given twice; give it once"
    );
}

#[test]
fn conflicts_with_the_running_ports_are_found() {
    let known = "[[network]]\nname = \"blue\"\n[[port]]\nname = \"p0\"\nkind = \"veth\"\ndevice = \"v0\"\nnetwork = \"blue\"\n";
    let known = parse(known, "known").unwrap();
    assert_eq!(
        refusal(&[("name", "p0"), ("kind", "veth"), ("device", "v0"), ("placement", "1")], &known),
        "argument: network: not set, and no network is named \"default\"; use one of: blue\n\
         argument 1: name: \"p0\" is already the name of port p0; give each port its own\n\
         argument 3: device: \"v0\" is already the device of port p0; give each port its own\n\
         argument 4: placement[0]: there is no worker 1; choose 0 to 0, or raise workers.count"
    );
    let good = [("name", "p1"), ("kind", "veth"), ("device", "v1"), ("network", "blue")];
    assert_eq!(parse_port(&words(&good), &known).unwrap().network, "blue");
}

#[test]
fn a_secret_is_shown_to_nobody() {
    let args = [("name", "m"), ("kind", "memif"), ("path", "/run/m.sock"), ("secret", "hunter2")];
    let port = parse_port(&words(&args), &Config::default()).unwrap();
    assert!(matches!(&port.kind, PortKind::Memif { secret, .. } if *secret == Secret::new("hunter2").ok()));
    let config = Config { ports: vec![port], ..Config::default() };
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(json["port"][0]["secret"], "***");
    assert_eq!(json["port"][0]["kind"], "memif");
    assert_eq!(json["workers"]["idle_after"], "50us");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(config.to_toml().contains("secret = \"hunter2\""), "written out it is kept");
    let bad = [("name", "m"), ("kind", "memif"), ("path", "/run/m.sock"), ("secret", "hunter2,hunter2")];
    assert!(!refusal(&bad, &Config::default()).contains("hunter2"));
    let twice = [("name", "m"), ("kind", "memif"), ("path", "/m"), ("secret", "a"), ("secret", "hunter2")];
    assert!(!refusal(&twice, &Config::default()).contains("hunter2"));
}
