//! A driver of the vhost library: its side of the relay's socket.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::sys;

use super::state::State;
use super::{VhostError, VhostOptions, callbacks, features, rules};

/// A registered and started driver; unregistered on drop.
#[derive(Debug)]
pub(super) struct Driver {
    path: CString,
}

impl Driver {
    /// Registers a driver for `state` and gives the descriptor of its socket, which has no name any more: nobody but the
    /// relay can connect, and nothing stays behind when the process dies.
    pub(super) fn register(options: &VhostOptions, state: &Arc<State>) -> Result<(Self, OwnedFd), VhostError> {
        let fail = |function| VhostError::Library { path: options.path.clone(), function };
        let unmade = |source: std::io::Error| VhostError::Socket { path: options.path.clone(), source };
        let directory = nix::unistd::mkdtemp(&std::env::temp_dir().join("shunt-vhost-XXXXXX")).map_err(|errno| unmade(errno.into()))?;
        let socket = directory.join("socket");
        let result = Self::start(&socket, options, state, fail).and_then(|driver| {
            let library = open(&socket, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| unmade(errno.into()))?;
            Ok((driver, library))
        });
        let _ = std::fs::remove_file(&socket);
        let _ = std::fs::remove_dir(&directory);
        result
    }

    fn start(
        socket: &Path,
        options: &VhostOptions,
        state: &Arc<State>,
        fail: impl Fn(&'static str) -> VhostError,
    ) -> Result<Self, VhostError> {
        let text = socket.to_string_lossy();
        let path = CString::new(text.as_bytes()).map_err(|_| fail("rte_vhost_driver_register"))?;
        // Frames larger than a buffer go into one external buffer of at most 64 KiB. The alternative, chains, has no
        // limit: one hostile descriptor of a gigabyte would be copied until the pool is empty.
        let flags = u64::from(sys::RTE_VHOST_USER_LINEARBUF_SUPPORT | sys::RTE_VHOST_USER_EXTBUF_SUPPORT);
        // SAFETY: EAL runs (the caller holds an `Eal`); NUL-terminated, copied.
        if unsafe { sys::rte_vhost_driver_register(path.as_ptr(), flags) } != 0 {
            return Err(fail("rte_vhost_driver_register"));
        }
        // From here on the drop of `Driver` undoes everything.
        let driver = Self { path };
        callbacks::add_port(&text, state);
        let path = driver.path.as_ptr();
        let disabled = features::disabled(options.tso, options.mergeable, options.queues);
        // SAFETY: NUL-terminated path of the driver registered above.
        if unsafe { sys::rte_vhost_driver_disable_features(path, disabled) } != 0 {
            return Err(fail("rte_vhost_driver_disable_features"));
        }
        // SAFETY: as above.
        if unsafe { sys::rte_vhost_driver_set_protocol_features(path, rules::PROTOCOL_FEATURES) } != 0 {
            return Err(fail("rte_vhost_driver_set_protocol_features"));
        }
        // SAFETY: as above; the table is static.
        if unsafe { sys::rte_vhost_driver_callback_register(path, &callbacks::OPERATIONS.0) } != 0 {
            return Err(fail("rte_vhost_driver_callback_register"));
        }
        // SAFETY: as above.
        if unsafe { sys::rte_vhost_driver_start(path) } != 0 {
            return Err(fail("rte_vhost_driver_start"));
        }
        Ok(driver)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // No lock of ours is held: the call waits for callbacks, and these take our locks.
        // SAFETY: NUL-terminated path of a driver registered above.
        unsafe { sys::rte_vhost_driver_unregister(self.path.as_ptr()) };
        callbacks::remove_port(&self.path.to_string_lossy());
    }
}
