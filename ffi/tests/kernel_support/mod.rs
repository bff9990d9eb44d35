//! What the kernel port tests share: EAL and pools, namespaces entered by a thread, deadlines, patterned frames.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod forward;
pub(crate) mod pair;
pub(crate) mod raw;
pub(crate) mod wire;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::kernel::Pools;
use shunt_ffi::kernel::packet::{Opened, PacketDevice, PacketOptions};
use shunt_ffi::{Burst, Mempool};
use shunt_tests::{Interface, Netns, Veth};

/// Longest time anything here may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// EtherType for local experiments (IEEE 802): frames of our own among what a kernel sends unasked.
pub(crate) const OURS: u16 = 0x88b5;

/// Pools and how many buffers they have when nothing leaks.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    pub(crate) eal: Eal,
    pub(crate) pools: Pools,
    full: [u32; 2],
}

/// EAL and the pools, once per process.
pub(crate) fn site() -> Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    *SITE.get_or_init(|| {
        let eal =
            Eal::start(&EalOptions { memory: Memory::Ordinary { megabytes: 256 }, pci: false }).unwrap();
        let small = Mempool::new(eal, "small", 8191, 2048).unwrap();
        let large = Mempool::new(eal, "large", 511, 16384).unwrap();
        Site { eal, pools: Pools { small, large }, full: [small.available(), large.available()] }
    })
}

/// Every buffer is back; call it when all ports and frames are dropped.
pub(crate) fn assert_no_leak() {
    let Site { pools, full, .. } = site();
    assert_eq!([pools.small.available(), pools.large.available()], full, "buffers leaked");
}

/// Runs `work` on a thread inside the namespace.
pub(crate) fn inside<T: Send>(netns: &Netns, work: impl FnOnce() -> T + Send) -> T {
    let file = std::fs::File::open(netns.path()).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Calls `attempt` until it gives something, without sleeping longer than a scheduler tick.
pub(crate) fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "no {what} in {LIMIT:?}");
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// A pod on a veth whose host end is a port, in a namespace of its own.
pub(crate) struct Pod {
    // Dropped in this order: the port before its interface.
    pub(crate) port: Opened,
    pub(crate) veth: Veth,
    pub(crate) netns: Netns,
    pub(crate) node: Netns,
}

impl Pod {
    /// The pod's end is `eth0`.
    pub(crate) fn new(interface: Interface<'_>) -> Self {
        Self::with(interface, |_| {})
    }

    /// As `new`, with other options for the port.
    pub(crate) fn with(interface: Interface<'_>, change: impl FnOnce(&mut PacketOptions) + Send) -> Self {
        let (node, netns) = (Netns::new().unwrap(), Netns::new().unwrap());
        let veth = Veth::pair("host", Some(&node), &netns, &interface).unwrap();
        let mut options = PacketOptions::new("host", site().pools);
        change(&mut options);
        let port = inside(&node, || PacketDevice::open(&options)).unwrap();
        Self { port, veth, netns, node }
    }

    /// The next frames from the pod, at least one.
    pub(crate) fn receive(&mut self, burst: &mut Burst) {
        until("frame from the pod", || (self.port.rx[0].receive(burst, 32).unwrap() > 0).then_some(()));
    }

    /// Sends one frame that must leave.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.send_frame(site().pools.small.frame(bytes).unwrap());
    }

    /// Sends one frame that must leave.
    pub(crate) fn send_frame(&mut self, frame: shunt_ffi::Mbuf) {
        let mut burst = Burst::new();
        burst.push(frame).unwrap();
        until("room to send", || {
            let sent = self.port.tx.transmit(&mut burst).unwrap();
            assert_eq!(sent.refused, 0, "{:?}", self.port.tx.statistics());
            burst.is_empty().then_some(())
        });
    }
}

/// Waits until all buffers are back, and checks it: call it last.
pub(crate) fn finish(pods: impl IntoIterator<Item = Pod>) {
    drop(pods.into_iter().collect::<Vec<_>>());
    assert_no_leak();
}

/// A frame of exactly `length` bytes (at least 14) with our EtherType and bytes that depend on their place and `seed`.
pub(crate) fn pattern(length: usize, seed: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(OURS.to_be_bytes());
    frame.extend((0..length - 14).map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ seed));
    frame
}

/// True for a frame made by `pattern`, tagged or not.
pub(crate) fn is_ours(frame: &[u8]) -> bool {
    frame[12..].chunks_exact(2).take(5).step_by(1).any(|word| word == OURS.to_be_bytes())
}

/// Lengths that matter between 14 and `longest`: all short ones, those around each segment's end, and a spread of others.
pub(crate) fn lengths(longest: usize) -> Vec<usize> {
    let pools = site().pools;
    let (small, large) = (usize::from(pools.small.data_room()), usize::from(pools.large.data_room()));
    let mut lengths: Vec<usize> = (14..=2 * small + 64).collect();
    lengths.extend((0..=pools.tails()).flat_map(|tails| {
        let end = small + tails * large;
        end - 20..end + 20
    }));
    lengths.extend((4000..longest).step_by(97));
    lengths.extend(longest - 30..=longest);
    lengths.retain(|&length| length <= longest);
    lengths
}
