//! A Linux bridge in a namespace of its own: proves the lab without shuntd, and is the yardstick for its figures.

use crate::{LabError, Netns};

/// A bridge that learns and floods, without spanning tree.
#[derive(Debug)]
pub struct Bridge<'a> {
    node: &'a Netns,
}

impl<'a> Bridge<'a> {
    const NAME: &'static str = "br0";

    /// Makes `br0` in `node`; it ends with the namespace.
    ///
    /// # Errors
    /// When the kernel has no bridge.
    pub fn new(node: &'a Netns) -> Result<Self, LabError> {
        node.exec(&[
            "ip",
            "link",
            "add",
            Self::NAME,
            "type",
            "bridge",
            "stp_state",
            "0",
            "forward_delay",
            "0",
        ])?;
        node.exec(&["ip", "link", "set", "dev", Self::NAME, "up"])?;
        Ok(Self { node })
    }

    /// Makes a device of `node` a port of the bridge.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn add(&self, device: &str) -> Result<(), LabError> {
        self.node.exec(&["ip", "link", "set", "dev", device, "master", Self::NAME])?;
        Ok(())
    }
}
