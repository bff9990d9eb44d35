//! The text before it means anything: tables and values as written, from TOML or from `key=value` words, with the place
//! of each. The document is walked once to note the places; afterwards a mistake is reported by key alone.
//!
//! The reader is not `serde`: a derived reader stops at the first value of a wrong type, and we want all mistakes at once.

use std::borrow::Cow;

use toml::de::{DeTable, DeValue};

use crate::error::{Place, Sink};
use crate::kube::yaml;

/// A value as written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Raw<'a> {
    /// From a TOML document: it has a type.
    Toml(&'a DeValue<'a>),
    /// From a command line: text that becomes what the key expects.
    Word(&'a str),
    /// From a Kubernetes object.
    Kube(&'a yaml::Value),
}

impl<'a> Raw<'a> {
    pub(crate) fn text(self) -> Option<&'a str> {
        match self {
            Raw::Toml(value) => value.as_str(),
            Raw::Word(word) => Some(word),
            Raw::Kube(value) => value.text(),
        }
    }

    /// The integer, or `None` for another type. An integer beyond 64 bits reads as the nearest 64-bit one: every range
    /// we check ends far before.
    pub(crate) fn integer(self) -> Option<i64> {
        let (digits, radix) = match self {
            Raw::Toml(value) => value.as_integer().map(|i| (i.as_str(), i.radix()))?,
            Raw::Word(word) => (word, 10),
            // What is in quotes is text, also when it is digits.
            Raw::Kube(value) => (value.plain()?, 10),
        };
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        match i64::from_str_radix(digits, radix) {
            Ok(value) => Some(value),
            Err(e) if *e.kind() == PosOverflow => Some(i64::MAX),
            Err(e) if *e.kind() == NegOverflow => Some(i64::MIN),
            Err(_) => None,
        }
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        match self {
            Raw::Toml(value) => value.as_bool(),
            Raw::Word(word) => truth(word),
            Raw::Kube(value) => truth(value.plain()?),
        }
    }

    /// The elements of an array; of a word, its parts between commas.
    pub(crate) fn items(self) -> Option<Vec<Raw<'a>>> {
        match self {
            Raw::Toml(value) => {
                Some(value.as_array()?.iter().map(|item| Raw::Toml(item.get_ref())).collect())
            }
            Raw::Word("") => Some(Vec::new()),
            Raw::Word(word) => Some(word.split(',').map(|part| Raw::Word(part.trim())).collect()),
            Raw::Kube(value) => Some(value.list()?.iter().map(Raw::Kube).collect()),
        }
    }

    /// The keys and values of a table within a value.
    pub(crate) fn table(self) -> Option<Table<'a>> {
        match self {
            Raw::Toml(value) => value.as_table().map(Table::Toml),
            Raw::Word(_) => None,
            Raw::Kube(value) => value.map().map(Table::Kube),
        }
    }

    /// An integer as it was written.
    pub(crate) fn literal(self) -> String {
        match self {
            Raw::Toml(DeValue::Integer(number)) => number.to_string(),
            other => other.text().unwrap_or_default().to_owned(),
        }
    }

    /// The value for a message, short and on one line.
    pub(crate) fn describe(self) -> String {
        match self {
            Raw::Word(word) => quote(word),
            Raw::Kube(value) => value.describe(),
            Raw::Toml(DeValue::String(text)) => format!("the string {}", quote(text)),
            Raw::Toml(DeValue::Integer(number)) => format!("the integer {number}"),
            Raw::Toml(DeValue::Boolean(value)) => format!("the boolean {value}"),
            Raw::Toml(DeValue::Float(number)) => format!("the float {number}"),
            Raw::Toml(DeValue::Datetime(_)) => "a date".to_owned(),
            Raw::Toml(DeValue::Array(_)) => "an array".to_owned(),
            Raw::Toml(DeValue::Table(_)) => "a table".to_owned(),
        }
    }
}

