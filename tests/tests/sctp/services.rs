//! SCTP to services from outside and from their own backends, and where nobody answers.

use shunt_tests::require;

use crate::ends::{self, End, Listener, is_sound, raw, with_checksum};
use crate::lab::{Places, apply, config, dropped, gateway_v4, gateway_v6, until_answered};
use crate::node::{Node, Pod};
use crate::{PLACES, PORT, SERVED, init, site};

const SERVICE: u16 = 38_412;
const NODE_PORT: u16 = 30_412;

/// Where the service is, and who sees whom, in one family.
struct Family {
    cluster: &'static str,
    balancer: &'static str,
    external: &'static str,
    /// The node's own address in the network of the station outside, and in that of the pods.
    node: String,
    gateway: String,
    pick: fn(&Pod) -> &String,
}

fn families() -> [Family; 2] {
    [
        Family {
            cluster: "10.96.0.10",
            balancer: "10.0.2.100",
            external: "203.0.113.9",
            node: gateway_v4(2),
            gateway: gateway_v4(1),
            pick: |pod| &pod.v4,
        },
        Family {
            cluster: "fd00:96::10",
            balancer: "fd00:2::100",
            external: "fd00:203::9",
            node: gateway_v6(2),
            gateway: gateway_v6(1),
            pick: |pod| &pod.v6,
        },
    ]
}

/// The service with `keys`, and these endpoints; the first network is masqueraded.
#[track_caller]
fn serve(node: &Node, keys: &str, endpoints: &[String]) {
    let places: Places<'_> = PLACES;
    let text = config("", &node.pods, places)
        .replacen("name = \"net1\"\n", "name = \"net1\"\nmasquerade = true\n", 1)
        .replacen(
            "name = \"common\"\n",
            "name = \"common\"\nexternal_ips = [\"203.0.113.0/24\", \"fd00:203::/64\"]\n",
            1,
        );
    let all =
        |of: fn(&Family) -> &'static str| families().map(|family| format!("\"{}\"", of(&family))).join(", ");
    let service = format!(
        "[[service]]\nname = \"core/amf\"\nrouter = \"common\"\ncluster_ips = [{}]\nload_balancer_ips = [{}]\nexternal_ips = [{}]\n\
         ports = [{{ port = {SERVICE}, protocol = \"sctp\", node_port = {NODE_PORT} }}]\n{keys}\nendpoints = [{}]\n",
        all(|it| it.cluster),
        all(|it| it.balancer),
        all(|it| it.external),
        endpoints.join(", ")
    );
    apply(node, &format!("[node]\nname = \"this\"\n{text}{service}"));
}

fn endpoint(address: &str, node: &str) -> String {
    format!("{{ address = \"{address}\", port = {SERVED}, node = \"{node}\" }}")
}

fn of(pod: &Pod) -> [String; 2] {
    [endpoint(&pod.v4, "this"), endpoint(&pod.v6, "this")]
}

/// The station outside sends what is for an external address to the node, as its router would.
fn routed_outside(node: &Node) {
    for family in families() {
        let add = ["ip", "route", "add", family.external, "via", &family.node];
        node.pods[2].netns.exec(&add).unwrap();
        until_answered(node, &node.pods[2], &family.node);
    }
}

#[test]
fn from_outside_by_every_address_with_both_policies() {
    require!(root(), tool("cc"), file(ends::HEADER), shuntd());
    let node = site("");
    routed_outside(&node);
    let [_, backend, outside] = &node.pods[..] else { unreachable!("three pods") };
    // One that is elsewhere and would never answer: with the policy `local` nobody is sent there.
    let elsewhere = [endpoint("10.0.1.77", "other"), endpoint("fd00:1::77", "other")];
    let local = [&of(backend)[..], &elsewhere].concat();
    let mut own = PORT;
    for (keys, endpoints) in [("", &of(backend)[..]), ("external_traffic_policy = \"local\"", &local)] {
        serve(&node, keys, endpoints);
        for family in families() {
            let (served, outer) = ((family.pick)(backend), (family.pick)(outside));
            let _serving = End::serve(backend, served, SERVED);
            let seen = if keys.is_empty() { &family.gateway } else { outer };
            let ways =
                [(family.balancer, SERVICE), (family.external, SERVICE), (family.node.as_str(), NODE_PORT)];
            for (at, port) in ways {
                own += 1;
                let mut talk = End::talk(outside, outer, own, at, port);
                let answer = talk.say("out");
                assert!(answer.starts_with(&format!("{} {seen} ", backend.port)), "{keys} {at}: {answer}");
                assert_eq!(talk.big(50_000), "same", "{keys} {at}: {:?}", node.drops());
                talk.ends("close");
            }
        }
    }
}

#[test]
fn a_backend_reaches_itself() {
    require!(root(), tool("cc"), file(ends::HEADER), shuntd());
    let node = site("");
    let [pod, ..] = &node.pods[..] else { unreachable!("three pods") };
    serve(&node, "", &of(pod));
    for family in families() {
        until_answered(&node, pod, &family.gateway);
        let mut talk = End::both(pod, (family.pick)(pod), SERVED, PORT, family.cluster, SERVICE);
        let seen = talk.say("myself");
        assert!(seen.starts_with(&format!("{} {} ", pod.port, family.gateway)), "{seen}");
        assert_eq!(talk.big(50_000), "same", "{:?}", node.drops());
        talk.ends("close");
    }
}

#[test]
fn where_nobody_answers_an_error_says_so_at_once() {
    require!(root(), tool("perl"), shuntd());
    let node = site("");
    routed_outside(&node);
    serve(&node, "", &[]);
    let [inside, _, outside] = &node.pods[..] else { unreachable!("three pods") };
    for (v6, family) in [false, true].into_iter().zip(families()) {
        until_answered(&node, inside, &family.gateway);
        let asked = [
            (inside, family.cluster, SERVICE),
            (outside, family.balancer, SERVICE),
            (outside, family.external, SERVICE),
            (outside, family.node.as_str(), NODE_PORT),
        ];
        for (from, at, port) in asked {
            let before = dropped(&node, &from.port, "service_no_endpoints");
            let listener = Listener::start(from, v6);
            let init = init();
            let sent = with_checksum(&format!("{}{port:04x}{}", &init[..4], &init[8..]));
            raw(from, at, &sent);
            let quoted = listener.quoted();
            assert!(quoted == sent && is_sound(&quoted), "{at}:{port}: {quoted}, {:?}", node.drops());
            assert_eq!(dropped(&node, &from.port, "service_no_endpoints"), before + 1);
        }
    }
}
