//! How long workers' iterations take, as a table, with an alarm for each that was late.

use super::show::span;
use super::table::Table;
use crate::control::api::proto;

/// One line for each worker, then the alarms.
pub(super) fn pace(rows: &[proto::Worker]) -> String {
    let mut table = Table::new(&[
        ">WORKER",
        ">BUSY-ITERATIONS",
        ">FULL-%",
        ">P99-US",
        ">OVER-5MS",
        ">LONGEST-MS",
        ">WAITED-S",
        ">STEAL-S",
    ]);
    let of = |row: &proto::Worker| row.pace.clone().unwrap_or_default();
    for row in rows {
        let pace = of(row);
        table.row([
            row.worker.to_string(),
            pace.busy.to_string(),
            format!("{:.1}", pace.full_percent),
            format!("{:.1}", pace.p99_us),
            pace.late.to_string(),
            if pace.late > 0 { format!("{:.1}", pace.worst_late_us / 1000.0) } else { "-".to_owned() },
            format!("{:.2}", row.waited_seconds),
            format!("{:.2}", row.steal_seconds),
        ]);
    }
    let mut text = table.render();
    for row in rows {
        let pace = of(row);
        let Some(age) = pace.late_age else { continue };
        text.push_str(&format!(
            "ALARM: worker {} made frames late {} times, by up to {:.1} ms, the last time {} ago;\n\
             where WAITED-S or STEAL-S grows, something else has its core (`cores` under [workers])\n",
            row.worker,
            pace.late,
            pace.worst_late_us / 1000.0,
            span(age)
        ));
    }
    text
}
