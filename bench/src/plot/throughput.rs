//! Millions of frames a second by flow count: ours, ours with a full key, the peer, the floor.

use serde_json::Value;

use super::chart::{Axis, Chart, Line, Scale, Whose, linear_ticks, log_ticks};
use super::origin;

/// The plot of a scenario; `None` when it has fewer than two flow counts.
pub fn chart(rows: &[Value], scenario: &str, title: &str) -> Option<Chart> {
    let mut rows: Vec<&Value> = rows.iter().filter(|row| row["scenario"] == scenario).collect();
    rows.sort_by_key(|row| row["flows"].as_u64());
    let (first, last) = (rows.first()?, rows.last()?);
    let peer = first["peer"].as_str().unwrap_or("peer");
    let lines: Vec<Line> = [
        ("shunt", Whose::Ours, "ours_mpps"),
        ("shunt, full key", Whose::OursOtherwise, "ours_full_mpps"),
        (peer, Whose::Peer, "peer_mpps"),
        ("testpmd io (the floor)", Whose::Floor, "floor_mpps"),
    ]
    .into_iter()
    .map(|(name, whose, key)| {
        let point = |row: &&Value| Some((row["flows"].as_f64()?, row[key].as_f64()?));
        Line { name: name.into(), whose, points: rows.iter().filter_map(point).collect(), marks: true }
    })
    .filter(|line| !line.points.is_empty())
    .collect();
    let flows = |row: &Value| row["flows"].as_f64();
    let (least, most) = (flows(first)?, flows(last)?);
    if least >= most {
        return None;
    }
    let highest = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
    Some(Chart {
        title: title.into(),
        foot: origin(first),
        x: Axis { label: "flows".into(), scale: Scale::Log, ticks: log_ticks(least, most) },
        y: Axis {
            label: "million frames a second (Mpps)".into(),
            scale: Scale::Linear,
            ticks: linear_ticks(highest),
        },
        lines,
    })
}
