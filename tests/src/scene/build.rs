//! What a scene is made of: namespaces and wires first, then the daemons, then the wait until every port is open.

use std::time::Duration;

use serde_json::Value;

use super::{Check, Fabric, Node, Scene, Station};
use crate::{Cmd, Interface, LabError, Netns, Shuntd, Veth};

/// How long a change of state may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A pod to be: a namespace with `eth0`, whose host end is a device of the node.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// Name in the scene.
    pub name: &'static str,
    /// Its node.
    pub node: &'a str,
    /// Name of the host end, as the node's configuration has it.
    pub device: &'a str,
    /// Hardware address; the kernel's choice when `None`.
    pub mac: Option<&'a str>,
    /// Addresses with prefix length, v4 and v6.
    pub addrs: &'a [&'a str],
    /// MTU in bytes.
    pub mtu: u32,
    /// Routes in the form of `ip route add`, without the device.
    pub routes: &'a [&'a str],
}

impl Default for Pod<'_> {
    fn default() -> Self {
        Self { name: "", node: "", device: "", mac: None, addrs: &[], mtu: 1500, routes: &[] }
    }
}

/// A scene that is being made.
pub struct Builder {
    name: &'static str,
    nodes: Vec<(&'static str, Netns, String)>,
    stations: Vec<Station>,
    fabric: Option<Fabric>,
}

impl Builder {
    /// Nothing yet.
    pub fn new(name: &'static str) -> Self {
        Self { name, nodes: Vec::new(), stations: Vec::new(), fabric: None }
    }

    /// A node with its configuration; its daemon starts with [`Builder::finish`].
    ///
    /// # Errors
    /// The namespace cannot be made.
    pub fn node(&mut self, name: &'static str, config: &str) -> Result<(), LabError> {
        self.nodes.push((name, Netns::named(name)?, config.to_owned()));
        Ok(())
    }

    /// A physical switch that takes no notice of VLAN tags: a kernel bridge, large sends stay whole.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn bridge(&mut self) -> Result<(), LabError> {
        self.fabric = Some(Fabric::bridge()?);
        Ok(())
    }

    /// A physical switch with VLANs: Open vSwitch, for this kernel's bridge may be without `vlan_filtering`.
    ///
    /// # Errors
    /// Open vSwitch does not start.
    pub fn vlan_switch(&mut self) -> Result<(), LabError> {
        self.fabric = Some(Fabric::vlan_switch()?);
        Ok(())
    }

    /// A cable from `device` of a node or station to the physical switch; `columns` say what the switch's port is (`trunks=1155`).
    ///
    /// # Errors
    /// A step fails.
    ///
    /// # Panics
    /// There is no such place, or no physical switch yet.
    pub fn cable(&mut self, place: &str, device: &Interface<'_>, columns: &[&str]) -> Result<(), LabError> {
        let fabric = self.fabric.as_ref().expect("a cable needs a physical switch");
        fabric.cable(place, self.place(place), device, columns)
    }

    /// Cables from `devices` of a node to the physical switch, which takes them for one link by LACP.
    ///
    /// # Errors
    /// A step fails.
    ///
    /// # Panics
    /// There is no such place, or no physical switch with VLANs yet.
    pub fn bond(&self, place: &str, name: &str, devices: &[&str], columns: &[&str]) -> Result<(), LabError> {
        let fabric = self.fabric.as_ref().expect("a cable needs a physical switch");
        fabric.bond(place, self.place(place), name, devices, columns)
    }

    /// A pod of a node.
    ///
    /// # Errors
    /// A step fails.
    pub fn pod(&mut self, pod: &Pod<'_>) -> Result<(), LabError> {
        let netns = Netns::named(pod.name)?;
        let inside = Interface { name: "eth0", mac: pod.mac, addrs: pod.addrs, mtu: pod.mtu };
        // It ends with the pod's namespace.
        std::mem::forget(Veth::pair(pod.device, Some(self.place(pod.node)), &netns, &inside)?);
        routes(&netns, "eth0", pod.routes)?;
        self.stations.push(Station { name: pod.name, netns });
        Ok(())
    }

    /// A machine without devices: a router or a host outside. IPv4 and IPv6 packets for others are forwarded when `router`.
    ///
    /// # Errors
    /// A step fails.
    pub fn machine(&mut self, name: &'static str, router: bool) -> Result<(), LabError> {
        let netns = Netns::named(name)?;
        if router {
            netns.exec(&["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])?;
        }
        self.stations.push(Station { name, netns });
        Ok(())
    }

    /// A wire between two stations, each end with its addresses.
    ///
    /// # Errors
    /// A step fails.
    pub fn wire(&self, a: (&str, &Interface<'_>), b: (&str, &Interface<'_>)) -> Result<(), LabError> {
        let (left, right) = (self.place(a.0), self.place(b.0));
        std::mem::forget(Veth::pair(a.1.name, Some(left), right, b.1)?);
        a.1.configure(left)
    }

    /// Routes of a station by one of its devices.
    ///
    /// # Errors
    /// The kernel refuses one.
    pub fn routes(&self, place: &str, device: &str, lines: &[&str]) -> Result<(), LabError> {
        routes(self.place(place), device, lines)
    }

    /// Starts the daemons and waits until every port is open and has a carrier.
    ///
    /// # Errors
    /// A daemon does not start, or a port does not open.
    pub fn finish(self, checks: Vec<Check>, hints: &'static [&'static str]) -> Result<Scene, LabError> {
        let Self { name, nodes, stations, fabric } = self;
        let mut scene = Scene { name, nodes: Vec::new(), stations, checks, hints, fabric };
        for (name, netns, config) in nodes {
            let shuntd = Shuntd::start_in(&netns, &config)?;
            scene.nodes.push(Node { name, shuntd, netns });
        }
        for node in &scene.nodes {
            node.shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, all_up)?;
            node.shuntd.cli_until(&["show", "bonds", "--json"], PATIENCE, all_carry)?;
        }
        if let Some(fabric) = &scene.fabric {
            fabric.until_agreed()?;
        }
        Ok(scene)
    }

    /// The namespace of a node or station.
    ///
    /// # Panics
    /// There is none of that name yet.
    pub fn place(&self, name: &str) -> &Netns {
        let nodes = self.nodes.iter().map(|(known, netns, _)| (known, netns));
        let stations = self.stations.iter().map(|station| (&station.name, &station.netns));
        let mut found = nodes.chain(stations).filter(|(known, _)| **known == name);
        found.next().map(|(_, netns)| netns).unwrap_or_else(|| panic!("no {name} in the scene yet"))
    }
}

fn routes(netns: &Netns, device: &str, lines: &[&str]) -> Result<(), LabError> {
    for line in lines {
        let family = if line.contains(':') { "-6" } else { "-4" };
        let words = ["ip", family, "route", "add"].into_iter().chain(line.split(' ')).chain(["dev", device]);
        Cmd::new(words).within(netns).check()?;
    }
    Ok(())
}

fn all_carry(bonds: &Value) -> bool {
    let members = bonds.as_array().into_iter().flatten().filter_map(|bond| bond["members"].as_array());
    members.flatten().all(|member| member["distributing"] == true)
}

fn all_up(ports: &Value) -> bool {
    let rows = ports.as_array().into_iter().flatten();
    rows.into_iter().all(|row| row["oper_up"] == true && row["link"] == true)
}
