//! What an interface inside a pod looks like, whichever way it came there.

use crate::{LabError, Netns};

/// Name, addresses and MTU of an interface inside a namespace.
#[derive(Clone, Copy, Debug)]
pub struct Interface<'a> {
    /// Name inside the namespace, at most 15 characters.
    pub name: &'a str,
    /// Hardware address; the kernel's choice when `None`.
    pub mac: Option<&'a str>,
    /// Addresses with prefix length, v4 and v6.
    pub addrs: &'a [&'a str],
    /// MTU in bytes, without the Ethernet header.
    pub mtu: u32,
}

impl Default for Interface<'_> {
    fn default() -> Self {
        Self { name: "eth0", mac: None, addrs: &[], mtu: 1500 }
    }
}

impl Interface<'_> {
    /// Sets MAC, MTU and addresses of a device that stands in `netns` under this name already, and brings it up.
    ///
    /// # Errors
    /// When a step of `ip` fails: no such device, an MTU the driver refuses.
    pub fn configure(&self, netns: &Netns) -> Result<(), LabError> {
        let mtu = self.mtu.to_string();
        let mut link = vec!["ip", "link", "set", "dev", self.name, "mtu", &mtu];
        if let Some(mac) = self.mac {
            link.extend(["address", mac]);
        }
        netns.exec(&link)?;
        for addr in self.addrs {
            let mut add = vec!["ip", "addr", "add", addr, "dev", self.name];
            if addr.contains(':') {
                // Duplicate detection would hold the address back for a second.
                add.push("nodad");
            }
            netns.exec(&add)?;
        }
        netns.exec(&["ip", "link", "set", "dev", self.name, "up"])?;
        Ok(())
    }
}
