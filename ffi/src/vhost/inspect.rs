//! What a guest may not send: frames are looked at once, right after the library copied them out of its memory.
//!
//! The library (22.11, `vhost_dequeue_offload_legacy`) turns the guest's virtio-net header into transmit flags and header
//! lengths, the form [`crate::offload`] reads, and drops the state of headers that contradict the frame (checksum
//! start elsewhere than behind the IP header, wrong protocol, zero segment size). It does not check an IPv4 header
//! length below 20, a TCP header length below 20, or a segment size so small that one frame becomes thousands; a NIC or
//! a segmenter that trusts these is in trouble, so such frames end here.
//! Cost: two loads and a branch for a frame without state.

use crate::sys;

use super::landing::LONGEST;
use super::state::RxCounters;

const ETHERNET: u32 = 14;
/// Smallest payload per segment: a real stack never goes below (`TCP_MIN_SND_MSS` of Linux).
const MIN_SEGMENT: u64 = 48;

const NEEDS: u64 = sys::SHUNT_TX_L4_MASK | sys::SHUNT_TX_TCP_SEG | sys::SHUNT_TX_UDP_SEG;

/// Moves the good frames to the front and frees the others; returns how many are good.
///
/// # Safety
/// Each slot holds an exclusively owned, well-formed chain. Afterwards only the first so many do.
#[inline]
pub(super) unsafe fn keep_good(slots: &mut [*mut sys::rte_mbuf], counters: &RxCounters) -> usize {
    let mut good = 0;
    for index in 0..slots.len() {
        // SAFETY: the slot holds a live frame, per the contract.
        let frame = unsafe { &*slots[index] };
        let counter = if frame.pkt_len < ETHERNET || u32::from(frame.data_len) < ETHERNET {
            &counters.short
        } else if frame.pkt_len > LONGEST {
            &counters.too_long
        } else if frame.ol_flags & NEEDS != 0 && !offload_fits(frame) {
            &counters.bad_offload
        } else {
            slots[good] = slots[index];
            good += 1;
            continue;
        };
        counter.add(1);
        // SAFETY: owned by us per the contract, and no longer referred to by a kept slot.
        unsafe { sys::rte_pktmbuf_free_bulk(&mut slots[index], 1) };
    }
    counters.frames.add(good);
    good
}

fn offload_fits(frame: &sys::rte_mbuf) -> bool {
    // SAFETY: the integer view of a union of plain bit fields; every pattern is valid.
    let fields = unsafe { frame.__bindgen_anon_3.tx_offload };
    let (l2, l3, l4) = (fields & 0x7f, fields >> 7 & 0x1ff, fields >> 16 & 0xff);
    let segment = fields >> 24 & 0xffff;
    if l3 < 20 {
        return false;
    }
    let flags = frame.ol_flags;
    let checksum_end = match flags & sys::SHUNT_TX_L4_MASK {
        sys::SHUNT_TX_TCP_CKSUM => 18,
        sys::SHUNT_TX_UDP_CKSUM => 8,
        0 => 0,
        // SCTP checksums are never offered to a guest.
        _ => return false,
    };
    if l2 + l3 + checksum_end > u64::from(frame.data_len) {
        return false;
    }
    if flags & sys::SHUNT_TX_UDP_SEG != 0 {
        return false;
    }
    if flags & sys::SHUNT_TX_TCP_SEG != 0 {
        let headers = l2 + l3 + l4;
        return l4 >= 20 && headers < u64::from(frame.pkt_len) && segment >= MIN_SEGMENT;
    }
    true
}
