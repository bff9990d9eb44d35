//! What the output stage (table 20) makes of a verdict: the checks of `worker/output.rs`, without its queues.

use serde::Serialize;
use shunt_ffi::Mbuf;

use super::row::reason_in_words;
use crate::drop::DropReason;
use crate::flow::Verdict;
use crate::ids::PortId;
use crate::topology::Topology;
use crate::worker::output;

/// What comes of a frame at one egress port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutputRow {
    /// Port.
    pub port: String,
    /// `sent`, or why not.
    pub outcome: String,
    /// Name of the reason when it is dropped there.
    pub drop: Option<&'static str>,
}

impl OutputRow {
    fn of(topology: &Topology, id: PortId, frame: &Mbuf) -> Self {
        let port = topology.port(id);
        let checked = port.filter(|port| port.up).ok_or(DropReason::EgressDown);
        let checked = checked.and_then(|port| output::admits(port, frame));
        let name = port.map_or_else(|| format!("(slot {id})"), |port| port.name.to_string());
        let mut row = Self { port: name, outcome: "sent".to_owned(), drop: None };
        if let Err(reason) = checked {
            row.dropped(reason);
        }
        row
    }

    fn dropped(&mut self, reason: DropReason) {
        self.outcome = reason_in_words(reason);
        self.drop = Some(reason.name());
    }

    /// Takes into account that nobody is behind some ports: their queues do not take the frame.
    pub(super) fn mind_link(&mut self, down: &[String]) {
        if self.drop.is_none() && down.contains(&self.port) {
            self.dropped(DropReason::LinkDown);
        }
    }
}

/// The ports that `verdict` sends the edited `frame` to.
pub(super) fn outputs(
    topology: &Topology,
    ingress: PortId,
    verdict: Verdict,
    frame: &Mbuf,
) -> Vec<OutputRow> {
    let rows =
        |ports: Vec<PortId>| ports.into_iter().map(|port| OutputRow::of(topology, port, frame)).collect();
    let is_ip = output::is_ip(frame);
    let flooded = |network, except: Option<PortId>| {
        let receivers = topology
            .network(network)
            .map(|network| output::receivers(topology, network, except, is_ip).map(|member| member.port));
        rows(receivers.into_iter().flatten().collect())
    };
    match verdict {
        Verdict::Port(to) => rows(vec![to]),
        Verdict::Reply => rows(vec![ingress]),
        Verdict::Flood(network) | Verdict::FloodLocal(network) => flooded(network, Some(ingress)),
        Verdict::FloodInto(network) => flooded(network, None),
        Verdict::Consume | Verdict::Drop(_) | Verdict::Reject(..) => Vec::new(),
    }
}
