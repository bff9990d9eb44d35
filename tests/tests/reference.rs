//! The diagnostic commands of the reference documents against a switch at work, with the `grep`s that stand in them.

mod node;
#[path = "reference/pipe.rs"]
mod pipe;

use node::{Kind, Node, Plan};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use shunt_tests::{Cmd, Ping, Running, require};

/// What a shell prints for `shunt ... | grep ...`, where `shunt` is followed by `words`.
#[track_caller]
fn grep(node: &Node, words: &str, pattern: &[&str]) -> String {
    let text = node.cli(words);
    let file = node.path("answer");
    std::fs::write(&file, &text).unwrap();
    let found = Cmd::new([&["grep"], pattern, &[file.to_str().unwrap()]].concat()).run().unwrap();
    assert_eq!(found.status.code(), Some(0), "grep {pattern:?} finds nothing in\n{text}");
    found.stdout
}

/// The number behind `name=` in a line.
fn number(line: &str, name: &str) -> u64 {
    let behind = line.split(&format!(" {name}=")).nth(1).unwrap_or_else(|| panic!("no {name} in {line}"));
    behind.split(',').next().unwrap().parse().unwrap()
}

const ROUTED: &str = "router = \"r\"\ngateways = [\"10.0.0.254/24\"]\ngateway_mac = \"02:00:00:00:fe:01\"\n";

#[test]
fn rules_count_the_frames_of_a_ping() {
    require!(root(), tool("ping"), tool("grep"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth; 2], quiet: true, ..Plan::default() });
    assert_eq!(Ping { count: 20, ..Ping::to("10.0.0.2") }.run(&node.pods[0].netns).unwrap().received, 20);

    let pod = grep(&node, "dump-flows br-int", &["pod1"]);
    let admitted = pod.lines().find(|line| line.contains("priority=100,ip,in_port=pod1 ")).unwrap();
    assert!(admitted.ends_with(" actions=goto_table:16"), "{admitted}");
    let packets = number(admitted, "n_packets");
    assert!((10..=20).contains(&packets), "{admitted}");
    assert_eq!(number(admitted, "n_bytes"), packets * 98, "{admitted}");

    let text = node.pods[1].netns.exec(&["cat", "/sys/class/net/eth0/address"]).unwrap().stdout;
    let station = format!("priority=50,dl_dst={} actions=output:pod2", text.trim());
    let table = node.cli("dump-flows br-int table=16");
    let found = table.lines().find(|line| line.ends_with(&station)).unwrap_or_else(|| panic!("{table}"));
    assert_eq!(number(found, "n_packets"), packets, "one flow took both rules");
    assert!(table.lines().skip(1).all(|line| line.contains(" table=16,")), "{table}");

    let sent = node.port("pod2").tx_packets;
    let output = node.cli("dump-flows br-int table=20,actset_output=pod2");
    assert!((20..=sent).contains(&number(output.trim_end(), "n_packets")), "{output}");

    let interface = grep(&node, "list interface", &["-A5", "pod1\\|br-phy"]);
    assert!(interface.contains("statistics          : {rx_bytes="), "{interface}");
    assert!(grep(&node, "list port", &["-i", "vlan"]).contains("vlan_mode           : []"));
    assert!(grep(&node, "fdb show dev pod2", &["master"]).starts_with(text.trim()));
}

#[test]
fn three_lookups_of_a_routed_packet_can_be_asked_one_by_one() {
    require!(root(), tool("ping"), tool("grep"), shuntd());
    let head = format!(
        "{}[[router]]\nname = \"r\"\nroutes = [{{ to = \"0.0.0.0/0\", via = \"10.0.0.2\" }}]\n",
        node::MEMORY
    );
    let plan = Plan { pods: &[Kind::Veth; 2], quiet: true, head: &head, network: ROUTED, ..Plan::default() };
    let node = Node::start(&plan);
    for pod in &node.pods {
        pod.netns.exec(&["ip", "route", "add", "default", "via", "10.0.0.254"]).unwrap();
    }
    // Routed twice: to pod 2 as the default router, which sends it back; only the way there matters.
    node.pods[1].netns.exec(&["sh", "-c", "echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects"]).unwrap();
    Ping { count: 5, ..Ping::to("10.0.0.2") }.run(&node.pods[0].netns).unwrap();
    Ping { count: 5, ..Ping::to("192.0.2.9") }.run(&node.pods[0].netns).unwrap();

    let routes = node.cli("route show");
    let network = node.cli("route get 192.0.2.9");
    assert!(routes.contains("default via 10.0.0.2 dev "), "{routes}");
    assert!(
        network.starts_with("192.0.2.9 via 10.0.0.2 dev ") && network.ends_with("    cache \n"),
        "{network}"
    );
    assert!(network.contains(" src 10.0.0.254 "), "{network}");
    let text = node.pods[1].netns.exec(&["cat", "/sys/class/net/eth0/address"]).unwrap().stdout;
    let neighbor = grep(&node, "neigh -4 show", &["10.0.0.2 "]);
    assert!(neighbor.contains(&format!(" lladdr {} REACHABLE", text.trim())), "{neighbor}");

    let hop = grep(&node, "dump-flows br-int table=17", &["mod_dl_dst"]);
    let hop = hop.lines().find(|line| line.contains("reg0=0xa000002 ")).unwrap_or_else(|| panic!("{hop}"));
    let actions = format!("mod_dl_src:02:00:00:00:fe:01,mod_dl_dst:{},output:pod2", text.trim());
    assert!(hop.ends_with(&actions), "{hop}");
    assert!(number(hop, "n_packets") > 0, "{hop}");
    let default = node.cli("dump-flows table=16,ip,reg14=0x1");
    let default =
        default.lines().find(|line| line.contains("priority=18,")).unwrap_or_else(|| panic!("{default}"));
    assert!(number(default, "n_packets") >= number(hop, "n_packets"), "{default}");

    let refused = node.shuntd.cli_cmd(&["route", "get", "10.0.0.9", "table", "q"]).unwrap().run().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(refused.stderr.trim_end(), "shunt: there is no router \"q\"; there are r");
    let address = node.cli("addr show pod1");
    assert!(address.contains(": pod1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu "), "{address}");
}

