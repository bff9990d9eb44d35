//! Open vSwitch with DPDK (Debian `openvswitch-switch-dpdk`): one PMD thread on the switch's core, the rest on the house core.
//!
//! Nothing of an installed Open vSwitch is touched: the database, the sockets and the log are in a directory of its own, the
//! process is in a namespace of its own.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use shunt_tests::{Cmd, Netns, Output, Running};
use tempfile::TempDir;

use crate::{cores, stop};

const DAEMON: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// MiB of hugepages: its pool takes as many buffers as fit, 262,144 at most.
const MEMORY: u32 = 1024;
/// 2 MiB pages that must be free: those, and what DPDK needs beside.
pub const PAGES: u32 = 600;
const START: Duration = Duration::from_secs(30);

/// A running Open vSwitch. Dropped: both daemons are ended.
pub struct Ovs {
    vswitchd: Running,
    _database: Running,
    node: Netns,
    dir: TempDir,
}

impl Ovs {
    /// Starts it without any bridge.
    ///
    /// # Errors
    /// It is not installed, or there are too few hugepages: with its log.
    pub fn start() -> Result<Self> {
        for file in [DAEMON, SCHEMA] {
            ensure!(
                Path::new(file).exists(),
                "no {file}: install openvswitch-switch-dpdk (scripts/setup bench)"
            );
        }
        let dir = tempfile::tempdir().context("make a directory for Open vSwitch")?;
        let node = Netns::new()?;
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let command = |argv: Vec<String>| private(dir.path(), argv);
        command(["ovsdb-tool".into(), "create".into(), at("conf.db"), SCHEMA.into()].into()).check()?;
        let database = command(
            [
                "ovsdb-server".into(),
                at("conf.db"),
                format!("--remote=punix:{}", at("db.sock")),
                format!("--unixctl={}", at("db.ctl")),
                format!("--log-file={}", at("db.log")),
                "-vconsole:off".into(),
            ]
            .into(),
        )
        .spawn()?;
        wait_for(&dir.path().join("db.sock"))?;
        vsctl(dir.path(), &["--no-wait", "init"])?;
        let config = [
            "dpdk-init=true".to_owned(),
            format!("dpdk-socket-mem={MEMORY}"),
            format!("dpdk-lcore-mask={:#x}", 1 << cores::HOUSE),
            format!("pmd-cpu-mask={:#x}", 1 << cores::SWITCH),
            "dpdk-extra=--in-memory --no-pci".to_owned(),
            // Flows that a short measurement does not touch stay.
            "max-idle=60000".to_owned(),
            "pmd-perf-metrics=false".to_owned(),
        ];
        let keys: Vec<String> = config
            .iter()
            .map(|pair| {
                pair.split_once('=')
                    .map_or(String::new(), |(key, value)| format!("other_config:{key}=\"{value}\""))
            })
            .collect();
        let mut set = vec!["--no-wait", "set", "Open_vSwitch", "."];
        set.extend(keys.iter().map(String::as_str));
        vsctl(dir.path(), &set)?;
        let vswitchd = command(
            [
                DAEMON.into(),
                format!("unix:{}", at("db.sock")),
                format!("--unixctl={}", at("vswitchd.ctl")),
                format!("--pidfile={}", at("vswitchd.pid")),
                format!("--log-file={}", at("vswitchd.log")),
                "-vconsole:off".into(),
            ]
            .into(),
        )
        .within(&node)
        .spawn()?;
        let ovs = Self { vswitchd, _database: database, node, dir };
        wait_for(&ovs.dir.path().join("vswitchd.ctl")).with_context(|| ovs.log())?;
        ovs.wait_for_dpdk()?;
        Ok(ovs)
    }

    fn wait_for_dpdk(&self) -> Result<()> {
        let deadline = Instant::now() + START;
        while self.vsctl(&["get", "Open_vSwitch", ".", "dpdk_initialized"])?.stdout.trim() != "true" {
            ensure!(Instant::now() < deadline, "DPDK did not start in Open vSwitch: {}", self.log());
            stop::pause(Duration::from_millis(50))?;
        }
        Ok(())
    }

    /// `ovs-vsctl`, waiting until the daemon has done it.
    ///
    /// # Errors
    /// It is refused or not done in time: with the log.
    pub fn vsctl(&self, args: &[&str]) -> Result<Output> {
        vsctl(self.dir.path(), args).with_context(|| self.log())
    }

