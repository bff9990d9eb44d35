//! Any Ethernet device DPDK has a driver for, by device arguments: PCI addresses, `net_pcap`, `net_null`, `net_ring`,
//! `net_memif`, `net_af_xdp` and the rest. Devices come and go at run time.
//!
//! [`EthDevice::open`] probes, configures and starts a device and hands out its queues. A queue is an owned value whose
//! burst function takes `&mut self`, so "one thread per queue" is a compile-time fact. The device is stopped, closed and
//! removed when the last of device and queues is dropped, so no queue can outlive it.
//!
//! What is sent is moved, and a queue has one thread at a time:
//! ```
//! # use shunt_ffi::{Burst, Mbuf, ethdev::{EthRxQueue, EthTxQueue}};
//! fn forward(from: &mut EthRxQueue, to: &mut EthTxQueue, more: Mbuf) {
//!     let mut burst = Burst::new();
//!     from.receive(&mut burst, 32);
//!     let _ = burst.push(more);
//!     to.transmit(&mut burst);
//!     burst.iter().for_each(|left| assert!(left.len() > 0));
//! }
//! fn two_queues_two_threads(queues: &mut [EthRxQueue; 2]) {
//!     let [one, two] = queues;
//!     std::thread::scope(|scope| {
//!         scope.spawn(|| one.receive(&mut Burst::new(), 32));
//!         scope.spawn(|| two.receive(&mut Burst::new(), 32));
//!     });
//! }
//! ```
//! A frame cannot be used after it was put into a burst,
//! ```compile_fail,E0382
//! # use shunt_ffi::{Burst, Mbuf, ethdev::EthTxQueue};
//! fn send(to: &mut EthTxQueue, frame: Mbuf) -> u32 {
//!     let mut burst = Burst::new();
//!     let _ = burst.push(frame);
//!     to.transmit(&mut burst);
//!     frame.len()
//! }
//! ```
//! nor looked at in the burst once that was sent,
//! ```compile_fail,E0502
//! # use shunt_ffi::{Burst, ethdev::EthTxQueue};
//! fn send(to: &mut EthTxQueue, burst: &mut Burst) -> u32 {
//!     let first = &burst[0];
//!     to.transmit(burst);
//!     first.len()
//! }
//! ```
//! nor one queue be used in two threads, neither by lending it to both
//! ```compile_fail,E0499
//! # use shunt_ffi::{Burst, ethdev::EthRxQueue};
//! fn share(queue: &mut EthRxQueue) {
//!     std::thread::scope(|scope| {
//!         scope.spawn(|| queue.receive(&mut Burst::new(), 32));
//!         scope.spawn(|| queue.receive(&mut Burst::new(), 32));
//!     });
//! }
//! ```
//! nor by copying it:
//! ```compile_fail,E0308
//! # use shunt_ffi::ethdev::EthRxQueue;
//! fn copy(queue: &EthRxQueue) -> EthRxQueue {
//!     queue.clone()
//! }
//! ```

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;
use std::sync::{Arc, OnceLock};

use crate::burst::{Burst, MAX_BURST};
use crate::eal::Eal;
use crate::error::DpdkError;
use crate::kernel::xdp::Aftermath;
use crate::mempool::Mempool;
use crate::sys;

/// What to open and how.
#[derive(Clone, Debug)]
pub struct EthOptions {
    /// DPDK device arguments, e.g. `net_null0,no-rx=1` or `0000:03:00.0`.
    pub devargs: String,
    /// Receive queues wanted.
    pub rx_queues: u16,
    /// Transmit queues wanted; fewer are made when the device has fewer.
    pub tx_queues: u16,
    /// Largest IP packet to carry; `None` leaves the device's own value.
    pub mtu: Option<u16>,
    /// Descriptors per queue; adjusted to the device's limits.
    pub descriptors: u16,
    /// Free descriptors of a transmit queue below which the driver takes sent buffers back; `None` leaves it the driver's own
    /// value, for most a few, so that nearly a whole queue of sent buffers is under way (`rte_eth_txconf`).
    pub tx_free_threshold: Option<u16>,
    /// Where received frames are stored.
    pub pool: Mempool,
    /// Ask for receive interrupts (adaptive polling); silently off when the driver has none.
    pub interrupts: bool,
}

