//! Tunnels that carry IP packets, and GRE over IPv6, with the devices of a Linux kernel: `gre`, `ip6gre`, `ipip`, `sit` and `ip6tnl`.
//! The kernel is a guest's: the one of the machine that tests may be without them.

use shunt_tests::guest::{Backend, Nic, Options};
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Guest, Interface, Iperf, Netns, Shuntd, Veth};

use super::talk::{answered, until_answered};

/// One tunnel: a network with a pod here, devices in the guest.
struct Tunnel {
    /// Third byte of the pod's address, and number of its port.
    number: u8,
    /// Keys of the network.
    keys: &'static str,
    /// The guest's end of the tunnel.
    peer: &'static str,
    /// What makes the guest's devices: for IPv4 inside, and for IPv6 inside where that is another one.
    devices: &'static [&'static str],
    /// Longest packet inside.
    mtu: u32,
}

/// GRE with a key over each IP version; IP in IP, each version in each. A network of IP in IP has both peers, and a pod for each.
const TUNNELS: [Tunnel; 4] = [
    Tunnel {
        number: 1,
        keys: "encap = \"gre\"\nvni = 7\npayload = \"ip\"\n",
        peer: "192.0.2.2",
        devices: &["type gre local 192.0.2.2 remote 192.0.2.1 key 7 ttl 64"],
        mtu: 1500 - 20 - 8,
    },
    Tunnel {
        number: 2,
        // The kernel puts a destination option in front (RFC 2473 section 4.1.1): 8 bytes that the MTU must leave room for.
        keys: "encap = \"gre\"\nvni = 8\npayload = \"ip\"\nmtu = 1444\n",
        peer: "fd00:192::2",
        devices: &["type ip6gre local fd00:192::2 remote fd00:192::1 key 8 ttl 64"],
        mtu: 1444,
    },
    Tunnel {
        number: 3,
        keys: "encap = \"ipip\"\nmtu = 1452\n",
        peer: "192.0.2.2",
        devices: &[
            "type ipip local 192.0.2.2 remote 192.0.2.1 ttl 64",
            "type sit local 192.0.2.2 remote 192.0.2.1 ttl 64",
        ],
        mtu: 1452,
    },
    Tunnel {
        number: 4,
        keys: "",
        peer: "fd00:192::2",
        devices: &["type ip6tnl mode any local fd00:192::2 remote fd00:192::1 ttl 64"],
        mtu: 1452,
    },
];

fn near(number: u8) -> [String; 2] {
    [format!("10.5{number}.1.5"), format!("fd00:5{number}:1::5")]
}

fn far(number: u8) -> [String; 2] {
    [format!("10.5{number}.2.5"), format!("fd00:5{number}:2::5")]
}

fn mac(number: u8) -> String {
    format!("02:00:00:51:00:0{number}")
}

fn config(socket: &str) -> String {
    let mut text = format!(
        "[memory]\nhugepages = \"never\"\n[[router]]\nname = \"outside\"\n\
         [[network]]\nname = \"transport\"\nrouter = \"outside\"\ngateways = [\"192.0.2.1/24\", \"fd00:192::1/64\"]\n\
         [[port]]\nname = \"uplink\"\nnetwork = \"transport\"\nkind = \"vhost-user\"\nmode = \"client\"\npath = \"{socket}\"\n"
    );
    let prefixes = |n: u8| format!("prefixes = [\"10.5{n}.2.0/24\", \"fd00:5{n}:2::/64\"]");
    for tunnel in &TUNNELS {
        let (n, [v4, v6]) = (tunnel.number, near(tunnel.number));
        let network = if tunnel.keys.is_empty() { n - 1 } else { n };
        if network == n {
            let mut peers = format!("{{ address = \"{}\", {} }}", tunnel.peer, prefixes(n));
            for other in TUNNELS.iter().filter(|other| other.keys.is_empty() && other.number == n + 1) {
                peers += &format!(", {{ address = \"{}\", {} }}", other.peer, prefixes(other.number));
            }
            text += &format!(
                "[[router]]\nname = \"r{n}\"\n[[network]]\nname = \"n{n}\"\nkind = \"overlay\"\n{}transport = \"transport\"\n\
                 router = \"r{n}\"\ngateways = [\"169.254.1.1/32\", \"fd00:ffff::1/128\"]\npeers = [{peers}]\n",
                tunnel.keys
            );
        }
        text += &format!(
            "[[port]]\nname = \"pod{n}\"\nkind = \"veth\"\ndevice = \"pod{n}\"\nnetwork = \"n{network}\"\n\
             endpoints = [{{ mac = \"{}\", ip = [\"{v4}\", \"{v6}\"] }}]\n",
            mac(n)
        );
    }
    text
}

