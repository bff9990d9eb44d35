//! The broadcast domains of a configuration, which are the networks of a topology: every configured network, then the VLANs
//! of its bridges that no underlay network is; and which ports are attached to which of them.

use std::collections::HashMap;

use shunt_config::{Config, Network, NetworkKind, NetworkName, Port, PortName};

use crate::ids::NetworkId;
use crate::topology::Vlans;

/// A broadcast domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Domain {
    /// Its name: the network's, or bridge and VLAN.
    pub(super) name: NetworkName,
    /// Place in the configuration of the network whose settings it has.
    pub(super) network: usize,
    /// The VLAN of a bridge that it is.
    pub(super) vlan: Option<u16>,
}

/// All domains. Configured networks have their place in the configuration as their number.
#[derive(Clone, Debug, Default)]
pub(super) struct Domains {
    all: Vec<Domain>,
    attached: HashMap<PortName, Attached>,
}

/// Where the frames of a port belong: its own network or that of its untagged frames, and its VLANs when it takes notice of
/// tags.
pub(super) type Attached = (NetworkId, Option<Vlans>);

impl Domains {
    /// Those of `config`.
    pub(super) fn of(config: &Config) -> Self {
        let networks = || config.networks.iter().enumerate();
        let mut all: Vec<Domain> = networks()
            .map(|(index, network)| Domain { name: network.name.clone(), network: index, vlan: None })
            .collect();
        for (index, network) in networks() {
            let Some(bridge) = network.bridge() else { continue };
            let free =
                bridge.vlans.iter().filter(|vid| config.underlay_of(&network.name, Some(*vid)).is_none());
            all.extend(free.filter_map(|vid| {
                // Validation has seen that the name is not too long.
                let name = NetworkName::new(&format!("{}.{vid}", network.name)).ok()?;
                Some(Domain { name, network: index, vlan: Some(vid) })
            }));
        }
        let mut domains = Self { all, attached: HashMap::new() };
        let attached =
            config.ports.iter().filter_map(|port| Some((port.name.clone(), domains.attach(config, port)?)));
        domains.attached = attached.collect();
        domains
    }

