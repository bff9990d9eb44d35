//! What only one port may have: a kernel device, a DPDK device, a socket, an address in its network (where a gateway may
//! have it already).

mod stations;

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};

use super::Around;
use crate::daemon::Daemon;
use crate::error::Sink;
use crate::names::PortName;
use crate::port::Draft;
use crate::port::kind::{MemifRole, PortKind};
use crate::raw::quote;

/// Who claimed what first.
pub(crate) struct Claims<K>(HashMap<K, String>);

impl<K: Eq + Hash> Claims<K> {
    pub(crate) fn new() -> Self {
        Claims(HashMap::new())
    }

    /// The earlier owner of `what`, if there is one; otherwise `owner` is it from now on.
    pub(crate) fn claim(&mut self, what: K, owner: impl FnOnce() -> String) -> Option<&str> {
        use std::collections::hash_map::Entry;
        match self.0.entry(what) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry) => {
                entry.insert(owner());
                None
            }
        }
    }

    /// Who has claimed `what`.
    pub(crate) fn owner(&self, what: &K) -> Option<&str> {
        self.0.get(what).map(String::as_str)
    }
}

/// Reports everything that is claimed twice.
pub(crate) fn all(ports: &[Draft], around: &Around<'_>, sink: &mut Sink) {
    devices(ports, sink);
    member_names(ports, sink);
    queue_ranges(ports, sink);
    sockets(ports, around.daemon, sink);
    stations::addresses(ports, around, sink);
    stations::macs(ports, around, sink);
}

fn label(port: &Draft) -> String {
    match &port.name {
        Some(name) => format!("port {name}"),
        None => port.path.clone(),
    }
}

/// What has a device: a port, or each member of a bond.
struct Owner<'a> {
    draft: &'a Draft,
    /// Its keys begin with this one; none for a port.
    member: Option<usize>,
    name: Option<&'a PortName>,
    kind: &'a PortKind,
}

impl Owner<'_> {
    fn label(&self) -> String {
        match (self.member, self.name) {
            (Some(_), Some(name)) => format!("member {name} of {}", label(self.draft)),
            _ => label(self.draft),
        }
    }

    fn key(&self, name: &str) -> String {
        match self.member {
            Some(at) => self.draft.key(&format!("members[{at}].{name}")),
            None => self.draft.key(name),
        }
    }
}

/// Everything that has a device, in the order of the ports.
fn owners(ports: &[Draft]) -> impl Iterator<Item = Owner<'_>> {
    ports.iter().filter_map(|draft| Some((draft, draft.kind.as_ref()?))).flat_map(|(draft, kind)| {
        let own = Owner { draft, member: None, name: draft.name.as_ref(), kind };
        let members = kind.members().iter().enumerate().map(move |(at, member)| Owner {
            draft,
            member: Some(at),
            name: Some(&member.name),
            kind: &member.kind,
        });
        std::iter::once(own).chain(members)
    })
}

/// Members have names among the ports': captures and messages tell them apart by these.
fn member_names(ports: &[Draft], sink: &mut Sink) {
    let mut claims: Claims<&PortName> = Claims::new();
    for port in ports {
        if let Some(name) = &port.name {
            claims.claim(name, || label(port));
        }
    }
    for owner in owners(ports).filter(|owner| owner.member.is_some()) {
        let Some(name) = owner.name else { continue };
        if let Some(first) = claims.claim(name, || owner.label()) {
            let message = format!("{} is already the name of {first}; choose another", quote(name.as_str()));
            sink.report(&owner.key("name"), message);
        }
    }
}

