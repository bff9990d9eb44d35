//! Why a vhost-user port does not open.

use std::io;

/// Why a vhost-user port does not open.
#[derive(Debug, thiserror::Error)]
pub enum VhostError {
    /// Longer than a Unix socket address holds (`sun_path`, unix(7)).
    #[error(
        "socket path `{path}` has {length} bytes, at most {max} are possible; choose a shorter directory"
    )]
    PathTooLong {
        /// The socket.
        path: String,
        /// Its length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// Empty, or holds a NUL byte.
    #[error("socket path `{path}` is empty or holds a NUL byte; give a file name")]
    PathInvalid {
        /// The socket.
        path: String,
    },
    /// Another port or process listens there.
    #[error("socket `{path}` is busy: somebody listens on it; stop that process or choose another path")]
    Busy {
        /// The socket.
        path: String,
    },
    /// Something that is no socket is in the way.
    #[error("`{path}` exists and is not a socket; remove it or choose another path")]
    NotSocket {
        /// The socket.
        path: String,
    },
    /// The socket cannot be made.
    #[error("socket `{path}` cannot be made: {source}; check that its directory exists and may be written")]
    Socket {
        /// The socket.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// No descriptors left.
    #[error("vhost-user port `{path}`: {source}; raise the limit of open files")]
    Descriptors {
        /// The socket.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A number of queues that the library does not do.
    #[error("vhost-user port `{path}`: {queues} {what} are not possible; choose 1 to {max}")]
    Queues {
        /// The socket.
        path: String,
        /// Queue pairs or transmit queues.
        what: &'static str,
        /// Asked for.
        queues: u16,
        /// The limit.
        max: u16,
    },
    /// The private socket towards the vhost library cannot be made.
    #[error("vhost-user port `{path}`: no private socket in the temporary directory: {source}; check TMPDIR")]
    Private {
        /// The socket.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// No memory for a receive queue's landing.
    #[error("vhost-user port `{path}`: {source}; lower memory.mbufs, or remove ports")]
    Landing {
        /// The socket.
        path: String,
        /// What DPDK said.
        source: crate::error::DpdkError,
    },
}
