//! Receiving from a TAP or TUN queue: one `readv` for each frame.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::TapMode;
use crate::burst::{Burst, MAX_BURST};
use crate::kernel::headers::{ETHERNET, IPV4, IPV6};
use crate::kernel::landing::{Landing, Pools};
use crate::kernel::vnet_hdr::{Applied, VnetHdr};
use crate::kernel::{BURST_BYTES, Gone, RxStatistics};
use crate::mbuf::Mbuf;

/// One receive queue. Level-triggered: [`TapRxQueue::wake_fd`] is readable while frames wait.
#[derive(Debug)]
pub struct TapRxQueue {
    queue: Arc<OwnedFd>,
    mode: TapMode,
    landing: Landing,
    statistics: RxStatistics,
}

impl TapRxQueue {
    pub(super) fn new(queue: Arc<OwnedFd>, mode: TapMode, pools: Pools) -> Self {
        Self {
            queue,
            mode,
            landing: Landing::new(pools, VnetHdr::TUN_LEN),
            statistics: RxStatistics::default(),
        }
    }

    /// Appends up to `max` received frames to `burst`; returns how many. Ends early after [`BURST_BYTES`].
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst, max: usize) -> Result<usize, Gone> {
        let before = burst.len();
        let mut bytes = 0;
        // Dropped frames count: a pod cannot hold the worker here with bad ones.
        for _ in 0..max.min(MAX_BURST - before) {
            if bytes >= BURST_BYTES {
                break;
            }
            if !self.landing.refill() {
                self.statistics.no_buffer += 1;
                break;
            }
            match self.read() {
                Ok(length) => {
                    bytes += length;
                    match self.finish(length) {
                        // There is room: no more was asked for. A frame without room would be freed here.
                        Some(frame) => drop(burst.push(frame)),
                        None => self.statistics.undecodable += 1,
                    }
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => break,
                    Some(libc::EINTR) => {}
                    // The frame did not fit and is gone.
                    Some(libc::EFAULT | libc::EINVAL) => self.statistics.truncated += 1,
                    _ if burst.len() > before => break,
                    Some(libc::EIO | libc::ENETDOWN) => return Err(Gone::Down),
                    _ => return Err(Gone::Deleted),
                },
            }
        }
        Ok(burst.len() - before)
    }

    /// Bytes of the next frame, header included, now in the landing.
    #[inline]
    fn read(&mut self) -> io::Result<usize> {
        let iovecs = self.landing.iovecs();
        // SAFETY: the list's pointers lead to the landing's buffers and header, which stay where they are.
        let count =
            unsafe { libc::readv(self.queue.as_raw_fd(), iovecs.as_ptr(), iovecs.len() as libc::c_int) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    #[inline]
    fn finish(&mut self, length: usize) -> Option<Mbuf> {
        let header = self.landing.header();
        let mut frame = self.landing.take(length.checked_sub(VnetHdr::TUN_LEN)?)?;
        let shift = match self.mode {
            TapMode::Tap => 0,
            TapMode::Tun => {
                add_ethernet(&mut frame)?;
                ETHERNET as u16
            }
        };
        match header.apply(&mut frame, shift) {
            Ok(Applied::Carried) => {}
            Ok(Applied::Completed) => self.statistics.completed += 1,
            // Not among the offloads agreed on.
            Ok(Applied::MustCut { .. }) | Err(_) => return None,
        }
        Some(frame)
    }

    /// The descriptor that is readable while frames wait. When the interface was deleted it signals an error for ever:
    /// take it out of the poll set on [`Gone::Deleted`].
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// Counters of this queue.
    pub fn statistics(&self) -> RxStatistics {
        self.statistics
    }
}

/// Puts an Ethernet header with zero addresses in front of an IP packet, in the buffer's headroom. `None` when it is
/// neither IPv4 nor IPv6.
fn add_ethernet(frame: &mut Mbuf) -> Option<()> {
    let ethertype = match frame.data().first()? >> 4 {
        4 => IPV4,
        6 => IPV6,
        _ => return None,
    };
    let data = frame.prepend(ETHERNET as u16)?;
    data[..ETHERNET - 2].fill(0);
    data[ETHERNET - 2..ETHERNET].copy_from_slice(&ethertype.to_be_bytes());
    Some(())
}
