//! Ports as the control thread sees them: opened, placed on workers, closed; ports that die and come back.
//!
//! Order on the way in: device opened, transmit queues to all workers, topology published, receive queues to their
//! workers. On the way out the reverse, with a wait until no worker can use the old topology, so no frame is ever sent
//! to a queue that is not there.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shunt_config::{Config, PortName};
use shunt_ffi::kernel::{KernelError, Lost};

use super::totals::Totals;
use super::{Control, host};
use crate::ids::{MAX_PORTS, PortId};
use crate::port::bond::BondDevice;
use crate::port::{self, Device, DeviceStatus, FRAME_OVERHEAD, OpenError, Opened, TxQueue};
use crate::topology::L3Interface;
use crate::worker::mailbox::{Command, NoAnswer, Reply};
use crate::worker::{RxPort, TxPort};

/// How long a worker may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// First and longest wait before a dead port is opened again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// A port's device, or why there is none.
#[derive(Debug)]
enum State {
    Open {
        device: Device,
        max_frame: u32,
        longest: Option<u32>,
        l3: Option<L3Interface>,
        queues: Vec<(u16, usize)>,
    },
    Closed {
        why: String,
        retry_at: Instant,
        wait: Duration,
    },
}

impl State {
    /// Frames that the device has lost since it was opened.
    fn missed(&mut self) -> u64 {
        match self {
            Self::Open { device, .. } => device.status().missed,
            Self::Closed { .. } => 0,
        }
    }
}

/// One configured port.
#[derive(Debug)]
pub(super) struct PortState {
    pub(super) id: PortId,
    pub(super) config: shunt_config::Port,
    state: State,
    /// Times the device went away.
    pub(super) deaths: u64,
    /// What its slot had counted before.
    pub(super) base: Totals,
    /// Frames that devices lost which went away.
    pub(super) missed: u64,
    pub(super) since: Instant,
}

impl PortState {
    /// Frames go in and out.
    pub(super) fn is_up(&self) -> bool {
        self.config.admin_up && matches!(self.state, State::Open { .. })
    }

    pub(super) fn max_frame(&self) -> u32 {
        match &self.state {
            State::Open { max_frame, .. } => *max_frame,
            State::Closed { .. } => 0,
        }
    }

    /// Longest frame that its device takes, tags and all, as far as is known.
    pub(super) fn longest(&self) -> Option<u32> {
        match &self.state {
            State::Open { longest, .. } => *longest,
            State::Closed { .. } => None,
        }
    }

    /// Gives the kernel's device of a TAP another MTU; all others have that of their other side.
    pub(super) fn set_mtu(&mut self, mtu: u16) {
        let State::Open { device: Device::Tap(device), max_frame, .. } = &mut self.state else { return };
        match device.set_mtu(mtu.into()) {
            Ok(()) => *max_frame = u32::from(mtu) + FRAME_OVERHEAD,
            Err(error) => tracing::warn!(port = %self.config.name, mtu, %error, "the mtu is not set"),
        }
    }

