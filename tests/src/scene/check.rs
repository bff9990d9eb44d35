//! Who can and who cannot talk.

use std::fmt;
use std::time::{Duration, Instant};

use super::Scene;
use super::build::PATIENCE;
use crate::iperf::Tcp;
use crate::{Iperf, LabError, Ping};

/// One pair and what is expected of it.
#[derive(Clone, Debug)]
pub struct Check {
    /// A station or node of the scene.
    pub from: &'static str,
    /// An address, v4 or v6.
    pub to: &'static str,
    /// Whose it is, or why it is not to be reached.
    pub about: &'static str,
    /// What is expected.
    pub reach: Reach,
}

/// What is expected of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Echo requests are answered, all of a series once the first was.
    Answers,
    /// As `Answers`, and a TCP stream carries megabytes to the station of that name.
    Streams(&'static str),
    /// No answer.
    Silence,
    /// No answer, and the node counts drops of that reason: `(node, reason)`.
    Dropped(&'static str, &'static str),
}

/// What came of a check.
#[derive(Debug)]
pub struct Outcome {
    /// The check.
    pub check: Check,
    /// Why it is not as expected.
    pub failure: Option<String>,
}

/// The pair talks.
pub const fn answers(from: &'static str, to: &'static str, about: &'static str) -> Check {
    Check { from, to, about, reach: Reach::Answers }
}

/// The pair talks and a stream between them goes through; `server` is the station with the address.
pub const fn streams(from: &'static str, to: &'static str, server: &'static str) -> Check {
    Check { from, to, about: server, reach: Reach::Streams(server) }
}

/// The pair does not talk.
pub const fn silence(from: &'static str, to: &'static str, why: &'static str) -> Check {
    Check { from, to, about: why, reach: Reach::Silence }
}

/// The pair does not talk, and `node` says why.
pub const fn dropped(
    from: &'static str,
    to: &'static str,
    why: &'static str,
    node: &'static str,
    reason: &'static str,
) -> Check {
    Check { from, to, about: why, reach: Reach::Dropped(node, reason) }
}

impl Scene {
    /// Tries all pairs.
    pub fn check(&self) -> Vec<Outcome> {
        let outcome = |check: &Check| Outcome {
            check: check.clone(),
            failure: self.try_pair(check).unwrap_or_else(|error| Some(error.to_string())),
        };
        self.checks.iter().map(outcome).collect()
    }

    /// Tries all pairs and fails with all that is not as expected.
    ///
    /// # Panics
    /// Something is not.
    #[track_caller]
    pub fn assert_checks(&self) {
        let outcomes = self.check();
        outcomes.iter().for_each(|outcome| println!("{outcome}"));
        let failed: Vec<String> =
            outcomes.iter().filter(|o| o.failure.is_some()).map(ToString::to_string).collect();
        assert!(failed.is_empty(), "scene {}:\n{}\n{}", self.name, failed.join("\n"), self.state());
    }

    /// Ports and drops of every node, for whoever looks for a cause.
    pub fn state(&self) -> String {
        let shown = |what: &'static str| {
            move |node: &super::Node| {
                let text = node.shuntd.cli_text(&["show", what]).unwrap_or_else(|error| error.to_string());
                format!("{}: {what}\n{text}", node.name)
            }
        };
        let parts = ["ports", "drops", "topology", "fdb"]
            .map(|what| self.nodes.iter().map(shown(what)).collect::<String>());
        parts.concat()
    }

    fn try_pair(&self, check: &Check) -> Result<Option<String>, LabError> {
        match check.reach {
            Reach::Answers => self.try_answers(check),
            Reach::Streams(server) => match self.try_answers(check)? {
                None => self.try_stream(check, server),
                failure => Ok(failure),
            },
            Reach::Silence => self.try_silence(check),
            Reach::Dropped(node, reason) => {
                let before = self.node(node).dropped(reason)?;
                let failure = self.try_silence(check)?;
                let after = self.node(node).dropped(reason)?;
                let missing = || format!("{node} counts no drop for {reason} ({after})");
                Ok(failure.or_else(|| (after == before).then(missing)))
            }
        }
    }

    fn try_answers(&self, check: &Check) -> Result<Option<String>, LabError> {
        let deadline = Instant::now() + PATIENCE;
        let from = self.place(check.from);
        let first = Ping { wait_ms: 300, ..Ping::to(check.to) };
        while first.run(from)?.received == 0 {
            if Instant::now() >= deadline {
                return Ok(Some("no answer".into()));
            }
        }
        let series = Ping { count: 5, wait_ms: 2000, ..Ping::to(check.to) };
        // A machine that others use may hold one up for longer than ping waits: once more.
        let mut answers = series.run(from)?;
        if answers.received < 5 {
            answers = series.run(from)?;
        }
        let whole = answers.received == 5 && answers.duplicates == 0;
        Ok((!whole).then(|| format!("{} of 5 answered, {} twice", answers.received, answers.duplicates)))
    }

    fn try_stream(&self, check: &Check, server: &str) -> Result<Option<String>, LabError> {
        let mut iperf = Iperf::serve(self.place(server), check.to)?;
        let load = Tcp { seconds: 1, ..Tcp::default() };
        let result = iperf.tcp(self.place(check.from), &load)?;
        Ok((result.bytes < 1_000_000).then(|| format!("a second of TCP carried {} bytes only", result.bytes)))
    }

    fn try_silence(&self, check: &Check) -> Result<Option<String>, LabError> {
        let ping = Ping { count: 2, interval_ms: 50, wait_ms: 300, ..Ping::to(check.to) };
        let started = Instant::now();
        // `ping` ends with an error of its own where the sender's kernel has no route: that is no answer, too.
        match ping.run(self.place(check.from)) {
            Ok(answers) if answers.received > 0 => Ok(Some(format!("answered: {answers:?}"))),
            Ok(_) => Ok(None),
            Err(LabError::Failed { .. }) if started.elapsed() < Duration::from_secs(5) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Check { from, to, about, reach } = &self.check;
        let expected = match reach {
            Reach::Answers => "talks to",
            Reach::Streams(_) => "streams to",
            Reach::Silence | Reach::Dropped(..) => "is kept from",
        };
        let reason = match reach {
            Reach::Dropped(node, reason) => format!(" ({reason} on {node})"),
            _ => String::new(),
        };
        match &self.failure {
            None => write!(f, "pass  {from} {expected} {to}, {about}{reason}"),
            Some(why) => write!(f, "FAIL  {from} {expected} {to}, {about}{reason}: {why}"),
        }
    }
}
