//! Every example of a network kind, as it stands in config/examples/, in a namespace with the devices that it names: the daemon opens
//! every port, pods with the addresses of the example answer the switch and each other, and what leads to the outside leads to somebody
//! who answers.

#[path = "examples/answerer.rs"]
mod answerer;

use std::net::IpAddr;
use std::path::Path;

use answerer::{Answerer, Behind};
use shunt_config::{Config, PortKind};
use shunt_tests::frames::{CUSTOMER_TAG, SERVICE_TAG};
use shunt_tests::scene::{Builder, Pod, Scene};
use shunt_tests::{Interface, Ping, Wire, require};

/// What lives as long as the test.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn example(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples");
    let path = directory.join(name).with_extension("toml");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Brings the example up: each veth port has a pod at its other end, each device of another kind a machine.
#[track_caller]
fn up(name: &'static str) -> (Config, Scene) {
    let text = example(name);
    let config = shunt_config::parse(&text, name).unwrap_or_else(|errors| panic!("{errors}"));
    let mut build = Builder::new(name);
    build.node("node", &format!("[memory]\nhugepages = \"never\"\n\n{text}")).unwrap();
    for port in &config.ports {
        let station = leak(port.name.to_string());
        let device = port.device().unwrap_or_default();
        let endpoint = port.endpoints.first();
        let mac = endpoint.map(|endpoint| endpoint.mac.to_string());
        let addresses: Vec<String> = endpoint
            .into_iter()
            .flat_map(|it| &it.ip)
            .map(|ip| format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 }))
            .collect();
        let addrs: Vec<&str> = addresses.iter().map(String::as_str).collect();
        // Everybody is on the link: the switch answers for whom it routes to.
        let families = [("default", "."), ("default", ":")];
        let routes: Vec<&str> = families
            .iter()
            .filter(|(_, mark)| addrs.iter().any(|address| address.contains(mark)))
            .map(|(route, mark)| if *mark == ":" { "::/0" } else { *route })
            .collect();
        match &port.kind {
            PortKind::Veth { .. } => {
                let pod = Pod {
                    name: station,
                    node: "node",
                    device,
                    mac: mac.as_deref(),
                    addrs: &addrs,
                    routes: &routes,
                    mtu: 1400,
                };
                build.pod(&pod).unwrap();
            }
            PortKind::AfXdp { .. } => {
                build.machine(station, false).unwrap();
                let near = Interface { name: device, ..Interface::default() };
                build
                    .wire((station, &Interface { name: "far", ..Interface::default() }), ("node", &near))
                    .unwrap();
            }
            _ => {}
        }
    }
    let scene = build.finish(Vec::new(), &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
    (config, scene)
}

/// The switch asks every pod with an address in a network in which it has one itself, and the pod answers. Returns how many were asked.
#[track_caller]
fn ask_pods(config: &Config, scene: &Scene) -> usize {
    let mut asked = 0;
    for port in config.ports.iter().filter(|port| matches!(port.kind, PortKind::Veth { .. })) {
        for ip in port.endpoints.iter().flat_map(|endpoint| &endpoint.ip) {
            let network = config.networks.iter().find(|network| network.name == port.network).unwrap();
            if !network.gateways.iter().any(|gateway| gateway.addr().is_ipv4() == ip.is_ipv4()) {
                continue;
            }
            asked += 1;
            let (from, to) = (port.network.as_str(), ip.to_string());
            let words = ["ping", "--from", from, "-c", "3", "-i", "0.1", "-W", "3", &to];
            let done = scene.node("node").shuntd.cli_cmd(&words).unwrap().run().unwrap();
            assert_eq!(done.status.code(), Some(0), "{from} asks {to}: {}{}", done.stdout, done.stderr);
        }
    }
    asked
}

/// One pod asks the other, both by their names.
#[track_caller]
fn pod_asks(scene: &Scene, from: &str, to: IpAddr) {
    let target = to.to_string();
    let answers = Ping { count: 3, ..Ping::to(&target) }.run(scene.place(from)).unwrap();
    assert!(answers.received > 0, "{from} asks {to}: {answers:?}\n{}", scene.state());
}

