//! The commands of the reference documents without a daemon: what their words mean, and every character that is printed.

use clap::Parser;
use shunt_switch::cli::options::{Command, Options, Record};
use shunt_switch::cli::{Failure, ip, nat, ovs, tcpdump};
use shunt_switch::control::api::proto;

fn parse(words: &[&str]) -> Command {
    Options::try_parse_from([&["shunt"], words].concat()).unwrap().command
}

fn rules(words: &[&str]) -> Result<ovs::WantedRules, Failure> {
    let Command::DumpFlows(wanted) = parse(&[&["dump-flows"], words].concat()) else { unreachable!() };
    ovs::rules(&wanted)
}

#[track_caller]
fn golden(text: &str, expected: &str) {
    assert_eq!(text, expected, "got:\n{text}\nexpected:\n{expected}");
}

#[test]
fn a_dump_takes_the_words_of_ovs_ofctl() {
    let wanted = |network: &str, table, terms: &[&str]| ovs::WantedRules {
        request: proto::DumpRulesRequest { network: network.into(), table },
        terms: terms.iter().map(ToString::to_string).collect(),
        actions: Vec::new(),
    };
    assert_eq!(rules(&[]), Ok(wanted("", None, &[])));
    assert_eq!(rules(&["br-int"]), Ok(wanted("br-int", None, &[])));
    assert_eq!(rules(&["br-int", "table=17"]), Ok(wanted("br-int", Some(17), &[])));
    assert_eq!(rules(&["table=0"]), Ok(wanted("", Some(0), &[])));
    // The documents quote names and write vlan_tag.
    assert_eq!(
        rules(&["br-phy", "table=0, ip, in_port=\"veth_pod_a\"", "vlan_tag=100"]),
        Ok(wanted("br-phy", Some(0), &["ip", "in_port=veth_pod_a", "dl_vlan=100"]))
    );
    // The flow of reference 000 that no Open vSwitch takes, and the one that it means.
    let meant = ovs::WantedRules {
        actions: [
            "set_field:4196->vlan_vid",
            "push_vlan:0x8100",
            "set_field:4196->vlan_vid",
            "output:br-phy",
        ]
        .map(ToOwned::to_owned)
        .to_vec(),
        ..wanted("br-int", Some(0), &["priority=100", "ip", "in_port=veth_pod_a"])
    };
    let flow = "table=0, priority=100, ip, in_port=\"veth_pod_a\",
       actions=set_field:100->vlan_tag,
                push_vlan:100,
                output:\"br-phy\"";
    assert_eq!(rules(&["br-int", flow]), Ok(meant));
    let there = rules(&["br-int", "actions=strip_vlan, goto_table(17)"]).unwrap().actions;
    assert_eq!(there, ["strip_vlan", "goto_table:17"]);
    let wrong = rules(&["br-int", "table=x"]).unwrap_err();
    assert_eq!(wrong.message, "shunt: dump-flows: table=x: a table is a number from 0 to 255");
    assert!(rules(&["--port", "a"]).unwrap_err().message.contains("in_port=a"));
    assert!(Options::try_parse_from(["shunt", "dump-flows", "br-int", "--cached"]).is_err());
}

#[test]
fn a_rule_is_a_line_of_ovs_ofctl() {
    let rule = proto::Rule {
        table: 0,
        priority: 100,
        r#match: vec!["ip".into(), "in_port=veth_pod_a".into()],
        actions: vec!["goto_table:16".into()],
        packets: 5,
        bytes: 490,
        cookie: 0x1f,
        age_us: 12_034_567,
    };
    golden(
        &ovs::text(&proto::Rules { rules: vec![rule], generation: 1 }),
        " cookie=0x1f, duration=12.034s, table=0, n_packets=5, n_bytes=490, priority=100,ip,in_port=veth_pod_a actions=goto_table:16\n",
    );
}

