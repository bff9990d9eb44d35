//! One measuring session of a program: is the machine fit, measure row after row, put down what failed.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use crate::figure::Figure;
use crate::machine::{self, Load, Ticks};
use crate::report::Report;
use crate::{cores, stop};

/// Becomes a report row by row.
#[derive(Debug)]
pub struct Session {
    /// What was measured so far.
    pub report: Report,
}

impl Session {
    /// Takes signals, pins this program, and looks at the machine. `script` is how a user calls the program.
    ///
    /// # Errors
    /// Not root, too few cores, or the machine is busy and that is not to be overlooked (`anyway`).
    pub fn open(script: &str, anyway: bool) -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "needs root, for namespaces and hugepages: sudo {script}");
        stop::on_signals().context("take signals")?;
        cores::settle()?;
        let load = Load::look()?;
        eprintln!("bench: {}", load.text());
        ensure!(
            load.quiet() || anyway,
            "the machine is not quiet ({}): end what else runs, or measure with --anyway",
            load.text()
        );
        let report = Report {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            machine: machine::describe(),
            command: command(script),
            ..Report::default()
        };
        Ok(Self { report })
    }

    /// One row. What fails is put down.
    ///
    /// # Errors
    /// A signal came.
    pub fn measure(&mut self, name: &str, run: impl FnOnce() -> Result<Vec<Figure>>) -> Result<()> {
        let report = &mut self.report;
        let load = Load::look()?;
        eprintln!("bench: {name}: before: {}", load.text());
        if !load.quiet() {
            report.warnings.push(format!("the machine was not quiet before {name}: {}", load.text()));
        }
        let before = Ticks::now()?;
        match run() {
            Ok(figures) => {
                let stolen = Ticks::now()?.stolen_since(before);
                for mut figure in figures {
                    let median = figure.ours.median().unwrap_or(f64::NAN);
                    eprintln!("bench: {}: {median:?} {}", figure.row, figure.unit);
                    figure.load = load.json(stolen);
                    report.figures.push(figure);
                }
            }
            Err(error) if error.is::<stop::Interrupted>() => return Err(error),
            Err(error) => {
                eprintln!("bench: {name} failed: {error:#}");
                report.failed.push((name.to_owned(), format!("{error:#}")));
            }
        }
        // A failure that a signal caused (a killed child) is the signal's.
        stop::check()?;
        Ok(())
    }
}

/// What a program says and returns: 0 all rows were measured, 1 a row failed or nothing could be measured, 130 interrupted.
pub fn exit(result: Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.is::<stop::Interrupted>() => ExitCode::from(130),
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command line as one would repeat it.
fn command(script: &str) -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    [script.to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}
