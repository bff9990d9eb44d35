//! Rules of topologies, word by word.

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::ids::{NetworkId, PortId};
use crate::table::fdb::{self, Fdb, Place};
use crate::table::fib::{self, Fib, Route};
use crate::table::neighbor::{self, Neighbor, NeighborTable};
use crate::topology::{
    Answers, Demux, Gateway, Identity, Plan, PlannedNetwork, PlannedRouter, Port, RouterId, Topology, Vlans,
};
use crate::wire::ethernet::Mac;

fn port(slot: usize, name: &str, network: u16, vlans: Option<Vlans>) -> Port {
    Port {
        vlans,
        max_frame: 1518,
        ..Port::plain(PortId::new(slot).unwrap(), name.parse().unwrap(), NetworkId(network))
    }
}

fn mac(last: u8) -> Mac {
    Mac::from_bytes([0xaa, 0xbb, 0xcc, 0xdd, 0xee, last])
}

fn stations(rows: &[(u8, usize)]) -> Arc<Fdb> {
    let row = |&(last, slot): &(u8, usize)| fdb::Row {
        mac: mac(last),
        place: Place::Port(PortId::new(slot).unwrap()),
        fixed: true,
        last_seen: 0,
    };
    Arc::new(Fdb::build(rows.iter().map(row)))
}

fn neighbors(rows: &[(&str, u8, bool)]) -> Arc<NeighborTable> {
    let row = |&(address, last, own): &(&str, u8, bool)| neighbor::Row {
        address: address.parse().unwrap(),
        neighbor: Neighbor { mac: mac(last), own, fixed: true },
        last_seen: 0,
    };
    Arc::new(NeighborTable::build(rows.iter().map(row)))
}

fn network(name: &str, fdb: Arc<Fdb>) -> PlannedNetwork {
    PlannedNetwork { fdb, ..PlannedNetwork::plain(name.parse().unwrap()) }
}

/// Table, priority, match and actions of the rules, a line each.
fn text(plan: &Plan, network: &str, table: Option<u8>) -> String {
    let picture = Picture::of(&Topology::build(1, plan), 0);
    let rules = picture.rules(network, table, &Uses::default(), 0).unwrap();
    let line = |rule: &RuleRow| {
        let terms: String = rule.r#match.iter().flat_map(|term| [",", term]).collect();
        format!("{} {}{terms} {}\n", rule.table, rule.priority, rule.actions.join(","))
    };
    rules.iter().map(line).collect()
}

#[test]
fn pods_of_one_bridge_are_told_apart_by_mac_address() {
    let plan = Plan {
        networks: vec![network("default", stations(&[(3, 1), (2, 0)]))],
        ports: vec![port(0, "veth_pod_a", 0, None), port(1, "veth_pod_b", 0, None)],
        ..Plan::default()
    };
    let expected = "\
0 200,dl_src=01:00:00:00:00:00/01:00:00:00:00:00 drop
0 100,ip,in_port=veth_pod_a goto_table:16
0 100,ipv6,in_port=veth_pod_a goto_table:16
0 100,ip,in_port=veth_pod_b goto_table:16
0 100,ipv6,in_port=veth_pod_b goto_table:16
0 90,in_port=veth_pod_a goto_table:16
0 90,in_port=veth_pod_b goto_table:16
16 60,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 FLOOD
16 50,dl_dst=aa:bb:cc:dd:ee:02 output:veth_pod_a
16 50,dl_dst=aa:bb:cc:dd:ee:03 output:veth_pod_b
16 0 FLOOD
20 100,actset_output=veth_pod_a output:veth_pod_a
20 100,actset_output=veth_pod_b output:veth_pod_b
";
    assert_eq!(text(&plan, "", None), expected);
    assert_eq!(text(&plan, "br-int", None), expected, "the name that stands for all");
    assert_eq!(text(&plan, "default", Some(20)).lines().count(), 2);
    let picture = Picture::of(&Topology::build(1, &plan), 0);
    let missing = picture.rules("br-phy", None, &Uses::default(), 0).unwrap_err();
    assert_eq!(missing.to_string(), "there is no network \"br-phy\"; there are default");
}

