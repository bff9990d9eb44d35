//! What a scenario told: JSON for programs, a table for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::latency::Latency;
use super::scenario::Scenario;
use super::search::Found;
use super::traffic::Traffic;
use super::trial::{Phase, Trial};

/// Preamble, start of frame and the gap between frames on a wire, bytes (IEEE 802.3).
const BETWEEN_FRAMES: f64 = 20.0;

/// All of a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// What the scenario is for.
    pub about: String,
    /// Device that sent.
    pub tx: String,
    /// Device that received.
    pub rx: String,
    /// Kind of load.
    pub mode: String,
    /// Different flows, or frames of a capture.
    pub flows: u64,
    /// Mean size of a frame, checksum included.
    pub mean_size: f64,
    /// Sizes that were raised because headers and stamp need more: asked for, made.
    pub raised_sizes: Vec<(usize, usize)>,
    /// Every trial, in order.
    pub trials: Vec<TrialOut>,
    /// What a search found, for each share that may be lost.
    pub found: Vec<FoundOut>,
    /// Latencies at a share of the first rate found.
    pub latency: Option<TrialOut>,
}

/// A trial.
#[derive(Clone, Debug, Serialize)]
pub struct TrialOut {
    /// Frames a second asked for; none when as many as go.
    pub wanted_per_second: Option<f64>,
    /// Frames a second offered.
    pub offered_per_second: f64,
    /// Frames a second received.
    pub received_per_second: f64,
    /// Received, in bits on a wire.
    pub received_gbits: f64,
    /// Seconds of sending.
    pub seconds: f64,
    /// Frames offered.
    pub offered: u64,
    /// Frames received, each once.
    pub received: u64,
    /// Frames that did not arrive, `refused` included.
    pub lost: u64,
    /// The same in percent.
    pub loss_percent: f64,
    /// Frames that the device did not take.
    pub refused: u64,
    /// Frames received again.
    pub duplicates: u64,
    /// Frames received after a later one.
    pub reordered: u64,
    /// Frames received too late to tell.
    pub late: u64,
    /// Frames received that were not of this trial.
    pub foreign: u64,
    /// The first frame of each flow.
    pub cold: PhaseOut,
    /// All others.
    pub warm: PhaseOut,
}

/// A part of a trial.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseOut {
    /// Frames offered.
    pub offered: u64,
    /// Frames that did not arrive.
    pub lost: u64,
    /// Time on the way.
    pub latency: Option<Latency>,
}

/// A rate found.
#[derive(Clone, Debug, Serialize)]
pub struct FoundOut {
    /// Share that may be lost.
    pub loss_percent: f64,
    /// Highest rate that did not lose more.
    pub frames_per_second: f64,
    /// The same in bits on a wire.
    pub gbits: f64,
    /// Trials it took.
    pub trials: u32,
    /// The generator could not offer more.
    pub generator_bound: bool,
}

fn gbits(frames: f64, size: f64) -> f64 {
    frames * (size + BETWEEN_FRAMES) * 8.0 / 1e9
}

impl Outcome {
    /// Before the first trial.
    pub fn new(scenario: &Scenario, traffic: &Traffic) -> Self {
        let devices = &scenario.devices;
        Self {
            about: scenario.about.clone(),
            tx: devices.tx.clone(),
            rx: devices.rx.as_ref().unwrap_or(&devices.tx).clone(),
            mode: String::new(),
            flows: traffic.round(),
            mean_size: traffic.mean_size(),
            raised_sizes: traffic.raised(scenario),
            trials: Vec::new(),
            found: Vec::new(),
            latency: None,
        }
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{} -> {}: {} flows, {:.1} bytes in the mean",
            self.tx, self.rx, self.flows, self.mean_size
        );
        for (wanted, made) in &self.raised_sizes {
            let _ = writeln!(
                out,
                "note: frames of {wanted} bytes are of {made}: headers and the stamp need that"
            );
        }
        let _ = writeln!(
            out,
            "{:>12} {:>12} {:>12} {:>8} {:>10} {:>10} {:>6} {:>6}",
            "wanted pps", "offered pps", "received pps", "Gbit/s", "lost", "loss %", "dup", "reord"
        );
        for trial in self.trials.iter().chain(&self.latency) {
            out += &trial.line();
        }
        for found in &self.found {
            let bound = if found.generator_bound { " (the generator offers no more)" } else { "" };
            let (percent, mpps, gbits) = (found.loss_percent, found.frames_per_second / 1e6, found.gbits);
            let _ = writeln!(out, "at most {percent} % lost: {mpps:.3} Mpps, {gbits:.2} Gbit/s{bound}");
        }
        let timed = self.latency.as_ref().or(self.trials.last());
        if let Some(trial) = timed {
            out += &trial.times();
        }
        out
    }
}

impl TrialOut {
    /// Of a trial with frames of `size` bytes; `curve` keeps the whole distribution of the latencies.
    pub fn new(trial: &Trial, size: f64, curve: bool) -> Self {
        let phase = |phase: &Phase| {
            let mut latency = phase.latency.clone();
            if let Some(latency) = latency.as_mut().filter(|_| !curve) {
                latency.curve.clear();
            }
            PhaseOut { offered: phase.offered, lost: phase.offered.saturating_sub(phase.received), latency }
        };
        let received = trial.received_per_second();
        Self {
            wanted_per_second: trial.load.frames_per_second(),
            offered_per_second: trial.offered_per_second(),
            received_per_second: received,
            received_gbits: gbits(received, size),
            seconds: trial.length.as_secs_f64(),
            offered: trial.count.offered,
            received: trial.received,
            lost: trial.lost(),
            loss_percent: trial.loss() * 100.0,
            refused: trial.count.refused,
            duplicates: trial.duplicates,
            reordered: trial.reordered,
            late: trial.late,
            foreign: trial.foreign + trial.count.stale,
            cold: phase(&trial.cold),
            warm: phase(&trial.warm),
        }
    }

    fn line(&self) -> String {
        let wanted = self.wanted_per_second.map_or("all".into(), |rate| format!("{rate:.0}"));
        format!(
            "{wanted:>12} {:>12.0} {:>12.0} {:>8.3} {:>10} {:>10.5} {:>6} {:>6}\n",
            self.offered_per_second,
            self.received_per_second,
            self.received_gbits,
            self.lost,
            self.loss_percent,
            self.duplicates,
            self.reordered
        )
    }

    fn times(&self) -> String {
        let mut out = String::new();
        for (name, phase) in [("cold", &self.cold), ("warm", &self.warm)] {
            let Some(told) = &phase.latency else { continue };
            let _ = writeln!(
                out,
                "latency, {name}: p50 {:.1} us, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}; {} frames, {} of {} lost",
                told.p50_us,
                told.p90_us,
                told.p99_us,
                told.p99_9_us,
                told.max_us,
                told.frames,
                phase.lost,
                phase.offered
            );
        }
        out
    }
}

impl FoundOut {
    /// Of a search with frames of `size` bytes.
    pub fn new(loss_percent: f64, found: Found, size: f64) -> Self {
        Self {
            loss_percent,
            frames_per_second: found.rate,
            gbits: gbits(found.rate, size),
            trials: found.trials,
            generator_bound: found.generator_bound,
        }
    }
}
