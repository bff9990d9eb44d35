//! What AF_XDP asks of kernel, process, buffers and interface, looked at before the driver is asked, because the driver
//! answers everything with `EINVAL`. Each refusal is one line that says what to do.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use shunt_ffi::Mempool;
use shunt_ffi::kernel::xdp::{self, XdpInterface};

use crate::port::FRAME_OVERHEAD;

/// Largest buffer that fits a page together with its descriptor, headroom and padding: a chunk of AF_XDP memory may
/// not cross pages (`xdp_umem_reg`, net/xdp/xdp_umem.c).
const LARGEST_BUFFER: u16 = 3712;
/// Smallest buffer that makes a chunk of 2 KiB with them (`XDP_UMEM_MIN_CHUNK_SIZE`).
const SMALLEST_BUFFER: u16 = 1728;
/// Bytes of each buffer that the kernel keeps free in front of a frame (`XDP_PACKET_HEADROOM`).
const XDP_HEADROOM: u32 = 256;
/// Buffers a queue keeps for the kernel to fill (`ETH_AF_XDP_DFLT_NUM_DESCS` of the driver).
const BUFFERS_PER_QUEUE: u32 = 2048;
/// Largest MTU of a veth's other end with an XDP program here: a page less headroom, `skb_shared_info` and Ethernet
/// header (`veth_xdp_set`, drivers/net/veth.c).
const VETH_MTU: u32 = 3498;
/// How long the kernel may take to let go of a queue: it does so from a work queue (`xp_release_deferred`).
const RELEASE: Duration = Duration::from_millis(300);
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

/// The pool's buffers have the right size, and there are enough to keep the kernel supplied.
pub(super) fn buffers(pool: Mempool, queues: u16) -> Result<(), String> {
    let room = pool.data_room();
    if !(SMALLEST_BUFFER..=LARGEST_BUFFER).contains(&room) {
        return Err(format!(
            "af_xdp works with buffers of {SMALLEST_BUFFER} to {LARGEST_BUFFER} bytes; set `mbuf_size` under [memory] accordingly (it is {room})"
        ));
    }
    let needed = u32::from(queues) * BUFFERS_PER_QUEUE;
    let free = pool.available();
    if free < needed + needed / 4 {
        return Err(format!(
            "{queues} af_xdp queues keep {needed} buffers and {free} are free; raise `mbufs` under [memory]"
        ));
    }
    Ok(())
}

/// The MTU in force: the smaller of what the port and its interface have. `sets`: the port sets the interface's own.
pub(super) fn mtu(
    interface: &XdpInterface,
    device: &str,
    pool: Mempool,
    mtu: u16,
    sets: bool,
) -> Result<u32, String> {
    let (room, mtu) = (u32::from(pool.data_room()), u32::from(mtu));
    let most = carries(room);
    let advice = || {
        let most_of_all = carries(u32::from(LARGEST_BUFFER));
        format!(
            "af_xdp carries up to {most} with `mbuf_size = {room}` under [memory], and up to {most_of_all} with {LARGEST_BUFFER}; kind `veth` has no such limit"
        )
    };
    if mtu > most {
        return Err(format!("mtu {mtu} is too large: {}", advice()));
    }
    let has = interface.mtu().map_err(|error| error.to_string())?;
    if has > most && !sets {
        return Err(format!(
            "interface `{device}` has mtu {has}, lower it to {mtu} there and at its other end: {}",
            advice()
        ));
    }
    Ok(if sets { mtu } else { mtu.min(has) })
}

/// Largest IP packet that fits a buffer of `room` bytes behind the kernel's headroom, with Ethernet header and tags.
fn carries(room: u32) -> u32 {
    room - XDP_HEADROOM - FRAME_OVERHEAD
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
    fn the_default_buffers_carry_the_default_mtu() {
        let room = u32::from(shunt_config::Memory::default().mbuf_size);
        assert!(carries(room) >= 1500, "{}", carries(room));
        assert_eq!(carries(u32::from(LARGEST_BUFFER)), 3434);
        assert!(carries(u32::from(LARGEST_BUFFER)) <= VETH_MTU);
    }
}