    pub(super) fn l3(&self) -> Option<L3Interface> {
        match &self.state {
            State::Open { l3, .. } => *l3,
            State::Closed { .. } => None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Why the device is not open.
    pub(super) fn why_closed(&self) -> Option<&str> {
        match &self.state {
            State::Open { .. } => None,
            State::Closed { why, .. } => Some(why),
        }
    }

    pub(super) fn device(&self) -> Option<&Device> {
        match &self.state {
            State::Open { device, .. } => Some(device),
            State::Closed { .. } => None,
        }
    }

    /// See [`Device::mtu`].
    pub(super) fn device_mtu(&self) -> Option<u32> {
        self.device()?.mtu()
    }

    /// See [`Device::lost`].
    pub(super) fn lost(&self) -> Option<Result<Vec<Lost>, KernelError>> {
        self.device()?.lost()
    }

    /// See [`Device::restore`].
    pub(super) fn restore(&self) -> Option<Result<Vec<Lost>, KernelError>> {
        self.device()?.restore()
    }

    /// The bond it is, while that is open.
    pub(super) fn bond(&self) -> Option<&BondDevice> {
        match &self.state {
            State::Open { device: Device::Bond(bond), .. } => Some(bond),
            _ => None,
        }
    }

    /// Queue numbers and the workers they are on.
    pub(super) fn queues(&self) -> &[(u16, usize)] {
        match &self.state {
            State::Open { queues, .. } => queues,
            State::Closed { .. } => &[],
        }
    }
}

/// All configured ports by slot.
#[derive(Debug, Default)]
pub(super) struct Ports {
    slots: Vec<Option<PortState>>,
    /// Where the search for a free slot begins: a slot rests as long as possible before it is used again, so that
    /// lessons still under way cannot be taken for the new port's.
    next: usize,
    /// Ports whose queue came back with the news that the device is gone, while something else was being asked.
    gone: Mutex<Vec<PortId>>,
}

impl Ports {
    pub(super) fn get(&self, id: PortId) -> Option<&PortState> {
        self.slots.get(id.index())?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: PortId) -> Option<&mut PortState> {
        self.slots.get_mut(id.index())?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PortState> {
        self.slots.iter().flatten()
    }

    /// The state of each port's device, in the order of [`Ports::iter`]. Asking may reset the kernel's own counters, so
    /// the devices add up; hence `&mut`.
    pub(super) fn device_statuses(&mut self) -> Vec<DeviceStatus> {
        let status = |port: &mut PortState| match &mut port.state {
            State::Open { device, .. } => device.status(),
            State::Closed { .. } => DeviceStatus::default(),
        };
        self.slots.iter_mut().flatten().map(status).collect()
    }

    pub(super) fn by_name_mut(&mut self, name: &PortName) -> Option<&mut PortState> {
        self.slots.iter_mut().flatten().find(|port| port.config.name == *name)
    }

    fn note_gone(&self, port: PortId) {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).push(port);
    }

    fn take_gone(&self) -> Vec<PortId> {
        std::mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn free_slot(&mut self) -> Option<PortId> {
        self.slots.resize_with(MAX_PORTS, || None);
        let found = (0..MAX_PORTS)
            .map(|offset| (self.next + offset) % MAX_PORTS)
            .find(|slot| self.slots[*slot].is_none())?;
        self.next = found + 1;
        PortId::new(found)
    }
}

impl Control {
    /// Opens the device of `config`. Nothing else changes.
    pub(super) fn open(&self, config: &shunt_config::Port, whole: &Config) -> Result<Opened, OpenError> {
        let shared = host::shared(whole, &config.name);
        let mtu = whole.port_mtu_where(config, &|network| self.cramped.contains(&network.name));
        port::open(&self.site, config, mtu, shared.as_ref())
    }

    /// Takes an opened (or, at start, failed) port in. It is published by the caller; [`Control::start_receiving`]
    /// follows.
    pub(super) fn adopt(
        &mut self,
        config: shunt_config::Port,
        opened: Result<Opened, OpenError>,
    ) -> Result<Vec<RxPort>, OpenError> {
        let full = || OpenError {
            port: config.name.to_string(),
            message: format!("there are {MAX_PORTS} ports already"),
        };
        let id = self.ports.free_slot().ok_or_else(full)?;
        let closed = State::Closed { why: String::new(), retry_at: Instant::now(), wait: RETRY.0 };
        let base = self.slot_totals(id);
        let since = Instant::now();
        self.ports.slots[id.index()] =
            Some(PortState { id, config, state: closed, deaths: 0, base, missed: 0, since });
        Ok(self.attach(id, opened))
    }

    /// Gives an adopted port its device: transmit queues go to the workers, receive queues come back to the caller.
    fn attach(&mut self, id: PortId, opened: Result<Opened, OpenError>) -> Vec<RxPort> {
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if let Some(Some(port)) = self.ports.slots.get_mut(id.index()) {
                    port.state = State::Closed {
                        why: error.message,
                        retry_at: Instant::now() + RETRY.0,
                        wait: RETRY.0,
                    };
                }
                return Vec::new();
            }
        };
        for (worker, queue) in opened.tx.into_iter().enumerate() {
            self.attach_tx(worker, id, queue);
        }
        let rx = RxPort::all(id, opened.rx).collect();
        if let Some(Some(port)) = self.ports.slots.get_mut(id.index()) {
            port.state = State::Open {
                device: opened.device,
                max_frame: opened.max_frame,
                longest: opened.longest,
                l3: opened.l3,
                queues: Vec::new(),
            };
            port.since = Instant::now();
        }
        let network = self.ports.get(id).map(|port| port.config.network.clone());
        if let Some(network) = network {
            self.learned.network(&network).invalidate();
        }
        rx
    }

    fn attach_tx(&self, worker: usize, port: PortId, queue: TxQueue) {
        let command = Command::AttachTx(port, Box::new(TxPort::new(queue)));
        if let Err(error) = self.ask(worker, command) {
            tracing::error!(worker, %error, "transmit queue not attached");
        }
    }

    /// Hands receive queues to their workers: as configured, else to whoever has the fewest.
    pub(super) fn start_receiving(&mut self, queues: Vec<RxPort>) {
        for slot in queues {
            let (id, queue) = (slot.port, slot.queue);
            let placed =
                self.ports.get(id).and_then(|port| port.config.placement.get(usize::from(queue)).copied());
            let worker = placed.map_or_else(|| self.least_loaded(), usize::from);
            if let Err(error) = self.ask(worker, Command::AttachRx(slot)) {
                tracing::error!(worker, %error, "receive queue not attached");
                continue;
            }
            if let Some(Some(port)) = self.ports.slots.get_mut(id.index())
                && let State::Open { queues, .. } = &mut port.state
            {
                queues.push((queue, worker));
            }
        }
    }

    fn least_loaded(&self) -> usize {
        let load = |worker: usize| {
            self.ports.iter().flat_map(PortState::queues).filter(|(_, on)| *on == worker).count()
        };
        (0..self.workers.len()).min_by_key(|worker| load(*worker)).unwrap_or(0)
    }

    /// Moves the receive queues of a port to where `config.placement` says; frames wait in the device meanwhile.
    pub(super) fn replace_queues(&mut self, id: PortId) {
        let Some(port) = self.ports.get(id) else { return };
        let placement = port.config.placement.clone();
        let moves: Vec<(u16, usize, usize)> = port
            .queues()
            .iter()
            .filter_map(|&(queue, on)| {
                let wanted = usize::from(*placement.get(usize::from(queue))?);
                (wanted != on).then_some((queue, on, wanted))
            })
            .collect();
        for (queue, from, to) in moves {
            match self.ask(from, Command::DetachRx(id, queue)) {
                Ok(Some(Reply::Rx(slot))) => {
                    if let Err(error) = self.ask(to, Command::AttachRx(slot)) {
                        tracing::error!(to, %error, "receive queue not moved");
                        continue;
                    }
                    if let Some(Some(port)) = self.ports.slots.get_mut(id.index())
                        && let State::Open { queues, .. } = &mut port.state
                        && let Some(place) = queues.iter_mut().find(|(number, _)| *number == queue)
                    {
                        place.1 = to;
                    }
                }
                Ok(_) => tracing::warn!(%id, queue, "the receive queue was not where it should be"),
                Err(error) => tracing::error!(from, %error, "receive queue not moved"),
            }
        }
    }

    /// Closes a port for good. The caller has not published yet; this does, and waits.
    pub(super) fn remove(&mut self, name: &PortName) {
        let Some(port) = self.ports.by_name_mut(name) else { return };
        let (id, queues) = (port.id, port.queues().to_vec());
        port.config.admin_up = false;
        self.detach_rx(id, &queues);
        self.learned.forget_port(id);
        let mut gone = self.ports.slots[id.index()].take();
        if let Some(port) = &gone {
            self.learned.network(&port.config.network).invalidate();
        }
        if !self.publish_and_wait(&format!("port {name} removed")) {
            tracing::warn!(port = %name, "a worker has not passed yet; the device stays open until it does");
        }
        self.detach_tx(id);
        if let Some(port) = &mut gone {
            port.missed += port.state.missed();
            let totals = self.totals(port);
            self.departed.keep(name, &totals);
        }
        // Device and queues have met again in `gone` and the replies: all dropped here, off the workers.
        drop(gone);
    }

    fn detach_rx(&self, id: PortId, queues: &[(u16, usize)]) {
        for &(queue, worker) in queues {
            if let Err(error) = self.ask(worker, Command::DetachRx(id, queue)) {
                tracing::error!(worker, %error, "receive queue not detached");
            }
        }
    }

    fn detach_tx(&self, id: PortId) {
        for worker in 0..self.workers.len() {
            if let Err(error) = self.ask(worker, Command::DetachTx(id)) {
                tracing::error!(worker, %error, "transmit queue not detached");
            }
        }
    }

    /// Sends a command and waits for its reply. `Gone` reports that come in between are dealt with at the next tick:
    /// the queue they carry is closed here, which is where it must be closed.
    pub(super) fn ask(&self, worker: usize, command: Command) -> Result<Option<Reply>, NoAnswer> {
        let link = &self.workers[worker];
        link.mail.send(command);
        loop {
            match link.mail.reply(PATIENCE)? {
                Reply::Gone(slot) => self.ports.note_gone(slot.port),
                reply => return Ok(Some(reply)),
            }
        }
    }

    /// Takes ports whose device went away out of service.
    pub(super) fn collect_dead_ports(&mut self) {
        let mut dead: Vec<PortId> = self.ports.take_gone();
        for worker in &self.workers {
            while let Some(reply) = worker.mail.try_reply() {
                if let Reply::Gone(slot) = reply {
                    dead.push(slot.port);
                }
            }
        }
        dead.sort_unstable();
        dead.dedup();
        for id in dead {
            self.bury(id, "device went away");
        }
    }

    /// Takes a port out of service; it is opened again as soon as that works.
    pub(super) fn bury(&mut self, id: PortId, cause: &str) {
        let Some(Some(port)) = self.ports.slots.get_mut(id.index()) else { return };
        if !matches!(port.state, State::Open { .. }) {
            return;
        }
        let why = format!("its {cause}");
        let retry_at = Instant::now() + RETRY.0;
        let mut old = std::mem::replace(&mut port.state, State::Closed { why, retry_at, wait: RETRY.0 });
        port.missed += old.missed();
        port.deaths += 1;
        port.since = Instant::now();
        let (name, network) = (port.config.name.clone(), port.config.network.clone());
        tracing::warn!(port = %name, "{cause}; the port is down until it comes back");
        if let State::Open { queues, .. } = &old {
            self.detach_rx(id, queues);
        }
        self.learned.forget_port(id);
        self.learned.network(&network).invalidate();
        self.publish_and_wait(&format!("port {name} died"));
        self.detach_tx(id);
        drop(old);
    }

    /// Tries to open ports again whose device went away or was not there at start.
    pub(super) fn retry_closed_ports(&mut self) {
        let now = Instant::now();
        let due: Vec<PortId> = self
            .ports
            .iter()
            .filter(|port| matches!(port.state, State::Closed { retry_at, .. } if retry_at <= now))
            .map(|port| port.id)
            .collect();
        for id in due {
            let Some(port) = self.ports.get(id) else { continue };
            let (config, name) = (port.config.clone(), port.config.name.clone());
            match self.open(&config, &self.config) {
                Ok(opened) => {
                    let rx = self.attach(id, Ok(opened));
                    self.publish_and_wait(&format!("port {name} came back"));
                    self.start_receiving(rx);
                    tracing::info!(port = %name, "device is there; the port is up again");
                }
                Err(error) => {
                    if let Some(Some(port)) = self.ports.slots.get_mut(id.index())
                        && let State::Closed { why, retry_at, wait } = &mut port.state
                    {
                        *why = error.message;
                        *wait = (*wait * 2).min(RETRY.1);
                        *retry_at = Instant::now() + *wait;
                    }
                }
            }
        }
    }

    /// Stops the workers and closes every port.
    pub(super) fn shut_down(mut self) {
        for worker in &self.workers {
            worker.mail.send(Command::Stop);
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a worker panicked");
            }
            while worker.mail.try_reply().is_some() {}
        }
        self.ports.slots.clear();
        tracing::info!("switch stopped");
    }
}
