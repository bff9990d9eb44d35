//! A diagnosis: the two turns on the control thread with the wait for answers between them, and its messages.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Status;

use super::service::ask;
use super::{proto, refusal};
use crate::control::Handle;
use crate::control::doctor::{Caches, Complaint, Finding};
use crate::control::flows::{FlowWalk, FlowsError};
use crate::control::resync::{InstalledRow, Resynced};

/// How long who was asked has time to answer, and how often it is seen whether all have.
const ANSWERS: (Duration, Duration) = (Duration::from_millis(2500), Duration::from_millis(20));
/// How long the workers' time is looked at, at least.
const SAMPLE: Duration = Duration::from_millis(300);
/// Flows out of the caches that are looked at, refused ones and all.
const FLOWS: (usize, usize) = (1_000, 4_000);

/// Answers `request`.
///
/// # Errors
/// A word means nobody here, or the daemon is stopping.
pub(super) async fn diagnose(
    control: &Handle,
    request: proto::DiagnoseRequest,
) -> Result<proto::Diagnosis, Status> {
    let proto::DiagnoseRequest { from, to, symptom, flow } = request;
    let complaint = Complaint { from, to, symptom, flow };
    let examination = ask(control, move |control| control.examine(&complaint)).await?;
    let mut examination = examination.map_err(|error| refusal::doctor(&error))?;
    let (now, mut answered) = (Instant::now(), false);
    let (enough, last) = (now + SAMPLE, now + ANSWERS.0);
    while Instant::now() < enough || !answered && Instant::now() < last {
        sleep(ANSWERS.1).await;
        if !answered {
            (examination, answered) = ask(control, move |control| {
                let answered = control.is_answered(&mut examination);
                (examination, answered)
            })
            .await?;
        }
    }
    let refused = walk(control, FlowWalk::refused(FLOWS.0)).await?;
    let flows = match &refused {
        Ok(_) if examination.wants_flows() => walk(control, FlowWalk::new(FLOWS.1, None)).await?.ok(),
        _ => None,
    };
    let found = ask(control, move |control| {
        let caches = match refused {
            Ok(refused) => Caches::of(control.refusals(refused), flows),
            // A worker that hangs does not tell: that is found, too.
            Err(error) => Caches::unread(&error),
        };
        (control.topology().generation, control.diagnose(&examination, &caches))
    });
    let (generation, findings) = found.await?;
    let findings = findings.map_err(|error| refusal::doctor(&error))?;
    Ok(proto::Diagnosis { generation, findings: findings.into_iter().map(Into::into).collect() })
}

/// Walks the flow caches to the end.
async fn walk(control: &Handle, mut walk: FlowWalk) -> Result<Result<FlowWalk, FlowsError>, Status> {
    while !walk.is_done() {
        walk = match ask(control, move |control| control.walk_flows(walk)).await? {
            Ok(walk) => walk,
            Err(error) => return Ok(Err(error)),
        };
    }
    Ok(Ok(walk))
}

impl From<Finding> for proto::Finding {
    fn from(finding: Finding) -> Self {
        let Finding { state, check, subject, evidence, symptom, cause, reference, fix } = finding;
        Self {
            state: state.name().to_owned(),
            check: check.to_owned(),
            subject,
            evidence,
            symptom: symptom.to_owned(),
            cause: cause.to_owned(),
            reference: reference.to_owned(),
            fix,
        }
    }
}

impl From<InstalledRow> for proto::Installed {
    fn from(row: InstalledRow) -> Self {
        let InstalledRow { worker, desired, installed, asleep, in_force } = row;
        let worker = u32::try_from(worker).unwrap_or(u32::MAX);
        Self { worker, desired, installed, asleep, in_force }
    }
}

impl From<Resynced> for proto::Resynced {
    fn from(resynced: Resynced) -> Self {
        let Resynced { generation, repaired, refused, workers } = resynced;
        Self { generation, repaired, refused, workers: workers.into_iter().map(Into::into).collect() }
    }
}
