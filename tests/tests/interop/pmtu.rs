//! Path MTU discovery through a tunnel: a pod whose kernel believes in 1500 bytes sends TCP to a station behind the kernel's VXLAN
//! device. The overlay takes 1450: the gateway says so, and the pod's kernel believes it. (RFC 1191, RFC 8201.)

use shunt_tests::iperf::Tcp;
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Interface, Iperf, Netns, Shuntd, Veth};

use super::talk::{echo_requests, until_answered};

/// What is left of 1500 bytes.
const MTU: u32 = 1450;
const GATEWAYS: [&str; 2] = ["169.254.1.1", "fd00:50:ffff::1"];
const POD: [&str; 2] = ["10.50.1.5", "fd00:50:1::5"];
const STATION: [&str; 2] = ["10.50.2.5", "fd00:50:2::5"];
/// Ethernet addresses of the tunnel ends inside the overlay.
const NEAR_MAC: &str = "02:00:00:50:01:00";
const FAR_MAC: &str = "02:00:00:50:02:00";

/// An L3 overlay: the far side is a prefix behind the tunnel end.
const CONFIG: &str = r#"
[memory]
hugepages = "never"
[[router]]
name = "outside"
[[router]]
name = "inside"
[[network]]
name = "transport"
router = "outside"
gateways = ["192.0.2.1/24"]
[[network]]
name = "overlay"
kind = "overlay"
encap = "vxlan"
vni = 2
transport = "transport"
router = "inside"
gateways = ["169.254.1.1/32", "fd00:50:ffff::1/128"]
gateway_mac = "02:00:00:50:01:00"
vtep = "10.50.1.0"
peers = [{ address = "192.0.2.2", vtep = "10.50.2.0", mac = "02:00:00:50:02:00", prefixes = ["10.50.2.0/24", "fd00:50:2::/64"] }]
[[port]]
name = "uplink"
kind = "veth"
device = "uplink"
network = "transport"
[[port]]
name = "pod"
kind = "veth"
device = "pod"
network = "overlay"
mtu = 1500
endpoints = [{ mac = "02:00:00:50:00:01", ip = ["10.50.1.5", "fd00:50:1::5"] }]
"#;

/// A machine whose kernel routes to the near node by its VXLAN device, as Flannel sets it up. The device takes 1500 bytes, so that
/// TCP announces segments that are too long for the tunnel, and only the path can say so.
fn far() -> Netns {
    let machine = Netns::new().unwrap();
    let run = |line: &str| machine.exec(&line.split(' ').collect::<Vec<_>>()).unwrap();
    run("ip link add vxlan.2 type vxlan id 2 dstport 4789 local 192.0.2.2 nolearning");
    let addresses =
        STATION.map(|address| format!("{address}/{}", if address.contains(':') { 128 } else { 32 }));
    let addrs: Vec<&str> = addresses.iter().map(String::as_str).collect();
    Interface { name: "vxlan.2", mac: Some(FAR_MAC), addrs: &addrs, mtu: 1500 }.configure(&machine).unwrap();
    run(&format!("bridge fdb append {NEAR_MAC} dev vxlan.2 dst 192.0.2.1"));
    for (via, prefix) in [("10.50.1.0", "10.50.1.0/24"), ("fd00:50:1::", "fd00:50:1::/64")] {
        run(&format!("ip neigh add {via} lladdr {NEAR_MAC} dev vxlan.2"));
        run(&format!("ip route add {prefix} via {via} dev vxlan.2 onlink"));
    }
    machine
}

/// The pod and what routes it needs.
fn pod(node: &Netns) -> Netns {
    let pod = Netns::new().unwrap();
    let inside = Interface {
        mac: Some("02:00:00:50:00:01"),
        addrs: &["10.50.1.5/32", "fd00:50:1::5/128"],
        ..Interface::default()
    };
    // It ends with the namespaces.
    std::mem::forget(Veth::pair("pod", Some(node), &pod, &inside).unwrap());
    for gateway in GATEWAYS {
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        pod.exec(&["ip", family, "route", "add", gateway, "dev", "eth0"]).unwrap();
        pod.exec(&["ip", family, "route", "add", "default", "via", gateway, "dev", "eth0"]).unwrap();
    }
    pod
}

