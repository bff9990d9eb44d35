//! A backend behind a bridge of a Linux kernel with a VXLAN device, which knows nothing of us but the outer address: whom clients outside
//! are seen as (`node_ips`) it asks for by ARP and ND, and learns, as any station.

use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Interface, Netns, Shuntd, Veth, require};

use crate::remote::{datagram, page, serve};

/// The near node: its uplink and a client outside in the transport network, a pod in the overlay.
const CONFIG: &str = r#"
[memory]
hugepages = "never"
[[router]]
name = "node"
[[network]]
name = "transport"
router = "node"
gateways = ["192.0.2.1/24", "fd00:192::1/64"]
[[network]]
name = "overlay"
kind = "overlay"
encap = "vxlan"
vni = 2
transport = "transport"
router = "node"
gateways = ["10.50.0.1/16", "fd00:50::1/64"]
node_ips = ["10.50.255.1", "fd00:50::ff01"]
peers = [{ address = "192.0.2.2", endpoints = [{ mac = "02:00:00:50:00:02", ip = ["10.50.0.2", "fd00:50::2"] }] }]
[[port]]
name = "uplink"
kind = "veth"
device = "uplink"
network = "transport"
[[port]]
name = "outside"
kind = "veth"
device = "outside"
network = "transport"
[[port]]
name = "pod"
kind = "veth"
device = "pod"
network = "overlay"
endpoints = [{ mac = "02:00:00:50:00:01", ip = ["10.50.0.10", "fd00:50::10"] }]
[[service]]
name = "shop/web"
router = "node"
cluster_ips = ["10.96.0.10", "fd00:96::10"]
ports = [{ name = "t", port = 80, node_port = 30080 }, { name = "u", protocol = "udp", port = 80, node_port = 30080 }]
endpoints = [
    { address = "10.50.0.2", ports = { t = 8080, u = 8080 } },
    { address = "fd00:50::2", ports = { t = 8080, u = 8080 } },
]
"#;
/// What VXLAN over IPv4 leaves of 1500.
const MTU: u32 = 1450;

struct Site {
    // Before the namespaces.
    shuntd: Shuntd,
    outside: Netns,
    pod: Netns,
    far: Netns,
    backend: Netns,
    _node: Netns,
}

impl Site {
    #[track_caller]
    fn start() -> Self {
        let [node, outside, pod, far, backend] = [(); 5].map(|()| Netns::new().unwrap());
        // They end with their namespaces.
        let pair = |name: &str, of: &Netns, inside: &Netns, interface: &Interface<'_>| {
            std::mem::forget(Veth::pair(name, Some(of), inside, interface).unwrap());
        };
        let own = |name, mac, addrs, mtu| Interface { name, mac, addrs, mtu };
        pair("uplink", &node, &far, &own("uplink", None, &["192.0.2.2/24"], 1500));
        pair("outside", &node, &outside, &own("eth0", None, &["192.0.2.7/24", "fd00:192::7/64"], 1500));
        let addresses = &["10.50.0.10/16", "fd00:50::10/64"];
        pair("pod", &node, &pod, &own("eth0", Some("02:00:00:50:00:01"), addresses, MTU));
        let addresses = &["10.50.0.2/16", "fd00:50::2/64"];
        pair("pod", &far, &backend, &own("eth0", Some("02:00:00:50:00:02"), addresses, MTU));
        for line in [
            "ip link add br0 type bridge",
            "ip link add vxlan.2 type vxlan id 2 dstport 4789 local 192.0.2.2 remote 192.0.2.1",
            "ip link set vxlan.2 mtu 1450 master br0 up",
            "ip link set pod mtu 1450 master br0 up",
            "ip link set br0 up",
        ] {
            far.exec(&line.split(' ').collect::<Vec<_>>()).unwrap();
        }
        for (family, gateway) in [("-4", "10.50.0.1"), ("-6", "fd00:50::1")] {
            pod.exec(&["ip", family, "route", "add", "default", "via", gateway]).unwrap();
        }
        let shuntd = Shuntd::start_in(&node, CONFIG).unwrap();
        let up = |ports: &serde_json::Value| {
            ports.as_array().into_iter().flatten().all(|row| row["oper_up"] == true && row["link"] == true)
        };
        shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, up).unwrap();
        Self { shuntd, outside, pod, far, backend, _node: node }
    }

    fn state(&self) -> String {
        let said = [&["show", "drops"][..], &["drops", "--why"], &["conntrack", "-L"], &["show", "fdb"]];
        let said = said.map(|words| self.shuntd.cli_text(words).unwrap_or_default());
        let fdb = self.far.exec(&["bridge", "fdb", "show", "dev", "vxlan.2"]).unwrap().stdout;
        let neighbors = self.backend.exec(&["ip", "neigh"]).unwrap().stdout;
        format!("{}{fdb}{neighbors}", said.concat())
    }
}

#[test]
fn a_backend_behind_a_bridge_of_the_kernel_answers_the_node_that_was_asked() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let site = Site::start();
    let _running = serve(&site.backend, "far");
    for (node, cluster, alone, pod) in [
        ("192.0.2.1", "10.96.0.10", "10.50.255.1", "10.50.0.10"),
        ("fd00:192::1", "fd00:96::10", "fd00:50::ff01", "fd00:50::10"),
    ] {
        // Inside, a client is seen as itself.
        assert_eq!(page(&site.pod, cluster, 80), format!("far {pod}"), "{}", site.state());
        assert_eq!(datagram(&site.pod, cluster, 80), format!("far {pod}"), "{}", site.state());
        // Outside, as the node. The backend has no route anywhere: it is an address of its own subnet.
        assert_eq!(page(&site.outside, node, 30080), format!("far {alone}"), "{}", site.state());
        assert_eq!(datagram(&site.outside, node, 30080), format!("far {alone}"), "{}", site.state());
        // The address has a MAC address of its own, which the kernel's bridge has learned behind the tunnel.
        let entry = site.backend.exec(&["ip", "neigh", "show", alone]).unwrap().stdout;
        let mac = entry.split_whitespace().skip_while(|word| *word != "lladdr").nth(1);
        let mac = mac.unwrap_or_else(|| panic!("{alone}: {entry}{}", site.state()));
        let fdb = site.far.exec(&["bridge", "fdb", "show", "dev", "vxlan.2"]).unwrap().stdout;
        assert!(fdb.lines().any(|line| line.starts_with(mac) && line.contains("master br0")), "{mac}: {fdb}");
        let ping = shunt_tests::Ping { count: 3, ..shunt_tests::Ping::to(alone) }.run(&site.backend).unwrap();
        assert_eq!(ping.received, 3, "{alone}: {}", site.state());
    }
}
