//! What to do to a running configuration so that it becomes another. Pure; cost linear in the number of ports.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::Config;
use crate::check::{self, Around};
use crate::connections::Connections;
use crate::error::{ConfigErrors, Sink};
use crate::names::{NetworkName, PortName, RouterName};
use crate::network::Network;
use crate::network::kind::NetworkKind;
use crate::police::Police;
use crate::port::bond::Bond;
use crate::port::kind::PortKind;
use crate::port::{Draft, Port};
use crate::router::Router;
use crate::service::Service;
use crate::service::name::ServiceName;

/// The differences between two configurations, each list in the order of the configuration it is taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigDiff {
    /// Ports of the old that the new has not.
    pub removed_ports: Vec<PortName>,
    /// Ports of the new that the old has not.
    pub added_ports: Vec<Port>,
    /// Ports of both that differ, or whose network changed something they inherit.
    pub changed_ports: Vec<PortChange>,
    /// Networks of the old that the new has not.
    pub removed_networks: Vec<NetworkName>,
    /// Networks of the new that the old has not.
    pub added_networks: Vec<Network>,
    /// Networks of both that differ.
    pub changed_networks: Vec<NetworkChange>,
    /// Routers of the old that the new has not.
    pub removed_routers: Vec<RouterName>,
    /// Routers of the new that the old has not.
    pub added_routers: Vec<Router>,
    /// Routers of both that differ.
    pub changed_routers: Vec<RouterChange>,
    /// The node calls itself otherwise, or has other ports for services.
    pub node_changed: bool,
    /// Services of the old that the new has not.
    pub removed_services: Vec<ServiceName>,
    /// Services of the new that the old has not, or has otherwise; and, when the node calls itself otherwise, all.
    pub changed_services: Vec<ServiceName>,
    /// Namespaces, pods or policies differ: who may talk to whom is resolved anew.
    pub policies: bool,
    /// The settings of connections, when some differ that the running daemon takes over.
    pub connections: Option<Connections>,
    /// Keys that differ and are read only when the daemon starts: the running one keeps the old value.
    pub restart_required: Vec<&'static str>,
}

/// A port that stays and changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortChange {
    /// As it was.
    pub from: Port,
    /// As it shall be.
    pub to: Port,
    /// The keys that differ. `mtu` also when only the network's, which the port inherits, does.
    pub keys: Vec<&'static str>,
    /// True when the device behind it must be closed and opened again; false when attributes change on the open one.
    pub reopen: bool,
}

/// A network that stays and changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkChange {
    /// As it was.
    pub from: Network,
    /// As it shall be.
    pub to: Network,
    /// The keys that differ.
    pub keys: Vec<&'static str>,
}

impl NetworkChange {
    /// True when what was learned in the network belongs to another one: it is another kind, another part of the physical
    /// network, or its tunnels are others. Peers, MTU, limits and policies change on the network as it is.
    pub fn replaces(&self) -> bool {
        let identity = ["kind", "bridge", "vlan", "encap", "vni", "payload", "transport"];
        self.keys.iter().any(|key| identity.contains(key))
    }
}

/// A router that stays and changes: its routes do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterChange {
    /// As it was.
    pub from: Router,
    /// As it shall be.
    pub to: Router,
}

