//! The straight way: a whole TCP or UDP packet over IPv4 without options gets its addresses, ports, TTL, checksums and MAC
//! addresses all at once. [`super::translate::Translation`] and the edits one by one are for every other packet.
//!
//! Cost: three bounds checks, five words in and out, two checksums (RFC 1624).

use shunt_ffi::Mbuf;

use super::{Actions, CHECKSUM, TTL};
use crate::flow::actions::Edits;
use crate::flow::parse::Layout;
use crate::state::Tuple;
use crate::wire::protocol::{TCP, UDP};

/// Version 4, five words of header.
const VERSION_IHL: u8 = 0x45;
/// Bytes of a header without options.
const IPV4: usize = 20;
/// Places behind the start of the IP header.
const ADDRESSES: [usize; 2] = [12, 16];
const PORTS: usize = IPV4;
/// Bytes up to the end of the transport checksum, the last field that is touched.
const TCP_END: usize = IPV4 + 18;
const UDP_END: usize = IPV4 + 8;

/// Gives the packet the addresses and ports of what is answered with `back`, and what `actions` say of its TTL and MAC
/// addresses. False, and the packet is as it was, when it is not one for the straight way.
///
/// All words are written, also those that stay: what is added to a checksum for them is nothing.
#[inline(always)]
pub(super) fn rewrite(back: &Tuple, actions: &Actions, layout: Layout, frame: &mut Mbuf) -> bool {
    if !back.is_v4() || usize::from(layout.l4) != usize::from(layout.l3) + IPV4 || frame.needs_offload() {
        return false;
    }
    match back.protocol() {
        TCP => rewrite_up_to::<TCP_END>(back, actions, layout, frame.data_mut()).is_some(),
        UDP => rewrite_up_to::<UDP_END>(back, actions, layout, frame.data_mut()).is_some(),
        _ => false,
    }
}

/// The same for a packet whose transport checksum ends `END` bytes behind the start of the IP header.
#[inline(always)]
fn rewrite_up_to<const END: usize>(
    back: &Tuple,
    actions: &Actions,
    layout: Layout,
    data: &mut [u8],
) -> Option<()> {
    let (link, packet) = data.split_at_mut_checked(usize::from(layout.l3))?;
    let (macs, packet) = (link.first_chunk_mut::<12>()?, packet.first_chunk_mut::<END>()?);
    let ages = actions.edits.has(Edits::TTL);
    if packet[0] != VERSION_IHL || ages && packet[TTL] == 0 {
        return None;
    }
    let (source, destination, ports) = back.answered_v4();
    let mut moved = 0;
    for (at, new) in ADDRESSES.into_iter().zip([source, destination]) {
        moved += exchange(packet, at, new);
    }
    let renamed = exchange(packet, PORTS, ports);
    let mut aged = 0;
    if ages {
        packet[TTL] -= 1;
        // ~m + m' with m - m' = 1 in the byte of the TTL, the first of its word.
        aged = u64::from(!u16::from_ne_bytes([1, 0]));
    }
    amend(packet, CHECKSUM, moved + aged);
    let at = END - 2;
    if END != UDP_END {
        amend(packet, at, moved + renamed);
    } else if packet[at..] != [0, 0] {
        amend(packet, at, moved + renamed);
        // A sum of 0 is sent as its other form, 0 stands for none (RFC 768).
        if packet[at..] == [0, 0] {
            packet[at..].copy_from_slice(&[0xff, 0xff]);
        }
    }
    if actions.edits.has(Edits::MACS) {
        *macs = actions.macs;
    }
    Some(())
}

/// Puts `new` in the place of four bytes. Returns what a sum of 16-bit words gains by that (RFC 1624: ~m + m'). In memory
/// order, as is [`amend`]: sums do not mind (RFC 1071 section 2 (B)).
#[inline(always)]
fn exchange<const N: usize>(packet: &mut [u8; N], at: usize, new: [u8; 4]) -> u64 {
    let old = [packet[at], packet[at + 1], packet[at + 2], packet[at + 3]];
    packet[at..at + 4].copy_from_slice(&new);
    u64::from(!u32::from_ne_bytes(old)) + u64::from(u32::from_ne_bytes(new))
}

/// Brings the checksum at `at` up to date, whose sum has gained so much.
#[inline(always)]
fn amend<const N: usize>(packet: &mut [u8; N], at: usize, gained: u64) {
    let sum = gained + u64::from(!u16::from_ne_bytes([packet[at], packet[at + 1]]));
    // Six words of 32 bits and one of 16 at most: the third folding leaves no carry.
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    packet[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
}
