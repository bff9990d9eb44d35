//! A port that comes with its policies is never open without them: not for one frame.

use std::time::Duration;

use shunt_tests::{Running, require};

use crate::lab::{Places, apply, config, routed};
use crate::node::{Kind, Node, PATIENCE, Pod};

/// Two that knock, one beside the newcomer and one beyond the router; the newcomer itself.
const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Veth, 2), (Kind::Veth, 1)];
const ROUNDS: usize = 12;
/// Enough for fifty datagrams from each.
const SOME_TIME: Duration = Duration::from_millis(50);

/// Sends datagrams to port 9 of each address, without end, a thousand a second.
const KNOCK: &str = r#"
use strict; use IO::Socket::IP; $| = 1;
my @s = map { IO::Socket::IP->new(PeerHost => $_, PeerPort => 9, Proto => "udp") or die "socket: $!" } @ARGV;
print "knocking\n";
while (1) { $_->send("x") for @s; select(undef, undef, undef, 0.001) }
"#;

/// Says of every datagram to port 9 that its interface gets who sent it.
const LISTEN: &str = r#"
use strict; $| = 1;
open(my $f, "<", "/sys/class/net/eth0/ifindex") or die "ifindex: $!"; my $index = <$f> + 0;
socket(my $s, 17, 3, unpack("S", pack("n", 0x0800))) or die "socket: $!";
bind($s, pack("S n i S C C a8", 17, 0x0800, $index, 0, 0, 0, "")) or die "bind: $!";
print "ready\n";
while (defined(my $from = recv($s, my $frame, 65536, 0))) {
    next unless unpack("C", substr($frame, 23, 1)) == 17 && unpack("n", substr($frame, 36, 2)) == 9;
    print "from ", join(".", unpack("C4", substr($frame, 26, 4))), "\n";
}
"#;

fn knock(pod: &Pod, to: &[&str]) -> Running {
    let program = pod.netns.spawn(&[&["perl", "-e", KNOCK][..], to].concat()).unwrap();
    program.expect("knocking\n", 0, PATIENCE).unwrap();
    program
}

fn listen(pod: &Pod) -> Running {
    let program = pod.netns.spawn(&["perl", "-e", LISTEN]).unwrap();
    program.expect("ready\n", 0, PATIENCE).unwrap();
    program
}

/// The pods as objects, and that nobody but the second may send to the third, and that to the second alone.
fn policies(node: &Node) -> String {
    let [near, far, new] = &node.pods[..] else { unreachable!("three pods") };
    let pod = |name: &str, address: &str| {
        format!(
            "[[pod]]\nnamespace = \"shop\"\nname = \"{name}\"\nlabels = {{ app = \"{name}\" }}\naddresses = [\"{address}\"]\n"
        )
    };
    let far_alone = "[{ pod_selector = { match_labels = { app = \"far\" } } }]";
    pod("near", &near.v4)
        + &pod("far", &far.v4)
        + &pod("new", &new.v4)
        + &format!(
            "[[policy]]\nnamespace = \"shop\"\nname = \"guard\"\npod_selector = {{ match_labels = {{ app = \"new\" }} }}\n\
             policy_types = [\"ingress\", \"egress\"]\ningress = [{{ from = {far_alone} }}]\negress = [{{ to = {far_alone} }}]\n"
        )
}

/// Waits until a datagram from `who` is heard.
fn heard(listener: &Running, who: &str, node: &Node) {
    let line = format!("from {who}\n");
    let at = listener.stdout().position();
    if listener.expect(&line, at, PATIENCE).is_err() {
        panic!("nothing came from {who}: {:?}", node.drops());
    }
}

#[test]
fn a_new_port_is_closed_to_whom_its_policy_forbids_from_its_first_moment() {
    require!(root(), tool("perl"), shuntd());
    let node = routed(PLACES, "");
    let [near, far, new] = &node.pods[..] else { unreachable!("three pods") };
    // Neighbours are given on all sides: what is sent goes out at once.
    let endpoint = format!("endpoints = [{{ mac = \"{}\", ip = [\"{}\"] }}]\n", new.mac(), new.v4);
    let with = config("", &node.pods, PLACES) + &endpoint + &policies(&node);
    let without = config("", &node.pods[..2], &PLACES[..2]);
    for (pod, to) in [(near, new), (new, near)] {
        pod.netns.exec(&["ip", "neigh", "replace", &to.v4, "lladdr", &to.mac(), "dev", "eth0"]).unwrap();
    }
    apply(&node, &without);
    let (at_near, at_far, at_new) = (listen(near), listen(far), listen(new));
    let _knocking = [knock(near, &[&new.v4]), knock(far, &[&new.v4]), knock(new, &[&near.v4, &far.v4])];
    for _ in 0..ROUNDS {
        // With it comes its policy.
        apply(&node, &with);
        heard(&at_new, &far.v4, &node);
        heard(&at_far, &new.v4, &node);
        std::thread::sleep(SOME_TIME);
        apply(&node, &without);
    }
    let came =
        |listener: &Running, who: &str| listener.stdout().text(0).matches(&format!("from {who}\n")).count();
    assert!(came(&at_new, &far.v4) >= ROUNDS && came(&at_far, &new.v4) >= ROUNDS);
    assert_eq!((came(&at_new, &near.v4), came(&at_near, &new.v4)), (0, 0), "{:?}", node.drops());
    let refused = node.drops();
    let of = |port: &str, reason: &str| refused.get(&format!("{port}: {reason}")).copied().unwrap_or(0);
    assert!(of("pod1", "policy_ingress") > 0, "nobody knocked: {refused:?}");
}

/// The port comes first, by its CNI plugin, and who its pod is becomes known later.
#[test]
fn a_port_that_needs_its_pod_is_closed_until_that_is_known() {
    require!(root(), tool("perl"), shuntd());
    let node = routed(PLACES, "");
    let [near, far, new] = &node.pods[..] else { unreachable!("three pods") };
    let endpoint =
        format!("endpoints = [{{ mac = \"{}\", ip = [\"{}\"] }}]\nneeds_pod = true\n", new.mac(), new.v4);
    let with = config("", &node.pods, PLACES) + &endpoint;
    for (pod, to) in [(near, new), (new, near)] {
        pod.netns.exec(&["ip", "neigh", "replace", &to.v4, "lladdr", &to.mac(), "dev", "eth0"]).unwrap();
    }
    let (at_near, at_new) = (listen(near), listen(new));
    apply(&node, &with);
    let _knocking = [knock(near, &[&new.v4]), knock(far, &[&new.v4]), knock(new, &[&near.v4, &far.v4])];
    for _ in 0..ROUNDS {
        let about = node.port("pod3").about;
        assert!(about.contains("needs_pod"), "{about}");
        let before = node.port("pod3").tx_packets;
        std::thread::sleep(SOME_TIME);
        assert_eq!(node.port("pod3").tx_packets, before, "the port is closed");
        // Its policy and itself become known at once.
        apply(&node, &(with.clone() + &policies(&node)));
        heard(&at_new, &far.v4, &node);
        apply(&node, &with);
    }
    let came =
        |listener: &Running, who: &str| listener.stdout().text(0).matches(&format!("from {who}\n")).count();
    assert_eq!((came(&at_new, &near.v4), came(&at_near, &new.v4)), (0, 0), "{:?}", node.drops());
}
