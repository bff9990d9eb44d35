//! A node under test: a namespace with the daemon in it, and pods on its ports.
//!
//! [`Plan`] says what is wanted, [`Node::start`] makes it and waits until every port is up. Cost: a second.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary has this as a module of its own, and uses a part of it"
)]

pub mod capture;
pub mod disturb;
pub mod pod;
pub mod station;
pub mod traffic;
pub mod uso;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use shunt_tests::{Netns, Shuntd};
use tempfile::TempDir;

pub use pod::{Kind, Pod};
pub use station::Station;

/// How long a change of state may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// What a node is to have.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Its pods; the first has the addresses 10.0.0.1 and fd00::1, the port `pod1`, and so on.
    pub pods: &'a [Kind],
    /// MTU of the network `default` and of the pods.
    pub mtu: u32,
    /// Keys added to every pod's port, one line each.
    pub keys: &'a str,
    /// The sections of the configuration before the networks; `""` is ordinary memory and one worker.
    pub head: &'a str,
    /// Keys of the network `default`.
    pub network: &'a str,
    /// More sections. `DIR` stands for a directory of the test.
    pub tail: &'a str,
    /// No IPv6 in the pods: they then send nothing by themselves.
    pub quiet: bool,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self { pods: &[], mtu: 1500, keys: "", head: MEMORY, network: "", tail: "", quiet: false }
    }
}

/// Ordinary pages: what the machine has of hugepages is for others.
pub const MEMORY: &str = "[memory]\nhugepages = \"never\"\n";

/// A running node. Fields are dropped in this order: the daemon before its pods, these before the node.
pub struct Node {
    /// The daemon.
    pub shuntd: Shuntd,
    /// Its pods in the order of the plan.
    pub pods: Vec<Pod>,
    /// Where the daemon and the host ends of veth pairs are.
    pub netns: Netns,
    dir: TempDir,
    config: String,
}

/// One row of `shunt show ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub oper_up: bool,
    pub link: bool,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub drops: u64,
    pub missed: u64,
    pub deaths: u64,
    pub about: String,
}

impl Node {
    /// Makes the namespaces, starts the daemon and waits until all its ports are open.
    pub fn start(plan: &Plan<'_>) -> Self {
        let node = Self::launch(plan);
        node.wait_ports("every port is open", |ports| ports.values().all(|port| port.oper_up));
        let attached = |port: &Port| port.link;
        node.pods.iter().for_each(|pod| node.wait_port(&pod.port, "its other side is there", attached));
        node
    }

    /// The same without waiting for the ports.
    pub fn launch(plan: &Plan<'_>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let netns = Netns::new().unwrap();
        if plan.quiet {
            pod::silence(&netns);
        }
        let mut pods = Vec::new();
        for (n, kind) in (1..).zip(plan.pods) {
            pods.push(Pod::new(*kind, n, plan.mtu, plan.quiet, &netns));
        }
        let mut config = format!("{}\n[[network]]\nname = \"default\"\nmtu = {}\n", plan.head, plan.mtu);
        config += &format!("{}\n", plan.network);
        for pod in &pods {
            config += &format!("{}{}\n", pod.section(), plan.keys);
        }
        config += plan.tail;
        let config = config.replace("DIR", &dir.path().to_string_lossy());
        let shuntd = Shuntd::start_in(&netns, &config).unwrap();
        pods.iter_mut().for_each(|pod| pod.attach(dir.path(), plan.mtu));
        Self { shuntd, pods, netns, dir, config }
    }

    /// The configuration it was started with.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// A directory for sockets and files: `DIR` in the plan.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command of the CLI that must work; its JSON.
    #[track_caller]
    pub fn show(&self, what: &str) -> Value {
        self.shuntd.cli(&["show", what, "--json"]).unwrap()
    }

    /// A command of the CLI that must work; its words, separated by blanks.
    #[track_caller]
    pub fn cli(&self, words: &str) -> String {
        self.shuntd.cli_text(&words.split(' ').collect::<Vec<_>>()).unwrap()
    }

    /// All ports by name.
    #[track_caller]
    pub fn ports(&self) -> BTreeMap<String, Port> {
        ports(&self.show("ports"))
    }

    /// One port.
    #[track_caller]
    pub fn port(&self, name: &str) -> Port {
        self.ports().remove(name).unwrap_or_else(|| panic!("there is no port {name}"))
    }

