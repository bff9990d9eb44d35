//! Between the front end's socket and the vhost library: one thread per port that passes on what [`super::rules`] allows.
//!
//! Why not let the library talk to the front end itself: it handles all ports on one thread with blocking reads and
//! writes, partly under the locks that workers take, so a front end that stops in the middle of a message stops every
//! port; it runs into freed memory when a request fails half-way under a running guest; and its client mode races
//! with unregistering. The relay is the only front end the library ever sees, and a well-behaved one. While the
//! library changes something the relay keeps workers out, so a worker never waits for a lock the library holds.
//!
//! Cost: the control path only, about 50 us per message; rings, kicks and calls go directly between guest and worker.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::sys;

use super::callbacks;
use super::driver::{Driver, DriverError};
use super::fault::Guard;
use super::rules::{Refusal, Rules, Verdict};
use super::state::{Harm, State};
use super::wire::{self, Message, NEED_REPLY, WireError, request};

/// How often a client looks for the front end's socket.
const RETRY: Duration = Duration::from_millis(200);
/// How long a guest that has blocked a worker stays out: it can do so again, for some milliseconds each time.
const PENALTY: Duration = Duration::from_secs(10);
/// The library answers in microseconds; this long means that it is broken.
const LIBRARY_TIME: Duration = Duration::from_secs(5);

/// Where front ends come from.
#[derive(Debug)]
pub(super) enum Front {
    /// They connect to us.
    Listen(UnixListener),
    /// We connect to this path.
    Connect(String),
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) state: Arc<State>,
    pub(super) front: Front,
    pub(super) driver: Driver,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Front(WireError),
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    #[error("the vhost library failed request {0}")]
    Failed(u32),
    #[error("{0}")]
    Driver(#[from] DriverError),
    #[error("the vhost library: {0}")]
    Library(WireError),
    #[error("it took its memory away")]
    MemoryLost,
    #[error("its call descriptor blocked a worker")]
    WorkerBlocked,
}

impl Relay {
    /// Serves front ends, one after the other, until the port is closed.
    pub(super) fn run(self) {
        while !self.state.stop.load(Ordering::Acquire) {
            match self.next_front() {
                Ok(front) => {
                    let Err(end) = self.serve(front.as_fd());
                    self.state.hear_nudge();
                    self.state.resume();
                    self.report(&end);
                    // Only now is the front end's socket closed: what it shared is free again.
                    drop(front);
                    if matches!(end, End::WorkerBlocked) {
                        self.rest(PENALTY);
                    }
                }
                Err(WireError::Nudged) => self.state.hear_nudge(),
                Err(error) => {
                    tracing::warn!(socket = %self.state.path, %error, "vhost-user: no connection");
                    self.rest(RETRY);
                }
            }
        }
    }

    fn report(&self, end: &End) {
        match end {
            End::Front(WireError::Closed | WireError::Nudged) => {
                tracing::debug!(socket = %self.state.path, %end, "vhost-user: disconnected")
            }
            _ => {
                tracing::warn!(socket = %self.state.path, reason = %end, "vhost-user: front end disconnected by us")
            }
        }
    }

    fn nudge(&self) -> BorrowedFd<'_> {
        self.state.nudge.as_fd()
    }

    fn next_front(&self) -> Result<OwnedFd, WireError> {
        match &self.front {
            Front::Listen(listener) => {
                wire::wait(listener.as_fd(), PollFlags::POLLIN, self.nudge(), None)?;
                Ok(listener.accept()?.0.into())
            }
            Front::Connect(path) => loop {
                match connect_to(path) {
                    Ok(front) => return Ok(front),
                    Err(_) => match wire::wait(
                        self.nudge(),
                        PollFlags::POLLIN,
                        self.nudge(),
                        Some(Instant::now() + RETRY),
                    ) {
                        Err(WireError::Slow) => {}
                        _ => return Err(WireError::Nudged),
                    },
                }
            },
        }
    }

    /// Does nothing for a while, unless the port is closed.
    fn rest(&self, time: Duration) {
        let _ = wire::wait(self.nudge(), PollFlags::POLLIN, self.nudge(), Some(Instant::now() + time));
    }

    /// Passes messages until the connection ends, which it always does with a reason.
    fn serve(&self, front: BorrowedFd<'_>) -> Result<std::convert::Infallible, End> {
        self.state.forgive();
        self.state.regions.clear();
        let library = self.driver.connect(&self.state)?;
        let mut session = Session {
            relay: self,
            library: &library.socket,
            rules: Rules::new(self.state.pairs()),
            guards: Vec::new(),
            log_guard: None,
        };
        let end = loop {
            let step = wire::receive(front, self.nudge(), None)
                .map_err(End::Front)
                .and_then(|message| session.pass(front, message));
            match step {
                Ok(()) => {}
                Err(end) => match self.state.harm() {
                    Harm::None => break end,
                    Harm::MemoryLost => break End::MemoryLost,
                    Harm::WorkerBlocked => break End::WorkerBlocked,
                },
            }
        };
        // From here on nobody is inside, and the library lets go of the guest; only then may its memory lose its guards.
        self.state.pause();
        let guards = (std::mem::take(&mut session.guards), session.log_guard.take());
        drop(library);
        callbacks::forget(&self.state);
        drop(guards);
        Err(end)
    }
}

