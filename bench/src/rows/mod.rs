//! The rows of the table, one file for each kind.
//!
//! | file | measures |
//! |---|---|
//! | `l2` | 64-byte frames from `net_pcap` to `net_null` |
//! | `tcp` | iperf3 between two pods |
//! | `nodes` | TCP between pods of two nodes over VXLAN; latency on one node and across two |
//! | `short` | one connection for each request, through a service |
//! | `vhost` | 64-byte frames between two vhost-user guests |
//! | `churn` | frames lost and workers stalled while the topology changes |
//! | `idle` | what ten quiet pods cost, and the first ping after the quiet |
//! | `memory` | resident size, and whether it grows |

mod churn;
mod idle;
mod l2;
mod loaded;
mod memory;
mod nodes;
mod short;
mod tcp;
mod vhost;

use anyhow::Result;

use crate::figure::Figure;
use crate::plan::Plan;

/// A row, by name.
#[derive(Clone, Copy)]
pub struct Row {
    /// Name for `--only`.
    pub name: &'static str,
    /// Measures it; one set-up may give several figures.
    pub measure: fn(&Plan) -> Result<Vec<Figure>>,
}

/// All rows in the order of the table.
pub const ROWS: &[Row] = &[
    Row { name: "l2-1", measure: |plan| l2::measure(plan, 1) },
    Row { name: "l2-1000", measure: |plan| l2::measure(plan, 1000) },
    Row { name: "tcp-veth-1", measure: |plan| tcp::measure(plan, tcp::Kind::Veth, 1) },
    Row { name: "tcp-tap-1", measure: |plan| tcp::measure(plan, tcp::Kind::Tap, 1) },
    Row { name: "tcp-veth-4", measure: |plan| tcp::measure(plan, tcp::Kind::Veth, 4) },
    Row { name: "tcp-tap-4", measure: |plan| tcp::measure(plan, tcp::Kind::Tap, 4) },
    Row { name: "tcp-vxlan-1", measure: |plan| nodes::tcp(plan, 1) },
    Row { name: "tcp-vxlan-4", measure: |plan| nodes::tcp(plan, 4) },
    Row { name: "latency", measure: nodes::latency },
    Row { name: "crr-clusterip", measure: short::crr },
    Row { name: "http-clusterip", measure: short::http },
    Row { name: "vhost-64", measure: vhost::measure },
    Row { name: "swaps", measure: churn::swaps },
    Row { name: "hotplug", measure: churn::hotplug },
    Row { name: "idle", measure: idle::measure },
    Row { name: "memory", measure: memory::measure },
];
