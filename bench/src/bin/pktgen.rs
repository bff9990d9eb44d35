//! Generates and receives traffic over any DPDK device, as a scenario says.
//!
//! `pktgen SCENARIO.toml [--tx DEVARGS] [--rx DEVARGS] [--rate PPS] [--seconds N] [--core N] [--json]`; the scenarios that
//! come with it are in `bench/scenarios/`. Loss, order and latency are told from stamps in the frames.
//!
//! Exit codes: 0 measured, 1 not, 2 bad arguments or a bad scenario, 130 interrupted.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use shunt_bench::pktgen::rig::Rig;
use shunt_bench::pktgen::scenario::{Fastest, Rate, Scenario, ScenarioError};
use shunt_bench::pktgen::traffic::Traffic;
use shunt_bench::pktgen::{outcome::Outcome, session};
use shunt_bench::{cores, stop};
use shunt_ffi::eal::{Eal, EalOptions, Memory};

/// Generates and receives traffic over any DPDK device.
#[derive(Parser)]
#[command(name = "pktgen")]
struct Arguments {
    /// What to send, how fast and over which devices (TOML).
    scenario: PathBuf,
    /// Device arguments of the sender, instead of the scenario's.
    #[arg(long, value_name = "DEVARGS")]
    tx: Option<String>,
    /// Device arguments of the receiver, instead of the scenario's.
    #[arg(long, value_name = "DEVARGS")]
    rx: Option<String>,
    /// A fixed rate in frames a second, instead of the scenario's load; 0 is as fast as it goes.
    #[arg(long, value_name = "PPS")]
    rate: Option<f64>,
    /// Length of a fixed load, instead of the scenario's.
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// Core of the thread that sends and receives.
    #[arg(long, default_value_t = cores::HOUSE)]
    core: usize,
    /// Print JSON, else a table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // EAL warns of every page size that the machine has none of.
        .with_max_level(tracing_subscriber::filter::LevelFilter::ERROR)
        .init();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<stop::Interrupted>() => ExitCode::from(130),
        Err(error) => {
            eprintln!("pktgen: {}", said(&error));
            ExitCode::from(if error.is::<ScenarioError>() { 2 } else { 1 })
        }
    }
}

/// The causes on one line; those that a message names already are not said again.
fn said(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !said.contains(cause.trim_end()) {
            said += if said.is_empty() { "" } else { ": " };
            said += cause.trim_end();
        }
    }
    said
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut scenario = Scenario::load(&arguments.scenario)?;
    change(&mut scenario, arguments)?;
    let traffic = Traffic::new(&scenario)?;
    stop::on_signals().context("take signals")?;
    cores::pin_self(arguments.core)?;
    let (count, room) = Rig::buffers(&scenario.devices, &traffic);
    let megabytes = 64 + ((u64::from(count) * (u64::from(room) + 384)) >> 20) as u32;
    let memory = if scenario.devices.hugepages {
        Memory::Hugepages { megabytes }
    } else {
        Memory::Ordinary { megabytes }
    };
    let eal = Eal::start_as_guest(&EalOptions { memory, pci: scenario.devices.names_pci() })?;
    let mut rig = Rig::open(eal, &scenario.devices, traffic)?;
    let outcome = session::run(&scenario, &mut rig)?;
    print(&outcome, arguments.json)
}

/// What the command line says goes before the scenario.
fn change(scenario: &mut Scenario, arguments: &Arguments) -> Result<()> {
    if let Some(tx) = &arguments.tx {
        scenario.devices.tx.clone_from(tx);
        scenario.devices.rx = None;
    }
    if let Some(rx) = &arguments.rx {
        scenario.devices.rx = Some(rx.clone());
    }
    let seconds =
        arguments.seconds.or(scenario.fixed().map(|(.., length)| length.as_secs_f64())).unwrap_or(5.0);
    if let Some(rate) = arguments.rate {
        (scenario.burst, scenario.search, scenario.rate, scenario.fastest) = (None, None, None, None);
        if rate == 0.0 {
            scenario.fastest = Some(Fastest { seconds });
        } else {
            scenario.rate = Some(Rate { frames_per_second: rate, seconds });
        }
    } else {
        scenario.set_seconds(seconds);
    }
    Ok(scenario.check("command line")?)
}

fn print(outcome: &Outcome, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(outcome).context("write JSON")?);
    } else {
        print!("{}", outcome.table());
    }
    Ok(())
}
