//! A pair: whether the largest packet of one gets to the other.

use super::chart::{Check, explains};
use super::sent::{ETHERNET, Size};
use super::ways::lost;
use super::{DoctorError, Findings, Who, ports};
use crate::control::Control;
use crate::control::trace::TraceRow;
use crate::control::trace::fields::LONGEST;
use crate::drop::DropReason;

impl Control {
    /// Whether the largest packet of `from` gets to `to`.
    pub(super) fn check_largest(
        &mut self,
        from: &Who,
        to: &Who,
        flow: &str,
        subject: &str,
        findings: &mut Findings,
    ) -> Result<(), DoctorError> {
        if !findings.wants(Check::Mtu) {
            return Ok(());
        }
        let Some(port) = from.port.and_then(|id| self.ports.get(id)) else { return Ok(()) };
        let most = u32::from(LONGEST) - ETHERNET - 4;
        let own = u32::from(self.port_mtu(&port.config));
        let bytes = port.device_mtu().unwrap_or(own).min(most);
        let Some(traced) = self.trace_pair(from, to, flow, Size::Packet(bytes))? else { return Ok(()) };
        let what = format!("{bytes} bytes, the most that {} sends", from.said);
        let told = traced.effects.iter().find(|effect| effect.starts_with("tell its sender"));
        match (lost(&traced), told) {
            (Some(DropReason::TooBig), Some(told)) => {
                let evidence = format!("{what}, are more than the path takes; would {told}");
                findings.warn(Check::Mtu, subject, evidence, ports::fix(DropReason::TooBig, &traced.port));
            }
            (Some(reason), _) if explains(reason) == Check::Mtu => {
                let at = traced.outputs.iter().find(|output| output.drop.is_some());
                let at = at.map_or_else(
                    || traced.verdict.clone(),
                    |output| format!("{}: {}", output.port, output.outcome),
                );
                let evidence = format!("{what}, are dropped and nobody is told: {at}");
                findings.fail(Check::Mtu, subject, evidence, ports::fix(reason, &traced.port));
            }
            (Some(_), _) => {}
            (None, _) => self.check_receiver(bytes, &what, &traced, subject, findings),
        }
        Ok(())
    }

    /// Whether the devices it goes out of take it.
    fn check_receiver(
        &self,
        bytes: u32,
        what: &str,
        traced: &TraceRow,
        subject: &str,
        findings: &mut Findings,
    ) {
        let small = |name: &str| {
            let port = self.ports.iter().find(|port| port.config.name.as_str() == name)?;
            port.device_mtu().filter(|mtu| *mtu < bytes)
        };
        let whole = traced.effects.iter().all(|effect| !effect.starts_with("cut it"));
        let refused = traced.outputs.iter().find_map(|output| Some((output, small(&output.port)?)));
        match refused.filter(|_| whole) {
            Some((output, mtu)) => {
                let evidence =
                    format!("{what}, are more than the {mtu} that the device of {} takes", output.port);
                findings.fail(Check::Mtu, subject, evidence, ports::fix(DropReason::TxRefused, &output.port));
            }
            None => findings.ok(Check::Mtu, subject, format!("{what}, get through")),
        }
    }
}
