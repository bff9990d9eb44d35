//! Reading one section key by key. A bad value is reported and reading goes on; the caller builds its struct with `?`
//! after it has asked for every key.

use crate::cluster::labels::{self, Labels};
use crate::error::{Reported, Sink};
use crate::keys::{Key, nearest};
use crate::raw::{Raw, Table, join};

/// One section being read.
#[derive(Debug)]
pub(crate) struct Section<'a, 's> {
    path: String,
    table: Table<'a>,
    known: &'static [Key],
    sink: &'s mut Sink,
}

impl<'a, 's> Section<'a, 's> {
    /// `path` is the section's own key, as `port[3]`; empty on a command line.
    pub(crate) fn new(path: String, table: Table<'a>, known: &'static [Key], sink: &'s mut Sink) -> Self {
        Section { path, table, known, sink }
    }

    fn raw(&self, key: &str) -> Option<Raw<'a>> {
        debug_assert!(self.known.iter().any(|k| k.name == key), "{key} is missing from the list of keys");
        self.table.get(key)
    }

    /// True when the key was written, rightly or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// Reports a mistake about `key` of this section.
    pub(crate) fn report(&mut self, key: &str, message: impl Into<String>) -> Reported {
        self.sink.report(&join(&self.path, &self.table.spelled(key)), message)
    }

    /// The value, or `None` when the key is absent.
    pub(crate) fn optional<T>(
        &mut self,
        key: &str,
        parse: impl Fn(Raw<'a>) -> Result<T, String>,
    ) -> Result<Option<T>, Reported> {
        match self.raw(key).map(parse) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(message)) => Err(self.report(key, message)),
        }
    }

    /// The value, or `default` when the key is absent.
    pub(crate) fn or<T>(
        &mut self,
        key: &str,
        default: T,
        parse: impl Fn(Raw<'a>) -> Result<T, String>,
    ) -> Result<T, Reported> {
        Ok(self.optional(key, parse)?.unwrap_or(default))
    }

    /// The value; an absent key is a mistake. `example` is a TOML value that would do.
    pub(crate) fn required<T>(
        &mut self,
        key: &str,
        example: &str,
        parse: impl Fn(Raw<'a>) -> Result<T, String>,
    ) -> Result<T, Reported> {
        match self.optional(key, parse)? {
            Some(value) => Ok(value),
            None => {
                let (equals, example) = match self.table {
                    Table::Words(_) => ("=", example.trim_matches('"')),
                    Table::Kube(_) => (": ", example.trim_matches('"')),
                    _ => (" = ", example),
                };
                let message =
                    format!("required but missing; add it, as {}{equals}{example}", self.table.spelled(key));
                Err(self.report(key, message))
            }
        }
    }

    /// The elements of an array, each by `parse`; an absent key is an empty one. Every bad element is reported.
    pub(crate) fn list<T>(
        &mut self,
        key: &str,
        parse: impl Fn(Raw<'a>) -> Result<T, String>,
    ) -> Result<Vec<T>, Reported> {
        let Some(raw) = self.raw(key) else { return Ok(Vec::new()) };
        let Some(items) = raw.items() else {
            return Err(
                self.report(key, format!("expected an array, found {}; put it in [ ]", raw.describe()))
            );
        };
        let mut list = Vec::with_capacity(items.len());
        let mut bad = None;
        for (i, item) in items.into_iter().enumerate() {
            match parse(item) {
                Ok(value) => list.push(value),
                Err(message) => bad = Some(self.report(&format!("{key}[{i}]"), message)),
            }
        }
        bad.map_or(Ok(list), Err)
    }

    /// The tables of an array of inline tables, each read as a section with the keys `known`. An absent key is an empty
    /// array; a table that holds a mistake is `None`, so that the others can be checked further. `example` is a table that
    /// would do.
    pub(crate) fn tables<T>(
        &mut self,
        key: &str,
        known: &'static [Key],
        example: &str,
        read: impl Fn(&mut Section<'a, '_>) -> Result<T, Reported>,
    ) -> Result<Vec<Option<T>>, Reported> {
        let Some(raw) = self.raw(key) else { return Ok(Vec::new()) };
        let Some(items) = raw.items() else {
            let message = format!("expected an array, found {}; write [{example}]", raw.describe());
            return Err(self.report(key, message));
        };
        let one = |(i, item): (usize, Raw<'a>)| {
            let path = format!("{}[{i}]", join(&self.path, &self.table.spelled(key)));
            match item.table() {
                Some(table) => read(&mut Section::new(path, table, known, self.sink)).ok(),
                None => {
                    let message = format!("expected a table, found {}; write {example}", item.describe());
                    self.sink.report(&path, message);
                    None
                }
            }
        };
        Ok(items.into_iter().enumerate().map(one).collect())
    }

    /// The table under `key`, read as a section with the keys `known`; `None` when it is not there. `example` is a table that
    /// would do.
    pub(crate) fn table<T>(
        &mut self,
        key: &str,
        known: &'static [Key],
        example: &str,
        read: impl FnOnce(&mut Section<'a, '_>) -> Result<T, Reported>,
    ) -> Result<Option<T>, Reported> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        let Some(table) = raw.table() else {
            let message = format!("expected a table, found {}; write {example}", raw.describe());
            return Err(self.report(key, message));
        };
        let path = join(&self.path, &self.table.spelled(key));
        read(&mut Section::new(path, table, known, self.sink)).map(Some)
    }

    /// The labels under `key`; none when it is not there. Every bad one is reported.
    pub(crate) fn labels(&mut self, key: &str) -> Result<Labels, Reported> {
        let Some(raw) = self.raw(key) else { return Ok(Labels::default()) };
        let Some(table) = raw.table() else {
            let message = format!("expected a table, found {}; write {{ app = \"web\" }}", raw.describe());
            return Err(self.report(key, message));
        };
        let (mut labels, mut bad) = (Labels::default(), None);
        for name in table.keys() {
            let path = format!("{key}.{name}");
            if let Err(message) = labels::check_key(name) {
                bad = Some(self.report(&path, message));
            }
            match table.exactly(name).map(labels::value) {
                Some(Ok(value)) => drop(labels.insert(name, &value)),
                Some(Err(message)) => bad = Some(self.report(&path, message)),
                None => {}
            }
        }
        bad.map_or(Ok(labels), Err)
    }

    /// True when the key was written as an array.
    pub(crate) fn is_array(&self, key: &str) -> bool {
        self.raw(key).is_some_and(|raw| raw.items().is_some())
    }

    /// True for the words of a command line, which have no tables.
    pub(crate) fn is_words(&self) -> bool {
        matches!(self.table, Table::Words(_))
    }

    /// True for a part of a Kubernetes object.
    pub(crate) fn is_object(&self) -> bool {
        matches!(self.table, Table::Kube(_))
    }

    /// Reports every key that this section, or one of this `kind` (in words: `veth`, `ports`), does not have. With an
    /// unknown kind (`None`), the keys of all kinds pass: the kind is the mistake then.
    pub(crate) fn refuse_others(&mut self, kind: Option<(&str, &str)>) {
        for key in self.table.keys() {
            let mut named = self.known.iter().filter(|k| self.table.spelled(k.name) == key).peekable();
            if named.peek().is_none() {
                self.refuse_unknown(key, kind.map(|(kind, _)| kind));
                continue;
            }
            let Some((kind, noun)) = kind else { continue };
            let mut owners = Vec::new();
            let mut ours = false;
            for entry in named {
                ours |= entry.kinds.is_empty() || entry.kinds.contains(&kind);
                owners.extend_from_slice(entry.kinds);
            }
            if !ours {
                let owners = owners.join(" and ");
                let message =
                    format!("a key of {owners} {noun}, not of {kind} {noun}; remove it or change kind");
                self.sink.report_key(&join(&self.path, key), message);
            }
        }
    }

    fn refuse_unknown(&mut self, key: &str, kind: Option<&str>) {
        let common = |k: &&Key| k.kinds.is_empty();
        let fits = |k: &&Key| common(k) || kind.is_none_or(|kind| k.kinds.contains(&kind));
        let message = match nearest(key, self.known.iter().filter(fits).map(|k| k.name)) {
            Some(near) => format!("unknown key; did you mean {}?", self.table.spelled(near)),
            None => {
                let listed = |k: &&Key| if kind.is_some() { fits(k) } else { common(k) };
                let names = self.known.iter().filter(listed).map(|k| self.table.spelled(k.name));
                let names: Vec<_> = names.collect();
                format!("unknown key; remove it, or use one of: {}", names.join(", "))
            }
        };
        self.sink.report_key(&join(&self.path, key), message);
    }
}
