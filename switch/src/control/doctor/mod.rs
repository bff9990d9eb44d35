//! `shunt doctor`: what is wrong, by the references' tables of symptoms, and what to do about it.
//!
//! It takes two turns on the control thread. The first ([`Control::examine`]) finds out who is meant, asks the routers and
//! neighbours that packets are sent to whether they are there (ARP, ND), and notes the workers' time. A while later the second
//! ([`Control::diagnose`]) reads what has come of it. What a packet of a pair would meet is found by [`Control::trace`], that is by
//! the stages that forward; nothing here decides where a packet goes.
//!
//! In: names or addresses, a symptom. Out: one [`Finding`] for each thing looked at. Cost: some milliseconds of the control
//! thread, two walks through the flow caches; nothing on a worker.
//!
//! | file | does |
//! |---|---|
//! | [`chart`] | checks, symptoms, causes: the references' rows |
//! | `who` | who is meant by a word |
//! | `pulse` | when ports last received and dropped something |
//! | `ports`, `networks`, `node` | checks of single things |
//! | `ways` | checks of a pair |

pub mod chart;
mod largest;
mod networks;
mod node;
mod ports;
mod pulse;
mod sent;
mod ways;
mod who;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Control;
use super::flows::{FlowWalk, FlowsError};
use super::trace::TraceError;
use super::why::RefusalRow;
use crate::flow::cache::Entry;
use crate::ids::PortId;
use chart::Check;
use networks::Asked;
use node::Sample;
pub(super) use pulse::Pulse;
use who::Who;

/// Seconds in which something is called recent.
const RECENT: u32 = 30;
/// How often somebody is asked again who has not answered.
const AGAIN: Duration = Duration::from_millis(300);

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// A pod (`namespace/name`), a port or an address; empty: nobody in particular.
    pub from: String,
    /// Whom it talks to.
    pub to: String,
    /// Words of the symptom, as ping or a program say it; empty: everything is looked at.
    pub symptom: String,
    /// What is sent: `icmp`, `tcp` and `udp` with a port; empty is `icmp`.
    pub flow: String,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It may be what somebody complains about, and may be meant so.
    Warn,
    /// It is broken.
    Fail,
}

impl State {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub state: State,
    /// What was looked at.
    pub check: &'static str,
    /// Where: a port, a network, a worker, a pair.
    pub subject: String,
    /// What was seen.
    pub evidence: String,
    /// The symptom of the references' row; empty when all is well.
    pub symptom: &'static str,
    /// Its cause there; empty when all is well.
    pub cause: &'static str,
    /// The reference document that has the row; empty when all is well.
    pub reference: &'static str,
    /// What to do, as a command where there is one; empty when all is well.
    pub fix: String,
}

/// Why nothing was examined.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// A word means nobody, or no symptom.
    #[error("{0}")]
    Unknown(String),
    /// What is to be sent cannot be made.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

/// What was found out in the first turn.
#[derive(Debug)]
pub struct Examination {
    from: Option<Who>,
    to: Option<Who>,
    flow: String,
    chosen: Vec<Check>,
    /// Somebody complains: what else might be meant so is taken for his trouble.
    complaint: bool,
    asked: Vec<Asked>,
    /// When they were last asked.
    asked_at: Instant,
    before: Sample,
}

impl Examination {
    /// Whether the VLANs of frames are of interest: for that all cached flows are looked at.
    pub fn wants_flows(&self) -> bool {
        self.chosen.contains(&Check::Vlan)
    }

    /// Whether a refused flow is of those who are meant.
    fn concerns(&self, flow: &RefusalRow) -> bool {
        let address =
            |who: &Option<Who>| who.as_ref().and_then(|who| who.address).map(|address| address.to_string());
        match (address(&self.from), address(&self.to)) {
            (Some(from), Some(to)) => {
                let ends = [&flow.source, &flow.destination];
                ends == [&from, &to] || ends == [&to, &from]
            }
            _ => true,
        }
    }

    /// The ports that are meant; none: all are.
    fn meant(&self) -> BTreeSet<PortId> {
        [&self.from, &self.to].into_iter().flatten().filter_map(|who| who.port).collect()
    }
}

/// What is in the flow caches.
#[derive(Debug, Default)]
pub struct Caches {
    /// Flows that are refused.
    refused: Vec<RefusalRow>,
    /// The busiest flows, with the seconds since the last frame of each.
    flows: Vec<(Entry, u32)>,
    /// The worker that did not answer, and for how long.
    silent: Option<(usize, String)>,
}

impl Caches {
    /// Of refused flows and a walk through all, if there was one.
    pub fn of(refused: Vec<RefusalRow>, walk: Option<FlowWalk>) -> Self {
        Self { refused, flows: walk.map(FlowWalk::into_entries).unwrap_or_default(), silent: None }
    }

