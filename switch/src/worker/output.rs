//! Table 20, output: transmit buffers, flooding, and what a port cannot finish by itself.

use std::sync::Arc;

use shunt_ffi::{Burst, Mbuf, Mempool};

use super::capture::{Point, Taps};
use crate::counters::WorkerCounters;
use crate::drop::DropReason;
use crate::flow::execute;
use crate::ids::{MAX_PORTS, NetworkId, PortId};
use crate::offload;
use crate::port::TxQueue;
use crate::topology::{Member, Network, Port, Topology, retagged};
use crate::wire::ethernet;

/// Times a full queue is asked again within one flush.
const RETRIES: usize = 2;

/// One worker's way out of one port: the queue and the frames waiting for it.
#[derive(Debug)]
pub struct TxPort {
    queue: TxQueue,
    waiting: Burst,
    /// Bytes of `waiting`.
    bytes: u64,
}

impl TxPort {
    /// An empty buffer in front of `queue`.
    pub fn new(queue: TxQueue) -> Self {
        Self { queue, waiting: Burst::new(), bytes: 0 }
    }
}

/// All transmit buffers of one worker.
#[derive(Debug)]
pub(super) struct Output {
    ports: Box<[Option<Box<TxPort>>]>,
    /// Ports with waiting frames; never longer than there are ports, so it never grows.
    dirty: Vec<PortId>,
    pub(super) taps: Taps,
    pool: Mempool,
    counters: Arc<WorkerCounters>,
}

impl Output {
    pub(super) fn new(pool: Mempool, counters: Arc<WorkerCounters>) -> Self {
        let ports = (0..MAX_PORTS).map(|_| None).collect();
        Self { ports, dirty: Vec::with_capacity(MAX_PORTS), taps: Taps::new(), pool, counters }
    }

    pub(super) fn attach(&mut self, port: PortId, tx: Box<TxPort>) -> Option<Box<TxPort>> {
        self.ports[port.index()].replace(tx)
    }

    pub(super) fn detach(&mut self, port: PortId) -> Option<Box<TxPort>> {
        self.ports[port.index()].take()
    }

    /// Puts a frame into the buffer of port `to`, finishing first what the port cannot.
    #[inline]
    pub(super) fn send(&mut self, topology: &Topology, to: PortId, frame: Mbuf) {
        let egress = topology.egress(to);
        if frame.len() <= egress.max_frame
            && frame.segment_count() == 1
            && !frame.needs_offload()
            && !egress.l3
            && !egress.mirror
        {
            self.push(to, frame);
        } else {
            self.send_unusual(topology, to, frame);
        }
    }

    /// True when port `to` takes large UDP sends whole, in many buffers.
    pub(super) fn takes_trains(&self, to: PortId) -> bool {
        self.ports[to.index()].as_ref().is_some_and(|tx| {
            let can = tx.queue.capabilities();
            can.uso && can.checksum && can.multi_segment
        })
    }

    /// Counts a frame that is dropped at `port`, and shows it to who watches.
    pub(super) fn lose(&self, port: PortId, reason: DropReason, frame: &Mbuf) {
        self.counters.port(port).drop(reason, 1);
        if self.taps.are_on() {
            self.taps.dropped(port, reason, frame);
        }
    }

    /// Large, unfinished or chained frames, and frames for L3 ports.
    #[inline(never)]
    fn send_unusual(&mut self, topology: &Topology, to: PortId, frame: Mbuf) {
        if topology.egress(to).mirror
            && let Some(mirror) = topology.port(to).and_then(|port| port.mirror)
        {
            self.copy(topology, mirror.to, &frame);
        }
        self.finish(topology, to, frame);
    }

    /// Sends a copy of a frame to a mirror: a large send whole, if the mirror takes it. A copy is never copied.
    pub(super) fn copy(&mut self, topology: &Topology, to: PortId, frame: &Mbuf) {
        match frame.deep_copy(self.pool) {
            Some(copy) => self.finish(topology, to, copy),
            None => self.counters.port(to).drop(DropReason::NoBuffers, 1),
        }
    }

    /// Puts a frame into the buffer of port `to`, when that takes it, finished as far as the port cannot.
    fn finish(&mut self, topology: &Topology, to: PortId, frame: Mbuf) {
        let Some(port) = topology.port(to).filter(|port| port.up) else {
            return self.lose(to, DropReason::EgressDown, &frame);
        };
        if let Err(reason) = admits(port, &frame) {
            return self.lose(to, reason, &frame);
        }
        let Some(tx) = &self.ports[to.index()] else {
            return self.counters.port(to).drop(DropReason::EgressDown, 1);
        };
        let can = tx.queue.capabilities();
        let pool = self.pool;
        if let Err(error) = offload::finish(frame, can, pool, &mut |finished| self.push(to, finished)) {
            self.counters.port(to).drop(error.reason(), 1);
        }
    }

    #[inline(always)]
    fn push(&mut self, to: PortId, frame: Mbuf) {
        let Some(tx) = &mut self.ports[to.index()] else {
            return self.counters.port(to).drop(DropReason::EgressDown, 1);
        };
        if tx.waiting.is_empty() {
            self.dirty.push(to);
        }
        tx.bytes += u64::from(frame.len());
        if tx.waiting.push(frame).is_ok() && tx.waiting.is_full() {
            drain(tx, to, &self.counters, &self.taps);
            self.dirty.retain(|port| *port != to);
        }
    }

