//! Kind `veth`: the host end of a veth pair whose other end is in a pod, by AF_PACKET with virtio-net headers.
//!
//! Frames of up to 64 KiB with partial checksums pass whole in both directions; nothing is changed inside the pod.

use shunt_ffi::kernel::packet::{PacketDevice, PacketOptions};

use super::{Device, DeviceStatus, ETHERNET, FRAME_OVERHEAD, Opened, RxQueue, Site, TAG, TxQueue};

/// Opens the host end `interface`.
pub(super) fn open(
    site: &Site,
    port: &shunt_config::Port,
    interface: &str,
    mtu: u16,
) -> Result<Opened, String> {
    let mut options = PacketOptions::new(interface, site.kernel_pools());
    options.queues = port.queues;
    options.mtu = port.mtu.map(u32::from);
    let opened = PacketDevice::open(&options).map_err(|error| error.to_string())?;
    // The kernel lets a tag pass on top of the MTU (`packet_snd`, `is_skb_forwardable`).
    let longest = opened.device.mtu().ok().map(|mtu| mtu + ETHERNET + TAG);
    Ok(Opened {
        rx: opened.rx.into_iter().map(RxQueue::Packet).collect(),
        tx: (0..site.workers).map(|_| TxQueue::Packet(opened.tx.clone())).collect(),
        device: Device::Packet(opened.device),
        max_frame: u32::from(mtu) + FRAME_OVERHEAD,
        longest,
        l3: None,
    })
}

/// Carrier, frames the kernel dropped because we were too slow, and the host end's address.
pub(super) fn status(device: &mut PacketDevice) -> DeviceStatus {
    let mac = device.mac().map_or_else(|_| String::new(), |mac| shunt_config::MacAddr(mac).to_string());
    let about = format!("af_packet, {mac}");
    DeviceStatus { link: device.link_up(), missed: device.kernel_drops(), about, rings: None }
}
