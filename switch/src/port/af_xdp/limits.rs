//! What AF_XDP asks of kernel, process and interface, looked at before the driver is asked, because the driver
//! answers everything with `EINVAL`. Each refusal is one line that says what to do.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use shunt_ffi::kernel::xdp::{self, Buffers, XdpInterface};

use crate::port::FRAME_OVERHEAD;

/// Largest buffer that fits a page together with its descriptor, headroom and padding: a chunk of AF_XDP memory may
/// not cross pages (`xdp_umem_reg`, net/xdp/xdp_umem.c).
const LARGEST_BUFFER: u32 = 3712;
/// Smallest buffer that makes a chunk of 2 KiB with them (`XDP_UMEM_MIN_CHUNK_SIZE`).
const SMALLEST_BUFFER: u32 = 1728;
/// Bytes of each buffer that the kernel keeps free in front of a frame (`XDP_PACKET_HEADROOM`).
const XDP_HEADROOM: u32 = 256;
/// Largest MTU: what fits the largest buffer with an Ethernet header and tags.
const LARGEST_MTU: u32 = LARGEST_BUFFER - XDP_HEADROOM - FRAME_OVERHEAD;
/// Buffers of each queue: 2,048 that the kernel keeps to fill (`ETH_AF_XDP_DFLT_NUM_DESCS` of the driver), and as many
/// under way in each direction.
const BUFFERS: u32 = 3 * 2048;
/// Largest MTU of a veth's other end with an XDP program here: a page less headroom, `skb_shared_info` and Ethernet
/// header (`veth_xdp_set`, drivers/net/veth.c).
const VETH_MTU: u32 = 3498;
/// How long the kernel may take to let go of a queue: it does so from a work queue (`xp_release_deferred`).
const RELEASE: Duration = Duration::from_millis(500);
/// Between two looks whether it has.
pub(super) const STEP: Duration = Duration::from_millis(10);

/// Capabilities of capability(7) by number.
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_ADMIN: u32 = 21;
const BPF: u32 = 39;

/// Kernel and process may make AF_XDP sockets and load their program.
pub(super) fn privileges() -> Result<(), String> {
    let needs = "af_xdp needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF; run as root or give them to the daemon";
    match xdp::supported() {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => {
            return Err(
                "this kernel has no AF_XDP sockets; build it with CONFIG_XDP_SOCKETS or use kind `veth`"
                    .to_owned(),
            );
        }
        Err(_) => return Err(needs.to_owned()),
    }
    let has = effective_capabilities();
    let may = |capability: u32| has & 1 << capability != 0;
    if may(NET_ADMIN) && may(NET_RAW) && (may(BPF) || may(SYS_ADMIN)) {
        Ok(())
    } else {
        Err(needs.to_owned())
    }
}

/// `CapEff` of the calling thread; all of them when it cannot be read, since the kernel then decides.
fn effective_capabilities() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(u64::MAX)
}

/// The interface has the queues. The driver counts combined queues only, and takes one where there are none.
pub(super) fn queues(interface: &XdpInterface, device: &str, start: u16, queues: u16) -> Result<(), String> {
    let has = interface.channels();
    if u32::from(queues) > has.usable {
        return Err(format!(
            "interface `{device}` has {} queues for af_xdp, {queues} are wanted; lower `queues`, or add some with `ethtool -L {device} combined {queues}`",
            has.usable
        ));
    }
    if u32::from(start) + u32::from(queues) > has.receiving {
        return Err(format!(
            "interface `{device}` has no queue {}: it has {}; lower `start_queue`",
            start + queues - 1,
            has.receiving
        ));
    }
    if has.receiving > u32::from(queues) {
        tracing::warn!(
            device,
            queues = has.receiving,
            "frames on queues that no af_xdp port takes go to the kernel"
        );
    }
    Ok(())
}

/// How large packets get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mtu {
    /// What the port may send: the smaller of what the port and its interface have.
    pub(super) sends: u32,
    /// What the interface may deliver.
    receives: u32,
}

