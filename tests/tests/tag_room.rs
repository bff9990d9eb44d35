//! MTU of VLANs by what the uplink's device takes (reference 000: 1500, or 1496 where the tag has no room), and what follows from it: the
//! overlay on top, the node's own leg, what senders are told.

use serde_json::Value;
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Interface, Netns, Ping, Shuntd, Veth, require};

const CONFIG: &str = r#"
[memory]
hugepages = "never"
[[router]]
name = "node"
[[router]]
name = "inside"
[[network]]
name = "br-phy"
vlans = [100]
[[network]]
name = "vlan100"
kind = "underlay"
bridge = "br-phy"
vlan = 100
mode = "bridged"
router = "node"
gateways = ["10.100.0.1/24"]
host_port = "leg"
[[network]]
name = "vxlan"
kind = "overlay"
encap = "vxlan"
vni = 2
transport = "vlan100"
router = "inside"
gateways = ["10.50.0.1/24"]
peers = [{ address = "10.100.0.8" }]
[[network]]
name = "pods"
router = "node"
gateways = ["10.1.0.1/24"]
[[port]]
name = "leg"
kind = "tap"
network = "vlan100"
[[port]]
name = "station"
kind = "veth"
device = "station"
network = "vlan100"
endpoints = [{ mac = "02:00:00:00:01:09", ip = ["10.100.0.9"] }]
[[port]]
name = "pod"
kind = "veth"
device = "pod"
network = "pods"
endpoints = [{ mac = "02:00:00:00:02:02", ip = ["10.1.0.2"] }]
"#;
const NETWORKS: [&str; 4] = ["br-phy", "vlan100", "vxlan", "pods"];

/// The node, what is plugged in, and the keys of its uplink.
struct Site {
    shuntd: Shuntd,
    node: Netns,
    pod: Netns,
    uplink: String,
    _others: [Netns; 2],
}

impl Site {
    /// A node whose uplink's device has that MTU; `keys` say of which kind the port is.
    #[track_caller]
    fn start(mtu: u32, keys: &str, config: &str) -> Self {
        let (node, pod, station, far) =
            (Netns::new().unwrap(), Netns::new().unwrap(), Netns::new().unwrap(), Netns::new().unwrap());
        let plug = |device: &str, place: &Netns, inside: &Interface<'_>| {
            // They end with the namespaces.
            std::mem::forget(Veth::pair(device, Some(&node), place, inside).unwrap());
        };
        plug("uplink", &far, &Interface { mtu, ..Interface::default() });
        let end = |mac: &'static str, addrs: &'static [&'static str]| Interface {
            mac: Some(mac),
            addrs,
            ..Interface::default()
        };
        plug("station", &station, &end("02:00:00:00:01:09", &["10.100.0.9/24"]));
        plug("pod", &pod, &end("02:00:00:00:02:02", &["10.1.0.2/24"]));
        station.exec(&["ip", "route", "add", "default", "via", "10.100.0.1"]).unwrap();
        pod.exec(&["ip", "route", "add", "default", "via", "10.1.0.1"]).unwrap();
        node.exec(&["ip", "link", "set", "dev", "uplink", "mtu", &mtu.to_string(), "up"]).unwrap();
        let uplink = format!("[[port]]\nname = \"uplink\"\n{keys}\nnetwork = \"br-phy\"\ntrunk = [100]\n");
        let shuntd = Shuntd::start_in(&node, &format!("{config}{uplink}")).unwrap();
        let up = |ports: &Value| {
            ports.as_array().into_iter().flatten().all(|row| row["oper_up"] == true && row["link"] == true)
        };
        shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, up).unwrap();
        Self { shuntd, node, pod, uplink, _others: [station, far] }
    }

    /// The MTU of each network, and of the node's leg.
    #[track_caller]
    fn mtus(&self) -> ([u64; 4], String) {
        let networks = self.shuntd.cli(&["show", "topology", "--json"]).unwrap();
        let rows = || networks["networks"].as_array().into_iter().flatten();
        let of = |name| rows().find(|row| row["name"] == name).and_then(|row| row["mtu"].as_u64());
        let leg = self.node.exec(&["cat", "/sys/class/net/leg/mtu"]).unwrap().stdout;
        (NETWORKS.map(|name| of(name).unwrap_or_default()), leg.trim().to_owned())
    }

    /// The path MTU to the station that the pod's kernel believes in after a packet of 1500 bytes that must not be cut.
    #[track_caller]
    fn told(&self) -> Option<String> {
        let ping = Ping { size: 1472, whole: true, wait_ms: 300, ..Ping::to("10.100.0.9") };
        let answers = ping.run(&self.pod).unwrap();
        let route = self.pod.exec(&["ip", "route", "get", "10.100.0.9"]).unwrap().stdout;
        let mtu = route.split(" mtu ").nth(1).map(|rest| rest.split(' ').next().unwrap().to_owned());
        assert_eq!(answers.received == 1, mtu.is_none(), "{answers:?} {route}");
        mtu
    }
}

#[test]
fn a_device_that_takes_a_tag_on_top_of_1500_bytes() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let site = Site::start(1500, "kind = \"veth\"\ndevice = \"uplink\"", CONFIG);
    assert_eq!(site.mtus(), ([1500, 1500, 1450, 1500], "1500".to_owned()));
    assert_eq!(site.told(), None);
}

#[test]
fn a_device_without_room_for_the_tag() {
    require!(root(), file("/dev/net/tun"), shuntd());
    for (mtu, keys) in [
        (1498, "kind = \"veth\"\ndevice = \"uplink\""),
        (1496, "kind = \"af_xdp\"\ndevice = \"uplink\""),
        // Its driver says that it takes frames of 1514 bytes.
        (1500, "kind = \"dpdk\"\ndevargs = \"net_af_packet0,iface=uplink\""),
        (
            1498,
            "kind = \"bond\"\nmode = \"static\"\nmembers = [{ kind = \"veth\", device = \"uplink\", name = \"link\" }]",
        ),
    ] {
        let site = Site::start(mtu, keys, CONFIG);
        assert_eq!(site.mtus(), ([1500, 1496, 1446, 1500], "1496".to_owned()), "{keys}");
        assert_eq!(site.told().as_deref(), Some("1496"), "{keys}");
    }
}

#[test]
fn what_the_uplink_takes_is_followed_and_an_mtu_that_is_given_stays() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let keys = "kind = \"veth\"\ndevice = \"uplink\"";
    let site = Site::start(1498, keys, CONFIG);
    let without = site.shuntd.dir().join("without.toml");
    std::fs::write(&without, CONFIG).unwrap();
    let with = site.shuntd.dir().join("with.toml");
    std::fs::write(&with, format!("{CONFIG}{}", site.uplink)).unwrap();
    for (file, mtus) in [
        (&without, ([1500, 1500, 1450, 1500], "1500".to_owned())),
        (&with, ([1500, 1496, 1446, 1500], "1496".to_owned())),
    ] {
        site.shuntd.cli_text(&["apply", file.to_str().unwrap()]).unwrap();
        assert_eq!(site.mtus(), mtus, "{}", file.display());
    }
    let given = CONFIG.replace("vlans = [100]\n", "vlans = [100]\nmtu = 1500\n");
    let site = Site::start(1498, keys, &given);
    assert_eq!(site.mtus(), ([1500, 1500, 1450, 1500], "1500".to_owned()));
}
