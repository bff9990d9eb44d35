//! Peers that come and go by a file, while packets to another peer flow. The peers are VXLAN devices of the kernel.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use shunt_tests::{Interface, Netns, Ping, Shuntd, Veth, require};

const PATIENCE: Duration = Duration::from_secs(15);
const VNI: &str = "2";

/// The node's configuration; `FILE` is where the peers are.
const CONFIG: &str = r#"
[memory]
hugepages = "never"
[[router]]
name = "outside"
[[network]]
name = "transport"
router = "outside"
gateways = ["192.0.2.1/24"]
[[network]]
name = "blue"
kind = "overlay"
encap = "vxlan"
vni = 2
transport = "transport"
peers = [{ address = "192.0.2.2", endpoints = [{ mac = "02:00:00:50:00:02", ip = ["10.50.0.2"] }] }]
peers_file = "FILE"
[[port]]
name = "up2"
kind = "veth"
device = "up2"
network = "transport"
[[port]]
name = "up3"
kind = "veth"
device = "up3"
network = "transport"
[[port]]
name = "pod"
kind = "veth"
device = "pod"
network = "blue"
endpoints = [{ mac = "02:00:00:50:00:01", ip = ["10.50.0.1"] }]
"#;

const SECOND: &str = "peers = [{ address = \"192.0.2.3\", endpoints = [{ mac = \"02:00:00:50:00:03\", ip = [\"10.50.0.3\"] }] }]\n";

/// A machine behind `node`'s port `upN` with the addresses 192.0.2.N and, in the overlay, 10.50.0.N.
fn far(node: &Netns, n: u8) -> Netns {
    let machine = Netns::new().unwrap();
    let (outer, inner) = (format!("192.0.2.{n}/24"), format!("10.50.0.{n}/24"));
    let uplink = Interface { name: "uplink", addrs: &[&outer], ..Interface::default() };
    // It ends with the namespaces.
    std::mem::forget(Veth::pair(&format!("up{n}"), Some(node), &machine, &uplink).unwrap());
    let local = outer.trim_end_matches("/24");
    let vxlan = ["ip", "link", "add", "vxlan.2", "type", "vxlan", "id", VNI, "dstport", "4789"];
    machine.exec(&[&vxlan[..], &["local", local, "remote", "192.0.2.1"]].concat()).unwrap();
    let mac = format!("02:00:00:50:00:0{n}");
    Interface { name: "vxlan.2", mac: Some(&mac), addrs: &[&inner], mtu: 1450 }.configure(&machine).unwrap();
    machine
}

/// Puts `text` in the place of the file, as a whole.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Whether `to` answers within `PATIENCE`, or does not.
#[track_caller]
fn wait_answers(pod: &Netns, to: &str, answers: bool) {
    let deadline = Instant::now() + PATIENCE;
    while (Ping { wait_ms: 200, ..Ping::to(to) }.run(pod).unwrap().received == 1) != answers {
        assert!(Instant::now() < deadline, "{to} answers: {}", !answers);
    }
}

/// Waits until what is wrong with the file is as `holds` wants it.
#[track_caller]
fn wait_wrong(shuntd: &Shuntd, holds: impl Fn(&str) -> bool) {
    let of_blue = |topology: &Value| {
        let networks = topology["networks"].as_array().unwrap();
        let blue = networks.iter().find(|network| network["name"] == "blue").unwrap();
        holds(blue["peers_wrong"].as_str().unwrap())
    };
    let waited = shuntd.cli_until(&["show", "topology", "--json"], PATIENCE, of_blue);
    waited.unwrap_or_else(|error| panic!("{error}\n{}", shuntd.log()));
}

#[test]
fn peers_come_and_go_by_a_file_and_a_bad_file_changes_nothing() {
    require!(root(), tool("ping"), shuntd());
    let (node, pod) = (Netns::new().unwrap(), Netns::new().unwrap());
    let _far = [far(&node, 2), far(&node, 3)];
    let inside = Interface {
        mac: Some("02:00:00:50:00:01"),
        addrs: &["10.50.0.1/24"],
        mtu: 1450,
        ..Interface::default()
    };
    std::mem::forget(Veth::pair("pod", Some(&node), &pod, &inside).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("peers.toml");
    let shuntd = Shuntd::start_in(&node, &CONFIG.replace("FILE", &file.to_string_lossy())).unwrap();

    // A file that is not there yet is no reason not to start.
    wait_wrong(&shuntd, |wrong| wrong.contains("cannot read"));
    wait_answers(&pod, "10.50.0.2", true);
    let mut traffic = pod.spawn(&["ping", "-n", "-i", "0.01", "10.50.0.2"]).unwrap();
    wait_answers(&pod, "10.50.0.3", false);

    replace(&file, SECOND);
    wait_answers(&pod, "10.50.0.3", true);
    wait_wrong(&shuntd, str::is_empty);

    // A mistake has its place; what was in force stays.
    replace(&file, "peers = [\n  { adress = \"192.0.2.3\" },\n]\n");
    wait_wrong(&shuntd, |wrong| wrong.contains("peers.toml:2:5: peers[0].adress: unknown key"));
    wait_answers(&pod, "10.50.0.3", true);
    let told = shuntd.cli_text(&["show", "topology"]).unwrap();
    assert!(told.contains("blue: peers_file is not in force: "), "{told}");
    assert!(shuntd.log().contains("unknown key; did you mean address?"));
    // So does what an emptied file leaves, and one that is in conflict.
    std::fs::write(&file, "").unwrap();
    wait_wrong(&shuntd, |wrong| wrong.contains("write peers = [] for none"));
    replace(&file, &SECOND.replace("192.0.2.3", "192.0.2.2"));
    wait_wrong(&shuntd, |wrong| wrong.contains("192.0.2.2 is already the address"));
    wait_answers(&pod, "10.50.0.3", true);

    // Another configuration leaves them alone.
    let config =
        CONFIG.replace("FILE", &file.to_string_lossy()).replace("vni = 2", "vni = 2\nmac_limit = 77");
    shuntd.reload(&config).unwrap();
    let limit = |topology: &Value| topology["networks"][1]["mac_limit"] == 77;
    shuntd.cli_until(&["show", "topology", "--json"], PATIENCE, limit).unwrap();
    wait_answers(&pod, "10.50.0.3", true);

    // Written in place.
    std::fs::write(&file, "peers = []\n").unwrap();
    wait_answers(&pod, "10.50.0.3", false);
    wait_wrong(&shuntd, str::is_empty);

    // The other peer has noticed nothing.
    traffic.signal(Signal::SIGINT);
    traffic.wait(PATIENCE).unwrap();
    let said = traffic.stdout().text(0);
    let figures =
        said.lines().find(|line| line.contains("packets transmitted")).expect("ping ends in figures");
    let mut numbers =
        figures.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<u32>().ok());
    let (sent, received) = (numbers.next().unwrap(), numbers.next().unwrap());
    // The last one may still be under way.
    assert!(sent > 100 && sent - received <= 1, "{figures}");
}
