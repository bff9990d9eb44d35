//! Who answers a neighbour solicitation in the demux network (RFC 4861 section 7.2), and where one goes that nobody answers: to
//! the station that is asked for.

use super::frames::Solicitation;
use super::rules::{Decided, Expected};
use super::world::{World, identity};
use super::{DEMUX, SHARED, gateway_mac, host, port_id, subnet};
use crate::drop::DropReason;
use crate::flow::Verdict;
use crate::ids::PortId;

impl World {
    /// What the rules say of a solicitation that comes in by `port`. Of other networks this model has no opinion, nor of the node's own
    /// stack, nor of what is sent to the address that all stations share.
    pub(super) fn expects_solicitation(&self, port: PortId, message: &Solicitation) -> Option<Expected> {
        let arrived = message.bytes();
        let (network, tci) = match self.network_of(port, message.tag.map(|tci| (tci, false)))? {
            Ok(found) => found,
            Err(reason) => return Some((Verdict::Drop(reason), arrived)),
        };
        let is_node = self.hosts[network].map(port_id) == Some(port);
        if network != DEMUX || is_node || message.dst == Some(SHARED) {
            return None;
        }
        let admitted = self.solicits_behind(port, message);
        if admitted.is_ok() && message.target == host(DEMUX, 1) {
            return Some((Verdict::Reply, message.answer(gateway_mac(DEMUX))));
        }
        let decided = admitted.and_then(|()| match message.dst {
            Some(dst) => self.bridge(network, Some(port), dst),
            None => {
                let [front @ .., last] = message.target.octets();
                let asked = Some(last).filter(|_| front == subnet(DEMUX) && !message.is_probe);
                match asked.and_then(|last| self.child_at(last)) {
                    None => Ok(Decided::bridged(None, false)),
                    child => self.to_child(Some(port), child),
                }
            }
        });
        self.outcome(arrived, network, tci, decided)
    }

    /// Whether it may come from there.
    fn solicits_behind(&self, port: PortId, message: &Solicitation) -> Result<(), DropReason> {
        if message.src.is_group() {
            return Err(DropReason::SourceIsGroup);
        }
        if !self.ports[port.index()].checks {
            return Ok(());
        }
        let stations = identity(port.index() as u8);
        stations.iter().find(|(mac, _)| *mac == message.src).ok_or(DropReason::SpoofedMac)?;
        if message.claims == message.src { Ok(()) } else { Err(DropReason::SpoofedArp) }
    }
}