/// `text` in quotes, control characters escaped, cut at 60 characters: a message stays one readable line.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{:?}...", &text[..cut]),
        None => format!("{text:?}"),
    }
}

/// The keys and values of one section.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Table<'a> {
    /// A TOML table.
    Toml(&'a DeTable<'a>),
    /// `key=value` words of a command line.
    Words(&'a [(String, String)]),
    /// A mapping of a Kubernetes object. Its keys are ours in camel case: `podSelector` is `pod_selector`.
    Kube(&'a [yaml::Entry]),
    /// A section that is not there: every key takes its default.
    Absent,
}

impl<'a> Table<'a> {
    pub(crate) fn get(self, key: &str) -> Option<Raw<'a>> {
        match self {
            Table::Toml(table) => table.get(key).map(|value| Raw::Toml(value.get_ref())),
            Table::Words(words) => words.iter().find(|(k, _)| k == key).map(|(_, v)| Raw::Word(v)),
            Table::Kube(_) => self.exactly(&self.spelled(key)),
            Table::Absent => None,
        }
    }

    /// The value under a key that is no key of ours but somebody's choice, as a label's.
    pub(crate) fn exactly(self, key: &str) -> Option<Raw<'a>> {
        match self {
            // Nothing is the same as not there.
            Table::Kube(entries) => {
                let entry = entries.iter().find(|entry| entry.key == key)?;
                (!entry.value.is_null()).then_some(Raw::Kube(&entry.value))
            }
            other => other.get(key),
        }
    }

    /// A key of ours as it is written in this table.
    pub(crate) fn spelled(self, key: &str) -> Cow<'_, str> {
        match self {
            Table::Kube(_) => Cow::Owned(camel_case(key)),
            _ => Cow::Borrowed(key),
        }
    }

    pub(crate) fn keys(self) -> Vec<&'a str> {
        match self {
            Table::Toml(table) => table.keys().map(|key| key.get_ref().as_ref()).collect(),
            Table::Words(words) => words.iter().map(|(key, _)| key.as_str()).collect(),
            Table::Kube(entries) => entries.iter().map(|entry| entry.key.as_str()).collect(),
            Table::Absent => Vec::new(),
        }
    }
}

fn truth(word: &str) -> Option<bool> {
    match word {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// `pod_selector` as `podSelector`. What is behind a dot or bracket stays: it may be a label.
fn camel_case(key: &str) -> String {
    let end = key.find(['.', '[']).unwrap_or(key.len());
    let (head, rest) = key.split_at(end);
    let mut camel = String::with_capacity(key.len());
    let mut upper = false;
    for c in head.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                camel.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => camel.push(c),
        }
    }
    camel + rest
}

/// Turns byte offsets into lines and columns. Built once, looked up by binary search.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Lines { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// The place of a byte offset; one past the end is the place after the last character.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        Place { line, column: self.text[start..offset].chars().count() + 1 }
    }
}

/// Notes in `sink` the place of every key of `table`, and of every element of its arrays.
pub(crate) fn note_places(table: &DeTable<'_>, path: &str, lines: &Lines<'_>, sink: &mut Sink) {
    for (key, value) in table.iter() {
        let here = join(path, key.get_ref());
        let head = lines.place(key.span().start);
        sink.place_key(here.clone(), head);
        // A section is best known by its head.
        let place = if value.get_ref().is_table() { head } else { lines.place(value.span().start) };
        sink.place_value(here.clone(), place);
        note_value(value.get_ref(), &here, lines, sink);
    }
}

fn note_value(value: &DeValue<'_>, here: &str, lines: &Lines<'_>, sink: &mut Sink) {
    match value {
        DeValue::Table(inner) => note_places(inner, here, lines, sink),
        DeValue::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                let here = format!("{here}[{i}]");
                sink.place_value(here.clone(), lines.place(item.span().start));
                note_value(item.get_ref(), &here, lines, sink);
            }
        }
        _ => {}
    }
}

/// `path.key`, or `key` at the top.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
