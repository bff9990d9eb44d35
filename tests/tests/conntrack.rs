//! Open vSwitch's own conntrack scenarios (the names of its `tests/system-traffic.at`), one test each, with kernels' stacks or hand-made
//! frames on both sides of a masqueraded network. Those with a translated destination are with the tests of services
//! (`tests/services/named.rs`).

#[allow(dead_code, reason = "the tests of services use all of it")]
#[path = "services/cluster.rs"]
mod cluster;
#[path = "conntrack/crafted.rs"]
mod crafted;
#[path = "conntrack/ends.rs"]
mod ends;
#[path = "conntrack/fair.rs"]
mod fair;
#[path = "conntrack/fragments.rs"]
mod fragments;
#[path = "routing/lab.rs"]
#[allow(dead_code, reason = "the tests of routing use all of it")]
mod lab;
#[path = "conntrack/limits.rs"]
mod limits;
#[path = "conntrack/named.rs"]
mod named;
mod node;
#[path = "conntrack/plain.rs"]
mod plain;
#[path = "conntrack/ports.rs"]
mod ports;
#[path = "conntrack/single.rs"]
mod single;
#[path = "conntrack/site.rs"]
mod site;
#[path = "conntrack/stall.rs"]
mod stall;
#[path = "bonds/stall.rs"]
mod stalled;
#[path = "conntrack/wires.rs"]
mod wires;
#[path = "conntrack/zones.rs"]
mod zones;
