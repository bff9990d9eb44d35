//! What shuntd is told to be: a bridge, or a router between two networks with 250 stations behind the sink.

use std::fmt::Write as _;

use shunt_tests::testpmd;

use crate::frames::{DESTINATION, PODS, pod_address};
use crate::oneway::Settings;
use crate::switch::device_port;

/// Stations that the input goes to: 10.0.2.1 and up.
pub const STATIONS: u32 = 250;

/// `[flow_cache]`; by default it is left out, and the daemon's defaults hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCache {
    /// Entries of each worker; 0 is off.
    pub entries: Option<u32>,
    /// Every header field is in the key, so every flow has an entry of its own.
    pub full_key: bool,
    /// Every new flow is entered, though none comes again.
    pub enters_all: bool,
}

impl FlowCache {
    /// With room for so many connections, of two flows each; not less than the daemon's default.
    pub(super) fn of_connections(connections: u32) -> Self {
        Self { entries: Some((4 * connections).next_power_of_two().max(262_144)), ..Self::default() }
    }

    pub(super) fn section(self) -> String {
        let mut keys = String::new();
        if let Some(entries) = self.entries {
            let _ = writeln!(keys, "entries = {entries}");
        }
        if self.full_key {
            keys += "key = \"full\"\n";
        }
        if self.enters_all {
            keys += "back_off = false\n";
        }
        if keys.is_empty() { keys } else { format!("[flow_cache]\n{keys}") }
    }
}

/// One network; the destination of all frames is a station behind the sink.
pub fn l2(cache: FlowCache) -> Settings {
    Settings {
        network: "default",
        sections: cache.section(),
        ports: device_port("out", "default", &testpmd::null(0), &[DESTINATION]),
        source_keys: "",
        learns: false,
    }
}

/// Two networks and a router between them, as the peer's 16 tables: MAC rewrite and TTL.
pub fn l3(cache: FlowCache) -> Settings {
    let network = |name: &str, gateway: &str, mac: &str| {
        format!(
            "[[network]]\nname = \"{name}\"\nrouter = \"r\"\ngateways = [\"{gateway}/24\"]\ngateway_mac = \"{mac}\"\n"
        )
    };
    let sections = cache.section()
        + "[[router]]\nname = \"r\"\n"
        + &network("left", "10.0.1.1", DESTINATION)
        // 10.0.2.1 is one of the stations.
        + &network("right", "10.0.2.254", "02:00:00:00:00:fd");
    let ports = device_port("out", "right", &testpmd::null(0), &[]) + &endpoints(1..=STATIONS);
    Settings { network: "left", sections, ports, source_keys: "", learns: false }
}

/// A sink in network `right` with one station of its own, for changes that concern nobody's traffic.
pub fn spare(station: u32) -> String {
    device_port("spare", "right", &testpmd::null(1), &[]) + &endpoints(station..=station)
}

pub(super) fn endpoints(stations: impl Iterator<Item = u32>) -> String {
    format!("endpoints = {}\n", stations_list(stations))
}

/// Stations with their addresses, as a port or a peer has them.
pub(super) fn stations_list(stations: impl Iterator<Item = u32>) -> String {
    stations_in(2, stations)
}

/// The same in subnet 10.0.`subnet`.0.
pub(super) fn stations_in(subnet: u8, stations: impl Iterator<Item = u32>) -> String {
    let one = |station: u32| {
        format!("{{ mac = \"02:00:00:02:00:{station:02x}\", ip = [\"10.0.{subnet}.{station}\"] }}")
    };
    format!("[{}]", stations.map(one).collect::<Vec<_>>().join(", "))
}

/// The same of the first `count` pods that send ([`crate::frames::sent_by`]), where they are answered.
pub(super) fn pods(count: u32) -> String {
    let one = |pod: u8| {
        let [.., last] = pod_address(pod);
        format!("{{ mac = \"02:00:00:00:01:{last:02x}\", ip = [\"10.0.1.{last}\"] }}")
    };
    let all: Vec<String> = (0..count.min(PODS) as u8).map(one).collect();
    format!("endpoints = [{}]\n", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_defaults_are_left_alone() {
        assert_eq!(FlowCache::default().section(), "");
        let cache = FlowCache { entries: Some(0), full_key: true, ..FlowCache::default() };
        assert_eq!(cache.section(), "[flow_cache]\nentries = 0\nkey = \"full\"\n");
    }

    #[test]
    fn both_configurations_are_ones_that_the_daemon_takes() {
        for settings in [
            l2(FlowCache::default()),
            l3(FlowCache { entries: Some(1024), full_key: true, ..FlowCache::default() }),
        ] {
            let text = settings.sections + &settings.ports;
            if let Err(errors) = shunt_config::parse(&text, "bench") {
                panic!("{errors}");
            }
        }
    }
}
