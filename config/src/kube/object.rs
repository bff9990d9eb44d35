//! One Kubernetes object, whatever its kind: which it is, and its fields one by one.

use crate::error::{Place, Reported, Sink};
use crate::keys::{Key, nearest};
use crate::raw::{Raw, Table};
use crate::section::Section;

use super::fields::Fields;
use super::yaml::{Document, Entry, Node, Value};

/// An object.
#[derive(Debug)]
pub(super) struct Object<'d> {
    /// Of its document, from 1.
    pub(super) number: usize,
    pub(super) place: Place,
    /// `apiVersion`.
    pub(super) api: String,
    pub(super) kind: String,
    /// `metadata.name`.
    pub(super) name: String,
    /// `metadata.namespace`; `default` when it is left out.
    pub(super) namespace: String,
    annotations: &'d [Entry],
    labels: &'d [Entry],
    spec: &'d [Entry],
    status: &'d [Entry],
    entries: &'d [Entry],
}

/// Fields that objects have at the top, besides `apiVersion`, `kind` and `metadata`.
fn top(kind: &str) -> &'static [&'static str] {
    match kind {
        "EndpointSlice" => &["apiVersion", "kind", "metadata", "addressType", "endpoints", "ports"],
        _ => &["apiVersion", "kind", "metadata", "spec", "status"],
    }
}

