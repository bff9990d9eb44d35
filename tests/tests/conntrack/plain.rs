//! HTTP over connections that are tracked and not translated: between networks with policies.

use shunt_tests::require;

use crate::ends::{http, is_served, own, seen_by, three};
use crate::lab::{apply, config, dropped, routed, until_answered};
use crate::site::PLACES;

/// The station of network 2 is opened to by one pod only, and opens to nobody.
const POLICY: &str = r#"
[[policy]]
namespace = "shop"
name = "one-way"
pod_selector = { match_labels = { app = "pod3" } }
policy_types = ["ingress", "egress"]
ingress = [{ from = [{ pod_selector = { match_labels = { app = "pod1" } } }] }]
egress = []
"#;

/// As OVS has it: from here, not from there, and the answers pass because the connection is known.
#[track_caller]
fn one_way(v6: bool) {
    let node = routed(PLACES, "");
    let (a, other, server) = three(&node);
    let (client, served) = (own(a, v6), own(server, v6));
    let pods: String = node
        .pods
        .iter()
        .map(|pod| {
            format!(
                "[[pod]]\nnamespace = \"shop\"\nname = \"{0}\"\nlabels = {{ app = \"{0}\" }}\naddresses = [\"{1}\", \"{2}\"]\n",
                pod.port, pod.v4, pod.v6
            )
        })
        .collect();
    for pod in [a, other] {
        until_answered(&node, pod, served);
    }
    apply(&node, &format!("{}{pods}{POLICY}", config("", &node.pods, PLACES)));
    let _running = [http(server, served), http(a, client)];
    assert_eq!(seen_by(a, served), client, "{:?}", node.drops());
    let listed = node.cli(&format!("conntrack -L -p tcp -d {served}"));
    let there = format!("src={client} dst={served} sport=");
    let back = format!("src={served} dst={client} sport=80 dport=");
    assert!(listed.lines().count() == 1 && listed.contains(&there) && listed.contains(&back), "{listed}");
    assert!(listed.contains("[ASSURED]"), "{listed}");
    assert!(!is_served(server, client), "nobody answers what is opened from there");
    assert!(!is_served(other, served), "it is not for everybody");
    assert!(
        dropped(&node, &server.port, "policy_egress") > 0
            && dropped(&node, &other.port, "policy_ingress") > 0
    );
    assert_eq!(node.cli("conntrack -L -p tcp").lines().count(), 1, "what is refused opens nothing");
}

#[test]
fn ipv4_http() {
    require!(root(), tool("curl"), tool("perl"), file("/dev/net/tun"), shuntd());
    one_way(false);
}

#[test]
fn ipv6_http() {
    require!(root(), tool("curl"), tool("perl"), file("/dev/net/tun"), shuntd());
    one_way(true);
}
