//! Lengths between overlay and underlay (rows A2b, point 6): 1450 bytes into a tunnel, 1500 in a VLAN. Who sends more is told, or cut,
//! or with `mss_clamp` does not come to it.

use shunt_tests::iperf::Tcp;
use shunt_tests::ovs::DAEMON;
use shunt_tests::scene::Scene;
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Iperf, Wire, require};

use super::dual;
use super::six::{OVER, UNDER, start};

/// What `ping` says of three echoes of so many bytes of packet, header and all.
fn ping(scene: &Scene, from: &str, to: &str, bytes: u32, cut: &str) -> String {
    let size = (bytes - if to.contains(':') { 48 } else { 28 }).to_string();
    let argv = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", "-M", cut, "-s", &size, to];
    let said = scene.place(from).cmd(&argv).env("LC_ALL", "C").run().unwrap();
    format!("{}{}", said.stdout, said.stderr)
}

fn too_big(scene: &Scene) -> u64 {
    ["node1", "node2"].map(|node| scene.node(node).dropped("too_big").unwrap()).into_iter().sum()
}

fn forget(scene: &Scene, place: &str) {
    for family in ["-4", "-6"] {
        scene.place(place).exec(&["ip", family, "route", "flush", "cache"]).unwrap();
    }
}

/// The MSS of the SYN, or of the SYN with ACK, that comes in by a wire over that family.
fn mss(frame: &[u8], v6: bool, flags: u8) -> Option<u16> {
    let (kind, tcp): ([u8; 2], usize) = if v6 { ([0x86, 0xdd], 54) } else { ([8, 0], 34) };
    let protocol = if v6 { 20 } else { 23 };
    if frame.get(12..14)? != kind || *frame.get(protocol)? != 6 || *frame.get(tcp + 13)? & 0x12 != flags {
        return None;
    }
    let end = tcp + usize::from(frame[tcp + 12] >> 4) * 4;
    let mut options = frame.get(tcp + 20..end)?;
    loop {
        match options {
            [2, 4, high, low, ..] => return Some(u16::from_be_bytes([*high, *low])),
            [1, rest @ ..] => options = rest,
            [_, length, ..] if *length >= 2 => options = options.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}

const SYN: u8 = 2;
const SYN_ACK: u8 = 0x12;

#[test]
fn who_sends_too_much_into_the_overlay_is_told() {
    require!(root(), tool("iperf3"), tool("ethtool"), tool("tcpdump"), tool("perl"), file(DAEMON), shuntd());
    let scene = start(|text| text);
    // To the other node through the tunnel, and to the overlay pod of the same node, whose network takes no more either.
    for over in [OVER[1], OVER[0]] {
        for (at, to) in over.1.into_iter().enumerate() {
            let fits = ping(&scene, UNDER[0].0, to, 1_450, "do");
            assert!(fits.contains(" 0% packet loss"), "{to}: {fits}\n{}", scene.state());
            let before = too_big(&scene);
            let said = ping(&scene, UNDER[0].0, to, 1_451, "do");
            let told = ["mtu = 1450", "mtu=1450"].iter().any(|text| said.contains(text));
            assert!(told && too_big(&scene) == before + 1, "{to}: {said}\n{}", scene.state());
            // The sender knows it now, and cuts.
            let route = scene.place(UNDER[0].0).exec(&["ip", "route", "get", to]).unwrap().stdout;
            assert!(route.contains("mtu 1450"), "{route}");
            let cut = ping(&scene, UNDER[0].0, to, 4_000, "dont");
            assert!(cut.contains(" 0% packet loss"), "{to}: {cut}\n{}", scene.state());
            // Over IPv4 the switch itself cuts what may be.
            forget(&scene, UNDER[0].0);
            if at == 0 {
                let before = too_big(&scene);
                let cut = ping(&scene, UNDER[0].0, to, 1_500, "dont");
                assert!(cut.contains(" 0% packet loss"), "{to}: {cut}\n{}", scene.state());
                assert_eq!(too_big(&scene), before);
            }
            let mut iperf = Iperf::serve(scene.place(over.0), to).unwrap();
            let carried = iperf.tcp(scene.place(UNDER[0].0), &Tcp { seconds: 1, ..Tcp::default() }).unwrap();
            assert!(carried.bytes > 1_000_000, "{to}: {carried:?}\n{}", scene.state());
            forget(&scene, UNDER[0].0);
        }
    }
    // In the VLAN 1500 bytes are 1500 bytes.
    for to in UNDER[1].1 {
        let fits = ping(&scene, UNDER[0].0, to, 1_500, "do");
        assert!(fits.contains(" 0% packet loss"), "{to}: {fits}\n{}", scene.state());
    }
}

/// Whichever of the two networks clamps, and whoever begins.
#[test]
fn the_mss_is_what_the_shorter_of_both_takes() {
    require!(root(), tool("iperf3"), tool("ethtool"), tool("tcpdump"), tool("perl"), file(DAEMON), shuntd());
    let scene = start(|text| text);
    let clamps = [("", 1_460), ("name = \"vxlan.2\"\n", 1_410), ("name = \"biz.1155\"\n", 1_410)];
    for (network, takes) in clamps {
        let clamped = |text: String| match network {
            "" => text,
            _ => text.replacen(network, &format!("{network}mss_clamp = true\n"), 1),
        };
        super::six::apply(&scene, |text| clamped(dual::with_v6(&text)));
        // Underlay and overlay pod of one node, and of two; the underlay pod believes in 1500 bytes.
        for over in OVER.into_iter().skip(usize::from(network.is_empty())) {
            for (v6, less) in [(false, 0), (true, 20)] {
                let family = usize::from(v6);
                let about = || format!("{network:?}, {}, IPv6 {v6}\n{}", over.0, scene.state());
                // What the underlay pod says of itself, as it arrives: when it asks, and when it answers. The overlay pod knows its MTU.
                for (client, server) in [(UNDER[0], over), (over, UNDER[0])] {
                    let wires =
                        [client, server].map(|(place, _)| Wire::on(scene.place(place), "eth0").unwrap());
                    let to = server.1[family];
                    let _listening = Iperf::serve(scene.place(server.0), to).unwrap();
                    let connect = format!("exec 3<>/dev/tcp/{to}/5201");
                    scene.place(client.0).exec(&["timeout", "5", "bash", "-c", &connect]).unwrap();
                    for ((wire, flags), by) in wires.iter().zip([SYN_ACK, SYN]).zip([server, client]) {
                        let frame = wire.wait(PATIENCE, |frame| mss(frame, v6, flags).is_some()).unwrap();
                        let expected = if by == UNDER[0] { takes } else { 1_410 };
                        assert_eq!(
                            mss(&frame, v6, flags),
                            Some(expected - less),
                            "{} says, {}",
                            by.0,
                            about()
                        );
                    }
                }
                // It is the underlay pod that sends, as who opens the connection and as who is asked.
                let before = too_big(&scene);
                for (client, server, reverse) in [(UNDER[0], over, false), (over, UNDER[0], true)] {
                    let to = server.1[family];
                    forget(&scene, UNDER[0].0);
                    let mut iperf = Iperf::serve(scene.place(server.0), to).unwrap();
                    let load = Tcp { seconds: 1, reverse, ..Tcp::default() };
                    let carried = iperf.tcp(scene.place(client.0), &load).unwrap();
                    assert!(carried.bytes > 1_000_000, "{to}: {carried:?}, {}", about());
                }
                if !network.is_empty() {
                    assert_eq!(too_big(&scene), before, "{}", about());
                }
            }
        }
        // Two of the underlay are not held to what a tunnel takes.
        let beside = Wire::on(scene.place(UNDER[1].0), "eth0").unwrap();
        let _listening = Iperf::serve(scene.place(UNDER[1].0), UNDER[1].1[0]).unwrap();
        let connect = format!("exec 3<>/dev/tcp/{}/5201", UNDER[1].1[0]);
        scene.place(UNDER[0].0).exec(&["timeout", "5", "bash", "-c", &connect]).unwrap();
        let frame = beside.wait(PATIENCE, |frame| mss(frame, false, SYN).is_some()).unwrap();
        assert_eq!(mss(&frame, false, SYN), Some(1_460), "{network:?}");
    }
}
