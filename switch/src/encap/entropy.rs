//! What tells the flows of a tunnel apart on the way (RFC 7348 section 5, RFC 6438 section 3): the UDP source port or the flow
//! label of the outer headers.
//!
//! Two parts: of addresses and protocol, which is compiled into the actions of a flow, and of the ports, which are read from
//! every packet. So the key of a flow need not hold ports for the sake of a tunnel, and a hundred thousand conversations of
//! two pods are one row of the cache. Cost a packet: one load and one multiplication.

use crate::flow::FlowKey;
use crate::flow::hash::fold;
use crate::flow::key::Fragment;
use crate::flow::parse::Layout;
use crate::wire::protocol::{SCTP, TCP, UDP};

/// Set: the packets have ports, which take part.
const PORTS: u16 = 1;

/// The part of a flow: the same for all its packets, whatever their flags, on every worker and after every restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entropy(u16);

impl Entropy {
    /// Of no flow.
    pub const NONE: Self = Self(0);

    /// Of addresses and protocol; of what is not IP, or was not looked into, of the MAC addresses. The ports of a fragmented
    /// packet do not take part, as only its first fragment has them.
    pub fn of(key: &FlowKey) -> Self {
        let words = key.words();
        let whole = key.marks().fragment == Fragment::Whole;
        let (mixed, ports) = if key.addresses().is_some() {
            let source = fold(words[4] ^ 0x9e37_79b9_7f4a_7c15, words[5] ^ 0xbf58_476d_1ce4_e5b9);
            let destination = fold(words[6] ^ 0x94d0_49bb_1331_11eb, words[7] ^ 0xd6e8_feb8_6659_fd93);
            let addresses = source ^ destination.rotate_left(23);
            let ports = whole && matches!(key.protocol(), TCP | UDP | SCTP);
            (fold(addresses, u64::from(key.protocol()) ^ 0xa076_1d64_78bd_642f), ports)
        } else {
            let source = key.src().0 ^ u64::from(key.ethertype()) << 48;
            (fold(key.dst().0 ^ 0x9e37_79b9_7f4a_7c15, source), false)
        };
        Self((mixed >> 40) as u16 & !PORTS | u16::from(ports))
    }

    /// The same for packets that have no ports at the place of the flow's: an answer, a fragment.
    pub fn without_ports(self) -> Self {
        Self(self.0 & !PORTS)
    }

    /// Of a packet of the flow that is about to go into the tunnel, `data` from its first byte on: 16 bits.
    #[inline(always)]
    pub fn at(self, layout: Layout, data: &[u8]) -> u16 {
        if self.0 & PORTS == 0 || layout.l4 == 0 {
            return self.0;
        }
        let ports = data.get(usize::from(layout.l4)..).and_then(<[u8]>::first_chunk::<4>);
        let ports = u64::from(u32::from_le_bytes(*ports.unwrap_or(&[0; 4])));
        // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4): the high bits depend on all.
        self.0 ^ (ports.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16
    }
}
