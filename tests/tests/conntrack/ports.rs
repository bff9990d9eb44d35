//! Source translation with a range of ports (`snat_ports`): what is in it is used up, no more and no less.

use std::collections::BTreeSet;
use std::time::Instant;

use shunt_tests::{Running, require};

use crate::cluster::Talk;
use crate::ends::{own, three};
use crate::lab::{apply, dropped, gateway_v4, gateway_v6, until_answered};
use crate::node::{MEMORY, Node, PATIENCE, Pod};
use crate::site::{masquerades, masquerades_from, with_router};

/// Answers on TCP and UDP at one port with address and port of who asks.
const WHO: &str = r#"
use strict; use IO::Socket::IP; use IO::Select; $| = 1;
my %at = (LocalHost => $ARGV[0], LocalPort => $ARGV[1], ReuseAddr => 1);
my $tcp = IO::Socket::IP->new(%at, Listen => 64) or die "tcp: $@";
my $udp = IO::Socket::IP->new(%at, Proto => "udp") or die "udp: $@";
print "ready\n";
my $ready = IO::Select->new($tcp, $udp);
while (my @some = $ready->can_read) {
    for my $one (@some) {
        if ($one == $udp) {
            defined(my $from = $udp->recv(my $said, 2000)) or next;
            $udp->send($udp->peerhost . " " . $udp->peerport . "\n", 0, $from);
        } elsif ($one == $tcp) {
            my $client = $tcp->accept or next;
            $ready->add($client);
        } elsif (sysread($one, my $said, 2000)) {
            syswrite($one, $one->peerhost . " " . $one->peerport . "\n");
        } else {
            $ready->remove($one);
            close $one;
        }
    }
}
"#;

/// Asks once, from a port of its own (or any, 0), and prints what comes back within a second.
const ASK: &str = r#"
use strict; use IO::Socket::IP; $| = 1;
my ($proto, $host, $port, $own) = @ARGV;
$SIG{ALRM} = sub { print "silence\n"; exit 0 };
alarm 1;
my @own = $own ? (LocalPort => $own, ReuseAddr => 1) : ();
my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Proto => $proto, @own) or do { print "failed: $!\n"; exit 0 };
$s->send("who?\n") or do { print "failed: $!\n"; exit 0 };
my $answer;
print defined($s->recv($answer, 2000)) ? $answer : "failed: $!\n";
"#;

/// What has ended is forgotten soon.
const SOON: &str = "[connections]\ntcp_timeout_syn_sent = \"1s\"\ntcp_timeout_time_wait = \"1s\"\ntcp_timeout_close = \"1s\"\n\
                    tcp_timeout_last_ack = \"1s\"\nudp_timeout = \"6s\"\nudp_timeout_stream = \"6s\"\n";
const LISTEN: &str = "127.0.0.1:9464";
const SERVED: u16 = 8080;

fn answers(pod: &Pod, at: &str, port: u16) -> Running {
    let server = pod.netns.spawn(&["perl", "-e", WHO, at, &port.to_string()]).unwrap();
    server.expect("ready\n", 0, PATIENCE).unwrap();
    server
}

/// Whom the server sees when it is asked once; what went wrong otherwise.
#[track_caller]
fn ask(from: &Pod, protocol: &str, host: &str, port: u16, own: u16) -> Result<(String, u16), String> {
    let (port, own) = (port.to_string(), own.to_string());
    let said = from.netns.exec(&["perl", "-e", ASK, protocol, host, &port, &own]).unwrap().stdout;
    seen(said.trim())
}

/// An address and a port.
fn seen(said: &str) -> Result<(String, u16), String> {
    let words =
        said.split_once(' ').and_then(|(address, port)| Some((address.to_owned(), port.parse().ok()?)));
    words.ok_or_else(|| said.to_owned())
}

/// A socket that stays open and is answered, and the port that the server sees.
#[track_caller]
fn talk(node: &Node, from: &Pod, protocol: &str, host: &str, port: u16) -> (Talk, u16) {
    let mut talk = Talk::open(from, protocol, host, port);
    let said = talk.say("who?");
    let (_, port) = seen(&said).unwrap_or_else(|said| panic!("{said}: {:?}", node.drops()));
    (talk, port)
}

fn port(talk: &mut Talk) -> Result<u16, String> {
    seen(&talk.say("who?")).map(|(_, port)| port)
}

const CASES: [(&str, bool); 4] = [("udp", false), ("tcp", false), ("udp", true), ("tcp", true)];

