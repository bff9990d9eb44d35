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
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use shunt_bench::machine::{self, Load, Ticks};
use shunt_bench::plan::Plan;
use shunt_bench::report::Report;
use shunt_bench::rows::{ROWS, Row};
use shunt_bench::{cores, stop};

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
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.is::<stop::Interrupted>() => ExitCode::from(130),
        Err(error) => {
            eprintln!("foundation: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and writes; false when a row failed.
fn run(arguments: &Arguments) -> Result<bool> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "needs root, for namespaces and hugepages: sudo scripts/figures"
    );
    ensure!(arguments.minutes.is_finite() && arguments.minutes > 0.0, "--minutes must be more than 0");
    stop::on_signals().context("take signals")?;
    cores::settle()?;
    let load = Load::look()?;
    eprintln!("foundation: {}", load.text());
    ensure!(
        load.quiet() || arguments.anyway,
        "the machine is not quiet ({}): end what else runs, or measure with --anyway",
        load.text()
    );
    let soak = Duration::from_secs_f64(arguments.minutes * 60.0);
    let plan = Plan::new(arguments.runs.into(), arguments.seconds, soak)?;
    let mut report = Report {
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        machine: machine::describe(),
        command: command(),
        ..Report::default()
    };
    let chosen = ROWS
        .iter()
        .filter(|row| arguments.only.is_empty() || arguments.only.iter().any(|name| name == row.name));
    let measured = chosen.into_iter().try_for_each(|row| measure(row, &plan, &mut report));
    if let Err(error) = &measured {
        report.warnings.push(format!("ended early: {error:#}"));
    }
    println!("{}", report.markdown());
    report.write_json(&arguments.out)?;
    // A table that somebody reads is not replaced by half of one.
    measured?;
    if let Some(doc) = &arguments.doc {
        report.write_doc(doc)?;
    }
    Ok(report.failed.is_empty())
}

/// One row. What fails is put down; only a signal ends the run.
fn measure(row: &Row, plan: &Plan, report: &mut Report) -> Result<()> {
    let load = Load::look()?;
    eprintln!("foundation: {}: before: {}", row.name, load.text());
    if !load.quiet() {
        report.warnings.push(format!("the machine was not quiet before {}: {}", row.name, load.text()));
    }
    let before = Ticks::now()?;
    match (row.measure)(plan) {
        Ok(figures) => {
            let stolen = Ticks::now()?.stolen_since(before);
            for mut figure in figures {
                eprintln!(
                    "foundation: {}: {:?} {}",
                    figure.row,
                    figure.ours.median().unwrap_or(f64::NAN),
                    figure.unit
                );
                figure.load = load.json(stolen);
                report.figures.push(figure);
            }
        }
        Err(error) if error.is::<stop::Interrupted>() => return Err(error),
        Err(error) => {
            eprintln!("foundation: {} failed: {error:#}", row.name);
            report.failed.push((row.name.to_owned(), format!("{error:#}")));
        }
    }
    // A failure that a signal caused (a killed child) is the signal's.
    stop::check()?;
    Ok(())
}

/// The command line as one would repeat it.
fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ["scripts/figures".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}
