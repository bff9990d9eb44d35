//! Open vSwitch with its user-space datapath: a switch with VLANs, and the far end of tunnels that this kernel may lack.
//!
//! Debian's `openvswitch-switch` without its service: database, sockets and log are in a directory of its own, the daemon in a
//! namespace of the test. Its ports are packet sockets without offloads: whoever sends into one must finish checksums and cut
//! segments itself ([`plain`]). Cost: half a second to start.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Cmd, LabError, Netns, Output, Running};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const START: Duration = Duration::from_secs(20);
/// The daemon without DPDK, whichever of the two Debian's alternatives has chosen.
pub const DAEMON: &str = "/usr/lib/openvswitch-switch/ovs-vswitchd";

/// A running Open vSwitch. Dropped: both daemons are ended, its devices go with the namespace.
pub struct Ovs {
    vswitchd: Running,
    _database: Running,
    dir: TempDir,
}

impl Ovs {
    /// Starts it in `node`, without any bridge.
    ///
    /// # Errors
    /// It is not installed or does not start: with its log.
    pub fn start_in(node: &Netns) -> Result<Self, LabError> {
        let dir = tempfile::tempdir().map_err(LabError::io("make a directory for Open vSwitch"))?;
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        private(dir.path(), ["ovsdb-tool", "create", &at("conf.db"), SCHEMA]).check()?;
        let remote = format!("--remote=punix:{}", at("db.sock"));
        let (control, log) = (format!("--unixctl={}", at("db.ctl")), format!("--log-file={}", at("db.log")));
        let server = ["ovsdb-server", &at("conf.db"), &remote, &control, &log, "-vconsole:off"];
        let database = private(dir.path(), server).spawn()?;
        wait_for(&dir.path().join("db.sock"), &at("db.log"))?;
        vsctl(dir.path(), &["--no-wait", "init"])?;
        let (control, log) =
            (format!("--unixctl={}", at("vswitchd.ctl")), format!("--log-file={}", at("vswitchd.log")));
        let daemon = [DAEMON, &format!("unix:{}", at("db.sock")), &control, &log, "-vconsole:off"];
        let vswitchd = private(dir.path(), daemon).within(node).spawn()?;
        wait_for(&dir.path().join("vswitchd.ctl"), &at("vswitchd.log"))?;
        Ok(Self { vswitchd, _database: database, dir })
    }

    /// `ovs-vsctl`, waiting until the daemon has done it.
    ///
    /// # Errors
    /// It is refused or not done in time: with the end of the daemon's log.
    pub fn vsctl(&self, args: &[&str]) -> Result<Output, LabError> {
        let log = self.dir.path().join("vswitchd.log");
        vsctl(self.dir.path(), args)
            .map_err(|error| LabError::Missing(format!("{error}\n{}", tail(&log.to_string_lossy()))))
    }

    /// `ovs-appctl` to the daemon.
    ///
    /// # Errors
    /// It refuses.
    pub fn appctl(&self, args: &[&str]) -> Result<String, LabError> {
        let target = self.dir.path().join("vswitchd.ctl").to_string_lossy().into_owned();
        let cmd = private(self.dir.path(), ["ovs-appctl", "-t", &target]).args(args.iter().copied());
        Ok(cmd.check()?.stdout)
    }

    /// `ovs-ofctl`: flows of a bridge, which is named as its second argument.
    ///
    /// # Errors
    /// It is refused: with what it said.
    pub fn ofctl(&self, args: &[&str]) -> Result<(), LabError> {
        private(self.dir.path(), ["ovs-ofctl"]).args(args.iter().copied()).check().map(drop)
    }

    /// A bridge of the user-space datapath that learns as a switch does; its internal port has its name.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn add_bridge(&self, name: &str) -> Result<(), LabError> {
        let set = ["--", "set", "bridge", name, "datapath_type=netdev"];
        self.vsctl(&[&["add-br", name][..], &set].concat()).map(drop)
    }

    /// Makes `devices` one port of a bridge, with columns of its record.
    ///
    /// # Errors
    /// A device is not there, or a column is not known.
    pub fn add_bond(
        &self,
        bridge: &str,
        name: &str,
        devices: &[&str],
        columns: &[&str],
    ) -> Result<(), LabError> {
        self.vsctl(&[&["add-bond", bridge, name][..], devices, columns].concat()).map(drop)
    }

    /// Makes a device a port of a bridge, with columns of its record (`tag=1155`, `trunks=1,2`).
    ///
    /// # Errors
    /// There is no such device, or a column is not known.
    pub fn add_port(&self, bridge: &str, device: &str, columns: &[&str]) -> Result<(), LabError> {
        self.vsctl(&[&["add-port", bridge, device][..], columns].concat()).map(drop)
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

/// Makes `device` finish checksums and cut segments before frames leave it: what a packet socket without `PACKET_VNET_HDR` on the
/// other end of a veth pair needs, for it passes on half-made frames as they are.
///
/// # Errors
/// `ethtool` fails or is not there.
pub fn plain(netns: &Netns, device: &str) -> Result<(), LabError> {
    netns.exec(&["ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off"]).map(drop)
}

/// A command with every place of Open vSwitch in `dir`.
fn private<'a>(dir: &Path, argv: impl IntoIterator<Item = &'a str>) -> Cmd {
    let places = ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"];
    places.into_iter().fold(Cmd::new(argv).timeout(START), |cmd, place| cmd.env(place, dir.to_string_lossy()))
}

fn vsctl(dir: &Path, args: &[&str]) -> Result<Output, LabError> {
    let database = format!("--db=unix:{}", dir.join("db.sock").display());
    let cmd = private(dir, ["ovs-vsctl", &database, "--timeout=15"]).args(args.iter().copied());
    let output = cmd.check()?;
    // What the daemon could not do is said, and the status is 0.
    if output.stderr.contains("Error detected") {
        return Err(LabError::Failed { command: cmd.line(), status: output.status, output: output.stderr });
    }
    Ok(output)
}

fn wait_for(path: &Path, log: &str) -> Result<(), LabError> {
    let deadline = Instant::now() + START;
    while !path.exists() {
        if Instant::now() >= deadline {
            return Err(LabError::Missing(format!(
                "Open vSwitch did not make {}: {}",
                path.display(),
                tail(log)
            )));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn tail(log: &str) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interface, Ping, Veth, require};

    #[test]
    fn access_ports_of_one_vlan_reach_each_other_and_no_others() {
        require!(root(), tool("ethtool"), file(DAEMON), file("/dev/net/tun"));
        let node = Netns::new().unwrap();
        let ovs = Ovs::start_in(&node).unwrap();
        ovs.add_bridge("br0").unwrap();
        let pods: Vec<_> = (1..=3)
            .map(|n| {
                let pod = Netns::new().unwrap();
                let address = format!("10.0.0.{n}/24");
                let inside = Interface { addrs: &[&address], ..Interface::default() };
                let veth = Veth::pair(&format!("p{n}"), Some(&node), &pod, &inside).unwrap();
                plain(&pod, "eth0").unwrap();
                ovs.add_port("br0", veth.host_name(), &[if n == 3 { "tag=1156" } else { "tag=1155" }])
                    .unwrap();
                (pod, veth)
            })
            .collect();
        let from = &pods[0].0;
        assert_eq!(Ping { count: 5, ..Ping::to("10.0.0.2") }.run(from).unwrap().received, 5);
        assert_eq!(Ping { wait_ms: 200, ..Ping::to("10.0.0.3") }.run(from).unwrap().received, 0);
        assert!(ovs.vsctl(&["add-port", "br0", "no-such-device"]).is_err());
    }
}
