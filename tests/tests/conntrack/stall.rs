//! A worker that stands still for ten seconds while connections are live: what it did not receive its devices tell, all else goes on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use shunt_tests::{Running, require};

use crate::ends::{own, statistic, three};
use crate::lab::{losses, until_answered};
use crate::node::{Node, PATIENCE, Pod};
use crate::site::masquerades;
use crate::stalled::Stalled;

/// How long the worker stands still.
const STALL: Duration = Duration::from_secs(10);
const SERVED: u16 = 8080;
/// Where nobody answers, but all is read.
const SINK: u16 = 9090;
/// Datagrams that are sent there of each family: more than the kernel holds for a port.
const FLOOD: u64 = 30_000;

/// Sends all that comes by TCP or UDP back: of UDP with the sender's port in front.
const ECHO: &str = r#"
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
            $udp->send($udp->peerport . " $said", 0, $from);
        } elsif ($one == $tcp) {
            $ready->add($tcp->accept);
        } elsif (sysread($one, my $said, 65536)) {
            syswrite($one, $said);
        } else {
            $ready->remove($one);
            close $one;
        }
    }
}
"#;

/// Says a numbered line twenty times a second until its input ends and all of TCP has come back, or a last datagram has; then tells what
/// came: how many, and whether in order (TCP), or seen as which ports (UDP).
const TALKER: &str = r#"
use strict; use IO::Socket::IP; use IO::Select; use Time::HiRes qw(time); $| = 1;
my ($proto, $host, $port) = @ARGV;
my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Proto => $proto) or do { print "failed: $!\n"; exit 0 };
my $ready = IO::Select->new($s, \*STDIN);
my ($said, $back, $next, $ends, $text, %ports) = (0, 0, time, 0, "");
my $wrong = "";
while (1) {
    if ($ends && ($proto eq "tcp" ? $back >= $said : $back && $ends < $back)) { last }
    if ((!$ends || $proto eq "udp") && time >= $next) {
        $said++;
        defined($s->send("$said\n")) or do { $wrong = "send: $!"; last };
        $next += 0.05;
        $next = time if $next < time - 1;
    }
    for my $one ($ready->can_read(0.02)) {
        if ($one != $s) { <STDIN>; $ready->remove(\*STDIN); $ends = $said; next }
        my $got;
        if (!sysread($s, $got, 65536)) { $wrong = "closed: $!"; last }
        if ($proto eq "udp") {
            my ($as, $number) = split(" ", $got);
            $ports{$as} = 1;
            $back = $number if $number > $back;
            print "talks\n" if $number == 1;
            next;
        }
        $text .= $got;
        while ($text =~ s/^(\d+)\n//) {
            $wrong = "$1 behind $back" if $1 != $back + 1;
            $back = $1;
            print "talks\n" if $back == 1;
        }
    }
    last if $wrong;
}
print "ended $said $back [$wrong] ", join(",", sort keys %ports), "\n";
"#;

/// Reads all that comes, and tells how many that were when nothing comes for a while.
const READER: &str = r#"
use strict; use IO::Socket::IP; use IO::Select; use Socket qw(SOL_SOCKET); $| = 1;
my $s = IO::Socket::IP->new(LocalHost => $ARGV[0], LocalPort => $ARGV[1], Proto => "udp") or die "udp: $@";
setsockopt($s, SOL_SOCKET, 33, pack("i", 32 << 20)) or die "room: $!";
print "ready\n";
my $ready = IO::Select->new($s);
my ($had, $told) = (0, 0);
while (1) {
    if ($ready->can_read(0.2)) { $had++ if defined $s->recv(my $said, 2000) }
    elsif ($had != $told) { print "had $had\n"; $told = $had }
}
"#;

/// Sends so many datagrams to a port and counts those that the kernel took.
const FLOODER: &str = r#"
use strict; use IO::Socket::IP;
my ($host, $port, $count) = @ARGV;
my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Proto => "udp") or die "udp: $@";
my $sent = 0;
for (1 .. $count) { $sent++ if defined $s->send("x" x 18) }
print "$sent\n";
"#;

#[track_caller]
fn program(pod: &Pod, text: &str, args: &[&str], says: &str) -> Running {
    let running = pod.netns.spawn(&[&["perl", "-e", text], args].concat()).unwrap();
    running.expect(says, 0, PATIENCE).unwrap();
    running
}

/// The TCP and UDP connections to the echo's port: who talks with whom, both ways.
#[track_caller]
fn connections(node: &Node) -> BTreeSet<String> {
    let port = SERVED.to_string();
    let rows = node.shuntd.cli(&["conntrack", "-L", "--dport", &port, "-o", "json"]).unwrap();
    let way = |row: &Value, name: &str| {
        let way = &row[name];
        let word = |key: &str| way[key].to_string();
        format!(
            "{} {} {} {}",
            word("source"),
            word("destination"),
            word("source_port"),
            word("destination_port")
        )
    };
    let rows = rows.as_array().expect("a list").iter();
    rows.map(|row| format!("{} {} {}", row["protocol"], way(row, "original"), way(row, "reply"))).collect()
}

/// A counter of the pod's own device.
#[track_caller]
fn device(pod: &Pod, counter: &str) -> u64 {
    let file = format!("/sys/class/net/eth0/statistics/{counter}");
    pod.netns.exec(&["cat", &file]).unwrap().stdout.trim().parse().unwrap()
}

