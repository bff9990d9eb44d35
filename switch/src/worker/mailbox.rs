//! Commands from the control thread to a worker and the answers.
//!
//! The worker looks at one flag per iteration; the channels are touched only when it is set. Every command but
//! [`Command::Say`] gets exactly one reply (plus a [`Reply::Gone`] for each queue whose device went away), and the control thread has one command
//! under way at a time, so the bounded reply channel never fills and a reply never blocks or allocates. Commands are
//! numbered: the answer of a worker that hung, when it comes at last, is not taken for the answer to a later command.

use std::cell::Cell;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::capture::Tap;
use super::{MAX_QUEUES, RxPort, TxPort};
use crate::drop::DropReason;
use crate::flow::cache::Entry;
use crate::ids::{MAX_PORTS, NetworkId, PortId};
use crate::wire::nd;

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// Poll this queue from now on.
    AttachRx(RxPort),
    /// Give queue number `.1` of a port back.
    DetachRx(PortId, u16),
    /// Send frames for a port here.
    AttachTx(PortId, Box<TxPort>),
    /// Give the transmit queue of a port back.
    DetachTx(PortId),
    /// Copy a piece of the flow cache.
    DumpFlows(Box<FlowDump>),
    /// Send a message of the switch's own. Not answered.
    Say(Message),
    /// Route and send a packet of the switch's own.
    Originate(Box<Origin>),
    /// Copy frames for a capture.
    Capture(Tap),
    /// Give the tap of this capture back.
    EndCapture(u64),
    /// Give everything back and end.
    Stop,
}

/// What a worker answers.
#[derive(Debug)]
pub enum Reply {
    /// Carried out; nothing to give back.
    Done,
    /// A receive queue comes back.
    Rx(RxPort),
    /// A transmit queue comes back.
    Tx(Box<TxPort>),
    /// What became of the packet.
    Originated(Box<Origin>),
    /// A tap that is not used (any more).
    Tap(Tap),
    /// The copied piece.
    Flows(Box<FlowDump>),
    /// Unasked: the device of this queue is gone.
    Gone(RxPort),
}

/// A packet that the switch itself sends by the router of a network in which it has an address. The control thread makes and frees it.
#[derive(Debug)]
pub struct Origin {
    /// The network.
    pub network: NetworkId,
    /// As in [`Message`].
    pub numbering: u64,
    /// A port at which it is counted when it is lost on the way out.
    pub port: PortId,
    /// The frame, with the gateway's MAC address as source and destination, without tag.
    pub frame: Vec<u8>,
    /// Written by the worker.
    pub outcome: Outcome,
}

/// What became of an [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went to a port, at this moment of the time-stamp counter.
    Sent(u64),
    /// Nobody knows the MAC address of its next hop yet; that is asked for.
    Unresolved(IpAddr),
    /// It went nowhere.
    Lost(DropReason),
}

/// Bytes of a [`Message`] at most: an unsolicited neighbour advertisement.
const MESSAGE: usize = nd::FRAME;

/// An ARP or ND frame that the switch sends of its own accord. All of it lies in the command: the worker allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The network it is for.
    pub network: NetworkId,
    /// [`Topology::numbering`](crate::topology::Topology::numbering) for which `network` is right; under another one the
    /// message is not sent.
    pub numbering: u64,
    /// A port that does not get it.
    pub except: Option<PortId>,
    bytes: [u8; MESSAGE],
    len: u8,
}

impl Message {
    /// The message `frame`, which has no tag. To everybody in the network but `except` when its destination is a group, else
    /// to the port of that station, if it is known.
    ///
    /// # Panics
    /// If the frame is longer than a neighbour advertisement.
    pub fn new(network: NetworkId, numbering: u64, except: Option<PortId>, frame: &[u8]) -> Self {
        let mut bytes = [0; MESSAGE];
        bytes[..frame.len()].copy_from_slice(frame);
        Self { network, numbering, except, bytes, len: frame.len() as u8 }
    }

