//! The upstream matrix: who may talk to whom under well-known policies.

use std::sync::Arc;

use shunt_config::Cluster;

use super::site::{Site, port_of};
use super::{Sent, forwarder, send};
use crate::ids::PortId;
use crate::wire::protocol::{SCTP, TCP, UDP};
use crate::worker::forward::Forwarder;

/// How many of the 72 pairs of pods may talk at TCP 80, TCP 81, SCTP 80 and SCTP 81.
type Talk = [usize; 4];

/// A well-known case: its name, the policies, and who may talk.
const MATRIX: [(&str, &str, Talk); 20] = [
    ("nothing", "", [72, 72, 72, 72]),
    ("deny all ingress of a namespace", "[[policy]]\nnamespace = \"x\"\nname = \"p\"\n", [48, 48, 48, 48]),
    (
        "deny all of a namespace",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npolicy_types = [\"ingress\", \"egress\"]\n",
        [30, 30, 30, 30],
    ),
    (
        "allow all beside deny all",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\n[[policy]]\nnamespace = \"x\"\nname = \"q\"\ningress = [{}]\n",
        [72, 72, 72, 72],
    ),
    (
        "by namespace",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ from = [{ namespace_selector = { match_labels = { ns = \"y\" } } }] }]\n",
        [67, 67, 67, 67],
    ),
    (
        "by namespace, with an expression",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ from = [{ namespace_selector = { match_expressions = [{ key = \"ns\", operator = \"NotIn\", values = [\"x\"] }] } }] }]\n",
        [70, 70, 70, 70],
    ),
    (
        "by pod",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ from = [{ pod_selector = { match_labels = { pod = \"b\" } } }] }]\n",
        [65, 65, 65, 65],
    ),
    (
        "by pod and namespace",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ from = [{ namespace_selector = { match_labels = { ns = \"y\" } }, pod_selector = { match_labels = { pod = \"b\" } } }] }]\n",
        [65, 65, 65, 65],
    ),
    (
        "by pod or namespace",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ from = [{ namespace_selector = { match_labels = { ns = \"y\" } } }, { pod_selector = { match_labels = { pod = \"b\" } } }] }]\n",
        [68, 68, 68, 68],
    ),
    (
        "by addresses but some",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ from = [{ ip_block = { cidr = \"10.0.0.0/16\", except = [\"10.0.2.0/24\"] } }] }]\n",
        [69, 69, 69, 69],
    ),
    (
        "a port",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ ports = [{ port = 80 }] }]\n",
        [72, 64, 64, 64],
    ),
    (
        "a named port",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ ports = [{ port = \"serve-81\" }] }]\n",
        [64, 72, 64, 64],
    ),
    (
        "a range of ports",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ ports = [{ port = 81, end_port = 90 }] }]\n",
        [64, 72, 64, 64],
    ),
    (
        "egress of a pod, to a namespace",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\npolicy_types = [\"egress\"]\n\
         egress = [{ to = [{ namespace_selector = { match_labels = { ns = \"y\" } } }] }]\n",
        [67, 67, 67, 67],
    ),
    (
        "egress to a named port",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npolicy_types = [\"egress\"]\negress = [{ ports = [{ port = \"serve-80\" }] }]\n",
        [72, 48, 48, 48],
    ),
    (
        "an admin policy above, and its exception",
        "[[admin_policy]]\nname = \"p\"\npriority = 1\nsubject = { namespace_selector = { match_labels = { ns = \"x\" } } }\n\
         ingress = [{ action = \"allow\", ports = [{ port = 80 }] }, { action = \"deny\" }]\n\
         [[policy]]\nnamespace = \"x\"\nname = \"q\"\ningress = [{}]\n",
        [72, 48, 48, 48],
    ),
    (
        "a baseline below",
        "[[admin_policy]]\nname = \"p\"\ntier = \"baseline\"\nsubject = { namespace_selector = {} }\n\
         ingress = [{ action = \"deny\" }]\n[[policy]]\nnamespace = \"x\"\nname = \"q\"\ningress = [{}]\n",
        [24, 24, 24, 24],
    ),
    (
        "an SCTP port",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ ports = [{ protocol = \"sctp\", port = 80 }] }]\n",
        [64, 64, 72, 64],
    ),
    (
        "a named SCTP port, and all of them",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ ports = [{ protocol = \"sctp\", port = \"serve-81-sctp\" }] }]\n\
         [[policy]]\nnamespace = \"y\"\nname = \"q\"\npod_selector = { match_labels = { pod = \"a\" } }\n\
         ingress = [{ ports = [{ protocol = \"sctp\" }] }]\n",
        [56, 56, 64, 72],
    ),
    (
        "egress to a range of SCTP ports",
        "[[policy]]\nnamespace = \"x\"\nname = \"p\"\npolicy_types = [\"egress\"]\n\
         egress = [{ ports = [{ protocol = \"sctp\", port = 81, end_port = 90 }] }]\n",
        [48, 48, 48, 72],
    ),
];

/// Nine pods as the upstream tests have them: a, b, c in x, y, z, each serving ports 80 and 81 over all protocols.
pub(super) fn upstream(policies: &str) -> Arc<Cluster> {
    let mut text = String::new();
    for (number, namespace) in ["x", "y", "z"].iter().enumerate() {
        text += &format!("[[namespace]]\nname = \"{namespace}\"\nlabels = {{ ns = \"{namespace}\" }}\n");
        for (last, pod) in ["a", "b", "c"].iter().enumerate() {
            text += &format!(
                "[[pod]]\nnamespace = \"{namespace}\"\nname = \"{pod}\"\nlabels = {{ pod = \"{pod}\" }}\n\
                 addresses = [\"10.0.{0}.{1}\", \"fd00::{0}:{1}\"]\n",
                number + 1,
                last + 1
            );
            text += "ports = [{ name = \"serve-80\", port = 80 }, { name = \"serve-81\", port = 81 }, \
                     { name = \"serve-80-udp\", port = 80, protocol = \"udp\" }, \
                     { name = \"serve-81-sctp\", port = 81, protocol = \"sctp\" }]\n";
        }
    }
    let config = shunt_config::parse(&(text + policies), "matrix");
    config.unwrap_or_else(|errors| panic!("{errors}")).cluster
}

/// The pods under the policies of a case of [`MATRIX`].
pub(super) fn case(name: &str) -> Arc<Cluster> {
    upstream(MATRIX.iter().find(|case| case.0 == name).unwrap().1)
}

/// Sends the first packet of a connection from each pod to each other, at each port, over IPv4 and IPv6, and the answer to
/// each that came through; returns how many pairs could talk over IPv4.
fn connectivity(name: &str, cluster: &Cluster, site: &Site, forwarder: &mut Forwarder, source: u16) -> Talk {
    const ASKED: [(u8, u16); 6] = [(TCP, 80), (TCP, 81), (SCTP, 80), (SCTP, 81), (UDP, 80), (UDP, 81)];
    let mut talk = [0; 4];
    for v6 in [0, 11] {
        for (from, to) in (0..9).flat_map(|from| (0..9).map(move |to| (from + v6, to + v6))) {
            if from == to {
                continue;
            }
            for (kind, (protocol, port)) in ASKED.into_iter().enumerate() {
                let sent = Sent { from, to, protocol, ports: (source, port) };
                let came = send(forwarder, &site.topology, sent);
                let may = sent.may_open(cluster);
                assert_eq!(came.is_ok(), may, "{name}: {sent:?} {came:?}");
                let Ok(came) = came else { continue };
                assert_eq!(came.index(), port_of(to), "{name}: {sent:?}");
                if protocol == UDP {
                    let back = send(forwarder, &site.topology, sent.back());
                    assert_eq!(back.map(PortId::index), Ok(port_of(from)), "{name}: the answer to {sent:?}");
                } else if v6 == 0 {
                    talk[kind] += 1;
                }
            }
        }
    }
    talk
}

#[test]
fn the_upstream_matrix() {
    for (name, policies, expected) in MATRIX {
        let cluster = upstream(policies);
        let (site, mut forwarder) = (Site::new(&cluster), forwarder(4096));
        let talk = connectivity(name, &cluster, &site, &mut forwarder, 40_000);
        assert_eq!(talk, expected, "{name}");
    }
}

#[test]
fn policies_and_labels_change_on_the_running_switch() {
    let mut site = Site::new(&Arc::default());
    let mut forwarder = forwarder(4096);
    // The same switch goes through all cases, back and forth, with new connections and with those it has.
    for (name, policies, expected) in MATRIX.iter().chain(MATRIX.iter().rev()) {
        let cluster = upstream(policies);
        site.follow(&cluster);
        let talk = connectivity(name, &cluster, &site, &mut forwarder, 40_000);
        assert_eq!(talk, *expected, "{name}");
    }
    let mut cluster = case("by pod");
    for pod in &mut Arc::make_mut(&mut cluster).pods {
        // Everybody is b now, so nobody is isolated.
        Arc::make_mut(pod).labels.insert("pod", "b");
    }
    site.follow(&cluster);
    assert_eq!(connectivity("labels", &cluster, &site, &mut forwarder, 40_000), [72; 4]);
}
