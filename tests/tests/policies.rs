//! Policies between kernels' own stacks: default deny, allowed ports and peers, answers of established connections, changes
//! while traffic flows, rejection that a program hears of, Kubernetes objects that come and go.

#[path = "policies/cells.rs"]
mod cells;
#[path = "routing/lab.rs"]
#[allow(dead_code, reason = "shared with the test of routing, which uses all of it")]
mod lab;
#[path = "../../switch/src/policy/tests/model.rs"]
#[allow(dead_code, reason = "the switch's own tests ask it more")]
mod model;
mod node;
#[path = "policies/nodes.rs"]
mod nodes;
#[path = "policies/opening.rs"]
mod opening;
#[path = "policies/workers.rs"]
mod workers;

use std::time::{Duration, Instant};

use lab::{Places, all_answered, apply, both_talk, config, dropped, echo, routed, until_answered};
use node::{Kind, Node, PATIENCE};
use shunt_tests::require;

/// Two pods of network 1, which are bridged, and one of network 2, which is routed to.
const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Tap, 1), (Kind::Veth, 2)];

/// The pods by name, and `policies`.
fn with(node: &Node, policies: &str) -> String {
    let mut text = config("", &node.pods, PLACES);
    for (name, pod) in ["web", "db", "client"].iter().zip(&node.pods) {
        text += &format!(
            "\n[[pod]]\nnamespace = \"shop\"\nname = \"{name}\"\nlabels = {{ app = \"{name}\" }}\naddresses = [\"{}\", \"{}\"]\n",
            pod.v4, pod.v6
        );
    }
    text + policies
}