/// One step of applying a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Close the port: it goes, or must be opened anew.
    ClosePort(&'a PortName),
    /// Make the network.
    AddNetwork(&'a Network),
    /// Change the network in place.
    ChangeNetwork(&'a NetworkChange),
    /// Make the router.
    AddRouter(&'a Router),
    /// Give the router other routes.
    ChangeRouter(&'a RouterChange),
    /// Change attributes of the open port.
    ChangePort(&'a PortChange),
    /// Open the port.
    OpenPort(&'a Port),
    /// Drop the router, which no network names any more.
    RemoveRouter(&'a RouterName),
    /// Drop the network, which has no port left.
    RemoveNetwork(&'a NetworkName),
}

impl Config {
    /// This configuration as a daemon started with `running` can take it: `daemon`, `memory`, `workers`, `metrics`, `flow_cache` and the capacity under
    /// `connections` stay as they run (see [`ConfigDiff::restart_required`]), and the ports are checked against those. `origin` is the name that
    /// messages give this configuration.
    ///
    /// # Errors
    /// Ports that fit this configuration but not the running daemon, as a placement on a worker that a restart would add.
    pub fn on_running(&self, running: &Config, origin: &str) -> Result<Config, ConfigErrors> {
        let config = Config {
            daemon: running.daemon.clone(),
            memory: running.memory.clone(),
            workers: running.workers.clone(),
            metrics: running.metrics.clone(),
            flow_cache: running.flow_cache.clone(),
            connections: Connections { capacity: running.connections.capacity, ..self.connections.clone() },
            routers: self.routers.clone(),
            networks: self.networks.clone(),
            ports: self.ports.clone(),
            node: self.node.clone(),
            services: self.services.clone(),
            cluster: self.cluster.clone(),
        };
        let mut sink = Sink::new(origin);
        let drafts: Vec<_> = self.ports.iter().map(Draft::of).collect();
        check::ports(&drafts, &Around::of(&config), &mut sink);
        sink.finish(Some(config))
    }
}

impl ConfigDiff {
    /// True when there is nothing to do, a restart included.
    pub fn is_empty(&self) -> bool {
        *self == ConfigDiff::default()
    }

    /// The steps in an order in which none needs what a later one gives: everything is closed before anything is opened
    /// (a device may pass from one port to another), networks exist before their ports and go after them. Routes lead to
    /// networks, so routers follow the networks.
    pub fn steps(&self) -> Vec<Step<'_>> {
        let reopened = || self.changed_ports.iter().filter(|c| c.reopen);
        let mut steps = Vec::new();
        steps.extend(self.removed_ports.iter().map(Step::ClosePort));
        steps.extend(reopened().map(|c| Step::ClosePort(&c.from.name)));
        steps.extend(self.added_networks.iter().map(Step::AddNetwork));
        steps.extend(self.changed_networks.iter().map(Step::ChangeNetwork));
        steps.extend(self.added_routers.iter().map(Step::AddRouter));
        steps.extend(self.changed_routers.iter().map(Step::ChangeRouter));
        steps.extend(self.changed_ports.iter().filter(|c| !c.reopen).map(Step::ChangePort));
        steps.extend(reopened().map(|c| Step::OpenPort(&c.to)));
        steps.extend(self.added_ports.iter().map(Step::OpenPort));
        steps.extend(self.removed_routers.iter().map(Step::RemoveRouter));
        steps.extend(self.removed_networks.iter().map(Step::RemoveNetwork));
        steps
    }
}

impl ConfigDiff {
    fn routers(&mut self, old: &Config, new: &Config) {
        let old_routers: HashMap<_, _> = old.routers.iter().map(|r| (&r.name, r)).collect();
        let kept: HashSet<_> = new.routers.iter().map(|r| &r.name).collect();
        for router in &new.routers {
            match old_routers.get(&router.name) {
                None => self.added_routers.push(router.clone()),
                Some(&from) if from != router => {
                    self.changed_routers.push(RouterChange { from: from.clone(), to: router.clone() })
                }
                Some(_) => {}
            }
        }
        let gone = old.routers.iter().filter(|r| !kept.contains(&r.name));
        self.removed_routers = gone.map(|r| r.name.clone()).collect();
    }

    fn services(&mut self, old: &Config, new: &Config) {
        // Most often nearly all are the very same ones.
        let same_place = |at: usize| {
            let pair = old.services.get(at).zip(new.services.get(at));
            pair.is_some_and(|(old, new)| Arc::ptr_eq(old, new))
        };
        let same_node = old.node == new.node;
        self.node_changed = !same_node;
        if same_node && old.services.len() == new.services.len() && (0..new.services.len()).all(same_place) {
            return;
        }
        // One of ten thousand has other endpoints: all are where they were.
        let pairs = || old.services.iter().zip(&new.services);
        let in_place =
            old.services.len() == new.services.len() && pairs().all(|(old, new)| old.name == new.name);
        if same_node && in_place {
            let changed = pairs().filter(|(old, new)| !Arc::ptr_eq(old, new) && old != new);
            self.changed_services = changed.map(|(_, service)| service.name.clone()).collect();
            return;
        }
        let known: HashMap<_, _> = old.services.iter().map(|service| (&service.name, service)).collect();
        let stays = |service: &Arc<Service>| {
            known.get(&service.name).is_some_and(|old| Arc::ptr_eq(old, service) || *old == service)
        };
        let changed = new.services.iter().filter(|service| !same_node || !stays(service));
        self.changed_services = changed.map(|service| service.name.clone()).collect();
        let kept: HashSet<_> = new.services.iter().map(|service| &service.name).collect();
        let gone = old.services.iter().filter(|service| !kept.contains(&service.name));
        self.removed_services = gone.map(|service| service.name.clone()).collect();
    }
}

/// The differences that turn `old` into `new`.
pub fn diff(old: &Config, new: &Config) -> ConfigDiff {
    let mut diff = ConfigDiff {
        restart_required: restart_keys(old, new),
        policies: old.cluster != new.cluster,
        ..ConfigDiff::default()
    };
    let fitting = Connections { capacity: old.connections.capacity, ..new.connections.clone() };
    diff.connections = (fitting != old.connections).then_some(fitting);

    let old_networks: HashMap<_, _> = old.networks.iter().map(|n| (&n.name, n)).collect();
    let new_networks: HashMap<_, _> = new.networks.iter().map(|n| (&n.name, n)).collect();
    for network in &new.networks {
        match old_networks.get(&network.name) {
            None => diff.added_networks.push(network.clone()),
            Some(old) => diff.changed_networks.extend(network_change(old, network)),
        }
    }
    let gone = old.networks.iter().filter(|n| !new_networks.contains_key(&n.name));
    diff.removed_networks = gone.map(|n| n.name.clone()).collect();

    diff.routers(old, new);

    let old_ports: HashMap<_, _> = old.ports.iter().map(|p| (&p.name, p)).collect();
    let new_names: HashSet<_> = new.ports.iter().map(|p| &p.name).collect();
    for port in &new.ports {
        match old_ports.get(&port.name) {
            None => diff.added_ports.push(port.clone()),
            Some(old) => {
                let inherited = mtu_of(old, &old_networks) != mtu_of(port, &new_networks);
                diff.changed_ports.extend(port_change(old, port, inherited));
            }
        }
    }
    let gone = old.ports.iter().filter(|p| !new_names.contains(&p.name));
    diff.removed_ports = gone.map(|p| p.name.clone()).collect();

    diff.services(old, new);
    diff
}

/// The MTU of a port as [`Config::port_mtu`] has it.
fn mtu_of(port: &Port, networks: &HashMap<&NetworkName, &Network>) -> Option<u16> {
    let inherited = || {
        let network = networks.get(&port.network)?;
        Some(crate::network::mtu::effective(network, &|name| networks.get(name).copied(), &|_| false))
    };
    port.mtu.or_else(inherited)
}

/// The names of those pairs that differ.
macro_rules! differing {
    ($old:expr, $new:expr; $($field:ident $key:literal),* $(,)?) => {{
        let mut keys: Vec<&'static str> = Vec::new();
        $(if $old.$field != $new.$field { keys.push($key); })*
        keys
    }};
}

fn restart_keys(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = differing!(old.daemon, new.daemon; socket "daemon.socket", state_dir "daemon.state_dir");
    keys.extend(differing!(old.memory, new.memory;
        hugepages "memory.hugepages", mbufs "memory.mbufs", mbuf_size "memory.mbuf_size"));
    keys.extend(differing!(old.metrics, new.metrics; listen "metrics.listen"));
    keys.extend(differing!(old.flow_cache, new.flow_cache;
        entries "flow_cache.entries", key "flow_cache.key", verify "flow_cache.verify",
        back_off "flow_cache.back_off", idle_timeout "flow_cache.idle_timeout"));
    keys.extend(differing!(old.connections, new.connections; capacity "connections.capacity"));
    keys.extend(differing!(old.workers, new.workers;
        count "workers.count", cores "workers.cores", poll "workers.poll", burst "workers.burst",
        idle_after "workers.idle_after", max_sleep "workers.max_sleep"));
    keys
}

fn network_change(old: &Network, new: &Network) -> Option<NetworkChange> {
    let mut keys = network_kind_keys(old, new);
    keys.extend(differing!(old, new;
        mtu "mtu", mac_ageing "mac_ageing", mac_limit "mac_limit", router "router",
        gateways "gateways", gateway_mac "gateway_mac", neighbor_ageing "neighbor_ageing", proxy_arp "proxy_arp",
        mss_clamp "mss_clamp", masquerade "masquerade", snat "snat", closed "closed"));
    keys.extend(police_keys(old.police, new.police));
    (!keys.is_empty()).then(|| NetworkChange { from: old.clone(), to: new.clone(), keys })
}

/// Which keys of the kind differ; `kind` alone when the kinds do.
fn network_kind_keys(old: &Network, new: &Network) -> Vec<&'static str> {
    match (&old.kind, &new.kind) {
        (NetworkKind::Bridge(old), NetworkKind::Bridge(new)) => {
            differing!(old, new; vlans "vlans", storm_limit "storm_limit", forward_control "forward_control")
        }
        (NetworkKind::Underlay(old), NetworkKind::Underlay(new)) => differing!(old, new;
            bridge "bridge", vlan "vlan", mode "mode", parent_mac "parent_mac", host_port "host_port",
            announce "announce", local_route "local_route"),
        (NetworkKind::Overlay(old), NetworkKind::Overlay(new)) => differing!(old, new;
            encap "encap", vni "vni", payload "payload", transport "transport", local "local", port "port",
            cidr "cidr", learning "learning", flood "flood", udp_checksum "udp_checksum", dscp "dscp",
            ovn_ports "ovn_ports", vtep "vtep", node_ips "node_ips", returns "return", peers "peers", peers_file "peers_file", file_peers "peers"),
        _ => vec!["kind"],
    }
}

fn police_keys(old: Police, new: Police) -> Vec<&'static str> {
    differing!(old, new; police_frames "police_frames", police_bits "police_bits")
}

fn port_change(old: &Port, new: &Port, inherited_mtu: bool) -> Option<PortChange> {
    // The device is opened with its kind, its queues and its address; the rest is the switch's own.
    let mut keys = kind_keys(old, new);
    keys.extend(differing!(old, new; queues "queues", mac "mac"));
    let reopen = !keys.is_empty();
    keys.extend(differing!(old, new;
        network "network", admin_up "admin_up", mtu "mtu", placement "placement",
        mac_limit "mac_limit", stations "stations", endpoints "endpoints", spoof_check "spoof_check", needs_pod "needs_pod", trusted "trusted", mirror "mirror",
        mirror_direction "mirror_direction",
        vlan "vlan", trunk "trunk", native_vlan "native_vlan", untagged "untagged", service_tag "service_tag"));
    keys.extend(police_keys(old.police, new.police));
    if inherited_mtu && !keys.contains(&"mtu") {
        keys.push("mtu");
    }
    (!keys.is_empty()).then(|| PortChange { from: old.clone(), to: new.clone(), keys, reopen })
}

/// Which keys of the kind differ; `kind` alone when the kinds do. No pattern has a `..`: a new key must be compared here.
fn kind_keys(old: &Port, new: &Port) -> Vec<&'static str> {
    // A device name that is left out is the port's: writing it out changes nothing.
    let device = ("device", old.device() != new.device());
    let pairs: Vec<(&'static str, bool)> = match (&old.kind, &new.kind) {
        (PortKind::Veth { device: _ }, PortKind::Veth { device: _ }) => vec![device],
        (
            PortKind::Tap { device: _, netns: a, addresses: b, routes: r, peer_mac: c },
            PortKind::Tap { device: _, netns: x, addresses: y, routes: s, peer_mac: z },
        ) => vec![device, ("netns", a != x), ("addresses", b != y), ("routes", r != s), ("peer_mac", c != z)],
        (
            PortKind::Tun { device: _, netns: a, addresses: b, peer_mac: c },
            PortKind::Tun { device: _, netns: x, addresses: y, peer_mac: z },
        ) => vec![device, ("netns", a != x), ("addresses", b != y), ("peer_mac", c != z)],
        (PortKind::AfXdp { device: _, start_queue: a }, PortKind::AfXdp { device: _, start_queue: x }) => {
            vec![device, ("start_queue", a != x)]
        }
        (
            PortKind::VhostUser { path: a, mode: b, tso: c, mergeable: d },
            PortKind::VhostUser { path: w, mode: x, tso: y, mergeable: z },
        ) => vec![("path", a != w), ("mode", b != x), ("tso", c != y), ("mergeable", d != z)],
        (
            PortKind::Memif { path: a, id: b, role: c, secret: d, ring_size_log2: e, buffer_size: f },
            PortKind::Memif { path: u, id: v, role: w, secret: x, ring_size_log2: y, buffer_size: z },
        ) => vec![
            ("path", a != u),
            ("id", b != v),
            ("role", c != w),
            ("secret", d != x),
            ("ring_size_log2", e != y),
            ("buffer_size", f != z),
        ],
        (PortKind::Dpdk { devargs: a }, PortKind::Dpdk { devargs: x }) => vec![("devargs", a != x)],
        (PortKind::Bond(a), PortKind::Bond(x)) => {
            let Bond { members, mode, rate, hash, min_links, system_mac, system_priority } = a;
            vec![
                ("members", *members != x.members),
                ("mode", *mode != x.mode),
                ("rate", *rate != x.rate),
                ("hash", *hash != x.hash),
                ("min_links", *min_links != x.min_links),
                ("system_mac", *system_mac != x.system_mac),
                ("system_priority", *system_priority != x.system_priority),
            ]
        }
        _ => vec![("kind", true)],
    };
    pairs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}
