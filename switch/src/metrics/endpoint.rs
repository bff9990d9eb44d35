//! Where metrics are served: taken at the start, before any device is, so that a mistake is said early.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use shunt_config::Listen;

use crate::control::api::{Socket, SocketError};

/// A listening address or socket.
#[derive(Debug)]
pub struct Endpoint(pub(super) Bound);

/// What it is.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener),
    Unix(Socket),
}

/// Why metrics cannot be served. One line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address.
    #[error("metrics cannot be served at {address}: {}", tcp_advice(source))]
    Tcp {
        /// As configured.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The socket.
    #[error("metrics cannot be served: {}", unix_advice(.0))]
    Unix(SocketError),
}

fn tcp_advice(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "stop what listens there (`ss -ltnp` says what), or set another port with `listen` under [metrics]"
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface has that address; set one that `ip addr` lists with `listen` under [metrics]"
        }
        io::ErrorKind::PermissionDenied => {
            "run as root, or set a port above 1023 with `listen` under [metrics]"
        }
        _ => "set another address with `listen` under [metrics]",
    };
    format!("{error}; {advice}")
}

fn unix_advice(error: &SocketError) -> String {
    const ADVICE: &str = "set another path with `listen` under [metrics]";
    match error {
        SocketError::TooLong { length } => format!("the socket path has {length} bytes; {ADVICE}"),
        SocketError::InUse(path) => format!("somebody listens on {}; stop it, or {ADVICE}", path.display()),
        SocketError::NotASocket(path) => {
            format!("{} exists and is not a socket; remove it, or {ADVICE}", path.display())
        }
        SocketError::System { what, path, source } => {
            format!("cannot {what} {}: {source}; run as root, or {ADVICE}", path.display())
        }
    }
}

impl Endpoint {
    /// Listens at `listen`. A Unix socket has mode 0660; one that a dead daemon left behind is replaced.
    ///
    /// # Errors
    /// The system refuses it, or somebody else is there.
    pub fn bind(listen: &Listen) -> Result<Self, EndpointError> {
        match listen {
            Listen::Tcp(address) => Self::tcp(*address),
            Listen::Unix(path) => Self::unix(path),
        }
    }

    fn tcp(address: SocketAddr) -> Result<Self, EndpointError> {
        let refused = |source| EndpointError::Tcp { address, source };
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        Ok(Self(Bound::Tcp(listener)))
    }

    fn unix(path: &Path) -> Result<Self, EndpointError> {
        Ok(Self(Bound::Unix(Socket::bind(path).map_err(EndpointError::Unix)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_said_in_one_line_with_what_to_do() {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let busy = Listen::Tcp(first.local_addr().unwrap());
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("precious");
        std::fs::write(&file, "text").unwrap();
        let cases = [
            (busy, "stop what listens there (`ss -ltnp` says what), or set another port"),
            // Of a documentation prefix (RFC 5737): nobody has it.
            (Listen::Tcp("192.0.2.1:9464".parse().unwrap()), "set one that `ip addr` lists"),
            (Listen::Unix(file), "exists and is not a socket; remove it, or set another path"),
        ];
        for (listen, advice) in cases {
            let message = Endpoint::bind(&listen).unwrap_err().to_string();
            assert!(message.contains(advice) && message.contains("`listen` under [metrics]"), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }

    #[test]
    fn a_unix_socket_is_taken_once() {
        let root = tempfile::tempdir().unwrap();
        let listen = Listen::Unix(root.path().join("m.sock"));
        let first = Endpoint::bind(&listen).unwrap();
        let message = Endpoint::bind(&listen).unwrap_err().to_string();
        assert!(message.contains("somebody listens on ") && message.contains("stop it, or set"), "{message}");
        drop(first);
        Endpoint::bind(&listen).unwrap();
    }
}