impl<'d> Object<'d> {
    /// The object that `document` is. All of `metadata` but name, namespace, labels and annotations belongs to the API server
    /// and says nothing to us, and so does `status` of most kinds.
    pub(super) fn of(document: &'d Document, sink: &mut Sink) -> Result<Self, Reported> {
        let Document { number, value } = document;
        let report = |place: Place, key: &str, message: String, sink: &mut Sink| {
            sink.report_at(place, &format!("document {number}{key}"), message)
        };
        let Node::Map(entries) = &value.node else {
            let message = format!(
                "expected an object, found {}; give apiVersion, kind, metadata, spec",
                value.describe()
            );
            return Err(report(value.place, "", message, sink));
        };
        let known = top(find(entries, "kind").and_then(text).unwrap_or_default());
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            report(entry.place, &format!(": {}", entry.key), unknown(&entry.key, known), sink);
        }
        let mut word = |within: &'d [Entry], place: Place, key: &str, full: &str| {
            let found = find(within, key).and_then(text);
            found.map(str::to_owned).ok_or_else(|| {
                report(
                    place,
                    &format!(": {full}"),
                    "not set; every object has it, as a string".to_owned(),
                    sink,
                )
            })
        };
        let metadata = find(entries, "metadata").map_or(&[][..], mapping);
        let api = word(entries, value.place, "apiVersion", "apiVersion");
        let kind = word(entries, value.place, "kind", "kind");
        let name = word(metadata, value.place, "name", "metadata.name");
        Ok(Self {
            number: *number,
            place: value.place,
            api: api?,
            kind: kind?,
            name: name?,
            namespace: find(metadata, "namespace").and_then(text).unwrap_or("default").to_owned(),
            annotations: find(metadata, "annotations").map_or(&[][..], mapping),
            labels: find(metadata, "labels").map_or(&[][..], mapping),
            spec: find(entries, "spec").map_or(&[][..], mapping),
            status: find(entries, "status").map_or(&[][..], mapping),
            entries,
        })
    }

    /// The object's own fields.
    pub(super) fn fields(&self) -> Fields<'d> {
        Fields::new(self.number, "", self.place, self.entries)
    }

    /// Those of `spec`.
    pub(super) fn spec(&self) -> Fields<'d> {
        Fields::new(self.number, "spec", self.place, self.spec)
    }

    /// Those of `status`.
    pub(super) fn status(&self) -> Fields<'d> {
        Fields::new(self.number, "status", self.place, self.status)
    }

    /// A label as `read` takes it.
    pub(super) fn label<T>(
        &self,
        key: &str,
        read: impl Fn(Raw<'_>) -> Result<T, String>,
        sink: &mut Sink,
    ) -> Result<Option<T>, Reported> {
        let Some(value) = find(self.labels, key) else { return Ok(None) };
        self.one(&format!("metadata.labels.{key}"), value, read, sink).map(Some)
    }

    /// `metadata`, `spec` or `status`, to be read as a section of the configuration is, with the keys `known`.
    pub(super) fn section<'s>(
        &self,
        part: &str,
        known: &'static [Key],
        sink: &'s mut Sink,
    ) -> Section<'d, 's> {
        let path = format!("document {}: {part}", self.number);
        let value = find(self.entries, part);
        sink.place_value(path.clone(), value.map_or(self.place, |value| value.place));
        if let Some(value) = value {
            note_places(value, &path, sink);
        }
        let table = value.and_then(|value| Raw::Kube(value).table()).unwrap_or(Table::Absent);
        Section::new(path, table, known, sink)
    }

    /// The value of a field of `spec`; `None` when it is not there, or nothing.
    pub(super) fn field(&self, key: &str) -> Option<&'d Value> {
        find(self.spec, key).filter(|value| !value.is_null())
    }

    /// A field of `spec` as `read` takes it.
    pub(super) fn read<T>(
        &self,
        key: &str,
        read: impl Fn(Raw<'_>) -> Result<T, String>,
        sink: &mut Sink,
    ) -> Result<Option<T>, Reported> {
        let Some(value) = self.field(key) else { return Ok(None) };
        self.one(&format!("spec.{key}"), value, read, sink).map(Some)
    }

    /// An annotation as `read` takes it.
    pub(super) fn annotation<T>(
        &self,
        key: &str,
        read: impl Fn(Raw<'_>) -> Result<T, String>,
        sink: &mut Sink,
    ) -> Result<Option<T>, Reported> {
        let Some(value) = find(self.annotations, key) else { return Ok(None) };
        self.one(&format!("metadata.annotations.{key}"), value, read, sink).map(Some)
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

    /// Reports fields of `spec` that are none of `known`.
    pub(super) fn refuse_others(&self, known: &[&str], sink: &mut Sink) -> Result<(), Reported> {
        let others: Vec<_> = self.spec.iter().filter(|entry| !known.contains(&entry.key.as_str())).collect();
        for entry in &others {
            self.report_at(entry.place, &format!("spec.{}", entry.key), unknown(&entry.key, known), sink);
        }
        if others.is_empty() { Ok(()) } else { Err(Reported) }
    }

    /// Adds a mistake about a field, at its value or else at the object.
    pub(super) fn report(&self, key: &str, message: impl Into<String>, sink: &mut Sink) -> Reported {
        let place = key.strip_prefix("spec.").and_then(|key| find(self.spec, key)).map(|value| value.place);
        self.report_at(place.unwrap_or(self.place), key, message, sink)
    }

    fn report_at(&self, place: Place, key: &str, message: impl Into<String>, sink: &mut Sink) -> Reported {
        sink.report_at(place, &format!("document {}: {key}", self.number), message)
    }

    /// A note about a field.
    pub(super) fn note(&self, key: &str, message: &str) -> String {
        format!("document {} ({} {}): spec.{key}: {message}", self.number, self.kind, self.name)
    }
}

/// Notes in `sink` the place of every value within `value`.
fn note_places(value: &Value, path: &str, sink: &mut Sink) {
    let mut note = |path: String, value: &Value| {
        sink.place_value(path.clone(), value.place);
        note_places(value, &path, sink);
    };
    match &value.node {
        Node::Scalar { .. } => {}
        Node::List(items) => {
            items.iter().enumerate().for_each(|(i, item)| note(format!("{path}[{i}]"), item))
        }
        Node::Map(entries) => entries.iter().for_each(|it| note(format!("{path}.{}", it.key), &it.value)),
    }
}

/// True for a value that asks for nothing: null, false, empty.
pub(super) fn is_off(value: &Value) -> bool {
    match &value.node {
        Node::Scalar { text, .. } => value.is_null() || matches!(text.as_str(), "" | "false" | "0"),
        Node::List(items) => items.is_empty(),
        Node::Map(entries) => entries.is_empty(),
    }
}

pub(super) fn find<'d>(entries: &'d [Entry], key: &str) -> Option<&'d Value> {
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

pub(super) fn mapping(value: &Value) -> &[Entry] {
    match &value.node {
        Node::Map(entries) => entries,
        _ => &[],
    }
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match &value.node {
        Node::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

pub(super) fn unknown(key: &str, known: &[&str]) -> String {
    match nearest(key, known.iter().copied()) {
        Some(near) => format!("unknown field; did you mean {near}?"),
        None => format!("unknown field; remove it, or use one of: {}", known.join(", ")),
    }
}
