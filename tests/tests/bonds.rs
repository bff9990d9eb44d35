//! Bonds with code that is not ours on the other side: Open vSwitch's LACP in its user-space datapath, the kernel's bridge.

#[path = "bonds/far.rs"]
mod far;
#[path = "bonds/kinds.rs"]
mod kinds;
#[path = "bonds/stall.rs"]
mod stall;

use std::time::Duration;

use far::{Bond, Far};
use serde_json::Value;
use shunt_tests::ovs::DAEMON;
use shunt_tests::{Iperf, Ping, require};
use stall::Stalled;

/// What a link that was taken away from under a flow may cost it, when both sides see that it is down.
const AT_ONCE: Duration = Duration::from_millis(1_000);
/// The same when nobody can see it: a partner that wants to hear every second is given up after three.
const SILENT: Duration = Duration::from_millis(3_300);
/// The same when only the partner can notice: he gives us up after three seconds, and says so with his next LACPDU, a second later at
/// most.
const TOLD: Duration = Duration::from_millis(4_300);

/// The pod asks the far pod for `time`; after a second `act` is done. The longest time without an answer, and how many answers came
/// twice.
#[track_caller]
fn outage(bond: &Bond, time: Duration, act: impl FnOnce()) -> (Duration, u32) {
    shunt_tests::outage(&bond.pod, far::FAR, time, act).unwrap()
}

/// Both sides agree: they carry traffic over all links.
#[track_caller]
fn agreed(bond: &Bond) {
    bond.until(|bond| bond.members().iter().all(|member| member["distributing"] == true));
    bond.far.until_enabled(2);
}

#[test]
fn both_rates_with_open_vswitch() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    for rate in ["fast", "slow"] {
        let bond = Bond::start(Far::ovs(rate), &format!("mode = \"lacp\"\nrate = \"{rate}\""));
        agreed(&bond);
        for member in bond.members() {
            let says = |side: &str, bit: &str| {
                member[side]["state"].as_array().is_some_and(|bits| bits.iter().any(|it| it == bit))
            };
            for side in ["actor", "partner"] {
                for bit in ["activity", "aggregation", "synchronization", "collecting", "distributing"] {
                    assert!(says(side, bit), "{rate}: {side} is not in {bit}: {member}");
                }
                assert_eq!(says(side, "timeout"), rate == "fast", "{rate}: {member}");
            }
            assert_eq!(member["mux"], "distributing");
        }
        let lacp = bond.far.lacp();
        assert_eq!(lacp.matches("current attached").count(), 2, "{lacp}");
        bond.answered(20);
        // Sixteen connections each way are spread over both links by both sides.
        let before = bond.members();
        let mut iperf = Iperf::serve(&bond.far.pod, far::FAR).unwrap();
        for reverse in [false, true] {
            let load = shunt_tests::iperf::Tcp { seconds: 2, streams: 16, reverse };
            let tcp = iperf.tcp(&bond.pod, &load).unwrap();
            assert!(tcp.bytes > 10_000_000, "{tcp:?}\n{}", bond.state());
        }
        bond.until(|bond| bond.grew(&before, "tx_packets", 100) && bond.grew(&before, "rx_packets", 100));
        assert_eq!(bond.bond()["changes"], 2, "{}", bond.state());
    }
}

