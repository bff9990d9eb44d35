//! Receiving from an interface: up to [`BATCH`] frames by one `recvmmsg`.

use std::collections::VecDeque;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use libc::{c_uint, mmsghdr, msghdr};

use super::tag::{self, Control, TAG};
use crate::burst::{Burst, MAX_BURST};
use crate::kernel::landing::{Landing, Pools};
use crate::kernel::link::Interface;
use crate::kernel::tunnel::Cutter;
use crate::kernel::vnet_hdr::{Applied, VnetHdr};
use crate::kernel::{BURST_BYTES, Gone, RxStatistics};
use crate::mbuf::Mbuf;

/// Frames fetched by one system call at most. More gain nothing (a 64-byte frame costs the kernel far more than its
/// share of a system call), and each holds buffers for [`crate::kernel::MAX_FRAME`] bytes.
const BATCH: usize = 4;

/// One receive queue. Level-triggered: [`PacketRxQueue::wake_fd`] is readable while frames wait.
#[derive(Debug)]
pub struct PacketRxQueue {
    socket: Arc<OwnedFd>,
    interface: Arc<Interface>,
    pools: Pools,
    landings: Vec<Landing>,
    /// Fetched and not yet returned: a frame to be cut, which may be more frames than a burst has room for, and what
    /// was fetched with it. Mostly empty; nothing is fetched until it is.
    waiting: VecDeque<Landed>,
    statistics: RxStatistics,
}

/// A good frame.
#[derive(Debug)]
enum Landed {
    Whole(Mbuf),
    ToCut(Cutter),
}

/// What one system call gave, bad frames included.
struct Fetched {
    frames: usize,
    bytes: usize,
}

impl PacketRxQueue {
    pub(super) fn new(socket: Arc<OwnedFd>, interface: Arc<Interface>, pools: Pools) -> Self {
        let landings = (0..BATCH).map(|_| Landing::new(pools, VnetHdr::PACKET_LEN)).collect();
        let waiting = VecDeque::with_capacity(BATCH);
        Self { socket, interface, pools, landings, waiting, statistics: RxStatistics::default() }
    }

