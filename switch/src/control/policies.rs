//! The control side of policies: the table, kept up to date with the configuration, and which networks have to look at it.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use shunt_config::{
    AdminPolicy, Cluster, Config, Network, NetworkName, Policy, PortKind, PortName, Refusal, Tier,
};

use super::Control;
use super::ports::Ports;
use crate::policy::Resolver;
use crate::table::policy::Policies as Table;

/// What the control thread has of policies.
#[derive(Debug, Default)]
pub(super) struct Policies {
    resolver: Resolver,
    table: Option<Arc<Table>>,
    /// Networks in which table 8 is asked.
    concerned: HashSet<NetworkName>,
    /// Ports that are closed until their pods are known.
    waiting: HashSet<PortName>,
}

impl Policies {
    /// Takes over the configuration.
    pub(super) fn follow(&mut self, config: &Config) {
        self.resolver.follow(&config.cluster);
        self.resolver.set_node(node_addresses(config));
        self.table = self.resolver.table();
        self.concerned = match &self.table {
            Some(table) => concerned(config, table),
            None => HashSet::new(),
        };
        self.waiting = waiting(config);
    }

    /// Takes over which ports are the node's, by their numbers.
    pub(super) fn set_ports(&mut self, config: &Config, ports: &Ports) {
        if self.table.is_none() {
            return;
        }
        let own = ports.iter().filter(|port| is_nodes(config, &port.config)).map(|port| port.id);
        if self.resolver.set_node_ports(own.collect()) {
            self.table = self.resolver.table();
        }
    }

    /// True for a port that is closed because nobody knows yet which policies are about its pod.
    pub(super) fn is_awaited(&self, port: &PortName) -> bool {
        self.waiting.contains(port)
    }

    /// The table for a network; `None` when no policy can be about what goes through it.
    pub(super) fn of(&self, network: &NetworkName) -> Option<Arc<Table>> {
        if self.concerned.contains(network) { self.table.clone() } else { None }
    }
}

/// Ports that are closed until their pods are known, and some are not.
fn waiting(config: &Config) -> HashSet<PortName> {
    let ports: Vec<&shunt_config::Port> = config.ports.iter().filter(|port| port.needs_pod).collect();
    if ports.is_empty() {
        return HashSet::new();
    }
    let Cluster { pods, .. } = &*config.cluster;
    let known: HashSet<IpAddr> = pods.iter().flat_map(|pod| pod.addresses.iter().copied()).collect();
    let waits = |port: &&shunt_config::Port| {
        port.endpoints.iter().flat_map(|endpoint| &endpoint.ip).any(|address| !known.contains(address))
    };
    ports.into_iter().filter(waits).map(|port| port.name.clone()).collect()
}

/// True for a port to the node's own stack: a device with addresses in the daemon's own namespace, or one that shares those of
/// a gateway.
fn is_nodes(config: &Config, port: &shunt_config::Port) -> bool {
    let own = match &port.kind {
        PortKind::Tap { netns: None, addresses, .. } | PortKind::Tun { netns: None, addresses, .. } => {
            !addresses.is_empty()
        }
        _ => false,
    };
    let shares = |network: &Network| {
        network.underlay().and_then(|underlay| underlay.host_port.as_ref()) == Some(&port.name)
    };
    own || config.networks.iter().any(shares)
}

/// The addresses with which the node's own stack meets its pods: those of gateways, which it shares where there is a host
/// port, and those of its ports.
fn node_addresses(config: &Config) -> BTreeSet<IpAddr> {
    let gateways = config.networks.iter().flat_map(|network| &network.gateways).map(|net| net.addr());
    let ports = config.ports.iter().filter(|port| is_nodes(config, port));
    let addresses = ports.flat_map(|port| port.kind.addresses()).map(|net| net.addr());
    gateways.chain(addresses).collect()
}

/// Networks that a pod which some policy is about may be in, and those of the same router, from which packets for it come.
/// A network that says no addresses may have any pod.
fn concerned(config: &Config, table: &Table) -> HashSet<NetworkName> {
    let has_subject = |network: &Network| {
        let cidr = network.overlay().map(|overlay| overlay.cidr.as_slice()).unwrap_or_default();
        let mut prefixes =
            network.gateways.iter().map(|net| net.trunc()).chain(cidr.iter().copied()).peekable();
        prefixes.peek().is_none() || prefixes.any(|prefix| table.has_subject_in(prefix))
    };
    let with_endpoints: HashSet<&NetworkName> = config
        .ports
        .iter()
        .filter(|port| {
            let mut addresses = port.endpoints.iter().flat_map(|endpoint| &endpoint.ip);
            addresses.any(|address| table.get(*address).is_some_and(|it| it.is_subject()))
        })
        .filter_map(|port| Some(&config.network_of(port)?.name))
        .collect();
    let own = |network: &&Network| has_subject(network) || with_endpoints.contains(&network.name);
    let own: Vec<&Network> = config.networks.iter().filter(own).collect();
    let routers: HashSet<_> = own.iter().filter_map(|network| network.router.as_ref()).collect();
    let joined = config
        .networks
        .iter()
        .filter(|network| network.router.as_ref().is_some_and(|router| routers.contains(router)));
    own.iter().copied().chain(joined).map(|network| network.name.clone()).collect()
}

