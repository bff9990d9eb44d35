//! Rows of bonds as messages.

use crate::control::api::proto;
use crate::control::bonds::BondRow;
use crate::port::bond::{MemberStatus, SideStatus};

impl From<BondRow> for proto::Bond {
    fn from(row: BondRow) -> Self {
        let status = row.status;
        Self {
            port: row.port,
            mode: status.mode,
            rate: status.rate,
            hash: status.hash,
            min_links: u32::from(status.min_links),
            system: status.system,
            up: status.up,
            changes: status.changes,
            looped: status.looped,
            members: status.members.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<MemberStatus> for proto::BondMember {
    fn from(row: MemberStatus) -> Self {
        Self {
            name: row.name,
            link: row.link,
            collecting: row.collecting,
            distributing: row.distributing,
            receive: row.receive,
            mux: row.mux,
            actor: row.actor.map(Into::into),
            partner: row.partner.map(Into::into),
            lacpdus_heard: row.lacpdus_heard,
            lacpdus_sent: row.lacpdus_sent,
            markers: row.markers,
            malformed: row.malformed,
            unheard: row.unheard,
            rx_packets: row.rx_packets,
            tx_packets: row.tx_packets,
            refused: row.refused,
            missed: row.missed,
            about: row.about,
        }
    }
}

impl From<SideStatus> for proto::BondSide {
    fn from(row: SideStatus) -> Self {
        Self {
            system: row.system,
            system_priority: u32::from(row.system_priority),
            key: u32::from(row.key),
            port: u32::from(row.port),
            port_priority: u32::from(row.port_priority),
            state: row.state,
        }
    }
}