#[test]
fn snat_with_port_range() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = masquerades("");
    let (a, tap, outside) = three(&node);
    let _running = [answers(outside, &outside.v4, SERVED), answers(outside, &outside.v6, SERVED)];
    let pool = "snat_pool = [\"10.0.2.94\", \"fd00:2::94\"]\n";
    let prefixes = "static_snat = [{ source = \"10.0.1.0/24\", address = \"10.0.2.95\" }, { source = \"fd00:1::/64\", address = \"fd00:2::95\" }]\n";
    let gateways = [gateway_v4(2), gateway_v6(2)];
    for (keys, addresses) in [
        ("", gateways.each_ref().map(String::as_str)),
        (pool, ["10.0.2.94", "fd00:2::94"]),
        (prefixes, ["10.0.2.95", "fd00:2::95"]),
    ] {
        apply(&node, &with_router(&node, &format!("snat_ports = \"34567-34580\"\n{keys}")));
        for (protocol, v6) in CASES {
            let to = own(outside, v6);
            for pod in [a, tap] {
                until_answered(&node, pod, to);
                let all: Vec<_> = (0..3).map(|_| ask(pod, protocol, to, SERVED, 0)).collect();
                for one in &all {
                    let Ok((address, port)) = one else {
                        panic!("{protocol} {to}: {all:?}, {:?}", node.drops())
                    };
                    assert_eq!(address, addresses[usize::from(v6)], "{keys}");
                    assert!((34_567..=34_580).contains(port), "{all:?}");
                }
            }
            node.cli("conntrack -F");
            // One of these that nobody has is kept; an echo, which has none, was let through above.
            let kept = ask(a, protocol, to, SERVED, 34_570);
            assert_eq!(kept.map(|(_, port)| port), Ok(34_570), "{protocol} {to}");
            node.cli("conntrack -F");
        }
    }
    assert_eq!(dropped(&node, "pod1", "masquerade_ports") + dropped(&node, "pod2", "masquerade_ports"), 0);
}

/// The value of a metric without labels.
#[track_caller]
fn metric(node: &Node, name: &str) -> u64 {
    let url = format!("http://{LISTEN}/metrics");
    let page = node.netns.exec(&["curl", "-sS", "--max-time", "5", &url]).unwrap();
    let line = page.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {}", page.stdout)).parse().unwrap()
}

#[test]
fn snat_with_port_range_with_exhaustion() {
    require!(root(), tool("perl"), tool("curl"), file("/dev/net/tun"), shuntd());
    // Who listens is said when it starts.
    let node = masquerades_from(&format!("{MEMORY}[metrics]\nlisten = \"{LISTEN}\"\n"), SOON);
    let (a, tap, outside) = three(&node);
    let served = |v6| [SERVED, SERVED + 1].map(|port| answers(outside, own(outside, v6), port));
    let _running = [served(false), served(true)];
    for (protocol, v6) in CASES {
        apply(&node, &with_router(&node, "snat_ports = \"34567-34568\"\n"));
        let to = own(outside, v6);
        until_answered(&node, a, to);
        until_answered(&node, tap, to);
        let (first, gone) = talk(&node, a, protocol, to, SERVED);
        let (mut second, kept) = talk(&node, tap, protocol, to, SERVED);
        assert_eq!(BTreeSet::from([gone, kept]), BTreeSet::from([34_567, 34_568]));
        // A third one is refused, is counted, and harms nobody.
        let counted = || {
            (
                dropped(&node, &tap.port, "masquerade_ports"),
                metric(&node, "shunt_nat_ports_exhausted_frames_total"),
            )
        };
        let before = counted();
        assert_eq!(
            ask(tap, protocol, to, SERVED, 0),
            Err("silence".to_owned()),
            "{}",
            node.cli("conntrack -L")
        );
        let after = counted();
        assert!(after.0 > before.0 && after.1 > before.1, "{protocol} {to}: {before:?} {after:?}");
        assert_eq!(port(&mut second), Ok(kept));
        // To another port of the same station there are as many again.
        let (_elsewhere, port_there) = talk(&node, tap, protocol, to, SERVED + 1);
        assert!((34_567..=34_568).contains(&port_there));
        // As soon as one of the two has ended, the next has its port.
        drop(first);
        let deadline = Instant::now() + PATIENCE;
        let (mut third, its) = loop {
            assert_eq!(port(&mut second), Ok(kept), "it goes on meanwhile");
            let mut third = Talk::open(a, protocol, to, SERVED);
            match third.try_say("who?").as_deref().map(seen) {
                Some(Ok((_, port))) => break (third, port),
                other => assert!(Instant::now() < deadline, "{other:?}: {}", node.cli("conntrack -L")),
            }
        };
        assert_eq!(its, gone);
        // Other ports are for others: who has one keeps it.
        for range in ["40000-40001", "34567-34567", "1024-2047"] {
            apply(&node, &with_router(&node, &format!("snat_ports = \"{range}\"\n")));
            for _ in 0..10 {
                assert_eq!((port(&mut second), port(&mut third)), (Ok(kept), Ok(its)), "{range}");
            }
            let (low, high) = range.split_once('-').unwrap();
            let range = low.parse().unwrap()..=high.parse().unwrap();
            match ask(a, protocol, to, SERVED, 0) {
                Ok((_, port)) => assert!(range.contains(&port), "{range:?}: {port}"),
                Err(said) => {
                    assert_eq!((said.as_str(), range), ("silence", 34_567..=34_567), "both are taken")
                }
            }
        }
        drop((second, third));
        node.cli("conntrack -F");
    }
}
