//! Services with kernels' own stacks on both sides: clients with curl and sockets of their own, backends that say whom they see.

#[path = "services/clients.rs"]
mod clients;
#[path = "services/cluster.rs"]
mod cluster;
#[path = "scenes/dual.rs"]
mod dual;
#[allow(dead_code, reason = "the tests of SCTP use all of it")]
#[path = "sctp/ends.rs"]
mod ends;
#[path = "services/external.rs"]
mod external;
#[path = "services/forwards.rs"]
mod forwards;
#[path = "services/gateway_change.rs"]
mod gateway_change;
#[path = "services/gateway_lab.rs"]
mod gateway_lab;
#[path = "services/gateway_mode.rs"]
mod gateway_mode;
#[path = "services/kernel_peer.rs"]
mod kernel_peer;
#[allow(dead_code, reason = "the tests of routing use more of it")]
#[path = "routing/lab.rs"]
mod lab;
#[path = "services/named.rs"]
mod named;
mod node;
#[path = "services/own_end.rs"]
mod own_end;
#[path = "services/remote.rs"]
mod remote;
#[path = "services/underlay.rs"]
mod underlay;
#[path = "services/yaml.rs"]
mod yaml;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster::{Answer, Talk, config, datagram, http, http_at_last, serve, service};
use lab::{Places, apply, dropped, echo, gateway_v4, gateway_v6, routed, until_answered};
use node::{Kind, Node, PATIENCE};
use shunt_tests::require;

/// Two pods of network 1, one of network 2: a client, a backend beside it, and one beyond the router.
const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Veth, 1), (Kind::Veth, 2)];
const V4: &str = "10.96.0.10";
const V6: &str = "fd00:96::10";
const ADDRESSES: &str = "cluster_ips = [\"10.96.0.10\", \"fd00:96::10\"]\n";

/// A node with `services` in force.
#[track_caller]
fn with(services: &str) -> Node {
    let node = routed(PLACES, "");
    apply(&node, &config(&node, PLACES, false, services));
    node
}

fn seen(name: &str, peer: &str) -> Answer {
    Answer { name: name.to_owned(), peer: peer.to_owned() }
}

#[test]
fn pods_reach_a_backend_in_their_own_subnet_and_in_another() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    for backend in [1, 2] {
        let node = with("");
        let [client, ..] = &node.pods[..] else { unreachable!("three pods") };
        let server = &node.pods[backend];
        apply(&node, &config(&node, PLACES, false, &service(ADDRESSES, &[&server.v4, &server.v6])));
        let _running = serve(server, 8080);
        for (to, own) in [(V4, &client.v4), (V6, &client.v6)] {
            let expected = seen(&server.port, own);
            assert_eq!(http_at_last(&node, client, to, 80), expected, "the backend sees its client");
            assert_eq!(datagram(client, to, 80), Ok(expected.clone()), "{:?}", node.drops());
            let mut talk = Talk::open(client, "tcp", to, 80);
            for line in ["one", "two"] {
                assert_eq!(talk.say(line), format!("{} {own} {line}", server.port));
            }
        }
        let traced = node
            .cli(&format!("trace --in pod1 ip4.src=={}&&ip4.dst=={V4}&&tcp.src==1&&tcp.dst==80", client.v4));
        let (found, backend) = ("cluster address of service shop/web", format!("backend {}:8080", server.v4));
        assert!(traced.contains(found) && traced.contains(&backend), "{traced}");
        let shown = node.cli("show services shop/web");
        assert!(shown.contains("t:80/tcp u:80/udp") && shown.contains(&server.v6), "{shown}");
        let listed = node.cli("conntrack -L -p tcp");
        let way = format!("src={} dst={V4} sport=", client.v4);
        let back = format!("src={} dst={} sport=8080", server.v4, client.v4);
        assert!(listed.lines().any(|line| line.contains(&way) && line.contains(&back)), "{listed}");
    }
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = with("");
    let [pod, ..] = &node.pods[..] else { unreachable!("three pods") };
    apply(&node, &config(&node, PLACES, false, &service(ADDRESSES, &[&pod.v4, &pod.v6])));
    let _running = serve(pod, 8080);
    for (to, gateway) in [(V4, gateway_v4(1)), (V6, gateway_v6(1))] {
        let expected = seen(&pod.port, &gateway);
        assert_eq!(
            http_at_last(&node, pod, to, 80),
            expected,
            "not its own address, which it would not answer"
        );
        assert_eq!(datagram(pod, to, 80), Ok(expected));
    }
}

