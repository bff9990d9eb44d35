//! The bond's own thread: it looks at the links, hears what workers pass on, drives the machines by the clock, and sends LACPDUs by
//! queues of its own.
//!
//! It waits for nobody. Not for a worker: what one does not pass on is not heard, and that is all. Not for a topology: workers read
//! its decisions from [`Share`]. Not for a lock: a transmit queue that a worker has just taken is tried again a moment later, and so is
//! the copy of the state that others read.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver};
use shunt_ffi::{Burst, Mempool};

use super::rx::Heard;
use super::share::Share;
use super::status::BondStatus;
use crate::lacp::{Aggregate, Backup, Fixed, Members, Time};
use crate::port::{Device, TxQueue};
use crate::wire::ethernet::Mac;
use crate::wire::lacp::{self, Message};

/// Between two looks at the links. Workers that find a member down do not wait for it.
const LOOK: Duration = Duration::from_millis(25);
/// Between two collections of what devices count.
const COUNT: Duration = Duration::from_secs(1);
/// Until a LACPDU that could not be sent is tried again.
const AGAIN: Duration = Duration::from_millis(5);
/// Messages that are read before the clock is looked at again.
const AT_ONCE: usize = 64;

/// Who decides.
#[derive(Debug)]
pub(super) enum Protocol {
    Lacp(Aggregate),
    Backup(Backup),
    Fixed(Fixed),
}

/// A member as the thread has it.
#[derive(Debug)]
pub(super) struct Link {
    name: String,
    device: Device,
    tx: TxQueue,
    mac: Mac,
    up: bool,
    markers: u64,
    malformed: u64,
}

