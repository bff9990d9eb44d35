//! A row of the table: values of ours and of the peers, the bar, the verdict.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// One measurement: the value of the row, and what was counted beside it.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// In the unit of the figure.
    pub value: f64,
    /// Further values by name; the name carries the unit.
    pub beside: Vec<(&'static str, f64)>,
    /// A distribution, where there is one: microseconds, and the share of frames that took no longer.
    pub curve: Vec<(f64, f64)>,
}

impl Sample {
    /// A value and what was counted beside it.
    pub fn new(value: f64, beside: Vec<(&'static str, f64)>) -> Self {
        Self { value, beside, curve: Vec::new() }
    }
}

impl From<f64> for Sample {
    fn from(value: f64) -> Self {
        Self::new(value, Vec::new())
    }
}

/// All measurements of one contestant.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Who.
    pub name: String,
    /// One value a run.
    pub values: Vec<f64>,
    /// Further values, one a run.
    pub beside: BTreeMap<&'static str, Vec<f64>>,
    /// Distributions, one a run.
    pub curves: Vec<Vec<(f64, f64)>>,
    /// Why there are fewer values than runs.
    pub missing: Option<String>,
}

impl Series {
    /// Nobody has run yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds a run.
    pub fn push(&mut self, sample: Sample) {
        self.values.push(sample.value);
        if !sample.curve.is_empty() {
            self.curves.push(sample.curve);
        }
        for (name, value) in sample.beside {
            self.beside.entry(name).or_default().push(value);
        }
    }

    /// A series of what was counted beside.
    pub fn of_beside(&self, name: &str) -> Self {
        let values = self.beside.get(name).cloned().unwrap_or_default();
        Self { name: self.name.clone(), values, missing: self.missing.clone(), ..Self::default() }
    }

    /// The middle of the runs; `None` without any.
    pub fn median(&self) -> Option<f64> {
        quantile(&self.values, 0.5)
    }

    fn json(&self) -> Value {
        json!({"name": self.name, "values": self.values, "beside": self.beside, "missing": self.missing})
    }
}

/// What the row is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// The median of ours, so many times the peer's.
    Ratio(f64),
    /// The median of ours at least this.
    AtLeast(f64),
    /// The median of ours, so many times the peer's at most.
    RatioBelow(f64),
    /// The median of ours below this.
    Below(f64),
    /// Every run of ours below this.
    AllBelow(f64),
    /// Nothing in any run.
    Zero,
    /// Only to be stated.
    Stated,
}

impl Bar {
    fn text(self, unit: &str) -> String {
        match self {
            Self::Ratio(least) => format!(">= {least} x"),
            Self::RatioBelow(most) => format!("<= {most} x"),
            Self::AtLeast(least) => format!(">= {least} {unit}"),
            Self::Below(most) => format!("< {most} {unit}"),
            Self::AllBelow(most) => format!("< {most} {unit}, worst run"),
            Self::Zero => "0".into(),
            Self::Stated => "stated".into(),
        }
    }
}

/// Where a figure stands in a table by flow counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What is measured.
    pub scenario: &'static str,
    /// Different flows in the input.
    pub flows: u32,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its place in a table by flow counts, when it is of one.
    pub cell: Option<Cell>,
    /// Name, as `--only` takes it.
    pub row: String,
    /// What is measured, for a reader of the table.
    pub what: String,
    /// Unit of the values.
    pub unit: &'static str,
    /// What it is to reach.
    pub bar: Bar,
    /// The switch.
    pub ours: Series,
    /// The switch with another setting.
    pub variant: Option<Series>,
    /// What it is held against.
    pub peer: Option<Series>,
    /// The same devices with nothing in between.
    pub floor: Option<Series>,
    /// What a reader must know to take the values right.
    pub notes: Vec<String>,
    /// State of the machine, see [`crate::machine`].
    pub load: Value,
}

impl Figure {
    /// A row without values.
    pub fn new(row: impl Into<String>, what: impl Into<String>, unit: &'static str, bar: Bar) -> Self {
        Self {
            row: row.into(),
            what: what.into(),
            unit,
            bar,
            cell: None,
            ours: Series::new("shunt"),
            variant: None,
            peer: None,
            floor: None,
            notes: Vec::new(),
            load: Value::Null,
        }
    }

    /// Median of ours by the median of the other.
    pub fn ratio_to(&self, other: Option<&Series>) -> Option<f64> {
        let other = other?.median().filter(|value| *value > 0.0)?;
        Some(self.ours.median()? / other)
    }

