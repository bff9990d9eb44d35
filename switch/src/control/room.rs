//! VLANs whose tag has no room: a device that takes frames of 1514 bytes and no longer ones takes a tagged packet of 1496 bytes. Networks
//! of such VLANs that are given no MTU have that one, and what rides on them has less.
//!
//! What a device takes is known when its port is open, so this follows the ports; cost: a look at each port for a publication.

use std::collections::BTreeSet;

use shunt_config::{MTU_ETHERNET, MTU_TAGGED, Network, NetworkName, Port, PortKind};

use super::Control;
use super::ports::PortState;
use crate::port::{ETHERNET, TAG};

impl Control {
    /// [`shunt_config::Config::network_mtu`], with what is known of devices.
    pub(super) fn network_mtu(&self, network: &Network) -> u16 {
        self.config.network_mtu_where(network, &|network| self.cramped.contains(&network.name))
    }

    /// [`shunt_config::Config::port_mtu`], with what is known of devices.
    pub(super) fn port_mtu(&self, port: &Port) -> u16 {
        self.config.port_mtu_where(port, &|network| self.cramped.contains(&network.name))
    }

    /// Finds out anew which networks have no room for their tag; the TAPs in those that change follow.
    pub(super) fn follow_room(&mut self) {
        let now = self.without_room();
        if now == self.cramped {
            return;
        }
        for network in now.difference(&self.cramped) {
            tracing::info!(%network, mtu = MTU_TAGGED, "an uplink has no room for the tag of larger packets");
        }
        let before: Vec<_> = self.ports.iter().map(|port| (port.id, self.port_mtu(&port.config))).collect();
        self.cramped = now;
        for (id, before) in before {
            let Some(port) = self.ports.get(id) else { continue };
            let mtu = self.port_mtu(&port.config);
            let is_tap = matches!(port.config.kind, PortKind::Tap { .. } | PortKind::Tun { .. });
            if mtu != before
                && is_tap
                && let Some(port) = self.ports.get_mut(id)
            {
                port.set_mtu(mtu);
            }
        }
    }

    /// The underlay networks whose tagged frames leave by a port without room.
    fn without_room(&self) -> BTreeSet<NetworkName> {
        let mut found = BTreeSet::new();
        for port in self.ports.iter().filter(|port| has_no_room(port)) {
            let Some((_, Some(vlans))) = self.domains.attached(&port.config.name) else { continue };
            let networks = vlans.tagged.iter().filter_map(|(_, id)| self.config.networks.get(id.index()));
            found.extend(networks.filter(|it| it.underlay().is_some()).map(|it| it.name.clone()));
        }
        found
    }
}

/// True when 1496 bytes and a tag fit into what the device takes, and 1500 do not.
fn has_no_room(port: &PortState) -> bool {
    let tagged = |mtu: u16| u32::from(mtu) + ETHERNET + TAG;
    port.longest().is_some_and(|longest| (tagged(MTU_TAGGED)..tagged(MTU_ETHERNET)).contains(&longest))
}
