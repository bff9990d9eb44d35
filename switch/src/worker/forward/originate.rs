//! Packets that the switch itself sends to somebody beyond its neighbours: requests of `shunt ping`, composed by the control thread.

use shunt_ffi::clock;

use super::{Flow, Forwarder, Scene};
use crate::counters::WorkerCounters;
use crate::drop::DropReason;
use crate::flow::Verdict;
use crate::flow::parse::parse;
use crate::pipeline::{self, Ingress, Packet, Silent};
use crate::topology::Topology;
use crate::worker::mailbox::{Origin, Outcome};

impl Forwarder {
    /// Routes and sends a packet. One whose next hop is not known is not held: that is asked for, and the control thread tries
    /// again.
    #[cold]
    pub(in crate::worker) fn originate(
        &mut self,
        topology: &Topology,
        origin: &Origin,
        counters: &WorkerCounters,
    ) -> Outcome {
        let outcome = self.send_out(topology, origin, counters);
        self.output.flush();
        outcome.unwrap_or_else(Outcome::Lost)
    }

    fn send_out(
        &mut self,
        topology: &Topology,
        origin: &Origin,
        counters: &WorkerCounters,
    ) -> Result<Outcome, DropReason> {
        let network = topology.network(origin.network).filter(|_| origin.numbering == topology.numbering());
        let (Some(network), Some(port)) = (network, topology.port(origin.port)) else {
            return Err(DropReason::IngressDown);
        };
        let mut frame = self.pool.frame(&origin.frame).ok_or(DropReason::NoBuffers)?;
        let parsed = parse(frame.data(), frame.len(), port.id, network.depth);
        let (key, layout) = parsed.map_err(|_| DropReason::Runt)?;
        let ingress = Ingress { port, network, tag: None, peer: None };
        let mut packet = Packet::new(&mut frame, &key, layout, 0);
        let actions = pipeline::originate(topology, &ingress, &mut packet, &mut Silent);
        if let Some(question) = packet.question {
            self.ask(topology, &question);
            return Ok(Outcome::Unresolved(question.target));
        }
        if let Verdict::Drop(reason) | Verdict::Reject(reason, _) = actions.verdict {
            return Err(reason);
        }
        let (inlet, ours) = (topology.inlet(port.id), counters.port(port.id));
        let scene = Scene { topology, port: port.id, inlet, ours, now: 0, changed: 0, storm: None };
        let flow = Flow { key, layout, ..Flow::default() };
        let sent = clock::tsc();
        self.execute(&scene, &actions, &flow, frame);
        Ok(Outcome::Sent(sent))
    }
}