/// Kernel devices by namespace and name, DPDK devices by name. Two AF_XDP ports may share a device: see
/// [`queue_ranges`].
fn devices(ports: &[Draft], sink: &mut Sink) {
    let mut kernel: Claims<(Option<PathBuf>, &str)> = Claims::new();
    let mut shared: HashMap<&str, bool> = HashMap::new();
    let mut dpdk = Claims::new();
    for port in owners(ports) {
        let kind = port.kind;
        if let PortKind::Dpdk { devargs } = kind {
            let device = devargs.split(',').next().unwrap_or_default();
            if let Some(first) = dpdk.claim(device, || port.label()) {
                let message =
                    format!("{} is already the device of {first}; give each port its own", quote(device));
                sink.report(&port.key("devargs"), message);
            }
            continue;
        }
        let device = match (port.name, kind) {
            (Some(name), kind) => kind.device(name),
            (None, PortKind::Veth { device } | PortKind::AfXdp { device, .. }) => Some(device.as_str()),
            (None, PortKind::Tap { device, .. } | PortKind::Tun { device, .. }) => device.as_deref(),
            _ => None,
        };
        let Some(device) = device else { continue };
        let xdp = matches!(kind, PortKind::AfXdp { .. });
        let both_xdp = xdp && shared.get(device) == Some(&true);
        if let Some(first) = kernel.claim((kind.netns().map(|n| n.path()), device), || port.label()) {
            if !both_xdp {
                let message =
                    format!("{} is already the device of {first}; give each port its own", quote(device));
                sink.report(&port.key("device"), message);
            }
        } else if kind.netns().is_none() {
            shared.insert(device, xdp);
        }
    }
}

/// AF_XDP ports that share a device must not share a queue of it.
fn queue_ranges(ports: &[Draft], sink: &mut Sink) {
    let mut taken: HashMap<&str, Vec<(u16, u16, String)>> = HashMap::new();
    for port in owners(ports) {
        let (PortKind::AfXdp { device, start_queue }, Some(queues)) = (port.kind, port.draft.queues) else {
            continue;
        };
        let (start, end) = (*start_queue, start_queue.saturating_add(queues));
        let ranges = taken.entry(device).or_default();
        if let Some((_, _, first)) = ranges.iter().find(|(s, e, _)| start < *e && *s < end) {
            let which = match queues {
                1 => format!("queue {start}"),
                _ => format!("some of queues {start} to {}", end - 1),
            };
            let message = format!("{first} has {which} of {device} already; choose another start_queue");
            sink.report(&port.key("start_queue"), message);
        }
        ranges.push((start, end, port.label()));
    }
}

/// Unix sockets: one owner each, except that memif interfaces of one role share one and differ by `id`.
fn sockets(ports: &[Draft], daemon: &Daemon, sink: &mut Sink) {
    let mut claims: Claims<&Path> = Claims::new();
    let mut memif_paths: HashMap<&Path, MemifRole> = HashMap::new();
    let mut memif_ids = Claims::new();
    claims.claim(&daemon.socket, || "the daemon (daemon.socket)".to_owned());
    for port in ports {
        match &port.kind {
            Some(PortKind::VhostUser { path, .. }) => {
                if let Some(first) = claims.claim(path, || label(port)) {
                    let message =
                        format!("{} is already the socket of {first}; choose another path", path.display());
                    sink.report(&port.key("path"), message);
                }
            }
            Some(PortKind::Memif { path, id, role, .. }) => {
                let shared = memif_paths.get(path.as_path()).copied();
                let first = claims.claim(path, || label(port)).map(str::to_owned);
                match (shared, first) {
                    (None, Some(first)) => {
                        let message = format!(
                            "{} is already the socket of {first}; choose another path",
                            path.display()
                        );
                        sink.report(&port.key("path"), message);
                        continue;
                    }
                    (Some(other), Some(first)) if other != *role => {
                        let message = format!(
                            "{first} has the other role on {}; use one role per socket",
                            path.display()
                        );
                        sink.report(&port.key("role"), message);
                    }
                    _ => {}
                }
                memif_paths.entry(path).or_insert(*role);
                if let Some(first) = memif_ids.claim((path, id), || label(port)) {
                    let message =
                        format!("{id} is already the id of {first} on {}; choose another", path.display());
                    sink.report(&port.key("id"), message);
                }
            }
            _ => {}
        }
    }
}
