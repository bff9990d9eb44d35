//! The Unix socket of the control interface: made with mode 0660, in a directory that is made if need be.
//!
//! A socket file that nobody listens on is what a killed daemon leaves behind and is replaced; one that somebody listens
//! on is left alone. The directory is locked between looking and binding, so two daemons that start at the same moment
//! cannot take the path from each other.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use nix::sys::stat::{Mode, fchmod};
use shunt_config::SOCKET_PATH_MAX;

/// Mode of the socket: its owner and group may connect.
const MODE: u32 = 0o660;
/// Mode of a directory made for it.
const DIRECTORY_MODE: u32 = 0o755;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Why the control socket is not there.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Longer than a socket address has room for.
    #[error(
        "the socket path has {length} bytes, the system allows {SOCKET_PATH_MAX}; set a shorter `socket`"
    )]
    TooLong {
        /// Length found, bytes.
        length: usize,
    },
    /// A daemon answers there.
    #[error("another shuntd listens on {}; stop it or set `socket`", .0.display())]
    InUse(PathBuf),
    /// Something else has that name.
    #[error("{} exists and is not a socket; remove it or set `socket`", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot {what} {}: {source}; run as root or set `socket` to a path you may write", path.display())]
    System {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// A listening control socket. Dropping it removes the file, unless the file is another daemon's by now.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

/// The file of a bound socket.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode, by which the file is known again.
    identity: Identity,
}

impl Socket {
    /// Listens on `path`.
    ///
    /// # Errors
    /// [`SocketError`] says in one line what is in the way and what to do.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        check(path)?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let refused = |what, path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| SocketError::System { what, path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)
            .map_err(refused("make the directory", directory))?;
        let opened = File::open(directory).map_err(refused("open the directory", directory))?;
        let _lock = Flock::lock(opened, FlockArg::LockExclusive)
            .map_err(|(_, errno)| refused("lock the directory", directory)(errno.into()))?;
        if check(path)? == Found::LeftOver {
            fs::remove_file(path).map_err(refused("remove the left-over", path))?;
        }

        let made = open(path).map_err(|errno| refused("listen on", path)(errno.into()))?;
        // The umask may have taken the group's permission away.
        fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(refused("set the mode of", path))?;
        let metadata = fs::symlink_metadata(path).map_err(refused("look at", path))?;
        let identity = identity(&metadata);
        let listener = UnixListener::from(made);
        listener.set_nonblocking(true).map_err(refused("listen on", path))?;
        Ok(Self { listener, file: SocketFile { path: path.to_owned(), identity } })
    }

    /// The listener (non-blocking) and the file, which is removed when dropped.
    pub(crate) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let same = |metadata: fs::Metadata| identity(&metadata) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(same)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the control socket was not removed");
        }
    }
}

/// A listening socket at `path`. Its mode is set before it has a name: there is no moment at which others may connect.
fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    fchmod(&made, Mode::from_bits_truncate(MODE))?;
    bind(made.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&made, Backlog::new(BACKLOG)?)?;
    Ok(made)
}

/// What is at a path that a daemon may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// The socket file of a dead daemon.
    LeftOver,
}

/// Looks whether a daemon may listen on `path`, and changes nothing. For a start that would otherwise take devices first
/// and find the socket taken then.
///
/// # Errors
/// What is in the way.
pub fn check(path: &Path) -> Result<Found, SocketError> {
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        return Err(SocketError::TooLong { length });
    }
    let system = |what, source| Err(SocketError::System { what, path: path.to_owned(), source });
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return system("look at", error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match listens(path) {
        Ok(true) => Err(SocketError::InUse(path.to_owned())),
        Ok(false) => Ok(Found::LeftOver),
        Err(errno) => system("ask who listens on", errno.into()),
    }
}

/// True when somebody listens at `path`. Does not wait: a listener whose queue is full is one, too.
fn listens(path: &Path) -> Result<bool, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN | Errno::EINPROGRESS | Errno::EPROTOTYPE) => Ok(true),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Device, number and time of the last change of a file. The number alone is not enough: file systems give it to the next
/// file as soon as it is free.
type Identity = (u64, u64, i64, i64);

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn bound_with_mode_0660_in_a_new_directory_and_removed_when_dropped() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/s.sock");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o755);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_living_daemons_socket_is_left_alone_and_a_dead_ones_replaced() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("s.sock");
        let first = Socket::bind(&path).unwrap();
        let error = Socket::bind(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("another shuntd listens on {}; stop it or set `socket`", path.display())
        );
        UnixStream::connect(&path).unwrap();

        // A killed daemon: its descriptor is gone, its file is not.
        let (listener, file) = first.into_parts();
        drop(listener);
        assert!(path.exists());
        let second = Socket::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();

        // The file is the second one's now: the first must not take it away.
        drop(file);
        UnixStream::connect(&path).unwrap();
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_is_never_removed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("precious");
        fs::write(&path, "text").unwrap();
        assert!(matches!(Socket::bind(&path).unwrap_err(), SocketError::NotASocket(_)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
    }

    #[test]
    fn the_longest_path_works_and_one_byte_more_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let room = SOCKET_PATH_MAX - root.path().as_os_str().len() - 1;
        let longest = root.path().join("x".repeat(room));
        drop(Socket::bind(&longest).unwrap());
        let error = Socket::bind(&root.path().join("x".repeat(room + 1))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the socket path has 108 bytes, the system allows 107; set a shorter `socket`"
        );
    }
}
