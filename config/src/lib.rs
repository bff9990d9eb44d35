//! Configuration of `shunt`: TOML in, validated types out, and the difference between two of them.
//!
//! The way through: text -> [`parse`] or [`load`] -> [`Config`] -> [`diff()`] against the running one -> [`ConfigDiff::steps`].
//! A command line that adds one port goes through [`parse_port`] and meets the same rules. What comes out is valid in
//! itself; whether a device or a core exists on this machine is found out by whoever opens it, since nothing here but
//! [`load`] and [`load_peers`] touches the system.
//!
//! | module | holds |
//! |---|---|
//! | `raw`, `section`, `value` | text with places; one section key by key; what single values may be |
//! | `daemon`, `memory`, `workers`, `metrics`, `flow_cache`, `connections`, `node`, `router`, `network`, `port`, `service` | one section each: its type, its list of keys, its reader |
//! | `cluster` | namespaces, pods, policies: what selectors choose, and who may talk to whom |
//! | `check` | mistakes that show only between sections |
//! | `read`, `write` | whole documents, in and out |
//! | `peers` | peers of overlays in files of their own |
//! | `kube` | Kubernetes objects applied to a running configuration |
//! | `diff` | what changes from one configuration to another |
//! | `keys`, `error`, `names`, `mac`, `vlan` | the list of all keys; mistakes; newtypes |
//!
//! Everything runs on the control thread and allocates freely.

#![forbid(unsafe_code)]

mod check;
mod cluster;
mod connections;
mod daemon;
mod diff;
mod error;
mod flow_cache;
mod keys;
mod kube;
mod mac;
mod memory;
mod metrics;
mod names;
mod network;
mod node;
mod peers;
mod police;
mod port;
mod protocol;
mod range;
mod raw;
mod read;
mod router;
mod section;
mod service;
mod value;
mod vlan;
mod workers;
mod write;

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

pub use cluster::Cluster;
pub use cluster::admin::{AdminAction, AdminPolicy, AdminRule, Subject, Tier};
pub use cluster::labels::Labels;
pub use cluster::object::{NAMESPACE_NAME_LABEL, NamedPort, Namespace, Pod};
pub use cluster::peer::{IpBlock, Peer as PolicyPeer, PolicyPort, PortRef};
pub use cluster::policy::{Policy, Refusal, Rule};
pub use cluster::selector::{Expression, Operator, Selector};
pub use connections::{Connections, OwnTimeouts, Timeouts};
pub use daemon::Daemon;
pub use diff::{ConfigDiff, NetworkChange, PortChange, RouterChange, Step, diff};
pub use error::{ConfigError, ConfigErrors, LoadError};
pub use flow_cache::{FLOWS_MAX, FlowCache, KeyFields};
pub use ipnet::IpNet;
pub use keys::{Key, SECTIONS, SectionKeys};
pub use kube::{AppliedObject, Merged, ObjectChange, ObjectName, merge, remove};
pub use mac::{MacAddr, ParseMacError};
pub use memory::{Hugepages, Memory};
pub use metrics::{Listen, Metrics};
pub use names::{
    NETWORK_NAME_MAX, NameError, NetworkName, PORT_NAME_MAX, PortName, RouterName, check_device_name,
};
pub use network::kind::{Bridge, NetworkKind, Underlay, UnderlayMode};
pub use network::mtu::{MTU_ETHERNET, MTU_MAX, MTU_MIN, MTU_TAGGED, Mtu};
pub use network::overlay::{
    Dscp, Encap, GENEVE_PORT, Overlay, PEERS_MAX, Payload, Return, VNI_MAX, VXLAN_PORT,
};
pub use network::peer::Peer;
pub use network::snat::{Snat, SnatSource};
pub use network::{MAC_LIMIT_MAX, Network};
pub use node::Node;
pub use peers::{check_files, load_peers, parse_peers};
pub use police::Police;
pub use port::bond::{Bond, BondHash, BondMember, BondMode, LacpRate, MEMBERS_MAX};
pub use port::endpoint::Endpoint;
pub use port::kind::{MemifRole, PortKind, VhostMode};
pub use port::mirror::MirrorDirection;
pub use port::netns::Netns;
pub use port::route::KernelRoute;
pub use port::secret::Secret;
pub use port::{Port, QUEUES_MAX};
pub use protocol::Protocol;
pub use read::{load, parse, parse_port, with_ports};
pub use router::floating::FloatingIp;
pub use router::forward::{PortForward, StaticSnat};
pub use router::{GatewayMode, LOCAL_NODE_PORTS, NODE_MASQUERADE};
pub use router::{Router, Routes, StaticRoute};
pub use service::endpoint::ServiceEndpoint;
pub use service::name::{ServiceName, ServiceNameError};
pub use service::port::{ServicePort, ServiceProtocol};
pub use service::{Affinity, Service, TrafficPolicy};
pub use value::SOCKET_PATH_MAX;
pub use vlan::{VID_MAX, VID_MIN, VlanSet};
pub use workers::{Poll, WORKERS_MAX, Workers};