#[test]
fn connections_are_spread_and_a_client_with_affinity_stays() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = with("");
    let [client, near, far] = &node.pods[..] else { unreachable!("three pods") };
    let backends = [near.v4.as_str(), far.v4.as_str()];
    apply(&node, &config(&node, PLACES, false, &service(ADDRESSES, &backends)));
    let _running = [serve(near, 8080), serve(far, 8080)];
    http_at_last(&node, client, V4, 80);
    until_answered(&node, client, &far.v4);
    let names = || -> BTreeSet<String> {
        (0..30)
            .map(|_| {
                http(client, V4, 80).unwrap_or_else(|error| panic!("{error:?}: {:?}", node.drops())).name
            })
            .collect()
    };
    assert_eq!(names().len(), 2, "both have a share");
    let affine = format!("{ADDRESSES}affinity = \"client_ip\"\naffinity_timeout = \"1h\"\n");
    apply(&node, &config(&node, PLACES, false, &service(&affine, &backends)));
    let stays = names();
    assert_eq!(stays.len(), 1, "one keeps the client");
    // A third backend changes most places, but not where the client is.
    let more = [near.v4.as_str(), far.v4.as_str(), "10.0.1.77"];
    apply(&node, &config(&node, PLACES, false, &service(&affine, &more)));
    assert_eq!(names(), stays);
}

#[test]
fn what_nobody_serves_is_refused_at_once_and_pings_are_answered() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = with(&service(ADDRESSES, &[]));
    let [client, near, _] = &node.pods[..] else { unreachable!("three pods") };
    until_answered(&node, client, &gateway_v4(1));
    until_answered(&node, client, &gateway_v6(1));
    for to in [V4, V6] {
        for port in [80, 81] {
            let (error, took) = http(client, to, port).unwrap_err();
            assert!(took < Duration::from_secs(1), "{to}:{port}: {error} after {took:?}");
            let heard = datagram(client, to, port).unwrap_err();
            assert!(heard.contains("refused"), "{to}:{port}: {heard}");
        }
        assert!(echo(client, to, 64), "{to}: {:?}", node.drops());
    }
    assert!(
        dropped(&node, "pod1", "service_no_endpoints") >= 2 && dropped(&node, "pod1", "service_no_port") >= 2
    );
    // The refusal is remembered no longer than it is right.
    apply(&node, &config(&node, PLACES, false, &service(ADDRESSES, &[&near.v4])));
    let _running = serve(near, 8080);
    assert_eq!(http_at_last(&node, client, V4, 80).name, near.port);
    apply(&node, &config(&node, PLACES, false, &service(ADDRESSES, &[])));
    assert!(http(client, V4, 80).is_err());
}

#[test]
fn an_endpoint_that_goes_ends_its_connections_and_one_on_its_way_out_keeps_them() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = with("");
    let [client, near, far] = &node.pods[..] else { unreachable!("three pods") };
    let only_near = [near.v4.as_str()];
    apply(&node, &config(&node, PLACES, false, &service(ADDRESSES, &only_near)));
    let _running = [serve(near, 8080), serve(far, 8080)];
    http_at_last(&node, client, V4, 80);
    until_answered(&node, client, &far.v4);
    let (mut tcp, mut udp) = (Talk::open(client, "tcp", V4, 80), Talk::open(client, "udp", V4, 80));
    assert_eq!((tcp.ask().unwrap().name, udp.ask().unwrap().name), (near.port.clone(), near.port.clone()));
    // On its way out: what is established stays, what is new goes elsewhere.
    let leaving = format!("{} terminating = true", near.v4);
    apply(&node, &config(&node, PLACES, false, &service(ADDRESSES, &[&leaving, &far.v4])));
    assert_eq!((tcp.ask().unwrap().name, udp.ask().unwrap().name), (near.port.clone(), near.port.clone()));
    for _ in 0..10 {
        assert_eq!(http(client, V4, 80).unwrap().name, far.port);
    }
    // Gone: the same socket is answered by the other one as soon as the old connection has been found.
    apply(&node, &config(&node, PLACES, false, &service(ADDRESSES, &[&far.v4])));
    let deadline = Instant::now() + PATIENCE;
    while udp.ask().unwrap().name != far.port {
        assert!(Instant::now() < deadline, "the old backend still answers: {}", node.cli("conntrack -L"));
    }
    assert!(
        !node.cli("conntrack -L").contains(&format!("src={} dst=", near.v4)),
        "{}",
        node.cli("conntrack -L")
    );
    // So does the service.
    apply(&node, &config(&node, PLACES, false, ""));
    let deadline = Instant::now() + PATIENCE;
    while node.cli("conntrack -L").contains(V4) {
        assert!(Instant::now() < deadline, "{}", node.cli("conntrack -L"));
    }
}