/// A policy as `shunt show policies` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyRow {
    /// `admin`, `policy` or `baseline`.
    pub tier: &'static str,
    /// Of an admin policy: the lower is asked first.
    pub priority: Option<u16>,
    /// Its namespace; empty for policies of the administrator.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Pods that it is about.
    pub pods: usize,
    /// Rules about what they receive; `None` when it says nothing about that.
    pub ingress: Option<usize>,
    /// Rules about what they send.
    pub egress: Option<usize>,
    /// What it forbids is answered.
    pub rejects: bool,
}

impl Control {
    /// All policies in the order in which they are asked.
    pub fn policies(&self) -> Vec<PolicyRow> {
        let subjects = self.policies.resolver.subjects();
        let pods = |name: &str| subjects.get(name).copied().unwrap_or_default();
        let cluster = &self.config.cluster;
        let mut admin: Vec<&AdminPolicy> = cluster.admin_policies.iter().collect();
        admin.sort_by_key(|policy| (policy.tier, policy.name.as_str()));
        let (above, below): (Vec<_>, Vec<_>) = admin.into_iter().partition(|it| it.tier != Tier::Baseline);
        let of_admin = |policy: &AdminPolicy| {
            let rules = |count: usize| (count > 0).then_some(count);
            let (tier, priority) = match policy.tier {
                Tier::Admin(priority) => ("admin", Some(priority)),
                Tier::Baseline => ("baseline", None),
            };
            PolicyRow {
                tier,
                priority,
                namespace: String::new(),
                name: policy.name.clone(),
                pods: pods(&policy.name),
                ingress: rules(policy.ingress.len()),
                egress: rules(policy.egress.len()),
                rejects: policy.action == Refusal::Reject,
            }
        };
        let mut own: Vec<&Policy> = cluster.policies.iter().map(Arc::as_ref).collect();
        own.sort_by_key(|policy| (policy.namespace.as_str(), policy.name.as_str()));
        let of_namespace = |policy: &&Policy| PolicyRow {
            tier: "policy",
            priority: None,
            namespace: policy.namespace.clone(),
            name: policy.name.clone(),
            pods: pods(&policy.full_name()),
            ingress: policy.isolates_ingress.then_some(policy.ingress.len()),
            egress: policy.isolates_egress.then_some(policy.egress.len()),
            rejects: policy.action == Refusal::Reject,
        };
        let above = above.into_iter().map(of_admin);
        above.chain(own.iter().map(of_namespace)).chain(below.into_iter().map(of_admin)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Config {
        shunt_config::parse(text, "test").unwrap_or_else(|errors| panic!("{errors}"))
    }

    const NODE: &str = "
        [[router]]\nname = \"r\"\n[[router]]\nname = \"s\"\n
        [[network]]\nname = \"pods\"\nrouter = \"r\"\ngateways = [\"10.16.0.1/16\"]\n
        [[network]]\nname = \"outside\"\nrouter = \"r\"\ngateways = [\"192.168.50.2/24\"]\n
        [[network]]\nname = \"others\"\nrouter = \"s\"\ngateways = [\"10.17.0.1/16\"]\n
        [[network]]\nname = \"bridge\"\n
        [[pod]]\nnamespace = \"x\"\nname = \"a\"\naddresses = [\"10.16.0.2\"]\n";

    #[test]
    fn networks_that_no_policied_pod_can_be_in_have_no_table() {
        let mut policies = Policies::default();
        let asked = |policies: &Policies| {
            let has = |name: &&str| policies.of(&NetworkName::new(name).unwrap()).is_some();
            ["pods", "outside", "others", "bridge"].into_iter().filter(has).collect::<Vec<_>>()
        };
        policies.follow(&parsed(NODE));
        assert!(asked(&policies).is_empty(), "there is no policy");
        let deny = "[[policy]]\nnamespace = \"x\"\nname = \"deny\"\n";
        policies.follow(&parsed(&format!("{NODE}{deny}")));
        // What comes from outside goes to the pod; of the bridge nothing is known.
        assert_eq!(asked(&policies), ["pods", "outside", "bridge"]);
        let elsewhere = "[[policy]]\nnamespace = \"y\"\nname = \"deny\"\n";
        policies.follow(&parsed(&format!("{NODE}{elsewhere}")));
        assert!(asked(&policies).is_empty(), "the policy is about nobody");
    }

    #[test]
    fn the_node_has_the_addresses_of_gateways() {
        let addresses = node_addresses(&parsed(NODE));
        let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.16.0.1", "10.17.0.1", "192.168.50.2"]);
    }
}
