//! From the running configuration to the next: all of it or nothing.
//!
//! New ports are opened before anything else is touched. A port that must be opened anew (another device) is closed
//! first, since one device cannot be open twice; if its successor then does not open, the old ones are put back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use shunt_config::{
    Config, ConfigErrors, NetworkChange, NetworkName, ObjectName, PortChange, PortName, Router,
};

use super::domains::Domains;
use super::kept::KeptError;
use super::neighbors::has_l3_port;
use super::overlay::Gone;
use super::{Control, host, routes, services, start};
use crate::ids::MAX_PORTS;
use crate::port::{OpenError, Opened};
use crate::state::table::NoTable;
use crate::table::fdb::Place;

/// Why a configuration was not applied. The running one stays.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Keys that only a restart can change.
    #[error("{} cannot change while the daemon runs; restart it for that", .0.join(", "))]
    Restart(Vec<&'static str>),
    /// The configuration does not fit the running daemon.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// More ports than there are slots.
    #[error("{0} ports are configured; there is room for {MAX_PORTS}, use a second daemon for the rest")]
    TooMany(usize),
    /// The connection table does not fit into memory.
    #[error(
        "{0}; lower `capacity` under [connections], or have no service and no floating address, forward no port, and masquerade no network"
    )]
    Connections(#[from] NoTable),
    /// Ports that did not open, one line each.
    #[error("{}", lines(.0))]
    Ports(Vec<OpenError>),
    /// What was to be applied could not be kept.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// No such port.
    #[error("there is no port `{0}`; `shunt show ports` lists them")]
    NoPort(String),
}

