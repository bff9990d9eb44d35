//! The table and its details as Markdown, and the same as JSON.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::figure::{Figure, Series};

/// Between which lines of a document the figures go.
#[derive(Clone, Copy, Debug)]
pub struct Markers {
    /// The line above.
    pub begin: &'static str,
    /// The line below.
    pub end: &'static str,
}

impl Default for Markers {
    fn default() -> Self {
        Self { begin: "<!-- figures -->", end: "<!-- end -->" }
    }
}

/// What was measured, in which order, and what could not be.
#[derive(Debug, Default)]
pub struct Report {
    /// When, RFC 3339.
    pub date: String,
    /// See [`crate::machine::describe`].
    pub machine: Value,
    /// The command that repeats it.
    pub command: String,
    /// The rows.
    pub figures: Vec<Figure>,
    /// Rows that failed, and why.
    pub failed: Vec<(String, String)>,
    /// What was wrong with the machine.
    pub warnings: Vec<String>,
    /// Where the figures go in a document.
    pub markers: Markers,
}

impl Report {
    /// All of it for a program to read.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> =
            self.figures.iter().map(|figure| figure.json(&self.date, &self.machine)).collect();
        let failed: Vec<Value> =
            self.failed.iter().map(|(row, reason)| json!({"row": row, "reason": reason})).collect();
        json!({"date": self.date, "machine": self.machine, "command": self.command, "rows": rows,
            "failed": failed, "warnings": self.warnings})
    }

    /// Everything as Markdown.
    pub fn markdown(&self) -> String {
        self.markdown_with(&self.table())
    }

    /// Everything as Markdown, with another table than [`Report::table`].
    pub fn markdown_with(&self, table: &str) -> String {
        let machine: Vec<String> = self
            .machine
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key} {}", value.as_str().map_or(value.to_string(), str::to_owned)))
            .collect();
        let mut out =
            format!("Measured {} by `{}`. Machine: {}.\n", self.date, self.command, machine.join(", "));
        for warning in &self.warnings {
            out += &format!("\n**Warning: {warning}**\n");
        }
        out += &format!("\n{table}\n{}", self.details());
        out
    }

    /// The table: one line a row.
    pub fn table(&self) -> String {
        let mut out = String::from(
            "| row | what | ours | peer | ratio | bar | met? |\n|---|---|---|---|---|---|---|\n",
        );
        for figure in &self.figures {
            let cell = |series: &Series| match (series.median(), &series.missing) {
                (Some(median), _) => format!("{} {} ({})", number(median), figure.unit, series.name),
                (None, _) => format!("{}: missing", series.name),
            };
            let ours = figure
                .ours
                .median()
                .map_or("-".into(), |median| format!("{} {}", number(median), figure.unit));
            let peer = figure.peer.as_ref().map_or("-".into(), cell);
            let ratio = |series| figure.ratio_to(series).map(|ratio| format!("{ratio:.2}"));
            let mut ratios = ratio(figure.peer.as_ref()).unwrap_or_else(|| "-".into());
            if let (Some(floor), Some(series)) = (ratio(figure.floor.as_ref()), &figure.floor) {
                ratios += &format!("; {floor} of {}", series.name);
            }
            let met = figure.met().map_or("-", |met| if met { "yes" } else { "**no**" });
            let (row, what, bar) = (&figure.row, &figure.what, figure.bar_text());
            out += &format!("| {row} | {what} | {ours} | {peer} | {ratios} | {bar} | {met} |\n");
        }
        for (row, _) in &self.failed {
            out += &format!("| {row} | failed, see below | - | - | - | - | **no** |\n");
        }
        out
    }

    /// Every run of every row, what was counted beside, notes and reasons.
    fn details(&self) -> String {
        let mut out = String::from("Each run, in the order of the runs:\n\n");
        for figure in &self.figures {
            for series in figure.series() {
                out +=
                    &format!("- `{}`, {}: {} {}", figure.row, series.name, list(&series.values), figure.unit);
                for (name, values) in &series.beside {
                    out += &format!("; {name} {}", list(values));
                }
                if let Some(reason) = &series.missing {
                    out += &format!("; missing: {}", one_line(reason));
                }
                out.push('\n');
            }
            let notes = figure.notes.iter().map(String::as_str).chain(disturbance(&figure.load));
            notes.for_each(|note| out += &format!("  - {note}\n"));
        }
        for (row, reason) in &self.failed {
            out += &format!("- `{row}` failed: {}\n", one_line(reason));
        }
        out
    }

    /// Writes the JSON to `path` and makes its directory if need be.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        write_json(path, &self.json())
    }

    /// Replaces what stands between the markers of a Markdown file.
    ///
    /// # Errors
    /// The file has no markers, or cannot be read or written.
    pub fn write_doc(&self, path: &Path, figures: &str) -> Result<()> {
        let text = self.markers.replace_in(path, figures)?;
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

impl Markers {
    /// The text of a file with other figures.
    ///
    /// # Errors
    /// It has no markers, or cannot be read: to be asked for before hours are spent on measuring.
    pub fn replace_in(self, path: &Path, figures: &str) -> Result<String> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let Self { begin, end } = self;
        fill(&text, self, figures)
            .with_context(|| format!("{} has no line {begin} with {end} below it: add them", path.display()))
    }
}

