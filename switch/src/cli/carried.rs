//! What each worker received, sent and dropped, as a table.

use super::table::Table;
use crate::control::api::proto;

/// Reasons that a line has room for.
const SHOWN: usize = 3;

/// One line for each worker.
pub(super) fn carried(rows: &[proto::Worker]) -> String {
    let mut table = Table::new(&[
        ">WORKER",
        ">RX-PKTS",
        ">RX-BYTES",
        ">TX-PKTS",
        ">TX-BYTES",
        ">TAKEN",
        ">DROPS",
        "REASONS",
    ]);
    for row in rows {
        let carried = row.carried.clone().unwrap_or_default();
        table.row([
            row.worker.to_string(),
            carried.rx_packets.to_string(),
            carried.rx_bytes.to_string(),
            carried.tx_packets.to_string(),
            carried.tx_bytes.to_string(),
            carried.taken.to_string(),
            carried.drops.iter().map(|drop| drop.count).sum::<u64>().to_string(),
            reasons(carried.drops),
        ]);
    }
    table.render()
}

/// The most frequent ones.
fn reasons(mut drops: Vec<proto::WorkerDrop>) -> String {
    drops.sort_by_key(|drop| std::cmp::Reverse(drop.count));
    let mut words: Vec<_> =
        drops.iter().take(SHOWN).map(|drop| format!("{} {}", drop.reason, drop.count)).collect();
    if drops.len() > SHOWN {
        words.push(format!("and {} more", drops.len() - SHOWN));
    }
    words.join(", ")
}