/// A pod whose every packet goes to the gateway.
fn pod(node: &Netns, tunnel: &Tunnel) -> Netns {
    let pod = Netns::new().unwrap();
    let (mac, [v4, v6]) = (mac(tunnel.number), near(tunnel.number));
    let (v4, v6) = (v4 + "/32", v6 + "/128");
    let inside = Interface { mac: Some(&mac), addrs: &[&v4, &v6], mtu: tunnel.mtu, ..Interface::default() };
    // It ends with the namespaces.
    std::mem::forget(Veth::pair(&format!("pod{}", tunnel.number), Some(node), &pod, &inside).unwrap());
    for (family, gateway) in [("-4", "169.254.1.1"), ("-6", "fd00:ffff::1")] {
        pod.exec(&["ip", family, "route", "add", gateway, "dev", "eth0"]).unwrap();
        pod.exec(&["ip", family, "route", "add", "default", "via", gateway, "dev", "eth0"]).unwrap();
    }
    pod
}

/// The guest's devices, addresses and routes of a tunnel.
fn dig(guest: &mut Guest, ip: &str, tunnel: &Tunnel) {
    let n = tunnel.number;
    let last = tunnel.devices.len() - 1;
    for (at, device) in tunnel.devices.iter().enumerate() {
        let name = format!("t{n}x{at}");
        guest.sh(&format!("{ip} link add {name} {device}")).unwrap();
        guest.sh(&format!("{ip} link set {name} mtu {} up", tunnel.mtu)).unwrap();
    }
    // The first device takes IPv4, the last IPv6: mostly the same.
    for (family, device, address, prefix) in [
        ("-4", 0, format!("{}/32", far(n)[0]), format!("10.5{n}.1.0/24")),
        ("-6", last, format!("{}/128", far(n)[1]), format!("fd00:5{n}:1::/64")),
    ] {
        guest.sh(&format!("{ip} addr add {address} dev t{n}x{device}")).unwrap();
        guest.sh(&format!("{ip} {family} route add {prefix} dev t{n}x{device}")).unwrap();
    }
}

/// Every tunnel, both IP versions inside, both directions.
pub(crate) fn with_a_linux_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("uplink");
    let node = Netns::new().unwrap();
    let pods: Vec<Netns> = TUNNELS.iter().map(|tunnel| pod(&node, tunnel)).collect();
    let shuntd = Shuntd::start_in(&node, &config(&socket.to_string_lossy())).unwrap();
    let card = Interface {
        mac: Some("02:00:00:51:00:ff"),
        addrs: &["192.0.2.2/24", "fd00:192::2/64"],
        ..Interface::default()
    };
    let nics = vec![Nic::new(Backend::Listen(socket), card)];
    let mut guest = Guest::boot(&Options { nics, tools: &["ip", "iperf3"], ..Options::default() }).unwrap();
    let up = |ports: &serde_json::Value| {
        ports.as_array().into_iter().flatten().all(|row| row["oper_up"] == true && row["link"] == true)
    };
    shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, up).unwrap();
    for module in ["ip_gre", "ip6_gre", "ipip", "sit", "ip6_tunnel"] {
        guest.load(module).unwrap();
    }
    // By its own path: busybox has an `ip`, too, that knows no tunnels with keys.
    let ip = shunt_tests::paths::program("ip").unwrap().to_string_lossy().into_owned();
    let state = || {
        let shown = |what| shuntd.cli_text(&["show", what]).unwrap_or_else(|error| error.to_string());
        ["ports", "drops"].map(shown).concat()
    };
    for (tunnel, pod) in TUNNELS.iter().zip(&pods) {
        dig(&mut guest, &ip, tunnel);
        for to in far(tunnel.number) {
            until_answered(pod, &to, &state);
            // Small, as large as goes whole, and in fragments inside.
            for size in [56, tunnel.mtu - 48, 4000] {
                answered(pod, &to, size, &state);
            }
        }
        for to in near(tunnel.number) {
            let back = guest.run(&format!("ping -c 3 -W 2 -s 1200 {to}"), PATIENCE).unwrap();
            assert!(back.text.contains(" 0% packet loss"), "{back:?}\n{}", state());
            let mut iperf = Iperf::serve(pod, &to).unwrap();
            for direction in ["", " -R"] {
                let line = format!("iperf3 -c {to} -t 1{direction}");
                let answer = guest.run(&line, PATIENCE * 2).unwrap();
                assert!(
                    answer.status == 0 && answer.text.contains("receiver"),
                    "{line}: {answer:?}\n{}",
                    state()
                );
                iperf.wait_free().unwrap();
            }
        }
    }
    let drops = shuntd.cli(&["show", "drops", "--json"]).unwrap();
    // The guest is emulated: its ring is full at times, and TCP gets over it. Its tunnel devices say multicast of their own.
    let known =
        ["neighbor_unresolved", "no_receiver", "not_for_gateway", "not_ip", "not_routable", "tx_full"];
    let others = drops.as_array().into_iter().flatten();
    let others = others.filter(|row| !known.contains(&row["reason"].as_str().unwrap()));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&serde_json::Value>::new());
}
