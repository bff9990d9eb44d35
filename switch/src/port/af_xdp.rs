//! Kind `af_xdp`: queues of a kernel device through AF_XDP sockets, by DPDK's `net_af_xdp`; see `docs/ports/af_xdp.md`.
//!
//! For a NIC that has to stay with the kernel, and for the host end of a veth where the rate of small frames counts for
//! more than TCP. What the driver leaves open is closed here:
//!
//! | the driver | here |
//! |---|---|
//! | drops frames longer than a buffer without a word | [`limits`] refuses an MTU it cannot carry |
//! | says `EINVAL` whatever is wrong | [`limits`] looks first, and asks the kernel afterwards |
//! | delivers frames with partial checksums | [`partial`] finds them |
//! | shows a link that is always up, and has no wake-up descriptor | [`watch`] listens to the kernel |
//! | does not count what a full ring loses | [`XdpDevice::status`] does |
//! | keeps buffers when it fails or is closed | they are a pool of the port's own, see [`xdp::open`] |
//! | leaves its socket open when it is closed | [`xdp::open`] closes it |
//! | waits up to a second in an empty poll of a NIC that needs waking | its busy-poll mode, which does not wait |

mod limits;
mod partial;
mod watch;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use shunt_ffi::Burst;
use shunt_ffi::ethdev::{EthDevice, EthError, EthOptions, EthRxQueue, EthTxQueue};
use shunt_ffi::kernel::xdp::{self, Buffers, XdpError, XdpInterface, XdpOpened, XdpSocket};

use super::{
    Device, DeviceStatus, ETHERNET, FRAME_OVERHEAD, Opened, Received, RxQueue, Sent, Site, TAG, TxQueue,
    spread,
};
use crate::offload::EgressCapabilities;
use watch::{Carrier, Watch};

/// Descriptors of a socket's rings: the driver's own default.
const DESCRIPTORS: u16 = 2048;
/// What the kernel takes: finished frames in one buffer.
const NOTHING: EgressCapabilities =
    EgressCapabilities { checksum: false, tso4: false, tso6: false, uso: false, multi_segment: false };

/// Opens queues `start..start + port.queues` of `device`.
pub(super) fn open(
    site: &Site,
    port: &shunt_config::Port,
    device: &str,
    start: u16,
    mtu: u16,
) -> Result<Opened, String> {
    limits::privileges()?;
    let interface = XdpInterface::find(device).map_err(|error| error.to_string())?;
    interface.mac().map_err(|error| error.to_string())?;
    limits::queues(&interface, device, start, port.queues)?;
    let mtu = limits::mtu(&interface, device, mtu, port.mtu.is_some())?;
    let (driver, bus) = interface.driver();
    let software = is_software(&driver, &bus);
    // Busy polling makes an empty poll a system call that does not wait. Software devices are never to be woken.
    let budget = if software { ",busy_budget=0" } else { "" };
    let options = EthOptions {
        devargs: format!(
            "net_af_xdp_{},iface={device},start_queue={start},queue_count={}{budget}",
            port.name, port.queues
        ),
        rx_queues: port.queues,
        // The driver pairs them.
        tx_queues: port.queues,
        mtu: port.mtu,
        descriptors: DESCRIPTORS,
        tx_free_threshold: None,
        pool: site.pool,
        interrupts: false,
    };
    let queues = limits::Queues { interface: &interface, device, start, count: port.queues };
    let XdpOpened { device: opened, sockets } =
        open_device(site, &options, mtu.buffers(port.queues), &queues)?;
    let sockets: Arc<[XdpSocket]> = sockets.into();
    let carrier = Arc::new(Carrier::new(interface));
    let rx = opened.rx.into_iter().map(|queue| {
        let watch = Watch::new(sockets.clone(), carrier.clone())?;
        Ok(RxQueue::Xdp(XdpRxQueue { watch, queue, software }))
    });
    let rx = rx.collect::<Result<Vec<_>, nix::errno::Errno>>().map_err(|error| {
        format!("interface `{device}`: no descriptor to watch it: {error}; raise the limit on open files")
    })?;
    let tx = opened
        .tx
        .into_iter()
        .map(|queue| TxQueue::Xdp(XdpTxQueue { carrier: carrier.clone(), queue }))
        .collect();
    let lost_before = sent_in_vain(device);
    let about = format!("{driver}, queues {start} to {}", start + port.queues - 1);
    Ok(Opened {
        rx,
        tx: spread(tx, site.workers),
        device: Device::Xdp(XdpDevice {
            sockets,
            carrier,
            name: device.to_owned(),
            about,
            lost_before,
            device: opened.device,
        }),
        max_frame: mtu.sends + FRAME_OVERHEAD,
        longest: Some(mtu.sends + ETHERNET + TAG),
        l3: None,
    })
}

/// True when frames may come from the same kernel, which then leaves their checksums to us.
fn is_software(driver: &str, bus: &str) -> bool {
    // A virtio-net device can pass on what its host's kernel left; `tun` says "tap" for its bus.
    bus.is_empty() || matches!(driver, "virtio_net" | "tun")
}

