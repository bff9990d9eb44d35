//! The front end's socket: checks on its path, the listener, and whether its file is still there.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};

use super::relay::Front;
use super::{VhostError, VhostMode, VhostOptions};

/// `sun_path` of 108 bytes with its NUL (unix(7)).
const MAX_PATH: usize = 107;
/// `VHOST_MAX_QUEUE_PAIRS` of the library.
const MAX_PAIRS: u16 = 128;

/// The file of a socket that we listen on.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: String,
    /// Device and inode; `None` when it was gone before anybody looked.
    made: Option<(u64, u64)>,
}

impl SocketFile {
    /// The one that was just made at `path`.
    pub(super) fn of(path: &str) -> Self {
        Self { path: path.to_owned(), made: inode(path) }
    }

    /// It still has its name.
    pub(super) fn is_there(&self) -> bool {
        self.made.is_some() && inode(&self.path) == self.made
    }

    /// Takes its name away; what somebody else has put there stays.
    pub(super) fn remove(&self) {
        if self.is_there() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &str) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Checks the options and, in server mode, listens; a socket file that a dead process left behind is replaced.
pub(super) fn open(options: &VhostOptions) -> Result<Front, VhostError> {
    let path = options.path.clone();
    if path.len() > MAX_PATH {
        return Err(VhostError::PathTooLong { length: path.len(), max: MAX_PATH, path });
    }
    if path.is_empty() || path.contains('\0') {
        return Err(VhostError::PathInvalid { path });
    }
    for (what, queues) in [("queue pairs", options.queues), ("transmit queues", options.tx_queues)] {
        if queues == 0 || queues > MAX_PAIRS {
            return Err(VhostError::Queues { path, what, queues, max: MAX_PAIRS });
        }
    }
    match options.mode {
        VhostMode::Client => Ok(Front::Connect(path)),
        VhostMode::Server => {
            clear_stale(&path)?;
            let listener = UnixListener::bind(&path)
                .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
            listener.map(Front::Listen).map_err(|source| VhostError::Socket { path, source })
        }
    }
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
