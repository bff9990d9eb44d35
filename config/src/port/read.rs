//! Reading the keys of one port kind. One function per kind: keys in, variant out.

use ipnet::IpNet;

use super::bond;
use super::kind::{MemifRole, PortKind, VhostMode};
use super::netns::Netns;
use super::route;
use super::secret::Secret;
use crate::error::Reported;
use crate::mac::MacAddr;
use crate::names::check_device_name;
use crate::raw::{Raw, quote};
use crate::section::Section;
use crate::value;

/// One section as the functions of this file see it.
type Keys<'x, 'a, 's> = &'x mut Section<'a, 's>;
type Reader = fn(Keys<'_, '_, '_>) -> Result<PortKind, Reported>;

const READERS: &[(&str, Reader)] = &[
    ("veth", veth),
    ("tap", tap),
    ("tun", tun),
    ("af_xdp", af_xdp),
    ("vhost-user", vhost_user),
    ("memif", memif),
    ("dpdk", dpdk),
    ("bond", bond::keys),
];

/// The kind with its keys, and the refusal of all keys it does not have.
pub(crate) fn kind(section: Keys<'_, '_, '_>) -> Option<PortKind> {
    match section.required("kind", "\"veth\"", value::entry_of(READERS)) {
        Ok((name, reader)) => {
            section.refuse_others(Some((name, "ports")));
            reader(section).ok()
        }
        Err(Reported) => {
            section.refuse_others(None);
            None
        }
    }
}

pub(super) fn veth(section: Keys<'_, '_, '_>) -> Result<PortKind, Reported> {
    Ok(PortKind::Veth { device: section.required("device", "\"veth0\"", device)? })
}

fn tap(section: Keys<'_, '_, '_>) -> Result<PortKind, Reported> {
    let Tuntap { device, netns, addresses, peer_mac } = tuntap(section);
    let routes = route::all(section, addresses.as_deref().ok());
    Ok(PortKind::Tap {
        device: device?,
        netns: netns?,
        addresses: addresses?,
        routes: routes?,
        peer_mac: peer_mac?,
    })
}

fn tun(section: Keys<'_, '_, '_>) -> Result<PortKind, Reported> {
    let Tuntap { device, netns, addresses, peer_mac } = tuntap(section);
    if matches!(&addresses, Ok(list) if list.is_empty()) {
        let message = "a tun port needs at least one address; add it, as addresses = [\"10.0.0.2/24\"]";
        return Err(section.report("addresses", message));
    }
    Ok(PortKind::Tun { device: device?, netns: netns?, addresses: addresses?, peer_mac: peer_mac? })
}

struct Tuntap {
    device: Result<Option<String>, Reported>,
    netns: Result<Option<Netns>, Reported>,
    addresses: Result<Vec<IpNet>, Reported>,
    peer_mac: Result<Option<MacAddr>, Reported>,
}

fn tuntap(section: Keys<'_, '_, '_>) -> Tuntap {
    Tuntap {
        device: section.optional("device", new_device),
        netns: section.optional("netns", value::parsed::<Netns>),
        addresses: section.list("addresses", value::address),
        peer_mac: section.optional("peer_mac", value::station),
    }
}

pub(super) fn af_xdp(section: Keys<'_, '_, '_>) -> Result<PortKind, Reported> {
    let device = section.required("device", "\"eth0\"", device);
    let start_queue = section.or("start_queue", 0, value::integer(0..=1_023));
    Ok(PortKind::AfXdp { device: device?, start_queue: start_queue? })
}

fn vhost_user(section: Keys<'_, '_, '_>) -> Result<PortKind, Reported> {
    const MODES: &[(&str, VhostMode)] = &[("server", VhostMode::Server), ("client", VhostMode::Client)];
    let path = section.required("path", "\"/run/shunt/vm0.sock\"", value::socket_path);
    let mode = section.or("mode", VhostMode::default(), value::one_of(MODES));
    let tso = section.or("tso", true, value::boolean);
    let mergeable = section.or("mergeable", true, value::boolean);
    Ok(PortKind::VhostUser { path: path?, mode: mode?, tso: tso?, mergeable: mergeable? })
}

fn memif(section: Keys<'_, '_, '_>) -> Result<PortKind, Reported> {
    const ROLES: &[(&str, MemifRole)] = &[("server", MemifRole::Server), ("client", MemifRole::Client)];
    let path = section.required("path", "\"/run/shunt/memif.sock\"", value::socket_path);
    let id = section.or("id", 0, value::integer(0..=i64::from(u32::MAX)));
    let role = section.or("role", MemifRole::default(), value::one_of(ROLES));
    let secret = section.optional("secret", secret);
    let ring_size_log2 = section.or("ring_size_log2", 10, value::integer(1..=14));
    let buffer_size = section.or("buffer_size", 2_048, value::integer(256..=65_535));
    Ok(PortKind::Memif {
        path: path?,
        id: id?,
        role: role?,
        secret: secret?,
        ring_size_log2: ring_size_log2?,
        buffer_size: buffer_size?,
    })
}

pub(super) fn dpdk(section: Keys<'_, '_, '_>) -> Result<PortKind, Reported> {
    Ok(PortKind::Dpdk { devargs: section.required("devargs", "\"0000:03:00.0\"", devargs)? })
}

/// The name of a kernel device that exists.
fn device(raw: Raw<'_>) -> Result<String, String> {
    let text = value::text(raw)?;
    check_device_name(text).map(|()| text.to_owned())
}

/// The name of a kernel device to be made.
fn new_device(raw: Raw<'_>) -> Result<String, String> {
    let name = device(raw)?;
    check_new_device(&name).map(|()| name)
}

/// Two words that a kernel device cannot have for its name: the sysctl tree has them already
/// (`sysctl_dev_name_is_allowed`, net/ipv4/devinet.c).
pub(crate) fn check_new_device(name: &str) -> Result<(), String> {
    match name {
        "all" | "default" => Err(format!("the kernel keeps {name:?} for itself; choose another device name")),
        _ => Ok(()),
    }
}

/// A memif secret. No message shows it.
fn secret(raw: Raw<'_>) -> Result<Secret, String> {
    Secret::new(raw.text().ok_or("expected a string; put the secret in double quotes")?)
}

/// Device arguments: DPDK itself says what is wrong with them when the port is opened; here only what it would not.
fn devargs(raw: Raw<'_>) -> Result<String, String> {
    let text = value::text(raw)?;
    let name = text.split(',').next().unwrap_or_default();
    if name.is_empty() || text.starts_with('-') || name.contains(char::is_whitespace) {
        let shown = quote(text);
        return Err(format!(
            "{shown} does not begin with a device; begin with a PCI address or a name, as net_null0"
        ));
    }
    // RTE_DEV_NAME_MAX_LEN is 64 with the NUL; DPDK would cut a longer name without a word.
    if name.len() > 63 {
        return Err(format!("a device name of {} bytes is too long; DPDK allows 63", name.len()));
    }
    Ok(text.to_owned())
}
