//! What the switch says of its own accord: announcements and probes, composed by the control thread.

use super::Forwarder;
use crate::table::fdb::Place;
use crate::topology::Topology;
use crate::wire::ethernet;
use crate::worker::mailbox::Message;
use crate::worker::output;

impl Forwarder {
    /// Sends a message: to everybody in its network, or to the one station it is for. One whose network is gone, or whose
    /// station is not known any more, is not sent: it would say nothing.
    #[cold]
    pub(in crate::worker) fn say(&mut self, topology: &Topology, message: &Message) {
        let network = topology.network(message.network).filter(|_| message.numbering == topology.numbering());
        let header = ethernet::parse(message.frame());
        let (Some(network), Some(header)) = (network, header) else { return };
        let member = |place| match place {
            Place::Port(port) => network.members.iter().copied().find(|member| member.port == port),
            Place::Peer(_) => None,
        };
        let everybody = header.dst.is_group();
        let station = network.fdb.get(header.dst).and_then(|entry| member(entry.place()));
        let Some(frame) = self.pool.frame(message.frame()) else { return };
        if everybody {
            let is_ip = output::is_ip(&frame);
            // To nobody is no loss.
            if output::receivers(topology, network, message.except, is_ip).next().is_some() {
                self.output.flood(topology, network.id, message.except, 0, frame);
            }
        } else if let Some(member) = station {
            self.output.send_tagged(topology, member, 0, frame);
        }
        self.output.flush();
    }
}
