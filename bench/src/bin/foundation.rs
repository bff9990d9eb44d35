//! The figures of the foundation, ours and the peers' side by side.
//!
//! `foundation [--only ROW,...] [--runs N] [--seconds N] [--minutes N] [--out FILE] [--doc FILE] [--anyway]` measures, prints
//! Markdown, writes JSON, and fills the table of a document. Needs root, two cores and a quiet machine; what it makes
//! (namespaces, processes, hugepages, files) is gone when it ends, also by Ctrl-C.
//!
//! Exit codes: 0 all rows were measured, 1 a row failed or the machine is not quiet, 2 bad arguments, 130 interrupted.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use shunt_bench::plan::Plan;
use shunt_bench::report::Markers;
use shunt_bench::rows::ROWS;
use shunt_bench::session::{self, Session};

/// Measures the rows of docs/performance.md, ours and the peers' side by side.
#[derive(Parser)]
struct Arguments {
    /// Only these rows.
    #[arg(long, value_name = "ROW", value_delimiter = ',', value_parser = PossibleValuesParser::new(ROWS.iter().map(|row| row.name)))]
    only: Vec<String>,
    /// How often each row is measured; the table shows the median.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99))]
    runs: u16,
    /// Length of one measurement; below 5 the rows of a fixed count (swaps, hotplug, idle) are shortened, too.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Length of the run that watches the memory.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench/foundation.json")]
    out: PathBuf,
    /// A Markdown file to put the figures into, between `<!-- figures -->` and `<!-- end -->`.
    #[arg(long)]
    doc: Option<PathBuf>,
    /// Measure although the machine is busy. The report says so.
    #[arg(long)]
    anyway: bool,
}

fn main() -> ExitCode {
    session::exit(run(&Arguments::parse()))
}

/// Measures and writes; false when a row failed.
fn run(arguments: &Arguments) -> Result<bool> {
    ensure!(arguments.minutes.is_finite() && arguments.minutes > 0.0, "--minutes must be more than 0");
    if let Some(doc) = &arguments.doc {
        Markers::default().replace_in(doc, "")?;
    }
    let mut session = Session::open("scripts/figures", arguments.anyway)?;
    let soak = Duration::from_secs_f64(arguments.minutes * 60.0);
    let plan = Plan::new(arguments.runs.into(), arguments.seconds, soak)?;
    let mut chosen = ROWS
        .iter()
        .filter(|row| arguments.only.is_empty() || arguments.only.iter().any(|name| name == row.name));
    let measured = chosen.try_for_each(|row| session.measure(row.name, || (row.measure)(&plan)));
    let mut report = session.report;
    if let Err(error) = &measured {
        report.warnings.push(format!("ended early: {error:#}"));
    }
    let text = report.markdown();
    println!("{text}");
    report.write_json(&arguments.out)?;
    // A table that somebody reads is not replaced by half of one.
    measured?;
    if let Some(doc) = &arguments.doc {
        report.write_doc(doc, &text)?;
    }
    Ok(report.failed.is_empty())
}
