//! Sending to an interface: up to [`BATCH`] frames by one `sendmmsg`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use libc::{c_uint, iovec, mmsghdr, msghdr};

use crate::burst::Burst;
use crate::kernel::gather::{Gather, MAX_SEGMENTS, Refusal};
use crate::kernel::link::Interface;
use crate::kernel::vnet_hdr::VnetHdr;
use crate::kernel::{Gone, Sent, TxStatistics};
use crate::mbuf::Mbuf;

/// Frames handed over by one system call at most.
const BATCH: usize = 16;

/// A transmit queue; clones send through the same socket, which the kernel locks.
#[derive(Clone, Debug)]
pub struct PacketTxQueue {
    socket: Arc<OwnedFd>,
    interface: Arc<Interface>,
    uso: bool,
    statistics: TxStatistics,
}

impl PacketTxQueue {
    pub(super) fn new(socket: Arc<OwnedFd>, interface: Arc<Interface>, uso: bool) -> Self {
        Self { socket, interface, uso, statistics: TxStatistics::default() }
    }

    /// Takes large UDP sends whole (`VIRTIO_NET_HDR_GSO_UDP_L4`, since Linux 6.2).
    #[inline]
    pub fn uso(&self) -> bool {
        self.uso
    }

    /// Sends from the front of `burst`. Frames for which the kernel has no room now stay in it; frames that can never
    /// be sent are freed and reported as refused. An error leaves the burst as it is.
    pub fn transmit(&mut self, burst: &mut Burst) -> Result<Sent, Gone> {
        self.interface.usable()?;
        let mut done = Sent::default();
        let outcome = self.send_all(burst, &mut done);
        burst.free_front(done.sent + done.refused);
        match outcome {
            Err(gone) if done == Sent::default() => Err(gone),
            _ => Ok(done),
        }
    }

    fn send_all(&mut self, frames: &[Mbuf], done: &mut Sent) -> Result<(), Gone> {
        while let Some(rest) = frames.get(done.sent + done.refused..)
            && !rest.is_empty()
        {
            let mut gather = Gather::new();
            let refusal = fill(&mut gather, rest);
            if gather.len() == 0 {
                if let Some(refusal) = refusal {
                    self.statistics.count(refusal);
                    done.refused += 1;
                }
                continue;
            }
            match send(&self.socket, &mut gather) {
                Ok(count) => done.sent += count,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                        self.statistics.full += 1;
                        return Ok(());
                    }
                    Some(libc::ENXIO | libc::ENODEV) => return Err(self.interface.deleted()),
                    Some(libc::ENETDOWN) => self.interface.examine()?,
                    // The first frame of the batch is at fault: `sendmmsg` reports an error only for that one.
                    _ => {
                        self.statistics.count(Refusal::ByKernel);
                        done.refused += 1;
                    }
                },
            }
        }
        Ok(())
    }

    /// Counters of this handle.
    pub fn statistics(&self) -> TxStatistics {
        self.statistics
    }
}

/// Adds frames up to the first that does not fit or cannot be sent; returns what is wrong with that one, if anything.
#[inline]
fn fill(gather: &mut Gather<BATCH>, frames: &[Mbuf]) -> Option<Refusal> {
    for frame in frames {
        if usize::from(frame.segment_count()) > MAX_SEGMENTS {
            return Some(Refusal::TooManySegments);
        }
        let Ok(header) = VnetHdr::of(frame, 0) else {
            return Some(Refusal::BadOffload);
        };
        if !gather.add(frame, 0, header) {
            return None;
        }
    }
    None
}

#[inline]
fn send(socket: &OwnedFd, gather: &mut Gather<BATCH>) -> io::Result<usize> {
    let mut messages: [MaybeUninit<mmsghdr>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
    gather.lists(VnetHdr::PACKET_LEN, |index, first: *mut iovec, count| {
        messages[index].write(mmsghdr {
            msg_hdr: msghdr {
                msg_name: std::ptr::null_mut(),
                msg_namelen: 0,
                msg_iov: first,
                msg_iovlen: count,
                msg_control: std::ptr::null_mut(),
                msg_controllen: 0,
                msg_flags: 0,
            },
            msg_len: 0,
        });
    });
    // SAFETY: as many messages are complete as the gather holds frames; it and the frames stay where they are during
    // the call, and the kernel only reads from them.
    let count = unsafe {
        let first = messages.as_mut_ptr().cast::<mmsghdr>();
        libc::sendmmsg(socket.as_raw_fd(), first, gather.len() as c_uint, libc::MSG_DONTWAIT)
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
