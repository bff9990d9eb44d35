//! From text to a [`Config`]: a whole TOML document, a file, or the words of one port on a command line.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use crate::check::routing::Joined;
use crate::check::{self, Around};
use crate::cluster::{Cluster, admin, object, policy};
use crate::daemon::Daemon;
use crate::error::{ConfigErrors, LoadError, Place, Reported, Sink};
use crate::keys::{Key, SECTIONS, nearest};
use crate::port::{Draft, Port};
use crate::raw::{Lines, Table, note_places};
use crate::section::Section;
use crate::service::Only;
use crate::{
    Config, connections, daemon, flow_cache, memory, metrics, network, node, port, router, service, workers,
};

/// Largest configuration file, in bytes: enough for 50,000 ports, and not for a disk given by mistake.
const FILE_MAX: u64 = 16 << 20;

/// Most sections of one name: the switch numbers networks and routers with 16 bits.
pub(crate) const SECTIONS_MAX: usize = 65_535;

/// Reads a configuration. `origin` is the name that messages give the text, most often a file name.
///
/// # Errors
/// Every mistake of the text at once, in its order. Text that is not TOML gives only its syntax errors.
pub fn parse(text: &str, origin: &str) -> Result<Config, ConfigErrors> {
    let mut sink = Sink::new(origin);
    let config = document(text, &mut sink, read_document);
    sink.finish(config.flatten())
}

/// Hands the document of `text` to `read`, with the places of all keys noted. `None` after syntax errors.
pub(crate) fn document<T>(
    text: &str,
    sink: &mut Sink,
    read: impl FnOnce(&DeTable<'_>, &mut Sink) -> T,
) -> Option<T> {
    let lines = Lines::new(text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let place = error.span().map_or_else(Place::default, |span| lines.place(span.start));
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        sink.report_at(place, "", format!("not valid TOML: {message}; correct the syntax"));
    }
    if !sink.is_clean() {
        // What was recovered would give mistakes that are only echoes of these.
        return None;
    }
    let document = document.get_ref();
    note_places(document, "", &lines, sink);
    Some(read(document, sink))
}

/// Reads the configuration file at `path`.
///
/// # Errors
/// When the file cannot be read, is larger than 16 MiB, or holds mistakes (all of them at once).
pub fn load(path: &Path) -> Result<Config, LoadError> {
    Ok(parse(&text_of(path)?, &path.display().to_string())?)
}

/// The text of the file at `path`.
///
/// # Errors
/// When it cannot be read, is larger than 16 MiB, or is not UTF-8.
pub(crate) fn text_of(path: &Path) -> Result<String, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file of the limit from a larger one.
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(LoadError::TooLarge { path: path.to_owned(), limit: FILE_MAX });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            let mut sink = Sink::new(&path.display().to_string());
            let place = Lines::new(&good).place(good.len());
            sink.report_at(place, "", "not valid UTF-8; save the file as UTF-8 text");
            Ok(sink.finish(None)?)
        }
    }
}

/// Reads one port from `key=value` words of a command line, to be added to `known`. The rules are those of a
/// `[[port]]` section; lists are written with commas. Messages count words from 1 in the order of `args`.
///
/// # Errors
/// Every mistake at once, conflicts with the ports of `known` included.
pub fn parse_port(args: &[(String, String)], known: &Config) -> Result<Port, ConfigErrors> {
    let mut sink = Sink::new("argument");
    for (i, (key, _)) in args.iter().enumerate() {
        let place = Place { line: i + 1, column: 0 };
        if args[..i].iter().any(|(earlier, _)| earlier == key) {
            sink.report_at(place, key, "given twice; give it once");
            continue;
        }
        sink.place_value(key.clone(), place);
    }
    let mut drafts: Vec<_> = known.ports.iter().map(Draft::of).collect();
    drafts.push(port::read(String::new(), Table::Words(args), &mut sink));
    let around = Around::of(known);
    check::underlay::give_parent_macs(&mut drafts, around.networks(), &mut sink);
    check::ports(&drafts, &around, &mut sink);
    let port = drafts.pop().and_then(Draft::complete);
    sink.finish(port)
}

/// `config` with the ports of `sections`, each a `[[port]]` as [`Port::to_toml`](crate::Port::to_toml) writes it, behind its own.
///
/// # Errors
/// Every mistake of the whole; places are of no text.
pub fn with_ports(config: &Config, sections: &[&str], origin: &str) -> Result<Config, ConfigErrors> {
    if sections.is_empty() {
        return Ok(config.clone());
    }
    // Services and policies have nothing to do with ports.
    let part = Config { services: Vec::new(), cluster: Arc::default(), ..config.clone() };
    let mut text = part.to_toml();
    for section in sections {
        text.push_str("\n\n");
        text.push_str(section);
    }
    let whole = parse(&text, origin)?;
    Ok(Config { services: config.services.clone(), cluster: config.cluster.clone(), ..whole })
}

