//! Checks on a socket path before it is used, so that errors name their reason.

use std::ffi::CString;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};

use super::{VhostError, VhostMode, VhostOptions};

/// `sun_path` of 108 bytes with its NUL (unix(7)).
const MAX_PATH: usize = 107;
/// `VHOST_MAX_QUEUE_PAIRS` of the library.
const MAX_PAIRS: u16 = 128;

/// Checks the options; in server mode removes the socket file a dead process left behind.
pub(super) fn check(options: &VhostOptions) -> Result<CString, VhostError> {
    let path = options.path.clone();
    if path.len() > MAX_PATH {
        return Err(VhostError::PathTooLong { length: path.len(), max: MAX_PATH, path });
    }
    let text = match CString::new(path.as_str()) {
        Ok(text) if !path.is_empty() => text,
        _ => return Err(VhostError::PathInvalid { path }),
    };
    for queues in [options.queues, options.tx_queues] {
        if queues == 0 || queues > MAX_PAIRS {
            return Err(VhostError::Queues { path, queues, max: MAX_PAIRS });
        }
    }
    if options.mode == VhostMode::Server {
        clear_stale(&path)?;
        // The library says only "failed": make the socket once ourselves to learn the reason.
        let trial = UnixListener::bind(&path).map_err(|source| VhostError::Socket { path: path.clone(), source })?;
        drop(trial);
        std::fs::remove_file(&path).map_err(|source| VhostError::Socket { path, source })?;
    }
    Ok(text)
}

fn clear_stale(path: &str) -> Result<(), VhostError> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(VhostError::Socket { path: path.into(), source }),
        Ok(found) => found,
    };
    if !found.file_type().is_socket() {
        return Err(VhostError::NotSocket { path: path.into() });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|source| VhostError::Socket { path: path.into(), source })
        }
        Err(source) => Err(VhostError::Socket { path: path.into(), source }),
        Ok(_) => Err(VhostError::Busy { path: path.into() }),
    }
}
