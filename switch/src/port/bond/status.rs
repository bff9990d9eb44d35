//! What is told of a bond: plain values, copied for whoever asks.

use serde::Serialize;
use shunt_config::{Bond, BondMode, LacpRate, MacAddr};

use super::share::Counts;
use crate::lacp::{Hears, Member, Mux};
use crate::wire::ethernet::Mac;
use crate::wire::lacp::{Side, State};

/// A bond.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BondStatus {
    /// `lacp`, `active-backup` or `static`.
    pub mode: String,
    /// `fast` or `slow`; empty without LACP.
    pub rate: String,
    /// As configured.
    pub hash: String,
    /// As configured.
    pub min_links: u8,
    /// Our system to the partner.
    pub system: String,
    /// It carries traffic.
    pub up: bool,
    /// Times a member began or ceased to carry traffic.
    pub changes: u64,
    /// LACPDUs that were our own.
    pub looped: u64,
    /// Its members.
    pub members: Vec<MemberStatus>,
}

/// A member of a bond.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Name.
    pub name: String,
    /// Carrier.
    pub link: bool,
    /// Traffic is taken from it.
    pub collecting: bool,
    /// Traffic is given to it.
    pub distributing: bool,
    /// The receive machine: `disabled`, `expired`, `defaulted`, `current`; empty without LACP.
    pub receive: String,
    /// The mux machine: `detached`, `waiting`, `attached`, `collecting`, `distributing`; empty without LACP.
    pub mux: String,
    /// We, as the partner hears it.
    pub actor: Option<SideStatus>,
    /// The partner, as it was heard.
    pub partner: Option<SideStatus>,
    /// LACPDUs heard.
    pub lacpdus_heard: u64,
    /// LACPDUs sent.
    pub lacpdus_sent: u64,
    /// Markers answered.
    pub markers: u64,
    /// Messages that could not be read.
    pub malformed: u64,
    /// Messages that came too often, or found the thread busy.
    pub unheard: u64,
    /// Frames received, all.
    pub rx_packets: u64,
    /// Frames sent by workers.
    pub tx_packets: u64,
    /// Frames dropped because nothing is taken from it.
    pub refused: u64,
    /// Frames lost below us.
    pub missed: u64,
    /// Driver and details.
    pub about: String,
}

/// One side of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SideStatus {
    /// System.
    pub system: String,
    /// Its priority.
    pub system_priority: u16,
    /// Key.
    pub key: u16,
    /// Port.
    pub port: u16,
    /// Its priority.
    pub port_priority: u16,
    /// The bits of its state in words.
    pub state: Vec<String>,
}

/// The bits of a state, lowest first.
const WORDS: [(State, &str); 8] = [
    (State::ACTIVITY, "activity"),
    (State::TIMEOUT, "timeout"),
    (State::AGGREGATION, "aggregation"),
    (State::SYNCHRONIZATION, "synchronization"),
    (State::COLLECTING, "collecting"),
    (State::DISTRIBUTING, "distributing"),
    (State::DEFAULTED, "defaulted"),
    (State::EXPIRED, "expired"),
];

impl From<&Side> for SideStatus {
    fn from(side: &Side) -> Self {
        let words = WORDS.iter().filter(|(bit, _)| side.state.has(*bit)).map(|(_, word)| (*word).to_owned());
        Self {
            system: MacAddr::from(side.system).to_string(),
            system_priority: side.system_priority,
            key: side.key,
            port: side.port,
            port_priority: side.port_priority,
            state: words.collect(),
        }
    }
}

impl BondStatus {
    pub(super) fn new<'a>(bond: &Bond, system: Mac, names: impl Iterator<Item = &'a str>) -> Self {
        let lacp = bond.mode == BondMode::Lacp;
        let rate = if bond.rate == LacpRate::Fast { "fast" } else { "slow" };
        let of = |word: &str| if lacp { word.to_owned() } else { String::new() };
        Self {
            mode: match bond.mode {
                BondMode::Lacp => "lacp",
                BondMode::ActiveBackup => "active-backup",
                BondMode::Static => "static",
            }
            .to_owned(),
            rate: of(rate),
            hash: if bond.mode == BondMode::ActiveBackup {
                String::new()
            } else {
                bond.hash.name().to_owned()
            },
            min_links: bond.min_links,
            system: of(&MacAddr::from(system).to_string()),
            members: names
                .map(|name| MemberStatus { name: name.to_owned(), ..MemberStatus::default() })
                .collect(),
            ..Self::default()
        }
    }
}

impl MemberStatus {
    /// Takes over what the machines say.
    pub(super) fn of_lacp(&mut self, member: &Member) {
        self.receive = match member.hears() {
            Hears::Disabled => "disabled",
            Hears::Expired(_) => "expired",
            Hears::Defaulted => "defaulted",
            Hears::Current(_) => "current",
        }
        .to_owned();
        self.mux = match member.mux() {
            Mux::Detached => "detached",
            Mux::Waiting(_) => "waiting",
            Mux::Attached => "attached",
            Mux::Collecting => "collecting",
            Mux::Distributing => "distributing",
        }
        .to_owned();
        self.actor = Some(SideStatus::from(&member.actor()));
        self.partner = member.partner().map(SideStatus::from);
        (self.lacpdus_heard, self.lacpdus_sent) = (member.heard, member.spoken);
    }

    /// Takes over what workers counted.
    pub(super) fn count(&mut self, counts: &Counts) {
        use std::sync::atomic::Ordering::Relaxed;
        self.rx_packets = counts.rx.load(Relaxed);
        self.tx_packets = counts.tx.load(Relaxed);
        self.refused = counts.refused.load(Relaxed);
        self.unheard = counts.unheard.load(Relaxed);
    }
}