/// `None` only after a mistake was reported.
fn read_document(document: &DeTable<'_>, sink: &mut Sink) -> Option<Config> {
    refuse_unknown_sections(document, sink);
    let daemon = single(document, "daemon", daemon::KEYS, sink, daemon::read);
    let memory = single(document, "memory", memory::KEYS, sink, memory::read);
    let workers = single(document, "workers", workers::KEYS, sink, workers::read);
    let metrics = single(document, "metrics", metrics::KEYS, sink, metrics::read);
    let flow_cache = single(document, "flow_cache", flow_cache::KEYS, sink, flow_cache::read);
    let connections = single(document, "connections", connections::KEYS, sink, connections::read);
    let node = single(document, "node", node::KEYS, sink, node::read);

    let mut routers = Vec::new();
    let sections = repeated(document, "router", sink);
    let mut all_routers = sections.iter().all(|(_, table)| table.is_some());
    for (path, table) in sections.into_iter().filter_map(|(path, table)| Some((path, table?))) {
        routers.push(router::read(path.clone(), &mut Section::new(path, table, router::KEYS, sink)));
    }
    all_routers &= routers.iter().all(|draft| draft.name.is_some());
    let mut networks = Vec::new();
    let sections = repeated(document, "network", sink);
    let all_networks = sections.iter().all(|(_, table)| table.is_some());
    for (path, table) in sections.into_iter().filter_map(|(path, table)| Some((path, table?))) {
        networks.push(network::read(path.clone(), &mut Section::new(path, table, network::keys::KEYS, sink)));
    }
    if !document.contains_key("network") {
        networks.push(network::Draft::default_network());
    }
    check::networks(&networks, sink);
    check::overlay::choose_sources(&mut networks);
    let all_named = all_networks && networks.iter().all(|draft| draft.name.is_some());
    check::underlay::all(&networks, all_named, sink);
    check::underlay::vlan_names(&networks, sink);
    check::overlay::all(&networks, &routers, all_named, sink);
    let joined = Joined { routers: &routers, networks: &networks, all_routers, all_networks };
    check::routing::all(&joined, sink);

    let mut drafts = Vec::new();
    let sections = repeated(document, "port", sink);
    let all_ports = sections.iter().all(|(_, table)| table.is_some());
    for (path, table) in sections.into_iter().filter_map(|(path, table)| Some((path, table?))) {
        drafts.push(port::read(path, table, sink));
    }
    let all_ports = all_ports && drafts.iter().all(|draft| draft.name.is_some());
    let fallback = Daemon::default();
    let daemon_or_default = daemon.as_ref().unwrap_or(&fallback);
    let around = Around::new(daemon_or_default, workers.as_ref().ok(), &networks, all_networks);
    check::underlay::give_parent_macs(&mut drafts, around.networks(), sink);
    check::ports(&drafts, &around, sink);
    check::underlay::host_ports(&networks, &drafts, all_ports, sink);
    check::gateway::all(&joined, &drafts, all_ports, sink);

    let mut services = Vec::new();
    let sections = repeated(document, "service", sink);
    let all_services = sections.iter().all(|(_, table)| table.is_some());
    let only = match routers.as_slice() {
        _ if !all_routers => Only::Unknown,
        [router::Draft { name: Some(name), .. }] => Only::Is(name),
        routers => Only::Of(routers.len()),
    };
    for (path, table) in sections.into_iter().filter_map(|(path, table)| Some((path, table?))) {
        let section = &mut Section::new(path.clone(), table, service::keys::KEYS, sink);
        services.push(service::read(path, section, only));
    }
    let fallback = node::Node::default();
    let around =
        check::services::Around { node: node.as_ref().unwrap_or(&fallback), joined: &joined, ports: &drafts };
    check::services::all(&services, &around, sink);
    let services = services.into_iter().map(|draft| Some(Arc::new(draft.service?)));
    let services = services.collect::<Option<Vec<_>>>().filter(|_| all_services);
    let cluster = cluster(document, sink);
    let ports = drafts.into_iter().map(Draft::complete).collect::<Option<Vec<_>>>()?;
    Some(Config {
        daemon: daemon.ok()?,
        memory: memory.ok()?,
        workers: workers.ok()?,
        metrics: metrics.ok()?,
        flow_cache: flow_cache.ok()?,
        connections: connections.ok()?,
        node: node.ok()?,
        routers: routers.into_iter().map(router::Draft::complete).collect::<Option<_>>()?,
        networks: networks.into_iter().map(|draft| draft.network).collect(),
        ports,
        services: services?,
        cluster: Arc::new(cluster?),
    })
}

/// Pods and policies. What could be read is checked also when other parts have mistakes.
fn cluster(document: &DeTable<'_>, sink: &mut Sink) -> Option<Cluster> {
    let mut places = Places::default();
    let cluster = Cluster {
        namespaces: objects(
            document,
            "namespace",
            object::NAMESPACE_KEYS,
            &mut places,
            sink,
            object::read_namespace,
        ),
        pods: shared(objects(document, "pod", object::POD_KEYS, &mut places, sink, object::read_pod)),
        policies: shared(objects(document, "policy", policy::KEYS, &mut places, sink, policy::read)),
        admin_policies: objects(document, "admin_policy", admin::KEYS, &mut places, sink, admin::read),
    };
    let path = |section: &str, index: usize| {
        let paths = places.paths.get(section);
        paths.and_then(|paths| paths.get(index)).cloned().unwrap_or_else(|| section.to_owned())
    };
    check::cluster::all(&cluster, &path, sink);
    (!places.failed).then_some(cluster)
}

