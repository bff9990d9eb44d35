//! How latencies are distributed at half the rate without loss: shunt and the peer, the run with the middle p99 of each.

use serde_json::Value;

use super::chart::{Axis, Chart, Line, Scale, Whose, log_ticks};
use super::origin;

const SHARES: [(f64, &str); 5] =
    [(0.0, "0 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];

/// The plot; `None` when no latency was measured.
pub fn chart(rows: &[Value]) -> Option<Chart> {
    let row = rows.iter().find(|row| row["scenario"] == "vhost-p99")?;
    let lines: Vec<Line> = row["runs"].as_array()?.iter().filter_map(line).collect();
    let times = || lines.iter().flat_map(|line| &line.points).map(|point| point.0);
    let (least, most) = (times().fold(f64::MAX, f64::min), times().fold(0.0, f64::max));
    if lines.is_empty() {
        return None;
    }
    Some(Chart {
        title: "vhost-user guest to guest, 64 B, at half the rate without loss".into(),
        foot: origin(row),
        x: Axis { label: "latency, µs".into(), scale: Scale::Log, ticks: log_ticks(least, most) },
        y: Axis {
            label: "share of the frames that took no longer".into(),
            scale: Scale::Nines,
            ticks: SHARES.map(|(share, name)| (share, name.into())).to_vec(),
        },
        lines,
    })
}

fn line(series: &Value) -> Option<Line> {
    let values: Vec<f64> = series["values"].as_array()?.iter().filter_map(Value::as_f64).collect();
    let middle = middle(&values)?;
    let points = series["curves"][middle].as_array()?.iter();
    let points = points.filter_map(|point| Some((point[0].as_f64()?, point[1].as_f64()?)));
    // The slowest frame has no share of its own on a scale of nines.
    let points: Vec<(f64, f64)> = points.filter(|point| point.1 < 1.0).collect();
    let name = series["name"].as_str()?.to_owned();
    let whose = if name.starts_with("shunt") { Whose::Ours } else { Whose::Peer };
    (!points.is_empty()).then_some(Line { name, whose, points, marks: false })
}

/// Where the middle value stands.
fn middle(values: &[f64]) -> Option<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    order.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_middle_run_of_each_is_drawn() {
        let runs = json!([
            {"name": "shunt", "values": [9.0, 3.0, 5.0], "curves": [[[1.0, 0.0]], [[2.0, 0.0]], [[3.0, 0.0], [9.0, 0.99], [20.0, 1.0]]]},
            {"name": "OVS", "values": [], "curves": []},
        ]);
        let row = json!({"scenario": "vhost-p99", "runs": runs, "date": "d", "machine": {}});
        let chart = chart(&[row]).unwrap();
        assert_eq!(chart.lines.len(), 1);
        assert_eq!(chart.lines[0].points, [(3.0, 0.0), (9.0, 0.99)]);
        assert!(super::chart(&[]).is_none());
    }
}
