//! Members of every kind that a bond takes, with Open vSwitch's bond at the other ends of their links.

use std::time::Duration;

use shunt_tests::ovs::DAEMON;
use shunt_tests::{Iperf, require};

use super::far::{self, Bond, Far, Kind};
use super::{AT_ONCE, SILENT, agreed, outage};

/// Agreement, traffic over both links each way, and a link that goes down: what of it the member shows is noticed at once, the rest by
/// the partner's silence, within `patience`.
#[track_caller]
fn carries(kind: Kind, patience: Duration) {
    let bond = Bond::of(kind, Far::ovs("fast"), "rate = \"fast\"");
    agreed(&bond);
    bond.answered(20);
    let before = bond.members();
    let mut iperf = Iperf::serve(&bond.far.pod, far::FAR).unwrap();
    // Which link it gives a flow is the partner's decision: he sees how they are loaded, and moves some.
    for (n, reverse) in [false, true, true, true].into_iter().enumerate() {
        if n > 1 && bond.grew(&before, "rx_packets", 100) {
            break;
        }
        let load = shunt_tests::iperf::Tcp { seconds: 2, streams: 16, reverse };
        let tcp = iperf.tcp(&bond.pod, &load).unwrap();
        assert!(tcp.bytes > 5_000_000, "{kind:?}, reverse {reverse}: {tcp:?}\n{}", bond.state());
    }
    bond.until(|bond| bond.grew(&before, "tx_packets", 100) && bond.grew(&before, "rx_packets", 100));
    let used = bond.used_by_ping();
    let (lost, doubled) = outage(&bond, Duration::from_secs(6), || bond.far.set_up(used, false));
    assert!(lost <= patience, "{kind:?}: {lost:?} without an answer\n{}", bond.state());
    assert_eq!(doubled, 0);
    assert_eq!(bond.members()[used]["distributing"], false, "{kind:?}: {}", bond.state());
    bond.far.set_up(used, true);
    agreed(&bond);
    bond.answered(20);
}

#[test]
fn links_by_af_xdp() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    carries(Kind::AfXdp, AT_ONCE);
}

#[test]
fn links_by_a_driver_of_dpdk() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    carries(Kind::AfPacket, SILENT);
}

#[test]
fn links_by_tap() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    carries(Kind::Tap, SILENT);
}
