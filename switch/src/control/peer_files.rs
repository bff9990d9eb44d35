//! Peers of overlays in files (`peers_file`): read when the configuration names them, and again when they change.
//!
//! A file is looked at by its name every tick, not watched by its inode: what takes its place by rename, or behind a symbolic
//! link as a ConfigMap's is changed, is found like what is written into it. It is read when it looked the same twice, so that
//! one that is just being written is left alone. A file that is missing, wrong, or in conflict with the configuration changes
//! nothing: the peers that it had stay, and `shunt show topology` says what is wrong.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use shunt_config::{Config, ConfigErrors, NetworkKind, NetworkName, Peer, check_files, load_peers};

use super::Control;

/// What tells a file from what it was before; `None` when there is none.
type Look = Option<[i64; 7]>;

/// The files of all overlays that have one.
#[derive(Debug, Default)]
pub(super) struct PeerFiles {
    files: HashMap<NetworkName, File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// At the last tick.
    seen: Option<Look>,
    /// When it was last read.
    read: Option<Look>,
    /// Why what it says is not in force.
    wrong: Option<String>,
}

impl PeerFiles {
    /// What is wrong with the file of `network`, one line or several; empty when nothing is, or there is none.
    pub(super) fn wrong(&self, network: &NetworkName) -> String {
        self.files.get(network).and_then(|file| file.wrong.clone()).unwrap_or_default()
    }

    fn file(&mut self, network: &NetworkName, path: &Path) -> &mut File {
        let fresh = || File { path: path.to_owned(), seen: None, read: None, wrong: None };
        let file = self.files.entry(network.clone()).or_insert_with(fresh);
        if file.path != path {
            *file = fresh();
        }
        file
    }
}

fn look(path: &Path) -> Look {
    let it = std::fs::metadata(path).ok()?;
    let times = [it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec()];
    let [a, b, c, d] = times;
    Some([it.dev() as i64, it.ino() as i64, it.size() as i64, a, b, c, d])
}

/// The overlays of `config` that have a file, with it.
fn named(config: &Config) -> Vec<(NetworkName, PathBuf)> {
    let file = |network: &shunt_config::Network| {
        Some((network.name.clone(), network.overlay()?.peers_file.clone()?))
    };
    config.networks.iter().filter_map(file).collect()
}

fn set(config: &mut Config, network: &NetworkName, peers: Vec<Peer>) {
    let found = config.networks.iter_mut().find(|it| it.name == *network);
    if let Some(NetworkKind::Overlay(overlay)) = found.map(|network| &mut network.kind) {
        overlay.file_peers = peers;
    }
}

impl Control {
    /// `next` with the peers of its files: those in force where the running configuration has the same file, else what the file
    /// says now. A file that says nothing good gives none, and is read again when it changes.
    ///
    /// # Errors
    /// What files said so far is in conflict with `next`.
    pub(super) fn with_file_peers(&mut self, mut next: Config) -> Result<Config, ConfigErrors> {
        let named = named(&next);
        if named.is_empty() {
            return Ok(next);
        }
        for (name, path) in named {
            let running = self.config.network(name.as_str()).and_then(|network| network.overlay());
            let same = running.filter(|running| running.peers_file.as_ref() == Some(&path));
            let known = same.map(|running| running.file_peers.clone());
            let peers = known.unwrap_or_else(|| self.read_peers(&name, &path, &next).unwrap_or_default());
            set(&mut next, &name, peers);
        }
        // What is in force has been checked.
        let Config { networks, ports, routers, .. } = &*self.config;
        if (&next.networks, &next.ports, &next.routers) != (networks, ports, routers) {
            check_files(&next)?;
        }
        Ok(next)
    }

    /// Reads files that have changed, and applies what they say. Once a tick.
    pub(super) fn follow_peer_files(&mut self) {
        let named = named(&self.config);
        self.peer_files.files.retain(|network, _| named.iter().any(|(name, _)| name == network));
        for (name, path) in named {
            let now = look(&path);
            let file = self.peer_files.file(&name, &path);
            let settled = file.seen.replace(now) == Some(now);
            if settled && file.read != Some(now) {
                self.follow(&name, &path);
            }
        }
    }

    fn follow(&mut self, name: &NetworkName, path: &Path) {
        let config = self.config.clone();
        let Some(peers) = self.read_peers(name, path, &config) else { return };
        let mut next = Config::clone(&config);
        let running = self.config.network(name.as_str()).and_then(|network| network.overlay());
        if running.is_some_and(|overlay| overlay.file_peers == peers) {
            return;
        }
        let count = peers.len();
        set(&mut next, name, peers);
        match self.apply_whole(next) {
            Ok(applied) => {
                tracing::info!(network = %name, file = %path.display(), peers = count, generation = applied.generation, "peers read");
            }
            Err(error) => self.note_wrong(name, path, &error.to_string()),
        }
    }

    /// The peers that the file says; `None`, and what is wrong is noted, when it says nothing good.
    fn read_peers(&mut self, name: &NetworkName, path: &Path, config: &Config) -> Option<Vec<Peer>> {
        let file = self.peer_files.file(name, path);
        // Before it is read: what changes meanwhile is read again.
        file.read = Some(look(path));
        file.wrong = None;
        match load_peers(path, config, name) {
            Ok(peers) => Some(peers),
            Err(error) => {
                self.note_wrong(name, path, &error.to_string());
                None
            }
        }
    }

    fn note_wrong(&mut self, name: &NetworkName, path: &Path, error: &str) {
        for line in error.lines() {
            tracing::error!(network = %name, "{line}");
        }
        tracing::error!(network = %name, "the peers that were in force before stay");
        self.peer_files.file(name, path).wrong = Some(error.to_owned());
    }
}
