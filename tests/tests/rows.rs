//! `docs/rows.md` says the truth: every row of the reference documents is on it, every test that it names is there, names that the
//! references give to devices are names that a configuration takes, and the source is put together as was asked.

use std::fs;
use std::path::{Path, PathBuf};

use shunt_tests::{Cmd, Netns, Shuntd, require};

/// Rows by document: number of the document, and of its last row. B is the shape that the product was asked to have.
const ROWS: [(&str, u32); 6] = [("000", 19), ("001", 8), ("002", 30), ("003", 12), ("004", 6), ("B", 9)];
/// Row B-2.
const PACKAGES: [&str; 7] =
    ["bindgen", "crossbeam", "etherparse", "smoltcp", "core_affinity", "hdrhistogram", "toml"];
/// Row B-3, in order, beside what begins with a dot, lock files and what a build leaves.
const TOP: [&str; 11] = [
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "bench",
    "config",
    "docs",
    "ffi",
    "rustfmt.toml",
    "scripts",
    "switch",
    "tests",
];
/// `vethN` and `upvxN` are patterns.
const NAMES: &[&str] = &[
    "lo",
    "eth0",
    "ens33",
    "ens5f0np0",
    "ens7f0np0",
    "bond0",
    "br-bond0",
    "ovs-system",
    "br-phy",
    "br-ex",
    "br-int",
    "ovn-k8s-mp0",
    "genev_sys_6081",
    "vxlan.2",
    "flannel.1",
    "cni0",
    "kube-ipvs0",
    "mgm",
    "ctl",
    "biz",
    "vlan.1155",
    "vlan.1156",
    "vlan.1157",
    "vlan.1158",
    "veth_pod_a",
    "veth_pod_b",
    "upvx4279f78e5dc",
    "eth0@if41",
    "tun0",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn page() -> String {
    fs::read_to_string(root().join("docs/rows.md")).unwrap()
}

/// The words in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The text of a test binary: its file and those of its folder.
fn sources(binary: &str) -> String {
    let places =
        ["tests/tests", "switch/tests", "config/tests", "bench/tests"].map(|place| root().join(place));
    let mut text = String::new();
    for place in places {
        let folder = fs::read_dir(place.join(binary)).into_iter().flatten();
        let files = folder.map(|entry| entry.unwrap().path()).chain([place.join(format!("{binary}.rs"))]);
        let rust = files.filter(|file| file.extension().is_some_and(|it| it == "rs") && file.is_file());
        text.extend(rust.map(|file| fs::read_to_string(file).unwrap()));
    }
    text
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let page = page();
    let named: Vec<(&str, &str)> = quoted(&page).filter_map(|word| word.split_once("::")).collect();
    assert!(named.len() > 50, "{named:?}");
    let missing: Vec<_> = named
        .into_iter()
        .filter(|(binary, test)| *binary != "file" && !sources(binary).contains(&format!("fn {test}(")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_row_is_on_the_page() {
    let page = page();
    let mut missing = Vec::new();
    for (document, last) in ROWS {
        // First cells, as "000-5 to 000-9 tables" or "001-1, 001-2, 001-4 switched".
        let cells = page.lines().filter_map(|line| line.strip_prefix("| "));
        let mut covered = vec![false; last as usize + 1];
        for cell in cells.filter(|cell| cell.starts_with(document)) {
            let prefix = format!("{document}-");
            let head = cell.split(" |").next().unwrap();
            let number = |at: usize| -> Option<usize> {
                let digits = head[at + prefix.len()..].split(|c: char| !c.is_ascii_digit()).next()?;
                digits.parse().ok()
            };
            let found: Vec<(usize, usize)> =
                head.match_indices(&prefix).filter_map(|(at, _)| Some((at, number(at)?))).collect();
            for (at, number) in &found {
                covered[*number] = true;
                let range = head[..*at].ends_with(" to ");
                let before = found.iter().rev().find(|(earlier, _)| earlier < at);
                if let Some((_, first)) = before.filter(|_| range) {
                    covered[*first..*number].fill(true);
                }
            }
        }
        missing
            .extend((1..=last).filter(|row| !covered[*row as usize]).map(|row| format!("{document}-{row}")));
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_name_of_the_references_names_a_port_and_a_network() {
    for name in NAMES {
        let text = format!(
            "[[network]]\nname = \"{name}\"\n[[port]]\nname = \"{name}\"\nkind = \"tap\"\nnetwork = \"{name}\"\n"
        );
        let config = shunt_config::parse(&text, name).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(config.port(name).is_some() && config.network(name).is_some());
    }
}

/// A daemon that has them all: what the documents `grep` for in `list interface` and `list port` is there.
#[test]
fn every_name_of_the_references_is_found_in_the_lists_of_a_daemon() {
    require!(root(), tool("grep"), file("/dev/net/tun"), shuntd());
    let node = Netns::new().unwrap();
    // The devices have names of their own: `lo` is there, and `eth0@if41` is none that a device can have.
    let section = |(n, name): (usize, &&str)| {
        format!(
            "[[network]]\nname = \"net{n}\"\n[[port]]\nname = \"{name}\"\nkind = \"tap\"\n\
             device = \"t{n}\"\nnetwork = \"net{n}\"\n"
        )
    };
    let sections: String = NAMES.iter().enumerate().map(section).collect();
    let config = format!("[memory]\nhugepages = \"never\"\n{sections}");
    let shuntd = Shuntd::start_in(&node, &config).unwrap();
    let file = shuntd.dir().join("list");
    for list in ["interface", "port"] {
        fs::write(&file, shuntd.cli_text(&["list", list]).unwrap()).unwrap();
        for name in NAMES {
            let line = format!("^name  *: *\"\\?{name}\"\\?$");
            let found = Cmd::new(["grep", "-c", &line, file.to_str().unwrap()]).run().unwrap();
            assert_eq!(
                found.stdout,
                "1\n",
                "{name} in `shunt list {list}`: {}",
                fs::read_to_string(&file).unwrap()
            );
            // As the documents have it: a part of the name, and the lines behind it.
            let shown = Cmd::new(["grep", "-A5", name, file.to_str().unwrap()]).check().unwrap().stdout;
            assert!(shown.lines().count() >= 5, "{name}: {shown}");
        }
    }
}

#[test]
fn the_top_level_is_as_asked() {
    let entries = fs::read_dir(root()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.') && !["Cargo.lock", "target"].contains(&name.as_str()));
    names.sort();
    assert_eq!(names, TOP);
}

/// All Rust files below `folder`.
fn rust(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

/// A package that a crate names and uses no line of would be there for show.
#[test]
fn packages_that_were_asked_for_are_used() {
    let crates = ["ffi", "config", "switch"].map(|name| root().join(name));
    let uses = |folder: &PathBuf, package: &str| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let mut files = vec![folder.join("build.rs")];
        rust(&folder.join("src"), &mut files);
        let code =
            |line: &str| !line.trim_start().starts_with("//") && line.contains(&format!("{package}::"));
        let used = |file: &PathBuf| fs::read_to_string(file).is_ok_and(|text| text.lines().any(code));
        manifest.lines().any(|line| line.starts_with(&format!("{package} ="))) && files.iter().any(used)
    };
    let idle = PACKAGES.into_iter().filter(|package| !crates.iter().any(|folder| uses(folder, package)));
    assert_eq!(idle.collect::<Vec<_>>(), [""; 0]);
}