impl Link {
    pub(super) fn new(name: String, device: Device, tx: TxQueue, mac: Mac) -> Self {
        Self { name, device, tx, mac, up: false, markers: 0, malformed: 0 }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn mac(&self) -> Mac {
        self.mac
    }

    /// Sends one frame; false when it did not leave.
    fn send(&mut self, pool: Mempool, bytes: &[u8]) -> bool {
        let mut burst = Burst::new();
        let Some(frame) = pool.frame(bytes) else { return false };
        if burst.push(frame).is_err() {
            return false;
        }
        let sent = match &mut self.tx {
            // A worker's burst is under way; ours can wait better than we can.
            TxQueue::Shared(queue, _) => match queue.try_lock() {
                Ok(mut queue) => queue.transmit(&mut burst),
                Err(_) => return false,
            },
            queue => queue.transmit(&mut burst),
        };
        sent.frames == 1
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Runner {
    name: String,
    protocol: Protocol,
    links: Vec<Link>,
    share: Arc<Share>,
    pool: Mempool,
    status: Arc<Mutex<BondStatus>>,
    origin: Instant,
    carrying: (Members, Members),
    changes: u64,
    looked: Option<Time>,
    counted: Option<Time>,
    /// A LACPDU could not be sent.
    unsaid: bool,
}

impl Runner {
    pub(super) fn new(
        name: String,
        protocol: Protocol,
        links: Vec<Link>,
        share: Arc<Share>,
        pool: Mempool,
        status: Arc<Mutex<BondStatus>>,
    ) -> Self {
        let origin = Instant::now();
        let carrying = (Members::default(), Members::default());
        let (looked, counted, unsaid, changes) = (None, None, false, 0);
        Self {
            name,
            protocol,
            links,
            share,
            pool,
            status,
            origin,
            carrying,
            changes,
            looked,
            counted,
            unsaid,
        }
    }

    /// Runs until the other end of `stopped` is dropped.
    pub(super) fn run(mut self, heard: &Receiver<Heard>, stopped: &Receiver<()>) {
        loop {
            self.pass();
            let wait = self.wait();
            channel::select! {
                recv(stopped) -> _ => return,
                recv(heard) -> message => {
                    // The workers' ends outlive us, or all of us end.
                    let Ok(message) = message else { return };
                    self.hear(&message);
                    for message in heard.try_iter().take(AT_ONCE) {
                        self.hear(&message);
                    }
                }
                default(wait) => {}
            }
        }
    }

    fn now(&self) -> Time {
        self.origin.elapsed()
    }

    /// How long nothing is due.
    fn wait(&self) -> Duration {
        let now = self.now();
        let look = self.looked.map_or(now, |looked| looked + LOOK);
        let due = match &self.protocol {
            Protocol::Lacp(aggregate) => aggregate.due(now),
            Protocol::Backup(_) | Protocol::Fixed(_) => None,
        };
        let until = due.map_or(look, |due| due.min(look));
        // What could not be sent is due at once, and would be for ever.
        let least = if self.unsaid { AGAIN } else { Duration::ZERO };
        until.saturating_sub(now).max(least)
    }

    /// Everything that time asks for.
    pub(super) fn pass(&mut self) {
        let now = self.now();
        let suspended = !self.share.suspended().is_empty();
        if suspended || self.looked.is_none_or(|looked| now >= looked + LOOK) {
            self.look(now);
        }
        if let Protocol::Lacp(aggregate) = &mut self.protocol {
            aggregate.advance(now);
        }
        self.decide();
        if suspended {
            // Only now: what the workers found out is in the decision, or was not so.
            self.share.examined();
        }
        self.speak(now);
        self.tell(now);
    }

    fn look(&mut self, now: Time) {
        self.looked = Some(now);
        for (number, link) in self.links.iter_mut().enumerate() {
            let up = link.device.link();
            if up != link.up {
                link.up = up;
                let state = if up { "up" } else { "down" };
                tracing::info!(bond = %self.name, member = %link.name, "link {state}");
            }
            match &mut self.protocol {
                Protocol::Lacp(aggregate) => aggregate.link(number, up, now),
                Protocol::Backup(backup) => backup.link(number, up),
                Protocol::Fixed(fixed) => fixed.link(number, up),
            }
        }
    }

    fn hear(&mut self, heard: &Heard) {
        let now = self.now();
        let Some(link) = self.links.get_mut(heard.member) else { return };
        match (lacp::parse(heard.message()), &mut self.protocol) {
            (Some(Message::Lacp(pdu)), Protocol::Lacp(aggregate)) => aggregate.hear(heard.member, &pdu, now),
            // Whoever speaks LACP to us is not answered: he shall not believe that we do.
            (Some(Message::Lacp(_) | Message::MarkerResponse), _) => {}
            (Some(Message::Marker(marker)), _) => {
                if link.send(self.pool, &lacp::marker_response(link.mac, &marker)) {
                    link.markers += 1;
                }
            }
            (None, _) => link.malformed += 1,
        }
    }

    /// Tells the workers which members carry traffic, when that has changed.
    fn decide(&mut self) {
        let carrying = match &self.protocol {
            Protocol::Lacp(aggregate) => (aggregate.collecting(), aggregate.distributing()),
            Protocol::Backup(backup) => (backup.carrying(), backup.carrying()),
            Protocol::Fixed(fixed) => (fixed.carrying(), fixed.carrying()),
        };
        if carrying == self.carrying {
            return;
        }
        self.share.set(self.links.len(), carrying.0, carrying.1);
        for (number, link) in self.links.iter().enumerate() {
            let (before, after) = (self.carrying.1.has(number), carrying.1.has(number));
            if before != after {
                self.changes += 1;
                let what = if after { "carries traffic" } else { "carries no traffic any more" };
                tracing::info!(bond = %self.name, member = %link.name, "{what}");
            }
        }
        self.carrying = carrying;
    }

    fn speak(&mut self, now: Time) {
        let Protocol::Lacp(aggregate) = &mut self.protocol else { return };
        self.unsaid = false;
        for (number, pdu) in aggregate.speak(now) {
            let Some(link) = self.links.get_mut(number) else { continue };
            let frame = lacp::frame(link.mac, &pdu);
            if !link.send(self.pool, &frame) {
                aggregate.unsaid(number);
                self.unsaid = true;
            }
        }
    }

    /// Writes down how all is, for whoever asks.
    fn tell(&mut self, now: Time) {
        let Ok(mut status) = self.status.try_lock() else { return };
        let devices = self.counted.is_none_or(|counted| now >= counted + COUNT);
        if devices {
            self.counted = Some(now);
        }
        status.up = !self.carrying.1.is_empty();
        status.changes = self.changes;
        for (number, (link, told)) in self.links.iter_mut().zip(&mut status.members).enumerate() {
            told.link = link.up;
            told.collecting = self.carrying.0.has(number);
            told.distributing = self.carrying.1.has(number);
            (told.markers, told.malformed) = (link.markers, link.malformed);
            told.count(self.share.counts(number));
            if devices {
                let device = link.device.status();
                (told.missed, told.about) = (device.missed, device.about);
            }
        }
        if let Protocol::Lacp(aggregate) = &self.protocol {
            status.looped = aggregate.looped;
            for (told, member) in status.members.iter_mut().zip(aggregate.members()) {
                told.of_lacp(member);
            }
        }
    }
}
