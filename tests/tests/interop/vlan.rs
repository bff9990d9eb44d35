//! VLANs: a trunk between shunt and another switch, each with access ports, one VLAN tagged and one native.

use shunt_tests::guest::{Backend, Nic, Options};
use shunt_tests::ovs::plain;
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Guest, Interface, Netns, Ovs, Ping, Shuntd, Veth, Wire};

use super::talk::{answered, until_answered};

/// Both VLANs have the same addresses: only the tag keeps them apart.
fn inside(last: u8) -> [String; 2] {
    [format!("10.60.0.{last}/24"), format!("fd00:60::{last}/64")]
}

/// A pod on a port of `node`.
fn pod(node: &Netns, device: &str, last: u8) -> Netns {
    let pod = Netns::new().unwrap();
    let [v4, v6] = inside(last);
    // It ends with the namespaces.
    let interface = Interface { addrs: &[&v4, &v6], ..Interface::default() };
    std::mem::forget(Veth::pair(device, Some(node), &pod, &interface).unwrap());
    pod
}

const CONFIG: &str = r#"
[memory]
hugepages = "never"
[[network]]
name = "br-phy"
vlans = [1155, 1156]
[[port]]
name = "tagged"
kind = "veth"
device = "tagged"
network = "br-phy"
vlan = 1155
[[port]]
name = "native"
kind = "veth"
device = "native"
network = "br-phy"
vlan = 1156
[[port]]
name = "trunk"
network = "br-phy"
trunk = [1155, 1156]
native_vlan = 1156
"#;

/// The near side: shunt with one pod in each VLAN, and a trunk.
struct Near {
    shuntd: Shuntd,
    tagged: Netns,
    native: Netns,
    _node: Netns,
}

impl Near {
    /// `trunk` are the keys of the trunk's kind; `plug` makes the device before the daemon starts.
    #[track_caller]
    fn start(trunk: &str, plug: impl FnOnce(&Netns)) -> Self {
        let node = Netns::new().unwrap();
        let (tagged, native) = (pod(&node, "tagged", 1), pod(&node, "native", 2));
        plug(&node);
        let shuntd = Shuntd::start_in(&node, &format!("{CONFIG}{trunk}\n")).unwrap();
        Self { shuntd, tagged, native, _node: node }
    }

    #[track_caller]
    fn wait(&self) {
        let up = |ports: &serde_json::Value| {
            ports.as_array().into_iter().flatten().all(|row| row["oper_up"] == true && row["link"] == true)
        };
        self.shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, up).unwrap();
    }

    fn state(&self) -> String {
        let shown = |what| self.shuntd.cli_text(&["show", what]).unwrap_or_else(|error| error.to_string());
        ["ports", "drops", "fdb"].map(shown).concat()
    }

    /// Nobody of the other VLAN answers.
    #[track_caller]
    fn is_kept_from(&self, from: &Netns, last: u8) {
        let to = format!("10.60.0.{last}");
        let answers = Ping { count: 2, wait_ms: 300, ..Ping::to(&to) }.run(from).unwrap();
        assert_eq!(answers.received, 0, "{to} was reached\n{}", self.state());
    }
}

/// Open vSwitch's trunk, its native VLAN and its access ports.
pub(crate) fn with_open_vswitch() {
    let far = Netns::new().unwrap();
    let ovs = Ovs::start_in(&far).unwrap();
    ovs.add_bridge("br0").unwrap();
    let pods = [("p3", "tag=1155", 3), ("p4", "tag=1156", 4)].map(|(device, tag, last)| {
        let pod = pod(&far, device, last);
        plain(&pod, "eth0").unwrap();
        ovs.add_port("br0", device, &[tag]).unwrap();
        pod
    });
    let near = Near::start("kind = \"veth\"\ndevice = \"trunk\"", |node| {
        let end = Interface { name: "uplink", ..Interface::default() };
        std::mem::forget(Veth::pair("trunk", Some(node), &far, &end).unwrap());
        plain(node, "trunk").unwrap();
        ovs.add_port("br0", "uplink", &["trunks=1155,1156", "vlan_mode=native-untagged", "tag=1156"])
            .unwrap();
    });
    near.wait();
    let state = || near.state();
    for (here, there, last) in [(&near.tagged, &pods[0], 3), (&near.native, &pods[1], 4)] {
        for to in [format!("10.60.0.{last}"), format!("fd00:60::{last}")] {
            until_answered(here, &to, &state);
            for size in [56, 1400, 4000] {
                answered(here, &to, size, &state);
            }
        }
        let mut iperf = shunt_tests::Iperf::serve(there, &format!("10.60.0.{last}")).unwrap();
        let tcp = iperf.tcp(here, &shunt_tests::iperf::Tcp { seconds: 1, ..Default::default() }).unwrap();
        assert!(tcp.bytes > 1_000_000, "{tcp:?}\n{}", near.state());
    }
    near.is_kept_from(&near.tagged, 4);
    near.is_kept_from(&near.native, 3);
    near.is_kept_from(&pods[0], 2);
    near.is_kept_from(&pods[0], 4);
}