    /// Sends a copy out of every port of `network` but `except`, each with the port's tag and the priority in `tci`; the
    /// frame itself, which has no tag, goes out of the last.
    #[cold]
    pub(super) fn flood(
        &mut self,
        topology: &Topology,
        network: NetworkId,
        except: Option<PortId>,
        tci: u16,
        frame: Mbuf,
    ) {
        let Some(network) = topology.network(network) else { return };
        let mut members = receivers(topology, network, except, is_ip(&frame));
        let Some(mut next) = members.next() else {
            // A frame of one of the network's own ports has gone to the peers at the other ends of its tunnels.
            let peers = topology.overlay(network.id).is_some_and(|overlay| overlay.planned.flood);
            let gone = |from: PortId| peers && network.members.iter().any(|member| member.port == from);
            if let Some(from) = except.filter(|from| !gone(*from)) {
                self.lose(from, DropReason::NoReceiver, &frame);
            }
            return;
        };
        for after in members {
            match frame.deep_copy(self.pool) {
                Some(copy) => self.send_tagged(topology, next, tci, copy),
                None => self.counters.port(next.port).drop(DropReason::NoBuffers, 1),
            }
            next = after;
        }
        self.send_tagged(topology, next, tci, frame);
    }

    /// Sends a frame without a tag out of a port of a network, with the tag it has there.
    pub(super) fn send_tagged(&mut self, topology: &Topology, to: Member, tci: u16, mut frame: Mbuf) {
        if let Some(tag) = to.tag
            && let Err(reason) = execute::push_tag(&mut frame, retagged(tci, tag), tag.service)
        {
            return self.lose(to.port, reason, &frame);
        }
        self.send(topology, to.port, frame);
    }

    /// Hands all waiting frames to their queues. What a queue does not take is dropped and counted.
    #[inline]
    pub(super) fn flush(&mut self) {
        let Self { ports, dirty, counters, taps, .. } = self;
        for port in dirty.drain(..) {
            if let Some(tx) = &mut ports[port.index()] {
                drain(tx, port, counters, taps);
            }
        }
    }
}

/// Empties one buffer.
#[inline]
fn drain(tx: &mut TxPort, port: PortId, counters: &WorkerCounters, taps: &Taps) {
    if taps.are_on() {
        taps.burst(port, Point::Egress, &tx.waiting);
    }
    let ours = counters.port(port);
    let mut sent = 0;
    let mut refused = 0;
    let mut down = false;
    for _ in 0..=RETRIES {
        let outcome = tx.queue.transmit(&mut tx.waiting);
        sent += outcome.frames;
        refused += outcome.refused;
        down = outcome.down;
        if outcome.contended {
            counters.time.tx_contended.add(1);
        }
        if tx.waiting.is_empty() || down {
            break;
        }
    }
    let bytes = std::mem::take(&mut tx.bytes);
    ours.tx_packets.add(sent as u64);
    if tx.waiting.is_empty() {
        ours.tx_bytes.add(bytes);
    } else {
        let left: u64 = tx.waiting.iter().map(|frame| u64::from(frame.len())).sum();
        ours.tx_bytes.add(bytes - left);
        let reason = if down { DropReason::LinkDown } else { DropReason::TxFull };
        ours.drop(reason, tx.waiting.len() as u64);
        if taps.are_on() {
            taps.burst(port, Point::Drop(reason), &tx.waiting);
        }
        tx.waiting.clear();
    }
    if refused > 0 {
        ours.drop(DropReason::TxRefused, refused as u64);
    }
}

/// Whether `port`, which is up, takes the frame at all; a trace asks the same.
pub(crate) fn admits(port: &Port, frame: &Mbuf) -> Result<(), DropReason> {
    if port.l3.is_some() && !is_ip(frame) {
        return Err(DropReason::NotIp);
    }
    match offload::longest_segment(frame) {
        Ok(longest) if longest > port.max_frame => Err(DropReason::TooLong),
        Ok(_) => Ok(()),
        Err(error) => Err(error.reason()),
    }
}

/// The ports of `network` but `except` that get a copy of a flooded frame, each with its tag. An L3 port takes only IP; that a broadcast of
/// another kind passes it by is no loss.
pub(crate) fn receivers(
    topology: &Topology,
    network: &Network,
    except: Option<PortId>,
    is_ip: bool,
) -> impl Iterator<Item = Member> {
    let takes = move |member: &Member| {
        let has_link = || topology.port(member.port).is_some_and(|port| port.l3.is_none());
        Some(member.port) != except && (is_ip || has_link())
    };
    network.members.iter().copied().filter(takes)
}

/// True when the EtherType says IPv4 or IPv6.
pub(crate) fn is_ip(frame: &Mbuf) -> bool {
    ethernet::parse(frame.data())
        .is_some_and(|header| matches!(header.ethertype, ethernet::IPV4 | ethernet::IPV6))
}
