//! Mistakes in a configuration: where, which key, what is wrong and what to do. All are collected, none hides another.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where the text came from: a file name, or `argument` for a command line.
    pub origin: String,
    /// Line from 1, or the number of the argument on a command line; 0 when it belongs to no place.
    pub line: usize,
    /// Column from 1, in characters; 0 on a command line.
    pub column: usize,
    /// The key in full, as `port[3].mtu` (sections of a kind count from 0); empty for a syntax error.
    pub key: String,
    /// What is wrong; what to do. One line.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        match (self.line, self.column) {
            (0, _) => {}
            (line, 0) => write!(f, " {line}")?,
            (line, column) => write!(f, ":{line}:{column}")?,
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Every mistake found, in the order of the text. Never empty when returned as an error. `Display` gives one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Why a configuration file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read {}: {source}; give the path of a readable configuration file", path.display())]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any configuration; most likely it is something else.
    #[error("{} is larger than {limit} bytes; give the path of a configuration file", path.display())]
    TooLarge {
        /// The file asked for.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file was read, and holds mistakes.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

/// A line and column, as [`ConfigError`] has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// The mistake is already in the [`Sink`]: nothing is left to say about this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported;

/// Collects mistakes, and knows where each key stands in the text.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    origin: String,
    values: HashMap<String, Place>,
    keys: HashMap<String, Place>,
    errors: Vec<ConfigError>,
}

impl Sink {
    pub(crate) fn new(origin: &str) -> Self {
        Sink { origin: origin.to_owned(), ..Sink::default() }
    }

    /// Remembers where the value of `key` stands.
    pub(crate) fn place_value(&mut self, key: String, place: Place) {
        self.values.insert(key, place);
    }

    /// Remembers where `key` itself stands.
    pub(crate) fn place_key(&mut self, key: String, place: Place) {
        self.keys.insert(key, place);
    }

    /// Where the value of `key` stands, or the nearest section around it: a missing key is reported at its section's
    /// head.
    fn find(&self, key: &str) -> Place {
        let mut key = key;
        loop {
            if let Some(place) = self.values.get(key) {
                return *place;
            }
            key = match key.rfind(['.', '[']) {
                Some(cut) => &key[..cut],
                None => return Place::default(),
            };
        }
    }

    /// Adds a mistake about the value of `key`.
    pub(crate) fn report(&mut self, key: &str, message: impl Into<String>) -> Reported {
        let place = self.find(key);
        self.report_at(place, key, message)
    }

    /// Adds a mistake about `key` itself: it should not stand there.
    pub(crate) fn report_key(&mut self, key: &str, message: impl Into<String>) -> Reported {
        let place = self.keys.get(key).copied().unwrap_or_else(|| self.find(key));
        self.report_at(place, key, message)
    }

    /// Adds a mistake at a place of its own.
    pub(crate) fn report_at(&mut self, place: Place, key: &str, message: impl Into<String>) -> Reported {
        self.errors.push(ConfigError {
            origin: self.origin.clone(),
            line: place.line,
            column: place.column,
            key: key.to_owned(),
            message: message.into(),
        });
        Reported
    }

    /// `value` when nothing was reported, otherwise every mistake in the order of the text.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        let mut errors = self.errors;
        errors.sort_by_key(|e| (e.line, e.column));
        match value {
            Some(value) if errors.is_empty() => Ok(value),
            _ => Err(ConfigErrors(errors)),
        }
    }

    /// True when nothing was reported so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }
}
