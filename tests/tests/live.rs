//! Changes while traffic flows: frames between ports that a change does not touch are not lost, and a change that fails changes nothing.

mod node;

use std::thread;
use std::time::{Duration, Instant};

use node::{Kind, Node, Plan, Pod, traffic};
use shunt_tests::iperf::Udp;
use shunt_tests::{Iperf, Shuntd, require};

const TWO: Plan<'_> = Plan {
    pods: &[Kind::Veth, Kind::Veth],
    mtu: 1500,
    keys: "",
    head: node::MEMORY,
    network: "",
    tail: "",
    quiet: true,
};

/// UDP from pod 1 to pod 2 at a rate that any machine sustains, while `change` runs: every datagram arrives, and the switch drops nothing.
#[track_caller]
fn lossless(node: &Node, seconds: u32, change: impl Fn(&Node)) {
    let [a, b] = [&node.pods[0], &node.pods[1]];
    // Let the two be learned: no flood to a port that comes and goes.
    traffic::ping_v4(a, b, 3).unwrap();
    node.wait_learned(&a.mac(), &["pod1"]);
    node.wait_learned(&b.mac(), &["pod2"]);
    let round = || {
        let before = node.ports();
        let result = thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut iperf = Iperf::serve(&b.netns, &b.v4).unwrap();
                iperf.udp(&a.netns, &Udp { seconds, mbits: 20, length: 500, reverse: false }).unwrap()
            });
            node.wait_port("pod1", "the load has begun", |port| {
                port.rx_packets > before["pod1"].rx_packets + 500
            });
            change(node);
            assert!(!load.is_finished(), "the load ended before the changes did");
            load.join().unwrap()
        });
        let ports = node.ports();
        let [one, two] = [&ports["pod1"], &ports["pod2"]];
        println!("{result:?}, missed {}", one.missed - before["pod1"].missed);
        assert_eq!((one.drops, two.drops), (0, 0), "{:?}", node.drops());
        assert!(result.sent > u64::from(seconds) * 3_000, "the load was none: {result:?}");
        if result.lost_on_the_way() == 0 { Ok(()) } else { Err(format!("{result:?}, {one:?}, {two:?}")) }
    };
    traffic::thrice(round).unwrap();
}

/// Where the two talk to nobody else: what came in by the one port has gone out by the other, frame by frame.
#[track_caller]
fn alone(node: &Node) {
    let ports = node.ports();
    let [one, two] = [&ports["pod1"], &ports["pod2"]];
    assert_eq!((one.rx_packets, two.rx_packets), (two.tx_packets, one.tx_packets), "{one:?} {two:?}");
    assert_eq!((one.rx_bytes, two.rx_bytes), (two.tx_bytes, one.tx_bytes), "{one:?} {two:?}");
}

#[test]
fn a_hundred_ports_added_and_removed_under_load() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let node = Node::start(&TWO);
    let (generation, start) = (node.generation(), Instant::now());
    lossless(&node, 20, |node| {
        for n in 0..100 {
            let kind = match n % 4 {
                0 => "kind=dpdk devargs=net_null_late,no-rx=1".to_owned(),
                1 => "kind=tap device=late0".to_owned(),
                2 => format!("kind=vhost-user path={}", node.path("late").display()),
                _ => "kind=tun device=late1 addresses=10.9.9.9/24".to_owned(),
            };
            node.cli(&format!("port add late {kind}"));
            node.cli("port del late");
        }
        println!("100 ports in {:?}", start.elapsed());
    });
    alone(&node);
    assert!(node.generation() >= generation + 200, "each change is a publication");
    assert_eq!(node.ports().len(), 2);
    let (free, all) = node.buffers();
    assert!(free + 256 >= all, "buffers are missing: {free} free of {all}");
}

#[test]
fn configurations_applied_under_load() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let node = Node::start(&TWO);
    let plain = node.config().to_owned();
    let more = format!(
        "{plain}\n[[network]]\nname = \"blue\"\n[[port]]\nname = \"late\"\nkind = \"tap\"\nnetwork = \"blue\"\n"
    );
    let other = plain.replace("device = \"h-pod2\"", "device = \"h-pod2\"\nmac_limit = 9");
    assert_ne!(plain, other);
    let files = [("plain", &plain), ("more", &more), ("other", &other)].map(|(name, text)| {
        let path = node.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    });
    lossless(&node, 10, |node| {
        for round in 0..20 {
            node.cli(&format!("apply {}", files[(round + 1) % 3]));
        }
        node.cli(&format!("apply {}", files[1]));
        assert_eq!(node.ports().len(), 3);
    });
}

