//! Sending to a TAP or TUN queue: one `writev` for each frame.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use super::TapMode;
use crate::burst::Burst;
use crate::kernel::gather::{Gather, MAX_SEGMENTS, Refusal};
use crate::kernel::headers::{ETHERNET, IPV4, IPV6};
use crate::kernel::vnet_hdr::VnetHdr;
use crate::kernel::{Gone, Sent, TxStatistics};
use crate::mbuf::Mbuf;

/// A transmit queue; clones send through the same descriptor, which the kernel locks.
#[derive(Clone, Debug)]
pub struct TapTxQueue {
    queue: Arc<OwnedFd>,
    mode: TapMode,
    statistics: TxStatistics,
}

impl TapTxQueue {
    pub(super) fn new(queue: Arc<OwnedFd>, mode: TapMode) -> Self {
        Self { queue, mode, statistics: TxStatistics::default() }
    }

    /// Sends from the front of `burst`. Frames for which the kernel has no room now stay in it; frames that can never
    /// be sent are freed and reported as refused. An error leaves the burst as it is.
    pub fn transmit(&mut self, burst: &mut Burst) -> Result<Sent, Gone> {
        let mut done = Sent::default();
        let outcome = self.send_all(burst, &mut done);
        burst.free_front(done.sent + done.refused);
        match outcome {
            Err(gone) if done == Sent::default() => Err(gone),
            _ => Ok(done),
        }
    }

    fn send_all(&mut self, frames: &[Mbuf], done: &mut Sent) -> Result<(), Gone> {
        for frame in frames {
            let outcome = loop {
                match self.send(frame) {
                    Err(Failure::System(error)) if error.raw_os_error() == Some(libc::EINTR) => {}
                    outcome => break outcome,
                }
            };
            let refusal = match outcome {
                Ok(()) => {
                    done.sent += 1;
                    continue;
                }
                Err(Failure::Refused(refusal)) => refusal,
                Err(Failure::System(error)) => match error.raw_os_error() {
                    Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                        self.statistics.full += 1;
                        return Ok(());
                    }
                    Some(libc::EIO | libc::ENETDOWN) => return Err(Gone::Down),
                    Some(libc::EBADFD | libc::EBADF | libc::ENODEV | libc::ENXIO) => {
                        return Err(Gone::Deleted);
                    }
                    _ => Refusal::ByKernel,
                },
            };
            self.statistics.count(refusal);
            done.refused += 1;
        }
        Ok(())
    }

    #[inline]
    fn send(&self, frame: &Mbuf) -> Result<(), Failure> {
        let strip = match self.mode {
            TapMode::Tap => 0,
            TapMode::Tun if is_ip(frame.data()) => ETHERNET,
            TapMode::Tun => return Err(Failure::Refused(Refusal::NotIp)),
        };
        if usize::from(frame.segment_count()) > MAX_SEGMENTS {
            return Err(Failure::Refused(Refusal::TooManySegments));
        }
        let header = VnetHdr::of(frame, strip as u16).map_err(|_| Failure::Refused(Refusal::BadOffload))?;
        let mut gather = Gather::<1>::new();
        if !gather.add(frame, strip, header) {
            return Err(Failure::Refused(Refusal::TooManySegments));
        }
        let mut outcome = 0;
        gather.lists(VnetHdr::TUN_LEN, |_, first, count| {
            // SAFETY: a complete list whose entries lead to the frame's segments and the gather's header, all of which
            // stay where they are; the kernel only reads from them.
            outcome = unsafe { libc::writev(self.queue.as_raw_fd(), first, count as libc::c_int) };
        });
        // A frame is written whole or not at all.
        if outcome < 0 { Err(Failure::System(io::Error::last_os_error())) } else { Ok(()) }
    }

    /// Counters of this handle.
    pub fn statistics(&self) -> TxStatistics {
        self.statistics
    }
}

enum Failure {
    Refused(Refusal),
    System(io::Error),
}

/// True for an untagged Ethernet frame with at least the first byte of an IP packet.
fn is_ip(data: &[u8]) -> bool {
    let ethertype = data.get(ETHERNET - 2..ETHERNET).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    data.len() > ETHERNET && matches!(ethertype, Some(IPV4 | IPV6))
}
