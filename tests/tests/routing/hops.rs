//! `traceroute` through the gateway between two networks, by everything that it can send.

use shunt_tests::require;
use shunt_tests::traceroute::{Probe, traceroute};

use crate::lab::{PAIR, gateway_v4, gateway_v6, routed, until_answered};

#[test]
fn traceroute_shows_the_gateway_and_the_other_end() {
    require!(root(), tool("traceroute"), shuntd());
    let node = routed(PAIR, "");
    let [from, to] = &node.pods[..] else { unreachable!("two pods") };
    for (target, gateway) in [(&to.v4, gateway_v4(1)), (&to.v6, gateway_v6(1))] {
        until_answered(&node, from, target);
        for probe in [Probe::Udp, Probe::Icmp, Probe::Tcp(80)] {
            let hops = traceroute(&from.netns, target, probe).unwrap();
            assert_eq!(hops, [gateway.clone(), target.clone()], "{probe:?}: {:?}", node.drops());
        }
    }
}