fn eth0() -> proto::Port {
    proto::Port {
        name: "eth0".into(),
        kind: "af_xdp".into(),
        network: "br-phy".into(),
        admin_up: true,
        oper_up: true,
        link: true,
        mtu: 1500,
        rx_packets: 1,
        rx_bytes: 60,
        tx_packets: 2,
        tx_bytes: 120,
        drops: 3,
        missed: 4,
        about: "eth0, zero copy".into(),
        slot: 0,
        tag: Some(1),
        trunks: vec![100, 1155],
        ..proto::Port::default()
    }
}

#[test]
fn a_port_is_two_records_of_ovs_vsctl() {
    golden(
        &ovs::records(Record::Interface, &[eth0()]),
        "\
admin_state         : up
error               : []
external_ids        : {}
link_resets         : 0
link_state          : up
mtu                 : 1500
name                : eth0
ofport              : 1
statistics          : {rx_bytes=60, rx_dropped=3, rx_missed_errors=4, rx_packets=1, tx_bytes=120, tx_packets=2}
status              : {driver_name=\"eth0, zero copy\"}
type                : af_xdp
",
    );
    let pod = proto::Port {
        name: "veth_pod_a".into(),
        network: "br-int".into(),
        tag: Some(100),
        ..proto::Port::default()
    };
    golden(
        &ovs::records(Record::Port, &[eth0(), pod]),
        "\
external_ids        : {network=br-phy}
interfaces          : [eth0]
name                : eth0
tag                 : 1
trunks              : [100, 1155]
vlan_mode           : native-untagged

external_ids        : {network=br-int}
interfaces          : [veth_pod_a]
name                : veth_pod_a
tag                 : 100
trunks              : []
vlan_mode           : access
",
    );
    let broken = proto::Port { oper_up: false, about: "no such device".into(), name: "1a".into(), ..eth0() };
    let text = ovs::records(Record::Interface, &[broken]);
    assert!(text.contains("error               : \"no such device\"\n"), "{text}");
    assert!(
        text.contains("link_state          : down\n") && text.contains("name                : \"1a\"\n"),
        "{text}"
    );
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(ToOwned::to_owned).collect()
}

#[test]
fn words_of_ip_and_bridge_are_understood() {
    let routes = |address: Option<&str>, table: &str, dev: &str| ip::Wanted::Routes {
        address: address.map(|address| address.parse().unwrap()),
        table: table.into(),
        dev: dev.into(),
    };
    assert_eq!(ip::route(&words("")), Ok(routes(None, "", "")));
    assert_eq!(ip::route(&words("show dev vxlan.2 table r")), Ok(routes(None, "r", "vxlan.2")));
    assert_eq!(ip::route(&words("get 10.20.6.10")), Ok(routes(Some("10.20.6.10"), "", "")));
    let neighbors = |dev: &str| ip::Wanted::Neighbors { address: None, dev: dev.into() };
    assert_eq!(ip::neigh(&words("show")), Ok(neighbors("")));
    assert_eq!(ip::neigh(&words("dev vxlan.2")), Ok(neighbors("vxlan.2")));
    let fdb = ip::Wanted::Fdb { dev: "vxlan.2".into(), br: String::new() };
    assert_eq!(ip::fdb(&words("show dev vxlan.2")), Ok(fdb));
    assert_eq!(ip::addr(&words("show br-phy")), Ok(ip::Wanted::Addresses { dev: "br-phy".into() }));
    for (failure, message) in [
        (
            ip::route(&words("add default")),
            "shunt: route: \"add\" is not understood; write `shunt route [show|get ADDRESS] [dev NAME] [table ROUTER]`",
        ),
        (
            ip::route(&words("get x")),
            "shunt: route: \"x\" is no IP address; write `shunt route [show|get ADDRESS] [dev NAME] [table ROUTER]`",
        ),
        (
            ip::neigh(&words("show dev")),
            "shunt: neigh: dev wants a name behind it; write `shunt neigh [show] [ADDRESS] [dev NAME]`",
        ),
    ] {
        assert_eq!(failure.unwrap_err(), Failure { code: 2, message: message.into() });
    }
    let Command::Neigh(options) = parse(&["neigh", "-4", "show"]) else { unreachable!() };
    assert!(options.v4 && !options.v6);
}

#[test]
fn three_tables_as_the_kernel_prints_them() {
    let route = |to: &str, kind: &str, via: &str, port: &str| proto::RouteEntry {
        router: "r".into(),
        to: to.into(),
        kind: kind.into(),
        via: via.into(),
        network: if kind == "unreachable" { "" } else { "vxlan.2" }.into(),
        port: port.into(),
        source: "10.20.9.0".into(),
        onlink: !via.is_empty(),
    };
    let rows = [
        route("0.0.0.0/0", "via", "10.186.152.254", ""),
        route("10.20.0.0/16", "unreachable", "", ""),
        route("10.20.6.0/25", "via", "10.20.6.0", ""),
        route("10.20.9.60/32", "link", "", "upvx4279f78"),
        route("10.30.0.0/24", "link", "", ""),
    ];
    golden(
        &ip::routes(&rows, ""),
        "default via 10.186.152.254 dev vxlan.2 onlink \n\
         unreachable 10.20.0.0/16 \n\
         10.20.6.0/25 via 10.20.6.0 dev vxlan.2 onlink \n\
         10.20.9.60 dev upvx4279f78 scope link \n\
         10.30.0.0/24 dev vxlan.2 scope link src 10.20.9.0 \n",
    );
    golden(
        &ip::got(&rows[2], "10.20.6.10".parse().unwrap()),
        "10.20.6.10 via 10.20.6.0 dev vxlan.2 src 10.20.9.0 \n    cache \n",
    );
    golden(&ip::got(&rows[1], "10.20.7.1".parse().unwrap()), "unreachable 10.20.7.1 \n");

    let neighbor = |address: &str, fixed, own, age| proto::NeighborEntry {
        network: "vxlan.2".into(),
        address: address.into(),
        mac: "66:66:00:00:00:01".into(),
        port: String::new(),
        fixed,
        own,
        age,
    };
    let rows = [
        neighbor("10.20.6.0", true, false, 0),
        neighbor("10.20.7.0", false, false, 30),
        neighbor("10.20.8.0", false, false, 31),
        neighbor("10.20.9.0", true, true, 0),
    ];
    golden(
        &ip::neighbors(&rows),
        "10.20.6.0 dev vxlan.2 lladdr 66:66:00:00:00:01 PERMANENT \n\
         10.20.7.0 dev vxlan.2 lladdr 66:66:00:00:00:01 REACHABLE \n\
         10.20.8.0 dev vxlan.2 lladdr 66:66:00:00:00:01 STALE \n",
    );
    let entry = |port: &str, fixed| proto::FdbEntry {
        peer: String::new(),
        network: "blue".into(),
        mac: "02:00:00:00:00:01".into(),
        port: port.into(),
        fixed,
        age: 0,
    };
    golden(
        &ip::fdb_text(&[entry("pod1", false), entry("pod2", true)], false),
        "02:00:00:00:00:01 dev pod1 master blue \n02:00:00:00:00:01 dev pod2 master blue static \n",
    );
    let remote =
        proto::FdbEntry { peer: "10.186.152.107".into(), network: "vxlan.2".into(), ..entry("peer 0", true) };
    golden(
        &ip::fdb_text(std::slice::from_ref(&remote), false),
        "02:00:00:00:00:01 dev vxlan.2 dst 10.186.152.107 self permanent \n",
    );
    golden(&ip::fdb_text(&[remote], true), "02:00:00:00:00:01 dst 10.186.152.107 self permanent \n");
    golden(&ip::fdb_text(&[entry("pod1", false)], true), "02:00:00:00:00:01 master blue \n");
}

#[test]
fn addresses_of_ports_and_networks() {
    let pod = proto::Port {
        name: "pod1".into(),
        endpoints: vec!["02:00:00:00:00:01 10.16.0.2 fd00::2".into()],
        ..eth0()
    };
    let network = proto::Network {
        name: "br-phy".into(),
        mtu: 1500,
        members: vec!["pod1".into()],
        gateways: vec!["10.0.1.1/24".into()],
        gateway_mac: "02:00:00:00:00:fe".into(),
        ..proto::Network::default()
    };
    golden(
        &ip::addresses(&[pod], &[network]),
        "\
1: pod1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 master br-phy state UP 
    link/ether 02:00:00:00:00:01 behind pod1
    inet 10.16.0.2/32 scope global pod1
    inet6 fd00::2/128 scope global pod1
1025: br-phy: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state UP 
    link/ether 02:00:00:00:00:fe brd ff:ff:ff:ff:ff:ff
    inet 10.0.1.1/24 scope global br-phy
",
    );
}

/// UDP 10.0.0.1:5000 -> 10.0.0.2:53 with 8 bytes.
fn captured(point: proto::CapturePoint, reason: &str) -> proto::CapturedFrame {
    let mut data = Vec::new();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(5000, 53)
        .write(&mut data, &[0; 8])
        .unwrap();
    proto::CapturedFrame {
        port: "pod1".into(),
        point: point.into(),
        reason: reason.into(),
        time_ns: 45_296_123_456_789,
        length: data.len() as u32,
        data,
    }
}

#[test]
fn a_captured_frame_is_a_line_of_tcpdump() {
    use proto::CapturePoint::{Drop, Egress, Ingress};
    let plain = tcpdump::Style::default();
    let udp = "IP 10.0.0.1.5000 > 10.0.0.2.53: UDP, length 8";
    assert_eq!(tcpdump::line(&captured(Ingress, ""), plain), format!("12:34:56.123456 pod1 In  {udp}"));
    assert_eq!(
        tcpdump::line(&captured(Egress, ""), tcpdump::Style { link: true }),
        format!(
            "12:34:56.123456 pod1 Out 02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 50: {udp}"
        )
    );
    assert_eq!(
        tcpdump::line(&captured(Drop, "no_route"), plain),
        format!("12:34:56.123456 pod1 Drop(no_route) {udp}")
    );
    let arp = |operation| {
        let mut data =
            vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, operation];
        data.extend([2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        let frame = proto::CapturedFrame { length: 42, data, ..captured(Ingress, "") };
        tcpdump::line(&frame, plain)
    };
    assert!(
        arp(1).ends_with(" pod1 In  ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28"),
        "{}",
        arp(1)
    );
    assert!(arp(2).ends_with(" ARP, Reply 10.0.0.1 is-at 02:00:00:00:00:01, length 28"), "{}", arp(2));
    let cut = proto::CapturedFrame { data: vec![1, 2], length: 2, ..captured(Drop, "runt") };
    assert!(tcpdump::line(&cut, plain).ends_with(" Drop(runt) ethertype 0x0000, length 2"));
}

#[test]
fn a_captured_frame_is_a_json_object_on_one_line() {
    use proto::CapturePoint::{Drop, Ingress};
    let json = |frame: &proto::CapturedFrame| {
        let line = tcpdump::json(frame);
        assert!(!line.contains('\n'), "{line}");
        serde_json::from_str::<serde_json::Value>(&line).unwrap()
    };
    let frame = captured(Ingress, "");
    let data: String = frame.data.iter().map(|byte| format!("{byte:02x}")).collect();
    let wanted = serde_json::json!({
        "time_ns": frame.time_ns, "port": "pod1", "way": "in", "reason": null, "length": 50, "data": data,
        "text": "IP 10.0.0.1.5000 > 10.0.0.2.53: UDP, length 8",
    });
    assert_eq!(json(&frame), wanted);
    let cut = proto::CapturedFrame { data: vec![1, 2], length: 2, ..captured(Drop, "runt") };
    let cut = json(&cut);
    assert_eq!((&cut["way"], &cut["reason"], &cut["data"]), (&"drop".into(), &"runt".into(), &"0102".into()));
}

#[test]
fn a_capture_is_pcapng_with_an_interface_for_each_port_and_point() {
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
    use pcap_file::pcapng::{Block, PcapNgReader};
    use proto::CapturePoint::{Drop, Egress, Ingress};
    let mut bytes = Vec::new();
    let mut file = tcpdump::Pcapng::new(&mut bytes).unwrap();
    for (point, reason) in [(Ingress, ""), (Egress, ""), (Drop, "no_route"), (Ingress, "")] {
        file.put(&captured(point, reason)).unwrap();
    }
    file.flush().unwrap();
    std::mem::drop(file);
    let mut reader = PcapNgReader::new(bytes.as_slice()).unwrap();
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            assert_eq!(packet.timestamp.as_nanos(), 45_296_123_456_789);
            assert_eq!((packet.original_len, packet.data.len()), (50, 50));
            packets.push((packet.interface_id, format!("{:?}", packet.options[0])));
        }
    }
    let names: Vec<String> = reader
        .interfaces()
        .iter()
        .map(|interface| match &interface.options[..] {
            [InterfaceDescriptionOption::IfName(name), _, InterfaceDescriptionOption::IfTsResol(9)] => {
                name.to_string()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["pod1 in", "pod1 out", "pod1 drop"]);
    let ids: Vec<u32> = packets.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [0, 1, 2, 0]);
    assert_eq!((packets[0].1.as_str(), packets[1].1.as_str()), ("Flags(1)", "Flags(2)"));
    assert!(packets[2].1.starts_with("Comment(\"drop: no_route: "), "{}", packets[2].1);
}

#[test]
fn a_capture_takes_the_words_of_tcpdump() {
    let request = |words: &[&str]| {
        let Command::Tcpdump(wanted) = parse(&[&["tcpdump"], words].concat()) else { unreachable!() };
        tcpdump::request(&wanted)
    };
    let wanted = |port: &str, filter: &str, snaplen| proto::CaptureRequest {
        port: port.into(),
        filter: filter.into(),
        snaplen,
    };
    assert_eq!(request(&[]), Ok(wanted("", "", 65_535)));
    assert_eq!(request(&["-i", "any", "-nn", "-e", "arp"]), Ok(wanted("", "arp", 65_535)));
    let some = request(&["-i", "pod1", "-c", "3", "-s", "96", "-w", "-", "tcp", "port", "80"]);
    assert_eq!(some, Ok(wanted("pod1", "tcp port 80", 96)));
    let wrong = request(&["port", "http"]).unwrap_err();
    assert_eq!(wrong.message, "shunt: port in the filter takes a port number from 0 to 65535, not \"http\"");
}

/// Reference 002's three lines, with its addresses (002-18); and the rest of what a router translates.
#[test]
fn translations_are_rules_of_iptables() {
    let rules = |text: &str, v6: bool| {
        let config = shunt_config::parse(text, "node.toml").unwrap_or_else(|errors| panic!("{errors}"));
        nat::rules(&config, &config.routers[0], v6)
    };
    let production = include_str!("../../tests/scenes/production/node1.toml");
    let plain = rules(production, false);
    assert!(!plain.contains("-A "), "nothing is masqueraded there: {plain}");
    let masqueraded = production.replacen("vtep =", "masquerade = true\nvtep =", 1);
    golden(
        &rules(&masqueraded, false),
        "# iptables of router node\n\
         *mangle\n\
         :PREROUTING ACCEPT [0:0]\n\
         -A PREROUTING -s 10.20.0.0/16 -j MARK --set-xmark 0x100/0x100\n\
         COMMIT\n\
         *nat\n\
         :PREROUTING ACCEPT [0:0]\n\
         :POSTROUTING ACCEPT [0:0]\n\
         :UPCS-MASQUERADE - [0:0]\n\
         -A POSTROUTING -m mark --mark 0x100/0x100 -j UPCS-MASQUERADE\n\
         -A UPCS-MASQUERADE -d 10.20.0.0/16 -j RETURN\n\
         -A UPCS-MASQUERADE -j MASQUERADE\n\
         COMMIT\n",
    );
    assert!(!rules(&masqueraded, true).contains("-A "), "no IPv6 there");
    let all = include_str!("../../config/examples/masquerade.toml");
    golden(
        &rules(all, false),
        "# iptables of router r\n\
         *mangle\n\
         :PREROUTING ACCEPT [0:0]\n\
         -A PREROUTING -s 10.16.0.0/16 -j MARK --set-xmark 0x100/0x100\n\
         -A PREROUTING -s 10.17.0.0/16 -j MARK --set-xmark 0x100/0x100\n\
         COMMIT\n\
         *nat\n\
         :PREROUTING ACCEPT [0:0]\n\
         :POSTROUTING ACCEPT [0:0]\n\
         :UPCS-MASQUERADE - [0:0]\n\
         -A PREROUTING -d 192.168.50.7/32 -j DNAT --to-destination 10.16.0.11\n\
         -A POSTROUTING -s 10.16.0.11/32 -j SNAT --to-source 192.168.50.7\n\
         -A PREROUTING -d 192.168.50.2/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.17.0.5:80\n\
         -A POSTROUTING -s 10.17.5.0/24 -o outside -p tcp -j SNAT --to-source 192.168.50.9:32768-65535\n\
         -A POSTROUTING -s 10.17.5.0/24 -o outside -p udp -j SNAT --to-source 192.168.50.9:32768-65535\n\
         -A POSTROUTING -s 10.17.5.0/24 -o outside -p sctp -j SNAT --to-source 192.168.50.9:32768-65535\n\
         -A POSTROUTING -s 10.17.5.0/24 -o outside -j SNAT --to-source 192.168.50.9\n\
         -A POSTROUTING -m mark --mark 0x100/0x100 -j UPCS-MASQUERADE\n\
         -A UPCS-MASQUERADE -d 10.16.0.0/16 -j RETURN\n\
         -A UPCS-MASQUERADE -d 10.17.0.0/16 -j RETURN\n\
         -A UPCS-MASQUERADE -o outside -p tcp -j SNAT --to-source 192.168.50.16-192.168.50.17:32768-65535 --persistent\n\
         -A UPCS-MASQUERADE -o outside -p udp -j SNAT --to-source 192.168.50.16-192.168.50.17:32768-65535 --persistent\n\
         -A UPCS-MASQUERADE -o outside -p sctp -j SNAT --to-source 192.168.50.16-192.168.50.17:32768-65535 --persistent\n\
         -A UPCS-MASQUERADE -o outside -j SNAT --to-source 192.168.50.16-192.168.50.17 --persistent\n\
         -A UPCS-MASQUERADE -p tcp -j MASQUERADE --to-ports 32768-65535\n\
         -A UPCS-MASQUERADE -p udp -j MASQUERADE --to-ports 32768-65535\n\
         -A UPCS-MASQUERADE -p sctp -j MASQUERADE --to-ports 32768-65535\n\
         -A UPCS-MASQUERADE -j MASQUERADE\n\
         COMMIT\n",
    );
    golden(
        &rules(all, true),
        "# ip6tables of router r\n\
         *mangle\n\
         :PREROUTING ACCEPT [0:0]\n\
         -A PREROUTING -s fd00:16::/64 -j MARK --set-xmark 0x100/0x100\n\
         COMMIT\n\
         *nat\n\
         :PREROUTING ACCEPT [0:0]\n\
         :POSTROUTING ACCEPT [0:0]\n\
         :UPCS-MASQUERADE - [0:0]\n\
         -A PREROUTING -d fd00:50::53/128 -p udp -m udp --dport 53 -j DNAT --to-destination [fd00:16::5]:5353\n\
         -A POSTROUTING -m mark --mark 0x100/0x100 -j UPCS-MASQUERADE\n\
         -A UPCS-MASQUERADE -d fd00:16::/64 -j RETURN\n\
         -A UPCS-MASQUERADE -p tcp -j MASQUERADE --to-ports 32768-65535\n\
         -A UPCS-MASQUERADE -p udp -j MASQUERADE --to-ports 32768-65535\n\
         -A UPCS-MASQUERADE -p sctp -j MASQUERADE --to-ports 32768-65535\n\
         -A UPCS-MASQUERADE -j MASQUERADE\n\
         COMMIT\n",
    );
    let pairs = all.replacen(
        "masquerade = true",
        "masquerade = true\nsnat = [{ to = \"outside\", source = \"none\" }]",
        1,
    );
    assert!(rules(&pairs, false).contains("-A POSTROUTING -s 10.16.0.0/16 -o outside -j ACCEPT\n"));
}
