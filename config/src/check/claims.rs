//! What only one port may have: a kernel device, a DPDK device, a socket, an address in its network (where a gateway may
//! have it already).

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::daemon::Daemon;
use crate::error::Sink;
use crate::mac::MacAddr;
use crate::names::NetworkName;
use crate::network::Network;
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
}

/// Reports everything that is claimed twice.
pub(crate) fn all(ports: &[Draft], daemon: &Daemon, networks: &HashMap<&str, &Network>, sink: &mut Sink) {
    devices(ports, sink);
    queue_ranges(ports, sink);
    sockets(ports, daemon, sink);
    addresses(ports, networks, sink);
    stations(ports, networks, sink);
}

fn label(port: &Draft) -> String {
    match &port.name {
        Some(name) => format!("port {name}"),
        None => port.path.clone(),
    }
}

/// Kernel devices by namespace and name, DPDK devices by name. Two AF_XDP ports may share a device: see
/// [`queue_ranges`].
fn devices(ports: &[Draft], sink: &mut Sink) {
    let mut kernel: Claims<(Option<PathBuf>, &str)> = Claims::new();
    let mut shared: HashMap<&str, bool> = HashMap::new();
    let mut dpdk = Claims::new();
    for port in ports {
        let Some(kind) = &port.kind else { continue };
        if let PortKind::Dpdk { devargs } = kind {
            let device = devargs.split(',').next().unwrap_or_default();
            if let Some(first) = dpdk.claim(device, || label(port)) {
                let message =
                    format!("{} is already the device of {first}; give each port its own", quote(device));
                sink.report(&port.key("devargs"), message);
            }
            continue;
        }
        let device = match (&port.name, kind) {
            (Some(name), kind) => kind.device(name),
            (None, PortKind::Veth { device } | PortKind::AfXdp { device, .. }) => Some(device.as_str()),
            (None, PortKind::Tap { device, .. } | PortKind::Tun { device, .. }) => device.as_deref(),
            _ => None,
        };
        let Some(device) = device else { continue };
        let xdp = matches!(kind, PortKind::AfXdp { .. });
        let both_xdp = xdp && shared.get(device) == Some(&true);
        if let Some(first) = kernel.claim((kind.netns().map(|n| n.path()), device), || label(port)) {
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
    let mut taken: HashMap<&str, Vec<(u16, u16, &Draft)>> = HashMap::new();
    for port in ports {
        let (Some(PortKind::AfXdp { device, start_queue }), Some(queues)) = (&port.kind, port.queues) else {
            continue;
        };
        let (start, end) = (*start_queue, start_queue.saturating_add(queues));
        let ranges = taken.entry(device).or_default();
        if let Some((_, _, first)) = ranges.iter().find(|(s, e, _)| start < *e && *s < end) {
            let first = label(first);
            let which = match queues {
                1 => format!("queue {start}"),
                _ => format!("some of queues {start} to {}", end - 1),
            };
            let message = format!("{first} has {which} of {device} already; choose another start_queue");
            sink.report(&port.key("start_queue"), message);
        }
        ranges.push((start, end, port));
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

/// Two stations of one network must not have the same address.
fn addresses(ports: &[Draft], networks: &HashMap<&str, &Network>, sink: &mut Sink) {
    let mut claims: Claims<(&str, IpAddr)> = Claims::new();
    for (name, network) in networks {
        for net in &network.gateways {
            claims.claim((name, net.addr()), || format!("the gateway of network {name}"));
        }
    }
    for port in ports {
        let Some(network) = port.network.as_ref().map(NetworkName::as_str) else { continue };
        let own = port.kind.as_ref().map(PortKind::addresses).unwrap_or_default();
        let mut claim = |address: IpAddr, key: &str| {
            if let Some(first) = claims.claim((network, address), || label(port)) {
                let message = format!("{address} is already an address of {first}; choose another");
                sink.report(&port.key(key), message);
            }
        };
        for (i, net) in own.iter().enumerate() {
            claim(net.addr(), &format!("addresses[{i}]"));
        }
        for (i, endpoint) in port.endpoints.iter().flatten().enumerate() {
            for (j, ip) in endpoint.iter().flat_map(|endpoint| &endpoint.ip).enumerate() {
                // An endpoint may be the kernel's side of the port itself.
                if !own.iter().any(|net| net.addr() == *ip) {
                    claim(*ip, &format!("endpoints[{i}].ip[{j}]"));
                }
            }
        }
    }
}

/// The addresses that configuration puts behind ports: the kernel's side of TAP and TUN, and given stations.
fn stations(ports: &[Draft], networks: &HashMap<&str, &Network>, sink: &mut Sink) {
    let mut claims: Claims<(&str, MacAddr)> = Claims::new();
    for (name, network) in networks.iter().filter(|(_, network)| !network.gateways.is_empty()) {
        claims.claim((name, network.gateway_mac()), || format!("the gateway of network {name}"));
    }
    for port in ports {
        let Some(network) = port.network.as_ref().map(NetworkName::as_str) else { continue };
        let mut claim = |mac: MacAddr, key: &str| {
            if let Some(first) = claims.claim((network, mac), || label(port)) {
                let message = format!("{mac} is already the address of {first}; choose another");
                sink.report(&port.key(key), message);
            }
        };
        for (i, mac) in port.stations.iter().flatten().enumerate() {
            claim(*mac, &format!("stations[{i}]"));
        }
        let endpoints = || port.endpoints.iter().flatten().enumerate();
        for (i, endpoint) in endpoints().filter_map(|(i, endpoint)| Some((i, endpoint.as_ref()?))) {
            claim(endpoint.mac, &format!("endpoints[{i}].mac"));
        }
        if let Some(PortKind::Tap { peer_mac: Some(mac), .. } | PortKind::Tun { peer_mac: Some(mac), .. }) =
            &port.kind
            // An endpoint may be the kernel's side of the port itself.
            && !endpoints().any(|(_, endpoint)| endpoint.as_ref().is_some_and(|endpoint| endpoint.mac == *mac))
        {
            claim(*mac, "peer_mac");
        }
    }
}