fn shared<T>(objects: Vec<T>) -> Vec<Arc<T>> {
    objects.into_iter().map(Arc::new).collect()
}

/// Where objects stand that could be read, by section.
#[derive(Default)]
struct Places {
    paths: HashMap<&'static str, Vec<String>>,
    /// Some could not be read.
    failed: bool,
}

/// The objects of a repeated section that could be read.
fn objects<T>(
    document: &DeTable<'_>,
    name: &'static str,
    keys: &'static [Key],
    places: &mut Places,
    sink: &mut Sink,
    read: fn(&mut Section<'_, '_>) -> Result<T, Reported>,
) -> Vec<T> {
    let mut objects = Vec::new();
    let paths = places.paths.entry(name).or_default();
    for (path, table) in repeated(document, name, sink) {
        let object = table.map(|table| read(&mut Section::new(path.clone(), table, keys, sink)));
        match object {
            Some(Ok(object)) => {
                objects.push(object);
                paths.push(path);
            }
            _ => places.failed = true,
        }
    }
    objects
}

fn refuse_unknown_sections(document: &DeTable<'_>, sink: &mut Sink) {
    let head = |name: &str| {
        let repeated = SECTIONS.iter().any(|s| s.name == name && s.repeated);
        if repeated { format!("[[{name}]]") } else { format!("[{name}]") }
    };
    for key in document.keys().map(|key| key.get_ref().as_ref()) {
        if SECTIONS.iter().any(|s| s.name == key) {
            continue;
        }
        let near = nearest(key, SECTIONS.iter().map(|s| s.name));
        let owner = SECTIONS.iter().find(|s| s.keys.iter().any(|k| k.name == key));
        let message = match (near, owner) {
            (Some(near), _) => format!("unknown section; did you mean {}?", head(near)),
            (None, Some(owner)) => format!("a key outside any section; write it under {}", head(owner.name)),
            (None, None) => {
                let all: Vec<_> = SECTIONS.iter().map(|s| head(s.name)).collect();
                format!("unknown section; remove it, or use one of: {}", all.join(", "))
            }
        };
        sink.report_key(key, message);
    }
}

/// Reads a section that stands once, or its defaults when it is not there.
fn single<T>(
    document: &DeTable<'_>,
    name: &str,
    keys: &'static [crate::Key],
    sink: &mut Sink,
    read: fn(&mut Section<'_, '_>) -> Result<T, Reported>,
) -> Result<T, Reported> {
    let table = match document.get(name).map(|value| value.get_ref()) {
        None => Table::Absent,
        Some(DeValue::Table(table)) => Table::Toml(table),
        Some(DeValue::Array(_)) => {
            return Err(sink.report(name, format!("a section that stands once; write [{name}]")));
        }
        Some(other) => {
            let found = other.type_str();
            return Err(sink
                .report(name, format!("expected a section, found a value of type {found}; write [{name}]")));
        }
    };
    read(&mut Section::new(name.to_owned(), table, keys, sink))
}

/// The tables of a section that is repeated, each with its key; `None` for an element that is no table.
fn repeated<'a>(document: &'a DeTable<'a>, name: &str, sink: &mut Sink) -> Vec<(String, Option<Table<'a>>)> {
    match document.get(name).map(|value| value.get_ref()) {
        None => Vec::new(),
        Some(DeValue::Array(items)) if items.len() > SECTIONS_MAX => {
            let path = format!("{name}[{SECTIONS_MAX}]");
            sink.report(&path, format!("more than {SECTIONS_MAX} sections [[{name}]]; remove some"));
            vec![(path, None)]
        }
        Some(DeValue::Array(items)) => items
            .iter()
            .enumerate()
            .map(|(i, item)| {
                let path = format!("{name}[{i}]");
                let table = item.get_ref().as_table().map(Table::Toml);
                if table.is_none() {
                    let found = item.get_ref().type_str();
                    sink.report(
                        &path,
                        format!("expected a section, found a value of type {found}; write [[{name}]]"),
                    );
                }
                (path, table)
            })
            .collect(),
        // The brackets are wrong; what stands in them may be wrong too, and is read.
        Some(DeValue::Table(table)) => {
            sink.report(name, format!("a section that may be repeated; write [[{name}]]"));
            vec![(name.to_owned(), Some(Table::Toml(table)))]
        }
        Some(other) => {
            let found = other.type_str();
            sink.report(name, format!("expected a section, found a value of type {found}; write [[{name}]]"));
            vec![(name.to_owned(), None)]
        }
    }
}
