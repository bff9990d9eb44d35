//! vhost-user messages on a Unix socket (QEMU's `docs/interop/vhost-user.rst`): a 12-byte header, a payload, descriptors.
//!
//! Control thread only. The other end may be hostile: sizes are bounded, a message has to be complete within a
//! deadline, descriptors are owned from the moment they arrive, and nothing here waits without watching `nudge`.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Requests we know, by their number in the protocol.
pub(super) mod request {
    pub(in super::super) const GET_FEATURES: u32 = 1;
    pub(in super::super) const SET_FEATURES: u32 = 2;
    pub(in super::super) const SET_OWNER: u32 = 3;
    pub(in super::super) const RESET_OWNER: u32 = 4;
    pub(in super::super) const SET_MEM_TABLE: u32 = 5;
    pub(in super::super) const SET_LOG_BASE: u32 = 6;
    pub(in super::super) const SET_LOG_FD: u32 = 7;
    pub(in super::super) const SET_VRING_NUM: u32 = 8;
    pub(in super::super) const SET_VRING_ADDR: u32 = 9;
    pub(in super::super) const SET_VRING_BASE: u32 = 10;
    pub(in super::super) const GET_VRING_BASE: u32 = 11;
    pub(in super::super) const SET_VRING_KICK: u32 = 12;
    pub(in super::super) const SET_VRING_CALL: u32 = 13;
    pub(in super::super) const SET_VRING_ERR: u32 = 14;
    pub(in super::super) const GET_PROTOCOL_FEATURES: u32 = 15;
    pub(in super::super) const SET_PROTOCOL_FEATURES: u32 = 16;
    pub(in super::super) const GET_QUEUE_NUM: u32 = 17;
    pub(in super::super) const SET_VRING_ENABLE: u32 = 18;
    pub(in super::super) const SEND_RARP: u32 = 19;
    pub(in super::super) const NET_SET_MTU: u32 = 20;
    pub(in super::super) const SET_STATUS: u32 = 39;
    pub(in super::super) const GET_STATUS: u32 = 40;
}

/// Header flag: this is an answer.
const REPLY: u32 = 1 << 2;
/// Header flag: the sender wants to know how it went (`VHOST_USER_PROTOCOL_F_REPLY_ACK`).
pub(super) const NEED_REPLY: u32 = 1 << 3;
const VERSION: u32 = 1;

const HEADER: usize = 12;
/// The largest payload of the requests we know: a memory table of 8 regions.
pub(super) const MAX_PAYLOAD: usize = 8 + MAX_FDS * 32;
/// `VHOST_MEMORY_MAX_NREGIONS`.
pub(super) const MAX_FDS: usize = 8;

/// Room for as many descriptors as one message can carry (`SCM_MAX_FD`, 253).
const CONTROL_WORDS: usize = (16 + 253 * 4) / 8 + 1;

/// From the first byte of a message to its last; front ends send a message in one piece.
const MESSAGE_TIME: Duration = Duration::from_millis(500);

/// One message.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) request: u32,
    pub(super) flags: u32,
    pub(super) payload: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

impl Message {
    pub(super) fn wants_reply(&self) -> bool {
        self.flags & NEED_REPLY != 0
    }

    /// The answer to this message.
    pub(super) fn answer(&self, payload: Vec<u8>) -> Message {
        Message { request: self.request, flags: VERSION | REPLY, payload, fds: Vec::new() }
    }

    /// The 32-bit word at byte `at` of the payload.
    pub(super) fn u32_at(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }

