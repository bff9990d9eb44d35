//! Packets through whole nodes, byte for byte: what comes in by one port of a scene's node goes out of another one exactly so, and
//! nothing else goes out anywhere. The packets are made by scapy: `tests/golden/paths/README.md`.

use std::collections::BTreeSet;
use std::fs;

use super::site::{Hello, Site, root};
use super::{PRODUCTION, capture};

/// What goes through a node in one run: all of it comes in by one port.
struct Run {
    scene: &'static str,
    hellos: &'static [Hello],
    from: &'static str,
    /// File, and the port that its second packet goes out of.
    files: &'static [(&'static str, &'static str)],
}

const VTEP: &[Hello] = &[("ens33", None, "02:00:0a:b8:86:53", "10.184.134.83")];
const FLANNEL: &[Hello] = &[("eth0", None, "02:00:c0:a8:01:0b", "192.168.1.2")];
const ROUTER_100: &[Hello] = &[("eth0", Some(100), "02:00:c0:a8:01:01", "192.168.1.1")];
const ROUTER: &[Hello] = &[("eth0", None, "02:00:c0:a8:01:01", "192.168.1.1")];

const RUNS: &[Run] = &[
    Run {
        scene: "scenes/production/node1.toml",
        hellos: PRODUCTION,
        from: "upvx4279f78e5dc",
        files: &[("002-overlay-out", "bond0"), ("002-overlay-same-node", "upvx59cca7c21fa")],
    },
    Run {
        scene: "scenes/production/node1.toml",
        hellos: PRODUCTION,
        from: "eth0@pod_a",
        files: &[("002-underlay-out", "bond0")],
    },
    Run {
        scene: "scenes/production/node1.toml",
        hellos: &[],
        from: "bond0",
        files: &[
            ("002-overlay-in", "upvx4279f78e5dc"),
            ("002-underlay-in", "eth0@pod_a"),
            ("002-underlay-no-station", "vlan.1155"),
            ("002-underlay-nd-in", "eth0@pod_a"),
        ],
    },
    Run {
        scene: "scenes/underlay-routed/node1.toml",
        hellos: ROUTER_100,
        from: "veth_pod_a",
        files: &[("000-vlan-out", "eth0")],
    },
    Run {
        scene: "scenes/underlay-routed/node1.toml",
        hellos: &[],
        from: "eth0",
        files: &[("000-vlan-in", "veth_pod_a")],
    },
    Run {
        scene: "golden/paths/plain.toml",
        hellos: ROUTER,
        from: "veth_pod_a",
        files: &[("000-plain-out", "eth0")],
    },
    Run {
        scene: "golden/paths/plain.toml",
        hellos: &[],
        from: "eth0",
        files: &[("000-plain-in", "veth_pod_a")],
    },
    Run {
        scene: "scenes/same-node/node1.toml",
        hellos: &[],
        from: "veth_pod_a",
        files: &[("001-a-to-b", "veth_pod_b")],
    },
    Run {
        scene: "scenes/same-node/node1.toml",
        hellos: &[],
        from: "veth_pod_b",
        files: &[("001-b-to-a", "veth_pod_a")],
    },
    Run {
        scene: "scenes/overlay-geneve/node1.toml",
        hellos: VTEP,
        from: "veth_pod_a",
        files: &[("003-inter-node-out", "ens33")],
    },
    Run {
        scene: "scenes/overlay-geneve/node1.toml",
        hellos: &[],
        from: "ens33",
        files: &[("003-inter-node-in", "veth_pod_a")],
    },
    Run {
        scene: "golden/paths/flannel.toml",
        hellos: FLANNEL,
        from: "veth_pod_a",
        files: &[("004-flannel-out", "eth0")],
    },
    Run {
        scene: "golden/paths/flannel.toml",
        hellos: &[],
        from: "eth0",
        files: &[("004-flannel-in", "veth_pod_a")],
    },
];

/// The two packets of a file.
fn golden(name: &str) -> (Vec<u8>, Vec<u8>) {
    let frames = capture::read(&root().join("tests/golden/paths").join(name).with_extension("pcap"));
    let [came, goes] = &frames[..] else { panic!("{name} has {} packets", frames.len()) };
    (came.clone(), goes.clone())
}

