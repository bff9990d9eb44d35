//! Connections and translation. Zones: at most 257 series; translated source addresses: at most 65, each by six kinds of protocol.

use std::fmt;

use super::{OTHERS, Writer, bounded, one};
use crate::control::REFUSED;
use crate::control::sample::Sample;
use crate::drop::DropReason;
use crate::state::ports::DEFAULT_RANGE;
use crate::state::tally::{ByProtocol, PROTOCOLS};

pub(super) fn write(page: &mut Writer<'_>, sample: &Sample) -> fmt::Result {
    table(page, sample)?;
    zones(page, sample)?;
    kinds(page, sample)?;
    translation(page, sample)
}

fn table(page: &mut Writer<'_>, sample: &Sample) -> fmt::Result {
    let table = &sample.connections;
    page.gauges(("shunt_connections", ""), "Connections in the table.", one(table.entries))?;
    page.gauges(
        ("shunt_connections_capacity", ""),
        "Connections that there is room for; 0 while no network keeps any.",
        one(table.capacity),
    )?;
    let pressure = if table.capacity == 0 { 0.0 } else { table.entries as f64 / table.capacity as f64 };
    page.gauges(
        ("shunt_connections_pressure_ratio", ""),
        "How full the table is; above 7/8 unanswered connections end early, at 1 new ones are refused.",
        one(pressure),
    )?;
    page.gauges(
        ("shunt_connections_half_open", ""),
        "TCP handshakes under way among them.",
        one(table.half_open),
    )?;
    page.gauges(("shunt_connections_memory", "bytes"), "Memory of the table.", one(table.bytes))?;
    page.counters(
        ("shunt_connections_opened", ""),
        "Connections that were entered; its rate is the connections per second.",
        one(table.opened),
    )?;
    page.counters(
        ("shunt_connections_expired", ""),
        "Connections that ended by silence.",
        one(table.expired),
    )?;
    page.counters(
        ("shunt_connections_deleted", ""),
        "Connections that were ended: by hand, or because their backend is gone.",
        one(table.deleted),
    )?;
    page.counters(
        ("shunt_connections_refused_frames", ""),
        "Frames that were dropped for want of a connection, by reason.",
        REFUSED
            .iter()
            .chain(&[DropReason::OverlayNotReachable])
            .map(|reason| ([("reason", reason.name())], sample.all_ports.dropped(*reason))),
    )?;
    page.gauges(
        ("shunt_connections_fragmented_datagrams", ""),
        "Datagrams of which fragments are under way.",
        one(table.fragments),
    )
}

fn zones(page: &mut Writer<'_>, sample: &Sample) -> fmt::Result {
    let zones = &sample.connections.zones;
    let each = |of: fn(&(u16, String, u32, u32)) -> u32| {
        let rows = bounded(zones.iter().map(|zone| (zone.1.as_str(), u64::from(of(zone)))));
        rows.into_iter().map(|(name, count)| ([("zone", name)], count))
    };
    page.gauges(
        ("shunt_zone_connections", ""),
        "Connections of a router with its networks, or of a network without router; only zones that have some.",
        each(|zone| zone.2),
    )?;
    page.gauges(
        ("shunt_zone_connections_half_open", ""),
        "TCP handshakes under way among them.",
        each(|zone| zone.3),
    )
}

/// Series of each kind of protocol.
fn by_protocol(counts: ByProtocol) -> impl Iterator<Item = ([(&'static str, &'static str); 1], u64)> {
    PROTOCOLS.into_iter().zip(counts).map(|(protocol, count)| ([("protocol", protocol)], count))
}

fn kinds(page: &mut Writer<'_>, sample: &Sample) -> fmt::Result {
    page.gauges(
        ("shunt_protocol_connections", ""),
        "Connections by protocol, as of the last walk through the table, some seconds ago.",
        by_protocol(sample.tally.all),
    )
}

fn translation(page: &mut Writer<'_>, sample: &Sample) -> fmt::Result {
    let tally = &sample.tally;
    let mut sources: Vec<(String, ByProtocol)> =
        tally.sources.iter().map(|(address, counts)| (address.to_string(), *counts)).collect();
    sources.sort();
    if tally.other_sources != ByProtocol::default() {
        sources.push((OTHERS.to_owned(), tally.other_sources));
    }
    page.gauges(
        ("shunt_nat_source_connections", ""),
        "Connections that leave with another source address, by that address and protocol, as of the last walk. To one destination each takes a port.",
        sources.iter().flat_map(|(address, counts)| {
            let kinds = PROTOCOLS.into_iter().zip(*counts).filter(|(_, count)| *count > 0);
            kinds.map(move |(protocol, count)| ([("address", address.as_str()), ("protocol", protocol)], count))
        }),
    )?;
    page.gauges(
        ("shunt_nat_source_ports", ""),
        "Ports that each of those addresses has to one destination, by each protocol, unless its router has snat_ports.",
        one(DEFAULT_RANGE.len() as u64),
    )?;
    page.gauges(
        ("shunt_nat_router_source_ports", ""),
        "Ports that the addresses of a router have instead; only routers with snat_ports.",
        bounded(sample.snat_ports.iter().map(|(name, count)| (name.as_str(), *count as u64)))
            .into_iter()
            .map(|(name, count)| ([("router", name)], count)),
    )?;
    page.gauges(
        ("shunt_nat_destination_connections", ""),
        "Connections to services and floating addresses, by protocol, as of the last walk.",
        by_protocol(tally.destination),
    )?;
    page.counters(
        ("shunt_nat_ports_exhausted_frames", ""),
        "Frames that were dropped because no port was left towards their destination (masquerade_ports).",
        one(sample.all_ports.dropped(DropReason::MasqueradePorts)),
    )
}
