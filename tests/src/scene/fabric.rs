//! The physical switch between the nodes, in a namespace of its own.

use crate::{Bridge, Interface, LabError, Netns, Ovs, Veth, ovs};

const BRIDGE: &str = "br0";

/// A physical switch. Its ports have the names of what is plugged in.
pub struct Fabric {
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
        let netns = Netns::named("switch")?;
        Bridge::new(&netns)?;
        Ok(Self { ovs: None, netns })
    }

    /// Open vSwitch, which tells VLANs apart.
    ///
    /// # Errors
    /// It does not start.
    pub fn vlan_switch() -> Result<Self, LabError> {
        let netns = Netns::named("switch")?;
        let ovs = Ovs::start_in(&netns)?;
        ovs.add_bridge(BRIDGE)?;
        Ok(Self { ovs: Some(ovs), netns })
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
        // 15 characters at most: as much of the place's name as the device's leaves.
        let short: String = name.chars().take(14_usize.saturating_sub(device.name.len())).collect();
        let port = format!("{short}.{}", device.name);
        // It ends with either namespace.
        std::mem::forget(Veth::pair(&port, Some(&self.netns), place, device)?);
        match &self.ovs {
            None => self.netns.exec(&["ip", "link", "set", "dev", &port, "master", BRIDGE]).map(drop),
            Some(ovs) => {
                ovs::plain(place, device.name)?;
                ovs.add_port(BRIDGE, &port, columns)
            }
        }
    }

    /// Where its ports are.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }
}
