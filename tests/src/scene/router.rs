//! The physical router of a scene: a leg in each VLAN, and a machine outside behind it.

use super::Builder;
use crate::{Interface, LabError};

/// A leg of the router.
pub(super) struct Vlan {
    /// Name of its device in the router.
    pub(super) device: &'static str,
    /// The VLAN as the physical switch's port has it.
    pub(super) tag: &'static str,
    /// The router's addresses there: the gateways.
    pub(super) addrs: &'static [&'static str],
}

/// Adds `router` with these legs, and `internet` (8.8.8.8), which sends everything by it.
pub(super) fn add(build: &mut Builder, legs: &[Vlan]) -> Result<(), LabError> {
    build.machine("router", true)?;
    for Vlan { device, tag, addrs } in legs {
        build.cable("router", &Interface { name: device, addrs, ..Interface::default() }, &[tag])?;
    }
    build.machine("internet", false)?;
    let out = Interface { name: "outside", addrs: &["8.8.8.1/24"], ..Interface::default() };
    let far = Interface { name: "eth0", addrs: &["8.8.8.8/24"], ..Interface::default() };
    build.wire(("router", &out), ("internet", &far))?;
    build.routes("internet", "eth0", &["default via 8.8.8.1"])
}
