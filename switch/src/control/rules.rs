//! The logical tables of the running topology as rules, in the words of ovs-ofctl, with what the cached flows say of
//! their use: what `shunt dump-flows BRIDGE` prints.
//!
//! The switch keeps no rules. Its stages read tables that are made for one question each (MAC table, longest prefix,
//! neighbours); this module writes down, row by row, the rules that would decide the same. Rules name ports by their names.
//! With several networks a rule says in `metadata` which one it is of (the network's index in the topology and one), as OVN
//! does; `reg14` is the router, `reg0` or `xxreg0` the next hop, `actset_output` the port in table 20.
//!
//! | file | holds |
//! |---|---|
//! | `compose` | rows of the tables -> rules |
//! | `senders` | those about who may send, for whom the switch answers, and of stations that share a MAC address |
//! | `uses` | cached flows -> the rules they took, by walking the stages with their keys |

mod compose;
mod senders;
mod uses;

use serde::Serialize;

use super::Control;
use super::picture::{Picture, PictureError};
pub use uses::Uses;

/// Stands for all networks: the name that the integration bridge has in documents.
const ALL: &str = "br-int";

/// A rule of a logical table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleRow {
    /// Number of the table.
    pub table: u8,
    /// The higher wins.
    pub priority: u16,
    /// Fields and values.
    pub r#match: Vec<String>,
    /// What is done.
    pub actions: Vec<String>,
    /// Frames of the flows that are cached now and took it; in table 20, frames sent by the port.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Identifies the rule.
    pub cookie: u64,
    /// Microseconds since the topology was published.
    pub age_us: u64,
}

impl Picture {
    /// The rules of one network or of all (by the empty name), of one table or of all, with what `uses` counted.
    ///
    /// # Errors
    /// There is no such network.
    pub fn rules(
        &self,
        network: &str,
        table: Option<u8>,
        uses: &Uses,
        age_us: u64,
    ) -> Result<Vec<RuleRow>, PictureError> {
        // A network that is called so is meant when there is one.
        let all = network == ALL && self.networks_named(ALL).is_err();
        let networks = self.networks_named(if all { "" } else { network })?;
        let mut rules = compose::rules(self, &networks);
        if let Some(table) = table {
            rules.retain(|(_, rule)| rule.table == table);
        }
        for (id, rule) in &mut rules {
            (rule.packets, rule.bytes) = uses.of(id);
            (rule.cookie, rule.age_us) = (cookie(rule), age_us);
        }
        // Stable: within a table and priority they stay in the order of ports, networks and rows.
        rules.sort_by_key(|(_, rule)| (rule.table, std::cmp::Reverse(rule.priority)));
        Ok(rules.into_iter().map(|(_, rule)| rule).collect())
    }
}

/// The same number for the same rule, in this and any other daemon: FNV-1a over table, priority and match.
fn cookie(rule: &RuleRow) -> u64 {
    let start = [rule.table, (rule.priority >> 8) as u8, rule.priority as u8];
    let text = rule.r#match.iter().flat_map(|term| term.bytes().chain([b',']));
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = start.into_iter().chain(text).fold(0xcbf2_9ce4_8422_2325, step);
    // As OVN's, in 32 bits.
    (hash ^ hash >> 32) & 0xffff_ffff
}

impl Control {
    /// Microseconds since the running topology was published.
    pub fn topology_age(&self) -> u64 {
        let newest = self.reports.iter().next_back();
        let age = newest.map_or(self.started.elapsed(), |report| report.at.elapsed().unwrap_or_default());
        u64::try_from(age.as_micros()).unwrap_or(u64::MAX)
    }

    /// Adds to `uses` what the ports have sent.
    pub fn count_sent(&self, uses: &mut Uses) {
        for port in self.ports.iter() {
            let totals = self.totals(port);
            uses.sent(port.id, totals.tx_packets, totals.tx_bytes);
        }
    }
}

#[cfg(test)]
mod tests;
