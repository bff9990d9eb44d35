//! A sample as text: OpenMetrics 1.0, or the older Prometheus format for who does not ask for it.
//!
//! One file for each group of metric families. Every family is described on every page, also one without a series, so that what there
//! is to see does not depend on what has happened. How many series a family may have is written at its place and in docs/metrics.md.

mod connections;
mod ports;
mod process;
mod topology;
mod workers;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeMetric, NoLabelSet,
    prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::control::sample::Sample;

/// Networks, routers and zones that have series of their own; those beyond are counted together as [`OTHERS`].
const NAMED: usize = 256;
/// The name of those.
const OTHERS: &str = "(others)";

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    Prometheus,
}

impl Format {
    /// The one that a client gets whose `Accept` headers are these.
    pub(super) fn of<'h>(mut accepted: impl Iterator<Item = &'h str>) -> Self {
        let wanted = accepted.any(|header| header.contains("application/openmetrics-text"));
        if wanted { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes `sample` down.
pub(super) fn write(sample: Sample, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(sample)));
    let mut page = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut page, &registry)?,
        Format::Prometheus => prometheus_text::encode(&mut page, &registry)?,
    }
    Ok(page)
}

#[derive(Debug)]
struct Page(Sample);

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Writer(encoder);
        process::write(page)?;
        topology::write(page, &self.0)?;
        workers::write(page, &self.0.workers)?;
        ports::write(page, &self.0)?;
        ports::bonds(page, &self.0.bonds)?;
        connections::write(page, &self.0)
    }
}

/// Writes families, each with all its series in one place, as the formats want it.
struct Writer<'e>(DescriptorEncoder<'e>);

impl Writer<'_> {
    /// A family of counters. Its name is given without its unit, which may be empty, and without `_total`.
    fn counters<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: (&str, &str),
        help: &str,
        series: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, MetricType::Counter, series)
    }

    /// A family of gauges. Its name is given without its unit, which may be empty.
    fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: (&str, &str),
        help: &str,
        series: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.family(name, help, MetricType::Gauge, series)
    }

    fn family<L: EncodeLabelSet, M: EncodeMetric>(
        &mut self,
        (name, unit): (&str, &str),
        help: &str,
        kind: MetricType,
        series: impl Iterator<Item = (L, M)>,
    ) -> fmt::Result {
        let unit = (!unit.is_empty()).then(|| Unit::Other(unit.to_owned()));
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for (labels, metric) in series {
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// A family of histograms of durations: labels, the sum in seconds, and how many there are up to each end, not added up.
    fn histograms<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, f64, Vec<(f64, u64)>)>,
    ) -> fmt::Result {
        let unit = Some(Unit::Seconds);
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Histogram)?;
        for (labels, sum, intervals) in series {
            let count = intervals.iter().map(|(_, count)| count).sum();
            let mut one = family.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(sum, count, &intervals, None)?;
        }
        Ok(())
    }

    /// What is said in words: series whose value is 1.
    fn infos<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = L>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        series.into_iter().try_for_each(|labels| family.encode_info(&labels))
    }
}

/// The series of a family without labels.
fn one<V>(value: V) -> [([(&'static str, &'static str); 0], V); 1] {
    [([], value)]
}

/// The first [`NAMED`] of `rows`, and the sum of the others under the name [`OTHERS`].
fn bounded<'r>(rows: impl IntoIterator<Item = (&'r str, u64)>) -> Vec<(&'r str, u64)> {
    let mut kept = Vec::new();
    let mut others = None;
    for row in rows {
        if kept.len() < NAMED {
            kept.push(row);
        } else {
            *others.get_or_insert(0) += row.1;
        }
    }
    kept.extend(others.map(|sum| (OTHERS, sum)));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_openmetrics_gets_it() {
        let of = |headers: &[&str]| Format::of(headers.iter().copied());
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(of(&[prometheus]), Format::OpenMetrics);
        assert_eq!(of(&["text/html", "application/openmetrics-text"]), Format::OpenMetrics);
        assert_eq!([of(&[]), of(&["*/*"]), of(&["text/plain"])], [Format::Prometheus; 3]);
    }

    #[test]
    fn beyond_the_bound_rows_are_summed_up() {
        let rows = |count: usize| bounded((0..count).map(|_| ("x", 2)));
        assert_eq!(rows(0), []);
        assert!(rows(NAMED).iter().all(|row| *row == ("x", 2)) && rows(NAMED).len() == NAMED);
        let more = rows(NAMED + 3);
        assert_eq!((more.len(), more.last()), (NAMED + 1, Some(&(OTHERS, 6))));
    }
}