/// What the device can do for the output stage and the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EthCapabilities {
    /// Completes TCP and UDP checksums on transmit.
    pub checksum: bool,
    /// Cuts TCP frames on transmit.
    pub tso: bool,
    /// Takes frames of more than one segment.
    pub multi_segment: bool,
    /// Can tell a sleeping worker of a received frame.
    pub interrupts: bool,
}

/// Descriptors of each queue: the limits of the device may have made them others than were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// Of a receive queue.
    pub rx: u16,
    /// Of a transmit queue.
    pub tx: u16,
}

/// Link state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Carrier present.
    pub up: bool,
    /// Mbit/s; 0 when unknown.
    pub speed_mbps: u32,
}

/// Device counters (`rte_eth_stats_get`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EthStatistics {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames the device dropped because the worker did not fetch them in time.
    pub rx_missed: u64,
    /// Damaged frames.
    pub rx_errors: u64,
    /// Frames dropped because the pool was empty.
    pub rx_no_buffer: u64,
    /// Frames the device failed to send.
    pub tx_errors: u64,
}

/// Why a device did not open.
#[derive(Debug, thiserror::Error)]
pub enum EthError {
    /// A call failed.
    #[error("device `{devargs}`: {source}")]
    Dpdk {
        /// The device.
        devargs: String,
        /// The failing call.
        source: DpdkError,
    },
    /// Probing made no port.
    #[error(
        "device `{0}`: no driver made a port of it; check the spelling and, for a PCI address, that vfio-pci is bound to it"
    )]
    NoPort(String),
    /// The same device is open already.
    #[error("device `{0}` is in use already; give each port a device of its own")]
    Busy(String),
    /// More queues than the device has.
    #[error("device `{devargs}` has {available} receive queues, {wanted} are wanted; lower `queues`")]
    Queues {
        /// The device.
        devargs: String,
        /// Asked for.
        wanted: u16,
        /// There are.
        available: u16,
    },
    /// The arguments hold a NUL byte.
    #[error("device arguments hold a NUL byte")]
    Text,
}

/// The device itself: control thread only.
#[derive(Debug)]
pub struct EthDevice {
    port: Arc<Port>,
    capabilities: EthCapabilities,
    rings: Rings,
}

#[derive(Debug)]
struct Port {
    id: u16,
    device: *mut sys::rte_device,
    /// Dropped after [`Port::drop`] has closed the device.
    after: OnceLock<Aftermath>,
}

// SAFETY: the raw device pointer is only used in drop, by whichever thread is last; ethdev control calls need no
// particular thread.
unsafe impl Send for Port {}
// SAFETY: shared access reads `id` and sets `after`, which is thread-safe.
unsafe impl Sync for Port {}

impl Drop for Port {
    fn drop(&mut self) {
        // SAFETY: the last user of the port (queues hold an Arc too), so nobody is inside a burst function. The device
        // pointer came from `rte_eth_dev_info_get` and lives until `rte_dev_remove`.
        unsafe {
            sys::rte_eth_dev_stop(self.id);
            sys::rte_eth_dev_close(self.id);
            if !self.device.is_null() {
                sys::rte_dev_remove(self.device);
            }
        }
    }
}

/// A share in a device that does nothing but keep it open.
#[derive(Debug)]
pub(crate) struct KeepOpen {
    _port: Arc<Port>,
}

/// One receive queue.
#[derive(Debug)]
pub struct EthRxQueue {
    port: Arc<Port>,
    queue: u16,
}

