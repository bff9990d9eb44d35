//! Kind `bond`: several links as one port, by LACP (IEEE 802.1AX), active-backup or static; see `docs/bonds.md`.
//!
//! To the rest of the switch a bond is a port like any other: stations are learned behind the bond, flows lead to the bond. Workers
//! poll the receive queues of all members, and choose a member for each frame they send ([`tx`]). The protocol runs on a thread of the
//! bond's own ([`thread`]), with transmit queues of its own: it waits for no worker, no topology and no ring.
//!
//! | file | holds |
//! |---|---|
//! | [`rx`], [`tx`] | what workers do |
//! | [`hash`] | which flow takes which member |
//! | [`share`] | what workers and the thread share |
//! | [`thread`] | the protocol's clock, links, LACPDUs in and out |
//! | [`status`] | what `shunt show bonds` prints |

mod hash;
mod rx;
mod share;
mod status;
mod thread;
mod tx;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam::channel::{self, Sender};
use shunt_config::{Bond, BondHash, BondMode, MacAddr};

use super::{Device, DeviceStatus, FRAME_OVERHEAD, OpenError, Opened, RxQueue, Site, TxQueue};
use crate::lacp::{Aggregate, Backup, Fixed, Settings};
use crate::wire::ethernet::Mac;
pub use rx::{BondRxQueue, Sifted};
use share::Share;
pub use status::{BondStatus, MemberStatus, SideStatus};
use thread::{Link, Protocol, Runner};
pub use tx::BondTxQueue;

/// Messages of partners that may wait for the thread.
const HEARD: usize = 256;
/// Key of a bond: any will do, as the system is the bond's own.
const KEY: u16 = 1;

/// The control side of a bond. Dropped, the thread ends, and with it the members' devices.
#[derive(Debug)]
pub struct BondDevice {
    names: Vec<String>,
    hash: BondHash,
    share: Arc<Share>,
    status: Arc<Mutex<BondStatus>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// By which member a frame leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What is hashed.
    pub hash: &'static str,
    /// The member; `None` when none carries traffic.
    pub member: Option<String>,
}

impl BondDevice {
    /// State of all members, as of a moment ago.
    pub fn bond(&self) -> BondStatus {
        self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The member that `frame` would leave by now, or why there is none: what a worker would choose.
    pub fn choose(&self, frame: &[u8]) -> Choice {
        let member = self.share.member(hash::hash(self.hash, frame), self.share.suspended());
        let name = member.and_then(|member| self.names.get(member));
        Choice { hash: self.hash.name(), member: name.cloned() }
    }

    /// As for other ports: it has a link while some member carries traffic.
    pub(super) fn status(&self) -> DeviceStatus {
        let bond = self.bond();
        let carrying = bond.members.iter().filter(|member| member.distributing).count();
        DeviceStatus {
            link: bond.up,
            missed: bond.members.iter().map(|member| member.missed).sum(),
            // Each member has its own.
            rings: None,
            about: format!("{}, {carrying} of {} members carry traffic", bond.mode, bond.members.len()),
        }
    }
}

impl Drop for BondDevice {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a bond's thread panicked");
        }
    }
}

/// Opens the members and starts the protocol.
pub(super) fn open(site: &Site, port: &shunt_config::Port, bond: &Bond, mtu: u16) -> Result<Opened, String> {
    // One transmit queue more than there are workers: the protocol's own.
    let wider = Site { workers: site.workers + 1, ..*site };
    let opened = bond.members.iter().map(|member| {
        let alone =
            shunt_config::Port { name: member.name.clone(), kind: member.kind.clone(), ..port.clone() };
        super::open(&wider, &alone, mtu, None)
            .map_err(|OpenError { message, .. }| format!("member `{}`: {message}", member.name))
    });
    let opened = opened.collect::<Result<Vec<_>, _>>()?;
    let share = Arc::new(Share::new());
    let (hears, heard) = channel::bounded(HEARD);
    let max_frame = opened.iter().map(|member| member.max_frame).min();
    let longest = opened.iter().filter_map(|member| member.longest).min();
    let (mut rx, mut links) = (Vec::new(), Vec::new());
    let mut ways: Vec<Vec<TxQueue>> = (0..site.workers).map(|_| Vec::new()).collect();
    for (number, (mut member, config)) in opened.into_iter().zip(&bond.members).enumerate() {
        let queues =
            member.rx.into_iter().map(|queue| BondRxQueue::new(queue, number, share.clone(), hears.clone()));
        rx.extend(queues.map(|queue| RxQueue::Bond(Box::new(queue))));
        let own = member.tx.pop().ok_or("no transmit queue for the protocol")?;
        for (way, queue) in ways.iter_mut().zip(member.tx) {
            way.push(queue);
        }
        let drawn = || super::derived_mac(config.name.as_str());
        // A driver that has none (`net_ring`) says zero, which to a partner is nobody's system.
        let mac = config_mac(&member.device).filter(|mac| mac.0 != [0; 6]).unwrap_or_else(drawn);
        links.push(Link::new(config.name.to_string(), member.device, own, Mac::from(mac)));
    }
    let tx = ways.into_iter().map(|way| BondTxQueue::new(way, share.clone(), bond.hash));
    let tx = tx.map(|queue| TxQueue::Bond(Box::new(queue))).collect();
    let system = bond.system_mac.map(Mac::from).or_else(|| links.first().map(Link::mac)).unwrap_or_default();
    let status = Arc::new(Mutex::new(BondStatus::new(bond, system, links.iter().map(Link::name))));
    let protocol = match bond.mode {
        BondMode::Lacp => Protocol::Lacp(Aggregate::new(settings(bond, system), links.len())),
        BondMode::ActiveBackup => Protocol::Backup(Backup::default()),
        BondMode::Static => Protocol::Fixed(Fixed::new(usize::from(bond.min_links))),
    };
    let (stop, stopped) = channel::bounded(0);
    let name = port.name.to_string();
    let names = links.iter().map(|link| link.name().to_owned()).collect();
    let mut runner = Runner::new(name.clone(), protocol, links, share.clone(), site.pool, status.clone());
    // What is up already takes part from the first frame on.
    runner.pass();
    let thread = std::thread::Builder::new()
        // Threads have names of 15 bytes.
        .name(format!("bond-{name}").chars().take(15).collect())
        .spawn(move || runner.run(&heard, &stopped))
        .map_err(|error| format!("no thread for the bond: {error}"))?;
    Ok(Opened {
        rx,
        tx,
        device: Device::Bond(BondDevice {
            names,
            hash: bond.hash,
            share,
            status,
            stop: Some(stop),
            thread: Some(thread),
        }),
        max_frame: max_frame.unwrap_or(u32::from(mtu) + FRAME_OVERHEAD),
        longest,
        l3: None,
    })
}

fn settings(bond: &Bond, system: Mac) -> Settings {
    Settings {
        system,
        system_priority: bond.system_priority,
        key: KEY,
        fast: bond.rate == shunt_config::LacpRate::Fast,
        min_links: usize::from(bond.min_links),
    }
}

/// The address of a member's own device.
fn config_mac(device: &Device) -> Option<MacAddr> {
    match device {
        Device::Ethdev(device) => device.mac().map(MacAddr),
        Device::Packet(device) => device.mac().ok().map(MacAddr),
        Device::Xdp(device) => device.mac().map(MacAddr),
        // That of the kernel's side is the other end's.
        Device::Tap(_) | Device::Vhost(_) | Device::Bond(_) => None,
    }
}
