//! Plots from the results as JSON: throughput by flow count, and how latencies are distributed.
//!
//! | file | holds |
//! |---|---|
//! | [`chart`] | axes, lines and legend as SVG; no dependency, some 4 KiB a plot |
//! | [`throughput`], [`latency`] | which rows become which lines |

pub mod chart;
pub mod latency;
pub mod throughput;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Writes every plot that the results have values for into `dir`; returns what was written.
///
/// # Errors
/// There is none, or a file cannot be written.
pub fn write_all(results: &Value, dir: &Path) -> Result<Vec<PathBuf>> {
    let rows = results.as_array().context("the results are no list: measure with scripts/bench")?;
    let plots = [
        ("throughput-l2.svg", throughput::chart(rows, "l2", "L2 by MAC, 64 B, one core")),
        ("throughput-l3.svg", throughput::chart(rows, "l3", "L3 between two networks, 64 B, one core")),
        ("latency-vhost.svg", latency::chart(rows)),
    ];
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let mut written = Vec::new();
    for (name, chart) in plots {
        let Some(chart) = chart else { continue };
        let path = dir.join(name);
        fs::write(&path, chart.svg()).with_context(|| format!("write {}", path.display()))?;
        written.push(path);
    }
    ensure!(!written.is_empty(), "no row can be plotted: measure l2, l3 or vhost by scripts/bench");
    Ok(written)
}

/// When and on what a row was measured, for the foot of a plot.
fn origin(row: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let machine = &row["machine"];
    format!(
        "{}; {}, {} cores, DPDK {}",
        text(&row["date"]),
        text(&machine["cpu"]),
        machine["cores"],
        text(&machine["dpdk"])
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plots_are_written_for_the_rows_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let row = |flows: u32, ours: f64| {
            json!({"scenario": "l3", "flows": flows, "peer": "OVS", "ours_mpps": ours, "ours_full_mpps": null,
                "peer_mpps": 7.0, "floor_mpps": 50.0, "date": "today", "machine": {}})
        };
        let written = write_all(&json!([row(1, 30.0), row(1000, 20.0)]), dir.path()).unwrap();
        assert_eq!(written, [dir.path().join("throughput-l3.svg")]);
        let text = fs::read_to_string(&written[0]).unwrap();
        assert!(text.contains(">OVS<") && !text.contains("full key") && text.ends_with("</svg>\n"), "{text}");
        assert!(write_all(&json!([]), dir.path()).is_err());
        assert!(write_all(&json!({}), dir.path()).is_err());
    }
}