/// Starts a capture, and waits until frames are copied.
fn listen(node: &Node, words: &[&str]) -> Running {
    let capture = node.shuntd.cli_cmd(words).unwrap().spawn().unwrap();
    assert!(capture.stderr().wait_for("listening on", 0, node::PATIENCE).is_some(), "{words:?}");
    capture
}

/// Interface and comment of each frame of a capture.
#[track_caller]
fn frames(path: &std::path::Path) -> Vec<(String, Option<String>)> {
    let mut reader = PcapNgReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut found = Vec::new();
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block.unwrap() else { continue };
        let comment = packet.options.iter().find_map(|option| match option {
            EnhancedPacketOption::Comment(text) => Some(text.to_string()),
            _ => None,
        });
        found.push((packet.interface_id, comment));
    }
    let name = |id: u32| {
        let options = &reader.interfaces()[id as usize].options;
        let name = options.iter().find_map(|option| match option {
            InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
            _ => None,
        });
        name.unwrap()
    };
    found.into_iter().map(|(id, comment)| (name(id), comment)).collect()
}

#[test]
fn a_capture_shows_frames_on_both_ports_and_why_they_are_dropped() {
    require!(root(), tool("ping"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth; 2], quiet: true, ..Plan::default() });
    // Neighbours known, so that what follows is echoes alone.
    assert!(Ping { count: 3, ..Ping::to("10.0.0.2") }.run(&node.pods[0].netns).unwrap().received > 0);

    let file = node.path("both.pcapng");
    let path = file.to_str().unwrap();
    let words = ["tcpdump", "-i", "any", "-c", "12", "-w", path, "icmp", "and", "host", "10.0.0.2"];
    let mut capture = listen(&node, &words);
    Ping { count: 5, ..Ping::to("10.0.0.2") }.run(&node.pods[0].netns).unwrap();
    assert_eq!(capture.wait(node::PATIENCE).unwrap().code(), Some(0));
    assert!(capture.stderr().wait_for("12 frames captured\n", 0, node::PATIENCE).is_some());
    let found = frames(&file);
    // In by pod1, out by pod2, and the answer the same way back.
    let ways: Vec<&str> = found.iter().take(4).map(|(way, _)| way.as_str()).collect();
    assert_eq!(ways, ["pod1 in", "pod2 out", "pod2 in", "pod1 out"], "{found:?}");
    assert!(found.iter().all(|(_, comment)| comment.is_none()), "{found:?}");

    // To the station that sends it: the switch sends nothing back out of the port it came in by.
    let own = node.pods[0].netns.exec(&["cat", "/sys/class/net/eth0/address"]).unwrap().stdout;
    node.pods[0]
        .netns
        .exec(&["ip", "neigh", "replace", "10.0.0.99", "lladdr", own.trim(), "dev", "eth0"])
        .unwrap();
    let file = node.path("drops.pcapng");
    let words = ["tcpdump", "-i", "pod1", "-c", "1", "-w", file.to_str().unwrap(), "drop", "same_port"];
    let mut capture = listen(&node, &words);
    Ping { count: 3, ..Ping::to("10.0.0.99") }.run(&node.pods[0].netns).unwrap();
    assert_eq!(capture.wait(node::PATIENCE).unwrap().code(), Some(0));
    let found = frames(&file);
    assert!(
        matches!(&found[..], [(way, Some(why))] if way == "pod1 drop" && why.starts_with("drop: same_port: ")),
        "{found:?}"
    );

    let refused = node.shuntd.cli_cmd(&["tcpdump", "-i", "pod9"]).unwrap().run().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
}