/// A resolver's client that asked before the service was there must not be stuck with where its questions went then.
#[test]
fn a_connection_to_what_was_no_service_yet_is_ended() {
    require!(root(), tool("perl"), shuntd());
    let node = with("");
    let [client, near, far] = &node.pods[..] else { unreachable!("three pods") };
    let elsewhere = format!("routes = [{{ to = \"10.96.0.0/12\", via = \"{}\" }}]", far.v4);
    let leads_out =
        |services: &str| config(&node, PLACES, true, services).replacen("routes = []", &elsewhere, 1);
    apply(&node, &leads_out(""));
    until_answered(&node, client, &far.v4);
    assert!(datagram(client, V4, 80).is_err());
    let stuck = format!("src={} dst={V4} sport=", client.v4);
    assert!(node.cli("conntrack -L -p udp").contains(&stuck), "{}", node.cli("conntrack -L"));
    let _running = serve(near, 8080);
    apply(&node, &leads_out(&service(ADDRESSES, &[&near.v4])));
    let deadline = Instant::now() + PATIENCE;
    while node.cli("conntrack -L -p udp").contains(&stuck) {
        assert!(Instant::now() < deadline, "{}", node.cli("conntrack -L"));
    }
    assert_eq!(datagram(client, V4, 80).unwrap().name, near.port);
}

#[test]
fn kubernetes_objects_are_services() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = with("");
    let [client, near, far] = &node.pods[..] else { unreachable!("three pods") };
    let _running = [serve(near, 8080), serve(far, 8080)];
    let yaml = |endpoints: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: web, namespace: shop, annotations: {{ shunt/router: common }} }}\n\
             spec:\n  clusterIP: {V4}\n  ports: [{{ port: 80, targetPort: 8080 }}]\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{ name: web-1, namespace: shop, labels: {{ kubernetes.io/service-name: web }} }}\n\
             addressType: IPv4\nports: [{{ port: 8080 }}]\nendpoints: [{endpoints}]\n"
        )
    };
    let file = node.path("web.yaml");
    let put = |text: &str| {
        std::fs::write(&file, text).unwrap();
        node.cli(&format!("apply -f {}", file.display()))
    };
    put(&yaml(&format!("{{ addresses: [{}] }}", near.v4)));
    assert_eq!(http_at_last(&node, client, V4, 80).name, near.port);
    put(&yaml(&format!("{{ addresses: [{}] }}", far.v4)));
    assert_eq!(http_at_last(&node, client, V4, 80).name, far.port);
    put(&yaml(""));
    assert!(http(client, V4, 80).is_err());
}

