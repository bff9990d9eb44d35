//! Policies and what they refuse as messages.

use super::proto;
use crate::control::{PolicyRow, RefusalRow};

impl From<PolicyRow> for proto::Policy {
    fn from(row: PolicyRow) -> Self {
        let PolicyRow { tier, priority, namespace, name, pods, ingress, egress, rejects } = row;
        let count = |rules: usize| rules as u64;
        Self {
            tier: tier.to_owned(),
            priority: priority.map(u32::from),
            namespace,
            name,
            pods: count(pods),
            ingress: ingress.map(count),
            egress: egress.map(count),
            rejects,
        }
    }
}

impl From<RefusalRow> for proto::Refusal {
    fn from(row: RefusalRow) -> Self {
        let RefusalRow { port, direction, why, source, destination, protocol, .. } = row;
        Self {
            port,
            reason: row.reason.to_owned(),
            direction: direction.to_owned(),
            why,
            source,
            destination,
            protocol,
            destination_port: row.destination_port.map(u32::from),
            packets: row.packets,
            bytes: row.bytes,
            age: row.age,
        }
    }
}
