//! The topology and what is in its tables; publications. Networks and routers: at most 257 series each.

use std::fmt;

use super::{Writer, bounded, one};
use crate::control::Durations;
use crate::control::sample::Sample;
use crate::control::status::NetworkRow;

pub(super) fn write(page: &mut Writer<'_>, sample: &Sample) -> fmt::Result {
    publications(page, sample)?;
    tables(page, sample)?;
    objects(page, sample)?;
    let (total, free) = sample.mbufs;
    page.gauges(("shunt_mempool_buffers", ""), "Packet buffers (`mbufs` under [memory]).", one(total))?;
    page.gauges(
        ("shunt_mempool_buffers_free", ""),
        "Packet buffers that nobody holds; at 0 frames are dropped as no_buffers.",
        one(free),
    )
}

fn publications(page: &mut Writer<'_>, sample: &Sample) -> fmt::Result {
    let times = &sample.times;
    page.gauges(("shunt_topology_generation", ""), "Number of the newest topology.", one(sample.generation))?;
    page.gauges(
        ("shunt_topology_in_force", ""),
        "1 when all workers run the newest topology; 0 for longer than a second: a worker hangs.",
        one(u64::from(sample.in_force)),
    )?;
    let mut histogram = |name, help, durations: &Durations| {
        let no_labels: [(&str, &str); 0] = [];
        page.histograms(name, help, [(no_labels, durations.sum().as_secs_f64(), durations.intervals())])
    };
    histogram("shunt_topology_build", "Time to build a topology.", &times.build)?;
    histogram(
        "shunt_topology_publish",
        "Time from the pointer swap until no worker could use the topology before.",
        &times.in_force,
    )?;
    histogram(
        "shunt_topology_swap_stall",
        "The longest loop iteration in which a worker took over a topology, of publications that were waited for.",
        &times.stall,
    )?;
    histogram(
        "shunt_policy_apply",
        "Time from a change of pods or policies until it was in force on all workers.",
        &times.policies,
    )
}

fn tables(page: &mut Writer<'_>, sample: &Sample) -> fmt::Result {
    let networks = |of: fn(&NetworkRow) -> u64| {
        let rows = bounded(sample.networks.iter().map(|network| (network.name.as_str(), of(network))));
        rows.into_iter().map(|(name, value)| ([("network", name)], value))
    };
    page.gauges(
        ("shunt_fdb_entries", ""),
        "MAC addresses known in the network, learned and given.",
        networks(|network| network.macs as u64),
    )?;
    page.gauges(
        ("shunt_fdb_limit", ""),
        "Most MAC addresses that the network learns (`mac_limit`).",
        networks(|network| u64::from(network.mac_limit)),
    )?;
    page.gauges(
        ("shunt_neighbors", ""),
        "IP addresses whose MAC address is known in the network, learned, given and own.",
        networks(|network| network.neighbors as u64),
    )?;
    let routers = bounded(sample.routers.iter().map(|(name, routes)| (name.as_str(), *routes as u64)));
    page.gauges(
        ("shunt_fib_routes", ""),
        "Routes of the router.",
        routers.into_iter().map(|(name, routes)| ([("router", name)], routes)),
    )?;
    let lessons = &sample.lessons;
    page.counters(
        ("shunt_fdb_moves", ""),
        "MAC addresses that turned up behind another port.",
        one(lessons.moves),
    )?;
    page.counters(
        ("shunt_fdb_refused", ""),
        "MAC addresses that were not learned because of `mac_limit`.",
        one(lessons.refused),
    )?;
    page.counters(
        ("shunt_neighbors_refused", ""),
        "Neighbours that were not learned because of a limit.",
        one(lessons.neighbors_refused),
    )
}

fn objects(page: &mut Writer<'_>, sample: &Sample) -> fmt::Result {
    let (services, endpoints) = sample.services;
    page.gauges(("shunt_services", ""), "Services.", one(services as u64))?;
    page.gauges(("shunt_service_endpoints", ""), "Endpoints of all services.", one(endpoints as u64))?;
    page.gauges(
        ("shunt_policies", ""),
        "Policies: the administrator's before others, those of namespaces, the administrator's after others.",
        sample.policies.map(|(tier, count)| ([("tier", tier)], count as u64)),
    )?;
    page.gauges(("shunt_pods", ""), "Pods that policies may be about.", one(sample.pods as u64))
}