/// The source port of a tunnel's UDP header, which is any dynamic one, as the files have it: 49152.
fn any_source_port(mut frame: Vec<u8>) -> Vec<u8> {
    let is_tunnel = frame.get(12..14) == Some(&[8, 0])
        && frame.get(23) == Some(&17)
        && [&[0x12, 0xb5][..], &[0x17, 0xc1]].contains(&frame.get(36..38).unwrap_or_default());
    if is_tunnel {
        assert!(frame[34] >= 0xc0, "source ports of tunnels are dynamic ones (RFC 7348 section 5)");
        frame[34..36].copy_from_slice(&[0xc0, 0]);
    }
    frame
}

/// What the switch says of its own accord, and is not of the run, when a port comes: announcements of addresses, and questions for neighbours.
fn is_own(frame: &[u8]) -> bool {
    let at = if frame.get(12..14) == Some(&[0x81, 0]) { 4 } else { 0 };
    let asks = frame.get(12 + at..14 + at) == Some(&[8, 6]) && frame.get(20 + at..22 + at) == Some(&[0, 1]);
    let is_nd =
        frame.get(12 + at..14 + at) == Some(&[0x86, 0xdd]) && matches!(frame.get(54 + at), Some(135 | 136));
    asks || is_nd
}

fn hex(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn play(run: &Run) {
    let packets: Vec<_> = run.files.iter().map(|(name, to)| (*name, *to, golden(name))).collect();
    let came: Vec<Vec<u8>> = packets.iter().map(|(.., (came, _))| came.clone()).collect();
    let site = Site::start(run.scene, run.hellos, Some((run.from, &came)));
    let (sent, drops) = site.play(came.len() as u64);
    assert!(drops.is_empty(), "{} from {}: {drops:?}", run.scene, run.from);
    for (port, frames) in sent {
        let frames: Vec<String> = frames
            .into_iter()
            .filter(|frame| !is_own(frame) || packets.iter().any(|(.., (_, goes))| goes == frame))
            .map(|frame| hex(&any_source_port(frame)))
            .collect();
        let wanted: Vec<String> =
            packets.iter().filter(|(_, to, _)| *to == port).map(|(.., (_, goes))| hex(goes)).collect();
        let names: Vec<&str> =
            packets.iter().filter(|(_, to, _)| *to == port).map(|(name, ..)| *name).collect();
        assert_eq!(frames, wanted, "{}: out of {port} (left) and {names:?}", run.scene);
    }
}

/// One process each: the daemon's memory is made once in a process.
macro_rules! runs {
    ($(fn $name:ident() plays $number:literal;)*) => {
        $(#[test] fn $name() { play(&RUNS[$number]); })*
        #[test]
        fn every_run_is_played() {
            assert_eq!([$($number),*], std::array::from_fn::<_, 13, _>(|n| n));
            assert_eq!(RUNS.len(), 13);
        }
    };
}

runs! {
    fn overlay_pod_sends() plays 0;
    fn underlay_pod_sends() plays 1;
    fn production_node_receives() plays 2;
    fn vlan_pod_sends() plays 3;
    fn vlan_node_receives() plays 4;
    fn plain_pod_sends() plays 5;
    fn plain_node_receives() plays 6;
    fn pod_a_to_pod_b() plays 7;
    fn pod_b_to_pod_a() plays 8;
    fn geneve_pod_sends() plays 9;
    fn geneve_node_receives() plays 10;
    fn flannel_pod_sends() plays 11;
    fn flannel_node_receives() plays 12;
}

#[test]
fn every_file_is_played_and_described() {
    let directory = root().join("tests/golden/paths");
    let found: BTreeSet<String> = fs::read_dir(&directory)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".pcap")?.to_owned()))
        .collect();
    let played: BTreeSet<String> =
        RUNS.iter().flat_map(|run| run.files).map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, played);
    let readme = fs::read_to_string(directory.join("README.md")).unwrap();
    for name in &found {
        assert!(readme.contains(&format!("`{name}`")), "README.md says nothing of {name}");
    }
}
