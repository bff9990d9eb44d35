//! Golden files: what the switch prints and sends on every path of the reference documents, on the nodes of the lab's scenes.

#[allow(dead_code, unreachable_pub, reason = "shared with the whole-switch tests, which use all of it")]
#[path = "../../../tests/tests/node/capture.rs"]
mod capture;
mod paths;
mod site;
mod traces;

use site::Hello;

/// Reference 002's machines around node1: the router's legs, the other node's `ctl` and the address that its underlay pods share.
const PRODUCTION: &[Hello] = &[
    ("bond0", None, "02:00:0a:ba:98:fe", "10.186.152.254"),
    ("bond0", None, "02:00:0a:ba:98:65", "10.186.152.101"),
    ("bond0", Some(1155), "aa:bb:cc:dd:ee:ff", "10.186.155.30"),
    ("bond0", Some(1155), "30:b9:30:3d:84:8d", "10.186.155.7"),
];
