//! The keys of services, and of the tables in them.

use crate::keys::{Key, key};

pub(crate) const KEYS: &[Key] = &[
    key("name", &[], "string, `namespace/name`", "required", "its name; unique"),
    key(
        "router",
        &[],
        "name of a `[[router]]`",
        "the only one there is",
        "the router whose networks reach it",
    ),
    key(
        "cluster_ips",
        &[],
        "array of addresses",
        "[]",
        "its addresses inside of the cluster, in no subnet of the router and of no other service",
    ),
    key(
        "load_balancer_ips",
        &[],
        "array of addresses",
        "[]",
        "addresses for the world outside; the switch answers ARP and ND for them in the network whose subnet has them",
    ),
    key(
        "load_balancer_network",
        &[],
        "name of a `[[network]]`",
        "the one whose subnet has the address",
        "the network in which the switch answers for `load_balancer_ips`",
    ),
    key(
        "external_ips",
        &[],
        "array of addresses",
        "[]",
        "addresses that somebody routes to this node, out of `external_ips` of the router",
    ),
    key(
        "ports",
        &[],
        "array of `{ port = 80 }`, with `name`, `protocol` (`\"tcp\"`, `\"udp\"`, `\"sctp\"`) and `node_port`",
        "[]",
        "its ports; several have names",
    ),
    key(
        "affinity",
        &[],
        "`\"none\"` or `\"client_ip\"`",
        "\"none\"",
        "`client_ip`: a client stays with its backend",
    ),
    key(
        "affinity_timeout",
        &[],
        "duration, 1s to 1day",
        "\"3h\"",
        "for how long, after the client's last new connection",
    ),
    key(
        "external_traffic_policy",
        &[],
        "`\"cluster\"` or `\"local\"`",
        "\"cluster\"",
        "what comes from outside goes to backends of all nodes, from the node's own address; or to those of this node only, \
         from the client's",
    ),
    key(
        "internal_traffic_policy",
        &[],
        "`\"cluster\"` or `\"local\"`",
        "\"cluster\"",
        "what comes to `cluster_ips` goes to backends of all nodes, or of this node only",
    ),
    key(
        "source_ranges",
        &[],
        "array of prefixes",
        "[]",
        "who may use `load_balancer_ips`; empty is everybody",
    ),
    key(
        "endpoints",
        &[],
        "array of `{ address = ADDRESS, ports = { NAME = PORT } }`, with `port`, `weight`, `ready`, `serving`, \
         `terminating`, `node`, `zones` and `slice`",
        "[]",
        "who answers",
    ),
];

pub(crate) const PORT: &[Key] = &[
    key("name", &[], "string, at most 63 bytes", "none", "by which endpoints refer to it"),
    key("protocol", &[], "`\"tcp\"`, `\"udp\"` or `\"sctp\"`", "\"tcp\"", "its protocol"),
    key("port", &[], "port", "required", "the port at the service's addresses"),
    key(
        "node_port",
        &[],
        "port, of `node_ports` under [node]",
        "none",
        "the port at the node's own addresses",
    ),
];

pub(crate) const ENDPOINT: &[Key] = &[
    key("address", &[], "address", "required", "its address"),
    key("port", &[], "port", "the service's", "its port, when the service has one"),
    key("ports", &[], "table of ports by name", "the service's", "its ports by the names of the service's"),
    key("weight", &[], "integer, 0 to 1000", "1", "its share of new connections; 0 gets none"),
    key("ready", &[], "boolean", "true unless `terminating`", "it takes new connections"),
    key("serving", &[], "boolean", "`ready`", "it answers, though it may be on its way out"),
    key("terminating", &[], "boolean", "false", "it is on its way out: what is established goes on"),
    key(
        "node",
        &[],
        "string",
        "none",
        "the node it is on; without one it is here when a port of this node has its address",
    ),
    key("zones", &[], "array of strings", "[]", "zones whose nodes are to use it"),
    key("slice", &[], "string", "none", "the EndpointSlice it came with"),
];