/// One transmit queue.
#[derive(Debug)]
pub struct EthTxQueue {
    port: Arc<Port>,
    queue: u16,
    prepare: bool,
}

/// An opened device with all its queues.
#[derive(Debug)]
pub struct Opened {
    /// The control side.
    pub device: EthDevice,
    /// As many as asked for.
    pub rx: Vec<EthRxQueue>,
    /// At least one, at most as many as asked for.
    pub tx: Vec<EthTxQueue>,
}

impl EthDevice {
    /// Probes, configures and starts a device.
    pub fn open(_eal: Eal, options: &EthOptions) -> Result<Opened, EthError> {
        let text = CString::new(options.devargs.as_str()).map_err(|_| EthError::Text)?;
        let fail = |source| EthError::Dpdk { devargs: options.devargs.clone(), source };
        let name = options.devargs.split(',').next().unwrap_or_default();
        if find(name).is_some() {
            return Err(EthError::Busy(options.devargs.clone()));
        }
        // SAFETY: NUL-terminated, copied by the callee.
        DpdkError::check("rte_dev_probe", unsafe { sys::rte_dev_probe(text.as_ptr()) }).map_err(fail)?;
        // SAFETY: as above.
        let id = unsafe { sys::shunt_eth_find(text.as_ptr()) };
        if u32::from(id) >= sys::RTE_MAX_ETHPORTS {
            return Err(EthError::NoPort(options.devargs.clone()));
        }
        let mut port = Port { id, device: std::ptr::null_mut(), after: OnceLock::new() };
        let info = port.info().map_err(fail)?;
        port.device = info.device;
        if options.rx_queues > info.max_rx_queues {
            return Err(EthError::Queues {
                devargs: options.devargs.clone(),
                wanted: options.rx_queues,
                available: info.max_rx_queues,
            });
        }
        let tx_queues = options.tx_queues.min(info.max_tx_queues).max(1);
        let (capabilities, rings) = port.start(options, &info, tx_queues).map_err(fail)?;
        let port = Arc::new(port);
        let rx = (0..options.rx_queues).map(|queue| EthRxQueue { port: port.clone(), queue }).collect();
        let prepare = capabilities.checksum || capabilities.tso;
        let tx = (0..tx_queues).map(|queue| EthTxQueue { port: port.clone(), queue, prepare }).collect();
        Ok(Opened { device: EthDevice { port, capabilities, rings }, rx, tx })
    }

    /// Keeps the device open as long as it lives.
    pub(crate) fn keep_open(&self) -> KeepOpen {
        KeepOpen { _port: self.port.clone() }
    }

    /// Leaves something to be done after the device is closed: by dropping it. Once for each device.
    pub(crate) fn after_close(&self, what: Aftermath) {
        let done = self.port.after.set(what);
        debug_assert!(done.is_ok(), "a device has one aftermath");
    }

    /// What the device can do.
    pub fn capabilities(&self) -> EthCapabilities {
        self.capabilities
    }

    /// How deep its queues are. How full they are (`rte_eth_rx_queue_count`) is for the queue's own worker to ask: drivers read what
    /// a burst under way writes, without a lock.
    pub fn rings(&self) -> Rings {
        self.rings
    }

    /// Link state, without waiting (`rte_eth_link_get_nowait`).
    pub fn link(&self) -> Link {
        let mut link = sys::rte_eth_link::default();
        // SAFETY: a valid port id and a writable structure.
        if unsafe { sys::rte_eth_link_get_nowait(self.port.id, &mut link) } != 0 {
            return Link::default();
        }
        let speed = if link.link_speed == sys::RTE_ETH_SPEED_NUM_UNKNOWN { 0 } else { link.link_speed };
        Link { up: link.link_status() != 0, speed_mbps: speed }
    }