/// The pod has that address from now on, and everybody is on its link.
#[track_caller]
fn gets(scene: &Scene, pod: &str, address: &str) {
    scene.place(pod).exec(&["ip", "addr", "add", address, "dev", "eth0"]).unwrap();
}

#[test]
fn bridge_trunk() {
    require!(root(), tool("perl"), tool("tcpdump"), file("/dev/net/tun"), shuntd());
    let (_, scene) = up("bridge-trunk");
    gets(&scene, "pod-a", "10.186.155.16/24");
    gets(&scene, "pod-b", "10.186.156.16/24");
    let state = || scene.state();
    let [mut bond, mut provider] = [("bond0", "far"), ("provider", "eth0")]
        .map(|(place, device)| Wire::on(scene.place(place), device).unwrap());
    let customer = |vid| Behind::Tag(CUSTOMER_TAG, vid);
    for (from, ip, behind) in [
        ("pod-a", [10, 186, 155, 30], customer(1155)),
        ("pod-b", [10, 186, 156, 30], customer(1156)),
        ("node", [10, 186, 158, 30], customer(1158)),
        // The native VLAN, where the node's default route leads.
        ("node", [192, 168, 100, 1], Behind::Nothing),
    ] {
        Answerer::new(&mut bond, ip, behind).is_asked_by(scene.place(from), &state);
    }
    // The same VLAN with the provider's tag.
    let provided = Behind::Tag(SERVICE_TAG, 1158);
    Answerer::new(&mut provider, [10, 186, 158, 99], provided).is_asked_by(scene.place("node"), &state);
}

#[test]
fn underlay_bridged() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let (_, scene) = up("underlay-bridged");
    let mut bond = Wire::on(scene.place("bond0"), "far").unwrap();
    for (from, ip, vid) in [("pod-a", [10, 186, 152, 30], 1155), ("pod-b", [10, 186, 156, 30], 1156)] {
        let behind = Behind::Tag(CUSTOMER_TAG, vid);
        Answerer::new(&mut bond, ip, behind).is_asked_by(scene.place(from), &|| scene.state());
    }
}

#[test]
fn underlay_routed() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let (config, scene) = up("underlay-routed");
    assert_eq!(ask_pods(&config, &scene), 2);
}

#[test]
fn underlay_demux() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let (_, scene) = up("underlay-demux");
    pod_asks(&scene, "pod-a", "10.186.152.17".parse().unwrap());
    pod_asks(&scene, "pod-b", "10.186.152.16".parse().unwrap());
}

#[test]
fn overlay_vxlan_l3() {
    require!(root(), shuntd());
    let (config, scene) = up("overlay-vxlan-l3");
    assert_eq!(ask_pods(&config, &scene), 2);
    pod_asks(&scene, "pod-a", "10.20.9.17".parse().unwrap());
}

#[test]
fn overlay_geneve_l2() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let (config, scene) = up("overlay-geneve-l2");
    assert_eq!(ask_pods(&config, &scene), 2);
    // Who is learned from what arrives: a station behind the first peer, which says in OVN's option to whom it answers.
    gets(&scene, "pod-b", "10.17.0.4/16");
    let mut wire = Wire::on(scene.place("eth0"), "far").unwrap();
    let behind = Behind::Geneve { peer: [192, 168, 50, 2], vni: 6, ports: (3, 32768) };
    Answerer::new(&mut wire, [10, 17, 0, 9], behind).is_asked_by(scene.place("pod-b"), &|| scene.state());
}

#[test]
fn gre() {
    require!(root(), shuntd());
    let (config, scene) = up("gre");
    assert_eq!(ask_pods(&config, &scene), 1);
}

#[test]
fn ipip() {
    require!(root(), shuntd());
    let (config, scene) = up("ipip");
    assert_eq!(ask_pods(&config, &scene), 2);
}
