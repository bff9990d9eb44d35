//! Ports that are DPDK devices: kind `dpdk`, and the part that `af_xdp` and `memif` share with it.

use shunt_ffi::ethdev::{EthDevice, EthError, EthOptions};

use super::{Device, DeviceStatus, FRAME_OVERHEAD, Opened, RxQueue, Site, TxQueue, spread};
use crate::offload::EgressCapabilities;

/// Descriptors per queue where the device leaves the choice.
const DESCRIPTORS: u16 = 1024;

/// Opens any DPDK device by its arguments.
pub(super) fn open(
    site: &Site,
    port: &shunt_config::Port,
    devargs: &str,
    mtu: u16,
) -> Result<Opened, String> {
    let options = EthOptions {
        devargs: devargs.to_owned(),
        rx_queues: port.queues,
        tx_queues: u16::try_from(site.workers).unwrap_or(u16::MAX),
        mtu: port.mtu,
        descriptors: DESCRIPTORS,
        tx_free_threshold: None,
        pool: site.pool,
        interrupts: false,
    };
    let opened = EthDevice::open(site.eal, &options).map_err(|error| advice(&error))?;
    let has = opened.device.capabilities();
    let can = EgressCapabilities {
        checksum: has.checksum,
        tso4: has.tso,
        tso6: has.tso,
        uso: false,
        multi_segment: has.multi_segment,
    };
    let longest = opened.device.longest_frame();
    let tx = opened.tx.into_iter().map(|queue| TxQueue::Ethdev(queue, can)).collect();
    Ok(Opened {
        rx: opened.rx.into_iter().map(RxQueue::Ethdev).collect(),
        tx: spread(tx, site.workers),
        device: Device::Ethdev(opened.device),
        max_frame: u32::from(mtu) + FRAME_OVERHEAD,
        longest,
        l3: None,
    })
}

/// What to do about a device that does not open. DPDK itself gives only an error number.
fn advice(error: &EthError) -> String {
    match error {
        EthError::Dpdk { .. } => format!(
            "{error}; check that `devargs` names a PCI address bound to a DPDK driver, or a virtual device whose files and \
             interfaces exist; the log has DPDK's own words"
        ),
        other => other.to_string(),
    }
}

/// Link, losses and a line about the device.
pub(super) fn status(device: &EthDevice) -> DeviceStatus {
    let statistics = device.statistics().unwrap_or_default();
    let speed = device.link().speed_mbps;
    let speed = if speed == 0 { String::new() } else { format!(", {speed} Mbit/s") };
    DeviceStatus {
        link: device.link().up,
        missed: statistics.rx_missed + statistics.rx_errors + statistics.rx_no_buffer,
        rings: Some(device.rings()),
        about: format!("{}{speed}", device.driver()),
    }
}
