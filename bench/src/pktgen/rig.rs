//! The devices, and one trial over them: send what is due, receive what is there, until the time is up and silence follows.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use shunt_ffi::clock;
use shunt_ffi::eal::Eal;
use shunt_ffi::ethdev::{EthDevice, EthOptions, EthRxQueue, EthTxQueue, Opened};
use shunt_ffi::{Burst, MAX_BURST, Mbuf, Mempool};

use super::arrivals::{Arrivals, Look};
use super::pace::{Load, Pace};
use super::scenario::Devices;
use super::stamp::{self, Stamp};
use super::traffic::Traffic;
use super::trial::{Count, Phase, Sofar, Trial};

/// Frames sent at once at most.
const BURST: u64 = 32;
/// Nothing on the way is slower: after so long without a frame a trial is over.
const SILENCE: Duration = Duration::from_millis(100);
/// And after so long in any case.
const DRAIN: Duration = Duration::from_secs(2);
/// How often the caller hears of a trial.
const LOOK: Duration = Duration::from_millis(100);
/// How long the other sides of the devices, and the path between them, may take to come up.
const START: Duration = Duration::from_secs(10);
/// Time between two frames that look for the path.
const PROBE: Duration = Duration::from_millis(10);
/// Shortest buffer: what drivers take for a frame of 1,518 bytes.
const BUFFER: usize = 2_048;

/// Devices and what goes over them.
pub struct Rig {
    traffic: Traffic,
    pool: Mempool,
    tx: EthTxQueue,
    rx: EthRxQueue,
    /// Sends for the receiver.
    back: Option<EthTxQueue>,
    hz: u64,
    trials: u32,
    out: Burst,
    count: Count,
    arrivals: Arrivals,
    _devices: Vec<EthDevice>,
}

impl Rig {
    /// Packet buffers for these devices, and bytes in each.
    pub fn buffers(devices: &Devices, traffic: &Traffic) -> (u32, u16) {
        // Both queues of two devices full, a burst each way, and what the caches of the pool hold back.
        let count = 4 * u32::from(devices.descriptors) + 4 * MAX_BURST as u32 + 2_048;
        (count, traffic.longest().max(BUFFER).min(usize::from(u16::MAX)) as u16)
    }

    /// Opens the devices and waits until both have a carrier.
    ///
    /// # Errors
    /// A device does not open, there is too little memory, or nobody is at the other side.
    pub fn open(eal: Eal, devices: &Devices, traffic: Traffic) -> Result<Self> {
        let (count, room) = Self::buffers(devices, &traffic);
        let pool = Mempool::new(eal, "pktgen", count, room).context("make packet buffers")?;
        let open = |devargs: &str| -> Result<Opened> {
            let options = EthOptions {
                devargs: devargs.to_owned(),
                rx_queues: 1,
                tx_queues: 1,
                mtu: devices.mtu,
                descriptors: devices.descriptors,
                tx_free_threshold: devices.tx_free_threshold,
                pool,
                interrupts: false,
            };
            Ok(EthDevice::open(eal, &options)?)
        };
        let mut sender = open(&devices.tx)?;
        let receiver = devices.rx.as_deref().filter(|rx| *rx != devices.tx).map(open).transpose()?;
        let tx = sender.tx.pop().with_context(|| format!("{} has no transmit queue", devices.tx))?;
        let mut all = vec![sender.device];
        let (rx, back) = match receiver {
            None => (sender.rx.pop(), None),
            Some(mut receiver) => {
                all.push(receiver.device);
                (receiver.rx.pop(), receiver.tx.pop().filter(|_| devices.announce))
            }
        };
        let rx = rx.context("the receiver has no receive queue")?;
        let hz = clock::tsc_hz();
        let mut rig = Self {
            traffic,
            pool,
            tx,
            rx,
            back,
            hz,
            trials: 0,
            out: Burst::new(),
            count: Count::default(),
            arrivals: Arrivals::new(hz),
            _devices: all,
        };
        rig.wait_for_carrier()?;
        if devices.probe {
            rig.probe()?;
        }
        Ok(rig)
    }

