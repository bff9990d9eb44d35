//! The figures of the fast path by flow counts: ours, Open vSwitch with DPDK and testpmd side by side.
//!
//! `fastpath [--only SCENARIO,...] [--flows N,...] [--runs N] [--seconds N] [--quick] [--out FILE] [--doc FILE] [--anyway]`
//! measures, prints Markdown, writes JSON, and fills the table of a document. Needs root, two cores and a quiet machine; what
//! it makes (namespaces, processes, hugepages, files) is gone when it ends, also by Ctrl-C.
//!
//! Exit codes: 0 all rows were measured, 1 a row failed or the machine is not quiet, 2 bad arguments, 130 interrupted.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use clap::builder::PossibleValuesParser;
use shunt_bench::fastpath::results;
use shunt_bench::fastpath::scenario::{SCENARIOS, Scenario};
use shunt_bench::plan::Plan;
use shunt_bench::plot;
use shunt_bench::report::{Markers, write_json};
use shunt_bench::session::{self, Session};

const MARKERS: Markers = Markers { begin: "<!-- fastpath -->", end: "<!-- end fastpath -->" };
/// A quick look starts no row later than this: with the row it then is in, it ends within three minutes.
const QUICK: Duration = Duration::from_secs(145);

/// Measures the fast path by flow counts, ours and the peers' side by side.
#[derive(Parser)]
struct Arguments {
    /// Only these scenarios.
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',', value_parser = PossibleValuesParser::new(SCENARIOS.iter().map(|row| row.name)))]
    only: Vec<String>,
    /// Only these flow counts; others than the table's are measured without a bar.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    flows: Vec<u32>,
    /// How often each row is measured; the table shows the median.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=99))]
    runs: Option<u16>,
    /// Length of one measurement.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,
    /// A look at some rows, once, for a second each: ends within three minutes.
    #[arg(long)]
    quick: bool,
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench/results.json")]
    out: PathBuf,
    /// A Markdown file to put the figures into, between `<!-- fastpath -->` and `<!-- end fastpath -->`; plots go into `img` beside it.
    #[arg(long)]
    doc: Option<PathBuf>,
    /// Measure although the machine is busy. The report says so.
    #[arg(long)]
    anyway: bool,
}

impl Arguments {
    /// What to measure, in the order of the table.
    fn chosen(&self) -> Vec<(&'static Scenario, u32)> {
        let wanted =
            |scenario: &&Scenario| self.only.is_empty() || self.only.iter().any(|name| name == scenario.name);
        let flows = |scenario: &Scenario| match (self.flows.is_empty(), self.quick) {
            (false, _) => self.flows.clone(),
            (true, true) => scenario.quick.to_vec(),
            (true, false) => scenario.cells.iter().map(|cell| cell.0).collect(),
        };
        let cells =
            |scenario: &'static Scenario| flows(scenario).into_iter().map(move |count| (scenario, count));
        SCENARIOS.iter().filter(wanted).flat_map(cells).collect()
    }
}

fn main() -> ExitCode {
    session::exit(run(&Arguments::parse()))
}

/// Measures and writes; false when a row failed.
fn run(arguments: &Arguments) -> Result<bool> {
    let started = Instant::now();
    if let Some(doc) = &arguments.doc {
        MARKERS.replace_in(doc, "")?;
    }
    let mut session = Session::open("scripts/bench", arguments.anyway)?;
    let (runs, seconds) = if arguments.quick { (1, 1) } else { (3, 5) };
    let (runs, seconds) = (arguments.runs.unwrap_or(runs), arguments.seconds.unwrap_or(seconds));
    let plan = Plan::new(runs.into(), seconds, Duration::ZERO)?;
    let mut measured = Ok(());
    for (scenario, flows) in arguments.chosen() {
        let name = format!("{}-{flows}", scenario.name);
        if arguments.quick && started.elapsed() > QUICK {
            session
                .report
                .warnings
                .push(format!("{name} is left out: a quick look ends within three minutes"));
            continue;
        }
        measured = session.measure(&name, || (scenario.measure)(&plan, flows, scenario.bar(flows)));
        if measured.is_err() {
            break;
        }
    }
    let mut report = session.report;
    report.markers = MARKERS;
    if let Err(error) = &measured {
        report.warnings.push(format!("ended early: {error:#}"));
    }
    let text = report.markdown_with(&results::table(&report.figures, &report.failed));
    println!("{text}\n{}", results::verdict(&report.figures, report.failed.len()));
    let json = results::json(&report.figures, &report.date, &report.machine);
    write_json(&arguments.out, &json)?;
    // A table that somebody reads is not replaced by half of one.
    measured?;
    if let Some(doc) = &arguments.doc {
        report.write_doc(doc, &(text + &pictures(&json, doc)))?;
    }
    Ok(report.failed.is_empty())
}

/// Draws what can be drawn beside a document; the lines that show it there.
fn pictures(results: &serde_json::Value, doc: &Path) -> String {
    let dir = doc.parent().unwrap_or(Path::new("")).join("img");
    match plot::write_all(results, &dir) {
        Ok(files) => {
            let names = files.iter().filter_map(|file| file.file_stem()?.to_str());
            names.map(|name| format!("\n![{name}](img/{name}.svg)\n")).collect()
        }
        Err(error) => {
            eprintln!("bench: no plots: {error:#}");
            String::new()
        }
    }
}
