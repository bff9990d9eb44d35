//! Ports and bonds. Ports: at most 1,024, each with one series a family, and one for each reason for which it has dropped frames (of
//! some 80). Counters go on where an earlier port of the same name was; the last 4,096 names are remembered.

use std::fmt;

use super::Writer;
use crate::control::bonds::BondRow;
use crate::control::sample::Sample;
use crate::control::status::PortRow;
use crate::control::totals::Totals;
use crate::drop::DropReason;
use crate::port::bond::MemberStatus;

pub(super) fn write(page: &mut Writer<'_>, sample: &Sample) -> fmt::Result {
    state(page, &sample.ports)?;
    traffic(page, &sample.ports)?;
    drops(page, sample)
}

fn state(page: &mut Writer<'_>, ports: &[(PortRow, Totals)]) -> fmt::Result {
    let each =
        |of: fn(&PortRow) -> u64| ports.iter().map(move |(row, _)| ([("port", row.name.as_str())], of(row)));
    page.infos(
        "shunt_port",
        "Kind and network of the port.",
        ports.iter().map(|(row, _)| {
            [("port", row.name.as_str()), ("kind", row.kind.as_str()), ("network", row.network.as_str())]
        }),
    )?;
    page.gauges(
        ("shunt_port_admin_up", ""),
        "1 when the port is to be up (`admin_up`).",
        each(|row| u64::from(row.admin_up)),
    )?;
    page.gauges(
        ("shunt_port_up", ""),
        "1 when the port's device is open; `shunt show ports` says why not.",
        each(|row| u64::from(row.oper_up)),
    )?;
    page.gauges(
        ("shunt_port_link_up", ""),
        "1 when there is carrier, or the other side is attached.",
        each(|row| u64::from(row.link)),
    )
}

fn traffic(page: &mut Writer<'_>, ports: &[(PortRow, Totals)]) -> fmt::Result {
    let each = |of: fn(&Totals) -> u64| {
        ports.iter().map(move |(row, totals)| ([("port", row.name.as_str())], of(totals)))
    };
    page.counters(
        ("shunt_port_rx_frames", ""),
        "Frames received; a large send is one.",
        each(|totals| totals.rx_packets),
    )?;
    page.counters(("shunt_port_rx", "bytes"), "Bytes received.", each(|totals| totals.rx_bytes))?;
    page.counters(
        ("shunt_port_tx_frames", ""),
        "Frames sent; a large send is one.",
        each(|totals| totals.tx_packets),
    )?;
    page.counters(("shunt_port_tx", "bytes"), "Bytes sent.", each(|totals| totals.tx_bytes))?;
    page.counters(
        ("shunt_port_taken_frames", ""),
        "Frames received that the switch itself took: answers to its own questions.",
        each(|totals| totals.taken),
    )?;
    page.counters(
        ("shunt_port_missed_frames", ""),
        "Frames lost below the switch: the kernel's socket buffer, the NIC's ring.",
        each(|totals| totals.missed),
    )?;
    page.counters(
        ("shunt_port_full_bursts", ""),
        "Times that a receive queue gave a whole burst: its ring was at least so deep.",
        each(|totals| totals.full_bursts),
    )?;
    rings(page, ports)?;
    page.counters(
        ("shunt_port_deaths", ""),
        "Times that the port's device went away.",
        each(|totals| totals.deaths),
    )
}

/// How deep the queues of DPDK devices are.
fn rings(page: &mut Writer<'_>, ports: &[(PortRow, Totals)]) -> fmt::Result {
    let each = |of: fn(&PortRow) -> Option<u16>| {
        ports.iter().filter_map(move |(row, _)| Some(([("port", row.name.as_str())], u64::from(of(row)?))))
    };
    page.gauges(
        ("shunt_port_rx_ring", "descriptors"),
        "Frames that each receive queue of a DPDK device has room for.",
        each(|row| row.rx_ring),
    )?;
    page.gauges(
        ("shunt_port_tx_ring", "descriptors"),
        "Frames that each transmit queue of a DPDK device has room for.",
        each(|row| row.tx_ring),
    )
}

fn drops(page: &mut Writer<'_>, sample: &Sample) -> fmt::Result {
    page.counters(
        ("shunt_port_dropped_frames", ""),
        "Frames that the switch dropped, by the port that `shunt show drops` names and the reason; only reasons that happened.",
        sample.ports.iter().flat_map(|(row, totals)| {
            let happened = DropReason::ALL.iter().map(|reason| (reason, totals.dropped(*reason)));
            let happened = happened.filter(|(_, count)| *count > 0);
            happened.map(|(reason, count)| ([("port", row.name.as_str()), ("reason", reason.name())], count))
        }),
    )?;
    page.counters(
        ("shunt_dropped_frames", ""),
        "Frames that the switch dropped at all ports, also at those that are gone, by reason; every reason.",
        DropReason::ALL.iter().map(|reason| ([("reason", reason.name())], sample.all_ports.dropped(*reason))),
    )
}

/// Bonds: at most 1,024, each with one series a family; members: at most 16 of each.
pub(super) fn bonds(page: &mut Writer<'_>, bonds: &[BondRow]) -> fmt::Result {
    let each =
        |of: fn(&BondRow) -> u64| bonds.iter().map(move |row| ([("port", row.port.as_str())], of(row)));
    page.gauges(
        ("shunt_bond_up", ""),
        "1 when the bond carries traffic.",
        each(|row| u64::from(row.status.up)),
    )?;
    page.gauges(
        ("shunt_bond_min_links", ""),
        "Members that have to carry traffic for the bond to do so.",
        each(|row| u64::from(row.status.min_links)),
    )?;
    let members = |of: fn(&MemberStatus) -> u64| {
        bonds.iter().flat_map(move |row| {
            let labels = |member: &'_ MemberStatus| member.name.clone();
            row.status
                .members
                .iter()
                .map(move |member| ([("port", row.port.clone()), ("member", labels(member))], of(member)))
        })
    };
    page.gauges(
        ("shunt_bond_member_link_up", ""),
        "1 when the member has carrier.",
        members(|member| u64::from(member.link)),
    )?;
    page.gauges(
        ("shunt_bond_member_collecting", ""),
        "1 when traffic is taken from the member (LACP: its partner agreed).",
        members(|member| u64::from(member.collecting)),
    )?;
    page.gauges(
        ("shunt_bond_member_distributing", ""),
        "1 when traffic is given to the member (LACP: its partner agreed).",
        members(|member| u64::from(member.distributing)),
    )?;
    page.gauges(
        ("shunt_bond_member_partner_heard", ""),
        "1 when LACP's receive machine is current: the partner was heard in time.",
        members(|member| u64::from(member.receive == "current")),
    )
}
