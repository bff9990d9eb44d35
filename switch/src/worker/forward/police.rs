//! Before anything else: what a port or a network has too much of ([`crate::topology::Meter`]). Only ports that are policed, or whose
//! networks are, come here.

use shunt_ffi::{Burst, Mbuf, clock};

use super::Forwarder;
use crate::counters::PortCounters;
use crate::drop::DropReason;
use crate::ids::PortId;
use crate::offload;
use crate::topology::{Meter, Network, Port, Topology};
use crate::wire::ethernet;

/// The network that the frame comes into, by its outermost tag; what comes in a tunnel comes into the transport network.
fn network<'t>(topology: &'t Topology, port: &Port, data: &[u8]) -> Option<&'t Network> {
    let Some(vlans) = &port.vlans else { return topology.network(port.network) };
    let wanted = if vlans.service { ethernet::SERVICE_TAG } else { ethernet::CUSTOMER_TAG };
    let tag = data.get(12..).and_then(<[u8]>::first_chunk::<4>).and_then(|[a, b, c, d]| {
        (u16::from_be_bytes([*a, *b]) == wanted).then(|| u16::from_be_bytes([*c, *d]))
    });
    topology.network(vlans.network(tag)?)
}

/// Whether the frame is within what its port and its network may have.
fn may_pass(topology: &Topology, port: &Port, frame: &Mbuf, now: u64, second: u64) -> bool {
    let (pieces, bits) = (offload::pieces(frame), u64::from(frame.len()) * 8);
    let within = |meter: &Meter| meter.take(pieces, bits, now, second);
    port.meter.as_deref().is_none_or(within)
        && network(topology, port, frame.data())
            .and_then(|network| network.meter.as_deref())
            .is_none_or(within)
}

impl Forwarder {
    /// Takes what is too much out of the burst.
    #[inline(never)]
    pub(super) fn police(&self, topology: &Topology, id: PortId, ours: &PortCounters, burst: &mut Burst) {
        let Some(port) = topology.port(id) else { return };
        let (now, second) = (clock::tsc(), clock::tsc_hz());
        let mut kept = Burst::new();
        for frame in burst.drain() {
            if may_pass(topology, port, &frame, now, second) {
                // There is as much room as there was.
                let _ = kept.push(frame);
                continue;
            }
            // The bytes of the others are counted as they are parsed.
            ours.rx_bytes.add(u64::from(frame.len()));
            self.output.lose(id, DropReason::Policed, &frame);
        }
        for frame in kept.drain() {
            let _ = burst.push(frame);
        }
    }
}