#[test]
fn a_router_shows_prefixes_next_hops_and_its_own_addresses() {
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    let routes = [
        ("10.0.1.0/24", Route::Connected(NetworkId(0))),
        ("192.168.1.21/32", Route::Connected(NetworkId(0))),
        ("0.0.0.0/0", Route::Via(NetworkId(0), address("10.0.1.9"))),
        ("10.9.0.0/16", Route::Blackhole),
        ("fd00::/64", Route::Via(NetworkId(0), address("fd00:1::9"))),
    ];
    let rows = routes.map(|(prefix, route)| fib::Row { prefix: prefix.parse().unwrap(), route });
    let gateway =
        Gateway { mac: mac(0xfe), addresses: [(address("10.0.1.1"), 24)].into(), router: RouterId(0) };
    let net = PlannedNetwork {
        neighbors: neighbors(&[("10.0.1.1", 0xfe, true), ("10.0.1.9", 9, false), ("192.168.1.21", 2, false)]),
        gateway: Some(gateway),
        ..network("blue", stations(&[(9, 1)]))
    };
    let plan = Plan {
        networks: vec![net, network("other", stations(&[]))],
        routers: vec![PlannedRouter { name: "r".parse().unwrap(), fib: Arc::new(Fib::build(rows)) }],
        ports: vec![port(0, "pod", 0, None), port(1, "eth0", 0, None), port(2, "apart", 1, None)],
        ..Plan::default()
    };
    assert_eq!(
        text(&plan, "blue", None),
        "\
0 200,metadata=0x1,dl_src=01:00:00:00:00:00/01:00:00:00:00:00 drop
0 200,metadata=0x1,dl_src=aa:bb:cc:dd:ee:fe drop
0 110,arp,metadata=0x1,arp_tpa=10.0.1.1,arp_op=1 mod_dl_src:aa:bb:cc:dd:ee:fe,IN_PORT
0 100,ip,in_port=pod write_metadata:0x1,goto_table:16
0 100,ipv6,in_port=pod write_metadata:0x1,goto_table:16
0 100,ip,in_port=eth0 write_metadata:0x1,goto_table:16
0 100,ipv6,in_port=eth0 write_metadata:0x1,goto_table:16
0 90,in_port=pod write_metadata:0x1,goto_table:16
0 90,in_port=eth0 write_metadata:0x1,goto_table:16
16 200,ip,reg14=0x1,nw_dst=10.0.1.1 LOCAL
16 150,metadata=0x1,dl_dst=aa:bb:cc:dd:ee:fe set_field:0x1->reg14,resubmit(,16)
16 65,ipv6,reg14=0x1,ipv6_dst=fd00::/64 dec_ttl,write_metadata:0x1,set_field:0xfd000001000000000000000000000009->xxreg0,goto_table:17
16 60,metadata=0x1,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 FLOOD
16 50,metadata=0x1,dl_dst=aa:bb:cc:dd:ee:09 output:eth0
16 50,ip,reg14=0x1,nw_dst=192.168.1.21 dec_ttl,write_metadata:0x1,goto_table:17
16 42,ip,reg14=0x1,nw_dst=10.0.1.0/24 dec_ttl,write_metadata:0x1,goto_table:17
16 34,ip,reg14=0x1,nw_dst=10.9.0.0/16 drop
16 18,ip,reg14=0x1 dec_ttl,write_metadata:0x1,set_field:0xa000109->reg0,goto_table:17
16 0,metadata=0x1 FLOOD
16 0,reg14=0x1 drop
17 100,ip,metadata=0x1,reg0=0xa000109 mod_dl_src:aa:bb:cc:dd:ee:fe,mod_dl_dst:aa:bb:cc:dd:ee:09,output:eth0
17 50,ip,metadata=0x1,nw_dst=192.168.1.21 mod_dl_src:aa:bb:cc:dd:ee:fe,mod_dl_dst:aa:bb:cc:dd:ee:02,FLOOD
17 0,metadata=0x1 controller(reason=no_match)
20 100,actset_output=pod output:pod
20 100,actset_output=eth0 output:eth0
"
    );
}

