//! Kinds `tap` and `tun`: a kernel interface of the daemon's making, moved into the pod's namespace, with virtio-net
//! headers. TAP carries Ethernet frames; TUN carries IP packets, for which the switch speaks ARP and ND.

use std::net::IpAddr;

use shunt_config::{IpNet, KernelRoute, MacAddr, Netns};
use shunt_ffi::kernel::tap::{Route, TapDevice, TapMode, TapOptions, TapTxQueue};

use super::{Device, DeviceStatus, FRAME_OVERHEAD, Opened, RxQueue, Shared, Site, TxQueue, derived_mac};
use crate::topology::L3Interface;
use crate::wire::ethernet::Mac;

/// What the configuration says of a TAP or TUN port.
pub(super) struct Wanted<'a> {
    pub(super) mode: TapMode,
    pub(super) netns: Option<&'a Netns>,
    pub(super) addresses: &'a [IpNet],
    pub(super) routes: &'a [KernelRoute],
    pub(super) peer_mac: Option<MacAddr>,
    /// What a host port has of its network's gateway: that Ethernet address, and those addresses besides its own.
    pub(super) shared: Option<&'a Shared>,
}

/// Makes the interface.
pub(super) fn open(
    site: &Site,
    port: &shunt_config::Port,
    wanted: &Wanted<'_>,
    mtu: u16,
) -> Result<Opened, String> {
    let name = port.device().unwrap_or(port.name.as_str());
    let mut options = TapOptions::new(name, wanted.mode, site.kernel_pools());
    options.queues = port.queues;
    options.mtu = Some(u32::from(mtu));
    // The same after every restart: the other pods remember it.
    options.mac = Some(peer_mac(port, wanted).octets());
    options.netns = wanted.netns.map(Netns::path);
    options.addresses = addresses(wanted);
    let route = |route: &KernelRoute| Route {
        to: (route.to.addr(), route.to.prefix_len()),
        via: route.via,
        src: route.src,
    };
    options.routes = wanted.routes.iter().map(route).collect();
    let opened = TapDevice::open(&options).map_err(|error| error.to_string())?;
    let uso = opened.device.uso();
    // A worker sends through the queue of its number, as far as there are so many; the kernel locks.
    let of_worker = |worker: usize| -> TapTxQueue { opened.tx[worker % opened.tx.len()].clone() };
    Ok(Opened {
        tx: (0..site.workers).map(|worker| TxQueue::Tap(of_worker(worker), uso)).collect(),
        rx: opened.rx.into_iter().map(RxQueue::Tap).collect(),
        device: Device::Tap(opened.device),
        max_frame: u32::from(mtu) + FRAME_OVERHEAD,
        longest: None,
        l3: (wanted.mode == TapMode::Tun).then(|| l3_interface(port, wanted)),
    })
}

/// The addresses of the kernel's side: as configured, and those it shares.
fn addresses(wanted: &Wanted<'_>) -> Vec<(IpAddr, u8)> {
    let shared = wanted.shared.map_or(&[][..], |shared| &shared.addresses);
    let given = |net: &&IpNet| wanted.addresses.iter().all(|given| given.addr() != net.addr());
    let all = wanted.addresses.iter().chain(shared.iter().filter(given));
    all.map(|net| (net.addr(), net.prefix_len())).collect()
}

/// The Ethernet address of the kernel's side: the gateway's that it shares, else as configured, else drawn from node and
/// port.
fn peer_mac(port: &shunt_config::Port, wanted: &Wanted<'_>) -> MacAddr {
    let shared = wanted.shared.map(|shared| shared.mac);
    shared.or(wanted.peer_mac).unwrap_or_else(|| derived_mac(port.name.as_str()))
}

/// How the switch speaks for a TUN port.
fn l3_interface(port: &shunt_config::Port, wanted: &Wanted<'_>) -> L3Interface {
    let mut interface = L3Interface { mac: Mac::from(peer_mac(port, wanted)), ipv4: None, ipv6: None };
    for address in wanted.addresses {
        match address.addr() {
            IpAddr::V4(v4) => interface.ipv4 = interface.ipv4.or(Some(v4)),
            IpAddr::V6(v6) => interface.ipv6 = interface.ipv6.or(Some(v6)),
        }
    }
    interface
}

/// Frames the kernel dropped because a queue was full, and the kernel's side.
pub(super) fn status(device: &mut TapDevice) -> DeviceStatus {
    let mac = device.mac().map_or_else(String::new, |mac| format!(", {}", MacAddr(mac)));
    let about = format!("{}{mac}", device.name());
    DeviceStatus { link: true, missed: device.kernel_drops(), about, rings: None }
}