/// Datagrams of both families for which sockets of the pod had no room.
#[track_caller]
fn refused(pod: &Pod) -> u64 {
    let v6 = pod.netns.exec(&["cat", "/proc/net/snmp6"]).unwrap().stdout;
    let v4 = pod.netns.exec(&["cat", "/proc/net/snmp"]).unwrap().stdout;
    let mut rows = v4.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (rows.next().expect("names"), rows.next().expect("values"));
    let of_v4 = names.split(' ').zip(values.split(' '));
    let of_v6 = v6.lines().filter_map(|line| line.strip_prefix("Udp6")?.split_once(char::is_whitespace));
    let all = of_v4.chain(of_v6).filter(|(name, _)| *name == "RcvbufErrors");
    all.map(|(_, value)| value.trim().parse::<u64>().unwrap()).sum()
}

/// What a worker that stalls did not receive is counted below it; nothing of what it did receive is lost, no connection ends, none
/// gets another's port, and streams go on.
#[test]
fn a_worker_that_stalls_loses_nothing_it_did_not_receive() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = masquerades("");
    let (a, tap, outside) = three(&node);
    let served = SERVED.to_string();
    let servers = [false, true].map(|v6| {
        let at = own(outside, v6);
        let sink = program(outside, READER, &[at, &SINK.to_string()], "ready\n");
        (program(outside, ECHO, &[at, &served], "ready\n"), sink)
    });
    for (pod, v6) in [a, tap].into_iter().flat_map(|pod| [(pod, false), (pod, true)]) {
        until_answered(&node, pod, own(outside, v6));
    }
    // Frames that a's device has sent, and those of them that the switch has received or missed: while nobody speaks.
    let counts = || {
        let port = node.port(&a.port);
        (device(a, "tx_packets"), port.rx_packets + port.missed, port.missed)
    };
    let deadline = Instant::now() + PATIENCE;
    let begun = loop {
        let (once, again) = (counts(), counts());
        if once == again {
            break once;
        }
        assert!(Instant::now() < deadline, "{again:?}: a never falls silent");
    };
    let (sent, reached, missed) = begun;
    let mut talkers = Vec::new();
    for pod in [a, tap] {
        for v6 in [false, true] {
            let to = own(outside, v6);
            for protocol in ["tcp", "udp"] {
                talkers.push((protocol, program(pod, TALKER, &[protocol, to, &served], "talks\n")));
            }
        }
    }
    let before = connections(&node);
    assert_eq!(before.len(), talkers.len(), "{before:?}");
    // Echoes are over, and forgotten sooner than all others.
    for protocol in ["icmp", "icmpv6"] {
        node.cli(&format!("conntrack -D -p {protocol}"));
    }
    let expired = statistic(&node, "expired");
    let refused_before = refused(outside);
    let stalled = Stalled::worker(&node.shuntd, 0);
    let until = Instant::now() + STALL;
    // Who begins now is served, too, when the worker goes on: his first packets wait.
    let late: Vec<Running> = [false, true]
        .map(|v6| tap.netns.spawn(&["perl", "-e", TALKER, "tcp", own(outside, v6), &served]).unwrap())
        .into();
    let mut flood = 0;
    for v6 in [false, true] {
        let (port, count) = (SINK.to_string(), FLOOD.to_string());
        let said = a.netns.exec(&["perl", "-e", FLOODER, own(outside, v6), &port, &count]).unwrap();
        flood += said.stdout.trim().parse::<u64>().unwrap();
    }
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    assert_eq!(statistic(&node, "expired"), expired, "nobody was silent, though nobody was heard");
    drop(stalled);
    for talker in &late {
        talker.expect("talks\n", 0, 2 * PATIENCE).unwrap();
    }
    // Streams go on: all that TCP has said comes back in order, and each socket is seen as one port only.
    for (protocol, talker) in &mut talkers {
        let at = talker.stdout().position();
        talker.send_line("enough").unwrap();
        talker.expect("ended ", at, 2 * PATIENCE).unwrap();
        talker.expect("\n", at, PATIENCE).unwrap();
        let told = talker.stdout().text(at);
        let words: Vec<&str> = told.split_whitespace().collect();
        let [_, said, back, wrong, ports @ ..] = &words[..] else { panic!("{told}") };
        assert_eq!(*wrong, "[]", "{protocol}: {told}");
        match *protocol {
            "tcp" => assert_eq!(said, back, "{told}"),
            _ => assert!(ports.len() == 1 && !ports[0].contains(','), "{told}"),
        }
    }
    // They are the connections that there were, and none of them has another's way.
    let after = connections(&node);
    assert!(after.is_superset(&before), "{before:?} {after:?}");
    assert_eq!(after.len(), before.len() + late.len(), "{after:?}");
    // Every frame of a's device was received by the switch, or is counted as missed by the kernel.
    let deadline = Instant::now() + PATIENCE;
    let lost = loop {
        let (sent_now, reached_now, missed_now) = counts();
        if reached_now - reached == sent_now - sent {
            break missed_now - missed;
        }
        assert!(Instant::now() < deadline, "sent, received or missed, missed: {begun:?} {:?}", counts());
    };
    // And of the datagrams that were received each came to its socket.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let last = |(_, sink): &(Running, Running)| {
            let said = sink.stdout().text(0);
            said.lines()
                .filter_map(|line| line.strip_prefix("had ")?.parse::<u64>().ok())
                .next_back()
                .unwrap_or(0)
        };
        let came = servers.iter().map(last).sum::<u64>() + refused(outside) - refused_before;
        println!("{flood} datagrams of the flood; {came} came, {lost} frames were missed");
        if came + lost >= flood {
            assert!(came <= flood, "some came twice");
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", node.drops());
    }
    assert!(lost > 0, "the flood was to be more than the kernel holds");
    let drops = losses(&node);
    assert!(!drops.keys().any(|what| what.starts_with("pod1: ") || what.starts_with("pod2: ")), "{drops:?}");
}
