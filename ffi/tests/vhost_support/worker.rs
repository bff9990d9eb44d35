//! A worker under attack, and the proof that the port still serves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use shunt_ffi::Burst;
use shunt_ffi::vhost::{VhostRxQueue, VhostTxQueue};

use super::driver::{Guest, HEADER};
use super::front::*;
use super::{Port, pattern, site};

pub(crate) const PLAIN: [u8; HEADER] = [0; HEADER];
pub(crate) const FEATURES: u64 =
    VERSION_1 | MRG_RXBUF | CSUM | HOST_TSO4 | GUEST_CSUM | GUEST_TSO4 | INDIRECT;

/// A worker that receives all the time and sends what it received back, or a frame of its own.
pub(crate) struct Worker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(VhostRxQueue, VhostTxQueue)>,
}

impl Worker {
    pub(crate) fn start(mut rx: VhostRxQueue, mut tx: VhostTxQueue) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let (eal, pool, _) = site();
            let registered = eal.register_thread().unwrap();
            let mut burst = Burst::new();
            while !told.load(Ordering::Relaxed) {
                if rx.receive(&mut burst, 32) == 0
                    && let Some(frame) = pool.frame(&pattern(100, 7))
                {
                    burst.push(frame).unwrap();
                }
                tx.transmit(&mut burst);
                burst.clear();
            }
            drop(registered);
            (rx, tx)
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> (VhostRxQueue, VhostTxQueue) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the worker lives")
    }
}

/// The port serves a polite guest.
pub(crate) fn assert_serves(port: &mut Port, path: &Path) {
    while port.events.try_recv().is_ok() {}
    let mut guest = Guest::attach(FrontEnd::connect(path), FEATURES, 1, 16, 2048);
    port.wait_attached();
    guest.send(0, PLAIN, &pattern(200, 5));
    assert_eq!(port.receive(0).to_vec(), pattern(200, 5));
    port.send(0, &pattern(201, 6));
    assert_eq!(guest.receive(0).1, pattern(201, 6));
    drop(guest);
    port.wait_detached();
}
