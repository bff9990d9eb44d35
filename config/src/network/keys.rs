//! The keys of a network: first those of every kind, then those of single kinds.

use crate::keys::{Key, key};

const ALL: &[&str] = &[];
const BRIDGE: &[&str] = &["bridge"];
const UNDERLAY: &[&str] = &["underlay"];
const OVERLAY: &[&str] = &["overlay"];

pub(crate) const KEYS: &[Key] = &[
    key(
        "name",
        ALL,
        "string, 1 to 63 of `a-z A-Z 0-9 . _ @ -`",
        "required",
        "the name that ports refer to; unique",
    ),
    key(
        "kind",
        ALL,
        "`\"bridge\"`, `\"underlay\"` or `\"overlay\"`",
        "\"bridge\"",
        "how the network forwards; selects the further keys",
    ),
    key(
        "mtu",
        ALL,
        "`\"auto\"`, or integer, 68 to 65521 bytes",
        "\"auto\"",
        "MTU of the network and of its ports that set none, in bytes after the Ethernet header; `auto`: bridge 1500, \
         underlay its bridge's, overlay its transport's less the encapsulation",
    ),
    key(
        "mac_ageing",
        ALL,
        "duration, 0 (never) to 1day",
        "\"5m\"",
        "time without traffic after which a learned address is forgotten",
    ),
    key(
        "mac_limit",
        ALL,
        "integer, 1 to 1048576 addresses",
        "8192",
        "most addresses learned in the network; further ones are flooded and counted",
    ),
    key(
        "router",
        ALL,
        "name of a `[[router]]`",
        "none",
        "networks with the same router are routed between each other; wants `gateways`",
    ),
    key(
        "gateways",
        ALL,
        "array of addresses with prefix length",
        "[]",
        "the router's addresses in the network, with its subnets; the switch answers ARP and ND for them",
    ),
    key(
        "gateway_mac",
        ALL,
        "MAC address, not multicast",
        "derived from the network's name; in an L3 overlay, from its `vtep`",
        "the router's Ethernet address in the network; the same on every node",
    ),
    key(
        "neighbor_ageing",
        ALL,
        "duration, 0 (never) to 1day",
        "\"20m\"",
        "time without ARP or ND from it after which a learned neighbour is forgotten",
    ),
    key(
        "proxy_arp",
        ALL,
        "boolean",
        "`true` in L3 overlays and routed underlays, else `false`",
        "answers ARP and ND for every target that is no station behind the asking port; wants `gateways`",
    ),
    key(
        "mss_clamp",
        ALL,
        "boolean",
        "false",
        "lowers the MSS of TCP SYNs that are routed into or out of the network to what its MTU takes; wants `gateways`",
    ),
    key(
        "masquerade",
        ALL,
        "boolean",
        "false",
        "what its stations send to networks of the router that are not masqueraded leaves with the router's address there (source NAT, RFC 3022); wants `gateways`",
    ),
    key(
        "snat",
        ALL,
        "array of `{ to = NETWORK, source = \"node\" or \"none\" }`",
        "[]",
        "with whose address its stations' packets go into single networks of the router, whatever `masquerade` says: the router's \
         there (`node`) or their own (`none`); wants `gateways`",
    ),
    key(
        "closed",
        ALL,
        "boolean",
        "`true` for an overlay that is masqueraded, else `false`",
        "its stations are reached from networks of the router into which they are masqueraded only by connections that they have opened, by Services, and from the node itself (`host_port`): else `overlay_not_reachable`; wants `masquerade`",
    ),
    key(
        "vlans",
        BRIDGE,
        "array of VLANs and of ranges as `\"1156-1158\"`",
        "[]",
        "the VLANs that are told apart, each a broadcast domain of its own; empty: tags are payload",
    ),
    key(
        "storm_limit",
        BRIDGE,
        "integer, 0 to 4294967295 frames per second",
        "0",
        "most broadcast, multicast and unknown-unicast frames a second that each port may have flooded, in all VLANs \
         together and in underlays; further ones are dropped as `storm_limit`. 0 is no limit",
    ),
    key(
        "bridge",
        UNDERLAY,
        "name of a `bridge` network",
        "required",
        "the bridge that leads to the physical network",
    ),
    key(
        "vlan",
        UNDERLAY,
        "VLAN, 1 to 4094",
        "none",
        "the VLAN of the bridge that this network is; without it, its untagged domain",
    ),
    key(
        "mode",
        UNDERLAY,
        "`\"routed\"`, `\"bridged\"` or `\"demux\"`",
        "\"routed\"",
        "`routed`: the switch routes for pods with addresses of their own; `bridged`: pods are stations of the \
         physical network; `demux`: they share one MAC address and are told apart by IP address (ipvlan L2)",
    ),
    key(
        "parent_mac",
        UNDERLAY,
        "MAC address, not multicast",
        "derived from the network's name",
        "of a `demux` network, the Ethernet address of all its endpoints",
    ),
    key(
        "host_port",
        UNDERLAY,
        "name of a `tap` port of the network",
        "none",
        "the port that gets what is sent to the switch's own addresses in the network, and what `demux` does not match",
    ),
    key(
        "announce",
        UNDERLAY,
        "boolean",
        "true",
        "announces an endpoint that appears or moves, by gratuitous ARP or unsolicited neighbour advertisement",
    ),
    key(
        "local_route",
        UNDERLAY,
        "boolean",
        "false",
        "what its endpoints send to a physical router is routed here when it is for an overlay of the `router` or a pod of this node; \
         `false` leaves all to the physical router; wants `gateways`",
    ),
    key(
        "encap",
        OVERLAY,
        "`\"vxlan\"`, `\"geneve\"`, `\"gre\"` or `\"ipip\"`",
        "required",
        "the encapsulation",
    ),
    key(
        "vni",
        OVERLAY,
        "integer: 1 to 16777215 (`vxlan`, `geneve`), 0 to 4294967295 (`gre`: its key)",
        "required for `vxlan` and `geneve`",
        "the number of the network in the tunnel header; not for `ipip`",
    ),
    key(
        "payload",
        OVERLAY,
        "`\"ethernet\"` or `\"ip\"`",
        "`\"ip\"` for `ipip`, else `\"ethernet\"`",
        "what the tunnel carries; to be chosen for `gre` only",
    ),
    key(
        "transport",
        OVERLAY,
        "name of a network with `gateways`",
        "required",
        "the network in which the outer packets are routed",
    ),
    key(
        "local",
        OVERLAY,
        "address of a gateway of the transport",
        "the first one of the family of the first peer",
        "source of the outer packets; a peer of the other family gets the transport's first address of that family",
    ),
    key(
        "port",
        OVERLAY,
        "integer, 1 to 65535",
        "4789 for `vxlan`, 6081 for `geneve`",
        "UDP port that the outer packets are sent to",
    ),
    key(
        "cidr",
        OVERLAY,
        "array of prefixes, or one prefix",
        "[]",
        "all addresses of the overlay: one that no peer or endpoint has is unreachable, and is never sent by another route",
    ),
    key("learning", OVERLAY, "boolean", "false", "learns inner source addresses from what peers send"),
    key(
        "flood",
        OVERLAY,
        "boolean",
        "true",
        "sends broadcast, multicast and unknown frames of an L2 overlay to every peer",
    ),
    key(
        "udp_checksum",
        OVERLAY,
        "boolean",
        "`true` over IPv6, else `false`",
        "fills the outer UDP checksum; over IPv6, `false` also takes packets without one from peers (RFC 6935), as \
         `udp6zerocsumtx` and `udp6zerocsumrx` of a Linux device",
    ),
    key(
        "dscp",
        OVERLAY,
        "`\"inherit\"`, or integer, 0 to 63",
        "0",
        "DSCP of the outer packets: the inner packet's, or this one",
    ),
    key(
        "ovn_ports",
        OVERLAY,
        "array of 2 integers: 0 to 32767, 0 to 65535",
        "[]",
        "logical ingress and egress port that packets of `geneve` carry in OVN's option (class 0x0102, type 0x80); empty: no option",
    ),
    key(
        "return",
        OVERLAY,
        "`\"symmetric\"` or `\"gateway\"`",
        "\"symmetric\"",
        "packets that peers send on behalf of underlay pods: `symmetric` takes those of pods among the peer's `prefixes`, and answers \
         go back into the tunnel; `gateway` takes all of the router's underlays, and answers go by the underlay",
    ),
    key(
        "vtep",
        OVERLAY,
        "address",
        "`local`",
        "the switch's own address in an L3 overlay, to which peers route; makes the overlay an L3 one",
    ),
    key(
        "node_ips",
        OVERLAY,
        "array of at most one IPv4 and one IPv6 address",
        "[]",
        "addresses in the subnets of an L2 overlay that this node alone has, where all nodes have its gateway's: what clients outside \
         open by a service to a backend behind a peer leaves with them, and answers come back; peers have them as their `node_ips` for it",
    ),
    key(
        "peers",
        OVERLAY,
        "array of `{ address = ADDRESS, vtep = ADDRESS, mac = MAC, prefixes = [PREFIX, ...], node_ips = [ADDRESS], endpoints = [...] }`",
        "[]",
        "the other ends of the tunnel and what is behind each",
    ),
    key(
        "peers_file",
        OVERLAY,
        "absolute path",
        "none",
        "a TOML file with further `peers`; the daemon follows its changes",
    ),
];