#[test]
fn queues_moved_to_another_worker_under_load() {
    require!(root(), tool("iperf3"), shuntd());
    let head = format!("{}[workers]\ncount = 2\n", node::MEMORY);
    let node = Node::start(&Plan { head: &head, keys: "placement = [0]\n", ..TWO });
    let first = node.config().to_owned();
    let second = first.replace("placement = [0]", "placement = [1]");
    let files = [("first", &first), ("second", &second)].map(|(name, text)| {
        let path = node.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    });
    lossless(&node, 6, |node| {
        for round in 0..20 {
            node.cli(&format!("apply {}", files[(round + 1) % 2]));
        }
    });
    alone(&node);
    node.cli(&format!("apply {}", files[1]));
    let workers = node.show("workers");
    let counts: Vec<usize> =
        workers.as_array().unwrap().iter().map(|w| w["queues"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [0, 2], "{workers}");
}

#[test]
fn a_change_that_fails_changes_nothing() {
    require!(root(), tool("iperf3"), shuntd());
    let node = Node::start(&TWO);
    let config = node.config().to_owned();
    let cases = [
        // What is wrong, its exit code, what the message must name.
        (config.replace("device = \"h-pod2\"", "device = \"h-pod2\"\nmtu = 3"), 2, "mtu"),
        (config.clone() + "[[port]]\nname = \"x\"\nkind = \"veth\"\ndevice = \"absent0\"\n", 1, "absent0"),
        (
            config.clone() + "[[port]]\nname = \"x\"\nkind = \"dpdk\"\ndevargs = \"net_absent0\"\n",
            1,
            "net_absent0",
        ),
        // One good port, one bad: not even the good one is taken.
        (
            config.clone()
                + "[[port]]\nname = \"good\"\nkind = \"tap\"\n[[port]]\nname = \"bad\"\nkind = \"veth\"\ndevice = \"absent0\"\n",
            1,
            "absent0",
        ),
        (config.replace("mtu = 1500", "mtu = 1500\n[daemon]\nsocket = \"/tmp/other\""), 1, "socket"),
        ("not toml [".to_owned(), 2, "syntax"),
    ];
    let ports: Vec<String> = node.ports().into_keys().collect();
    lossless(&node, 5, |node| {
        let generation = node.generation();
        for (text, code, names) in &cases {
            let file = node.path("bad.toml");
            std::fs::write(&file, text).unwrap();
            let output = node.shuntd.cli_cmd(&["apply", &file.to_string_lossy()]).unwrap().run().unwrap();
            assert_eq!(output.status.code(), Some(*code), "{text}\n{output:?}");
            let said = output.stderr.trim();
            assert!(said.contains(names) || *names == "syntax" && !said.is_empty(), "{names}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
        assert_eq!(node.generation(), generation, "a refused change was published");
    });
    alone(&node);
    assert_eq!(node.ports().into_keys().collect::<Vec<_>>(), ports);
}

#[test]
fn a_reload_by_signal_applies_a_good_file_and_refuses_a_bad_one() {
    require!(root(), shuntd());
    let node = Node::start(&TWO);
    let late = "[[port]]\nname = \"late\"\nkind = \"dpdk\"\ndevargs = \"net_null_late,no-rx=1\"\n";
    let more = node.config().to_owned() + late;
    node.shuntd.reload(&more).unwrap();
    node.wait_ports("the new port is there", |ports| ports.len() == 3);
    let generation = node.generation();
    node.shuntd.reload(&(more.clone() + "[[port]]\nname = \"worse\"\nkind = \"carrier pigeon\"\n")).unwrap();
    let deadline = Instant::now() + node::PATIENCE;
    while !node.shuntd.log().contains("carrier pigeon") {
        assert!(Instant::now() < deadline, "the mistake is not in the log: {}", node.shuntd.log());
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((node.generation(), node.ports().len()), (generation, 3));
    node.shuntd.reload(node.config()).unwrap();
    node.wait_ports("the new port is gone", |ports| ports.len() == 2);
}

#[test]
fn it_stops_with_0_under_load_and_leaves_nothing_behind() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let tail = "[[port]]\nname = \"vm\"\nkind = \"vhost-user\"\npath = \"DIR/vm\"\n\
                [[port]]\nname = \"host0\"\nkind = \"tap\"\n";
    let mut node = Node::start(&Plan { tail, ..TWO });
    let to = node.pods[1].v4.clone();
    let mut flood = node.pods[0].netns.spawn(&["ping", "-f", "-q", &to]).unwrap();
    node.wait_port("pod1", "traffic flows", |port| port.rx_packets > 1000);
    node.shuntd.stop().unwrap();
    assert!(flood.try_wait().unwrap().is_none(), "the load ended first");
    assert!(!node.path("vm").exists(), "the guest's socket is left");
    assert!(!node.shuntd.socket().exists(), "the control socket is left");
    let links = node.netns.exec(&["ip", "-o", "link"]).unwrap().stdout;
    assert!(!links.contains("host0"), "the tap is left: {links}");
}

/// A switch that was killed leaves sockets behind; the next one takes their places.
#[test]
fn it_works_again_after_being_killed() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let tail = "[[port]]\nname = \"vm\"\nkind = \"vhost-user\"\npath = \"DIR/vm\"\n\
                [[port]]\nname = \"app\"\nkind = \"memif\"\npath = \"DIR/app\"\n";
    let mut node = Node::start(&Plan { pods: &[Kind::Veth, Kind::Tap], tail, quiet: false, ..TWO });
    traffic::ping(&node.pods[0], &node.pods[1], 5, 56).unwrap();
    let config = format!("[daemon]\nsocket = \"{}\"\n{}", node.path("control").display(), node.config());
    for _ in 0..2 {
        node.shuntd.kill();
        assert!(node.path("vm").exists(), "a killed one cannot clean up");
        node.shuntd = Shuntd::start_in(&node.netns, &config).unwrap();
        node.wait_ports("all are open", |ports| ports.len() == 4 && ports.values().all(|port| port.oper_up));
        traffic::ping(&node.pods[0], &node.pods[1], 20, 1400).unwrap();
    }
}

/// A pod that comes while traffic flows works at once, also behind a flood of unknown addresses.
#[test]
fn a_late_pod_works_under_load() {
    require!(root(), tool("iperf3"), shuntd());
    let mut node = Node::start(&TWO);
    let late = Pod::new(Kind::Veth, 3, 1500, true, &node.netns);
    lossless(&node, 4, |node| {
        node.cli("port add pod3 kind=veth device=h-pod3");
        traffic::ping_v4(&node.pods[0], &late, 20).unwrap();
        node.cli("port del pod3");
    });
    node.pods.push(late);
}

/// Flows of the routed load: destinations behind the second pod.
const FLOWS: u32 = 1_000;
/// Datagrams of the routed load, 5,000 a second.
const DATAGRAMS: u32 = 60_000;
/// Addresses that turn up beside it, 100 a second.
const NEWCOMERS: u32 = 1_100;

/// Sends numbered datagrams to the flows in turn.
const SEND: &str = r#"
use strict; use Socket; use Time::HiRes qw(time);
my ($flows, $count) = @ARGV;
socket(my $s, AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
my @to = map { pack_sockaddr_in(5201, inet_aton(sprintf "10.7.%d.%d", $_ >> 8, $_ & 255)) } 0 .. $flows - 1;
for my $n (0 .. $count - 1) {
    defined(send($s, pack("N", $n), 0, $to[$n % $flows])) or die "send: $!";
    select undef, undef, undef, 0.01 if $n % 50 == 49;
}
"#;

/// Says when each of them has come, once.
const RECEIVE: &str = r#"
use strict; use Socket; $| = 1;
my ($count) = @ARGV; my ($seen, $got) = ("", 0);
socket(my $s, AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
setsockopt($s, SOL_SOCKET, 33, pack("i", 32 << 20));
bind($s, pack_sockaddr_in(5201, INADDR_ANY)) or die "bind: $!";
print "listening\n";
while (defined recv($s, my $data, 64, 0)) {
    my $n = unpack("N", $data);
    die "twice: $n\n" if vec($seen, $n, 1);
    vec($seen, $n, 1) = 1;
    $got++;
    print "got $got\n" if $got % 1000 == 0;
    print "complete\n" if $got == $count;
}
"#;

/// Frames to the gateway's address, each from a station of its own, a hundredth of a second after each other.
const NEWCOME: &str = r#"
use strict; use Time::HiRes; $| = 1;
my ($gateway, $round, $count) = @ARGV;
open(my $f, "<", "/sys/class/net/eth0/ifindex") or die "ifindex: $!"; my $index = <$f> + 0;
socket(my $s, 17, 3, 0) or die "socket: $!";
bind($s, pack("S n i S C C a8", 17, 0x88b5, $index, 0, 0, 0, "")) or die "bind: $!";
for my $n (0 .. $count - 1) {
    my $mac = sprintf "0200%02x00%04x", 0xb0 + $round, $n;
    defined(send($s, pack("H*", $gateway . $mac . "88b5") . "\0" x 46, 0)) or die "send: $!";
    select undef, undef, undef, 0.009;
}
print "done\n";
"#;

/// Routed flows stay in the cache, and none of their packets is lost, while the topology changes 100 times a second for reasons
/// that do not concern them: stations that turn up in one of their networks, ports that come and go.
#[test]
fn routed_flows_stay_cached_while_others_change() {
    require!(root(), tool("perl"), shuntd());
    let router = "[[router]]\nname = \"r\"\nroutes = [{ to = \"10.7.0.0/16\", via = \"10.0.2.2\" }]\n";
    let head = format!("{}{router}", node::MEMORY);
    let mut node = Node::start(&Plan {
        pods: &[Kind::Veth],
        head: &head,
        network: "router = \"r\"\ngateways = [\"10.0.0.254/24\"]\ngateway_mac = \"02:00:00:00:fe:01\"",
        tail: "[[network]]\nname = \"beyond\"\nrouter = \"r\"\ngateways = [\"10.0.2.254/24\"]\n",
        ..TWO
    });
    for (n, address, network) in [(2, "10.0.2.2", "beyond"), (3, "10.0.0.3", "default")] {
        let mut pod = Pod::new(Kind::Veth, n, 1500, true, &node.netns);
        pod.v4 = address.to_owned();
        pod.plug(1500, true, &node.netns);
        node.cli(&format!("port add pod{n} kind=veth device=h-pod{n} network={network}"));
        node.pods.push(pod);
    }
    node.wait_ports("all are open", |ports| ports.values().all(|port| port.oper_up && port.link));
    let [a, b, newcomers] = &node.pods[..] else { unreachable!("three pods") };
    let step = |pod: &Pod, line: &str| pod.netns.exec(&line.split(' ').collect::<Vec<_>>()).unwrap();
    step(a, "ip route add default via 10.0.0.254 dev eth0");
    step(b, "ip route add default via 10.0.2.254 dev eth0");
    step(b, "ip route add local 10.7.0.0/16 dev lo");
    let ping = shunt_tests::Ping { wait_ms: 200, ..shunt_tests::Ping::to("10.7.3.231") };
    let deadline = Instant::now() + node::PATIENCE;
    while ping.run(&a.netns).unwrap().received == 0 {
        assert!(Instant::now() < deadline, "no way to {}: {:?}", ping.to, node.drops());
    }

    let mut rounds = 0..;
    let round = || {
        let round = rounds.next().unwrap_or_default().to_string();
        let (count, flows, stations) = (DATAGRAMS.to_string(), FLOWS.to_string(), NEWCOMERS.to_string());
        let receiver = b.netns.spawn(&["perl", "-e", RECEIVE, &count]).unwrap();
        receiver.expect("listening\n", 0, node::PATIENCE).unwrap();
        let before = (cache(&node), node.generation(), node.ports());
        let start = Instant::now();
        let mut sender = a.netns.spawn(&["perl", "-e", SEND, &flows, &count]).unwrap();
        let others = ["perl", "-e", NEWCOME, "02000000fe01", &round, &stations];
        let mut others = newcomers.netns.spawn(&others).unwrap();
        let mut ports = 0;
        while sender.try_wait().unwrap().is_none() || others.try_wait().unwrap().is_none() {
            node.cli("port add late kind=dpdk devargs=net_null_late,no-rx=1 network=beyond");
            node.cli("port del late");
            ports += 1;
            assert!(start.elapsed() < Duration::from_secs(60), "the load does not end");
            thread::sleep(Duration::from_millis(200));
        }
        let seconds = start.elapsed().as_secs_f64();
        for program in [&mut sender, &mut others] {
            assert!(program.wait(node::PATIENCE).unwrap().success(), "{}", program.stderr().text(0));
        }
        let complete = receiver.expect("complete\n", 0, node::PATIENCE);
        let after = (cache(&node), node.generation(), node.ports());
        let published = after.1 - before.1;
        let [hits, misses, stale] = std::array::from_fn(|n| after.0[n] - before.0[n]);
        println!(
            "{published} publications in {seconds:.1} s, {ports} ports; hits {hits}, misses {misses}, stale {stale}"
        );
        // A defect of the switch whatever the machine does: a frame lost by it, or a cache that each change empties. (Every
        // flow has a packet five times a second, so that each would find its entry stale.)
        for port in ["pod1", "pod2"] {
            assert_eq!(after.2[port].drops, before.2[port].drops, "{port}: {:?}", node.drops());
        }
        assert!(published > u64::from(NEWCOMERS) / 2, "only {published} publications");
        assert!(stale < u64::from(DATAGRAMS) / 20, "{stale} stale, {misses} misses of {hits} hits");
        let firsts = u64::from(FLOWS + NEWCOMERS);
        assert!(misses < firsts + stale + u64::from(DATAGRAMS) / 100, "{misses} misses, {stale} stale");
        complete.map(drop).map_err(|error| format!("{error}; {:?}, {:?}", before.2["pod1"], after.2["pod1"]))
    };
    traffic::thrice(round).unwrap();
}

/// Hits, misses and stale entries of the first worker's cache.
#[track_caller]
fn cache(node: &Node) -> [u64; 3] {
    let workers = node.show("workers");
    ["hits", "misses", "stale"].map(|key| workers[0]["cache"][key].as_u64().unwrap())
}