/// A policy is asked about the backend's address and port, and about the client's own.
#[test]
fn policies_are_about_the_backend_and_not_about_the_service() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = with("");
    let [client, near, far] = &node.pods[..] else { unreachable!("three pods") };
    let web = service(ADDRESSES, &[&far.v4, &far.v6]);
    let pods: String = [("client", client), ("near", near), ("far", far)]
        .map(|(name, pod)| {
            format!(
                "[[pod]]\nnamespace = \"shop\"\nname = \"{name}\"\nlabels = {{ app = \"{name}\" }}\naddresses = [\"{}\", \"{}\"]\n",
                pod.v4, pod.v6
            )
        })
        .concat();
    let put = |pod: &str, direction: &str, rules: &str| {
        let policy = format!(
            "[[policy]]\nnamespace = \"shop\"\nname = \"p\"\npod_selector = {{ match_labels = {{ app = \"{pod}\" }} }}\n\
             policy_types = [\"{direction}\"]\n{direction} = [{rules}]\n"
        );
        apply(&node, &config(&node, PLACES, false, &format!("{web}{pods}{policy}")));
    };
    let _running = serve(far, 8080);
    apply(&node, &config(&node, PLACES, false, &web));
    for to in [V4, V6] {
        http_at_last(&node, client, to, 80);
    }
    // The receiver's side: the port that the backend has, from the client itself.
    let from_client = "from = [{ pod_selector = { match_labels = { app = \"client\" } } }]";
    put(
        "far",
        "ingress",
        &format!("{{ {from_client}, ports = [{{ port = 8080 }}, {{ protocol = \"udp\", port = 8080 }}] }}"),
    );
    for (to, own) in [(V4, &client.v4), (V6, &client.v6)] {
        assert_eq!(http_at_last(&node, client, to, 80), seen(&far.port, own));
        assert_eq!(datagram(client, to, 80), Ok(seen(&far.port, own)));
        assert!(datagram(near, to, 80).is_err(), "another client");
    }
    assert!(dropped(&node, "pod2", "policy_ingress") >= 2, "{:?}", node.drops());
    put(
        "far",
        "ingress",
        &format!("{{ {from_client}, ports = [{{ port = 80 }}, {{ protocol = \"udp\", port = 80 }}] }}"),
    );
    for to in [V4, V6] {
        assert!(datagram(client, to, 80).is_err(), "the service's port is not the backend's");
    }
    assert!(dropped(&node, "pod1", "policy_ingress") >= 2, "{:?}", node.drops());
    // The sender's side: no prefix of services makes a difference, the backend's does.
    put(
        "client",
        "egress",
        "{ to = [{ ip_block = { cidr = \"10.96.0.0/12\" } }, { ip_block = { cidr = \"fd00:96::/64\" } }] }",
    );
    for to in [V4, V6] {
        assert!(datagram(client, to, 80).is_err(), "a cluster address is nobody");
    }
    assert!(dropped(&node, "pod1", "policy_egress") >= 2, "{:?}", node.drops());
    put(
        "client",
        "egress",
        "{ to = [{ pod_selector = { match_labels = { app = \"far\" } } }], ports = [{ port = 8080 }] }",
    );
    for to in [V4, V6] {
        assert_eq!(http_at_last(&node, client, to, 80).name, far.port);
        assert!(datagram(client, to, 80).is_err(), "only TCP");
    }
}

/// Endpoints come and go a few hundred times under a stream through the service: what has a backend loses nothing.
#[test]
fn endpoints_change_under_load_and_nothing_is_lost() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = with("");
    let [client, near, far] = &node.pods[..] else { unreachable!("three pods") };
    let _running = [serve(near, 8080), serve(far, 8080)];
    apply(&node, &config(&node, PLACES, false, &service(ADDRESSES, &[&near.v4])));
    http_at_last(&node, client, V4, 80);
    let slice = |count: usize| {
        let endpoints: Vec<_> =
            (0..count).map(|last| format!("{{ addresses: [10.0.1.{}] }}", 100 + last)).collect();
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{ name: web-1, namespace: shop, labels: {{ kubernetes.io/service-name: web }} }}\n\
             addressType: IPv4\nports: [{{ name: t, port: 8080 }}, {{ name: u, protocol: UDP, port: 8080 }}]\nendpoints: [{}]\n",
            endpoints.join(", ")
        )
    };
    let files = [0, 1, 5].map(|count| {
        let file = node.path(&format!("slice{count}.yaml"));
        std::fs::write(&file, slice(count)).unwrap();
        file.display().to_string()
    });
    let mut talks = [Talk::open(client, "tcp", V4, 80), Talk::open(client, "udp", V4, 80)];
    let own = seen(&near.port, &client.v4);
    let flow = client.netns.spawn(&["ping", "-n", "-i", "0.01", "-c", "400", &near.v4]).unwrap();
    let before = node.generation();
    for round in 0..60 {
        node.cli(&format!("apply -f {}", files[round % files.len()]));
        for talk in &mut talks {
            assert_eq!(talk.ask(), Ok(own.clone()), "round {round}: {:?}", node.drops());
        }
    }
    assert!(node.generation() >= before + 60);
    let at = flow.expect(" packet loss", 0, PATIENCE).unwrap();
    let text = flow.stdout().text(0);
    assert!(text[..at].contains("400 packets transmitted, 400 received"), "{text}");
}