#[test]
fn a_link_that_goes_down_and_comes_back() {
    require!(root(), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    let bond = Bond::start(Far::ovs("fast"), "rate = \"fast\"");
    agreed(&bond);
    bond.answered(3);
    for _ in 0..2 {
        let used = bond.used_by_ping();
        let (lost, _) = outage(&bond, Duration::from_secs(4), || bond.far.set_up(used, false));
        assert!(lost < AT_ONCE, "{lost:?} without an answer\n{}", bond.state());
        assert_eq!(bond.members()[used]["distributing"], false);
        let (lost, _) = outage(&bond, Duration::from_secs(6), || bond.far.set_up(used, true));
        assert!(lost < AT_ONCE, "{lost:?} without an answer as it came back\n{}", bond.state());
        agreed(&bond);
    }
}

#[test]
fn a_link_that_goes_silent() {
    require!(root(), tool("ethtool"), tool("tc"), file(DAEMON), file("/dev/net/tun"), shuntd());
    let bond = Bond::start_at_a_distance(Far::ovs("fast"), "rate = \"fast\"");
    agreed(&bond);
    bond.answered(3);
    let used = bond.used_by_ping();
    let (lost, _) = outage(&bond, Duration::from_secs(7), || bond.silence(used, true));
    assert!(lost > Duration::from_millis(500), "the link was not in use\n{}", bond.state());
    assert!(lost <= SILENT, "{lost:?} without an answer\n{}", bond.state());
    assert!(bond.members().iter().all(|member| member["link"] == true), "nobody saw it go down");
    bond.silence(used, false);
    agreed(&bond);
}

#[test]
fn a_partner_that_falls_silent_in_one_direction() {
    require!(root(), tool("ethtool"), tool("tc"), file(DAEMON), file("/dev/net/tun"), shuntd());
    let bond = Bond::start_at_a_distance(Far::ovs("fast"), "rate = \"fast\"");
    agreed(&bond);
    let used = bond.used_by_ping();
    // What we send is lost: he notices, and tells us.
    let (lost, _) = outage(&bond, Duration::from_secs(7), || bond.silence_ours(used));
    assert!(lost <= TOLD, "{lost:?} without an answer\n{}", bond.state());
    assert_eq!(bond.members()[used]["distributing"], false, "{}", bond.state());
}

#[test]
fn a_partner_without_lacp_gets_no_traffic_and_gives_none() {
    require!(root(), tool("ethtool"), shuntd());
    let bond = Bond::start(Far::bridge(), "mode = \"lacp\"");
    bond.until(|bond| bond.members().iter().all(|member| member["receive"] == "defaulted"));
    let answers = Ping { count: 3, wait_ms: 300, ..Ping::to(far::FAR) }.run(&bond.pod).unwrap();
    assert_eq!(answers.received, 0);
    let answers = Ping { count: 3, wait_ms: 300, ..Ping::to(far::NEAR) }.run(&bond.far.pod).unwrap();
    assert_eq!(answers.received, 0);
    let drops = bond.shuntd.cli(&["show", "drops", "--json"]).unwrap();
    let reasons: Vec<&Value> = drops.as_array().unwrap().iter().map(|row| &row["reason"]).collect();
    assert!(reasons.iter().any(|it| *it == "bond_not_collecting"), "{reasons:?}");
    assert!(reasons.iter().any(|it| *it == "link_down"), "{reasons:?}");
    assert_eq!(bond.bond()["up"], false);
}

#[test]
fn active_backup_to_one_segment() {
    require!(root(), tool("ethtool"), shuntd());
    let bond = Bond::start(Far::bridge(), "mode = \"active-backup\"");
    bond.until(|bond| bond.bond()["up"] == true);
    bond.answered(3);
    for _ in 0..2 {
        let active = bond.members().iter().position(|member| member["distributing"] == true).unwrap();
        let (lost, doubled) = outage(&bond, Duration::from_secs(3), || bond.far.set_up(active, false));
        assert!(lost < AT_ONCE, "{lost:?} without an answer\n{}", bond.state());
        assert_eq!(doubled, 0, "a frame came over both links");
        assert_eq!(bond.members()[1 - active]["distributing"], true);
        let (lost, _) = outage(&bond, Duration::from_secs(2), || bond.far.set_up(active, true));
        assert!(lost < Duration::from_millis(200), "it moved back without need: {lost:?}");
        assert_eq!(bond.members()[1 - active]["distributing"], true);
    }
}

/// A worker that hangs for ten seconds. The partner goes on hearing us over all links, since the protocol sends by itself.
#[test]
fn a_worker_that_hangs_takes_no_slow_link_down_and_only_its_own_fast_one() {
    require!(root(), tool("ethtool"), tool("perl"), file(DAEMON), file("/dev/net/tun"), shuntd());
    for rate in ["slow", "fast"] {
        let keys = format!("rate = \"{rate}\"\nplacement = [0, 1]");
        let bond = Bond::start(Far::ovs(rate), &keys);
        agreed(&bond);
        bond.answered(3);
        let before = bond.bond()["changes"].clone();
        // Worker 1 has the pod, too; worker 0 has member 0 alone.
        let stalled = Stalled::worker(&bond.shuntd, 0);
        let end = std::time::Instant::now() + Duration::from_secs(10);
        let mut lowest = usize::MAX;
        while std::time::Instant::now() < end {
            lowest = lowest.min(bond.far.current());
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(lowest, 2, "{rate}: the partner missed our LACPDUs");
        if rate == "slow" {
            assert_eq!(bond.bond()["changes"], before, "{}", bond.state());
        } else {
            let members = bond.members();
            assert_eq!(members[0]["distributing"], false, "nothing was heard over it: {}", bond.state());
            assert_eq!(members[1]["distributing"], true, "{}", bond.state());
            // Traffic goes on over the other one.
            bond.answered(3);
        }
        drop(stalled);
        agreed(&bond);
        bond.answered(3);
    }
}
