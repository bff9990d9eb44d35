//! A pair: what a packet of theirs meets on its way, there and back, by the stages that forward ([`Control::trace`]).

use std::net::IpAddr;

use super::chart::{Check, explains};
use super::sent::{Size, expression, question};
use super::{DoctorError, Findings, State, Who, ports};
use crate::control::Control;
use crate::control::trace::expression::Probe;
use crate::control::trace::{About, Frame, TraceError, TraceRow};
use crate::drop::DropReason;

/// Why a traced frame does not arrive anywhere; `None` when it does.
pub(super) fn lost(traced: &TraceRow) -> Option<DropReason> {
    let arrives = traced.outputs.iter().any(|output| output.drop.is_none());
    let of_outputs = || traced.outputs.iter().find_map(|output| output.drop).filter(|_| !arrives);
    let name = traced.drop.or_else(of_outputs)?;
    DropReason::ALL.iter().copied().find(|reason| reason.name() == name)
}

/// The check that a note of a trace belongs to.
fn belongs(about: About) -> Check {
    match about {
        About::Route => Check::Route,
        About::Station => Check::Fdb,
        About::Neighbor(_) => Check::Neighbor,
        About::Tunnel => Check::Tunnel,
        About::Policy => Check::Policy,
        About::Service => Check::Service,
    }
}

impl Control {
    /// Traces a packet from one to the other; `None` when it does not begin here, or cannot be addressed.
    pub(super) fn trace_pair(
        &mut self,
        from: &Who,
        to: &Who,
        flow: &str,
        size: Size,
    ) -> Result<Option<TraceRow>, DoctorError> {
        let name = from.port.and_then(|id| self.ports.get(id)).map(|port| port.config.name.to_string());
        let (Some(name), Some(text)) = (name, expression(from, to, flow, size)) else { return Ok(None) };
        let traced = self.trace_text(&name, &text)?;
        let unheard = traced.assumed.iter().any(|chosen| chosen.contains("nobody has said to have"));
        match question(from, to).filter(|_| unheard && size == Size::Small) {
            Some(text) => Ok(Some(self.trace_text(&name, &text)?)),
            None => Ok(Some(traced)),
        }
    }

    fn trace_text(&mut self, port: &str, text: &str) -> Result<TraceRow, DoctorError> {
        let probe = Probe::parse(text).map_err(TraceError::from)?;
        Ok(self.trace(port, Frame::Made(probe))?)
    }

    /// Looks at both directions.
    pub(super) fn check_pair(
        &mut self,
        from: &Who,
        to: &Who,
        flow: &str,
        findings: &mut Findings,
    ) -> Result<(), DoctorError> {
        for (one, other, back) in [(from, to, false), (to, from, true)] {
            let subject = format!("{} > {}", one.said, other.said);
            if other.address.is_none() && other.mac.is_none() {
                let evidence = format!("no address of {} is known", other.said);
                findings.warn(Check::Way, &subject, evidence, "name the address instead of the port");
                continue;
            }
            let Some(traced) = self.trace_pair(one, other, flow, Size::Small)? else {
                let evidence = format!(
                    "nobody of this node has {}: ask the doctor of its node for this direction",
                    one.said
                );
                findings.ok(Check::Way, &subject, evidence);
                continue;
            };
            let reason = lost(&traced);
            self.tell(&traced, reason, &subject, back, findings);
            if reason.is_none() && !traced.outputs.is_empty() {
                self.check_largest(one, other, flow, &subject, findings)?;
            }
        }
        Ok(())
    }

    /// What the packet met, and where it ended.
    fn tell(
        &self,
        traced: &TraceRow,
        reason: Option<DropReason>,
        subject: &str,
        back: bool,
        findings: &mut Findings,
    ) {
        let broken = reason.map(explains);
        for (about, text) in &traced.about {
            let check = belongs(*about);
            // Told with what came of it.
            if broken == Some(check)
                && traced
                    .about
                    .iter()
                    .rev()
                    .find(|(about, _)| belongs(*about) == check)
                    .is_some_and(|(_, last)| last == text)
            {
                continue;
            }
            let age = match about {
                About::Neighbor(address) => self.age_of(*address),
                _ => String::new(),
            };
            findings.ok(check, subject, format!("{text}{age}"));
        }
        let tables: Vec<String> = traced.tables.iter().map(|table| table.table.to_string()).collect();
        let tables = tables.join(" ");
        let (Some(reason), Some(check)) = (reason, broken) else {
            return findings.ok(Check::Way, subject, format!("tables {tables}: {}", traced.verdict));
        };
        let last =
            traced.about.iter().rev().find(|(about, _)| belongs(*about) == check).map(|(_, text)| text);
        let outputs = traced.outputs.iter().filter(|output| output.drop.is_some());
        let outputs: Vec<String> =
            outputs.map(|output| format!("{}: {}", output.port, output.outcome)).collect();
        let mut evidence = last
            .cloned()
            .into_iter()
            .chain(traced.drop.map(|_| traced.verdict.clone()))
            .chain(outputs)
            .collect::<Vec<_>>()
            .join("; ");
        if reason == DropReason::NoRoute
            && let Some(address) = missing(traced)
        {
            evidence.push_str(&ports::missing_prefix(address));
        }
        // A receiver may well be forbidden to begin.
        let state = if back && reason.is_policy() { State::Warn } else { State::Fail };
        let fix = ports::fix(reason, &traced.port);
        findings.add(state, check, subject, evidence.clone(), fix.clone());
        if check != Check::Way {
            let evidence = format!("tables {tables}: {}", traced.verdict);
            let trace = format!("`shunt trace --in {} '{}'` shows all of it", traced.port, traced.r#match);
            findings.add(state, Check::Way, subject, evidence, trace);
        }
    }

    /// How long ago a learned neighbour was confirmed, in words.
    fn age_of(&self, address: IpAddr) -> String {
        let networks = self.publisher.current().networks().iter();
        let row = networks.flat_map(|network| network.neighbors.iter()).find(|row| row.address == address);
        match row {
            Some(row) if row.neighbor.fixed => ", given".to_owned(),
            Some(row) => format!(", confirmed {} s ago", self.now().saturating_sub(row.last_seen)),
            None => String::new(),
        }
    }
}

/// The address for which the router has no route.
fn missing(traced: &TraceRow) -> Option<&str> {
    let route = traced.about.iter().rev().find(|(about, _)| *about == About::Route);
    route.and_then(|(_, text)| text.rsplit_once(": ")).map(|(address, _)| address)
}
