//! Two nodes with a pod each, joined by a cable, the pods in one VXLAN network: carried by two daemons, or by the kernel's own
//! bridge and VXLAN device. And one node with both pods, to hold against.

use anyhow::{Context, Result, ensure};
use shunt_tests::{Bridge, Interface, Netns, Ping, Veth};

use crate::cores;
use crate::pods::{address, quiet};
use crate::switch::Switch;

/// What is left of 1500 bytes inside VXLAN over IPv4.
const MTU: u32 = 1450;
const VNI: u32 = 2;
/// Answers that every table on the way needs.
const FIRST_PINGS: u32 = 3;

/// Who carries the pods' frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `shuntd`, one on each node, whose only worker is adaptive.
    Shunt,
    /// The kernel.
    Kernel,
}

/// Two pods and what is between them.
pub struct Pair {
    /// The daemons; none with the kernel.
    pub switches: Vec<Switch>,
    /// The pods, each with the address of its index.
    pub pods: [Netns; 2],
    _nodes: Vec<Netns>,
}

impl Pair {
    /// Both pods on one node.
    ///
    /// # Errors
    /// Not root, or a daemon does not start.
    pub fn on_one_node(carrier: Carrier) -> Result<Self> {
        let node = quiet()?;
        let pods = [quiet()?, quiet()?];
        for (index, pod) in pods.iter().enumerate() {
            plug(&node, pod, index)?;
        }
        let switches = match carrier {
            Carrier::Kernel => {
                let bridge = Bridge::new(&node)?;
                (0..2).try_for_each(|index| bridge.add(&device(index)))?;
                Vec::new()
            }
            Carrier::Shunt => {
                let ports: String = (0..2).map(|index| port(&device(index), "default", "")).collect();
                vec![Switch::start(&node, &(worker() + &ports))?]
            }
        };
        let pair = Self { switches, pods, _nodes: vec![node] };
        pair.meet()
    }

    /// A pod on each of two nodes.
    ///
    /// # Errors
    /// Not root, a daemon does not start, or the kernel has no VXLAN.
    pub fn on_two_nodes(carrier: Carrier) -> Result<Self> {
        let nodes = [quiet()?, quiet()?];
        let pods = [quiet()?, quiet()?];
        let uplink = Interface { name: "uplink", ..Interface::default() };
        // It ends with the namespaces.
        std::mem::forget(Veth::pair("uplink", Some(&nodes[0]), &nodes[1], &uplink)?);
        let mut switches = Vec::new();
        for (index, (node, pod)) in nodes.iter().zip(&pods).enumerate() {
            plug(node, pod, index)?;
            match carrier {
                Carrier::Kernel => by_kernel(node, index)?,
                Carrier::Shunt => switches.push(Switch::start(node, &(worker() + &overlay(index)))?),
            }
        }
        let pair = Self { switches, pods, _nodes: nodes.into() };
        pair.meet()
    }

    /// Frames that the daemons received, all of them together.
    ///
    /// # Errors
    /// One is gone.
    pub fn frames(&mut self) -> Result<u64> {
        self.switches.iter_mut().map(|switch| Ok(switch.only_worker()?.packets)).sum()
    }

    /// Who carries, what it dropped.
    ///
    /// # Errors
    /// A daemon is gone.
    pub fn drops(&mut self) -> Result<String> {
        self.switches.iter_mut().map(Switch::drops).collect()
    }

    fn meet(self) -> Result<Self> {
        let to = address(1);
        // The first ones may meet a port that is just being opened.
        for _ in 0..5 {
            let ping = Ping { count: FIRST_PINGS, ..Ping::to(&to) }.run(&self.pods[0])?;
            if ping.received == FIRST_PINGS {
                return Ok(self);
            }
        }
        ensure!(self.switches.is_empty(), "the pods do not reach each other: {}", {
            let mut pair = self;
            pair.drops().context("ask for the drops")?
        });
        anyhow::bail!("the pods do not reach each other through the kernel")
    }
}

/// One adaptive worker, on the switch's core.
fn worker() -> String {
    crate::switch::one_worker("adaptive", "auto")
}

/// Host end of the pod of this index.
fn device(index: usize) -> String {
    format!("pod{index}")
}

fn mac(index: usize) -> String {
    format!("02:00:00:77:00:0{}", index + 1)
}

fn outer(index: usize) -> String {
    format!("192.0.2.{}", index + 1)
}

fn plug(node: &Netns, pod: &Netns, index: usize) -> Result<()> {
    let (address, mac) = (address(index) + "/24", mac(index));
    let inside = Interface { mac: Some(&mac), addrs: &[address.as_str()], mtu: MTU, ..Interface::default() };
    // It ends with the namespaces.
    std::mem::forget(Veth::pair(&device(index), Some(node), pod, &inside)?);
    Ok(())
}

fn port(device: &str, network: &str, keys: &str) -> String {
    format!(
        "[[port]]\nname = \"{device}\"\nnetwork = \"{network}\"\nkind = \"veth\"\ndevice = \"{device}\"\n{keys}"
    )
}

/// Configuration of node `index`.
fn overlay(index: usize) -> String {
    let endpoint = |index| format!("[{{ mac = \"{}\", ip = [\"{}\"] }}]", mac(index), address(index));
    let other = 1 - index;
    format!(
        "[[router]]\nname = \"outside\"\n\
         [[network]]\nname = \"transport\"\nrouter = \"outside\"\ngateways = [\"{}/24\"]\n\
         gateway_mac = \"02:00:00:99:00:0{}\"\n\
         [[network]]\nname = \"overlay\"\nkind = \"overlay\"\nencap = \"vxlan\"\nvni = {VNI}\ntransport = \"transport\"\n\
         learning = false\nflood = true\npeers = [{{ address = \"{}\", endpoints = {} }}]\n{}{}",
        outer(index),
        index + 1,
        outer(other),
        endpoint(other),
        port("uplink", "transport", ""),
        port(&device(index), "overlay", &format!("endpoints = {}\n", endpoint(index))),
    )
}

/// Bridge and VXLAN device of node `index`: the other node is told, nothing is learned from the wire.
fn by_kernel(node: &Netns, index: usize) -> Result<()> {
    let (vni, local, remote) = (VNI.to_string(), outer(index), outer(1 - index));
    let prefix = local.clone() + "/24";
    Interface { name: "uplink", addrs: &[prefix.as_str()], ..Interface::default() }.configure(node)?;
    let mut add = vec!["ip", "link", "add", "vxlan.2", "type", "vxlan", "id", &vni, "dstport", "4789"];
    add.extend(["local", &local, "remote", &remote, "nolearning"]);
    node.exec(&add)?;
    Interface { name: "vxlan.2", mtu: MTU, ..Interface::default() }.configure(node)?;
    let bridge = Bridge::new(node)?;
    for device in ["vxlan.2", &device(index)] {
        bridge.add(device)?;
    }
    Ok(())
}

/// Where things run, for the notes of a row.
pub fn placement() -> String {
    format!(
        "programs in the pods on core {} in all; the daemons' workers, adaptive, on core {}; the kernel works in its callers' context",
        cores::HOUSE,
        cores::SWITCH
    )
}
