//! What can go wrong in the lab. Each text carries the whole command, so that a failed run is read, not repeated.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// A lab step that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The program could not be started at all.
    #[error("cannot start `{command}`: {source} (is its package installed? scripts/setup test)")]
    Spawn {
        /// The command line.
        command: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The program ran and ended with a status that means failure.
    #[error("`{command}` ended with {status}: {output}")]
    Failed {
        /// The command line.
        command: String,
        /// Exit code or signal.
        status: ExitStatus,
        /// Its standard error, or its standard output where that is empty.
        output: String,
    },
    /// The program did not end, or did not say what it should say, in time. It has been killed.
    #[error("`{command}` did not {what} within {after:?}; it printed: {output}")]
    Timeout {
        /// The command line.
        command: String,
        /// What it was to do ("end", "print ...").
        what: String,
        /// How long it was given.
        after: Duration,
        /// What it printed so far.
        output: String,
    },
    /// The output of a program is not of the form known.
    #[error("cannot find {what} in: {text}")]
    Parse {
        /// What was looked for.
        what: &'static str,
        /// Where.
        text: String,
    },
    /// A file of the lab could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Something the machine does not have.
    #[error("{0}")]
    Missing(String),
}

impl LabError {
    /// For `map_err`: names what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