    /// Appends up to `max` received frames to `burst`; returns how many. Ends early after [`BURST_BYTES`].
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst, max: usize) -> Result<usize, Gone> {
        self.interface.usable()?;
        let before = burst.len();
        let room = max.min(MAX_BURST - before);
        if !self.waiting.is_empty() {
            self.empty_waiting(burst, before + room);
        }
        let (mut fetched, mut bytes) = (burst.len() - before, 0);
        // Dropped frames count as fetched: a pod cannot hold the worker here with bad ones.
        while fetched < room && bytes < BURST_BYTES && self.waiting.is_empty() {
            let wanted = (room - fetched).min(BATCH);
            let ready = self.landings[..wanted]
                .iter_mut()
                .map_while(|landing| landing.refill().then_some(()))
                .count();
            if ready < wanted {
                self.statistics.no_buffer += 1;
                if ready == 0 {
                    break;
                }
            }
            match self.fetch(burst, ready) {
                Ok(got) => {
                    fetched += got.frames;
                    bytes += got.bytes;
                    if !self.waiting.is_empty() {
                        self.empty_waiting(burst, before + room);
                        fetched = fetched.max(burst.len() - before);
                    }
                    if got.frames < ready {
                        break;
                    }
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    // The frame is gone from the kernel's queue: it was to be cut in a way that the header cannot say.
                    Some(libc::EINVAL) => {
                        self.statistics.undecodable += 1;
                        fetched += 1;
                    }
                    Some(libc::EAGAIN) => break,
                    _ if burst.len() > before => break,
                    _ => {
                        self.interface.examine()?;
                        break;
                    }
                },
            }
        }
        Ok(burst.len() - before)
    }

    /// Reads up to `ready` frames by one system call and appends the good ones.
    #[inline]
    fn fetch(&mut self, burst: &mut Burst, ready: usize) -> io::Result<Fetched> {
        let mut messages: [MaybeUninit<mmsghdr>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
        let mut controls: [MaybeUninit<Control>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
        for ((message, control), landing) in
            messages.iter_mut().zip(&mut controls).zip(&mut self.landings[..ready])
        {
            let iovecs = landing.iovecs();
            message.write(mmsghdr {
                msg_hdr: msghdr {
                    msg_name: std::ptr::null_mut(),
                    msg_namelen: 0,
                    msg_iov: iovecs.as_mut_ptr(),
                    msg_iovlen: iovecs.len(),
                    msg_control: control.as_mut_ptr().cast(),
                    msg_controllen: size_of::<Control>(),
                    msg_flags: 0,
                },
                msg_len: 0,
            });
        }
        // SAFETY: the first `ready` messages are complete; their pointers lead to landings and controls that stay where
        // they are during the call. No timeout is given.
        let count = unsafe {
            let first = messages.as_mut_ptr().cast::<mmsghdr>();
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                first,
                ready as c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let mut fetched = Fetched { frames: count, bytes: 0 };
        for (index, message) in messages[..count].iter().enumerate() {
            // SAFETY: written above, and updated by the kernel.
            let message = unsafe { message.assume_init_ref() };
            // SAFETY: the kernel filled as much of the control as `msg_controllen` says; `removed` checks it.
            let tag = unsafe { tag::removed(&message.msg_hdr) };
            fetched.bytes += message.msg_len as usize;
            match self.finish(index, message, tag) {
                // There is room: no more was asked for. A frame without room would be freed here.
                Some(Landed::Whole(frame)) if self.waiting.is_empty() => drop(burst.push(frame)),
                Some(landed) => self.waiting.push_back(landed),
                None => {}
            }
        }
        Ok(fetched)
    }

    /// Moves frames that wait to `burst` until it has `limit` frames, cutting those that must be.
    #[cold]
    fn empty_waiting(&mut self, burst: &mut Burst, limit: usize) {
        while burst.len() < limit {
            let frame = match self.waiting.front_mut() {
                Some(Landed::ToCut(cutter)) if !cutter.is_done() => match cutter.next(self.pools) {
                    Some(frame) => frame,
                    None => {
                        self.statistics.no_buffer += 1;
                        return;
                    }
                },
                Some(_) => match self.waiting.pop_front() {
                    Some(Landed::Whole(frame)) => frame,
                    Some(Landed::ToCut(_)) | None => continue,
                },
                None => return,
            };
            drop(burst.push(frame));
        }
    }

    /// Turns what landed into a frame; `None`, and counted, when it is no good.
    #[inline]
    fn finish(&mut self, index: usize, message: &mmsghdr, tag: Option<[u8; 4]>) -> Option<Landed> {
        let landing = &mut self.landings[index];
        if message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            self.statistics.truncated += 1;
            return None;
        }
        let length = (message.msg_len as usize).checked_sub(VnetHdr::PACKET_LEN);
        let header = landing.header();
        let frame = length.and_then(|length| landing.take(length)).and_then(|mut frame| {
            let shift = match tag {
                Some(tag) => {
                    tag::insert(&mut frame, tag)?;
                    TAG
                }
                None => 0,
            };
            match header.apply(&mut frame, shift).ok()? {
                Applied::Carried => {}
                Applied::Completed => self.statistics.completed += 1,
                Applied::MustCut { start, offset, gso } => {
                    let cutter = Cutter::new(frame, start, offset, gso).ok()?;
                    self.statistics.cut += 1;
                    return Some(Landed::ToCut(cutter));
                }
            }
            Some(Landed::Whole(frame))
        });
        self.statistics.undecodable += u64::from(frame.is_none());
        frame
    }

    /// The descriptor that is readable while frames wait in the kernel, or while an error waits to be returned by
    /// `receive`. Before sleeping on it, receive until nothing comes: the queue may hold pieces of a frame it cut.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Counters of this queue.
    pub fn statistics(&self) -> RxStatistics {
        self.statistics
    }
}
