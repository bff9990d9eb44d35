//! The far end of a tunnel: a machine of its own with an uplink, and a station behind the tunnel. Code that is not ours does the work:
//! the kernel's VXLAN device, or Open vSwitch's user-space datapath.

use shunt_tests::ovs::plain;
use shunt_tests::{Interface, LabError, Netns, Ovs, Veth};

use super::plan::{self, Kind, Side, Transport};

/// A far end. Its station is where the overlay addresses are.
pub(crate) struct Far {
    // Before the namespaces: it removes its devices.
    ovs: Option<Ovs>,
    /// Where the uplink is.
    pub(crate) machine: Netns,
    pod: Option<Netns>,
}

/// How the kernel's VXLAN device knows who is where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fdb {
    /// From traffic; what it does not know goes to the one peer.
    Learning,
    /// Told: this station behind the peer, with its neighbour entries.
    Static {
        /// The station's MAC address.
        mac: &'static str,
    },
}

impl Far {
    /// A machine with a VXLAN device of the kernel. The device itself is the station: what it sends is cut behind the tunnel header,
    /// if at all.
    pub(crate) fn kernel(side: Side, transport: Transport, fdb: Fdb) -> Result<Self, LabError> {
        let machine = Netns::new()?;
        let other = side.other();
        let (vni, local) = (plan::VNI.to_string(), side.outer(transport));
        // Its uplink is put in place by the test; VXLAN wants a device only for multicast.
        let mut add = vec!["ip", "link", "add", "vxlan.2", "type", "vxlan", "id", &vni, "dstport", "4789"];
        add.extend(["local", local]);
        match fdb {
            Fdb::Learning => add.extend(["remote", other.outer(transport)]),
            Fdb::Static { .. } => add.push("nolearning"),
        }
        machine.exec(&add)?;
        let mtu = plan::inner_mtu(Kind::Vxlan, transport);
        let (v4, v6) = side.inner_prefixes();
        Interface { name: "vxlan.2", mac: Some(side.mac()), addrs: &[&v4, &v6], mtu }.configure(&machine)?;
        if let Fdb::Static { mac } = fdb {
            let peer = other.outer(transport);
            machine.exec(&["bridge", "fdb", "append", mac, "dev", "vxlan.2", "dst", peer])?;
            for address in [other.inner_v4(), other.inner_v6()] {
                machine.exec(&["ip", "neigh", "add", address, "lladdr", mac, "dev", "vxlan.2"])?;
            }
        }
        Ok(Self { ovs: None, machine, pod: None })
    }

    /// A machine with Open vSwitch: one bridge with the uplink and our outer addresses, one with a pod and the tunnel.
    pub(crate) fn ovs(side: Side, kind: Kind, transport: Transport) -> Result<Self, LabError> {
        let (machine, pod) = (Netns::new()?, Netns::new()?);
        let ovs = Ovs::start_in(&machine)?;
        ovs.add_bridge("br-phy")?;
        ovs.add_bridge("br-int")?;
        let mtu = plan::inner_mtu(kind, transport);
        let (v4, v6) = side.inner_prefixes();
        let inside = Interface { mac: Some(side.mac()), addrs: &[&v4, &v6], mtu, ..Interface::default() };
        // It ends with the pod's namespace.
        std::mem::forget(Veth::pair("pod", Some(&machine), &pod, &inside)?);
        plain(&pod, "eth0")?;
        ovs.add_port("br-int", "pod", &[])?;
        let options = format!("options:remote_ip={}", side.other().outer(transport));
        let local = format!("options:local_ip={}", side.outer(transport));
        let key = format!("options:key={}", plan::VNI);
        let kind = format!("type={}", kind.name());
        ovs.add_port(
            "br-int",
            "tunnel",
            &["--", "set", "interface", "tunnel", &kind, &options, &local, &key],
        )?;
        Ok(Self { ovs: Some(ovs), machine, pod: Some(pod) })
    }

    /// Makes Open vSwitch take from the tunnel only what has OVN's option with the ports `heard` (ingress, egress), and put the
    /// ports `said` into the option of what it sends: as OVN's flows do, by `tun_metadata0` (ovs-ofctl(8)).
    pub(crate) fn ovn(&self, heard: (u32, u32), said: (u32, u32)) -> Result<(), LabError> {
        let Some(ovs) = &self.ovs else {
            return Err(LabError::Missing("only Open vSwitch has flows that read options".into()));
        };
        let value = |(ingress, egress): (u32, u32)| format!("{:#010x}", ingress << 16 | egress);
        ovs.ofctl(&["del-flows", "br-int"])?;
        ovs.ofctl(&["del-tlv-map", "br-int"])?;
        ovs.ofctl(&["add-tlv-map", "br-int", "{class=0x0102,type=0x80,len=4}->tun_metadata0"])?;
        let from = format!("in_port=tunnel,tun_metadata0={},actions=output:pod", value(heard));
        let to = format!("in_port=pod,actions=set_field:{}->tun_metadata0,output:tunnel", value(said));
        ovs.ofctl(&["add-flow", "br-int", &from])?;
        ovs.ofctl(&["add-flow", "br-int", &to])
    }

    /// The namespace with the overlay addresses.
    pub(crate) fn station(&self) -> &Netns {
        self.pod.as_ref().unwrap_or(&self.machine)
    }

    /// Plugs the machine into a cable whose end in it is `uplink`, and gives it its outer addresses.
    pub(crate) fn plug(&self, side: Side) -> Result<(), LabError> {
        let (v4, v6) = side.outer_prefixes();
        let addresses: &[&str] = &[&v4, &v6];
        match &self.ovs {
            None => Interface { name: "uplink", addrs: addresses, ..Interface::default() }
                .configure(&self.machine),
            Some(ovs) => {
                ovs.add_port("br-phy", "uplink", &[])?;
                self.machine.exec(&["ip", "link", "set", "dev", "uplink", "up"])?;
                Interface { name: "br-phy", addrs: addresses, ..Interface::default() }
                    .configure(&self.machine)
            }
        }
    }

    /// Makes what comes from the other end of the cable such that this far end understands it: Open vSwitch's packet socket takes
    /// neither unfinished checksums nor large sends, so `uplink` in `node` finishes and cuts them.
    pub(crate) fn suit(&self, node: &Netns) -> Result<(), LabError> {
        if self.ovs.is_some() { plain(node, "uplink") } else { Ok(()) }
    }

    /// What there is to see of it, for whoever looks for a cause.
    pub(crate) fn state(&self) -> String {
        let shown = |argv: &[&str]| match self.machine.exec(argv) {
            Ok(output) => format!("{}:\n{}", argv.join(" "), output.stdout),
            Err(error) => error.to_string(),
        };
        let mut text = shown(&["ip", "-s", "link"]) + &shown(&["ip", "neigh"]);
        match &self.ovs {
            None => text += &shown(&["bridge", "fdb", "show", "dev", "vxlan.2"]),
            Some(ovs) => {
                for what in [
                    "tnl/neigh/show",
                    "ovs/route/show",
                    "tnl/ports/show",
                    "dpctl/dump-flows",
                    "coverage/show",
                ] {
                    text += &format!(
                        "{what}:\n{}",
                        ovs.appctl(&[what]).unwrap_or_else(|error| error.to_string())
                    );
                }
            }
        }
        text
    }
}
