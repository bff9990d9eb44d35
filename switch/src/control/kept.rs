//! What was applied beyond the file (Kubernetes objects, ports that were added), kept in a directory: put on top of the file when the
//! daemon starts and when the file is read again. Every change is on the disk before it is acknowledged.
//!
//! Objects are kept as they were applied, not as what became of them: on top of another file they may become something else, or not fit.
//! What does not fit is named, stays in the directory, and is tried again with the next file.
//!
//! | file | holds |
//! |---|---|
//! | `journal` | the file in the directory |

mod journal;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use shunt_config::{AppliedObject, Config, ConfigErrors, ObjectChange, ObjectName};

use super::{Applied, ApplyError, Control};
pub use journal::KeptError;
use journal::{Journal, Span};

/// Bytes of the file that may be of no use any more, besides as many as are of use.
const SLACK: u64 = 1 << 20;
/// The kind under which ports are kept.
const PORT: &str = "port";
/// The name that messages give what is kept.
const ORIGIN: &str = "state";

/// What is kept.
#[derive(Debug)]
pub struct Kept {
    journal: Journal,
    held: HashMap<ObjectName, Held>,
    /// Bytes of the file that are of use.
    live: u64,
}

#[derive(Debug)]
struct Held {
    span: Span,
    /// Of a slice: its service.
    service: Option<Box<str>>,
    /// It did not fit.
    aside: bool,
}

/// A change that is written and not yet in force.
#[derive(Debug)]
struct Pending {
    changes: Vec<ObjectChange>,
    spans: Vec<Span>,
    /// Length of the file before.
    before: u64,
}

/// What is kept, by what it needs.
#[derive(Debug, Default)]
struct Sorted {
    /// Documents that are nothing by themselves; Subnets name them.
    vlans: String,
    services_and_others: Vec<AppliedObject>,
    slices: Vec<AppliedObject>,
    ports: Vec<AppliedObject>,
}

/// Something that does not fit the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// What it is called.
    pub name: ObjectName,
    /// What is wrong with it.
    pub why: String,
}

impl std::fmt::Display for Aside {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} does not fit the configuration and is kept aside: {}", self.name, self.why)
    }
}

fn port_name(name: &str) -> ObjectName {
    ObjectName { kind: PORT.to_owned(), namespace: String::new(), name: name.to_owned() }
}

/// A change as a line of the file.
fn written(change: &ObjectChange) -> String {
    let line = match change {
        ObjectChange::Applied(object) => serde_json::to_string(object),
        ObjectChange::Gone(name) => serde_json::to_string(name),
    };
    line.expect("it is made of text")
}

/// The change of a line.
fn parsed(line: &str) -> Result<ObjectChange, serde_json::Error> {
    let value: serde_json::Value = serde_json::from_str(line)?;
    Ok(match value.get("text") {
        Some(_) => ObjectChange::Applied(serde_json::from_value(value)?),
        None => ObjectChange::Gone(serde_json::from_value(value)?),
    })
}

impl Kept {
    /// Opens `dir`, which is made when it is not there. A file that cannot be read is left under another name, and the log says so.
    ///
    /// # Errors
    /// The directory cannot be used, or another daemon does.
    pub fn open(dir: &Path) -> Result<Self, KeptError> {
        let (journal, read) = Journal::open(dir)?;
        if let Some(damage) = read.damage {
            let (what, kept_as) = (damage.what, damage.kept_as.display());
            tracing::error!(dir = %dir.display(), "what was applied before: {what}; the file is left as {kept_as}");
        }
        let mut kept = Self { journal, held: HashMap::new(), live: 0 };
        for (line, span) in read.lines {
            match parsed(&line) {
                Ok(change) => kept.take(&change, span),
                // A later version's, perhaps: it says what it is.
                Err(error) => {
                    tracing::error!(%error, "a line of what was applied before is not understood: {line}")
                }
            }
        }
        Ok(kept)
    }

