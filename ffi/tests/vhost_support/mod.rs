//! What the vhost-user tests share: EAL, a port with its events, and a front end of our own.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod driver;
pub(crate) mod front;
pub(crate) mod worker;

use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::vhost::{VhostEvent, VhostMode, VhostOpened, VhostOptions, VhostPort};
use shunt_ffi::{Burst, Mbuf, Mempool};

/// Longest time anything here may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// EAL and a pool, once per process, and the number of buffers the pool has when nothing leaks.
pub(crate) fn site() -> (Eal, Mempool, u32) {
    static SITE: OnceLock<(Eal, Mempool, u32)> = OnceLock::new();
    *SITE.get_or_init(|| {
        let eal =
            Eal::start(&EalOptions { memory: Memory::Ordinary { megabytes: 256 }, pci: false }).unwrap();
        let pool = Mempool::new(eal, "test", 8191, 2048).unwrap();
        (eal, pool, pool.available())
    })
}

/// A server port with everything on.
pub(crate) fn options(path: &Path) -> VhostOptions {
    VhostOptions {
        path: path.to_str().unwrap().into(),
        mode: VhostMode::Server,
        queues: 1,
        tx_queues: 1,
        tso: true,
        mergeable: true,
        pool: site().1,
    }
}

/// A port, its queues and what its guest did.
pub(crate) struct Port {
    pub(crate) opened: VhostOpened,
    pub(crate) events: Receiver<VhostEvent>,
}

impl Port {
    pub(crate) fn open(options: &VhostOptions) -> Self {
        let (sender, events) = channel();
        let opened = VhostPort::open(site().0, options, move |event| {
            let _ = sender.send(event);
        })
        .unwrap();
        Self { opened, events }
    }

    /// Waits for an event that fits.
    pub(crate) fn wait(&self, what: &str, fits: impl Fn(&VhostEvent) -> bool) -> VhostEvent {
        let until = Instant::now() + LIMIT;
        loop {
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(event) if fits(&event) => return event,
                Ok(_) => {}
                Err(_) => panic!("no {what} in {LIMIT:?}"),
            }
        }
    }

    pub(crate) fn wait_attached(&self) -> VhostEvent {
        self.wait("guest", |event| matches!(event, VhostEvent::Attached { .. }))
    }

    pub(crate) fn wait_detached(&self) {
        self.wait("detach", |event| matches!(event, VhostEvent::Detached));
    }

    /// Sends one frame on transmit queue `queue`, again and again until it leaves.
    pub(crate) fn send(&mut self, queue: usize, bytes: &[u8]) {
        self.send_frame(queue, site().1.frame(bytes).unwrap());
    }

    pub(crate) fn send_frame(&mut self, queue: usize, frame: Mbuf) {
        let mut burst = Burst::new();
        burst.push(frame).unwrap();
        until("room in the guest's ring", || self.opened.tx[queue].transmit(&mut burst) == 1);
    }

    /// The next frame on receive queue `queue`.
    pub(crate) fn receive(&mut self, queue: usize) -> Mbuf {
        let mut burst = Burst::new();
        until("a frame of the guest", || self.opened.rx[queue].receive(&mut burst, 2) > 0);
        assert_eq!(burst.len(), 1, "one frame was expected");
        burst.pop().unwrap()
    }
}

/// Polls until `done`; panics when it takes too long.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < end, "no {what} in {LIMIT:?}");
        std::thread::yield_now();
    }
}

/// Every buffer is back in the pool.
pub(crate) fn assert_no_leak() {
    let (_, pool, all) = site();
    assert_eq!(pool.available(), all, "buffers leaked");
}

/// An Ethernet frame of `length` bytes with a recognisable payload.
pub(crate) fn pattern(length: usize, seed: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5];
    frame.extend((0..length - 14).map(|at| (at as u8).wrapping_mul(7) ^ seed));
    frame
}
