//! A node of a lab scene in this process and without privilege: the configuration that `scripts/lab` uses, with each port a
//! `net_pcap` device. What the ports receive is played from files, and what they send is written to files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shunt_config::{BondMode, LacpRate, PortKind};
use shunt_switch::control::trace::compose::compose;
use shunt_switch::control::trace::expression::Probe;
use shunt_switch::control::{Control, Handle, Running};
use tempfile::TempDir;

use super::capture;

const PATIENCE: Duration = Duration::from_secs(20);

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A machine that has said who it is before the test begins, as its gratuitous ARP would: port, tag, Ethernet address, IPv4 address.
pub(crate) type Hello = (&'static str, Option<u16>, &'static str, &'static str);

/// A node that runs.
pub(crate) struct Site {
    running: Option<Running>,
    handle: Handle,
    _directory: TempDir,
    /// The files that each port writes: a bond one for each member.
    ends: Vec<(String, Vec<PathBuf>)>,
    /// The port that is to be added last, with what it receives.
    late: Option<shunt_config::Port>,
}

impl Site {
    /// Starts the node of `scene` (a path under `tests/`). `hellos` come in first; the port `late` and its frames can be added
    /// when these are known ([`Site::play`]).
    #[track_caller]
    pub(crate) fn start(scene: &str, hellos: &[Hello], late: Option<(&str, &[Vec<u8>])>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config =
            shunt_config::load(&root().join("tests").join(scene)).unwrap_or_else(|e| panic!("{e}"));
        config.workers.max_sleep = Duration::from_micros(100);
        let mut ends = Vec::new();
        for port in &mut config.ports {
            let name = port.name.as_str();
            let frames: Vec<Vec<u8>> = match late {
                Some((late, frames)) if late == name => frames.to_vec(),
                _ => hellos.iter().filter(|(port, ..)| *port == name).map(hello).collect(),
            };
            let files = into_captures(port, directory.path(), &frames);
            ends.push((port.name.to_string(), files));
        }
        let late = late.map(|(name, _)| {
            let at = config.ports.iter().position(|port| port.name.as_str() == name);
            config.ports.remove(at.unwrap_or_else(|| panic!("{scene} has no port {name}")))
        });
        let mut control = Control::start(&config).unwrap();
        let errors = control.apply_at_start(&config);
        assert!(errors.is_empty(), "{errors:?}");
        let running = control.spawn().unwrap();
        let handle = running.handle();
        let site = Self { running: Some(running), handle, _directory: directory, ends, late };
        site.until_known(hellos);
        site
    }

    pub(crate) fn call<R: Send + 'static>(&self, job: impl FnOnce(&mut Control) -> R + Send + 'static) -> R {
        self.handle.call(job).unwrap()
    }

    /// Waits until every machine that said hello is known, with its address where the switch has addresses too.
    #[track_caller]
    fn until_known(&self, hellos: &[Hello]) {
        let known = |control: &mut Control| {
            let rows = control.picture().neighbors("").unwrap();
            let stations = control.fdb().into_iter().map(|row| row.mac);
            (stations.collect::<Vec<_>>(), rows.into_iter().map(|row| row.address).collect::<Vec<_>>())
        };
        let routed = |address: &str| address.starts_with("10.186.152.") || !address.starts_with("10.186.");
        self.until("who has said hello", |site| {
            let (stations, neighbors) = site.call(known);
            hellos.iter().all(|(.., mac, address)| {
                let has = |rows: &[String], what: &str| rows.iter().any(|row| row == what);
                has(&stations, mac) && (!routed(address) || has(&neighbors, address))
            })
        });
    }

    /// Polls until `holds`.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let rows = self.call(|control| control.fdb());
            assert!(Instant::now() < deadline, "not in time: {what}; {rows:#?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Adds the late port, waits until all `count` frames that it plays were carried, ends the node, and returns what each
    /// port has sent and what was dropped meanwhile.
    #[track_caller]
    pub(crate) fn play(mut self, count: u64) -> (BTreeMap<String, Vec<Vec<u8>>>, Vec<String>) {
        let port = self.late.take().expect("a port to add");
        let carried = |control: &mut Control| control.workers()[0].packets;
        let (earlier, before) = (self.call(drops), self.call(carried));
        self.call(move |control| control.add_port(port)).unwrap();
        // The worker counts a burst when it has been handed on.
        self.until("all frames are carried", |site| site.call(carried) == before + count);
        let mut lost = self.call(drops);
        lost.retain(|row| !earlier.contains(row));
        self.running.take().unwrap().stop();
        let ends = std::mem::take(&mut self.ends).into_iter();
        let sent =
            ends.map(|(name, files)| (name, files.iter().flat_map(|file| capture::read(file)).collect()));
        (sent.collect(), lost)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

/// Who has lost frames, why, and how many.
fn drops(control: &mut Control) -> Vec<String> {
    let rows = control.drops();
    rows.iter().map(|row| format!("{} {} x{}", row.port, row.reason, row.count)).collect()
}

fn hello((_, tag, mac, address): &Hello) -> Vec<u8> {
    let tag = tag.map_or_else(String::new, |vid| format!(" && vlan.id=={vid}"));
    let text = format!(
        "eth.src=={mac} && eth.dst==ff:ff:ff:ff:ff:ff && arp.op==request && arp.spa=={address} && arp.tpa=={address} && arp.sha=={mac}{tag}"
    );
    compose(&Probe::parse(&text).unwrap()).unwrap()
}

/// Where the frames that a port sends are written. In device arguments and file names some characters mean something.
fn written(directory: &Path, name: &str) -> PathBuf {
    directory.join(name.replace(['@', ':', '.'], "_")).with_extension("out")
}

/// Makes the port one that plays `frames`; of a bond the first member. Nobody speaks LACP to a file: the bond is static.
/// Returns the files that it writes.
fn into_captures(port: &mut shunt_config::Port, directory: &Path, frames: &[Vec<u8>]) -> Vec<PathBuf> {
    let PortKind::Bond(bond) = &mut port.kind else {
        into_capture(port, directory, frames);
        return vec![written(directory, port.name.as_str())];
    };
    (bond.mode, bond.rate) = (BondMode::Static, LacpRate::default());
    for (number, member) in bond.members.iter_mut().enumerate() {
        let frames = if number == 0 { frames } else { &[] };
        member.kind = captures(member.name.as_str(), directory, frames);
    }
    bond.members.iter().map(|member| written(directory, member.name.as_str())).collect()
}

/// Makes the port one that plays `frames`. What the node's own stack would have (a TAP's Ethernet address) is given.
fn into_capture(port: &mut shunt_config::Port, directory: &Path, frames: &[Vec<u8>]) {
    if let PortKind::Tap { peer_mac: Some(mac), .. } = &port.kind {
        port.stations.push(*mac);
    }
    port.kind = captures(port.name.as_str(), directory, frames);
}

/// A device that plays `frames` and writes what is sent.
fn captures(name: &str, directory: &Path, frames: &[Vec<u8>]) -> PortKind {
    let output = written(directory, name);
    let input = output.with_extension("in");
    let mut devargs = format!("net_pcap_{}", output.file_stem().unwrap().to_str().unwrap());
    if !frames.is_empty() {
        capture::write(&input, frames);
        devargs += &format!(",rx_pcap={}", input.display());
    }
    devargs += &format!(",tx_pcap={}", output.display());
    PortKind::Dpdk { devargs }
}