    /// How many objects and ports are kept.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// True when nothing is.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn take(&mut self, change: &ObjectChange, span: Span) {
        match change {
            ObjectChange::Applied(AppliedObject { name, service, .. }) => {
                self.forget(name);
                let service = service.as_deref().map(Box::from);
                self.live += u64::from(span.len);
                self.held.insert(name.clone(), Held { span, service, aside: false });
            }
            ObjectChange::Gone(gone) => {
                self.forget(gone);
                let (namespace, name) = (gone.namespace.as_str(), gone.name.as_str());
                match gone.kind.as_str() {
                    "Namespace" => self.forget_all(|it, _| it.namespace == name),
                    "Service" => self.forget_all(|it, held| {
                        it.namespace == namespace && held.service.as_deref() == Some(name)
                    }),
                    _ => {}
                }
            }
        }
    }

    fn forget(&mut self, name: &ObjectName) {
        if let Some(held) = self.held.remove(name) {
            self.live -= u64::from(held.span.len);
        }
    }

    fn forget_all(&mut self, which: impl Fn(&ObjectName, &Held) -> bool) {
        let live = &mut self.live;
        self.held.retain(|name, held| {
            let goes = which(name, held);
            *live -= if goes { u64::from(held.span.len) } else { 0 };
            !goes
        });
    }

    /// True for what is kept and did not fit, and for a namespace in which such is.
    fn is_aside(&self, name: &ObjectName) -> bool {
        let within = |(it, held): (&ObjectName, &Held)| held.aside && it.namespace == name.name;
        self.held.get(name).is_some_and(|held| held.aside)
            || name.kind == "Namespace" && self.held.iter().any(within)
    }

    fn write(&mut self, changes: Vec<ObjectChange>) -> Result<Pending, KeptError> {
        let lines: Vec<String> = changes.iter().map(written).collect();
        let (spans, before) = self.journal.append(&lines)?;
        Ok(Pending { changes, spans, before })
    }

    /// The change is not in force: nor is it to be after a restart.
    fn take_back(&mut self, pending: &Pending) {
        if let Err(error) = self.journal.take_back(pending.before) {
            tracing::error!("a change that was refused may come into force with the next start: {error}");
        }
    }

    /// The change is in force: waits until it is on the disk.
    fn settle(&mut self, pending: Pending) -> Result<(), KeptError> {
        for (change, span) in pending.changes.iter().zip(pending.spans) {
            self.take(change, span);
        }
        self.journal.sync().map_err(|error| KeptError::NotDurable(Box::new(error)))?;
        if self.journal.len() > 2 * self.live + SLACK
            && let Err(error) = self.shrink()
        {
            tracing::warn!(
                "what was applied goes on in the old file, which is longer than it need be: {error}"
            );
        }
        Ok(())
    }

    /// Leaves behind what is of no use any more.
    fn shrink(&mut self) -> Result<(), KeptError> {
        let names: Vec<ObjectName> = self.in_order().into_iter().map(|(name, _)| name.clone()).collect();
        let line = |name: &ObjectName| self.journal.line(self.held[name].span);
        let lines = names.iter().map(line).collect::<Result<Vec<_>, _>>()?;
        let spans = self.journal.replace(&lines)?;
        for (name, span) in names.iter().zip(spans) {
            if let Some(held) = self.held.get_mut(name) {
                held.span = span;
            }
        }
        Ok(())
    }

    /// All of it in the order in which it was last applied.
    fn in_order(&self) -> Vec<(&ObjectName, &Held)> {
        let mut all: Vec<_> = self.held.iter().collect();
        all.sort_unstable_by_key(|(_, held)| held.span.at);
        all
    }

    /// `file` with all that is kept on top, and what does not fit.
    pub fn over(&self, file: &Config) -> (Config, Vec<Aside>) {
        let mut aside = Vec::new();
        let Sorted { vlans, services_and_others: others, slices, ports } = self.sorted(&mut aside);
        let merge = |config: &Config, objects: &[AppliedObject]| {
            let text = vlans.clone() + &objects.iter().map(document).collect::<String>();
            Ok(shunt_config::merge(config, &text, ORIGIN)?.config)
        };
        // All at once when nothing is wrong; else services before what is theirs.
        let all = [others.as_slice(), slices.as_slice()].concat();
        let config = match merge(file, &all) {
            Ok(config) => config,
            Err::<_, ConfigErrors>(_) => {
                let config = fit(file.clone(), &others, &merge, &mut aside);
                fit(config, &slices, &merge, &mut aside)
            }
        };
        let mut joining = ports;
        joining.retain(|port| {
            let Some(own) = file.port(&port.name.name) else { return true };
            if own.to_toml() != port.text {
                let why = "the file has a port of that name, which is in force".to_owned();
                aside.push(Aside { name: port.name.clone(), why });
            }
            false
        });
        let join = |config: &Config, ports: &[AppliedObject]| {
            let sections: Vec<&str> = ports.iter().map(|port| port.text.as_str()).collect();
            shunt_config::with_ports(config, &sections, ORIGIN)
        };
        let config = fit(config, &joining, &join, &mut aside);
        (config, aside)
    }

    /// All of it by what it needs; what cannot be read goes to `aside`.
    fn sorted(&self, aside: &mut Vec<Aside>) -> Sorted {
        let mut sorted = Sorted::default();
        for (name, held) in self.in_order() {
            let line = self.journal.line(held.span).map_err(|error| error.to_string());
            let object = line.and_then(|line| match parsed(&line) {
                Ok(ObjectChange::Applied(object)) => Ok(object),
                Ok(ObjectChange::Gone(_)) => Err("it is not there any more".to_owned()),
                Err(error) => Err(error.to_string()),
            });
            match object {
                Ok(object) => match name.kind.as_str() {
                    "Vlan" => sorted.vlans += &document(&object),
                    "EndpointSlice" => sorted.slices.push(object),
                    PORT => sorted.ports.push(object),
                    _ => sorted.services_and_others.push(object),
                },
                Err(why) => aside.push(Aside { name: name.clone(), why }),
            }
        }
        sorted
    }

    /// What [`Kept::over`] gave is in force.
    pub fn note_aside(&mut self, aside: &[Aside]) {
        let names: HashSet<&ObjectName> = aside.iter().map(|aside| &aside.name).collect();
        self.held.iter_mut().for_each(|(name, held)| held.aside = names.contains(name));
    }
}