    /// The 64-bit word at byte `at` of the payload.
    pub(super) fn u64_at(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(self.payload.get(at..at + 8)?.try_into().ok()?))
    }
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the other side closed")]
    Closed,
    #[error("the port is being closed")]
    Nudged,
    #[error("a message was not complete in time")]
    Slow,
    #[error("message {request} of {size} bytes with {fds} descriptors is malformed")]
    Malformed { request: u32, size: usize, fds: usize },
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for WireError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// Waits until `fd` has one of `events` (or hung up). An error when `nudge` was raised or time is over.
pub(super) fn wait(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    nudge: BorrowedFd<'_>,
    until: Option<Instant>,
) -> Result<(), WireError> {
    loop {
        let timeout = match until {
            None => PollTimeout::NONE,
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = [PollFd::new(fd, events), PollFd::new(nudge, PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
            Ok(_) => {}
        }
        if fds[1].any().unwrap_or(false) {
            return Err(WireError::Nudged);
        }
        if fds[0].any().unwrap_or(true) {
            return Ok(());
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(WireError::Slow);
        }
    }
}

/// Receives one message. `until`: when its first byte has to be there.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    nudge: BorrowedFd<'_>,
    until: Option<Instant>,
) -> Result<Message, WireError> {
    wait(socket, PollFlags::POLLIN, nudge, until)?;
    let until = Instant::now() + MESSAGE_TIME;
    let mut fds = Vec::new();
    let mut header = [0; HEADER];
    fill(socket, nudge, until, &mut header, &mut fds)?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (request, flags, size) = (word(0), word(4), word(8) as usize);
    if size > MAX_PAYLOAD || flags & 3 != VERSION {
        return Err(WireError::Malformed { request, size, fds: fds.len() });
    }
    let mut payload = vec![0; size];
    fill(socket, nudge, until, &mut payload, &mut fds)?;
    if fds.len() > MAX_FDS {
        return Err(WireError::Malformed { request, size, fds: fds.len() });
    }
    Ok(Message { request, flags, payload, fds })
}

fn fill(
    socket: BorrowedFd<'_>,
    nudge: BorrowedFd<'_>,
    until: Instant,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> Result<(), WireError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match receive_part(socket, &mut buffer[filled..], fds) {
            Ok(0) => return Err(WireError::Closed),
            Ok(count) => filled += count,
            Err(Errno::EAGAIN) => wait(socket, PollFlags::POLLIN, nudge, Some(until))?,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// `recvmsg` that owns every descriptor it is given, also when there are too many of them or the process has too few
/// (where `nix` gives an error and leaves them open).
fn receive_part(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // 8-byte words, because control messages are aligned to them.
    let mut control = [0_u64; CONTROL_WORDS];
    // SAFETY: plain integers and pointers; all zero is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the message points to a buffer and a control buffer that live past the call.
    let count = unsafe {
        libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT)
    };
    let count = Errno::result(count)?;
    // SAFETY: the kernel has filled the control buffer as the message says.
    let mut item = unsafe { libc::CMSG_FIRSTHDR(&message) };
    // SAFETY: null or a control message within the control buffer, complete to its own length.
    while let Some(head) = unsafe { item.as_ref() } {
        if (head.cmsg_level, head.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: computes the size of an empty control message.
            let bytes = head.cmsg_len - unsafe { libc::CMSG_LEN(0) } as usize;
            for index in 0..bytes / size_of::<RawFd>() {
                // SAFETY: the payload holds so many descriptors, which the kernel has just installed for us alone.
                fds.push(unsafe {
                    OwnedFd::from_raw_fd(libc::CMSG_DATA(item).cast::<RawFd>().add(index).read_unaligned())
                });
            }
        }
        // SAFETY: as for the first.
        item = unsafe { libc::CMSG_NXTHDR(&message, item) };
    }
    Ok(count as usize)
}

/// Sends one message. A peer that does not read its answers is given up at once: its queue holds hundreds of them.
pub(super) fn send(socket: BorrowedFd<'_>, message: &Message) -> Result<(), WireError> {
    let mut bytes = Vec::with_capacity(HEADER + message.payload.len());
    bytes.extend(message.request.to_le_bytes());
    bytes.extend(message.flags.to_le_bytes());
    bytes.extend((message.payload.len() as u32).to_le_bytes());
    bytes.extend(&message.payload);
    let raw: Vec<RawFd> = message.fds.iter().map(|fd| fd.as_fd().as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let sent = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&bytes)], control, flags, None)?;
    if sent == bytes.len() { Ok(()) } else { Err(WireError::Slow) }
}