/// Nobody sends to the database.
const DENY: &str = "
[[policy]]
namespace = \"shop\"
name = \"deny\"
pod_selector = { match_labels = { app = \"db\" } }
";

/// But web does: iperf3's port, and pings, which have none.
const ALLOW: &str = "
[[policy]]
namespace = \"shop\"
name = \"allow-web\"
pod_selector = { match_labels = { app = \"db\" } }
ingress = [
    { from = [{ pod_selector = { match_labels = { app = \"web\" } } }] },
    { from = [{ pod_selector = { match_labels = { app = \"client\" } } }], ports = [{ port = 5201 }, { protocol = \"udp\", port = 5201 }] },
]
";

#[test]
fn a_pod_hears_from_those_only_whom_its_policies_name() {
    require!(root(), tool("iperf3"), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = routed(PLACES, "");
    let [web, db, client] = &node.pods[..] else { unreachable!("three pods") };
    apply(&node, &with(&node, ""));
    for pod in [web, client] {
        until_answered(&node, pod, &db.v4);
        until_answered(&node, pod, &db.v6);
    }

    apply(&node, &with(&node, DENY));
    for pod in [web, client] {
        for to in [&db.v4, &db.v6] {
            assert!(!echo(pod, to, 64), "{} reached {to}", pod.port);
        }
        assert!(dropped(&node, &pod.port, "policy_ingress") >= 2, "{:?}", node.drops());
        // It is isolated in one direction: what it asks for itself is answered.
        all_answered(&node, db, &pod.v4);
        all_answered(&node, db, &pod.v6);
    }
    let why = node.cli("drops --why");
    assert!(why.contains("shop/deny") && why.contains(&db.v4) && why.contains("ingress"), "{why}");
    let shown = node.cli("show policies");
    assert!(shown.lines().any(|line| line.contains("shop") && line.contains("deny")), "{shown}");

    apply(&node, &with(&node, &format!("{DENY}{ALLOW}")));
    all_answered(&node, web, &db.v4);
    all_answered(&node, web, &db.v6);
    assert!(!echo(client, &db.v4, 64), "a rule with ports is not about pings");
    both_talk(db, [web, client]);
    let list = node.cli("conntrack -L -p tcp");
    assert!(list.contains(&format!("src={} dst={}", client.v4, db.v4)), "{list}");
}

#[test]
fn what_is_under_way_stops_when_it_is_forbidden_and_goes_on_when_it_is_not() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let node = routed(PLACES, "");
    let [web, db, client] = &node.pods[..] else { unreachable!("three pods") };
    apply(&node, &with(&node, &format!("{DENY}{ALLOW}")));
    until_answered(&node, web, &db.v4);
    // One flow, with one identifier, through all changes.
    let flow = web.netns.spawn(&["ping", "-n", "-i", "0.02", &db.v4]).unwrap();
    flow.expect("icmp_seq=", 0, PATIENCE).unwrap();
    let refused = || dropped(&node, &web.port, "policy_ingress");
    assert_eq!(refused(), 0, "{:?}", node.drops());
    for round in 0..3 {
        let before = refused();
        apply(&node, &with(&node, DENY));
        let deadline = Instant::now() + PATIENCE;
        while refused() < before + 5 {
            assert!(Instant::now() < deadline, "round {round}: the flow goes on: {:?}", node.drops());
            std::thread::sleep(Duration::from_millis(20));
        }
        apply(&node, &with(&node, &format!("{DENY}{ALLOW}")));
        let settled = refused();
        until_answered(&node, web, &db.v4);
        all_answered(&node, web, &db.v4);
        assert!(refused() <= settled + 1, "round {round}: the flow is still refused: {:?}", node.drops());
    }
    // Others were not disturbed.
    all_answered(&node, web, &client.v4);
}

/// Sends a datagram to a port and prints what its socket hears of it.
const KNOCK: &str = r#"
use strict; use IO::Socket::IP;
my $s = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => 9, Proto => "udp") or die "socket: $!";
alarm 5;
$s->send("x") or die "send: $!";
defined($s->recv(my $data, 9)) ? print "answered\n" : print "heard: $!\n";
"#;

#[test]
fn who_is_rejected_hears_of_it() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = routed(PLACES, "");
    let [web, db, client] = &node.pods[..] else { unreachable!("three pods") };
    apply(&node, &with(&node, ""));
    for pod in [web, client] {
        until_answered(&node, pod, &db.v4);
        until_answered(&node, pod, &db.v6);
    }
    apply(&node, &with(&node, &format!("{DENY}action = \"reject\"\n")));
    for pod in [web, client] {
        // As Linux puts ICMP type 3 code 13 (EHOSTUNREACH) and ICMPv6 type 1 code 1 (EACCES).
        for (to, error) in [(&db.v4, "No route to host"), (&db.v6, "Permission denied")] {
            let heard = pod.netns.exec(&["perl", "-e", KNOCK, to]).unwrap().stdout;
            assert!(
                heard.contains(&format!("heard: {error}")),
                "{} to {to}: {heard}; {:?}",
                pod.port,
                node.drops()
            );
        }
    }
}

#[test]
fn kubernetes_objects_take_effect_and_a_bad_one_changes_nothing() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let node = routed(PLACES, "");
    let [web, db, _] = &node.pods[..] else { unreachable!("three pods") };
    until_answered(&node, web, &db.v4);
    let pod = |name: &str, address: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: shop, labels: {{ app: {name} }} }}\n\
             status: {{ phase: Running, podIPs: [{{ ip: {address} }}] }}\n"
        )
    };
    let policy = |from: &str| {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: db, namespace: shop }}\n\
             spec:\n  podSelector: {{ matchLabels: {{ app: db }} }}\n  ingress:\n    - from: [{{ podSelector: {{ matchLabels: {{ app: {from} }} }} }}]\n"
        )
    };
    let put = |name: &str, text: &str| {
        let file = node.path(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let objects = pod("web", &web.v4) + &pod("db", &db.v4) + &policy("nobody");
    node.cli(&format!("apply -f {}", put("objects.yaml", &objects)));
    assert!(!echo(web, &db.v4, 64), "nobody may");
    node.cli(&format!("apply -f {}", put("allow.yaml", &policy("web"))));
    all_answered(&node, web, &db.v4);
    let generation = node.generation();
    let bad = put("bad.yaml", &(policy("nobody") + &pod("db", "nowhere")));
    let refused = node.shuntd.cli_text(&["apply", "-f", &bad]).unwrap_err().to_string();
    assert!(refused.contains("document 2: status.podIPs[0].ip"), "{refused}");
    assert_eq!(node.generation(), generation);
    all_answered(&node, web, &db.v4);
    // Taken out again: by name, by file; what is not there is said.
    node.cli(&format!("apply -f {}", put("deny.yaml", &policy("nobody"))));
    assert!(!echo(web, &db.v4, 64), "nobody may");
    node.cli("delete networkpolicy db -n shop");
    all_answered(&node, web, &db.v4);
    let shown = node.cli("show policies");
    assert!(!shown.contains("shop"), "{shown}");
    let refused = node.shuntd.cli_text(&["delete", "netpol/db", "-n", "shop"]).unwrap_err().to_string();
    assert!(refused.contains("there is no NetworkPolicy shop/db; `shunt show policies`"), "{refused}");
    node.cli("delete netpol/db -n shop --ignore-not-found");
    node.cli(&format!("apply -f {}", put("deny.yaml", &policy("nobody"))));
    assert!(!echo(web, &db.v4, 64), "nobody may");
    node.cli(&format!("delete -f {}", put("all.yaml", &objects)));
    all_answered(&node, web, &db.v4);
    assert!(!node.cli("show config").contains("[[pod]]"));
}