/// An object as a document among others.
fn document(object: &AppliedObject) -> String {
    format!("---\n{}\n", object.text)
}

/// `config` with as many of `objects` as fit, by halves; the others go to `aside`.
fn fit(
    config: Config,
    objects: &[AppliedObject],
    with: &impl Fn(&Config, &[AppliedObject]) -> Result<Config, ConfigErrors>,
    aside: &mut Vec<Aside>,
) -> Config {
    if objects.is_empty() {
        return config;
    }
    match with(&config, objects) {
        Ok(config) => config,
        Err(errors) => match objects {
            [alone] => {
                let why: Vec<&str> = errors.0.iter().map(|error| error.message.as_str()).collect();
                aside.push(Aside { name: alone.name.clone(), why: why.join("; ") });
                config
            }
            _ => {
                let (first, second) = objects.split_at(objects.len() / 2);
                let config = fit(config, first, with, aside);
                fit(config, second, with, aside)
            }
        },
    }
}

impl Control {
    /// From now on what is applied is kept in `kept`, whose content is in force already.
    pub fn keep(&mut self, kept: Kept) {
        self.kept = Some(kept);
    }

    /// Goes from the running configuration to what a file says, with all that is kept on top. Notes say what does not fit.
    ///
    /// # Errors
    /// As [`Control::apply`].
    pub fn reload(&mut self, file: &Config) -> Result<Applied, ApplyError> {
        let Some(kept) = &self.kept else { return self.apply(file) };
        let (whole, aside) = kept.over(file);
        let applied = self.apply(&whole)?;
        if let Some(kept) = &mut self.kept {
            kept.note_aside(&aside);
        }
        Ok(Applied { notes: aside.iter().map(ToString::to_string).collect(), ..applied })
    }

    /// Does `apply`; what it changes is kept when that is done.
    pub(super) fn keeping(
        &mut self,
        changes: Vec<ObjectChange>,
        apply: impl FnOnce(&mut Self) -> Result<Applied, ApplyError>,
    ) -> Result<Applied, ApplyError> {
        let Some(kept) = self.kept.as_mut().filter(|_| !changes.is_empty()) else { return apply(self) };
        let pending = kept.write(changes)?;
        let applied = apply(self);
        if let Some(kept) = &mut self.kept {
            match &applied {
                Ok(_) => kept.settle(pending)?,
                Err(_) => kept.take_back(&pending),
            }
        }
        applied
    }

    /// True for an object that is kept, but does not fit the file.
    pub(super) fn is_aside(&self, name: &ObjectName) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_aside(name))
    }

    /// A port as it is kept.
    pub(super) fn kept_port(port: &shunt_config::Port) -> ObjectChange {
        let name = port_name(port.name.as_str());
        ObjectChange::Applied(AppliedObject { name, service: None, text: port.to_toml() })
    }

    /// The end of a port, where it is kept.
    pub(super) fn port_gone(&self, name: &str) -> Vec<ObjectChange> {
        let name = port_name(name);
        let is_kept = self.kept.as_ref().is_some_and(|kept| kept.held.contains_key(&name));
        is_kept.then_some(ObjectChange::Gone(name)).into_iter().collect()
    }
}
