//! Host ports: what a network's gateway and the node's own stack have in common, from the configuration.

use std::collections::BTreeSet;

use shunt_config::{Config, Network, Port, PortName};

use crate::port::Shared;

/// The host port of `network`, when the switch has addresses there that it can share.
pub(super) fn port(network: &Network) -> Option<&PortName> {
    network.underlay()?.host_port.as_ref()
}

/// What `port` shares with the gateway of its network, if it is its host port.
pub(super) fn shared(config: &Config, port: &PortName) -> Option<Shared> {
    let network = config.networks.iter().find(|network| self::port(network) == Some(port))?;
    let addresses = network.gateways.clone();
    (!addresses.is_empty()).then(|| Shared { mac: network.gateway_mac(), addresses })
}

/// The host ports that are in both configurations and share something else in `next`: they are opened anew. Those that
/// changed otherwise are not among them.
pub(super) fn changed<'a>(now: &'a Config, next: &'a Config) -> Vec<(&'a Port, &'a Port)> {
    let names: BTreeSet<&PortName> = now.networks.iter().chain(&next.networks).filter_map(port).collect();
    let differs = |name: &PortName| {
        let find = |config: &'a Config| config.ports.iter().find(|port| port.name == *name);
        let (from, to) = (find(now)?, find(next)?);
        (from == to && shared(now, name) != shared(next, name)).then_some((from, to))
    };
    names.into_iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [[router]]
        name = "node"
        [[network]]
        name = "br-phy"
        [[network]]
        name = "ctl"
        kind = "underlay"
        bridge = "br-phy"
        router = "node"
        gateways = ["10.0.1.1/24", "fd00:1::1/64"]
        gateway_mac = "02:00:00:00:fe:01"
        host_port = "ctl"
        [[port]]
        name = "ctl"
        kind = "tap"
        network = "ctl"
        [[port]]
        name = "other"
        kind = "tap"
        network = "ctl"
    "#;

    fn config(text: &str) -> Config {
        shunt_config::parse(text, "test").unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn a_host_port_has_the_gateways_addresses_and_is_opened_anew_when_they_change() {
        let now = config(TEXT);
        let of = |name: &str| shared(&now, &PortName::new(name).unwrap());
        let both = of("ctl").unwrap();
        assert_eq!(both.mac.to_string(), "02:00:00:00:fe:01");
        assert_eq!(
            both.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.1.1/24", "fd00:1::1/64"]
        );
        assert_eq!(of("other"), None);

        let anew =
            |next: &Config| changed(&now, next).iter().map(|(_, to)| to.name.to_string()).collect::<Vec<_>>();
        assert!(anew(&now).is_empty());
        assert_eq!(anew(&config(&TEXT.replace("10.0.1.1/24", "10.0.1.2/24"))), ["ctl"]);
        assert_eq!(anew(&config(&TEXT.replace("fe:01", "fe:02"))), ["ctl"]);
        assert_eq!(anew(&config(&TEXT.replace("host_port = \"ctl\"", ""))), ["ctl"]);
        assert!(anew(&config(&TEXT.replace("name = \"other\"", "name = \"another\""))).is_empty());
    }
}
