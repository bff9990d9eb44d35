//! Topologies of small plans, and what differs between two.

use std::sync::Arc;

use shunt_config::{NetworkName, PortName, RouterName};

use super::*;
use crate::flow::Depth;
use crate::ids::{NetworkId, PortId};
use crate::table::{fdb::Fdb, fib::Fib, neighbor::NeighborTable};
use crate::wire::ethernet::Mac;

fn plan(networks: &[&str], ports: &[(&str, usize, u16, bool)]) -> Plan {
    let fdb = Arc::new(Fdb::build([].into_iter()));
    let neighbors = Arc::new(NeighborTable::default());
    let network = |name: &&str| PlannedNetwork {
        fdb: fdb.clone(),
        neighbors: neighbors.clone(),
        ..PlannedNetwork::plain(NetworkName::new(name).unwrap())
    };
    let port = |&(name, slot, network, up): &(&str, usize, u16, bool)| Port {
        up,
        ..Port::plain(PortId::new(slot).unwrap(), PortName::new(name).unwrap(), NetworkId(network))
    };
    let (networks, ports) = (networks.iter().map(network).collect(), ports.iter().map(port).collect());
    Plan { networks, ports, ..Plan::default() }
}

#[test]
fn removals_come_first_and_renumbering_is_no_change() {
    let shared = plan(&["blue", "red"], &[("a", 0, 0, true), ("b", 1, 1, true), ("c", 2, 1, true)]);
    let old = Topology::build(1, &shared);
    // `blue` goes, so `red` moves from index 1 to 0; the tables are the same objects.
    let mut next = shared.clone();
    next.networks.remove(0);
    next.ports.remove(0);
    for port in &mut next.ports {
        port.network = NetworkId(0);
    }
    next.ports[1].up = false;
    let new = Topology::build(2, &next);
    let name = |text: &str| PortName::new(text).unwrap();
    assert_eq!(
        diff(&old, &new),
        [
            Change::PortRemoved(name("a")),
            Change::NetworkRemoved(NetworkName::new("blue").unwrap()),
            Change::PortChanged(name("c")),
        ]
    );
    assert!(diff(&new, &new).is_empty());
}

#[test]
fn routers_and_gateways_are_compared_by_what_they_mean() {
    let fib = || Arc::new(Fib::build([]));
    let router = |name: &str| PlannedRouter { name: RouterName::new(name).unwrap(), fib: fib() };
    let gateway = |router| Gateway {
        mac: Mac(2),
        addresses: [("10.0.0.1".parse().unwrap(), 24)].into(),
        router: RouterId(router),
    };
    let mut old = plan(&["blue", "red"], &[]);
    old.routers = vec![router("a"), router("b")];
    old.networks[0].gateway = Some(gateway(1));
    // `a` goes, so `b` moves from index 1 to 0 and blue's gateway is the same; `c` comes, and red gets a gateway.
    let mut new = old.clone();
    new.routers.remove(0);
    new.routers.push(router("c"));
    new.networks[0].gateway = Some(gateway(0));
    new.networks[1].gateway = Some(gateway(1));
    let name = |text: &str| RouterName::new(text).unwrap();
    let topologies = (Topology::build(1, &old), Topology::build(2, &new));
    assert_eq!(
        diff(&topologies.0, &topologies.1),
        [
            Change::RouterRemoved(name("a")),
            Change::RouterAdded(name("c")),
            Change::GatewayChanged(NetworkName::new("red").unwrap()),
        ]
    );
    let mut rebuilt = new.clone();
    rebuilt.routers[0].fib = fib();
    let rebuilt = Topology::build(3, &rebuilt);
    assert_eq!(diff(&topologies.1, &rebuilt), [Change::RoutesRebuilt(name("b"))]);
    assert_eq!(rebuilt.router(RouterId(1)).unwrap().name, name("c"));
}

#[test]
fn a_network_is_looked_into_as_deep_as_its_stages_read() {
    let mut routed = plan(&["routed", "bridge"], &[]);
    routed.routers =
        vec![PlannedRouter { name: RouterName::new("r").unwrap(), fib: Arc::new(Fib::build([])) }];
    routed.networks[0].gateway = Some(Gateway { mac: Mac(2), addresses: [].into(), router: RouterId(0) });
    let depths = |plan: &Plan| {
        let topology = Topology::build(1, plan);
        topology.networks().iter().map(|network| (network.has_l3, network.depth)).collect::<Vec<_>>()
    };
    assert_eq!(depths(&routed), [(true, Depth::Network), (false, Depth::Ethernet)]);
    routed.full_key = true;
    assert_eq!(depths(&routed), [(true, Depth::Transport), (false, Depth::Transport)]);
}

#[test]
fn only_ports_that_are_up_are_members() {
    let topology =
        Topology::build(1, &plan(&["n"], &[("a", 5, 0, true), ("b", 3, 0, false), ("c", 1, 0, true)]));
    let members: Vec<usize> =
        topology.networks()[0].members.iter().map(|member| member.port.index()).collect();
    assert_eq!(members, [1, 5]);
}
