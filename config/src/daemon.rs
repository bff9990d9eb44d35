//! `[daemon]`: the process itself.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::Reported;
use crate::keys::Key;
use crate::section::Section;
use crate::value;

/// The daemon's own settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Daemon {
    /// Unix socket of the control interface; absolute, at most 107 bytes.
    pub socket: PathBuf,
    /// Where what is applied beyond the file is kept; absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,
}

impl Default for Daemon {
    fn default() -> Self {
        Daemon { socket: PathBuf::from("/run/shunt/shunt.sock"), state_dir: None }
    }
}

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "socket",
        kinds: &[],
        takes: "absolute path, at most 107 bytes",
        default: "\"/run/shunt/shunt.sock\"",
        meaning: "Unix socket of the control interface, mode 0660; `shunt --socket` names the same one",
    },
    Key {
        name: "state_dir",
        kinds: &[],
        takes: "absolute path",
        default: "`$STATE_DIRECTORY`, or none",
        meaning: "directory in which what is applied beyond the file is kept over restarts and reloads; without one that is lost",
    },
];

pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Daemon, Reported> {
    let default = Daemon::default();
    let socket = section.or("socket", default.socket, value::socket_path);
    let state_dir = section.optional("state_dir", value::directory);
    section.refuse_others(None);
    Ok(Daemon { socket: socket?, state_dir: state_dir? })
}