    /// The frame.
    pub fn frame(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Places of the flow cache that one [`Command::DumpFlows`] looks at. Together with the rows that the asker has room for
/// (256), this bounds what a worker does for one command to some twenty microseconds.
pub const DUMP_PLACES: usize = 4096;

/// A piece of a worker's flow cache. All memory is the asker's: the worker copies as many rows as `rows` has capacity for.
#[derive(Debug)]
pub struct FlowDump {
    /// Place to begin at; 0 at first.
    pub from: usize,
    /// Second on the workers' clock, by which silent flows are left out.
    pub now: u32,
    /// Place to go on at; `None` at the end.
    pub next: Option<usize>,
    /// The flows.
    pub rows: Vec<Entry>,
}

/// Commands that may be under way to one worker.
const COMMANDS: usize = 64;
/// Number of a reply that answers no command, and of a command without reply; the others count from 1.
const UNASKED: u64 = 0;

#[derive(Debug)]
struct Bell {
    pending: AtomicBool,
    event: EventFd,
}

/// The worker's end.
#[derive(Debug)]
pub struct Inbox {
    bell: Arc<Bell>,
    commands: Receiver<(u64, Command)>,
    replies: Sender<(u64, Reply)>,
    /// Number of the command being carried out.
    current: u64,
}

/// The control thread's end.
#[derive(Debug)]
pub struct Outbox {
    bell: Arc<Bell>,
    commands: Sender<(u64, Command)>,
    replies: Receiver<(u64, Reply)>,
    last: Cell<u64>,
}

/// A mailbox for one worker.
pub fn mailbox() -> std::io::Result<(Outbox, Inbox)> {
    let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
    let bell = Arc::new(Bell { pending: AtomicBool::new(false), event });
    let (send, receive) = channel::bounded(COMMANDS);
    let (answer, answers) = channel::bounded(MAX_QUEUES + MAX_PORTS + COMMANDS);
    Ok((
        Outbox { bell: bell.clone(), commands: send, replies: answers, last: Cell::new(UNASKED) },
        Inbox { bell, commands: receive, replies: answer, current: UNASKED },
    ))
}

impl Inbox {
    /// True when commands may be waiting.
    #[inline]
    pub fn pending(&self) -> bool {
        self.bell.pending.load(Ordering::Relaxed)
    }

    /// The next command.
    pub(super) fn next(&mut self) -> Option<Command> {
        self.bell.pending.store(false, Ordering::SeqCst);
        match self.commands.try_recv() {
            Ok((number, command)) => {
                // There may be more; look again before the flag is trusted.
                self.bell.pending.store(true, Ordering::SeqCst);
                self.current = number;
                Some(command)
            }
            Err(_) => {
                // Forget the rings; a reader of a non-blocking event counter loses nothing.
                let _ = self.bell.event.read();
                None
            }
        }
    }

    /// Answers the command taken last. The channel holds a reply for everything a worker can own, see the module's text.
    pub(super) fn reply(&mut self, reply: Reply) {
        let number = if matches!(reply, Reply::Gone(_)) { UNASKED } else { self.current };
        let sent = self.replies.try_send((number, reply));
        debug_assert!(sent.is_ok(), "a worker gave back more than it had");
    }

    /// Readable while a command waits for a sleeping worker.
    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.bell.event.as_fd()
    }
}

/// The worker did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("the worker did not answer within {0:?}; is its core taken by something else?")]
pub struct NoAnswer(pub Duration);

impl Outbox {
    /// Sends a command and wakes the worker if it sleeps.
    pub fn send(&self, command: Command) {
        self.last.set(self.last.get() + 1);
        if self.commands.send((self.last.get(), command)).is_ok() {
            self.ring();
        }
    }

    /// Gives the worker a message to send; false when too many commands are under way. Does not wait.
    pub fn say(&self, message: Message) -> bool {
        let sent = self.commands.try_send((UNASKED, Command::Say(message))).is_ok();
        if sent {
            self.ring();
        }
        sent
    }

    /// Wakes the worker if it sleeps, so that it takes over a new topology: packets it holds may be waiting for that.
    pub fn ring(&self) {
        self.bell.pending.store(true, Ordering::SeqCst);
        let _ = self.bell.event.write(1);
    }

    /// Waits for the reply to the command sent last, or for a [`Reply::Gone`]. Late replies to earlier commands are
    /// dropped, and with them the queues they carry: here, off the workers, where queues are to be dropped.
    pub fn reply(&self, patience: Duration) -> Result<Reply, NoAnswer> {
        let deadline = Instant::now() + patience;
        loop {
            let (number, reply) = self.replies.recv_deadline(deadline).map_err(|_| NoAnswer(patience))?;
            if number == self.last.get() || number == UNASKED {
                return Ok(reply);
            }
        }
    }

    /// A reply that is there already, to whatever command.
    pub fn try_reply(&self) -> Option<Reply> {
        self.replies.try_recv().ok().map(|(_, reply)| reply)
    }
}