/// The Linux bridge with `vlan_filtering`, in a guest: this machine's kernel may be without it.
pub(crate) fn with_a_linux_bridge() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("trunk");
    let keys = format!("kind = \"vhost-user\"\npath = \"{}\"\nmode = \"client\"", socket.display());
    let near = Near::start(&keys, |_| {});
    // The tagged VLAN has other addresses here: both of the guest's devices are in one namespace.
    near.tagged.exec(&["ip", "addr", "add", "10.61.0.1/24", "dev", "eth0"]).unwrap();
    let card = Interface { mac: Some("02:00:00:60:00:09"), ..Interface::default() };
    let nic = Nic::new(Backend::Listen(socket), card);
    let options = Options { nics: vec![nic], tools: &["ip", "bridge"], ..Options::default() };
    let mut guest = Guest::boot(&options).unwrap();
    near.wait();
    guest.load("bridge").unwrap();
    guest.load("8021q").unwrap();
    // By their own paths: busybox has an `ip`, too, and no `bridge`.
    let path = |name: &str| shunt_tests::paths::program(name).unwrap().to_string_lossy().into_owned();
    let (ip, bridge) = (path("ip"), path("bridge"));
    for line in [
        format!("{ip} link add br0 type bridge vlan_filtering 1 vlan_default_pvid 1156"),
        format!("{ip} link set eth0 master br0"),
        format!("{bridge} vlan add dev eth0 vid 1155"),
        format!("{bridge} vlan add dev br0 vid 1155 self"),
        format!("{ip} link set br0 up"),
        format!("{ip} link add link br0 name vlan.1155 type vlan id 1155"),
        format!("{ip} link set vlan.1155 up"),
        format!("{ip} addr add 10.60.0.4/24 dev br0"),
        format!("{ip} addr add fd00:60::4/64 dev br0"),
        format!("{ip} addr add 10.61.0.3/24 dev vlan.1155"),
    ] {
        guest.sh(&line).unwrap();
    }
    let state = || near.state();
    let pairs = [(&near.native, "10.60.0.4"), (&near.native, "fd00:60::4"), (&near.tagged, "10.61.0.3")];
    for (from, to) in pairs {
        until_answered(from, to, &state);
        answered(from, to, 56, &state);
        answered(from, to, 4000, &state);
    }
    near.is_kept_from(&near.tagged, 4);
    let back = guest.run("ping -c 3 -W 1 10.61.0.1", PATIENCE).unwrap();
    assert!(back.text.contains(" 0% packet loss"), "{back:?}\n{}", near.state());
}

/// 802.1ad: a service VLAN between shunt's trunk and Open vSwitch's Q-in-Q port; its tag is on the wire and nowhere else.
pub(crate) fn service_tags_with_open_vswitch() {
    let far = Netns::new().unwrap();
    let ovs = Ovs::start_in(&far).unwrap();
    ovs.add_bridge("br0").unwrap();
    let (here, there) = (Netns::new().unwrap(), Netns::new().unwrap());
    std::mem::forget(Veth::pair("customer", Some(&far), &there, &Interface::default()).unwrap());
    ovs.vsctl(&["set", "Open_vSwitch", ".", "other_config:vlan-limit=2"]).unwrap();
    ovs.add_port("br0", "customer", &["vlan_mode=dot1q-tunnel", "tag=1155"]).unwrap();
    let config = "[memory]\nhugepages = \"never\"\n[[network]]\nname = \"br-phy\"\nvlans = [1155]\n\
        [[port]]\nname = \"customer\"\nkind = \"veth\"\ndevice = \"customer\"\nnetwork = \"br-phy\"\nvlan = 1155\n\
        [[port]]\nname = \"trunk\"\nkind = \"veth\"\ndevice = \"trunk\"\nnetwork = \"br-phy\"\ntrunk = [1155]\nservice_tag = true\n";
    let node = Netns::new().unwrap();
    std::mem::forget(Veth::pair("customer", Some(&node), &here, &Interface::default()).unwrap());
    let end = Interface { name: "uplink", ..Interface::default() };
    std::mem::forget(Veth::pair("trunk", Some(&node), &far, &end).unwrap());
    ovs.add_port("br0", "uplink", &["trunks=1155"]).unwrap();
    let shuntd = Shuntd::start_in(&node, config).unwrap();
    let up = |ports: &serde_json::Value| {
        ports.as_array().into_iter().flatten().all(|row| row["oper_up"] == true && row["link"] == true)
    };
    shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, up).unwrap();
    let between = Wire::on(&far, "uplink").unwrap();
    let (mut a, mut b) = (Wire::on(&here, "eth0").unwrap(), Wire::on(&there, "eth0").unwrap());
    let frame =
        |from: u8, to: u8| [&[2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x88, 0xb5][..], &[from; 60]].concat();
    // The first one floods, what comes back is unicast.
    for (from, to) in [(1_u8, 2_u8), (2, 1), (1, 2)] {
        let sent = frame(from, to);
        let (sender, receiver) = if from == 1 { (&mut a, &b) } else { (&mut b, &a) };
        sender.send(&sent).unwrap();
        let got = receiver.wait(PATIENCE, |got| got.get(..14) == sent.get(..14));
        let got = got.unwrap_or_else(|error| {
            panic!("{error}\n{}", shuntd.cli_text(&["show", "drops"]).unwrap_or_default())
        });
        assert_eq!(got, sent);
    }
    // VLAN 1155 of a service tag.
    between.wait(PATIENCE, |got| got.get(12..16) == Some(&[0x88, 0xa8, 4, 0x83])).unwrap();
}
