//! YAML documents as values that know where they stand.
//!
//! Of YAML as much as an API server writes: scalars, lists and mappings. Anchors and aliases, which let a small text stand for
//! a huge one, are refused, and so is what is nested deeper than any object.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::error::{Place, Reported, Sink};
use crate::raw::quote;

/// Deeper than any object: a `NetworkPolicy` has 10.
const DEPTH: usize = 32;

/// One document of a text.
#[derive(Debug)]
pub(crate) struct Document {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) value: Value,
}

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) place: Place,
    pub(crate) node: Node,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Node {
    /// Text; a number, `true` or nothing when it is `plain`, without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Value>),
    Map(Vec<Entry>),
}

/// One line of a mapping.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Value,
}

impl Value {
    /// Nothing: an empty value or `null` (YAML 1.2 section 10.2.1.1).
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.node, Node::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The text of a scalar without quotes.
    pub(crate) fn plain(&self) -> Option<&str> {
        match &self.node {
            Node::Scalar { text, plain: true } => Some(text),
            _ => None,
        }
    }

    /// The elements of a list.
    pub(crate) fn list(&self) -> Option<&[Value]> {
        match &self.node {
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// The lines of a mapping.
    pub(crate) fn map(&self) -> Option<&[Entry]> {
        match &self.node {
            Node::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value for a message.
    pub(crate) fn describe(&self) -> String {
        match &self.node {
            Node::Scalar { .. } if self.is_null() => "nothing".to_owned(),
            Node::Scalar { text, .. } => quote(text),
            Node::List(_) => "a list".to_owned(),
            Node::Map(_) => "a mapping".to_owned(),
        }
    }
}

impl Value {
    /// Writes the value on one line, so that it is read as the same again but for its place (YAML 1.2 section 7, flow style).
    pub(crate) fn write(&self, out: &mut String) {
        match &self.node {
            Node::Scalar { .. } if self.is_null() => out.push_str("null"),
            Node::Scalar { text, plain: true } if is_word(text) => out.push_str(text),
            Node::Scalar { text, .. } => write_quoted(text, out),
            Node::List(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        out.push_str(", ");
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Node::Map(entries) => {
                out.push('{');
                for (number, entry) in entries.iter().enumerate() {
                    if number > 0 {
                        out.push_str(", ");
                    }
                    write_quoted(&entry.key, out);
                    out.push_str(": ");
                    entry.value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// True for what stands without quotes wherever it is. Only words can be numbers, booleans or nothing, for which that matters.
fn is_word(text: &str) -> bool {
    !text.starts_with('-') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
        || text
            .strip_prefix('-')
            .is_some_and(|digits| digits.starts_with(|first: char| first.is_ascii_digit()) && is_word(digits))
}

fn write_quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // What could be taken for the end of a line or of the text.
            '\u{2028}' | '\u{2029}' | '\u{feff}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ if character.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// A list or mapping that is not closed yet.
enum Open {
    List(Place, Vec<Value>),
    Map(Place, Vec<Entry>, Option<(String, Place)>),
}

/// All documents of `text` but empty ones, which count all the same.
pub(crate) fn documents(text: &str, sink: &mut Sink) -> Result<Vec<Document>, Reported> {
    let mut documents = Vec::new();
    let mut number = 0;
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            sink.report_at(
                place(error.marker()),
                "",
                format!("not valid YAML: {}; correct the syntax", error.info()),
            )
        })?;
        let at = place(&span.start);
        let mut report = |message: &str| sink.report_at(at, &format!("document {number}"), message);
        if anchored(&event) {
            return Err(report("anchors and aliases (& and *) are not taken; write the value out"));
        }
        let value = match event {
            Event::DocumentStart(_) => {
                number += 1;
                continue;
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() == DEPTH => {
                return Err(report("nested deeper than any object; remove what does not belong there"));
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(at, Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(at, Vec::new(), None));
                continue;
            }
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                Value { place: at, node: Node::Scalar { text: text.into_owned(), plain } }
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(place, items)) => Value { place, node: Node::List(items) },
                Some(Open::Map(place, entries, _)) => Value { place, node: Node::Map(entries) },
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            None if value.is_null() => {}
            None => documents.push(Document { number, value }),
            Some(Open::List(_, items)) => items.push(value),
            Some(Open::Map(_, entries, key @ None)) => {
                let Node::Scalar { text, .. } = value.node else {
                    return Err(report("a list or mapping is no key; write a word"));
                };
                if entries.iter().any(|entry| entry.key == text) {
                    return Err(report(&format!("{} is given twice; give it once", quote(&text))));
                }
                *key = Some((text, at));
            }
            Some(Open::Map(_, entries, key @ Some(_))) => {
                if let Some((key, place)) = key.take() {
                    entries.push(Entry { key, place, value });
                }
            }
        }
    }
    Ok(documents)
}

/// True for an alias, and for what has a name that an alias could use.
fn anchored(event: &Event<'_>) -> bool {
    match event {
        Event::Alias(_) => true,
        Event::Scalar(_, _, anchor, _) | Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
            *anchor != 0
        }
        _ => false,
    }
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Without places.
    fn shown(value: &Value) -> String {
        match &value.node {
            Node::Scalar { .. } if value.is_null() => "nothing".to_owned(),
            Node::Scalar { text, plain } => format!("{plain} {text:?}"),
            Node::List(items) => format!("{:?}", items.iter().map(shown).collect::<Vec<_>>()),
            Node::Map(entries) => {
                let entries = entries.iter().map(|entry| (&entry.key, shown(&entry.value)));
                format!("{:?}", entries.collect::<Vec<_>>())
            }
        }
    }

    fn value(node: Node) -> Value {
        Value { place: Place { line: 0, column: 0 }, node }
    }

    fn scalar() -> impl Strategy<Value = Value> {
        let words =
            prop::sample::select(vec!["true", "80", "-1", "null", "~", "", "10.0.0.1", "a-b", "1e3", "0x1f"]);
        let plain = words.prop_map(|text| (text.to_owned(), true));
        let quoted = any::<String>().prop_map(|text| (text, false));
        prop_oneof![plain, quoted].prop_map(|(text, plain)| value(Node::Scalar { text, plain }))
    }

    fn object() -> impl Strategy<Value = Value> {
        let inner = scalar().prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|items| value(Node::List(items))),
                prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|entries| {
                    let place = Place { line: 0, column: 0 };
                    let entries = entries.into_iter().map(|(key, value)| Entry { key, place, value });
                    value(Node::Map(entries.collect()))
                }),
            ]
        });
        inner.prop_map(|within| {
            let place = Place { line: 0, column: 0 };
            value(Node::Map(vec![Entry { key: "kind".to_owned(), place, value: within }]))
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(first in object(), second in object()) {
            let mut text = String::new();
            for value in [&first, &second] {
                text.push_str("---\n");
                value.write(&mut text);
                text.push('\n');
            }
            prop_assert_eq!(text.lines().count(), 4);
            let mut sink = Sink::new("test");
            let read = documents(&text, &mut sink);
            let read = sink.finish(read.ok()).unwrap_or_else(|errors| panic!("{errors}: {text}"));
            let read: Vec<_> = read.iter().map(|document| shown(&document.value)).collect();
            prop_assert_eq!(read, vec![shown(&first), shown(&second)], "{}", text);
        }
    }
}
