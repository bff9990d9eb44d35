//! The figures by scenario and flows: a list for programs, a table for people, and what follows from several rows.

use serde_json::{Value, json};

use crate::figure::{Bar, Figure, Series};
use crate::report::{number, one_line};

/// Share of the rate at 1,000 flows that must be left at 1,000,000.
const CLIFF: f64 = 0.35;

/// One object a cell of the table.
pub fn json(figures: &[Figure], date: &str, machine: &Value) -> Value {
    let rows = figures.iter().filter_map(|figure| row(figure, date, machine));
    Value::Array(rows.collect())
}

fn row(figure: &Figure, date: &str, machine: &Value) -> Option<Value> {
    let cell = figure.cell.as_ref()?;
    let median = |series: Option<&Series>| series.and_then(Series::median);
    let missing: Vec<Value> = figure
        .series()
        .filter_map(|series| Some(json!({"name": series.name, "reason": series.missing.as_ref()?})))
        .collect();
    let runs: Vec<Value> =
        figure.series().map(|series| json!({"name": series.name, "values": series.values, "beside": series.beside, "curves": series.curves})).collect();
    let unit = if figure.unit == "Mpps" { "mpps" } else { "value" };
    let key = |who: &str| format!("{who}_{unit}");
    let mut row = json!({
        "scenario": cell.scenario, "flows": cell.flows,
        "peer": figure.peer.as_ref().map(|peer| &peer.name),
        "ratio": figure.ratio_to(figure.peer.as_ref()), "floor_ratio": figure.ratio_to(figure.floor.as_ref()),
        "runs": runs, "unit": figure.unit, "bar": figure.bar_text(), "met": figure.met(),
        "missing": missing, "notes": figure.notes, "load": figure.load, "date": date, "machine": machine,
    });
    row[key("ours")] = json!(figure.ours.median());
    row[key("ours_full")] = json!(median(figure.variant.as_ref()));
    row[key("peer")] = json!(median(figure.peer.as_ref()));
    row[key("floor")] = json!(median(figure.floor.as_ref()));
    Some(row)
}

/// The table.
pub fn table(figures: &[Figure], failed: &[(String, String)]) -> String {
    let mut out = String::from(
        "| scenario | flows | ours | ours, full key | peer | floor (testpmd io) | ratio | bar | met? |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for figure in figures {
        let (scenario, flows) = match &figure.cell {
            Some(cell) => (cell.scenario, cell.flows.to_string()),
            None => (figure.what.as_str(), "-".into()),
        };
        let value = |series: Option<&Series>, name: bool| match series {
            None => "-".to_owned(),
            Some(series) => match (series.median(), name) {
                (Some(median), true) => format!("{} {} ({})", number(median), figure.unit, series.name),
                (Some(median), false) => format!("{} {}", number(median), figure.unit),
                (None, _) => format!("{}: missing", series.name),
            },
        };
        let ratio = figure.ratio_to(figure.peer.as_ref()).map_or("-".into(), |ratio| format!("{ratio:.2}"));
        let met = figure.met().map_or("-", |met| if met { "yes" } else { "**no**" });
        let (ours, full) = (value(Some(&figure.ours), false), value(figure.variant.as_ref(), false));
        let (peer, floor) = (value(figure.peer.as_ref(), true), value(figure.floor.as_ref(), false));
        let bar = figure.bar_text();
        out += &format!(
            "| {scenario} | {flows} | {ours} | {full} | {peer} | {floor} | {ratio} | {bar} | {met} |\n"
        );
    }
    for (row, reason) in failed {
        out += &format!(
            "| {row} | failed: {} | - | - | - | - | - | - | **no** |\n",
            one_line(reason).replace('|', "/")
        );
    }
    out + &cliffs(figures)
}

/// What is left of the rate at a million flows.
fn cliffs(figures: &[Figure]) -> String {
    let rate = |scenario: &str, flows: u32| {
        let cell = |figure: &&Figure| {
            figure.cell.as_ref().is_some_and(|cell| cell.scenario == scenario && cell.flows == flows)
        };
        figures.iter().find(cell).and_then(|figure| figure.ours.median())
    };
    let line = |scenario: &&str| {
        let share = rate(scenario, 1_000_000)? / rate(scenario, 1_000)?;
        let met = if share >= CLIFF { "yes" } else { "**no**" };
        Some(format!(
            "\n{scenario}: 1,000,000 flows run at {share:.2} x of 1,000 flows; bar >= {CLIFF} x; met: {met}.\n"
        ))
    };
    ["l2", "l3"].iter().filter_map(line).collect()
}

/// Whether every bar is met that could be judged, for a last line.
pub fn verdict(figures: &[Figure], failed: usize) -> String {
    let judged: Vec<&Figure> = figures.iter().filter(|figure| figure.bar != Bar::Stated).collect();
    let met = judged.iter().filter(|figure| figure.met() == Some(true)).count();
    let missed = judged.iter().filter(|figure| figure.met() == Some(false)).count();
    let open = judged.len() - met - missed;
    format!(
        "bars: {met} met, {missed} missed, {open} without a verdict (a peer is missing), {failed} rows failed"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Cell;

    fn figure(flows: u32, ours: f64, peer: Option<f64>) -> Figure {
        let mut figure = Figure::new("l2", "what", "Mpps", Bar::Ratio(2.0));
        figure.cell = Some(Cell { scenario: "l2", flows });
        figure.ours.push(ours.into());
        let mut other = Series::new("OVS");
        match peer {
            Some(value) => other.push(value.into()),
            None => other.missing = Some("not installed".into()),
        }
        figure.peer = Some(other);
        figure
    }

    #[test]
    fn each_cell_is_an_object_with_the_keys_of_the_issue() {
        let rows = json(&[figure(1_000, 30.0, Some(10.0)), figure(1, 5.0, None)], "today", &Value::Null);
        assert_eq!(rows[0]["ours_mpps"], 30.0);
        assert_eq!((rows[0]["peer_mpps"].as_f64(), rows[0]["ratio"].as_f64()), (Some(10.0), Some(3.0)));
        assert_eq!(rows[0]["runs"][0]["values"][0], 30.0);
        assert_eq!((rows[1]["peer_mpps"].is_null(), rows[1]["ratio"].is_null()), (true, true));
        assert_eq!(rows[1]["missing"][0]["reason"], "not installed");
    }

    #[test]
    fn the_table_says_missing_failed_and_how_deep_the_cliff_is() {
        let figures = [figure(1_000, 30.0, Some(10.0)), figure(1_000_000, 9.0, None)];
        let text = table(&figures, &[("l3-1".into(), "no\nrouter".into())]);
        assert!(
            text.contains("| l2 | 1000 | 30 Mpps | - | 10 Mpps (OVS) | - | 3.00 | >= 2 x | yes |"),
            "{text}"
        );
        assert!(text.contains("OVS: missing") && text.contains("| l3-1 | failed: no router |"), "{text}");
        assert!(text.contains("at 0.30 x of 1,000 flows; bar >= 0.35 x; met: **no**"), "{text}");
        assert_eq!(
            verdict(&figures, 1),
            "bars: 1 met, 0 missed, 1 without a verdict (a peer is missing), 1 rows failed"
        );
    }
}