    /// Makes the bridge `br0` without any rule.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn add_bridge(&self) -> Result<()> {
        let set =
            ["set", "bridge", "br0", "datapath_type=netdev", "fail-mode=secure", "protocols=OpenFlow15"];
        self.vsctl(&[&["add-br", "br0", "--"], &set[..]].concat())?;
        Ok(())
    }

    /// Gives the internal port of a bridge an address, and sets it up.
    ///
    /// # Errors
    /// It is not there.
    pub fn give_address(&self, bridge: &str, address: &str) -> Result<()> {
        self.node.exec(&["ip", "addr", "add", address, "dev", bridge])?;
        self.node.exec(&["ip", "link", "set", bridge, "up"])?;
        Ok(())
    }

    /// `ovs-ofctl add-flows` to a bridge: one rule a line.
    ///
    /// # Errors
    /// A rule is refused.
    pub fn add_flows(&self, bridge: &str, rules: &str) -> Result<()> {
        let (bridge, file) = (self.dir.path().join(format!("{bridge}.mgmt")), self.dir.path().join("rules"));
        std::fs::write(&file, rules).with_context(|| format!("write {}", file.display()))?;
        let words = ["ovs-ofctl", "-O", "OpenFlow15", "add-flows"].map(String::from);
        let places = [bridge, file].map(|path| path.to_string_lossy().into_owned());
        private(self.dir.path(), words.into_iter().chain(places).collect()).check()?;
        Ok(())
    }

    /// A directory of its own: sockets of `dpdkvhostuser` ports are there.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `ovs-appctl` to the daemon.
    ///
    /// # Errors
    /// It does not answer.
    pub fn appctl(&self, args: &[&str]) -> Result<String> {
        let target = self.dir.path().join("vswitchd.ctl").to_string_lossy().into_owned();
        let cmd = private(self.dir.path(), vec!["ovs-appctl".into(), "-t".into(), target])
            .args(args.iter().copied());
        Ok(cmd.check()?.stdout)
    }

    /// What the PMD did in `window`: frames received a second in millions, and cycles for each.
    ///
    /// # Errors
    /// A signal came, or the daemon does not answer.
    pub fn watch(&self, window: Duration) -> Result<(f64, f64)> {
        self.appctl(&["dpif-netdev/pmd-stats-clear"])?;
        stop::pause(window)?;
        let text = self.appctl(&["dpif-netdev/pmd-perf-show"])?;
        rate(&text).with_context(|| format!("no receive rate in: {text}"))
    }

    /// The end of the daemon's log.
    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("vswitchd.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        // Asked to, it removes its bridges' devices; the guards kill what does not end.
        if self.appctl(&["exit", "--cleanup"]).is_ok() {
            let _ = self.vswitchd.wait(Duration::from_secs(5));
        }
    }
}

/// A command with every place of Open vSwitch in `dir`.
fn private(dir: &Path, argv: Vec<String>) -> Cmd {
    let places = ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"];
    places.into_iter().fold(Cmd::new(argv).timeout(START), |cmd, place| cmd.env(place, dir.to_string_lossy()))
}

fn vsctl(dir: &Path, args: &[&str]) -> Result<Output> {
    let database = format!("--db=unix:{}", dir.join("db.sock").display());
    Ok(private(dir, vec!["ovs-vsctl".into(), database, "--timeout=20".into()])
        .args(args.iter().copied())
        .check()?)
}

fn wait_for(path: &Path) -> Result<()> {
    let deadline = Instant::now() + START;
    while !path.exists() {
        stop::check()?;
        ensure!(Instant::now() < deadline, "Open vSwitch did not make {}", path.display());
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Millions a second and cycles a frame from `  Rx packets:   158342301  (31668 Kpps, 82 cycles/pkt)` of the PMD.
fn rate(text: &str) -> Option<(f64, f64)> {
    let ours = text.split_once(&format!("core_id {}:", cores::SWITCH))?.1;
    let line = ours.lines().find(|line| line.trim_start().starts_with("Rx packets:"))?;
    let (kpps, rest) = line.split_once('(')?.1.split_once("Kpps")?;
    let cycles = rest.trim_start_matches(',').trim().split(' ').next()?;
    Some((kpps.trim().parse::<f64>().ok()? / 1e3, cycles.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::rate;

    const SHOWN: &str = "
Time: 01:02:03.456
Measurement duration: 5.002 s

pmd thread numa_id 0 core_id 1:

  Iterations:              4948163  (1.01 us/it)
  - Used TSC cycles:   13005512345  (100.0 % of total cycles)
  Rx packets:            158342301  (31668 Kpps, 82 cycles/pkt)
  Datapath passes:       158342301  (1.00 passes/pkt)
  Tx packets:            158342301  (31668 Kpps)
";

    #[test]
    fn the_rate_of_the_pmd_is_read() {
        assert_eq!(rate(SHOWN), Some((31.668, 82.0)));
        assert_eq!(rate("pmd thread numa_id 0 core_id 1:\n  Rx packets:  0\n"), None);
    }
}
