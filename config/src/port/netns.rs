//! A network namespace, by name or by path. Not looked up here: it need not exist yet.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Netns {
    /// A name, as `ip netns` has them.
    Name(String),
    /// The path of a namespace file, as `/proc/1234/ns/net`.
    Path(PathBuf),
}

impl Netns {
    /// The namespace's file: `/run/netns/NAME` for a name (ip-netns(8)).
    pub fn path(&self) -> PathBuf {
        match self {
            Netns::Name(name) => PathBuf::from("/run/netns").join(name),
            Netns::Path(path) => path.clone(),
        }
    }
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Netns::Name(name) => f.pad(name),
            Netns::Path(path) => fmt::Display::fmt(&path.display(), f),
        }
    }
}

impl FromStr for Netns {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with('/') {
            return Ok(Netns::Path(PathBuf::from(text)));
        }
        if matches!(text, "" | "." | "..") || text.contains('/') {
            return Err("not a namespace; give a name, as `ip netns` shows it, or an absolute path");
        }
        // NAME_MAX of a file name: a longer one cannot be in /run/netns.
        if text.len() > 255 {
            return Err("too long for a namespace name; use at most 255 bytes");
        }
        Ok(Netns::Name(text.to_owned()))
    }
}

impl Serialize for Netns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
