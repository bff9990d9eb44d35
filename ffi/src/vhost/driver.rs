//! The library's end of a connection.
//!
//! For each front end a driver is registered in client mode, on a listener of ours that has no name any more: nobody but the
//! relay can be the other end, nothing stays behind when the process dies, and the library's thread hears of the
//! connection at once (of a listener of its own it would hear within a second). The library's reconnecting is off: it races
//! with unregistering.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::sys;

use super::state::State;
use super::{VhostError, VhostOptions, callbacks, features, rules};

/// Makes connections to the library.
#[derive(Debug)]
pub(super) struct Driver {
    listener: UnixListener,
    /// Keeps the listener's file alive after its name is gone; `path` names it through `/proc`.
    _file: OwnedFd,
    path: CString,
    disabled: u64,
}

/// One connection: a registered driver; unregistered on drop.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    driver: &'a Driver,
    /// The relay's end.
    pub(super) socket: OwnedFd,
}

/// A call of the library failed; it gives no reason but its log.
#[derive(Debug, thiserror::Error)]
#[error("{0} failed; the dpdk lines above say why")]
pub(super) struct DriverError(&'static str);

impl Driver {
    pub(super) fn new(options: &VhostOptions) -> Result<Self, VhostError> {
        let make = || -> std::io::Result<Self> {
            let directory = nix::unistd::mkdtemp(&std::env::temp_dir().join("shunt-vhost-XXXXXX"))?;
            let name = directory.join("socket");
            let made = UnixListener::bind(&name).and_then(|listener| {
                let file = open(&name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
                Ok((listener, file))
            });
            let _ = std::fs::remove_file(&name);
            let _ = std::fs::remove_dir(&directory);
            let (listener, file) = made?;
            listener.set_nonblocking(true)?;
            let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
            let disabled = features::disabled(options.tso, options.mergeable, options.queues);
            Ok(Self { listener, _file: file, path, disabled })
        };
        make().map_err(|source| VhostError::Private { path: options.path.clone(), source })
    }

    /// Connects to the library; the device's callbacks report to `state`.
    pub(super) fn connect(&self, state: &Arc<State>) -> Result<Connection<'_>, DriverError> {
        let path = self.path.as_ptr();
        // Neither LINEARBUF nor EXTBUF: frames larger than a buffer are chains (`landing`).
        let flags = sys::RTE_VHOST_USER_CLIENT | sys::RTE_VHOST_USER_NO_RECONNECT;
        // The library starts its thread with the first driver, and does not expect two to be the first.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: EAL runs (the port was opened with an `Eal`); NUL-terminated, copied.
        if unsafe { sys::rte_vhost_driver_register(path, flags.into()) } != 0 {
            return Err(DriverError("rte_vhost_driver_register"));
        }
        callbacks::add_port(&self.path.to_string_lossy(), state);
        self.start().inspect_err(|_| self.unregister())
    }

    fn start(&self) -> Result<Connection<'_>, DriverError> {
        let path = self.path.as_ptr();
        // SAFETY: NUL-terminated path of the driver registered by the caller.
        if unsafe { sys::rte_vhost_driver_disable_features(path, self.disabled) } != 0 {
            return Err(DriverError("rte_vhost_driver_disable_features"));
        }
        // SAFETY: as above.
        if unsafe { sys::rte_vhost_driver_set_protocol_features(path, rules::PROTOCOL_FEATURES) } != 0 {
            return Err(DriverError("rte_vhost_driver_set_protocol_features"));
        }
        // SAFETY: as above; the table is static.
        if unsafe { sys::rte_vhost_driver_callback_register(path, &callbacks::OPERATIONS.0) } != 0 {
            return Err(DriverError("rte_vhost_driver_callback_register"));
        }
        // SAFETY: as above. It connects to the listener before it returns, or fails.
        if unsafe { sys::rte_vhost_driver_start(path) } != 0 {
            return Err(DriverError("rte_vhost_driver_start"));
        }
        let (socket, _) = self.listener.accept().map_err(|_| DriverError("accept"))?;
        Ok(Connection { driver: self, socket: socket.into() })
    }

    fn unregister(&self) {
        // No lock of ours is held: the call waits for callbacks, and these take our locks.
        // SAFETY: NUL-terminated path of a driver registered in `connect`.
        unsafe { sys::rte_vhost_driver_unregister(self.path.as_ptr()) };
        callbacks::remove_port(&self.path.to_string_lossy());
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.driver.unregister();
    }
}
