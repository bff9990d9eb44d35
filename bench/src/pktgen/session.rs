//! All trials of a scenario: one of a fixed load, or a search and latencies at a share of what it found.

use std::time::Duration;

use anyhow::Result;

use super::outcome::{FoundOut, Outcome, TrialOut};
use super::pace::Load;
use super::progress::Progress;
use super::rig::Rig;
use super::scenario::{Find, Scenario};
use super::search::{Search, Told, search};
use super::trial::Trial;
use crate::stop;

/// Runs a scenario over an open rig.
///
/// # Errors
/// A signal came.
pub fn run(scenario: &Scenario, rig: &mut Rig) -> Result<Outcome> {
    let mut outcome = Outcome::new(scenario, rig.traffic());
    let mut progress = Progress::new();
    let size = rig.traffic().mean_size();
    if let Some((mode, load, length)) = scenario.fixed() {
        mode.clone_into(&mut outcome.mode);
        let trial = one(rig, &mut progress, mode, load, length)?;
        outcome.trials.push(TrialOut::new(&trial, size, true));
    } else if let Some(find) = &scenario.search {
        "search".clone_into(&mut outcome.mode);
        find_all(find, rig, &mut progress, size, &mut outcome)?;
    }
    Ok(outcome)
}

fn one(rig: &mut Rig, progress: &mut Progress, what: &str, load: Load, length: Duration) -> Result<Trial> {
    rig.trial(load, length, |sofar| {
        progress.show(what, sofar);
        Ok(stop::check()?)
    })
}

fn find_all(
    find: &Find,
    rig: &mut Rig,
    progress: &mut Progress,
    size: f64,
    outcome: &mut Outcome,
) -> Result<()> {
    let length = Duration::from_secs_f64(find.trial_seconds);
    let ceiling = match find.ceiling {
        Some(rate) => rate,
        None => {
            // What goes through when the device itself slows the generator down: nothing above can be without loss.
            let trial = one(rig, progress, "full speed", Load::Fastest, length)?;
            outcome.trials.push(TrialOut::new(&trial, size, false));
            trial.received_per_second()
        }
    };
    for percent in &find.loss_percent {
        let what = Search {
            loss: percent / 100.0,
            ceiling,
            resolution: find.resolution_percent / 100.0,
            retries: find.retries,
        };
        let found = search(&what, |rate| -> Result<Told> {
            let text = format!("search, {percent} % loss, {:.3} Mpps", rate / 1e6);
            let trial = one(rig, progress, &text, Load::Rate(rate), length)?;
            outcome.trials.push(TrialOut::new(&trial, size, false));
            Ok(Told { offered: trial.offered_per_second(), loss: trial.loss() })
        })?;
        outcome.found.push(FoundOut::new(*percent, found, size));
    }
    let rate = outcome.found.first().map_or(0.0, |found| found.frames_per_second) * find.latency_share;
    if rate > 0.0 {
        let length = Duration::from_secs_f64(find.latency_seconds);
        let trial = one(rig, progress, "latency", Load::Rate(rate), length)?;
        outcome.latency = Some(TrialOut::new(&trial, size, true));
    }
    Ok(())
}
