//! What `shunt trace` prints for every path of the references, byte for byte: `tests/golden/trace/*.txt`.
//!
//! Each file says by itself what it is of: lines with `#` about it, then a line `$ shunt trace ...`, then what that prints. The
//! command goes the whole way of the program: its arguments, the control thread, the message of the interface, the text.
//! After a change that is meant, write them anew with `SHUNT_BLESS=1 cargo nextest run -p shunt-switch --test golden` and read the
//! differences. Only the generation is not compared: it counts publications, of which learning makes as many as it takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use clap::Parser;
use shunt_switch::cli::options::{Command, Options};
use shunt_switch::cli::trace;
use shunt_switch::control::api::proto;
use shunt_switch::control::api::proto::trace_request::What;
use shunt_switch::control::trace::Frame;
use shunt_switch::control::trace::expression::Probe;

use super::site::{Hello, Site, root};

/// The scenes with the machines around the node, and the files of each.
const SCENES: &[(&str, &[Hello], &[&str])] = &[
    (
        "scenes/overlay-vxlan/node1.toml",
        &[
            ("bond0", None, "02:00:0a:ba:98:65", "10.186.152.101"),
            ("bond0", None, "02:00:0a:ba:98:6b", "10.186.152.107"),
            ("bond0", None, "02:00:0a:ba:98:fe", "10.186.152.254"),
        ],
        &[
            "002-overlay-out",
            "002-overlay-in",
            "002-overlay-same-node",
            "002-overlay-nobody",
            "002-overlay-proxy-arp",
        ],
    ),
    (
        "scenes/production/node1.toml",
        super::PRODUCTION,
        &[
            "002-production-overlay-out",
            "002-underlay-out",
            "002-underlay-in",
            "002-underlay-no-station",
            "002-underlay-other-segment",
            "002-underlay-same-vlan",
            "002-underlay-arp-in",
            "002-underlay-arp-out",
            "002-overlay-to-host",
            "002-host-default-route",
        ],
    ),
    ("scenes/same-node/node1.toml", &[], &["001-same-node", "001-gateway"]),
    (
        "scenes/underlay-routed/node1.toml",
        &[("eth0", Some(100), "02:00:c0:a8:01:01", "192.168.1.1")],
        &["000-underlay-out", "000-underlay-in", "000-wrong-vlan"],
    ),
    (
        "scenes/overlay-geneve/node1.toml",
        &[
            ("ens33", None, "02:00:0a:b8:86:53", "10.184.134.83"),
            ("ens33", None, "02:00:0a:b8:86:54", "10.184.134.84"),
        ],
        &["003-inter-node", "003-other-subnet", "003-broadcast"],
    ),
    (
        "scenes/ovn-kubernetes/shared.toml",
        &[
            ("ens33", None, "02:00:0a:b8:86:53", "10.184.134.83"),
            ("ens33", None, "02:00:0a:b8:86:07", "10.184.134.7"),
        ],
        &[
            "003-shared-pod-out",
            "003-shared-node-port",
            "003-shared-node-port-there",
            "003-shared-node-port-local",
            "003-shared-node-port-local-none",
            "003-shared-load-balancer",
            "003-shared-external-ip",
            "003-pod-cluster-ip",
            "003-host-cluster-ip",
            "003-host-cluster-ip-itself",
            "003-host-in",
            "003-host-out",
        ],
    ),
    (
        "scenes/ovn-kubernetes/local.toml",
        &[
            ("ens33", None, "02:00:0a:b8:86:53", "10.184.134.83"),
            ("ens33", None, "02:00:0a:b8:86:07", "10.184.134.7"),
        ],
        &[
            "003-local-pod-out",
            "003-local-node-port",
            "003-local-node-port-on",
            "003-local-node-port-local-on",
            "003-local-load-balancer",
            "003-local-load-balancer-on",
            "003-local-external-ip",
            "003-local-external-ip-on",
        ],
    ),
];

fn file(name: &str) -> PathBuf {
    root().join("tests/golden/trace").join(name).with_extension("txt")
}

/// The words of a command line as a shell has them: blanks separate, single quotes hold together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (n, part) in line.split('\'').enumerate() {
        match n % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// What the command prints.