/// Opens the device. The kernel lets go of a queue some time after its socket was closed, so a port that is opened
/// again at once may have to wait for its own past.
fn open_device(
    site: &Site,
    options: &EthOptions,
    buffers: Buffers,
    queues: &limits::Queues<'_>,
) -> Result<XdpOpened, String> {
    let deadline = limits::own_past_ends();
    loop {
        match xdp::open(site.eal, options, buffers) {
            Ok(opened) => return Ok(opened),
            Err(XdpError::Device(EthError::Dpdk { source, .. })) => match source.function {
                "rte_eth_rx_queue_setup" if Instant::now() >= deadline => return Err(queues.refusal()),
                "rte_eth_rx_queue_setup" => std::thread::sleep(limits::STEP),
                "rte_pktmbuf_pool_create" => {
                    return Err(format!(
                        "no memory for {} buffers of `{}`: {source}; lower `mbufs` under [memory] or use fewer ports",
                        buffers.count, queues.device
                    ));
                }
                _ => return Err(format!("interface `{}`: {source}", queues.device)),
            },
            Err(other) => return Err(other.to_string()),
        }
    }
}

/// A receive queue: one AF_XDP socket.
#[derive(Debug)]
pub struct XdpRxQueue {
    // Before the queue: see `Watch`.
    watch: Watch,
    queue: EthRxQueue,
    software: bool,
}

impl XdpRxQueue {
    /// Appends up to `max` frames to `burst`.
    #[inline]
    pub(super) fn receive(&mut self, burst: &mut Burst, max: usize) -> Received {
        let before = burst.len();
        let count = self.queue.receive(burst, max);
        if count == 0 {
            return if self.watch.empty() { Received::Gone } else { Received::Frames(0) };
        }
        if self.software {
            for frame in &burst[before..] {
                frame.prefetch_data();
            }
            for frame in &mut burst[before..] {
                partial::mark(frame);
            }
        }
        Received::Frames(count)
    }

    /// Becomes readable with a frame, or with news of an interface.
    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.watch.wake_fd()
    }

    /// After a sleep: what woke us may have been a link message.
    pub(super) fn woken(&mut self) {
        self.watch.look();
    }
}

/// A transmit queue: the other half of one AF_XDP socket.
#[derive(Debug)]
pub struct XdpTxQueue {
    carrier: Arc<Carrier>,
    queue: EthTxQueue,
}

impl XdpTxQueue {
    /// Sends from the front of `burst`. While there is no carrier the kernel would keep or drop frames without a word,
    /// so it is not given any.
    #[inline]
    pub(super) fn transmit(&mut self, burst: &mut Burst) -> Sent {
        if !self.carrier.is_up() {
            return Sent { down: true, ..Sent::default() };
        }
        Sent { frames: self.queue.transmit(burst), ..Sent::default() }
    }

    pub(super) fn capabilities() -> EgressCapabilities {
        NOTHING
    }
}

/// The control side of the port.
#[derive(Debug)]
pub struct XdpDevice {
    // Before the device: the kernel frees a queue when the last descriptor of its socket is closed.
    sockets: Arc<[XdpSocket]>,
    carrier: Arc<Carrier>,
    name: String,
    about: String,
    lost_before: u64,
    device: EthDevice,
}

impl XdpDevice {
    /// Carrier alone, asked of the kernel.
    pub(super) fn link(&self) -> bool {
        self.carrier.examine();
        self.carrier.is_up()
    }

    /// MAC address of the interface.
    pub(super) fn mac(&self) -> Option<[u8; 6]> {
        self.device.mac()
    }

    /// Carrier; frames lost in the sockets and behind them; driver and queues.
    pub(super) fn status(&self) -> DeviceStatus {
        self.carrier.examine();
        let lost =
            |socket: &XdpSocket| socket.losses().map_or(0, |losses| losses.no_buffer + losses.ring_full);
        let received: u64 = self.sockets.iter().map(lost).sum();
        let sent = sent_in_vain(&self.name).saturating_sub(self.lost_before);
        DeviceStatus {
            link: self.carrier.is_up(),
            missed: received + sent,
            rings: Some(self.device.rings()),
            about: format!("{}, {}", self.device.driver(), self.about),
        }
    }
}

impl Drop for XdpDevice {
    fn drop(&mut self) {
        limits::closing();
    }
}

/// Frames the interface's driver took and dropped (`tx_dropped`): column 12 of /proc/net/dev, whose lines read
/// `name: 8 numbers received, 8 numbers sent` (proc_net_dev(5)). 0 when there is no such interface any more.
fn sent_in_vain(device: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let numbers = text.lines().find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'));
    numbers.and_then(|numbers| numbers.split_ascii_whitespace().nth(11)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::is_software;

    #[test]
    fn only_real_devices_verify_checksums() {
        // As `ethtool -i` prints them.
        for (driver, bus) in [("veth", ""), ("tun", "tap"), ("macvlan", ""), ("virtio_net", "virtio0")] {
            assert!(is_software(driver, bus), "{driver}");
        }
        assert!(!is_software("ixgbe", "0000:03:00.0"));
    }
}
