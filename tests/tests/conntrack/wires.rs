//! A switch with a wire to each of its ports.

use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Interface, Netns, Shuntd, Veth, Wire};

/// Starts the switch with veth ports of these names and wires to them, in the same order. Everything ends with what is returned, the
/// namespaces last when they are bound in this order.
#[track_caller]
pub(crate) fn start<const N: usize>(config: &str, ports: [&str; N]) -> (Vec<Netns>, Shuntd, [Wire; N]) {
    let node = Netns::new().unwrap();
    let mut places = Vec::new();
    let wires = ports.map(|port| {
        let place = Netns::new().unwrap();
        // Nothing but the frames of the test.
        place.exec(&["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"]).unwrap();
        // It ends with the namespaces.
        std::mem::forget(Veth::pair(port, Some(&node), &place, &Interface::default()).unwrap());
        let wire = Wire::on(&place, "eth0").unwrap();
        places.push(place);
        wire
    });
    let shuntd = Shuntd::start_in(&node, config).unwrap();
    places.push(node);
    let up = |ports: &serde_json::Value| {
        ports.as_array().into_iter().flatten().all(|row| row["oper_up"] == true && row["link"] == true)
    };
    shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, up).unwrap();
    (places, shuntd, wires)
}

/// Waits until so many frames have been dropped at a port for that reason.
#[track_caller]
pub(crate) fn waits_for_drops(shuntd: &Shuntd, port: &str, reason: &str, wanted: u64) {
    let counted = |drops: &serde_json::Value| dropped(drops, port, reason) >= wanted;
    let waited = shuntd.cli_until(&["show", "drops", "--json"], PATIENCE, counted);
    waited.unwrap_or_else(|error| panic!("{wanted} drops for {reason} on {port}: {error}"));
}

/// How many `show drops --json` counts.
pub(crate) fn dropped(drops: &serde_json::Value, port: &str, reason: &str) -> u64 {
    let rows = drops.as_array().into_iter().flatten();
    let ours = rows.filter(|row| row["port"] == port && row["reason"] == reason);
    ours.filter_map(|row| row["count"].as_u64()).sum()
}
