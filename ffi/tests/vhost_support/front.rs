//! A vhost-user front end, just enough to be as polite or as hostile as a test wants.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::{LIMIT, until};

pub(crate) const GET_FEATURES: u32 = 1;
pub(crate) const SET_FEATURES: u32 = 2;
pub(crate) const SET_OWNER: u32 = 3;
pub(crate) const SET_MEM_TABLE: u32 = 5;
pub(crate) const SET_VRING_NUM: u32 = 8;
pub(crate) const SET_VRING_ADDR: u32 = 9;
pub(crate) const SET_VRING_BASE: u32 = 10;
pub(crate) const GET_VRING_BASE: u32 = 11;
pub(crate) const SET_VRING_KICK: u32 = 12;
pub(crate) const SET_VRING_CALL: u32 = 13;
pub(crate) const GET_PROTOCOL_FEATURES: u32 = 15;
pub(crate) const SET_PROTOCOL_FEATURES: u32 = 16;
pub(crate) const GET_QUEUE_NUM: u32 = 17;
pub(crate) const SET_VRING_ENABLE: u32 = 18;
pub(crate) const GET_INFLIGHT_FD: u32 = 31;

/// `VHOST_USER_F_PROTOCOL_FEATURES`.
pub(crate) const PROTOCOL: u64 = 1 << 30;
/// `VIRTIO_F_VERSION_1`.
pub(crate) const VERSION_1: u64 = 1 << 32;
pub(crate) const CSUM: u64 = 1;
pub(crate) const GUEST_CSUM: u64 = 1 << 1;
pub(crate) const GUEST_TSO4: u64 = 1 << 7;
pub(crate) const GUEST_TSO6: u64 = 1 << 8;
pub(crate) const HOST_TSO4: u64 = 1 << 11;
pub(crate) const HOST_TSO6: u64 = 1 << 12;
pub(crate) const MRG_RXBUF: u64 = 1 << 15;
pub(crate) const MQ: u64 = 1 << 22;
pub(crate) const INDIRECT: u64 = 1 << 28;

/// Where the front end says its memory is, as it sees it itself.
pub(crate) const USER: u64 = 0x7000_0000_0000;
/// Size of the guest's memory.
pub(crate) const MEMORY: u64 = 8 << 20;

/// A connection and the memory it shares.
pub(crate) struct FrontEnd {
    pub(crate) socket: UnixStream,
    pub(crate) memory: File,
}

impl FrontEnd {
    /// Connects to a server port.
    pub(crate) fn connect(path: &Path) -> Self {
        let mut socket = None;
        until("listening port", || {
            socket = UnixStream::connect(path).ok();
            socket.is_some()
        });
        Self::over(socket.unwrap())
    }

    /// Uses a connection that a client port has made.
    pub(crate) fn over(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let memory: File = memfd_create("guest", MFdFlags::MFD_CLOEXEC).unwrap().into();
        memory.set_len(MEMORY).unwrap();
        Self { socket, memory }
    }

    /// Sends a message; false when the other side has hung up.
    pub(crate) fn try_send(&self, request: u32, flags: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        let mut bytes = Vec::new();
        for word in [request, 1 | flags, payload.len() as u32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(payload);
        self.raw(&bytes, fds)
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        let raw: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights[..] };
        let parts = [std::io::IoSlice::new(bytes)];
        sendmsg::<()>(self.socket.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None).is_ok()
    }

    /// Sends a request and reads its answer; `None` when the other side has hung up.
    pub(crate) fn try_ask(
        &mut self,
        request: u32,
        flags: u32,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Option<Vec<u8>> {
        if !self.try_send(request, flags, payload, fds) {
            return None;
        }
        let mut header = [0; 12];
        self.socket.read_exact(&mut header).ok()?;
        assert_eq!(
            u32::from_le_bytes(header[..4].try_into().unwrap()),
            request,
            "the answer to another request"
        );
        let mut payload = vec![0; u32::from_le_bytes(header[8..].try_into().unwrap()) as usize];
        self.socket.read_exact(&mut payload).ok()?;
        Some(payload)
    }

    /// Asks for a number.
    pub(crate) fn ask(&mut self, request: u32) -> u64 {
        let answer = self.try_ask(request, 0, &[], &[]).expect("an answer");
        u64::from_le_bytes(answer[..8].try_into().unwrap())
    }

    /// Sends a request and waits until it is done (REPLY_ACK). False when it failed or the other side hung up.
    pub(crate) fn set(&mut self, request: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        self.try_ask(request, 1 << 3, payload, fds).is_some_and(|answer| answer == [0; 8])
    }

    /// Waits until the other side hangs up; false when it says something or the time is over.
    pub(crate) fn is_hung_up(&mut self) -> bool {
        match self.socket.read(&mut [0; 64]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Offers, takes and sets features; gives what was offered.
    pub(crate) fn negotiate(&mut self, features: u64) -> u64 {
        let offered = self.ask(GET_FEATURES);
        assert!(self.set(SET_OWNER, &[], &[]));
        let protocol = self.ask(GET_PROTOCOL_FEATURES);
        // MQ and REPLY_ACK.
        assert!(self.set(SET_PROTOCOL_FEATURES, &(protocol & 0b1001).to_le_bytes(), &[]));
        assert!(self.set(SET_FEATURES, &(features | PROTOCOL).to_le_bytes(), &[]));
        offered
    }

    /// Shares the whole memory as one region that the guest sees from 0 on.
    pub(crate) fn share_memory(&mut self) {
        let memory = self.memory.try_clone().unwrap();
        assert!(self.set(SET_MEM_TABLE, &memory_table(0, MEMORY, USER, 0), &[memory.as_fd()]));
    }

    /// `vhost_vring_state`: ring and number.
    pub(crate) fn ring(&mut self, request: u32, ring: u32, number: u32) -> bool {
        self.set(request, &pair(ring, number), &[])
    }
}

/// Two 32-bit words.
pub(crate) fn pair(first: u32, second: u32) -> Vec<u8> {
    [first.to_le_bytes(), second.to_le_bytes()].concat()
}

/// A memory table of one region.
pub(crate) fn memory_table(guest: u64, size: u64, user: u64, offset: u64) -> Vec<u8> {
    let mut bytes = pair(1, 0);
    for word in [guest, size, user, offset] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

/// `vhost_vring_addr`.
pub(crate) fn ring_address(ring: u32, descriptors: u64, used: u64, available: u64) -> Vec<u8> {
    let mut bytes = pair(ring, 0);
    for word in [descriptors, used, available, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

/// Floods: connects, says something incomplete, leaves.
pub(crate) fn half_a_message(path: &Path) {
    if let Ok(mut socket) = UnixStream::connect(path) {
        let _ = socket.write_all(&[1, 0, 0, 0, 1]);
    }
}
