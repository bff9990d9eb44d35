//! Ports that listen on a socket file which somebody has removed: nobody can come any more, and nothing says so.
//!
//! While somebody is attached, the port works and is left alone. Then it is taken out of service like one whose device went away, which
//! is counted, and [`Control::retry_closed_ports`](super::Control) makes the socket again. Cost: a stat(2) per such port and tick.

use std::io::ErrorKind;
use std::path::Path;

use shunt_config::{MemifRole, PortKind};

use super::Control;
use super::ports::{PortState, Ports};
use crate::ids::PortId;
use crate::port::Device;

impl Control {
    /// Takes ports out of service that nobody can reach.
    pub(super) fn bury_unreachable_ports(&mut self) {
        for id in unreachable(&self.ports) {
            self.bury(id, "socket file was removed");
        }
    }
}

fn unreachable(ports: &Ports) -> Vec<PortId> {
    let lost = |port: &&PortState| match (port.device(), memif_socket(port)) {
        (Some(Device::Vhost(vhost)), _) => !vhost.is_attached() && vhost.is_out_of_reach(),
        (Some(_), Some(path)) => is_gone(path) && !ports.iter().any(|other| uses(other, path)),
        _ => false,
    };
    ports.iter().filter(lost).map(|port| port.id).collect()
}

/// The file that a memif server listens on, which several may share.
fn memif_socket(port: &PortState) -> Option<&Path> {
    match &port.config.kind {
        PortKind::Memif { path, role: MemifRole::Server, .. } => Some(path),
        _ => None,
    }
}

/// The port is attached to somebody who came by this file: the driver makes a socket again only when no port has the old one.
fn uses(port: &PortState, path: &Path) -> bool {
    memif_socket(port) == Some(path) && port.device().is_some_and(Device::link)
}

/// Nothing has the name. Another file that has it is not touched: the driver would remove that, and not its own.
fn is_gone(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}