    /// What is known when a cache could not be read.
    pub fn unread(error: &FlowsError) -> Self {
        let silent = match error {
            FlowsError::NoAnswer { worker, source } => Some((*worker, source.to_string())),
            FlowsError::NoPort(_) => None,
        };
        Self { silent, ..Self::default() }
    }
}

/// Findings as they are collected.
#[derive(Debug)]
struct Findings {
    chosen: Vec<Check>,
    all: Vec<(Check, Finding)>,
}

impl Findings {
    fn wants(&self, check: Check) -> bool {
        self.chosen.contains(&check)
    }

    fn ok(&mut self, check: Check, subject: &str, evidence: impl Into<String>) {
        self.add(State::Ok, check, subject, evidence, String::new());
    }

    fn warn(&mut self, check: Check, subject: &str, evidence: impl Into<String>, fix: impl Into<String>) {
        self.add(State::Warn, check, subject, evidence, fix.into());
    }

    fn fail(&mut self, check: Check, subject: &str, evidence: impl Into<String>, fix: impl Into<String>) {
        self.add(State::Fail, check, subject, evidence, fix.into());
    }

    fn add(&mut self, state: State, check: Check, subject: &str, evidence: impl Into<String>, fix: String) {
        if !self.wants(check) {
            return;
        }
        let ((cause, reference), symptom) = (check.cause(), check.symptom());
        let row = if state == State::Ok { ("", "", "") } else { (symptom, cause, reference) };
        let finding = Finding {
            state,
            check: check.name(),
            subject: subject.to_owned(),
            evidence: evidence.into(),
            symptom: row.0,
            cause: row.1,
            reference: row.2,
            fix,
        };
        // Both directions of a pair meet the same things.
        if !self.all.iter().any(|(_, known)| *known == finding) {
            self.all.push((check, finding));
        }
    }

    /// All of them, in the order of the checks.
    fn done(mut self) -> Vec<Finding> {
        self.all.sort_by_key(|(check, _)| *check);
        self.all.into_iter().map(|(_, finding)| finding).collect()
    }
}

impl Control {
    /// The first turn: who is meant, and questions to those who should answer.
    ///
    /// # Errors
    /// A word means nobody here, or no symptom.
    pub fn examine(&mut self, complaint: &Complaint) -> Result<Examination, DoctorError> {
        let chosen = chart::chosen(&complaint.symptom).map_err(DoctorError::Unknown)?;
        let unknown = DoctorError::Unknown;
        let said = |word: &str| (!word.is_empty()).then(|| word.to_owned());
        let to = said(&complaint.to).map(|word| self.who(&word)).transpose().map_err(unknown)?;
        let from = said(&complaint.from).map(|word| self.who(&word)).transpose().map_err(unknown)?;
        let flow = sent::flow(&complaint.flow).map_err(unknown)?;
        if let Some(nowhere) = from.as_ref().filter(|who| who.port.is_none()) {
            return Err(unknown(format!(
                "nobody here is known to have {}; name its port, or ask the switch of its node",
                nowhere.said
            )));
        }
        let mut examination = Examination {
            complaint: from.is_some() || !complaint.symptom.is_empty(),
            from,
            to,
            flow,
            chosen,
            asked: Vec::new(),
            asked_at: Instant::now(),
            before: self.time_spent(),
        };
        examination.asked = self.ask_around(&examination)?;
        Ok(examination)
    }

    /// True when all who were asked have answered; those who have not are asked again now and then.
    pub fn is_answered(&self, examination: &mut Examination) -> bool {
        let silent: Vec<&Asked> =
            examination.asked.iter().filter(|asked| !self.has_answered(asked)).collect();
        if !silent.is_empty() && examination.asked_at.elapsed() >= AGAIN {
            for asked in silent {
                self.ask_again(asked);
            }
            examination.asked_at = Instant::now();
            return false;
        }
        silent.is_empty()
    }

    /// The second turn: what has come of it.
    ///
    /// # Errors
    /// The packet of the pair cannot be traced: there is no buffer for it.
    pub fn diagnose(
        &mut self,
        examination: &Examination,
        caches: &Caches,
    ) -> Result<Vec<Finding>, DoctorError> {
        self.take_pulse();
        let mut findings = Findings { chosen: examination.chosen.clone(), all: Vec::new() };
        self.check_ports(examination, caches, &mut findings);
        self.check_networks(examination, &mut findings);
        self.check_node(examination, &mut findings);
        if let Some((worker, waited)) = &caches.silent {
            let fix = "it hangs: send the log and `shunt show workers` with a report, then `systemctl restart shuntd`";
            findings.fail(Check::Generation, &format!("worker {worker}"), waited, fix);
        }
        if let (Some(from), Some(to)) = (&examination.from, &examination.to) {
            self.check_pair(from, to, &examination.flow, &mut findings)?;
        }
        Ok(findings.done())
    }
}