    /// All of them, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NetworkId, &Domain)> {
        self.all.iter().enumerate().map(|(index, domain)| (NetworkId::new(index), domain))
    }

    /// The one of that name.
    pub(super) fn named(&self, name: &NetworkName) -> Option<(NetworkId, &Domain)> {
        self.iter().find(|(_, domain)| domain.name == *name)
    }

    /// Where `port` is attached.
    pub(super) fn attached(&self, port: &PortName) -> Option<&Attached> {
        self.attached.get(port)
    }

    /// The name of the domain of untagged frames of `port`.
    pub(super) fn of_untagged(&self, port: &PortName) -> Option<&NetworkName> {
        self.all.get(self.attached(port)?.0.index()).map(|domain| &domain.name)
    }

    /// True when `port` is attached to other domains in `next`, by name.
    pub(super) fn moves(&self, next: &Self, port: &PortName) -> bool {
        let names = |domains: &Self| {
            let (network, vlans) = domains.attached(port)?;
            let tags = vlans.iter().flat_map(Vlans::attachments);
            let all = std::iter::once((*network, None)).chain(tags);
            let named =
                all.map(|(id, tag)| (domains.all.get(id.index()).map(|domain| domain.name.clone()), tag));
            Some(named.collect::<Vec<_>>())
        };
        names(self) != names(next)
    }

    fn id(&self, name: &NetworkName) -> Option<NetworkId> {
        self.named(name).map(|(id, _)| id)
    }

    /// The domain of a VLAN of `bridge`, or of its untagged frames.
    fn of_vlan(&self, config: &Config, bridge: &Network, vlan: Option<u16>) -> Option<NetworkId> {
        if let Some(underlay) = config.underlay_of(&bridge.name, vlan) {
            return self.id(&underlay.name);
        }
        match vlan {
            None => self.id(&bridge.name),
            Some(_) => {
                let mine = |domain: &Domain| {
                    domain.vlan == vlan && config.networks.get(domain.network) == Some(bridge)
                };
                self.iter().find(|(_, domain)| mine(domain)).map(|(id, _)| id)
            }
        }
    }

    /// Linear in the number of networks for each VLAN of the port.
    fn attach(&self, config: &Config, port: &Port) -> Option<Attached> {
        let network = config.network(port.network.as_str())?;
        let own = self.id(&network.name)?;
        let access = |id| Some((id, Some(Vlans { untagged: Some(id), ..Vlans::default() })));
        match &network.kind {
            NetworkKind::Underlay(underlay) => {
                let bridge = config.network(underlay.bridge.as_str()).and_then(Network::bridge);
                match bridge.is_some_and(|bridge| !bridge.vlans.is_empty()) {
                    true => access(own),
                    false => Some((own, None)),
                }
            }
            NetworkKind::Bridge(bridge) if bridge.vlans.is_empty() => {
                Some((self.of_vlan(config, network, None)?, None))
            }
            NetworkKind::Bridge(_) if port.trunk.is_empty() => {
                access(self.of_vlan(config, network, port.vlan)?)
            }
            NetworkKind::Bridge(_) => {
                let takes = port.takes_untagged();
                let untagged = takes.then(|| self.of_vlan(config, network, port.native_vlan)).flatten();
                // A native VLAN is sent without a tag.
                let tagged = port.trunk.iter().filter(|vid| port.native_vlan != Some(*vid));
                let vlans = Vlans {
                    untagged,
                    tagged: tagged
                        .filter_map(|vid| Some((vid, self.of_vlan(config, network, Some(vid))?)))
                        .collect(),
                    service: port.service_tag,
                };
                Some((untagged.unwrap_or(own), Some(vlans)))
            }
            _ => Some((own, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [[network]]
        name = "br-phy"
        vlans = [100, "1155-1157"]
        [[network]]
        name = "pods"
        kind = "underlay"
        bridge = "br-phy"
        vlan = 1155
        mode = "bridged"
        [[network]]
        name = "plain"
        [[port]]
        name = "eth0"
        kind = "veth"
        device = "e0"
        network = "br-phy"
        trunk = ["1155-1156"]
        native_vlan = 100
        [[port]]
        name = "pod"
        kind = "veth"
        device = "e1"
        network = "pods"
        [[port]]
        name = "host"
        kind = "veth"
        device = "e2"
        network = "br-phy"
        vlan = 1157
        [[port]]
        name = "mgm"
        kind = "veth"
        device = "e3"
        network = "br-phy"
        [[port]]
        name = "strict"
        kind = "veth"
        device = "e5"
        network = "br-phy"
        trunk = ["1155-1156"]
        [[port]]
        name = "lax"
        kind = "veth"
        device = "e6"
        network = "br-phy"
        trunk = [1156]
        untagged = true
        [[port]]
        name = "other"
        kind = "veth"
        device = "e4"
        network = "plain"
    "#;

    #[test]
    fn every_vlan_is_a_domain_and_ports_are_attached_to_theirs() {
        let config = shunt_config::parse(TEXT, "test").unwrap_or_else(|errors| panic!("{errors}"));
        let domains = Domains::of(&config);
        let names: Vec<_> = domains.iter().map(|(_, domain)| domain.name.to_string()).collect();
        assert_eq!(names, ["br-phy", "pods", "plain", "br-phy.100", "br-phy.1156", "br-phy.1157"]);
        let attached = |name: &str| domains.attached(&config.port(name).unwrap().name).unwrap().clone();
        let id = NetworkId::new;
        let access = |index| Some(Vlans { untagged: Some(id(index)), ..Vlans::default() });
        let trunk =
            Vlans { untagged: Some(id(3)), tagged: [(1155, id(1)), (1156, id(4))].into(), service: false };
        assert_eq!(attached("eth0"), (id(3), Some(trunk)));
        assert_eq!(attached("pod"), (id(1), access(1)));
        assert_eq!(attached("host"), (id(5), access(5)));
        assert_eq!(attached("mgm"), (id(0), access(0)), "the bridge's untagged domain");
        assert_eq!(attached("other"), (id(2), None), "tags are payload");
        let vlans = |port| attached(port).1.unwrap();
        assert_eq!((vlans("strict").untagged, vlans("strict").network(None)), (None, None));
        assert_eq!(vlans("strict").network(Some(1156)), Some(id(4)));
        assert_eq!(vlans("lax").network(None), Some(id(0)), "the bridge's untagged domain");
    }
}
