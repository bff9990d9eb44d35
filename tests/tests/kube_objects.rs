//! Kubernetes objects applied to a running daemon, with kernels' own stacks as pods: what talks before and after, that nothing is
//! lost meanwhile, and that a file with one mistake changes nothing.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use shunt_tests::iperf::Tcp;
use shunt_tests::{Interface, Iperf, Netns, Ping, Running, Shuntd, Veth, require};

const PATIENCE: Duration = Duration::from_secs(15);
const NODE: &str = include_str!("kube_objects/node.toml");
const CLUSTER: &str = include_str!("kube_objects/cluster.yaml");
const BAD: &str = include_str!("kube_objects/bad.yaml");

/// Answers every datagram with the address that it came from.
const ECHO_SOURCE: &str = r#"
use strict; use IO::Socket::IP; $| = 1;
my $s = IO::Socket::IP->new(LocalHost => "0.0.0.0", LocalPort => 9000, Proto => "udp") or die "socket: $!";
print "ready\n";
while (defined($s->recv(my $data, 99))) { $s->send($s->peerhost) }
"#;

/// Prints what the other side says of a datagram.
const ASK_SOURCE: &str = r#"
use strict; use IO::Socket::IP;
my $s = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => 9000, Proto => "udp") or die "socket: $!";
alarm 5;
$s->send("who am I") or die "send: $!";
defined($s->recv(my $data, 99)) or die "recv: $!";
print $data;
"#;

/// A pod behind the host end `device` of a pair, with its way out.
fn pod(node: &Netns, device: &str, address: &str, gateway: &str) -> Netns {
    let pod = Netns::new().unwrap();
    let inside = Interface { addrs: &[address], ..Interface::default() };
    // It ends with the namespaces.
    std::mem::forget(Veth::pair(device, Some(node), &pod, &inside).unwrap());
    pod.exec(&["ip", "route", "add", "default", "via", gateway]).unwrap();
    pod
}

fn hears(from: &Netns, to: &str) -> bool {
    // The kernel says "unreachable" by an error where the gateway does not answer ARP.
    Ping { wait_ms: 300, ..Ping::to(to) }.run(from).is_ok_and(|answers| answers.received == 1)
}

#[track_caller]
fn wait_hears(shuntd: &Shuntd, from: &Netns, to: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !hears(from, to) {
        let drops = || shuntd.cli_text(&["show", "drops"]).unwrap();
        assert!(Instant::now() < deadline, "{to} does not answer: {}", drops());
    }
}

/// The address that `to` sees packets of `from` come from.
#[track_caller]
fn source_seen(from: &Netns, to: &str) -> String {
    from.exec(&["perl", "-e", ASK_SOURCE, to]).unwrap().stdout
}

/// Requests that got no answer, of a `ping` that is ended by this.
#[track_caller]
fn lost(mut ping: Running) -> u32 {
    ping.signal(Signal::SIGINT);
    ping.wait(PATIENCE).unwrap();
    let said = ping.stdout().text(0);
    let figures =
        said.lines().find(|line| line.contains("packets transmitted")).expect("ping ends in figures");
    let mut numbers =
        figures.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<u32>().ok());
    let (sent, received) = (numbers.next().unwrap(), numbers.next().unwrap());
    assert!(sent > 50, "{figures}");
    sent - received
}

/// The configuration and the routes in force.
#[track_caller]
fn in_force(shuntd: &Shuntd) -> [String; 2] {
    let texts = [&["show", "config"][..], &["route", "show", "table", "node"]];
    texts.map(|words| shuntd.cli_text(words).unwrap())
}

#[test]
fn subnets_and_vlans_change_a_running_node_and_a_bad_file_does_not() {
    require!(root(), tool("ping"), tool("perl"), tool("iperf3"), shuntd());
    let node = Netns::new().unwrap();
    let a = pod(&node, "pod-a", "192.168.1.10/24", "192.168.1.254");
    let b = pod(&node, "pod-b", "192.168.1.11/24", "192.168.1.254");
    let c = pod(&node, "pod-c", "10.20.0.10/24", "10.20.0.1");
    let d = pod(&node, "pod-d", "10.18.0.10/24", "10.18.0.1");
    let shuntd = Shuntd::start_in(&node, NODE).unwrap();
    let file = |name: &str, text: &str| {
        let path = shuntd.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };

    // Before: two VLANs and nobody who routes.
    wait_hears(&shuntd, &a, "192.168.1.11");
    assert!(!hears(&a, "192.168.1.254") && !hears(&c, "192.168.1.10"));
    let traffic = a.spawn(&["ping", "-n", "-i", "0.01", "192.168.1.11"]).unwrap();

    let cluster = file("cluster.yaml", CLUSTER);
    let said = shuntd.cli_text(&["apply", "-f", &cluster]).unwrap();
    assert!(said.contains("note: document 3 (Subnet office): spec.excludeIps: "), "{said}");
    wait_hears(&shuntd, &a, "192.168.1.254");
    wait_hears(&shuntd, &c, "192.168.1.10");
    let mut server = Iperf::serve(&b, "192.168.1.11").unwrap();
    let carried = server.tcp(&c, &Tcp { seconds: 1, ..Tcp::default() }).unwrap();
    assert!(carried.bytes > 1_000_000, "{carried:?}");
    // A pod of the new overlay.
    shuntd.cli_text(&["port", "add", "d", "kind=veth", "device=pod-d", "network=blue"]).unwrap();
    wait_hears(&shuntd, &d, "10.18.0.1");
    wait_hears(&shuntd, &d, "192.168.1.10");

    // `natOutgoing` false leaves the source, true gives it the gateway's.
    let listens = a.spawn(&["perl", "-e", ECHO_SOURCE]).unwrap();
    listens.expect("ready\n", 0, PATIENCE).unwrap();
    assert_eq!(source_seen(&c, "192.168.1.10"), "10.20.0.10");
    assert_eq!(source_seen(&d, "192.168.1.10"), "192.168.1.254");

    // Once more is nothing new.
    let said = shuntd.cli_text(&["apply", "-f", &cluster]).unwrap();
    assert!(said.contains("no port changed"), "{said}");
    wait_hears(&shuntd, &c, "192.168.1.10");

    // One mistake, and none of the objects is applied.
    let before = in_force(&shuntd);
    assert!(before[1].contains("192.168.1.0/24 dev office"), "{before:?}");
    let bad = file("bad.yaml", BAD);
    let refused = shuntd.cli_cmd(&["apply", "-f", &bad]).unwrap().run().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    for line in [
        "bad.yaml:10:93: document 2: spec.gatewayType: \"centralized\" cannot be honoured",
        "bad.yaml:10:106: document 2: spec.colour: unknown field",
    ] {
        assert!(refused.stderr.contains(line), "no {line:?} in {}", refused.stderr);
    }
    assert_eq!(in_force(&shuntd), before);
    assert!(hears(&a, "192.168.1.254") && hears(&c, "192.168.1.10") && hears(&d, "192.168.1.10"));

    // The pair that was at it all the time has noticed nothing; the last request may be under way.
    assert!(lost(traffic) <= 1);
}
