//! Frames on their way into the kernel: gather lists of their segments behind virtio-net headers, on the stack.

use std::mem::MaybeUninit;

use libc::iovec;

use super::vnet_hdr::VnetHdr;
use crate::mbuf::Mbuf;

/// Segments a frame may have to be sent whole; a frame with more is refused and counted. Enough for the longest frame of
/// a vhost-user guest in the smallest buffers that can be configured (1,024 bytes: 65), and a header put in front of it.
pub const MAX_SEGMENTS: usize = 66;

/// Entries for the longest frame and its header several times over, or for a batch of ordinary ones.
const ENTRIES: usize = 4 * (1 + MAX_SEGMENTS);

/// Why a frame can never be sent on this port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// More than [`MAX_SEGMENTS`] segments.
    TooManySegments,
    /// Its offload state does not fit it.
    BadOffload,
    /// A frame that is not IP, on a port without Ethernet headers.
    NotIp,
    /// The kernel did not take it: too long for the interface, or it found the offload state wrong.
    ByKernel,
}

/// Gather lists of up to `FRAMES` frames, one behind the other. The frames must outlive the use of the lists.
pub(crate) struct Gather<const FRAMES: usize> {
    entries: [MaybeUninit<iovec>; ENTRIES],
    headers: [MaybeUninit<VnetHdr>; FRAMES],
    /// Where the list of each frame begins, and, one further, where the last one ends.
    starts: [MaybeUninit<u16>; FRAMES],
    frames: usize,
    used: usize,
}

impl<const FRAMES: usize> Gather<FRAMES> {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            entries: [const { MaybeUninit::uninit() }; ENTRIES],
            headers: [const { MaybeUninit::uninit() }; FRAMES],
            starts: [const { MaybeUninit::uninit() }; FRAMES],
            frames: 0,
            used: 0,
        }
    }

    /// Frames added.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.frames
    }

    /// Adds a frame without its first `strip` bytes. False when there is no room left: send what is there first.
    /// An empty gather has room for every frame that [`super::MAX_SEGMENTS`] allows.
    #[inline]
    pub(crate) fn add(&mut self, frame: &Mbuf, strip: usize, header: VnetHdr) -> bool {
        let end = self.used + 1 + usize::from(frame.segment_count());
        if self.frames == FRAMES || end > ENTRIES {
            return false;
        }
        self.headers[self.frames].write(header);
        self.starts[self.frames].write(self.used as u16);
        let mut skip = strip;
        for (entry, segment) in self.entries[self.used + 1..end].iter_mut().zip(frame.segments()) {
            let taken = skip.min(segment.len());
            skip -= taken;
            let bytes = &segment[taken..];
            entry.write(iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        }
        self.used = end;
        self.frames += 1;
        true
    }

    /// Puts `header_len` bytes of header in front of each list and gives the lists to `each` as (first, count), in
    /// order. They stay valid until the gather is used again or moved; the kernel only reads through them.
    #[inline]
    pub(crate) fn lists(&mut self, header_len: usize, mut each: impl FnMut(usize, *mut iovec, usize)) {
        let entries: *mut iovec = self.entries.as_mut_ptr().cast();
        let headers: *mut VnetHdr = self.headers.as_mut_ptr().cast();
        for frame in 0..self.frames {
            // SAFETY: `add` wrote the header and the start of each of the first `frames` frames; starts are ascending
            // and at most `used`, which is at most `ENTRIES`, so every pointer stays inside its array.
            unsafe {
                let start = usize::from(self.starts[frame].assume_init());
                let end = if frame + 1 < self.frames {
                    usize::from(self.starts[frame + 1].assume_init())
                } else {
                    self.used
                };
                let first = entries.add(start);
                first.write(iovec { iov_base: headers.add(frame).cast(), iov_len: header_len });
                each(frame, first, end - start);
            }
        }
    }
}
