//! What the output stage (table 20) makes of a verdict: the checks of `worker/output.rs`, without its queues. Of a flooded frame
//! also the copies for other nodes.

use serde::Serialize;
use shunt_ffi::Mbuf;

use super::row::reason_in_words;
use crate::drop::DropReason;
use crate::flow::Verdict;
use crate::ids::PortId;
use crate::offload;
use crate::port::bond::Choice;
use crate::topology::Topology;
use crate::topology::tunnels::{Blocked, Tunnel};
use crate::worker::output;

/// What comes of a frame at one egress port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutputRow {
    /// Port; of a copy for another node `peer ADDRESS`.
    pub port: String,
    /// The port that a copy for another node leaves by.
    #[serde(skip)]
    pub by: Option<String>,
    /// The member of a bond that the frame's hash chooses.
    pub member: Option<String>,
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
        let mut row = Self { port: name, by: None, member: None, outcome: "sent".to_owned(), drop: None };
        if let Err(reason) = checked {
            row.dropped(reason);
        }
        row
    }

    /// What comes of the copy of a flooded frame that goes to another node (head-end replication).
    fn to_peer(topology: &Topology, tunnel: &Tunnel, frame: &Mbuf) -> Self {
        let port = format!("peer {}", tunnel.remote);
        let mut row = Self { port, by: None, member: None, outcome: String::new(), drop: None };
        match tunnel.way {
            Ok(way) => {
                let port = topology.port(way.port).filter(|port| port.up);
                let name = port.map_or_else(|| format!("(slot {})", way.port), |port| port.name.to_string());
                row.outcome = format!("sent by {name}");
                row.by = Some(name);
                let template = topology.rewrites().templates.get(usize::from(way.template));
                let more = template.map_or(0, |template| template.len() as u32);
                match (port, offload::longest_segment(frame)) {
                    (None, _) => row.dropped(DropReason::EgressDown),
                    (Some(port), Ok(longest)) if longest + more > port.max_frame => {
                        row.dropped(DropReason::TooLong);
                    }
                    (Some(_), Ok(_)) => {}
                    (Some(_), Err(error)) => row.dropped(error.reason()),
                }
            }
            Err(Blocked::By(reason)) => row.dropped(reason),
            Err(Blocked::Unresolved(_)) => row.dropped(DropReason::NeighborUnresolved),
        }
        row
    }

    fn dropped(&mut self, reason: DropReason) {
        self.outcome = reason_in_words(reason);
        self.drop = Some(reason.name());
    }

    /// Notes the member of a bond that it leaves by.
    pub(super) fn leaves_by(&mut self, choice: &Choice) {
        if self.drop.is_some() {
            return;
        }
        match &choice.member {
            Some(member) => {
                self.outcome = format!("sent by {member}");
                self.member = Some(member.clone());
            }
            None => self.dropped(DropReason::LinkDown),
        }
    }

    /// Takes into account that nobody is behind some ports: their queues do not take the frame.
    pub(super) fn mind_link(&mut self, down: &[String]) {
        if self.drop.is_none() && down.contains(self.by.as_ref().unwrap_or(&self.port)) {
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
    let copied = |network| {
        let overlay = topology.overlay(network).filter(|overlay| overlay.planned.flood);
        let tunnels = overlay.into_iter().flat_map(|overlay| overlay.tunnels.iter().flatten());
        tunnels.map(|tunnel| OutputRow::to_peer(topology, tunnel, frame))
    };
    match verdict {
        Verdict::Port(to) => rows(vec![to]),
        Verdict::Reply => rows(vec![ingress]),
        Verdict::FloodLocal(network) => flooded(network, Some(ingress)),
        Verdict::Flood(network) => {
            flooded(network, Some(ingress)).into_iter().chain(copied(network)).collect()
        }
        Verdict::FloodInto(network) => flooded(network, None).into_iter().chain(copied(network)).collect(),
        Verdict::Consume | Verdict::Drop(_) | Verdict::Reject(..) => Vec::new(),
    }
}
