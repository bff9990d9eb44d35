//! Why a kernel port could not be opened or set up.

use std::io;

/// Error of the control side of kernel ports; every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No such interface in this network namespace.
    #[error(
        "interface `{0}` does not exist in this network namespace; create it first, e.g. `ip link add {0} type veth peer name eth0 netns POD`"
    )]
    NoInterface(String),
    /// The name cannot be an interface's.
    #[error("`{0}` is no interface name; use 1 to 15 characters without `/`, `:` and spaces")]
    BadName(String),
    /// The interface carries no Ethernet frames.
    #[error("interface `{0}` is not an ethernet device; attach an ip tunnel as kind `tun` or `dpdk` instead")]
    NotEthernet(String),
    /// The process lacks a capability.
    #[error("interface `{interface}`: {call} is not permitted; run with CAP_NET_ADMIN and CAP_NET_RAW")]
    Permission {
        /// The interface.
        interface: String,
        /// The refused call.
        call: &'static str,
    },
    /// The name is taken by another interface.
    #[error("interface `{0}` exists already and is no tap or tun of ours; remove it or choose another name")]
    Exists(String),
    /// The namespace could not be opened.
    #[error(
        "network namespace `{path}` cannot be entered: {source}; give the path of a live one, e.g. /run/netns/NAME"
    )]
    Namespace {
        /// Its path.
        path: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused a route.
    #[error(
        "interface `{interface}`: no route to {to}: {source}; another interface may have one already (`ip route show {to}`), or `src` or `via` does not fit the port's `addresses`"
    )]
    Route {
        /// The interface.
        interface: String,
        /// Where to.
        to: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A system call failed.
    #[error("interface `{interface}`: {call}: {source}")]
    Call {
        /// The interface.
        interface: String,
        /// The failing call.
        call: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl KernelError {
    /// The error for the `errno` that `call` has just left.
    pub(crate) fn last(interface: &str, call: &'static str) -> Self {
        Self::from_io(interface, call, io::Error::last_os_error())
    }

    /// The error for a failed `call`.
    pub(crate) fn from_io(interface: &str, call: &'static str, source: io::Error) -> Self {
        let interface = interface.to_owned();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Permission { interface, call },
            Some(libc::ENODEV | libc::ENXIO) => Self::NoInterface(interface),
            _ => Self::Call { interface, call, source },
        }
    }
}