/// One connection.
struct Session<'a> {
    relay: &'a Relay,
    library: &'a OwnedFd,
    rules: Rules,
    guards: Vec<Guard>,
    log_guard: Option<Guard>,
}

impl Session<'_> {
    fn pass(&mut self, front: BorrowedFd<'_>, message: Message) -> Result<(), End> {
        let state = &self.relay.state;
        let done = message.wants_reply().then(|| message.answer(vec![0; 8]));
        let reply = match self.rules.check(&message)? {
            Verdict::Answer(value) => Some(message.answer(value.to_le_bytes().to_vec())),
            Verdict::Ignore => done,
            Verdict::Ask => Some(self.ask(&message)?),
            Verdict::ChangeAndAnswer => {
                state.pause();
                let answer = self.ask(&message)?;
                if message.request == request::SET_LOG_BASE {
                    self.guard_log(&message)?;
                }
                state.resume();
                Some(answer)
            }
            Verdict::Change => {
                state.pause();
                self.change(message)?;
                state.resume();
                done
            }
        };
        match reply {
            Some(reply) => wire::send(front, &reply).map_err(End::Front),
            None => Ok(()),
        }
    }

    /// Sends a request and gives back the library's answer.
    fn ask(&self, message: &Message) -> Result<Message, End> {
        let library = self.library.as_fd();
        wire::send(library, message).map_err(End::Library)?;
        let until = Some(Instant::now() + LIBRARY_TIME);
        // Closing the port must not tear an answer apart, so this waits for the library alone.
        let answer = wire::receive(library, self.relay.state.never.as_fd(), until).map_err(End::Library)?;
        if answer.request == message.request { Ok(answer) } else { Err(End::Failed(message.request)) }
    }

    /// Sends a request that has no answer, and waits until the library has done it. After a failure the library may
    /// hold pointers into memory it has unmapped: the caller leaves the workers out and ends the connection.
    fn change(&mut self, mut message: Message) -> Result<(), End> {
        if message.request == request::SET_MEM_TABLE {
            self.guards.clear();
            self.relay.state.regions.clear();
        }
        message.flags |= NEED_REPLY;
        let answer = self.ask(&message)?;
        if answer.u64_at(0) != Some(0) {
            return Err(End::Failed(message.request));
        }
        if message.request == request::SET_MEM_TABLE {
            self.guard_memory()?;
        }
        Ok(())
    }

    fn vid(&self) -> Result<i32, End> {
        self.relay.state.control().connection.ok_or(End::Library(WireError::Closed))
    }

    /// Guards every region the library has mapped.
    fn guard_memory(&mut self) -> Result<(), End> {
        let mut table = std::ptr::null_mut();
        // SAFETY: the connection is ours and lives; the library changes its table only for requests of ours.
        if unsafe { sys::rte_vhost_get_mem_table(self.vid()?, &mut table) } != 0 {
            return Err(End::Failed(request::SET_MEM_TABLE));
        }
        // SAFETY: allocated by the call with `nregions` regions behind the head; freed below.
        let regions = unsafe { (*table).regions.as_slice((*table).nregions as usize) };
        for region in regions {
            // SAFETY: the library keeps the region's file open while the table stands.
            let page = page_size(unsafe { BorrowedFd::borrow_raw(region.fd) });
            self.guards.extend(Guard::new(
                &self.relay.state,
                region.mmap_addr as usize,
                region.mmap_size as usize,
                page,
            ));
        }
        let all = self.guards.len() == regions.len();
        if all {
            self.relay.state.regions.set(regions);
        }
        // SAFETY: allocated with malloc for us; no reference to it is left.
        unsafe { libc::free(table.cast()) };
        if all { Ok(()) } else { Err(End::Failed(request::SET_MEM_TABLE)) }
    }

    /// Guards the dirty log of a live migration, which workers write while it lasts.
    fn guard_log(&mut self, message: &Message) -> Result<(), End> {
        let (mut base, mut size) = (0, 0);
        // SAFETY: the connection is ours and lives; two writable integers.
        if unsafe { sys::rte_vhost_get_log_base(self.vid()?, &mut base, &mut size) } != 0 {
            return Err(End::Failed(request::SET_LOG_BASE));
        }
        let page = message.fds.first().map_or(4096, |fd| page_size(fd.as_fd()));
        self.log_guard = None;
        self.log_guard = Guard::new(&self.relay.state, base as usize, size as usize, page);
        if self.log_guard.is_some() { Ok(()) } else { Err(End::Failed(request::SET_LOG_BASE)) }
    }
}

/// Page size of a shared memory file.
fn page_size(file: BorrowedFd<'_>) -> usize {
    nix::sys::stat::fstat(file).map_or(4096, |status| status.st_blksize as usize)
}

/// Connects without waiting: a listener with a full queue is as good as none.
fn connect_to(path: &str) -> Result<OwnedFd, WireError> {
    let socket = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}
