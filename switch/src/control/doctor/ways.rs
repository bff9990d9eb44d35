//! A pair: what a packet of theirs meets on its way, there and back, by the stages that forward ([`Control::trace`]), small and as
//! large as its sender may make it.

use std::net::IpAddr;

use super::chart::{Check, explains};
use super::{DoctorError, Findings, State, Who, ports};
use crate::control::Control;
use crate::control::trace::expression::Probe;
use crate::control::trace::fields::LONGEST;
use crate::control::trace::{About, Frame, TraceError, TraceRow};
use crate::drop::DropReason;

/// Bytes of an Ethernet header.
const ETHERNET: u32 = 14;

/// How large the packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// As small as may be.
    Small,
    /// An IP packet of so many bytes.
    Packet(u32),
}

/// What is sent, as an expression without addresses: of `icmp`, `tcp PORT`, `udp PORT`.
///
/// # Errors
/// In words, what it is to be.
pub(super) fn flow(said: &str) -> Result<String, String> {
    let wrong = || format!("{said:?} is nothing that can be sent; write icmp, tcp PORT or udp PORT");
    let mut words = said.split([' ', '/']).filter(|word| !word.is_empty());
    let flow = match (words.next(), words.next()) {
        (None | Some("icmp"), None) => "icmp".to_owned(),
        (Some(protocol @ ("tcp" | "udp")), Some(port)) => {
            let port: u16 = port.parse().map_err(|_| wrong())?;
            format!("{protocol}.dst=={port}")
        }
        _ => return Err(wrong()),
    };
    if words.next().is_some() { Err(wrong()) } else { Ok(flow) }
}

/// The frame that `from` sends to `to`, as an expression for `trace`; `None` when nothing is known that it could be addressed to.
fn expression(from: &Who, to: &Who, flow: &str, size: Size) -> Option<String> {
    let mut terms: Vec<String> = from.tag.iter().map(|vid| format!("vlan.id=={vid}")).collect();
    let v6 = to.address.or(from.address).is_some_and(|address| address.is_ipv6());
    let family = if v6 { "ip6" } else { "ip4" };
    if let Some(address) = from.address.filter(|address| address.is_ipv6() == v6) {
        terms.push(format!("{family}.src=={address}"));
    }
    match (to.address, to.mac) {
        (Some(address), _) => terms.push(format!("{family}.dst=={address}")),
        (None, Some(mac)) => terms.push(format!("eth.dst=={}", crate::control::flows::words::mac(mac))),
        (None, None) => return None,
    }
    if from.address.is_none()
        && let Some(mac) = from.mac
    {
        terms.push(format!("eth.src=={}", crate::control::flows::words::mac(mac)));
    }
    match (flow, v6) {
        ("icmp", false) => terms.push("icmp4".to_owned()),
        ("icmp", true) => terms.push("icmp6".to_owned()),
        (flow, _) => terms.extend([family.to_owned(), flow.to_owned()]),
    }
    if let Size::Packet(bytes) = size {
        let tag = if from.tag.is_some() { 4 } else { 0 };
        terms.push(format!("len=={}", (bytes + ETHERNET + tag).min(LONGEST.into())));
    }
    Some(terms.join(" && "))
}

/// The question of `from` who has the address of `to`, which nobody has said to have.
fn question(from: &Who, to: &Who) -> Option<String> {
    let mut terms: Vec<String> = from.tag.iter().map(|vid| format!("vlan.id=={vid}")).collect();
    match to.address? {
        IpAddr::V4(target) => {
            terms.extend(["arp".to_owned(), format!("arp.tpa=={target}")]);
            let source = from.address.filter(IpAddr::is_ipv4);
            terms.extend(source.map(|source| format!("arp.spa=={source}")));
        }
        IpAddr::V6(target) => {
            let [.., a, b, c] = target.octets();
            terms.extend([
                format!("nd.target=={target}"),
                format!("ip6.dst==ff02::1:ff{a:02x}:{b:02x}{c:02x}"),
            ]);
            let source = from.address.filter(IpAddr::is_ipv6);
            terms.extend(source.map(|source| format!("ip6.src=={source}")));
        }
    }
    Some(terms.join(" && "))
}

/// Why a traced frame does not arrive anywhere; `None` when it does.
fn lost(traced: &TraceRow) -> Option<DropReason> {
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

    /// Whether the largest packet of `from` gets to `to`.
    fn check_largest(
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
        let own = u32::from(self.config.port_mtu(&port.config));
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

/// The address for which the router has no route.
fn missing(traced: &TraceRow) -> Option<&str> {
    let route = traced.about.iter().rev().find(|(about, _)| *about == About::Route);
    route.and_then(|(_, text)| text.rsplit_once(": ")).map(|(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_said_in_two_words() {
        assert_eq!(flow("").unwrap(), "icmp");
        assert_eq!(flow("tcp 80").unwrap(), "tcp.dst==80");
        assert_eq!(flow("udp/53").unwrap(), "udp.dst==53");
        for wrong in ["tcp", "tcp 70000", "sctp 1", "icmp 3", "tcp 80 81"] {
            assert!(flow(wrong).unwrap_err().contains("tcp PORT"), "{wrong}");
        }
    }

    #[test]
    fn a_pair_becomes_an_expression_that_trace_takes() {
        let who = |address: Option<&str>, tag| Who {
            said: "x".into(),
            port: None,
            tag,
            address: address.map(|address| address.parse().unwrap()),
            mac: Some(crate::wire::ethernet::Mac(2)),
        };
        let pairs = [
            (who(Some("10.0.0.1"), None), who(Some("10.0.0.2"), None)),
            (who(Some("fd00::1"), Some(100)), who(Some("fd00::2"), None)),
            (who(None, Some(5)), who(Some("10.0.0.2"), None)),
            (who(None, None), who(None, None)),
        ];
        for (from, to) in &pairs {
            for flow in ["icmp", "tcp.dst==80", "udp.dst==53"] {
                for size in [Size::Small, Size::Packet(1500), Size::Packet(65_535)] {
                    let text = expression(from, to, flow, size).unwrap();
                    Probe::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
                }
            }
            if let Some(text) = question(from, to) {
                Probe::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            }
        }
        let mut nobody = who(None, None);
        nobody.mac = None;
        assert_eq!(expression(&pairs[0].0, &nobody, "icmp", Size::Small), None);
    }
}