/// What `shunt trace --json` with these words says of the frame's end.
#[track_caller]
fn traced(node: &Node, words: &[&str]) -> (String, serde_json::Value) {
    let traced = node.shuntd.cli(&[&["trace"], words, &["--json"]].concat()).unwrap();
    (traced["verdict"].as_str().unwrap().to_owned(), traced["outputs"].clone())
}

/// Row 001-6: `ovn-trace DATAPATH MICROFLOW` and `kubectl ko trace NS/POD ...` find the way that our own form finds, in the switch at work.
#[test]
fn a_trace_is_asked_for_as_of_ovn_trace_and_of_kubectl_ko() {
    require!(root(), tool("ping"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Veth; 3], quiet: true, ..Plan::default() });
    for to in ["10.0.0.2", "10.0.0.3"] {
        assert!(Ping { count: 3, ..Ping::to(to) }.run(&node.pods[0].netns).unwrap().received > 0, "{to}");
    }
    let macs = [1, 2].map(|pod| node.pods[pod].mac());
    for (to, port, mac) in [("10.0.0.2", "pod2", &macs[0]), ("10.0.0.3", "pod3", &macs[1])] {
        let dst = format!("eth.dst=={mac}");
        let ours = traced(&node, &["--in", "pod1", &format!("{dst} && ip4.dst=={to} && tcp.dst==80")]);
        assert_eq!(ours.0, format!("output to {port}"));
        let microflow =
            format!("inport==\"pod1\" && {dst} && ip4.src==10.0.0.1 && ip4.dst=={to} && tcp.dst==80");
        assert_eq!(traced(&node, &[&microflow]), ours);
        assert_eq!(traced(&node, &["default", &microflow]), ours);
        for pod in ["pod1", "shop/pod1"] {
            let forms: [&[&str]; 4] = [
                &[pod, to, mac, "tcp", "80"],
                &[pod, to, mac, "udp", "53"],
                &[pod, to, mac, "icmp"],
                &[pod, to, mac, "arp", "reply"],
            ];
            forms.into_iter().for_each(|words| assert_eq!(traced(&node, words), ours, "{words:?}"));
        }
        let asked = traced(&node, &["shop/pod1", to, "arp", "request"]);
        assert_eq!(asked.0, "flood to pod2, pod3");
    }
    let refused = |words: &[&str]| {
        let done = node.shuntd.cli_cmd(&[&["trace"], words].concat()).unwrap().run().unwrap();
        assert_eq!(done.status.code(), Some(2), "{words:?}: {}", done.stdout);
        done.stderr
    };
    let elsewhere = refused(&["ovn-default", "inport==\"pod1\" && ip4.dst==10.0.0.2"]);
    assert!(elsewhere.contains("ovn-default"), "{elsewhere}");
    let nobody = refused(&["shop/pod9", "10.0.0.2", "icmp"]);
    assert!(nobody.contains("pod9"), "{nobody}");
}

/// Reference 002's listing of the rules that masquerade, with the words that one greps for there.
#[test]
fn masquerading_is_listed_as_rules_of_iptables() {
    require!(root(), tool("grep"), shuntd());
    let network = format!("{ROUTED}masquerade = true\n");
    let router = "[[router]]\nname = \"r\"\nsnat_pool = [\"192.0.2.7\"]\n[[network]]\nname = \"outside\"\nrouter = \"r\"\n\
                  gateways = [\"192.0.2.1/24\"]\n";
    let node = Node::start(&Plan { pods: &[Kind::Veth], network: &network, tail: router, ..Plan::default() });
    let marked = grep(&node, "nat rules", &["-e", "--set-xmark 0x100/0x100"]);
    assert_eq!(marked, "-A PREROUTING -s 10.0.0.0/24 -j MARK --set-xmark 0x100/0x100\n");
    let chain = grep(&node, "nat rules r", &["^-A.*UPCS-MASQUERADE"]);
    assert_eq!(
        chain.lines().collect::<Vec<_>>(),
        [
            "-A POSTROUTING -m mark --mark 0x100/0x100 -j UPCS-MASQUERADE",
            "-A UPCS-MASQUERADE -d 10.0.0.0/24 -j RETURN",
            "-A UPCS-MASQUERADE -o outside -j SNAT --to-source 192.0.2.7 --persistent",
            "-A UPCS-MASQUERADE -j MASQUERADE",
        ]
    );
    let wrong = node.shuntd.cli_cmd(&["nat", "rules", "q"]).unwrap().run().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stderr.contains("there is no router q; there are: r"), "{}", wrong.stderr);
}