    /// Whether the bar is met; `None` when there is none, or nothing to tell by.
    pub fn met(&self) -> Option<bool> {
        let worst = self.ours.values.iter().copied().reduce(f64::max);
        match self.bar {
            Bar::Ratio(least) => Some(self.ratio_to(self.peer.as_ref())? >= least),
            Bar::RatioBelow(most) => Some(self.ratio_to(self.peer.as_ref())? <= most),
            Bar::AtLeast(least) => Some(self.ours.median()? >= least),
            Bar::Below(most) => Some(self.ours.median()? < most),
            Bar::AllBelow(most) => Some(worst? < most),
            Bar::Zero => Some(worst? <= 0.0),
            Bar::Stated => None,
        }
    }

    /// Everybody who was measured, ours first.
    pub fn series(&self) -> impl Iterator<Item = &Series> {
        let others = [&self.variant, &self.peer, &self.floor];
        std::iter::once(&self.ours).chain(others.into_iter().flatten())
    }

    /// The bar in words.
    pub fn bar_text(&self) -> String {
        self.bar.text(self.unit)
    }

    /// The row for a program to read.
    pub fn json(&self, date: &str, machine: &Value) -> Value {
        let values = |series: Option<&Series>| series.map(|series| series.values.clone());
        let series: Vec<Value> = self.series().map(Series::json).collect();
        json!({
            "row": self.row, "what": self.what, "unit": self.unit, "bar": self.bar_text(), "met": self.met(),
            "ours": self.ours.values, "peer": values(self.peer.as_ref()), "floor": values(self.floor.as_ref()),
            "ratio": self.ratio_to(self.peer.as_ref()), "floor_ratio": self.ratio_to(self.floor.as_ref()),
            "series": series,
            "notes": self.notes, "load": self.load, "date": date, "machine": machine,
        })
    }
}

/// The value that a share `q` of all lies at or below (nearest rank; the mean of two for an even middle).
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    if q == 0.5 && count > 0 && count.is_multiple_of(2) {
        return Some(f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]));
    }
    let rank = (q * count as f64).ceil() as usize;
    sorted.get(rank.clamp(1, count.max(1)) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(bar: Bar, ours: &[f64], peer: &[f64]) -> Figure {
        let mut figure = Figure::new("row", "what", "x", bar);
        ours.iter().for_each(|value| figure.ours.push((*value).into()));
        let mut other = Series::new("peer");
        peer.iter().for_each(|value| other.push((*value).into()));
        figure.peer = Some(other);
        figure
    }

    #[test]
    fn bars_of_one_value_and_of_latencies_are_judged_by_the_median() {
        assert_eq!(figure(Bar::AtLeast(5.0), &[4.0, 5.0, 9.0], &[]).met(), Some(true));
        assert_eq!(figure(Bar::AtLeast(5.0), &[4.9], &[]).met(), Some(false));
        assert_eq!(figure(Bar::RatioBelow(1.0), &[10.0], &[10.0]).met(), Some(true));
        assert_eq!(figure(Bar::RatioBelow(1.0), &[11.0], &[10.0]).met(), Some(false));
        assert_eq!(figure(Bar::RatioBelow(1.0), &[11.0], &[]).met(), None, "nobody to compare with");
    }

    #[test]
    fn quantiles_are_values_that_were_measured_and_the_even_middle_lies_between() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(quantile(&values, 0.5), Some(3.0));
        assert_eq!((quantile(&values, 0.99), quantile(&values, 0.0)), (Some(5.0), Some(1.0)));
        assert_eq!(quantile(&[1.0, 2.0], 0.5), Some(1.5));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_ratio_is_of_medians_and_is_unknown_without_a_peer() {
        assert_eq!(figure(Bar::Ratio(1.0), &[9.0, 10.0, 50.0], &[10.0, 10.0, 11.0]).met(), Some(true));
        assert_eq!(figure(Bar::Ratio(1.0), &[9.0, 9.9, 50.0], &[10.0, 10.0, 11.0]).met(), Some(false));
        assert_eq!(figure(Bar::Ratio(1.0), &[9.0], &[]).met(), None);
    }

    #[test]
    fn losses_of_a_single_run_count() {
        assert_eq!(figure(Bar::Zero, &[0.0, 0.0, 0.0], &[]).met(), Some(true));
        assert_eq!(figure(Bar::Zero, &[0.0, 0.0, 1.0], &[]).met(), Some(false));
        assert_eq!(figure(Bar::AllBelow(50.0), &[1.0, 1.0, 51.0], &[]).met(), Some(false));
        assert_eq!(figure(Bar::Below(50.0), &[1.0, 1.0, 51.0], &[]).met(), Some(true));
    }
}
