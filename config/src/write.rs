//! A configuration back as TOML, every key written out: what `parse` reads again as the same configuration.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::Config;
use crate::cluster::Cluster;
use crate::connections::OwnTimeouts;
use crate::network::kind::NetworkKind;
use crate::port::Port;
use crate::port::kind::PortKind;
use crate::router::{Router, Routes};
use crate::service::Service;

impl Config {
    /// The configuration as TOML, defaults included; [`parse`](crate::parse) gives an equal one. Secrets are written in
    /// clear: whoever stores the text must protect it.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        if self.networks.is_empty() {
            // Without this line a reader would add the default network.
            text.push_str("network = []\n\n");
        }
        push(&mut text, "[daemon]", &self.daemon);
        push(&mut text, "[memory]", &self.memory);
        push(&mut text, "[workers]", &self.workers);
        push(&mut text, "[metrics]", &self.metrics);
        push(&mut text, "[flow_cache]", &self.flow_cache);
        push(&mut text, "[connections]", &self.connections);
        push(&mut text, "[node]", &self.node);
        for router in &self.routers {
            push(
                &mut text,
                "[[router]]",
                &Router {
                    routes: Routes::default(),
                    floating_ips: Vec::new(),
                    port_forwards: Vec::new(),
                    static_snat: Vec::new(),
                    timeouts: OwnTimeouts::default(),
                    ..router.clone()
                },
            );
            push_tables(&mut text, "routes", router.routes.as_slice());
            push_tables(&mut text, "floating_ips", &router.floating_ips);
            push_tables(&mut text, "port_forwards", &router.port_forwards);
            push_tables(&mut text, "static_snat", &router.static_snat);
            if !router.timeouts.are_none() {
                push_table(&mut text, "timeouts", &router.timeouts);
            }
        }
        for network in &self.networks {
            let mut alone = network.clone();
            let peers = match &mut alone.kind {
                NetworkKind::Overlay(overlay) => std::mem::take(&mut overlay.peers),
                _ => Vec::new(),
            };
            let snat = std::mem::take(&mut alone.snat);
            push(&mut text, "[[network]]", &alone);
            push_tables(&mut text, "snat", &snat);
            push_tables(&mut text, "peers", &peers);
        }
        self.ports.iter().for_each(|port| push_port(&mut text, port));
        for service in &self.services {
            let alone = Service { ports: Vec::new(), endpoints: Vec::new(), ..Service::clone(service) };
            push(&mut text, "[[service]]", &alone);
            push_tables(&mut text, "ports", &service.ports);
            push_tables(&mut text, "endpoints", &service.endpoints);
        }
        let Cluster { namespaces, pods, policies, admin_policies } = &*self.cluster;
        namespaces.iter().for_each(|it| push_inline(&mut text, "[[namespace]]", it));
        pods.iter().for_each(|it| push_inline(&mut text, "[[pod]]", &**it));
        policies.iter().for_each(|it| push_inline(&mut text, "[[policy]]", &**it));
        admin_policies.iter().for_each(|it| push_inline(&mut text, "[[admin_policy]]", it));
        text
    }
}

impl Port {
    /// The port as a section of a configuration, defaults included. The secret is written in clear.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        push_port(&mut text, self);
        text
    }
}

fn push_port(text: &mut String, port: &Port) {
    let mut alone = Port { endpoints: Vec::new(), ..port.clone() };
    let routes = match &mut alone.kind {
        PortKind::Tap { routes, .. } => std::mem::take(routes),
        _ => Vec::new(),
    };
    let members = match &mut alone.kind {
        PortKind::Bond(bond) => std::mem::take(&mut bond.members),
        _ => Vec::new(),
    };
    push(text, "[[port]]", &Clear(&alone));
    push_tables(text, "members", &members);
    push_tables(text, "endpoints", &port.endpoints);
    push_tables(text, "routes", &routes);
}

/// Writes a section with tables in it, each on the line of its key.
fn push_inline(text: &mut String, head: &str, section: &impl Serialize) {
    if !text.is_empty() && !text.ends_with("\n\n") {
        text.push('\n');
    }
    text.push_str(head);
    text.push('\n');
    let table = toml::Table::try_from(section).expect("a section is made of values that TOML has");
    for (key, value) in table {
        text.push_str(&format!("{key} = {value}\n"));
    }
}

fn push(text: &mut String, head: &str, section: &impl Serialize) {
    if !text.is_empty() && !text.ends_with("\n\n") {
        text.push('\n');
    }
    // Strings, numbers, booleans and arrays of them under keys that are text: nothing TOML cannot hold. A path that is
    // not UTF-8 cannot come from a configuration, which is UTF-8 itself.
    let body = toml::to_string(section).expect("a section is made of values that TOML has");
    text.push_str(head);
    text.push('\n');
    text.push_str(&body);
}

/// Writes an array of tables on one line: as sections of their own they would end the section they belong to.
fn push_tables(text: &mut String, key: &str, tables: &[impl Serialize]) {
    if !tables.is_empty() {
        let value = toml::Value::try_from(tables).expect("tables are made of values that TOML has");
        text.push_str(&format!("{key} = {value}\n"));
    }
}

/// The same of one table.
fn push_table(text: &mut String, key: &str, table: &impl Serialize) {
    let value = toml::Value::try_from(table).expect("a table is made of values that TOML has");
    text.push_str(&format!("{key} = {value}\n"));
}

/// A port whose secret is written as it is.
struct Clear<'a>(&'a Port);

impl Serialize for Clear<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct WithSecret<'a> {
            #[serde(flatten)]
            port: &'a Port,
            secret: &'a str,
        }
        match &self.0.kind {
            PortKind::Memif { secret: Some(secret), .. } => {
                let mut port = self.0.clone();
                if let PortKind::Memif { secret, .. } = &mut port.kind {
                    *secret = None;
                }
                WithSecret { port: &port, secret: secret.as_str() }.serialize(serializer)
            }
            _ => self.0.serialize(serializer),
        }
    }
}

/// Writes a duration as the configuration has it, as `50us`.
pub(crate) fn duration<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*value))
}
