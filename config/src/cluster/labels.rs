//! Labels: what selectors choose by. Keys and values are those of Kubernetes (`metadata.labels`).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::raw::{Raw, quote};

/// Longest name in a key, and longest value, in characters.
const NAME_MAX: usize = 63;
/// Longest prefix of a key: a DNS subdomain (RFC 1123).
const PREFIX_MAX: usize = 253;

/// The labels of an object, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives `key` a value; the one that it had is returned.
    pub fn insert(&mut self, key: &str, value: &str) -> Option<String> {
        self.0.insert(key.to_owned(), value.to_owned())
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Labels {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(labels: I) -> Self {
        Self(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }
}

/// A label's key: a name, before which a DNS subdomain and `/` may stand.
pub(crate) fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.rsplit_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_some_and(|prefix| !is_subdomain(prefix)) || name.is_empty() || !is_name(name) {
        return Err(format!(
            "{} is no key of a label; write it as \"app\" or \"example.com/app\"",
            quote(key)
        ));
    }
    Ok(())
}

/// A label's value: up to 63 characters, or nothing.
pub(crate) fn check_value(value: &str) -> Result<(), String> {
    if !is_name(value) {
        return Err(format!(
            "{} is no value of a label; use at most {NAME_MAX} letters, digits, '-', '_' and '.', the first and last a \
             letter or digit",
            quote(value)
        ));
    }
    Ok(())
}

/// A value as text, which may be empty.
pub(crate) fn value(raw: Raw<'_>) -> Result<String, String> {
    let text = raw
        .text()
        .ok_or_else(|| format!("expected a string, found {}; put it in double quotes", raw.describe()))?;
    check_value(text)?;
    Ok(text.to_owned())
}

/// A key as text.
pub(crate) fn key(raw: Raw<'_>) -> Result<String, String> {
    let text = crate::value::text(raw)?;
    check_key(text)?;
    Ok(text.to_owned())
}

/// Empty, or of letters, digits and `-_.` with a letter or digit at both ends.
fn is_name(text: &str) -> bool {
    let ends = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    let inside = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    text.is_empty() || text.len() <= NAME_MAX && ends && inside
}

/// True for the name of a namespace: a DNS label (RFC 1123 section 2.1).
pub(crate) fn is_dns_label(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !text.is_empty()
        && text.len() <= NAME_MAX
        && text.starts_with(ends)
        && text.ends_with(ends)
        && text.chars().all(|c| ends(c) || c == '-')
}

/// True for the name of an object: DNS labels with dots between.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= PREFIX_MAX && text.split('.').all(is_dns_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_those_of_kubernetes() {
        for good in ["app", "app.kubernetes.io/name", "a", "A_b-c.d", "0/x"] {
            assert_eq!(check_key(good), Ok(()), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "-a", "a-", "a b", "A.com/x", "a/b/c", &"x".repeat(64)] {
            assert!(check_key(bad).is_err(), "{bad}");
        }
        for good in ["", "v", "1.0", &"x".repeat(63)] {
            assert_eq!(check_value(good), Ok(()), "{good}");
        }
        for bad in [" ", "-", "a/b", &"x".repeat(64)] {
            assert!(check_value(bad).is_err(), "{bad}");
        }
    }
}
