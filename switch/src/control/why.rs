//! What is refused, now, and by what: the cached flows that a policy, a VLAN, a route or the check of senders drops, each with
//! the rule that does.
//!
//! The refusal of a flow is kept in the flow caches like every other decision, with its packets; which rule it was is found
//! again by walking the stages with the flow's key. So nothing is written down while packets are dropped, and what is shown
//! is never more than the caches hold.

use serde::Serialize;

use super::Control;
use super::flows::{FlowWalk, words};
use crate::drop::DropReason;
use crate::flow::cache::Entry;
use crate::flow::parse::Layout;
use crate::flow::{Actions, FlowKey, Verdict};
use crate::ids::PortId;
use crate::pipeline::{self, Observe, Packet, Step};
use crate::topology::{Topology, Vlans};
use crate::wire::ethernet;
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// The bits of a TCI that are the VLAN identifier (IEEE 802.1Q clause 9.6).
const VID: u16 = 0xfff;

/// Flows that are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusalRow {
    /// Port they come in by.
    pub port: String,
    /// Name of the drop reason.
    pub reason: &'static str,
    /// Of a policy's refusal `ingress` or `egress`: who is refused, its receiver or its sender. Else empty.
    pub direction: &'static str,
    /// Which policy and rule, in words; of a wrong VLAN `vlan_mismatch(got=,want=)`; else what the reason says.
    pub why: String,
    /// Sender: its IP address, or MAC address where there is none.
    pub source: String,
    /// Receiver, as it was sent.
    pub destination: String,
    /// Protocol, by name or number; of what is not IP the EtherType.
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

/// Reasons that somebody's configuration has, of those that are decided by a flow's key.
const TOLD: [DropReason; 10] = [
    DropReason::PolicyIngress,
    DropReason::PolicyEgress,
    DropReason::VlanMismatch,
    DropReason::NoRoute,
    DropReason::Blackhole,
    DropReason::OverlayUnreachable,
    DropReason::OverlayNotReachable,
    DropReason::SpoofedMac,
    DropReason::SpoofedIp,
    DropReason::TunnelLoop,
];

/// Why a flow is dropped; `None` when it is not, or is answered by the switch itself.
fn reason(actions: &Actions) -> Option<DropReason> {
    match actions.verdict {
        Verdict::Drop(reason) | Verdict::Reject(reason, _) => Some(reason),
        _ => None,
    }
}

/// True for the actions of a flow that is refused for one of the reasons that are [`TOLD`].
pub(super) fn is_refused(actions: &Actions) -> bool {
    reason(actions).is_some_and(|reason| TOLD.contains(&reason))
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
    /// The flows of `walk`, a walk through refused ones, with what refuses them. Those that nothing refuses any more are left
    /// out: their next packets are decided anew.
    pub fn refusals(&self, walk: FlowWalk) -> Vec<RefusalRow> {
        let names = self.names();
        let rows = walk.into_entries().into_iter();
        rows.filter_map(|(entry, age)| self.refusal(&entry, age, |port| names.port(port))).collect()
    }

    fn refusal(&self, entry: &Entry, age: u32, name: impl Fn(usize) -> String) -> Option<RefusalRow> {
        let topology = self.publisher.current();
        let key = &entry.key;
        let mut frame = self.site.pool.frame(&[])?;
        let mut packet = Packet::new(&mut frame, key, Layout::default(), entry.second);
        let mut why = Why::default();
        let reason = reason(&pipeline::run(topology, &mut packet, &mut why))?;
        if !TOLD.contains(&reason) {
            return None;
        }
        let (direction, why) = match (why.0.filter(|_| reason.is_policy()), reason) {
            (Some(judged), _) => judged,
            (None, DropReason::VlanMismatch) => ("", vlan_mismatch(topology, key)),
            (None, _) => ("", reason.describe().trim_end_matches('.').to_owned()),
        };
        let ends = key.addresses().map(|(source, destination)| (source.to_string(), destination.to_string()));
        let has_ports = ends.is_some() && matches!(key.protocol(), TCP | UDP | SCTP);
        let (source, destination) = ends.unwrap_or_else(|| (words::mac(key.src()), words::mac(key.dst())));
        Some(RefusalRow {
            port: name(key.port()),
            reason: reason.name(),
            direction,
            why,
            source,
            destination,
            protocol: protocol(key),
            destination_port: has_ports.then_some(key.ports().1),
            packets: entry.packets,
            bytes: entry.bytes,
            age,
        })
    }
}

/// What is in the frame, by name or number.
fn protocol(key: &FlowKey) -> String {
    let known = match (key.addresses().is_some(), key.protocol(), key.ethertype()) {
        (true, TCP, _) => "tcp",
        (true, UDP, _) => "udp",
        (true, SCTP, _) => "sctp",
        (true, ICMP, _) => "icmp",
        (true, ICMPV6, _) => "icmpv6",
        (true, number, _) => return number.to_string(),
        (false, _, ethernet::ARP) => "arp",
        (false, _, ethertype) => return format!("{ethertype:#06x}"),
    };
    known.to_owned()
}

/// The tag that a frame has and those that its port takes, as `vlan_mismatch(got=200,want=100)`.
fn vlan_mismatch(topology: &Topology, key: &FlowKey) -> String {
    let vlans = PortId::new(key.port()).and_then(|id| topology.port(id)?.vlans.as_ref());
    let want = vlans.map_or_else(String::new, accepted);
    format!("vlan_mismatch(got={},want={want})", carried(key))
}

/// The VLAN identifier of a key's outer tag; `untagged` when it has none. A service tag has its EtherType behind it.
pub(super) fn carried(key: &FlowKey) -> String {
    let marks = key.marks();
    match (marks.tags, key.vlan().0 & VID) {
        (0, _) => "untagged".to_owned(),
        (_, vid) if marks.service_tag => format!("{vid}/802.1ad"),
        (_, vid) => vid.to_string(),
    }
}

/// The VLANs that a port takes, as `untagged,100,1155-1158`.
pub(super) fn accepted(vlans: &Vlans) -> String {
    let mut words: Vec<String> = vlans.untagged.iter().map(|_| "untagged".to_owned()).collect();
    let vids: Vec<u16> = vlans.tagged.iter().map(|(vid, _)| *vid).collect();
    for run in vids.chunk_by(|a, b| a + 1 == *b) {
        words.push(match run {
            [first, .., last] => format!("{first}-{last}"),
            [only] => only.to_string(),
            [] => continue,
        });
    }
    words.join(",")
}