/// Writes `value` to `path` and makes its directory if need be.
///
/// # Errors
/// It cannot be written.
pub fn write_json(path: &Path, value: &Value) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    }
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn fill(text: &str, Markers { begin, end }: Markers, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{figures}{end}{after}"))
}

fn disturbance(load: &Value) -> Option<&str> {
    (load["quiet_before"] == false).then(|| load["before"].as_str()).flatten()
}

fn list(values: &[f64]) -> String {
    let texts: Vec<String> = values.iter().map(|value| number(*value)).collect();
    if texts.is_empty() { "none".into() } else { texts.join(" / ") }
}

/// Four digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        large if large >= 1000.0 || value.fract() == 0.0 => format!("{value:.0}"),
        large if large >= 100.0 => format!("{value:.1}"),
        large if large >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

pub(crate) fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Bar;

    fn report() -> Report {
        let mut figure = Figure::new("l2-1", "64 B", "Mpps", Bar::Ratio(1.0));
        figure.ours.push(30.0.into());
        let mut peer = Series::new("OVS");
        peer.missing = Some("not\ninstalled".into());
        figure.peer = Some(peer);
        Report {
            figures: vec![figure],
            failed: vec![("vhost-64".into(), "no socket".into())],
            ..Report::default()
        }
    }

    #[test]
    fn a_missing_peer_and_a_failed_row_stand_in_the_table() {
        let text = report().markdown();
        assert!(text.contains("| l2-1 | 64 B | 30 Mpps | OVS: missing | - | >= 1 x | - |"), "{text}");
        assert!(text.contains("missing: not installed"), "{text}");
        assert!(
            text.contains("| vhost-64 | failed") && text.contains("`vhost-64` failed: no socket"),
            "{text}"
        );
    }

    #[test]
    fn figures_go_between_the_markers_and_nowhere_else() {
        let markers = Markers::default();
        let Markers { begin, end } = markers;
        let text = format!("a\n{begin}\nold\n{end}\nb\n");
        let once = fill(&text, markers, "new\n").unwrap();
        assert_eq!(once, format!("a\n{begin}\nnew\n{end}\nb\n"));
        assert_eq!(fill(&once, markers, "new\n").unwrap(), once);
        assert_eq!(fill("no markers", markers, "new"), None);
    }

    #[test]
    fn numbers_keep_what_counts() {
        let shown: Vec<String> =
            [0.0, 0.01234, 1.234, 123.45, 12345.6, 7.0].iter().map(|n| number(*n)).collect();
        assert_eq!(shown, ["0", "0.012", "1.23", "123.5", "12346", "7"]);
    }
}
