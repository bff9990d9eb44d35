use std::net::IpAddr;

use shunt_config::{Config, MacAddr, NetworkName};

use super::{Gone, Numbers, dscp, encap, give, locals, own_ends, planned, routes};
use crate::control::learn::Given;
use crate::encap::{Dscp, Encap, Payload};
use crate::ids::NetworkId;
use crate::table::fdb::Place;
use crate::table::fib::{Fib, Route};
use crate::wire::ethernet::Mac;

fn parse(text: &str) -> Config {
    shunt_config::parse(text, "test").unwrap_or_else(|errors| panic!("{errors}"))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Router `r`, network `ctl` to carry tunnels, and what `rest` says.
fn with(rest: &str) -> Config {
    parse(&format!(
        "[[router]]\nname = \"r\"\n[[network]]\nname = \"ctl\"\nrouter = \"r\"\n\
         gateways = [\"192.168.50.1/24\", \"fd00:50::1/64\"]\n{rest}"
    ))
}

fn vxlan(peers: &str) -> Config {
    let head =
        "[[network]]\nname = \"v\"\nkind = \"overlay\"\nencap = \"vxlan\"\nvni = 2\ntransport = \"ctl\"\n";
    with(&format!("{head}router = \"r\"\ngateways = [\"169.254.1.1/32\"]\npeers = [{peers}]\n"))
}

fn name(text: &str) -> NetworkName {
    NetworkName::new(text).unwrap()
}

#[test]
fn a_peer_that_stays_keeps_its_number() {
    let peers = |hosts: &[u8]| {
        let peers: Vec<_> =
            hosts.iter().map(|host| format!("{{ address = \"192.168.50.{host}\" }}")).collect();
        vxlan(&peers.join(", "))
    };
    let mut numbers = Numbers::default();
    let get = |numbers: &Numbers, host: u8| numbers.get(&name("v"), address(&format!("192.168.50.{host}")));
    assert_eq!(numbers.follow(&peers(&[2, 3, 4])), []);
    assert_eq!([2, 3, 4].map(|host| get(&numbers, host)), [Some(0), Some(1), Some(2)]);
    // The number of 3 is not given away at once.
    assert_eq!(numbers.follow(&peers(&[5, 4, 2])), [Gone { network: name("v"), number: 1 }]);
    assert_eq!([2, 3, 4, 5].map(|host| get(&numbers, host)), [Some(0), None, Some(2), Some(3)]);
    let by_number = numbers.peers(&name("v"));
    assert_eq!(by_number[1..3], [None, Some(address("192.168.50.4"))]);
    // But later.
    assert_eq!(numbers.follow(&peers(&[2, 4, 5, 6])), []);
    assert_eq!(get(&numbers, 6), Some(1));
    let gone = numbers.follow(&with(""));
    assert_eq!(gone.iter().map(|gone| gone.number).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(numbers.peers(&name("v")).is_empty());
}

#[test]
fn numbers_are_taken_up_again_for_ever() {
    let mut numbers = Numbers::default();
    for step in 0..500_u32 {
        let host = 2 + step % 250;
        numbers.follow(&vxlan(&format!(
            "{{ address = \"192.168.50.{host}\" }}, {{ address = \"fd00:50::{step:x}2\" }}"
        )));
        assert!(numbers.peers(&name("v")).len() <= 4, "{numbers:?}");
    }
}

#[test]
fn an_l3_peer_is_a_router_behind_a_tunnel() {
    let config = vxlan(
        "{ address = \"192.168.50.2\", vtep = \"10.20.6.0\", mac = \"66:66:00:00:00:01\", prefixes = [\"10.20.6.0/25\"] }, \
         { address = \"192.168.50.3\", prefixes = [\"10.20.7.0/25\"] }",
    );
    let mut numbers = Numbers::default();
    numbers.follow(&config);
    let mut given = Given::default();
    give(&config.networks[1], &numbers, &mut given);
    let derived = config.networks[1].overlay().unwrap().peers[1].mac();
    let macs = [MacAddr([0x66, 0x66, 0, 0, 0, 1]), derived].map(Mac::from);
    assert_eq!(given.stations, [(macs[0], Place::Peer(0)), (macs[1], Place::Peer(1))]);
    let neighbors: Vec<_> =
        given.neighbors.iter().map(|(ip, row)| (*ip, row.mac, row.fixed, row.own)).collect();
    // Without vtep it is the outer address.
    let vteps = [address("10.20.6.0"), address("192.168.50.3")];
    assert_eq!(neighbors, [(vteps[0], macs[0], true, false), (vteps[1], macs[1], true, false)]);
    let fib = Fib::build(routes(&config, &config.routers[0]));
    let v = NetworkId(1);
    assert_eq!(fib.get(address("10.20.6.5")), Some(Route::Via(v, vteps[0])));
    assert_eq!(fib.get(address("10.20.7.5")), Some(Route::Via(v, vteps[1])));
    assert_eq!(fib.get(address("10.20.6.128")), None);
    let both = parse(
        "[[router]]\nname = \"r\"\n[[network]]\nname = \"ctl\"\nrouter = \"r\"\ngateways = [\"192.168.50.3/24\"]\n\
         [[network]]\nname = \"v\"\nkind = \"overlay\"\nencap = \"vxlan\"\nvni = 2\ntransport = \"ctl\"\nvtep = \"10.20.9.0\"\n\
         node_ips = [\"fd00:20::9\"]\nrouter = \"r\"\ngateways = [\"169.254.1.1/32\", \"fd00:20::1/128\"]\n",
    );
    let [own] = &own_ends(&both)[..] else { panic!("one overlay has one") };
    assert_eq!((own.mac, &own.addresses[..]), (None, &["10.20.9.0", "fd00:20::9"].map(address)[..]));
    // The other node derives its own address in the same way.
    let other = parse(
        "[[router]]\nname = \"r\"\n[[network]]\nname = \"ctl\"\nrouter = \"r\"\ngateways = [\"192.168.50.3/24\"]\n\
         [[network]]\nname = \"w\"\nkind = \"overlay\"\nencap = \"vxlan\"\nvni = 2\ntransport = \"ctl\"\n\
         router = \"r\"\ngateways = [\"169.254.1.1/32\"]\n",
    );
    assert_eq!(other.networks[1].gateway_mac(), derived);
}

#[test]
fn an_l2_peer_is_a_switch_behind_a_tunnel() {
    let config = with(
        "[[network]]\nname = \"g\"\nkind = \"overlay\"\nencap = \"geneve\"\nvni = 5\ntransport = \"ctl\"\n\
         router = \"r\"\ngateways = [\"10.16.0.1/16\"]\npeers = [\
         { address = \"192.168.50.2\", endpoints = [{ mac = \"02:00:00:00:00:05\", ip = [\"10.16.0.5\"] }, { mac = \"02:00:00:00:00:06\" }] },\
         { address = \"192.168.50.3\", node_ips = [\"10.16.9.3\"] }]\nnode_ips = [\"10.16.9.1\"]\n",
    );
    let mut numbers = Numbers::default();
    numbers.follow(&config);
    let mut given = Given::default();
    give(&config.networks[1], &numbers, &mut given);
    let [five, six] = [5, 6].map(|last| Mac::from(MacAddr([2, 0, 0, 0, 0, last])));
    let peer = config.networks[1].overlay().unwrap().peers[1].node_mac().map(Mac::from).unwrap();
    assert_eq!(given.stations, [(five, Place::Peer(0)), (six, Place::Peer(0)), (peer, Place::Peer(1))]);
    assert_eq!(given.neighbors.len(), 2);
    assert_eq!((given.neighbors[1].0, given.neighbors[1].1.mac), (address("10.16.9.3"), peer));
    let [own] = &own_ends(&config)[..] else { panic!("one overlay has one") };
    assert_eq!((own.network, &own.addresses[..]), (NetworkId(1), &[address("10.16.9.1")][..]));
    assert!(own.mac.is_some_and(|mac| mac != peer), "each node derives its own");
    assert_eq!((given.neighbors[0].0, given.neighbors[0].1.mac), (address("10.16.0.5"), five));
    assert_eq!(routes(&config, &config.routers[0]).count(), 0, "its subnet is a route already");
    let mut none = Given::default();
    give(&config.networks[0], &numbers, &mut none);
    assert!(none.stations.is_empty() && none.neighbors.is_empty());
}

#[test]
fn what_a_template_is_made_of() {
    let config = with(
        "[[network]]\nname = \"a\"\nkind = \"overlay\"\nencap = \"gre\"\nvni = 0\npayload = \"ip\"\ntransport = \"ctl\"\n\
         router = \"r\"\ngateways = [\"169.254.1.1/32\"]\ndscp = 46\n\
         peers = [{ address = \"192.168.50.2\" }, { address = \"fd00:50::3\" }]\n\
         [[network]]\nname = \"b\"\nkind = \"overlay\"\nencap = \"ipip\"\ntransport = \"ctl\"\nlocal = \"fd00:50::1\"\n\
         router = \"r\"\ngateways = [\"169.254.1.2/32\"]\ndscp = \"inherit\"\npeers = [{ address = \"fd00:50::3\" }]\n",
    );
    let [a, b] = [1, 2].map(|at: usize| config.networks[at].overlay().unwrap());
    assert_eq!(encap(a), Encap::Gre { key: Some(0), payload: Payload::Ip });
    assert_eq!((encap(b), dscp(a), dscp(b)), (Encap::IpIp, Dscp::Fixed(46), Dscp::Inherit));
    assert_eq!(*locals(&config, a), [address("192.168.50.1"), address("fd00:50::1")]);
    assert_eq!(*locals(&config, b), [address("fd00:50::1")]);
    let mut numbers = Numbers::default();
    numbers.follow(&config);
    let planned = planned(&config, &numbers);
    let ids: Vec<_> = planned.iter().map(|overlay| (overlay.network, overlay.transport)).collect();
    assert_eq!(ids, [(NetworkId(1), NetworkId(0)), (NetworkId(2), NetworkId(0))]);
    let remote =
        |overlay: usize, number: usize| planned[overlay].peers[number].as_ref().map(|peer| peer.address);
    assert_eq!([remote(0, 0), remote(0, 1)], [address("192.168.50.2"), address("fd00:50::3")].map(Some));
    assert_eq!(planned[0].local_to(address("fd00:50::3")), Some(address("fd00:50::1")));
    assert!(planned.iter().all(|overlay| !overlay.flood && overlay.port == 0));
    // What configuration subtracts from an MTU is what the template adds.
    for overlay in [a, b] {
        for ipv6 in [false, true] {
            assert_eq!(overlay.overhead(ipv6), encap(overlay).overhead(ipv6));
        }
    }
}

#[test]
fn the_ports_of_ovn_are_in_the_option_and_in_the_overhead() {
    let overlay = |keys: &str| {
        let config = with(&format!(
            "[[network]]\nname = \"a\"\nkind = \"overlay\"\nencap = \"geneve\"\nvni = 5\ntransport = \"ctl\"\n\
             peers = [{{ address = \"192.168.50.2\" }}]\n{keys}"
        ));
        config.networks[1].overlay().unwrap().clone()
    };
    let (plain, marked) = (overlay(""), overlay("ovn_ports = [32767, 65535]\n"));
    assert_eq!(encap(&plain), Encap::Geneve { vni: 5, ovn: None });
    assert_eq!(encap(&marked), Encap::Geneve { vni: 5, ovn: Some(0x7fff_ffff) });
    for overlay in [plain, marked] {
        for ipv6 in [false, true] {
            assert_eq!(overlay.overhead(ipv6), encap(&overlay).overhead(ipv6));
        }
    }
}