    /// What is sent.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    fn wait_for_carrier(&mut self) -> Result<()> {
        let started = Instant::now();
        while !(self.tx.link_up() && self.rx.link_up()) {
            crate::stop::pause(PROBE)?;
            ensure!(
                started.elapsed() < START,
                "a device has no carrier after {} s: start what is at its other side",
                START.as_secs()
            );
        }
        Ok(())
    }

    /// Sends a frame now and then until one arrives.
    fn probe(&mut self) -> Result<()> {
        let started = Instant::now();
        self.begin();
        while started.elapsed() < START {
            self.announce();
            self.send(clock::tsc(), self.count.offered + 1, false);
            let sent = Instant::now();
            while sent.elapsed() < PROBE {
                if self.receive() > 0 && (self.arrivals.tracker.received > 0 || !self.traffic.stamped()) {
                    return Ok(());
                }
            }
            crate::stop::check()?;
        }
        bail!(
            "nothing that is sent arrives in {} s: is the way between the devices open? set devices.probe = false to send all the same",
            START.as_secs()
        );
    }

    fn announce(&mut self) {
        let Some(back) = &mut self.back else { return };
        let mut burst = Burst::new();
        if let Some(frame) = self.pool.frame(&self.traffic.announcement()) {
            let _ = burst.push(frame);
            back.transmit(&mut burst);
        }
    }

    fn begin(&mut self) {
        self.traffic.begin(self.trials == 0);
        self.trials += 1;
        self.count = Count::default();
        self.arrivals.reset();
    }

    /// Sends for `length` and receives until silence. `watch` hears of it ten times a second, and may end it.
    ///
    /// # Errors
    /// Those of `watch`.
    pub fn trial(
        &mut self,
        load: Load,
        length: Duration,
        mut watch: impl FnMut(Sofar) -> Result<()>,
    ) -> Result<Trial> {
        self.announce();
        self.begin();
        let pace = Pace::new(load, self.hz);
        let keep = load == Load::Fastest;
        let (interval, start) = (clock::cycles(LOOK), clock::tsc());
        let end = start + clock::cycles(length);
        let mut look = start + interval;
        let stopped = loop {
            let now = clock::tsc();
            if now >= end {
                break now;
            }
            if now >= look {
                look = now + interval;
                watch(self.sofar(clock::duration(now - start)))?;
            }
            self.send(now, pace.due(now - start), keep);
            self.receive();
        };
        // What the device did not take in the end was never sent.
        self.count.offered -= self.out.len() as u64;
        self.out.clear();
        self.drain();
        Ok(self.result(load, clock::duration(stopped - start)))
    }

    fn sofar(&self, elapsed: Duration) -> Sofar {
        Sofar { elapsed, offered: self.count.offered, received: self.received() }
    }

    fn received(&self) -> u64 {
        if self.traffic.stamped() { self.arrivals.tracker.received } else { self.arrivals.unstamped }
    }

    fn drain(&mut self) {
        let started = clock::tsc();
        let (silence, most) = (clock::cycles(SILENCE), clock::cycles(DRAIN));
        let mut last = started;
        loop {
            let now = clock::tsc();
            if self.receive() > 0 {
                last = now;
            }
            if now - last > silence || now - started > most {
                return;
            }
        }
    }

    /// Sends up to a burst of what is due. What the device does not take is `keep`t for the next time, or lost.
    #[inline]
    fn send(&mut self, now: u64, due: u64, keep: bool) {
        if self.out.is_empty() {
            let wanted = due.saturating_sub(self.count.offered).min(BURST) as usize;
            // Without buffers the frames stay due.
            if wanted == 0 || !self.pool.alloc_bulk(&mut self.out, wanted) {
                return;
            }
            // Whoever got these buffers before still has their lines.
            self.out.iter().for_each(Mbuf::prefetch_data_to_write);
            let trial = self.trials as u8;
            for frame in self.out.iter_mut() {
                self.traffic.write(frame, Stamp::new(trial, self.count.offered, now));
                self.count.offered += 1;
            }
        }
        self.count.sent += self.tx.transmit(&mut self.out) as u64;
        if !keep && !self.out.is_empty() {
            self.count.refused += self.out.len() as u64;
            self.out.clear();
        }
    }

    /// Receives a burst; returns how many frames it had.
    #[inline]
    fn receive(&mut self) -> usize {
        let mut burst = Burst::new();
        let received = self.rx.receive(&mut burst, MAX_BURST);
        if received == 0 {
            return 0;
        }
        let look = Look {
            trial: self.trials as u8,
            round: self.traffic.round(),
            sent: self.count.offered,
            now: clock::tsc(),
        };
        let stamped = self.traffic.stamped();
        let stamp = |frame: &Mbuf| if stamped { tail(frame).and_then(Stamp::read) } else { None };
        self.arrivals.note(burst.iter().map(stamp), look);
        received
    }

    fn result(&self, load: Load, length: Duration) -> Trial {
        let Arrivals { tracker, cold_count, stale, unstamped, .. } = &self.arrivals;
        let count = Count { stale: *stale, unstamped: *unstamped, cold: *cold_count, ..self.count };
        let received = self.received();
        let cold = Phase {
            offered: count.offered.min(self.traffic.round()),
            received: count.cold,
            latency: self.arrivals.cold.told(),
        };
        let warm = Phase {
            offered: count.offered - cold.offered,
            received: received - count.cold,
            latency: self.arrivals.warm.told(),
        };
        Trial {
            load,
            length,
            count,
            received,
            duplicates: tracker.duplicates,
            reordered: tracker.reordered,
            late: tracker.late,
            foreign: tracker.foreign,
            cold,
            warm,
        }
    }
}

/// The last bytes of a frame, whose segments may cut them anywhere; `None` when it is shorter.
#[inline]
fn tail(frame: &Mbuf) -> Option<[u8; stamp::LENGTH]> {
    if frame.segment_count() == 1 {
        return frame.data().last_chunk().copied();
    }
    let mut tail = [0; stamp::LENGTH];
    let mut length = 0;
    for segment in frame.segments() {
        let kept = segment.len().min(stamp::LENGTH);
        tail.copy_within(kept.., 0);
        tail[stamp::LENGTH - kept..].copy_from_slice(&segment[segment.len() - kept..]);
        length += segment.len();
    }
    (length >= stamp::LENGTH).then_some(tail)
}
