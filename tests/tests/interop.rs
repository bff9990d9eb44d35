//! Tunnels and VLANs with code that is not ours on the other side: the kernel's tunnel devices, Open vSwitch.
//!
//! Near is shunt, far is the other. Each pairing is also tried without shunt, so that the lab itself is known to work.

#[path = "interop/far.rs"]
mod far;
#[path = "interop/ip.rs"]
mod ip;
#[path = "interop/near.rs"]
mod near;
#[path = "interop/plan.rs"]
mod plan;
#[path = "interop/pmtu.rs"]
mod pmtu;
#[path = "interop/talk.rs"]
mod talk;
#[path = "interop/train.rs"]
mod train;
#[path = "interop/vlan.rs"]
mod vlan;

use far::{Far, Fdb};
use near::Near;
use plan::{Kind, Side, Transport};
use shunt_tests::ovs::DAEMON;
use shunt_tests::{Interface, Veth, require};

/// Two far ends on one cable: no shunt in it.
#[track_caller]
fn without_us(near: &Far, far: &Far) {
    // It ends with the namespaces.
    let uplink = Interface { name: "uplink", ..Interface::default() };
    std::mem::forget(Veth::pair("uplink", Some(&near.machine), &far.machine, &uplink).unwrap());
    far.suit(&near.machine).unwrap();
    near.plug(Side::Near).unwrap();
    far.plug(Side::Far).unwrap();
    talk::everything(near.station(), far.station(), &|| near.state() + &far.state());
}

#[test]
fn the_lab_kernel_with_kernel_over_ipv6() {
    require!(root(), tool("iperf3"));
    let near = Far::kernel(Side::Near, Transport::V6, Fdb::Learning).unwrap();
    let far = Far::kernel(Side::Far, Transport::V6, Fdb::Static { mac: Side::Near.mac() }).unwrap();
    without_us(&near, &far);
}

#[test]
fn the_lab_kernel_with_open_vswitch() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"));
    let near = Far::kernel(Side::Near, Transport::V4, Fdb::Learning).unwrap();
    let far = Far::ovs(Side::Far, Kind::Vxlan, Transport::V4).unwrap();
    without_us(&near, &far);
}

#[test]
fn the_lab_open_vswitch_with_itself() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"));
    for kind in [Kind::Geneve, Kind::Gre] {
        let near = Far::ovs(Side::Near, kind, Transport::V4).unwrap();
        let far = Far::ovs(Side::Far, kind, Transport::V4).unwrap();
        without_us(&near, &far);
    }
}

/// Shunt and a far end do all that two stations may want of each other; nothing is dropped but what waits for a neighbour.
#[track_caller]
fn with_us(kind: Kind, transport: Transport, fdb: Fdb, far: &Far) {
    // A kernel drops UDP over IPv6 without a checksum (RFC 8200 section 8.1): the default is made for that.
    let near = Near::start(&near::config(kind, transport, fdb, ""), plan::inner_mtu(kind, transport), far);
    talk::everything(&near.pod, far.station(), &|| near.state() + &far.state());
    let drops = near.shuntd.cli(&["show", "drops", "--json"]).unwrap();
    let known = ["neighbor_unresolved", "no_receiver", "split_horizon"];
    let others = drops
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| !known.contains(&row["reason"].as_str().unwrap()));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&serde_json::Value>::new());
}

#[test]
fn vxlan_with_the_kernel_learning_over_ipv4() {
    require!(root(), tool("iperf3"), shuntd());
    let far = Far::kernel(Side::Far, Transport::V4, Fdb::Learning).unwrap();
    with_us(Kind::Vxlan, Transport::V4, Fdb::Learning, &far);
}

#[test]
fn vxlan_with_the_kernel_static_over_ipv6() {
    require!(root(), tool("iperf3"), shuntd());
    let far = Far::kernel(Side::Far, Transport::V6, Fdb::Static { mac: Side::Near.mac() }).unwrap();
    with_us(Kind::Vxlan, Transport::V6, Fdb::Static { mac: Side::Far.mac() }, &far);
}

#[test]
fn vxlan_with_open_vswitch() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    let far = Far::ovs(Side::Far, Kind::Vxlan, Transport::V4).unwrap();
    with_us(Kind::Vxlan, Transport::V4, Fdb::Learning, &far);
}

#[test]
fn geneve_with_open_vswitch() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    let far = Far::ovs(Side::Far, Kind::Geneve, Transport::V4).unwrap();
    with_us(Kind::Geneve, Transport::V4, Fdb::Static { mac: Side::Far.mac() }, &far);
}

#[test]
fn geneve_over_ipv6_with_open_vswitch() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    let far = Far::ovs(Side::Far, Kind::Geneve, Transport::V6).unwrap();
    with_us(Kind::Geneve, Transport::V6, Fdb::Learning, &far);
}

#[test]
fn gre_with_open_vswitch() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    let far = Far::ovs(Side::Far, Kind::Gre, Transport::V4).unwrap();
    with_us(Kind::Gre, Transport::V4, Fdb::Learning, &far);
}

#[test]
fn geneve_with_ovns_option_and_open_vswitch() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    let far = Far::ovs(Side::Far, Kind::Geneve, Transport::V4).unwrap();
    // What we send is from port 3 to port 32773, what Open vSwitch sends the other way round.
    far.ovn((3, 0x8005), (5, 3)).unwrap();
    let mtu = plan::inner_mtu(Kind::Geneve, Transport::V4) - 8;
    far.station().exec(&["ip", "link", "set", "dev", "eth0", "mtu", &mtu.to_string()]).unwrap();
    let keys = "ovn_ports = [3, 32773]\n";
    let near = Near::start(&near::config(Kind::Geneve, Transport::V4, Fdb::Learning, keys), mtu, &far);
    talk::everything(&near.pod, far.station(), &|| near.state() + &far.state());
    // Another port than the flows match: nobody hears it.
    far.ovn((4, 0x8005), (5, 3)).unwrap();
    let to = Side::Far.inner_v4();
    let answers =
        shunt_tests::Ping { count: 3, wait_ms: 300, ..shunt_tests::Ping::to(to) }.run(&near.pod).unwrap();
    assert_eq!(answers.received, 0, "{answers:?}\n{}", far.state());
}

#[test]
fn ip_tunnels_with_a_linux_kernel() {
    require!(root(), guest(), tool("iperf3"), shuntd());
    ip::with_a_linux_kernel();
}

#[test]
fn tcp_finds_the_mtu_of_a_tunnel() {
    require!(root(), tool("iperf3"), tool("perl"), tool("ss"), shuntd());
    pmtu::found_by_tcp();
}

#[test]
fn fragments_of_a_tunnel_packet_are_refused_by_a_reason_of_their_own() {
    require!(root(), shuntd());
    pmtu::fragments_are_refused();
}

#[test]
fn a_train_of_packets_that_are_not_one_send() {
    require!(root(), tool("perl"), shuntd());
    train::of_packets_that_are_not_one_send();
}

#[test]
fn vlans_with_open_vswitch() {
    require!(root(), tool("iperf3"), tool("ethtool"), file(DAEMON), file("/dev/net/tun"), shuntd());
    vlan::with_open_vswitch();
}

#[test]
fn vlans_with_a_linux_bridge_that_filters() {
    require!(root(), guest(), shuntd());
    vlan::with_a_linux_bridge();
}

#[test]
fn service_tags_with_open_vswitch() {
    require!(root(), tool("tcpdump"), tool("perl"), file(DAEMON), file("/dev/net/tun"), shuntd());
    vlan::service_tags_with_open_vswitch();
}
