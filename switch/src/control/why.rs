//! Which policies drop what, now: the cached flows that table 8 refused, each with the policy that did.
//!
//! The refusal of a flow is kept in the flow caches like every other decision, with its packets; which rule it was is found
//! again by walking the stages with the flow's key. So nothing is written down while packets are dropped, and what is shown
//! is never more than the caches hold.

use serde::Serialize;

use super::Control;
use super::flows::FlowWalk;
use crate::drop::DropReason;
use crate::flow::cache::Entry;
use crate::flow::parse::Layout;
use crate::flow::{Actions, Verdict};
use crate::pipeline::{self, Observe, Packet, Step};
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// Flows that a policy refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusalRow {
    /// Port they come in by.
    pub port: String,
    /// `ingress` or `egress`: who is refused, its receiver or its sender.
    pub direction: &'static str,
    /// Which policy and rule, in words.
    pub why: String,
    /// Sender.
    pub source: String,
    /// Receiver, as it was sent.
    pub destination: String,
    /// Protocol, by name or number.
    pub protocol: String,
    /// Destination port; `None` where there are none.
    pub destination_port: Option<u16>,
    /// Frames.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Seconds since the last one.
    pub age: u32,
}

/// True for the actions of a flow that a policy refuses.
pub(super) fn is_refused(actions: &Actions) -> bool {
    let (Verdict::Drop(reason) | Verdict::Reject(reason, _)) = actions.verdict else { return false };
    matches!(reason, DropReason::PolicyIngress | DropReason::PolicyEgress)
}

/// The observer: keeps the last judgement that did not let the packet pass.
#[derive(Default)]
struct Why(Option<(&'static str, String)>);

impl Observe for Why {
    fn step(&mut self, step: Step<'_>) {
        if let Step::Policy(direction, judgement) = step
            && !judgement.passes()
        {
            self.0 = Some((direction.name(), judgement.describe()));
        }
    }
}

impl Control {
    /// The flows of `walk`, a walk through refused ones, with the policies that refuse them. Those of which no policy says so
    /// any more are left out: their next packets are decided anew.
    pub fn refusals(&self, walk: FlowWalk) -> Vec<RefusalRow> {
        let names = self.names();
        let rows = walk.into_entries().into_iter();
        rows.filter_map(|(entry, age)| self.refusal(&entry, age, |port| names.port(port))).collect()
    }

    fn refusal(&self, entry: &Entry, age: u32, name: impl Fn(usize) -> String) -> Option<RefusalRow> {
        let mut frame = self.site.pool.frame(&[])?;
        let mut packet = Packet::new(&mut frame, &entry.key, Layout::default(), entry.second);
        let mut why = Why::default();
        pipeline::run(self.publisher.current(), &mut packet, &mut why);
        let (direction, why) = why.0?;
        let (source, destination) = entry.key.addresses()?;
        let protocol = match entry.key.protocol() {
            TCP => "tcp".to_owned(),
            UDP => "udp".to_owned(),
            SCTP => "sctp".to_owned(),
            ICMP => "icmp".to_owned(),
            ICMPV6 => "icmpv6".to_owned(),
            number => number.to_string(),
        };
        let has_ports = matches!(entry.key.protocol(), TCP | UDP | SCTP);
        Some(RefusalRow {
            port: name(entry.key.port()),
            direction,
            why,
            source: source.to_string(),
            destination: destination.to_string(),
            protocol,
            destination_port: has_ports.then_some(entry.key.ports().1),
            packets: entry.packets,
            bytes: entry.bytes,
            age,
        })
    }
}