#[test]
fn a_trunk_has_a_rule_for_each_vlan_and_an_access_port_gets_no_tag() {
    let trunk = Vlans { untagged: None, tagged: [(100, NetworkId(1))].into(), service: false };
    let access = Vlans { untagged: Some(NetworkId(1)), ..Vlans::default() };
    let plan = Plan {
        networks: vec![network("br-phy", stations(&[])), network("vlan100", stations(&[(1, 0), (2, 1)]))],
        ports: vec![port(0, "eth0", 0, Some(trunk)), port(1, "veth_pod_b", 0, Some(access))],
        ..Plan::default()
    };
    assert_eq!(
        text(&plan, "vlan100", None),
        "\
0 200,metadata=0x2,dl_src=01:00:00:00:00:00/01:00:00:00:00:00 drop
0 100,ip,in_port=eth0,dl_vlan=100 strip_vlan,write_metadata:0x2,goto_table:16
0 100,ipv6,in_port=eth0,dl_vlan=100 strip_vlan,write_metadata:0x2,goto_table:16
0 100,ip,in_port=veth_pod_b,vlan_tci=0x0000/0x0fff write_metadata:0x2,goto_table:16
0 100,ipv6,in_port=veth_pod_b,vlan_tci=0x0000/0x0fff write_metadata:0x2,goto_table:16
0 90,in_port=eth0,dl_vlan=100 strip_vlan,write_metadata:0x2,goto_table:16
0 90,in_port=veth_pod_b,vlan_tci=0x0000/0x0fff write_metadata:0x2,goto_table:16
16 60,metadata=0x2,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 FLOOD
16 50,metadata=0x2,dl_dst=aa:bb:cc:dd:ee:01 push_vlan:0x8100,set_field:4196->vlan_vid,output:eth0
16 50,metadata=0x2,dl_dst=aa:bb:cc:dd:ee:02 output:veth_pod_b
16 0,metadata=0x2 FLOOD
20 100,actset_output=eth0 output:eth0
20 100,actset_output=veth_pod_b output:veth_pod_b
"
    );
}

#[test]
fn routes_and_neighbours_as_rows() {
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    let routes = [
        ("10.20.9.60/32", Route::Connected(NetworkId(0))),
        ("10.20.6.0/25", Route::Via(NetworkId(0), address("10.20.6.0"))),
        ("10.20.0.0/16", Route::Unreachable),
    ];
    let rows = routes.map(|(prefix, route)| fib::Row { prefix: prefix.parse().unwrap(), route });
    let gateway =
        Gateway { mac: mac(0xfe), addresses: [(address("169.254.1.1"), 32)].into(), router: RouterId(0) };
    let net = PlannedNetwork {
        neighbors: neighbors(&[("169.254.1.1", 0xfe, true), ("10.20.9.60", 2, false)]),
        gateway: Some(gateway),
        ..network("vxlan.2", stations(&[(2, 0)]))
    };
    let plan = Plan {
        networks: vec![net],
        routers: vec![PlannedRouter { name: "r".parse().unwrap(), fib: Arc::new(Fib::build(rows)) }],
        ports: vec![port(0, "upvx4279f78", 0, None)],
        ..Plan::default()
    };
    let picture = Picture::of(&Topology::build(1, &plan), 0);
    let routes = picture.routes("r").unwrap();
    let host = routes.iter().find(|row| row.to == "10.20.9.60/32").unwrap();
    assert_eq!((host.kind, host.port.as_str(), host.network.as_str()), ("link", "upvx4279f78", "vxlan.2"));
    let via = picture.route_to("", address("10.20.6.10")).unwrap();
    assert_eq!((via.via.as_str(), via.onlink, via.source.as_str()), ("10.20.6.0", true, "169.254.1.1"));
    assert_eq!(picture.route_to("r", address("10.20.7.1")).unwrap().kind, "unreachable");
    let none = picture.route_to("r", address("8.8.8.8")).unwrap_err();
    assert_eq!(none.to_string(), "8.8.8.8 is unreachable: router r has no route to it");
    assert!(picture.routes("q").is_err() && picture.neighbors("q").is_err());
    let pod = &picture.neighbors("vxlan.2").unwrap()[0];
    assert_eq!(
        (pod.address.as_str(), pod.port.as_str(), pod.fixed, pod.own),
        ("10.20.9.60", "upvx4279f78", true, false)
    );
}

