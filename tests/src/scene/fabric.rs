//! The physical switch between the nodes, in a namespace of its own.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::{Bridge, Interface, LabError, Netns, Ovs, Veth, ovs};

const BRIDGE: &str = "br0";

/// How long both sides of a bond may take to agree: two seconds of waiting for other links, and some LACPDUs.
const AGREE: Duration = Duration::from_secs(30);

/// A physical switch. Its ports have the names of what is plugged in.
pub struct Fabric {
    /// Bonds, with so many links each.
    bonds: RefCell<Vec<(String, usize)>>,
    // Before the namespace: it removes its devices.
    ovs: Option<Ovs>,
    netns: Netns,
}

impl Fabric {
    /// A kernel bridge; it forwards tagged frames as any others.
    ///
    /// # Errors
    /// The kernel has no bridge.
    pub fn bridge() -> Result<Self, LabError> {
        let netns = place()?;
        Bridge::new(&netns)?;
        Ok(Self { bonds: RefCell::default(), ovs: None, netns })
    }

    /// Open vSwitch, which tells VLANs apart.
    ///
    /// # Errors
    /// It does not start.
    pub fn vlan_switch() -> Result<Self, LabError> {
        let netns = place()?;
        let ovs = Ovs::start_in(&netns)?;
        ovs.add_bridge(BRIDGE)?;
        Ok(Self { bonds: RefCell::default(), ovs: Some(ovs), netns })
    }

    /// A cable to `device` of a place. `columns` are those of Open vSwitch's port; a kernel bridge has none.
    ///
    /// # Errors
    /// A step fails.
    pub fn cable(
        &self,
        name: &str,
        place: &Netns,
        device: &Interface<'_>,
        columns: &[&str],
    ) -> Result<(), LabError> {
        let port = self.plug(name, place, device)?;
        match &self.ovs {
            None => self.netns.exec(&["ip", "link", "set", "dev", &port, "master", BRIDGE]).map(drop),
            Some(ovs) => {
                ovs::plain(place, device.name)?;
                ovs.add_port(BRIDGE, &port, columns)
            }
        }
    }

    /// A wire to `device` of a place; the name of the switch's end.
    fn plug(&self, name: &str, place: &Netns, device: &Interface<'_>) -> Result<String, LabError> {
        // 15 characters at most: as much of the place's name as the device's leaves.
        let short: String = name.chars().take(14_usize.saturating_sub(device.name.len())).collect();
        let port = format!("{short}.{}", device.name);
        // It ends with either namespace.
        std::mem::forget(Veth::pair(&port, Some(&self.netns), place, device)?);
        Ok(port)
    }

    /// Cables to `devices` of a place, which are one link by LACP, called `bond`. `columns` are those of Open vSwitch's port.
    ///
    /// # Errors
    /// A step fails, or the switch is a kernel bridge.
    pub fn bond(
        &self,
        name: &str,
        place: &Netns,
        bond: &str,
        devices: &[&str],
        columns: &[&str],
    ) -> Result<(), LabError> {
        let Some(ovs) = &self.ovs else {
            return Err(LabError::Missing(
                "a bond needs a switch that speaks LACP: `vlan_switch`".to_owned(),
            ));
        };
        let mut ports = Vec::new();
        for device in devices {
            ports.push(self.plug(name, place, &Interface { name: device, ..Interface::default() })?);
            ovs::plain(place, device)?;
        }
        let bond = format!("{name}.{bond}");
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        let lacp = ["lacp=active", "bond_mode=balance-tcp", "other_config:lacp-time=fast"];
        ovs.add_bond(BRIDGE, &bond, &ports, &[columns, &lacp].concat())?;
        self.bonds.borrow_mut().push((bond, ports.len()));
        Ok(())
    }

    /// Waits until the switch uses all links of all its bonds.
    ///
    /// # Errors
    /// They do not agree in time: with what the switch says of them.
    pub fn until_agreed(&self) -> Result<(), LabError> {
        let Some(ovs) = &self.ovs else { return Ok(()) };
        let deadline = Instant::now() + AGREE;
        for (bond, links) in self.bonds.borrow().iter() {
            loop {
                let text = ovs.appctl(&["bond/show", bond])?;
                if text.matches(": enabled").count() == *links {
                    break;
                }
                if Instant::now() >= deadline {
                    return Err(LabError::Missing(format!("{bond} does not come up: {text}")));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// Where its ports are.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }
}

/// A namespace that only forwards: its kernel says nothing of its own on the cables, as a port of a switch does not.
fn place() -> Result<Netns, LabError> {
    let netns = Netns::named("switch")?;
    netns.exec(&[
        "sysctl",
        "-qw",
        "net.ipv6.conf.all.disable_ipv6=1",
        "net.ipv6.conf.default.disable_ipv6=1",
    ])?;
    Ok(netns)
}