    /// Device counters.
    pub fn statistics(&self) -> Result<EthStatistics, DpdkError> {
        let mut raw = sys::rte_eth_stats::default();
        // SAFETY: a valid port id and a writable structure.
        DpdkError::check("rte_eth_stats_get", unsafe { sys::rte_eth_stats_get(self.port.id, &mut raw) })?;
        Ok(EthStatistics {
            rx_packets: raw.ipackets,
            tx_packets: raw.opackets,
            rx_bytes: raw.ibytes,
            tx_bytes: raw.obytes,
            rx_missed: raw.imissed,
            rx_errors: raw.ierrors,
            rx_no_buffer: raw.rx_nombuf,
            tx_errors: raw.oerrors,
        })
    }

    /// The device's MAC address.
    pub fn mac(&self) -> Option<[u8; 6]> {
        let mut address = sys::rte_ether_addr::default();
        // SAFETY: a valid port id and a writable structure.
        (unsafe { sys::rte_eth_macaddr_get(self.port.id, &mut address) } == 0).then_some(address.addr_bytes)
    }

    /// The device's MTU.
    pub fn mtu(&self) -> Option<u16> {
        let mut mtu = 0;
        // SAFETY: a valid port id and a writable integer.
        (unsafe { sys::rte_eth_dev_get_mtu(self.port.id, &mut mtu) } == 0).then_some(mtu)
    }

    /// The longest frame that the driver says the device takes, tags and all, in bytes without the check sequence; `None` when it does not
    /// say.
    pub fn longest_frame(&self) -> Option<u32> {
        let info = self.port.info().ok()?;
        longest(info.max_rx_pktlen, info.max_mtu)
    }

    /// Name of the driver, e.g. `net_pcap`.
    pub fn driver(&self) -> String {
        match self.port.info() {
            Ok(info) if !info.driver_name.is_null() => {
                // SAFETY: `driver_name` is a static NUL-terminated string of the driver.
                unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned()
            }
            _ => String::new(),
        }
    }
}

/// From what `rte_eth_dev_info` has. DPDK counts the check sequence (`RTE_ETHER_MAX_LEN`), some drivers do not (`net_af_packet`): all take
/// an untagged frame of 1500 bytes.
fn longest(packet: u32, mtu: u16) -> Option<u32> {
    const HEADER: u32 = 14;
    const CHECK_SEQUENCE: u32 = 4;
    match (packet, mtu) {
        (0 | u32::MAX, 0 | u16::MAX) => None,
        (0 | u32::MAX, mtu) => Some(u32::from(mtu) + HEADER),
        (packet, _) => Some(packet.saturating_sub(CHECK_SEQUENCE).max(1500 + HEADER)),
    }
}

fn find(name: &str) -> Option<u16> {
    let name = CString::new(name).ok()?;
    let mut id = 0;
    // SAFETY: NUL-terminated name, writable integer.
    (unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut id) } == 0).then_some(id)
}

impl Port {
    fn info(&self) -> Result<sys::rte_eth_dev_info, DpdkError> {
        let mut info = sys::rte_eth_dev_info::default();
        // SAFETY: a valid port id and a writable structure.
        DpdkError::check("rte_eth_dev_info_get", unsafe { sys::rte_eth_dev_info_get(self.id, &mut info) })?;
        Ok(info)
    }

