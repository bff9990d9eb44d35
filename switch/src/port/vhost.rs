//! Kind `vhost-user`: a virtual machine's virtio-net device or a container's virtio-user, over a Unix socket.

use shunt_ffi::vhost::{GuestOffloads, VhostMode, VhostOptions, VhostPort};

use super::{Device, DeviceStatus, FRAME_OVERHEAD, Opened, RxQueue, Site, TxQueue};
use crate::offload::EgressCapabilities;

/// What the configuration says of a vhost-user port.
pub(super) struct Wanted<'a> {
    pub(super) path: &'a std::path::Path,
    pub(super) mode: shunt_config::VhostMode,
    pub(super) tso: bool,
    pub(super) mergeable: bool,
}

/// Opens the socket; the guest may come any time later.
pub(super) fn open(
    site: &Site,
    port: &shunt_config::Port,
    wanted: &Wanted<'_>,
    mtu: u16,
) -> Result<Opened, String> {
    let path = wanted.path.to_str().ok_or("the socket's path is not UTF-8; choose another")?;
    let mode = match wanted.mode {
        shunt_config::VhostMode::Server => VhostMode::Server,
        shunt_config::VhostMode::Client => VhostMode::Client,
    };
    let options = VhostOptions {
        path: path.to_owned(),
        mode,
        queues: port.queues,
        tx_queues: u16::try_from(site.workers).unwrap_or(u16::MAX),
        tso: wanted.tso,
        mergeable: wanted.mergeable,
        pool: site.pool,
    };
    let name = port.name.to_string();
    let report = move |event| tracing::info!(port = %name, ?event, "guest");
    let opened = VhostPort::open(site.eal, &options, report).map_err(|error| error.to_string())?;
    Ok(Opened {
        rx: opened.rx.into_iter().map(RxQueue::Vhost).collect(),
        tx: opened.tx.into_iter().map(TxQueue::Vhost).collect(),
        device: Device::Vhost(opened.port),
        max_frame: u32::from(mtu) + FRAME_OVERHEAD,
        longest: None,
        l3: None,
    })
}

/// What the attached guest takes unfinished.
#[inline]
pub(super) fn capabilities(guest: GuestOffloads) -> EgressCapabilities {
    EgressCapabilities {
        checksum: guest.checksum,
        tso4: guest.tso_v4,
        tso6: guest.tso_v6,
        uso: false,
        // The library copies a chain into the guest's buffers, however many there are of either.
        multi_segment: true,
    }
}

/// Attached or not, malformed frames of the guest, what was negotiated.
pub(super) fn status(port: &VhostPort) -> DeviceStatus {
    let statistics = port.statistics();
    let guest = port.offloads();
    let about = if port.is_attached() {
        let flag = |on: bool, name: &str| if on { format!(" {name}") } else { String::new() };
        let tso = flag(guest.tso_v4 || guest.tso_v6, "tso");
        format!("guest attached:{}{tso}{}", flag(guest.checksum, "csum"), flag(guest.mergeable, "mergeable"))
    } else {
        "no guest attached".to_owned()
    };
    let missed =
        statistics.rx_short + statistics.rx_bad_offload + statistics.rx_too_long + statistics.rx_no_buffers;
    DeviceStatus { link: port.is_attached(), missed, about, rings: None }
}