/// A whole configuration. The default is the one the daemon embeds: one adaptive worker, the network `default`, no port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// The process itself.
    pub daemon: Daemon,
    /// Packet buffers and hugepages.
    pub memory: Memory,
    /// The forwarding threads.
    pub workers: Workers,
    /// Counters and health over HTTP.
    pub metrics: Metrics,
    /// What each worker remembers of flows.
    pub flow_cache: FlowCache,
    /// What all workers remember of connections.
    pub connections: Connections,
    /// Who the node is among others.
    pub node: Node,
    /// What joins networks, in the order of the text.
    #[serde(rename = "router", skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<Router>,
    /// Isolated sets of ports, in the order of the text.
    #[serde(rename = "network")]
    pub networks: Vec<Network>,
    /// Attachments, in the order of the text.
    #[serde(rename = "port")]
    pub ports: Vec<Port>,
    /// Addresses that stand for backends, in the order of the text. Shared: there may be ten thousand, of which a change
    /// touches one.
    #[serde(rename = "service", skip_serializing_if = "Vec::is_empty", serialize_with = "each")]
    pub services: Vec<Arc<Service>>,
    /// Pods, and who may talk to whom. Shared: most changes are about something else.
    #[serde(flatten, serialize_with = "whole")]
    pub cluster: Arc<Cluster>,
}