    fn start(
        &self,
        options: &EthOptions,
        info: &sys::rte_eth_dev_info,
        tx_queues: u16,
    ) -> Result<(EthCapabilities, Rings), DpdkError> {
        let checksum = sys::SHUNT_TXO_TCP_CKSUM | sys::SHUNT_TXO_UDP_CKSUM | sys::SHUNT_TXO_IPV4_CKSUM;
        let has = |bits: u64| info.tx_offload_capa & bits == bits;
        let capabilities = EthCapabilities {
            checksum: has(checksum),
            tso: has(checksum | sys::SHUNT_TXO_TCP_TSO | sys::SHUNT_TXO_MULTI_SEGS),
            multi_segment: has(sys::SHUNT_TXO_MULTI_SEGS),
            interrupts: options.interrupts && self.try_configure(options, info, tx_queues, true).is_ok(),
        };
        if !capabilities.interrupts {
            self.try_configure(options, info, tx_queues, false)?;
        }
        if let Some(mtu) = options.mtu {
            // SAFETY: a valid port id.
            DpdkError::check("rte_eth_dev_set_mtu", unsafe { sys::rte_eth_dev_set_mtu(self.id, mtu) })?;
        }
        let rings = self.queues(options, tx_queues)?;
        // SAFETY: configured above.
        DpdkError::check("rte_eth_dev_start", unsafe { sys::rte_eth_dev_start(self.id) })?;
        // A switch port receives everything; drivers without the notion say ENOTSUP, which is fine.
        // SAFETY: a valid port id.
        unsafe { sys::rte_eth_promiscuous_enable(self.id) };
        Ok((capabilities, rings))
    }

    fn try_configure(
        &self,
        options: &EthOptions,
        info: &sys::rte_eth_dev_info,
        tx_queues: u16,
        interrupts: bool,
    ) -> Result<(), DpdkError> {
        let mut conf = sys::rte_eth_conf::default();
        conf.rxmode.offloads = info.rx_offload_capa & (sys::SHUNT_RXO_SCATTER | sys::SHUNT_RXO_CHECKSUM);
        conf.txmode.offloads = info.tx_offload_capa
            & (sys::SHUNT_TXO_IPV4_CKSUM
                | sys::SHUNT_TXO_TCP_CKSUM
                | sys::SHUNT_TXO_UDP_CKSUM
                | sys::SHUNT_TXO_TCP_TSO
                | sys::SHUNT_TXO_MULTI_SEGS);
        if options.rx_queues > 1 && info.flow_type_rss_offloads != 0 {
            conf.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads;
        }
        conf.intr_conf.set_rxq(u32::from(interrupts));
        // SAFETY: a valid port id and a complete configuration; the port is stopped.
        DpdkError::check("rte_eth_dev_configure", unsafe {
            sys::rte_eth_dev_configure(self.id, options.rx_queues, tx_queues, &conf)
        })?;
        Ok(())
    }

    fn queues(&self, options: &EthOptions, tx_queues: u16) -> Result<Rings, DpdkError> {
        let (mut rx, mut tx) = (options.descriptors, options.descriptors);
        // SAFETY: valid port id, writable integers.
        DpdkError::check("rte_eth_dev_adjust_nb_rx_tx_desc", unsafe {
            sys::rte_eth_dev_adjust_nb_rx_tx_desc(self.id, &mut rx, &mut tx)
        })?;
        for queue in 0..options.rx_queues {
            // SAFETY: configured port, null selects the driver's defaults, the pool lives for ever.
            DpdkError::check("rte_eth_rx_queue_setup", unsafe {
                sys::rte_eth_rx_queue_setup(
                    self.id,
                    queue,
                    rx,
                    sys::SOCKET_ID_ANY as u32,
                    std::ptr::null(),
                    options.pool.as_ptr(),
                )
            })?;
        }
        // Zeroes are the driver's defaults, too.
        let conf = options
            .tx_free_threshold
            .map(|tx_free_thresh| sys::rte_eth_txconf { tx_free_thresh, ..Default::default() });
        let conf = conf.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        for queue in 0..tx_queues {
            // SAFETY: as above; the driver copies what it needs of the configuration.
            DpdkError::check("rte_eth_tx_queue_setup", unsafe {
                sys::rte_eth_tx_queue_setup(self.id, queue, tx, sys::SOCKET_ID_ANY as u32, conf)
            })?;
        }
        Ok(Rings { rx, tx })
    }
}

impl Port {
    /// Carrier, without waiting: one indirect call and one load for drivers that keep the state, as virtual ones do.
    fn link_up(&self) -> bool {
        let mut link = sys::rte_eth_link::default();
        // SAFETY: a valid port id and a writable structure.
        (unsafe { sys::rte_eth_link_get_nowait(self.id, &mut link) }) == 0 && link.link_status() != 0
    }
}