fn lines(errors: &[OpenError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What applying did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Generation now in force.
    pub generation: u64,
    /// Ports opened, closed, changed.
    pub added: Vec<PortName>,
    /// Ports closed.
    pub removed: Vec<PortName>,
    /// Ports changed in place or opened anew.
    pub changed: Vec<PortName>,
    /// What was asked for that has no effect, one line each.
    pub notes: Vec<String>,
}

/// True when the network's gateway comes, goes, or speaks for other addresses.
fn changes_gateway(change: &NetworkChange) -> bool {
    change.keys.iter().any(|key| matches!(*key, "router" | "gateways" | "gateway_mac" | "vtep" | "node_ips"))
}

impl Control {
    /// Applies the networks and ports of `config` at start. A port that does not open is down and retried, so that one
    /// missing pod does not keep a node from starting; the errors are returned for the log.
    pub fn apply_at_start(&mut self, config: &Config) -> Vec<OpenError> {
        let mut errors = Vec::new();
        let filled = self.with_file_peers(config.clone()).inspect_err(|error| tracing::error!("{error}"));
        let config = &filled.unwrap_or_else(|_| config.clone());
        let own = Arc::make_mut(&mut self.config);
        own.networks.clone_from(&config.networks);
        own.routers.clone_from(&config.routers);
        // Routes lead to endpoints, too.
        own.ports.clone_from(&config.ports);
        own.services.clone_from(&config.services);
        own.cluster.clone_from(&config.cluster);
        self.connections.time(&self.config, &mut self.zones);
        self.services.follow(&self.config);
        self.policies.follow(&self.config);
        self.peers.follow(&self.config);
        self.routers = routes::routers(&self.config, None);
        let mut receive = Vec::new();
        for port in &config.ports {
            let opened = self.open(port, config).inspect_err(|error| errors.push(error.clone()));
            match self.adopt(port.clone(), opened) {
                Ok(queues) => receive.extend(queues),
                Err(error) => errors.push(error),
            }
        }
        self.domains = Domains::of(&self.config);
        self.publish_and_wait("start");
        self.start_receiving(receive);
        errors
    }

    /// Goes from the running configuration to `next`, to which peers in files are added.
    pub fn apply(&mut self, next: &Config) -> Result<Applied, ApplyError> {
        self.apply_owned(next.clone())
    }

    fn apply_owned(&mut self, next: Config) -> Result<Applied, ApplyError> {
        let next = self.with_file_peers(next)?;
        self.apply_whole(next)
    }

    /// Goes from the running configuration to `next`, in which the peers of files are.
    pub(super) fn apply_whole(&mut self, next: Config) -> Result<Applied, ApplyError> {
        let begun = Instant::now();
        let next = Arc::new(next);
        let diff = shunt_config::diff(&self.config, &next);
        if !diff.restart_required.is_empty() {
            return Err(ApplyError::Restart(diff.restart_required));
        }
        if next.ports.len() > MAX_PORTS {
            return Err(ApplyError::TooMany(next.ports.len()));
        }
        self.connections.provide(&next, self.workers.len(), start::seed())?;
        // A device takes its MTU when it is opened.
        let anew = |change: &PortChange| change.reopen || change.keys.contains(&"mtu");
        let reopened = diff.changed_ports.iter().filter(|change| anew(change));
        let reopened = reopened.map(|change| (&change.from, &change.to));
        let before = self.config.clone();
        let reopened: Vec<_> = reopened.chain(host::changed(&before, &next)).collect();
        let added = self.open_all(diff.added_ports.iter(), &next).map_err(ApplyError::Ports)?;
        let mut successors = Vec::new();
        if !reopened.is_empty() {
            for (from, _) in &reopened {
                self.remove(&from.name);
            }
            match self.open_all(reopened.iter().map(|(_, to)| *to), &next) {
                Ok(opened) => successors = opened,
                Err(errors) => {
                    drop(added);
                    self.put_back(reopened.iter().map(|(from, _)| *from));
                    return Err(ApplyError::Ports(errors));
                }
            }
        }
        for name in &diff.removed_ports {
            self.remove(name);
        }
        // Nothing is published from here on before the whole is: a port is not open for a moment without its policies.
        let receive = self.adopt_all(successors.into_iter().chain(added).collect());

        let running = std::mem::replace(&mut self.config, next.clone());
        if let Some(settings) = &diff.connections {
            self.connections.configure(settings);
        }
        self.connections.time(&next, &mut self.zones);
        let before = std::mem::replace(&mut self.domains, Domains::of(&self.config));
        // What was learned of a port in one VLAN is not true in another.
        for port in self.ports.iter().filter(|port| before.moves(&self.domains, &port.config.name)) {
            self.learned.forget_port(port.id);
        }
        let kept: HashSet<NetworkName> = self.domains.iter().map(|(_, domain)| domain.name.clone()).collect();
        self.learned.retain(&kept);
        self.change_networks(&diff.changed_networks);
        self.services.follow(&self.config);
        self.policies.follow(&self.config);
        let before = routes::Before { config: &running, routers: &self.routers };
        self.routers = routes::routers(&self.config, Some(&before));
        for change in diff.changed_networks.iter().filter(|change| changes_gateway(change)) {
            let has_l3 = has_l3_port(&self.ports, &self.domains, &change.to.name);
            self.learned.network(&change.to.name).change_gateway(&change.to, has_l3);
        }
        for change in diff.changed_ports.iter().filter(|change| !anew(change)) {
            self.change(&change.to);
        }
        let in_force = self.publish_and_wait("configuration applied");
        if diff.policies && in_force {
            self.reports.policies_applied(begun.elapsed());
        }
        let translated = |config: &Config| -> Vec<_> {
            let rules = |router: &Router| {
                let addresses = (router.floating_ips.clone(), router.snat_pool.clone());
                (addresses, router.port_forwards.clone(), router.static_snat.clone())
            };
            config.routers.iter().map(rules).collect()
        };
        let moved = translated(&running) != translated(&self.config)
            || services::own(&running) != services::own(&self.config);
        if moved || !diff.changed_services.is_empty() || !diff.removed_services.is_empty() {
            self.clean_connections(in_force);
        }
        self.start_receiving(receive);
        Ok(Applied {
            generation: self.reports.generation(),
            added: diff.added_ports.into_iter().map(|port| port.name).collect(),
            removed: diff.removed_ports,
            changed: diff.changed_ports.into_iter().map(|change| change.to.name).collect(),
            notes: Vec::new(),
        })
    }

    /// Forgets what changed networks learned where it is no longer true, and takes over their peers.
    fn change_networks(&mut self, changes: &[NetworkChange]) {
        for change in changes {
            if change.replaces() {
                self.learned.forget_network(&change.from.name);
            }
            // What peers put into the tables.
            if change.from.overlay().is_some() || change.to.overlay().is_some() {
                self.learned.network(&change.to.name).invalidate();
            }
        }
        for Gone { network, number } in self.peers.follow(&self.config) {
            if self.config.network(network.as_str()).is_some() {
                self.learned.network(&network).forget(Place::Peer(number));
            }
        }
    }

    /// Applies Kubernetes objects to the running configuration.
    pub fn apply_objects(&mut self, yaml: &str, origin: &str) -> Result<Applied, ApplyError> {
        let merged = shunt_config::merge(&self.config, yaml, origin)?;
        let applied = self.keeping(merged.objects, |control| control.apply_owned(merged.config))?;
        Ok(Applied { notes: merged.notes, ..applied })
    }

    /// Takes Kubernetes objects out of the running configuration; one that is not there is a mistake, or `missing_is_fine`.
    pub fn delete_objects(
        &mut self,
        yaml: &str,
        origin: &str,
        missing_is_fine: bool,
    ) -> Result<Applied, ApplyError> {
        let aside = |name: &ObjectName| self.is_aside(name);
        let left = shunt_config::remove(&self.config, yaml, origin, missing_is_fine, aside)?;
        let applied = self.keeping(left.objects, |control| control.apply_owned(left.config))?;
        Ok(Applied { notes: left.notes, ..applied })
    }

    /// Adds one port to the running configuration.
    pub fn add_port(&mut self, port: shunt_config::Port) -> Result<Applied, ApplyError> {
        let mut next = Config::clone(&self.config);
        let kept = Self::kept_port(&port);
        next.ports.push(port);
        self.keeping(vec![kept], |control| control.apply_owned(next))
    }

    /// Removes one port.
    pub fn remove_port(&mut self, name: &str) -> Result<Applied, ApplyError> {
        let mut next = Config::clone(&self.config);
        let gone = self.port_gone(name);
        next.ports.retain(|port| port.name.as_str() != name);
        if next.ports.len() == self.config.ports.len() && gone.is_empty() {
            return Err(ApplyError::NoPort(name.to_owned()));
        }
        self.keeping(gone, |control| control.apply_owned(next))
    }

    /// Sets a port administratively up or down.
    pub fn set_port(&mut self, name: &str, up: bool) -> Result<Applied, ApplyError> {
        let mut next = Config::clone(&self.config);
        let port = next.ports.iter_mut().find(|port| port.name.as_str() == name);
        let port = port.ok_or_else(|| ApplyError::NoPort(name.to_owned()))?;
        port.admin_up = up;
        // Of a port of the file, the file says how it is.
        let kept = if self.port_gone(name).is_empty() { Vec::new() } else { vec![Self::kept_port(port)] };
        self.keeping(kept, |control| control.apply_owned(next))
    }

    /// The running configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn open_all<'a>(
        &self,
        ports: impl Iterator<Item = &'a shunt_config::Port>,
        whole: &Config,
    ) -> Result<Vec<(shunt_config::Port, Opened)>, Vec<OpenError>> {
        let (mut opened, mut errors) = (Vec::new(), Vec::new());
        for port in ports {
            match self.open(port, whole) {
                Ok(device) => opened.push((port.clone(), device)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(opened) } else { Err(errors) }
    }

    fn adopt_all(&mut self, opened: Vec<(shunt_config::Port, Opened)>) -> Vec<crate::worker::RxPort> {
        let mut queues = Vec::new();
        for (config, device) in opened {
            match self.adopt(config, Ok(device)) {
                Ok(received) => queues.extend(received),
                Err(error) => tracing::error!(%error, "port not taken in"),
            }
        }
        queues
    }

    /// Opens ports again that were closed for successors that then did not open.
    fn put_back<'a>(&mut self, ports: impl Iterator<Item = &'a shunt_config::Port>) {
        let mut receive = Vec::new();
        for port in ports {
            let opened = self.open(port, &self.config);
            match self.adopt(port.clone(), opened) {
                Ok(queues) => receive.extend(queues),
                Err(error) => tracing::error!(%error, "port not put back"),
            }
        }
        self.publish_and_wait("configuration refused");
        self.start_receiving(receive);
    }

    /// Changes attributes of an open port.
    fn change(&mut self, to: &shunt_config::Port) {
        let Some(port) = self.ports.by_name_mut(&to.name) else { return };
        let (id, moved) = (port.id, port.config.network != to.network);
        let went_down = port.config.admin_up && !to.admin_up;
        port.config = to.clone();
        if moved || went_down {
            self.learned.forget_port(id);
        }
        // What it gives is compared where tables are made, in whatever domain.
        self.replace_queues(id);
    }
}