impl Mtu {
    /// Buffers that hold what comes.
    pub(super) fn buffers(self, queues: u16) -> Buffers {
        let room = (self.receives + FRAME_OVERHEAD + XDP_HEADROOM).max(SMALLEST_BUFFER);
        Buffers { count: u32::from(queues) * BUFFERS, room: room.min(LARGEST_BUFFER) as u16 }
    }
}

/// Checks that frames fit. `sets`: the port sets the interface's MTU to its own.
pub(super) fn mtu(interface: &XdpInterface, device: &str, mtu: u16, sets: bool) -> Result<Mtu, String> {
    let mtu = u32::from(mtu);
    let advice = format!("af_xdp carries up to {LARGEST_MTU}; use kind `veth` for more");
    if mtu > LARGEST_MTU {
        return Err(format!("mtu {mtu} is too large: {advice}"));
    }
    let has = if sets { mtu } else { interface.mtu().map_err(|error| error.to_string())? };
    if has > LARGEST_MTU {
        return Err(format!(
            "interface `{device}` has mtu {has}, lower it to {mtu} there and at its other end: {advice}"
        ));
    }
    Ok(Mtu { sends: mtu.min(has), receives: mtu.max(has) })
}

/// When an AF_XDP port of ours was last closed.
static CLOSED: Mutex<Option<Instant>> = Mutex::new(None);

/// To be called when a port closes.
pub(super) fn closing() {
    *CLOSED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

/// Until when a queue may be taken by the port's own past: now, unless one was closed a moment ago.
pub(super) fn own_past_ends() -> Instant {
    let now = Instant::now();
    let closed = *CLOSED.lock().unwrap_or_else(PoisonError::into_inner);
    closed.map_or(now, |closed| (closed + RELEASE).max(now))
}

/// Queues that the driver could not set up.
pub(super) struct Queues<'a> {
    pub(super) interface: &'a XdpInterface,
    pub(super) device: &'a str,
    pub(super) start: u16,
    pub(super) count: u16,
}

impl Queues<'_> {
    /// Why. Binds each queue for a moment, which gets the kernel's reason where the driver gave none.
    pub(super) fn refusal(&self) -> String {
        let device = self.device;
        // The driver's failed attempt holds the queue for a while, too.
        let deadline = Instant::now() + RELEASE;
        for queue in self.start..self.start + self.count {
            while let Err(error) = self.interface.try_bind(u32::from(queue)) {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
                if errno != Errno::EBUSY {
                    return format!("queue {queue} of `{device}` cannot be bound: {errno}; use kind `veth`");
                }
                if Instant::now() >= deadline {
                    return format!(
                        "queue {queue} of `{device}` is taken by another af_xdp socket; stop that program or choose another `start_queue`"
                    );
                }
                std::thread::sleep(STEP);
            }
        }
        // Our bind is let go of as late as the driver's.
        closing();
        let other_end = if self.interface.driver().0 == "veth" {
            format!(", lower the mtu of the veth's other end to {VETH_MTU} or less")
        } else {
            String::new()
        };
        format!(
            "the kernel refused the xdp program or the buffers of `{device}`: remove a program that is attached (`ip link set {device} xdp off`){other_end}, and allow locked memory (CAP_IPC_LOCK)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_hold_what_comes_behind_the_kernels_headroom() {
        for mtu in [68, 1500, 1501, 3000, LARGEST_MTU] {
            let buffers = Mtu { sends: mtu, receives: mtu }.buffers(2);
            assert!(u32::from(buffers.room) >= mtu + FRAME_OVERHEAD + XDP_HEADROOM, "{mtu}: {buffers:?}");
            assert!((SMALLEST_BUFFER..=LARGEST_BUFFER).contains(&u32::from(buffers.room)));
            assert_eq!(buffers.count, 2 * 6144);
        }
        const { assert!(LARGEST_MTU <= VETH_MTU, "the kernel's limit is not the first that is met") };
    }
}
