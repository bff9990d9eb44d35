//! A port that comes with its policies is never open without them: not for one frame.

use std::time::Duration;

use shunt_tests::{Running, require};

use crate::lab::{Places, apply, config_on, routed_on};
use crate::node::{Kind, MEMORY, Node, PATIENCE, Pod};

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

/// Says of every datagram to port 9 that its interface gets who sent it: an IPv4 address, or the last byte of an IPv6 one.
const LISTEN: &str = r#"
use strict; $| = 1;
open(my $f, "<", "/sys/class/net/eth0/ifindex") or die "ifindex: $!"; my $index = <$f> + 0;
socket(my $s, 17, 3, unpack("S", pack("n", 3))) or die "socket: $!";
bind($s, pack("S n i S C C a8", 17, 3, $index, 0, 0, 0, "")) or die "bind: $!";
print "ready\n";
while (defined(my $from = recv($s, my $frame, 65536, 0))) {
    my $type = unpack("n", substr($frame, 12, 2));
    if ($type == 0x86dd) {
        next unless unpack("C", substr($frame, 20, 1)) == 17 && unpack("n", substr($frame, 56, 2)) == 9;
        print "from v6 ", unpack("C", substr($frame, 37, 1)), "\n";
        next;
    }
    next unless $type == 0x0800;
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
    let pod = |name: &str, pod: &Pod| {
        format!(
            "[[pod]]\nnamespace = \"shop\"\nname = \"{name}\"\nlabels = {{ app = \"{name}\" }}\naddresses = [\"{}\", \"{}\"]\n",
            pod.v4, pod.v6
        )
    };
    let far_alone = "[{ pod_selector = { match_labels = { app = \"far\" } } }]";
    pod("near", near)
        + &pod("far", far)
        + &pod("new", new)
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

/// What `listener` heard from `pod`, by its IPv4 and its IPv6 address.
fn came(listener: &Running, pod: &Pod) -> [usize; 2] {
    let text = listener.stdout().text(0);
    let v6 = format!("v6 {}", pod.number);
    [pod.v4.as_str(), &v6].map(|who| text.matches(&format!("from {who}\n")).count())
}

/// Waits until both families have come through.
fn heard_both(listener: &Running, from: &Pod, node: &Node) {
    heard(listener, &from.v4, node);
    heard(listener, &format!("v6 {}", from.number), node);
}

/// A node with these pods on as many workers as `placement` names, one for each pod's port.
fn site(placement: [u8; 3]) -> Node {
    routed_on(&head(placement), PLACES, "")
}

fn head(placement: [u8; 3]) -> String {
    format!("{MEMORY}[workers]\ncount = {}\n", placement.into_iter().max().unwrap_or_default() + 1)
}

/// The configuration of the first `pods`, each with its worker.
fn placed(node: &Node, placement: [u8; 3], pods: usize) -> String {
    let mut text = config_on(&head(placement), "", &node.pods[..pods], &PLACES[..pods]);
    for (pod, worker) in node.pods[..pods].iter().zip(placement) {
        let name = format!("name = \"{}\"\n", pod.port);
        text = text.replacen(&name, &format!("{name}placement = [{worker}]\n"), 1);
    }
    text
}

/// The newcomer as a station, whose neighbours know it and it them: what is sent goes out at once.
fn endpoint(near: &Pod, new: &Pod) -> String {
    for (pod, to) in [(near, new), (new, near)] {
        for address in [&to.v4, &to.v6] {
            pod.netns.exec(&["ip", "neigh", "replace", address, "lladdr", &to.mac(), "dev", "eth0"]).unwrap();
        }
    }
    format!("endpoints = [{{ mac = \"{}\", ip = [\"{}\", \"{}\"] }}]\n", new.mac(), new.v4, new.v6)
}

/// All knock, by both families.
fn all_knock(near: &Pod, far: &Pod, new: &Pod) -> [Running; 3] {
    [
        knock(near, &[&new.v4, &new.v6]),
        knock(far, &[&new.v4, &new.v6]),
        knock(new, &[&near.v4, &near.v6, &far.v4, &far.v6]),
    ]
}

fn never_open_to_others(placement: [u8; 3]) {
    let node = site(placement);
    let [near, far, new] = &node.pods[..] else { unreachable!("three pods") };
    let with = placed(&node, placement, 3) + &endpoint(near, new) + &policies(&node);
    let without = placed(&node, placement, 2);
    apply(&node, &without);
    let (at_near, at_far, at_new) = (listen(near), listen(far), listen(new));
    let _knocking = all_knock(near, far, new);
    for _ in 0..ROUNDS {
        // With it comes its policy.
        apply(&node, &with);
        heard_both(&at_new, far, &node);
        heard_both(&at_far, new, &node);
        std::thread::sleep(SOME_TIME);
        apply(&node, &without);
    }
    let often = |count: [usize; 2]| count.into_iter().all(|count| count >= ROUNDS);
    assert!(often(came(&at_new, far)) && often(came(&at_far, new)));
    assert_eq!((came(&at_new, near), came(&at_near, new)), ([0, 0], [0, 0]), "{:?}", node.drops());
    let refused = node.drops();
    let of = |port: &str, reason: &str| refused.get(&format!("{port}: {reason}")).copied().unwrap_or(0);
    assert!(of("pod1", "policy_ingress") > 0, "nobody knocked: {refused:?}");
}

#[test]
fn a_new_port_is_closed_to_whom_its_policy_forbids_from_its_first_moment() {
    require!(root(), tool("perl"), shuntd());
    never_open_to_others([0, 0, 0]);
}

/// Who knocks is served by a worker, the newcomer by another one, and both ways round.
#[test]
fn it_is_closed_at_every_worker() {
    require!(root(), tool("perl"), shuntd());
    never_open_to_others([0, 1, 1]);
    never_open_to_others([1, 0, 0]);
}

/// The port comes first, by its CNI plugin, and who its pod is becomes known later.
fn closed_until_known(placement: [u8; 3]) {
    let node = site(placement);
    let [near, far, new] = &node.pods[..] else { unreachable!("three pods") };
    let with = placed(&node, placement, 3) + &endpoint(near, new) + "needs_pod = true\n";
    let (at_near, at_new) = (listen(near), listen(new));
    apply(&node, &with);
    let _knocking = all_knock(near, far, new);
    for _ in 0..ROUNDS {
        let about = node.port("pod3").about;
        assert!(about.contains("needs_pod"), "{about}");
        let before = node.port("pod3").tx_packets;
        std::thread::sleep(SOME_TIME);
        assert_eq!(node.port("pod3").tx_packets, before, "the port is closed");
        // Its policy and itself become known at once.
        apply(&node, &(with.clone() + &policies(&node)));
        heard_both(&at_new, far, &node);
        apply(&node, &with);
    }
    assert_eq!((came(&at_new, near), came(&at_near, new)), ([0, 0], [0, 0]), "{:?}", node.drops());
}

#[test]
fn a_port_that_needs_its_pod_is_closed_until_that_is_known() {
    require!(root(), tool("perl"), shuntd());
    closed_until_known([0, 0, 0]);
    closed_until_known([0, 1, 1]);
}
