//! Keeps the library from spoiling the checksum field of an unfinished frame.
//!
//! A frame with an unfinished checksum carries the sum of its pseudo header in the checksum field; virtio wants just that
//! (virtio 1.1, 5.1.6.2). The library computes it again on its way to the guest, in the form that NICs want
//! (`rte_net_intel_cksum_prepare`): without the length for TCP segmentation, and with the wrong protocol behind IPv6
//! extension headers. A guest that only terminates connections does not look; one that routes, sends wrong checksums.
//! The library leaves frames alone whose headers are not all in the first segment. So the headers up to the IP header
//! are put in a segment of their own for the time of the call.
//!
//! Cost: a test per frame for guests that take unfinished checksums; a buffer and a copy of some 40 bytes for each frame
//! to be segmented, which is up to 64 KiB long.

use std::ptr::NonNull;

use crate::sys;

/// Frames at a time: bits of what [`take`] returns.
pub(super) const MOST: usize = 32;

const IPV6_HEADER: u64 = 40;

/// Takes apart those of `frames` that need it; bit `n` of the result is set for frame `n`. Without buffers a frame stays as
/// it is.
///
/// # Safety
/// Each slot holds an exclusively owned, well-formed chain; at most [`MOST`] of them.
#[inline]
pub(super) unsafe fn take(frames: &mut [*mut sys::rte_mbuf]) -> u32 {
    let mut taken = 0;
    for (index, slot) in frames.iter_mut().enumerate() {
        // SAFETY: a live frame, per the contract.
        let frame = unsafe { &**slot };
        // SAFETY: the integer view of a union of plain bit fields; every pattern is valid.
        let fields = unsafe { frame.__bindgen_anon_3.tx_offload };
        let extended = frame.ol_flags & sys::SHUNT_TX_IPV6 != 0 && fields >> 7 & 0x1ff != IPV6_HEADER;
        let needs = frame.ol_flags & sys::SHUNT_TX_TCP_SEG != 0
            || frame.ol_flags & sys::SHUNT_TX_L4_MASK != 0 && extended;
        // SAFETY: as for this function.
        if needs && unsafe { split(slot) } {
            taken |= 1 << index;
        }
    }
    taken
}

/// Undoes [`take`] for frames that were not sent.
///
/// # Safety
/// Bit `n` of `taken` is set only for frames that `take` has taken apart and nobody has touched since.
pub(super) unsafe fn join(frames: &mut [*mut sys::rte_mbuf], taken: u32) {
    for (_, slot) in frames.iter_mut().enumerate().filter(|(index, _)| taken & 1 << index != 0) {
        let mut head = *slot;
        // SAFETY: `split` made the chain: a head of our own and the frame as it was, with its start moved.
        unsafe {
            let tail = (*head).next;
            (*tail).data_off -= (*head).data_len;
            (*tail).data_len += (*head).data_len;
            *slot = tail;
            (*head).next = std::ptr::null_mut();
            (*head).nb_segs = 1;
            sys::rte_pktmbuf_free_bulk(&mut head, 1);
        }
    }
}

/// Puts link and IP header in a segment of their own; false, and no change, when it is not needed or not possible.
///
/// # Safety
/// The slot holds an exclusively owned, well-formed chain.
unsafe fn split(slot: &mut *mut sys::rte_mbuf) -> bool {
    // SAFETY: a live frame that we own.
    let frame = unsafe { &mut **slot };
    // SAFETY: as in `take`.
    let fields = unsafe { frame.__bindgen_anon_3.tx_offload };
    let count = (fields & 0x7f) + (fields >> 7 & 0x1ff);
    if u64::from(frame.data_len) <= count + (fields >> 16 & 0xff) {
        return false;
    }
    let count = count as u16;
    let mut head = std::ptr::null_mut();
    // SAFETY: a frame's pool lives for ever; one pointer is written on success.
    if unsafe { sys::shunt_pktmbuf_alloc_bulk(frame.pool, &mut head, 1) } != 0 {
        return false;
    }
    // SAFETY: a freshly allocated buffer is ours alone.
    let Some(head) = NonNull::new(head).map(|head| unsafe { &mut *head.as_ptr() }) else { return false };
    if head.buf_len - head.data_off < count {
        let mut head: *mut sys::rte_mbuf = head;
        // SAFETY: still ours alone.
        unsafe { sys::rte_pktmbuf_free_bulk(&mut head, 1) };
        return false;
    }
    // SAFETY: `count` bytes are in the first segment of the frame and fit into the new buffer, which is another one.
    unsafe {
        let from = frame.buf_addr.cast::<u8>().add(usize::from(frame.data_off));
        std::ptr::copy_nonoverlapping(
            from,
            head.buf_addr.cast::<u8>().add(usize::from(head.data_off)),
            usize::from(count),
        );
    }
    head.data_len = count;
    head.pkt_len = frame.pkt_len;
    head.nb_segs = frame.nb_segs + 1;
    head.ol_flags = frame.ol_flags & !sys::SHUNT_MBUF_ATTACHED;
    head.__bindgen_anon_3.tx_offload = fields;
    head.next = frame;
    frame.data_off += count;
    frame.data_len -= count;
    *slot = head;
    true
}
