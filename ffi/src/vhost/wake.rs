//! The descriptor a sleeping worker waits on for one receive queue.
//!
//! The guest's kick descriptor comes and goes with the guest. What the worker gets instead is an epoll descriptor that
//! lives as long as the queue and holds, edge-triggered, the current kick descriptor and an eventfd of our own that is
//! raised when the queue changes. Nothing of the guest's is ever read: a hostile one may hand us a descriptor whose read
//! blocks. Cost: two system calls per sleep, none while polling.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

const EDGE: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLET);

#[derive(Debug)]
pub(super) struct Wake {
    epoll: Epoll,
    changed: EventFd,
    /// Our own duplicate of the guest's kick descriptor. Only callbacks touch it, never a worker.
    kick: Mutex<Option<OwnedFd>>,
}

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let changed = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        epoll.add(&changed, EpollEvent::new(EDGE, 0))?;
        Ok(Self { epoll, changed, kick: Mutex::new(None) })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// Replaces the guest's descriptor. One that cannot be waited on counts as none: the guest then is only polled.
    pub(super) fn set_kick(&self, kick: Option<BorrowedFd<'_>>) {
        let mut current = self.kick.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(old) = current.take() {
            // The guest keeps its own copy open, so closing ours would not remove it from the set.
            let _ = self.epoll.delete(old.as_fd());
        }
        *current = kick
            .and_then(|kick| kick.try_clone_to_owned().ok())
            .filter(|kick| self.epoll.add(kick.as_fd(), EpollEvent::new(EDGE, 1)).is_ok());
        self.raise();
    }

    /// Wakes the worker so that it looks at the queue again.
    pub(super) fn raise(&self) {
        // Fails only when the counter is full, and then it is raised already.
        let _ = self.changed.write(1);
    }

    /// Forgets what has been raised so far.
    pub(super) fn acknowledge(&self) {
        let mut events = [EpollEvent::empty(); 2];
        // An error leaves the descriptor readable: the worker looks once more than needed.
        let _ = self.epoll.wait(&mut events, EpollTimeout::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    fn readable(wake: &Wake) -> bool {
        let mut fds = [PollFd::new(wake.epoll.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn a_kick_wakes_once_and_an_old_kick_not_at_all() {
        let wake = Wake::new().unwrap();
        assert!(!readable(&wake));
        let first = EventFd::new().unwrap();
        wake.set_kick(Some(first.as_fd()));
        assert!(readable(&wake), "a changed queue wakes");
        wake.acknowledge();
        assert!(!readable(&wake));
        first.write(1).unwrap();
        assert!(readable(&wake));
        wake.acknowledge();
        assert!(!readable(&wake), "acknowledged without reading the guest's descriptor");
        first.write(1).unwrap();
        assert!(readable(&wake), "a second kick on an unread descriptor still wakes");
        let second = EventFd::new().unwrap();
        wake.set_kick(Some(second.as_fd()));
        wake.acknowledge();
        first.write(1).unwrap();
        assert!(!readable(&wake), "the old guest is out");
        second.write(1).unwrap();
        assert!(readable(&wake));
    }

    #[test]
    fn a_descriptor_that_cannot_be_waited_on_is_refused() {
        let wake = Wake::new().unwrap();
        let file = tempfile::tempfile().unwrap();
        wake.set_kick(Some(file.as_fd()));
        wake.acknowledge();
        assert!(wake.kick.lock().unwrap().is_none());
    }
}
