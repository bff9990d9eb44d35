//! A mapping within an object, whose fields are read one by one: mistakes are told by document and full name of the field.

use crate::error::{Place, Reported, Sink};
use crate::raw::Raw;

use super::object::{find, mapping, text, unknown};
use super::yaml::{Entry, Node, Value};

/// The mapping, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Fields<'d> {
    /// Of the document, from 1.
    number: usize,
    /// As `spec.ports[0]`; empty for the object itself.
    path: String,
    place: Place,
    entries: &'d [Entry],
}

impl<'d> Fields<'d> {
    pub(super) fn new(number: usize, path: &str, place: Place, entries: &'d [Entry]) -> Self {
        Self { number, path: path.to_owned(), place, entries }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a field; `None` when it is not there, or nothing.
    pub(super) fn field(&self, key: &str) -> Option<&'d Value> {
        find(self.entries, key).filter(|value| !value.is_null())
    }

    /// A field as `read` takes it.
    pub(super) fn read<T>(
        &self,
        key: &str,
        read: impl Fn(Raw<'_>) -> Result<T, String>,
        sink: &mut Sink,
    ) -> Result<Option<T>, Reported> {
        let Some(value) = self.field(key) else { return Ok(None) };
        self.one(key, value, &read, sink).map(Some)
    }

    /// The elements of a field that is a list, each as `read` takes it; every bad one is reported.
    pub(super) fn list<T>(
        &self,
        key: &str,
        read: impl Fn(Raw<'_>) -> Result<T, String>,
        sink: &mut Sink,
    ) -> Result<Vec<T>, Reported> {
        let items = self.items(key, sink)?;
        let read: Vec<_> = (0..)
            .zip(items)
            .map(|(at, value)| self.one(&format!("{key}[{at}]"), value, &read, sink))
            .collect();
        read.into_iter().collect()
    }

    /// The mapping that a field is; an absent one is empty.
    pub(super) fn within(&self, key: &str, sink: &mut Sink) -> Result<Fields<'d>, Reported> {
        match self.field(key) {
            None => Ok(Self::new(self.number, &self.key(key), self.place, &[])),
            Some(value) => self.mapping(key, value, sink),
        }
    }

    /// The mappings of a field that is a list of them.
    pub(super) fn each(&self, key: &str, sink: &mut Sink) -> Result<Vec<Fields<'d>>, Reported> {
        let items = self.items(key, sink)?;
        let read: Vec<_> =
            (0..).zip(items).map(|(at, value)| self.mapping(&format!("{key}[{at}]"), value, sink)).collect();
        read.into_iter().collect()
    }

    /// Reports fields that are none of `known`.
    pub(super) fn refuse_others(&self, known: &[&str], sink: &mut Sink) -> Result<(), Reported> {
        let mut outcome = Ok(());
        for entry in self.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            outcome = Err(self.report_at(entry.place, &entry.key, unknown(&entry.key, known), sink));
        }
        outcome
    }

    /// Adds a mistake about a field, at its value or else at the mapping.
    pub(super) fn report(&self, key: &str, message: impl Into<String>, sink: &mut Sink) -> Reported {
        let place = find(self.entries, key).map_or(self.place, |value| value.place);
        self.report_at(place, key, message, sink)
    }

    fn report_at(&self, place: Place, key: &str, message: impl Into<String>, sink: &mut Sink) -> Reported {
        sink.report_at(place, &format!("document {}: {}", self.number, self.key(key)), message)
    }

    fn one<T>(
        &self,
        key: &str,
        value: &Value,
        read: impl Fn(Raw<'_>) -> Result<T, String>,
        sink: &mut Sink,
    ) -> Result<T, Reported> {
        let Some(word) = text(value) else {
            let message = format!("expected one value, found {}", value.describe());
            return Err(self.report_at(value.place, key, message, sink));
        };
        read(Raw::Word(word)).map_err(|message| self.report_at(value.place, key, message, sink))
    }

    fn items(&self, key: &str, sink: &mut Sink) -> Result<&'d [Value], Reported> {
        match self.field(key).map(|value| (value, &value.node)) {
            None => Ok(&[]),
            Some((_, Node::List(items))) => Ok(items),
            Some((value, _)) => {
                let message = format!("expected a list, found {}", value.describe());
                Err(self.report_at(value.place, key, message, sink))
            }
        }
    }

    fn mapping(&self, key: &str, value: &'d Value, sink: &mut Sink) -> Result<Fields<'d>, Reported> {
        match &value.node {
            Node::Map(_) => Ok(Self::new(self.number, &self.key(key), value.place, mapping(value))),
            _ => {
                let message = format!("expected a mapping, found {}", value.describe());
                Err(self.report_at(value.place, key, message, sink))
            }
        }
    }
}