/// A kernel's TCP finds out what the tunnel takes.
pub(crate) fn found_by_tcp() {
    let (node, far) = (Netns::new().unwrap(), far());
    let uplink = Interface { name: "uplink", addrs: &["192.0.2.2/24"], ..Interface::default() };
    std::mem::forget(Veth::pair("uplink", Some(&node), &far, &uplink).unwrap());
    let pod = pod(&node);
    let shuntd = Shuntd::start_in(&node, CONFIG).unwrap();
    let up = |ports: &serde_json::Value| {
        ports.as_array().into_iter().flatten().all(|row| row["oper_up"] == true && row["link"] == true)
    };
    shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, up).unwrap();
    let state = || shuntd.cli_text(&["show", "drops"]).unwrap_or_else(|error| error.to_string());
    let too_big = || -> u64 {
        let drops = shuntd.cli(&["show", "drops", "--json"]).unwrap();
        let rows = drops.as_array().into_iter().flatten();
        let rows = rows.filter(|row| row["port"] == "pod" && row["reason"] == "too_big");
        rows.map(|row| row["count"].as_u64().unwrap()).sum()
    };
    for ((station, gateway), address) in STATION.into_iter().zip(GATEWAYS).zip(POD) {
        until_answered(&pod, station, &state);
        // What the gateway says, to a sender that asks for it.
        let size = if station.contains(':') { "-s1452" } else { "-s1472" };
        let ping = pod.cmd(&["ping", "-n", "-c1", "-W2", "-Mdo", size, station]).run().unwrap();
        let said = format!("{}{}", ping.stdout, ping.stderr);
        let told = said.contains(&format!("(mtu = {MTU})")) || said.contains(&format!("mtu={MTU}"));
        assert!(told && said.contains(&format!("rom {gateway}")), "{station}: {said}\n{}", state());
        // Forgotten again: TCP is to find it by itself.
        let family = if station.contains(':') { "-6" } else { "-4" };
        pod.exec(&["ip", family, "route", "flush", "cache"]).unwrap();
        let before = too_big();
        let mut iperf = Iperf::serve(&far, station).unwrap();
        let result = iperf.tcp(&pod, &Tcp { seconds: 1, ..Tcp::default() }).unwrap();
        assert!(result.bytes > 10_000_000, "{address}: {result:?}\n{}", state());
        let told = too_big() - before;
        // What was on its way when the first was refused is lost with it, and no more.
        assert!((1..200).contains(&told), "{address}: {told} packets were too big\n{}", state());
        let route = pod.exec(&["ip", family, "route", "get", station]).unwrap().stdout;
        assert!(route.contains(&format!("mtu {MTU}")), "{route}");
        // A connection made now begins with segments that fit: 1450 less the headers and 12 bytes of time stamps.
        let perl = "use IO::Socket::IP; my $s = IO::Socket::IP->new(PeerAddr => $ARGV[0], PeerPort => 5201) or die $@; print `ss -tin 2>&1`;";
        let sockets = pod.exec(&["perl", "-e", perl, station]).unwrap().stdout;
        let mss = MTU - if station.contains(':') { 40 } else { 20 } - 20 - 12;
        assert!(sockets.contains(&format!(" mss:{mss} ")), "{sockets}");
    }
}

/// A peer whose own packets are too long for the wire sends them in fragments. We take none: the first is dropped by a reason of
/// its own, and nothing of it comes out of the tunnel.
pub(crate) fn fragments_are_refused() {
    let (node, far) = (Netns::new().unwrap(), far());
    let uplink = Interface { name: "uplink", addrs: &["192.0.2.2/24"], ..Interface::default() };
    std::mem::forget(Veth::pair("uplink", Some(&node), &far, &uplink).unwrap());
    let pod = pod(&node);
    let shuntd = Shuntd::start_in(&node, CONFIG).unwrap();
    let state = || shuntd.cli_text(&["show", "drops"]).unwrap_or_else(|error| error.to_string());
    until_answered(&far, POD[0], &state);
    let drops = || -> std::collections::BTreeMap<String, u64> {
        let drops = shuntd.cli(&["show", "drops", "--json"]).unwrap();
        let rows = drops.as_array().into_iter().flatten().filter(|row| row["port"] == "uplink");
        rows.map(|row| (row["reason"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap())).collect()
    };
    let before = drops();
    let heard = echo_requests(&pod);
    // 1500 bytes inside are 1550 outside; this device leaves DF clear, so its kernel cuts them. After that it knows better, until
    // it is made to forget.
    for _ in 0..3 {
        let ping = far.cmd(&["ping", "-n", "-Mdont", "-c1", "-W1", "-s1472", POD[0]]).run().unwrap();
        assert!(ping.stdout.contains(" 0 received"), "{}\n{}", ping.stdout, state());
        far.exec(&["ip", "route", "flush", "cache"]).unwrap();
    }
    let after = drops();
    let more = |reason: &str| after.get(reason).unwrap_or(&0) - before.get(reason).unwrap_or(&0);
    assert_eq!(more("tunnel_fragment"), 3, "{after:?}");
    // The second half of each says neither port nor tunnel: it is a packet to the switch itself like any other.
    assert_eq!(more("for_switch"), 3, "{before:?} {after:?}");
    assert_eq!(echo_requests(&pod), heard);
    until_answered(&far, POD[0], &state);
}