fn run(site: &Site, command: &str) -> String {
    let options =
        Options::try_parse_from(words(command)).unwrap_or_else(|error| panic!("{command}: {error}"));
    let Command::Trace(mut wanted) = options.command else { panic!("{command} is no trace") };
    wanted.pcap = wanted.pcap.map(|path| root().join(path));
    let request = trace::request(&wanted).unwrap_or_else(|error| panic!("{command}: {error:?}"));
    let frame = match request.what.unwrap() {
        What::Expression(text) => Frame::Made(Probe::parse(&text).unwrap()),
        What::Raw(bytes) => Frame::Raw(bytes),
    };
    let port = request.port;
    let traced = site.call(move |control| control.trace(&port, frame)).unwrap();
    let text = trace::text(&proto::Traced::from(traced));
    let (first, rest) = text.split_once(':').unwrap();
    assert!(first.starts_with("generation "), "{text}");
    format!("generation N:{rest}")
}

#[track_caller]
fn compare(scene: &str) {
    let (scene, hellos, names) = SCENES.iter().find(|(known, ..)| known.contains(scene)).unwrap();
    let site = Site::start(scene, hellos, None);
    let mut wrong = Vec::new();
    for name in *names {
        let path = file(name);
        let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let head_end = golden.find("$ ").unwrap_or_else(|| panic!("{name} has no command"));
        let (head, rest) = golden.split_at(head_end);
        let command = rest.lines().next().unwrap().trim_start_matches("$ ");
        let got = format!("{head}$ {command}\n{}", run(&site, command));
        if got == golden {
            continue;
        }
        if std::env::var_os("SHUNT_BLESS").is_some() {
            fs::write(&path, &got).unwrap();
        }
        wrong.push(format!("{}:\n{got}", path.display()));
    }
    assert!(
        wrong.is_empty(),
        "{} files differ; these would be right now:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn overlay_vxlan() {
    compare("overlay-vxlan");
}

#[test]
fn production() {
    compare("production");
}

#[test]
fn same_node() {
    compare("same-node");
}

#[test]
fn underlay_routed() {
    compare("underlay-routed");
}

#[test]
fn overlay_geneve() {
    compare("overlay-geneve");
}

#[test]
fn gateway_mode_shared() {
    compare("ovn-kubernetes/shared");
}

#[test]
fn gateway_mode_local() {
    compare("ovn-kubernetes/local");
}

/// Reference 002's numbered steps (002-28), by name and in number: what the words behind them say is in the files.
#[test]
fn steps_are_those_of_the_reference() {
    let names = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(file(name)).unwrap();
        let steps = text.lines().filter(|line| line.starts_with("step "));
        let step = |(n, line): (usize, &str)| {
            let rest = line
                .strip_prefix(&format!("step {n}"))
                .unwrap_or_else(|| panic!("{name}: {line} is not {n}"));
            rest.split_once(": ").unwrap().0.trim().to_owned()
        };
        (1..).zip(steps).map(step).collect()
    };
    let overlay = ["pod", "port", "route", "neighbour", "encap", "route", "network", "fdb", "bond", "wire"];
    for name in ["002-overlay-out", "002-production-overlay-out"] {
        assert_eq!(names(name), overlay, "{name}");
    }
    // Where the uplink has two links, one of them is named.
    let text = fs::read_to_string(file("002-production-overlay-out")).unwrap();
    assert!(text.contains("\nstep 9   bond: the layer3+4 hash of the outer headers chooses ens"), "{text}");
    let out = [
        "pod, phase 1",
        "pod, phase 1",
        "pod, phase 1",
        "ipvlan, phase 2",
        "ipvlan, phase 2",
        "vlan, phase 3",
        "bridge, phase 3",
        "bridge, phase 3",
        "wire, phase 3",
    ];
    assert_eq!(names("002-underlay-out"), out);
    assert_eq!(
        names("002-underlay-in"),
        ["wire, phase 4", "vlan, phase 4", "demux, phase 4", "port, phase 4"]
    );
}

#[test]
fn every_file_is_compared() {
    let found: BTreeSet<String> = fs::read_dir(root().join("tests/golden/trace"))
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".txt")?.to_owned()))
        .collect();
    let known: BTreeSet<String> =
        SCENES.iter().flat_map(|(.., names)| *names).map(ToString::to_string).collect();
    assert_eq!(found, known);
}