#[test]
fn given_stations_send_with_their_addresses_and_share_one() {
    let id = |slot| PortId::new(slot).unwrap();
    let shared = mac(0x72);
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    let identity = Identity::new([(shared, [address("10.0.0.6")].into())]);
    let demux = PlannedNetwork {
        neighbors: neighbors(&[("10.0.0.6", 0xf0, false)]),
        demux: Some(Demux { mac: shared, host: Some(id(1)) }),
        ..network("ipvlan", stations(&[(0xf0, 0), (9, 1)]))
    };
    let pod = Port { identity: Some(Arc::new(identity)), ..port(0, "pod", 0, None) };
    let plan = Plan { networks: vec![demux], ports: vec![pod, port(1, "host", 0, None)], ..Plan::default() };
    let expected = "\
0 200,dl_src=01:00:00:00:00:00/01:00:00:00:00:00 drop
0 102,arp,in_port=pod,dl_src=aa:bb:cc:dd:ee:72,arp_sha=aa:bb:cc:dd:ee:72,arp_spa=10.0.0.6 goto_table:16
0 100,ip,in_port=pod,dl_src=aa:bb:cc:dd:ee:72,nw_src=10.0.0.6 goto_table:16
0 100,ip,in_port=pod,dl_src=aa:bb:cc:dd:ee:72,nw_src=0.0.0.0 goto_table:16
0 100,ipv6,in_port=pod,dl_src=aa:bb:cc:dd:ee:72,ipv6_src=:: goto_table:16
0 100,ipv6,in_port=pod,dl_src=aa:bb:cc:dd:ee:72,ipv6_src=fe80::/10 goto_table:16
0 100,ip,in_port=host goto_table:16
0 100,ipv6,in_port=host goto_table:16
0 95,ip,in_port=pod drop
0 95,ipv6,in_port=pod drop
0 95,arp,in_port=pod drop
0 90,in_port=pod,dl_src=aa:bb:cc:dd:ee:72 goto_table:16
0 90,in_port=host goto_table:16
0 80,in_port=pod drop
16 155,ip,dl_dst=aa:bb:cc:dd:ee:72,nw_dst=10.0.0.6 output:pod
16 155,arp,arp_tpa=10.0.0.6 output:pod
16 152,dl_dst=aa:bb:cc:dd:ee:72 output:host
16 60,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 FLOOD
16 50,dl_dst=aa:bb:cc:dd:ee:09 output:host
16 0 FLOOD
20 100,actset_output=pod output:pod
20 100,actset_output=host output:host
";
    assert_eq!(text(&plan, "", None), expected);
}

#[test]
fn answers_for_others_are_rules() {
    let known = neighbors(&[("10.0.0.6", 6, false), ("10.0.0.1", 1, true)]);
    let with = |answers| {
        let gateway = Gateway {
            mac: mac(1),
            addresses: [("10.0.0.1".parse().unwrap(), 24)].into(),
            router: RouterId(0),
        };
        let network = PlannedNetwork {
            neighbors: known.clone(),
            gateway: Some(gateway),
            answers,
            ..network("pods", stations(&[(6, 0)]))
        };
        let router = PlannedRouter { name: "r".parse().unwrap(), fib: Arc::new(Fib::build([])) };
        let plan = Plan {
            networks: vec![network],
            routers: vec![router],
            ports: vec![port(0, "pod", 0, None)],
            ..Plan::default()
        };
        let all = text(&plan, "", Some(0));
        all.lines().filter(|line| line.contains(" 108,")).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(with(Answers::Own), Vec::<String>::new());
    assert_eq!(
        with(Answers::Given),
        ["0 108,arp,arp_tpa=10.0.0.6,arp_op=1 mod_dl_src:aa:bb:cc:dd:ee:06,IN_PORT"]
    );
    assert_eq!(
        with(Answers::Everybody),
        [
            "0 108,arp,arp_op=1 mod_dl_src:aa:bb:cc:dd:ee:01,IN_PORT",
            "0 108,icmp6,icmp_type=135 mod_dl_src:aa:bb:cc:dd:ee:01,IN_PORT"
        ]
    );
}