impl EthRxQueue {
    /// Carrier of the device; for a queue that has nothing, not for every burst.
    pub fn link_up(&self) -> bool {
        self.port.link_up()
    }

    /// Appends up to `max` received frames to `burst`; returns how many (`rte_eth_rx_burst`).
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst, max: usize) -> usize {
        let spare = burst.spare_raw();
        let room = max.min(spare.len()).min(MAX_BURST);
        // SAFETY: `spare` has at least `room` slots; `&mut self` makes this the only caller on this queue; the port is
        // started because queues exist only after `start`.
        let count =
            unsafe { sys::shunt_eth_rx_burst(self.port.id, self.queue, spare.as_mut_ptr(), room as u16) };
        // SAFETY: the driver handed over `count` frames.
        unsafe { burst.grow(usize::from(count)) };
        usize::from(count)
    }

    /// The descriptor that becomes readable when a frame arrives, if the driver has one.
    pub fn interrupt_fd(&self) -> Option<RawFd> {
        // SAFETY: valid port and queue.
        let fd = unsafe { sys::rte_eth_dev_rx_intr_ctl_q_get_fd(self.port.id, self.queue) };
        (fd >= 0).then_some(fd)
    }

    /// Arms (before sleeping) or disarms the receive interrupt.
    pub fn set_interrupt(&mut self, enabled: bool) -> Result<(), DpdkError> {
        if enabled {
            // SAFETY: valid port and queue, owned by this thread.
            DpdkError::check("rte_eth_dev_rx_intr_enable", unsafe {
                sys::rte_eth_dev_rx_intr_enable(self.port.id, self.queue)
            })?;
        } else {
            // SAFETY: as above.
            DpdkError::check("rte_eth_dev_rx_intr_disable", unsafe {
                sys::rte_eth_dev_rx_intr_disable(self.port.id, self.queue)
            })?;
        }
        Ok(())
    }
}

impl EthTxQueue {
    /// Carrier of the device; for a queue that takes nothing, not for every burst.
    pub fn link_up(&self) -> bool {
        self.port.link_up()
    }

    /// Sends from the front of `burst`; frames that did not fit into the queue stay in it. Returns how many left.
    #[inline]
    pub fn transmit(&mut self, burst: &mut Burst) -> usize {
        let prepare = self.prepare && burst.iter().any(super::mbuf::Mbuf::needs_offload);
        let frames = burst.raw();
        let mut ready = frames.len() as u16;
        if prepare {
            // SAFETY: owned frames; the driver only edits their checksum fields. It returns how many are fit to send.
            ready =
                unsafe { sys::shunt_eth_tx_prepare(self.port.id, self.queue, frames.as_mut_ptr(), ready) };
        }
        // SAFETY: `&mut self` makes this the only caller on this queue; the port is started.
        let sent = unsafe { sys::shunt_eth_tx_burst(self.port.id, self.queue, frames.as_mut_ptr(), ready) };
        // SAFETY: the driver owns the first `sent` frames now.
        unsafe { burst.forget_front(usize::from(sent)) };
        usize::from(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::longest;

    #[test]
    fn what_a_driver_says_of_lengths() {
        const NOTHING: u32 = u32::MAX;
        for (packet, mtu, frame) in [
            (NOTHING, u16::MAX, None),
            (0, 0, None),
            (1518, u16::MAX, Some(1514)),
            (1522, u16::MAX, Some(1518)),
            (9728, 9702, Some(9724)),
            (NOTHING, 1500, Some(1514)),
            // `net_af_packet`: without the check sequence.
            (1514, u16::MAX, Some(1514)),
        ] {
            assert_eq!(longest(packet, mtu), frame, "{packet} {mtu}");
        }
    }
}