/// Writes what is shared as what it is.
fn each<T: Serialize, S: Serializer>(shared: &[Arc<T>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(shared.iter().map(|it| &**it))
}

fn whole<T: Serialize, S: Serializer>(shared: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
    (**shared).serialize(serializer)
}

impl Default for Config {
    fn default() -> Self {
        Config {
            daemon: Daemon::default(),
            memory: Memory::default(),
            workers: Workers::default(),
            metrics: Metrics::default(),
            flow_cache: FlowCache::default(),
            connections: Connections::default(),
            node: Node::default(),
            routers: Vec::new(),
            networks: vec![Network::default()],
            ports: Vec::new(),
            services: Vec::new(),
            cluster: Arc::default(),
        }
    }
}

impl Config {
    /// The port of that name.
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|p| p.name == *name)
    }

    /// The network of that name.
    pub fn network(&self, name: &str) -> Option<&Network> {
        self.networks.iter().find(|n| n.name == *name)
    }

    /// The router of that name.
    pub fn router(&self, name: &str) -> Option<&Router> {
        self.routers.iter().find(|r| r.name == *name)
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.iter().find(|service| service.name.as_str() == name)
    }

    /// The network that answers ARP and ND for `address`, one of `load_balancer_ips` of `service`: the one that the service
    /// names, else the one of its router whose subnet has the address. `None`: somebody routes the address to this node.
    pub fn answers_for(&self, service: &Service, address: IpAddr) -> Option<&Network> {
        if let Some(named) = &service.load_balancer_network {
            return self.network(named.as_str());
        }
        let joined = self.networks.iter().filter(|network| network.router.as_ref() == Some(&service.router));
        joined.into_iter().find(|network| network.gateways.iter().any(|subnet| subnet.contains(&address)))
    }

    /// The MTU of a network in bytes after the Ethernet header: as configured, else 1500 for a bridge, its bridge's for an
    /// underlay, and for an overlay its transport's less [`Overlay::overhead`] (with peers of both families, that over
    /// IPv6).
    pub fn network_mtu(&self, network: &Network) -> u16 {
        self.network_mtu_where(network, &|_| false)
    }

    /// The same, where of some underlay networks (`cramped`) it is known that no device takes 1500 bytes and their tag: 1496.
    pub fn network_mtu_where(&self, network: &Network, cramped: &impl Fn(&Network) -> bool) -> u16 {
        network::mtu::effective(network, &|name| self.network(name.as_str()), cramped)
    }

    /// The MTU that a port has in this configuration: its own or its network's, in bytes after the Ethernet header.
    pub fn port_mtu(&self, port: &Port) -> u16 {
        self.port_mtu_where(port, &|_| false)
    }

    /// The same, as [`Config::network_mtu_where`].
    pub fn port_mtu_where(&self, port: &Port, cramped: &impl Fn(&Network) -> bool) -> u16 {
        let network = self.network(port.network.as_str());
        let inherited = || network.map_or(MTU_ETHERNET, |network| self.network_mtu_where(network, cramped));
        port.mtu.unwrap_or_else(inherited)
    }

    /// Source of the outer packets from `overlay` to a peer at `peer`: [`Overlay::local`], or the first gateway address of
    /// the transport when that is of the other family. `None` when the transport has no address of this family.
    pub fn tunnel_local(&self, overlay: &Overlay, peer: IpAddr) -> Option<IpAddr> {
        if overlay.local.is_ipv4() == peer.is_ipv4() {
            return Some(overlay.local);
        }
        let transport = self.network(overlay.transport.as_str())?;
        transport.gateways.iter().map(|net| net.addr()).find(|own| own.is_ipv4() == peer.is_ipv4())
    }

    /// The underlay network that is VLAN `vlan` of `bridge`, or its untagged domain (`None`), if one is configured.
    pub fn underlay_of(&self, bridge: &NetworkName, vlan: Option<u16>) -> Option<&Network> {
        let is_it = |underlay: &Underlay| underlay.bridge == *bridge && underlay.vlan == vlan;
        self.networks.iter().find(|network| network.underlay().is_some_and(is_it))
    }

    /// The bridge that a network is, or an underlay is a part of.
    fn bridge_of<'a>(&'a self, network: &'a Network) -> Option<&'a Bridge> {
        match network.underlay() {
            Some(underlay) => self.network(underlay.bridge.as_str()).and_then(Network::bridge),
            None => network.bridge(),
        }
    }

    /// Frames a second that each port may have flooded in `network`: as its bridge says. 0 is any number.
    pub fn storm_limit(&self, network: &Network) -> u32 {
        self.bridge_of(network).map_or(0, |bridge| bridge.storm_limit)
    }

    /// True when frames of the link's own protocols pass `network`: as its bridge says.
    pub fn forwards_control(&self, network: &Network) -> bool {
        self.bridge_of(network).is_some_and(|bridge| bridge.forward_control)
    }

    /// The VLAN that untagged frames of `port` are in: its own, a trunk's native one, or that of its underlay network.
    pub fn untagged_vlan(&self, port: &Port) -> Option<u16> {
        let underlay = self.network(port.network.as_str()).and_then(Network::underlay);
        port.vlan.or(port.native_vlan).or_else(|| underlay.and_then(|underlay| underlay.vlan))
    }

    /// The network that untagged frames of `port` are in, whether the port names it, or the bridge with the VLAN. `None` for
    /// a VLAN of a bridge that no underlay network is, and where there are no such frames.
    pub fn network_of(&self, port: &Port) -> Option<&Network> {
        let network = self.network(port.network.as_str())?;
        if network.bridge().is_none() {
            return Some(network);
        }
        let vlan = port.vlan.or(port.native_vlan);
        if vlan.is_none() && !port.takes_untagged() {
            return None;
        }
        self.underlay_of(&network.name, vlan).or_else(|| vlan.is_none().then_some(network))
    }

    /// True when sources of frames of `port` are held against its endpoints: as configured, else where it has endpoints
    /// with addresses in an overlay or underlay network.
    pub fn spoof_check(&self, port: &Port) -> bool {
        port.spoof_check.unwrap_or_else(|| {
            let addressed = port.endpoints.iter().any(|endpoint| !endpoint.ip.is_empty());
            // A trunk has more behind it than its endpoints.
            let alone = port.trunk.is_empty();
            addressed && alone && self.network_of(port).is_some_and(|network| network.bridge().is_none())
        })
    }

    /// True when frames of `port` may be of control protocols of links and routers, and come from any address: as configured, else
    /// where its senders are not held against its endpoints and it is not said to be a pod's (`needs_pod`).
    pub fn trusts(&self, port: &Port) -> bool {
        port.trusted.unwrap_or_else(|| !self.spoof_check(port) && !port.needs_pod)
    }
}