    /// Polls the ports until `holds`.
    #[track_caller]
    pub fn wait_ports(&self, what: &str, holds: impl Fn(&BTreeMap<String, Port>) -> bool) {
        let waited =
            self.shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, |answer| holds(&ports(answer)));
        waited.unwrap_or_else(|error| panic!("waiting for: {what}: {error}"));
    }

    /// Polls one port until `holds`.
    #[track_caller]
    pub fn wait_port(&self, name: &str, what: &str, holds: impl Fn(&Port) -> bool) {
        self.wait_ports(&format!("{name}: {what}"), |ports| ports.get(name).is_some_and(&holds));
    }

    /// Dropped frames by `port: reason`.
    #[track_caller]
    pub fn drops(&self) -> BTreeMap<String, u64> {
        let rows = self.show("drops");
        let rows = rows.as_array().expect("drops are a list");
        let key =
            |row: &Value| format!("{}: {}", row["port"].as_str().unwrap(), row["reason"].as_str().unwrap());
        rows.iter().map(|row| (key(row), row["count"].as_u64().unwrap())).collect()
    }

    /// Nothing was dropped by the switch, and nothing was lost below it.
    #[track_caller]
    pub fn assert_no_loss(&self) {
        let (drops, ports) = (self.drops(), self.ports());
        let missed: Vec<_> = ports.iter().filter(|(_, port)| port.missed > 0).collect();
        assert!(drops.is_empty() && missed.is_empty(), "dropped {drops:?}, missed {missed:?}");
    }

    /// Nothing was dropped by the switch. What the kernel could not hand to it in time, because the machine is busy, is printed.
    #[track_caller]
    pub fn assert_no_drops(&self) {
        let missed: Vec<_> = self.ports().into_iter().filter(|(_, port)| port.missed > 0).collect();
        println!("missed: {missed:?}");
        assert_eq!(self.drops(), BTreeMap::new());
    }

    /// The generation in force.
    #[track_caller]
    pub fn generation(&self) -> u64 {
        self.show("topology")["generation"].as_u64().unwrap()
    }

    /// `(free, all)` packet buffers.
    #[track_caller]
    pub fn buffers(&self) -> (u64, u64) {
        let topology = self.show("topology");
        (topology["mbufs"][1].as_u64().unwrap(), topology["mbufs"][0].as_u64().unwrap())
    }

    /// The ports that a MAC address was learned or given on, over all networks.
    #[track_caller]
    pub fn learned(&self, mac: &str) -> Vec<String> {
        behind(&self.show("fdb"), mac)
    }

    /// Polls until the address is behind exactly these ports.
    #[track_caller]
    pub fn wait_learned(&self, mac: &str, ports: &[&str]) {
        let holds = |fdb: &Value| behind(fdb, mac) == ports;
        let waited = self.shuntd.cli_until(&["show", "fdb", "--json"], PATIENCE, holds);
        waited.unwrap_or_else(|error| panic!("{mac} is not behind {ports:?}: {error}"));
    }
}

fn behind(fdb: &Value, mac: &str) -> Vec<String> {
    let rows = fdb.as_array().expect("the fdb is a list").iter();
    rows.filter(|row| row["mac"] == mac).map(|row| row["port"].as_str().unwrap().to_owned()).collect()
}

fn ports(answer: &Value) -> BTreeMap<String, Port> {
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap_or_else(|| panic!("no {key} in {row}"));
    let flag = |row: &Value, key: &str| row[key].as_bool().unwrap_or_else(|| panic!("no {key} in {row}"));
    let port = |row: &Value| Port {
        oper_up: flag(row, "oper_up"),
        link: flag(row, "link"),
        rx_packets: number(row, "rx_packets"),
        rx_bytes: number(row, "rx_bytes"),
        tx_packets: number(row, "tx_packets"),
        tx_bytes: number(row, "tx_bytes"),
        drops: number(row, "drops"),
        missed: number(row, "missed"),
        deaths: number(row, "deaths"),
        about: row["about"].as_str().unwrap_or_default().to_owned(),
    };
    let rows = answer.as_array().unwrap_or_else(|| panic!("ports are no list: {answer}"));
    rows.iter().map(|row| (row["name"].as_str().unwrap().to_owned(), port(row))).collect()
}
