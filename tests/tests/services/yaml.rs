//! A dual-stack Service of type NodePort with its slices, as `kubectl get -o yaml` has them, and streams through each of its addresses.

use shunt_tests::iperf::{Tcp, Udp};
use shunt_tests::{Iperf, require};

use crate::cluster::config;
use crate::lab::{Places, apply, gateway_v4, gateway_v6, routed, until_answered};
use crate::node::{Kind, Pod};

/// Two pods of network 1, which is masqueraded; and a station of network 2 without any route.
const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Veth, 1), (Kind::Veth, 2)];
const CLUSTER: [&str; 2] = ["10.96.0.20", "fd00:96::20"];

fn objects(backend: &Pod) -> String {
    let slice = |name: &str, family: &str, address: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata:\n  name: {name}\n  namespace: shop\n  labels: {{ kubernetes.io/service-name: load }}\n\
             addressType: {family}\n\
             ports:\n  - {{ name: stream, protocol: TCP, port: 5201 }}\n  - {{ name: datagrams, protocol: UDP, port: 5201 }}\n\
             endpoints:\n  - addresses: [\"{address}\"]\n    conditions: {{ ready: true, serving: true, terminating: false }}\n"
        )
    };
    format!(
        "apiVersion: v1\nkind: Service\n\
         metadata:\n  name: load\n  namespace: shop\n  annotations: {{ shunt/router: common }}\n\
         spec:\n  type: NodePort\n  selector: {{ app: load }}\n  ipFamilyPolicy: RequireDualStack\n  ipFamilies: [IPv4, IPv6]\n  \
         clusterIP: {0}\n  clusterIPs: [\"{0}\", \"{1}\"]\n  internalTrafficPolicy: Cluster\n  externalTrafficPolicy: Cluster\n  \
         sessionAffinity: None\n  ports:\n  \
         - {{ name: stream, protocol: TCP, port: 80, targetPort: 5201, nodePort: 30521 }}\n  \
         - {{ name: datagrams, protocol: UDP, port: 80, targetPort: 5201, nodePort: 30521 }}\n{2}{3}",
        CLUSTER[0],
        CLUSTER[1],
        slice("load-v4", "IPv4", &backend.v4),
        slice("load-v6", "IPv6", &backend.v6)
    )
}

#[test]
fn a_dual_stack_node_port_of_kubernetes_carries_streams() {
    require!(root(), tool("iperf3"), shuntd());
    let node = routed(PLACES, "");
    apply(&node, &config(&node, PLACES, true, ""));
    let [inside, backend, outside] = &node.pods[..] else { unreachable!("three pods") };
    for family in ["-4", "-6"] {
        outside.netns.exec(&["ip", family, "route", "del", "default"]).unwrap();
    }
    let file = node.path("load.yaml");
    std::fs::write(&file, objects(backend)).unwrap();
    node.cli(&format!("apply -f {}", file.display()));
    let shown = node.cli("show services shop/load");
    assert!(CLUSTER.iter().all(|at| shown.contains(at)) && shown.contains("30521"), "{shown}");
    let families = [(&backend.v4, gateway_v4(2), gateway_v4(1)), (&backend.v6, gateway_v6(2), gateway_v6(1))];
    for (cluster, (own, at, hidden)) in CLUSTER.into_iter().zip(families) {
        until_answered(&node, inside, own);
        until_answered(&node, outside, &at);
        let seen = if cluster.contains(':') { &inside.v6 } else { &inside.v4 };
        let mut server = Iperf::serve(&backend.netns, own).unwrap();
        for (client, to, port, seen) in [(inside, cluster, 80, seen), (outside, at.as_str(), 30521, &hidden)]
        {
            server = server.known_as(to).at_port(port);
            for reverse in [false, true] {
                let about = || format!("{to}:{port}, reverse {reverse}: {:?}", node.drops());
                let load = Tcp { seconds: 1, streams: 4, reverse };
                let carried = server.tcp(&client.netns, &load).unwrap();
                assert!(carried.gbits > 0.01, "{}: {carried:?}", about());
                let load = Udp { seconds: 1, mbits: 20, reverse, ..Udp::default() };
                let carried = server.udp(&client.netns, &load).unwrap();
                assert_eq!(carried.lost_on_the_way(), 0, "{}: {carried:?}", about());
            }
            for protocol in ["tcp", "udp"] {
                let listed = node.cli(&format!("conntrack -L -p {protocol} -d {to}"));
                let back = format!("src={own} dst={seen} sport=5201");
                assert!(!listed.is_empty() && listed.lines().all(|line| line.contains(&back)), "{listed}");
            }
        }
    }
    node.cli("delete svc/load -n shop");
    assert!(!node.cli("show services").contains("shop/load"));
}
