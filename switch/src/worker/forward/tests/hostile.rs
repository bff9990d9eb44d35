//! The fuzz target `forward` over its seeds and every input that ever broke something, and over changes of these.

#[path = "../../../../../tests/fuzz/inputs.rs"]
mod inputs;

use proptest::prelude::*;

use crate::worker::forward::hostile::check;
use crate::worker::forward::hostile::watch::{self, Seen};

/// What the stages say of the seeds, together; see [`Seen`].
const ANYWHERE: &[&str] = &[
    "backend",
    "connection",
    "consume",
    "drop for_switch",
    "drop fragment_duplicate",
    "drop invalid_state",
    "drop neighbor_unresolved",
    "drop no_masquerade_address",
    "drop no_receiver",
    "drop no_station",
    "drop policy_egress",
    "drop spoofed_mac",
    "drop too_big",
    "drop ttl_exceeded",
    "drop untracked",
    "edit hop limit",
    "edit macs",
    "edit ttl",
    "flood",
    "forward",
    "matched group address",
    "matched no connection",
    "matched no service",
    "matched nothing that has connections",
    "matched the gateway's address",
    "neighbor",
    "reply",
    "rewrote the answer for an address of the switch",
    "route",
    "service",
    "stage conntrack",
    "stage encap",
    "stage ingress",
    "stage lookup",
    "stage next-hop",
    "stage policy",
    "stage service",
];

/// What each of these seeds is for.
const BY: &[(&str, &[&str])] = &[
    (
        "routed",
        &[
            "rewrote the answer to a request for an address, in place of its owner",
            "edit mss clamp",
            "drop spoofed_arp",
            "drop spoofed_ip",
            "tunnel vxlan6 v6",
        ],
    ),
    (
        "local-route",
        &[
            "matched local_route: not by the physical router",
            "edit pop vlan",
            "tunnel vxlan v4",
            "tunnel vxlan6 v6",
        ],
    ),
    (
        "vxlan-v6",
        &["from vxlan6", "tunnel vxlan6 v6", "drop tunnel_inner_source", "drop overlay_unreachable"],
    ),
    ("geneve-v6", &["from geneve6", "tunnel geneve6 v6", "drop tunnel_critical_option", "edit mss clamp"]),
    ("gre-ip", &["from gre-ip", "tunnel gre-ip v4", "tunnel gre-ip v6", "drop tunnel_inner_source"]),
    ("ipip-v6", &["from ipip", "tunnel ipip v6", "drop overlay_unreachable"]),
    ("vxlan", &["from vxlan", "tunnel vxlan v4", "port"]),
    ("geneve", &["from geneve", "tunnel geneve v4", "port"]),
    ("gre", &["from gre", "flood local"]),
    ("ipip", &["from ipip", "tunnel ipip v4"]),
    ("demux", &["port", "edit pop vlan"]),
    ("nobody-there", &["no neighbor", "drop neighbor_unresolved"]),
    ("policy", &["drop policy_ingress", "edit track"]),
    ("masqueraded", &["masquerade", "connection", "edit track", "port"]),
    (
        "refused",
        &[
            "drop tunnel_unknown_vni",
            "drop tunnel_unknown_peer",
            "drop tunnel_bad_header",
            "drop tunnel_fragment",
            "drop vlan_mismatch",
            "drop not_routable",
            "floating",
        ],
    ),
];

#[test]
fn hostile_frames_that_were_found() {
    let done: Vec<_> = inputs::of("forward").into_iter().map(|(name, input)| (name, check(&input))).collect();
    let of = |name: &str| done.iter().find(|(known, _)| known == name).unwrap().1;
    for name in ["service", "policy", "sctp", "to-be-cut"] {
        assert!(of(name).connections > 0, "{name}: {done:?}");
    }
    for name in ["service", "echo", "vxlan", "geneve", "gre", "ipip", "demux", "to-be-cut"] {
        assert!(of(name).sent > 0 && of(name).hits > 0, "{name}: {done:?}");
    }
    assert_eq!(of("spoofed").sent, 0);
}

proptest! {
    #[test]
    fn hostile_frames_that_were_changed(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let all = inputs::of("forward");
        let mut input = which.get(&all).1.clone();
        for (at, value) in changes {
            if !input.is_empty() {
                let at = at.index(input.len());
                input[at] = value;
            }
        }
        check(&input);
    }
}

/// A seed that ends before it gets anywhere would be none: each of these was reached by the one of that name, or by any.
#[test]
fn the_seeds_reach_every_stage() {
    let reached: Vec<_> =
        inputs::of("forward").into_iter().map(|(name, input)| (name, watch::seen(&input))).collect();
    let all: Seen = reached.iter().flat_map(|(_, seen)| seen.iter().cloned()).collect();
    println!("{all:?}");
    let missing: Vec<_> = ANYWHERE.iter().filter(|words| !all.contains(**words)).collect();
    assert!(missing.is_empty(), "{missing:?} never happened: {all:?}");
    for (name, wanted) in BY {
        let (_, seen) = reached.iter().find(|(known, _)| known == name).unwrap();
        let missing: Vec<_> = wanted.iter().filter(|words| !seen.contains(**words)).collect();
        assert!(missing.is_empty(), "{name} is to reach {missing:?}: {seen:?}");
    }
}
