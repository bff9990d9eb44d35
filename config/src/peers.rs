//! Peers in a file of their own (`peers_file`): what changes with every node that comes or goes, apart from what a node is
//! configured with.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Reported, Sink};
use crate::keys::{Key, key};
use crate::network::Network;
use crate::network::kind::NetworkKind;
use crate::network::overlay::PEERS_MAX;
use crate::network::peer::{self, Peer};
use crate::raw::Table;
use crate::read::{document, parse, text_of};
use crate::section::Section;
use crate::{Config, ConfigErrors, LoadError, NetworkName};

/// The keys of such a file.
const KEYS: &[Key] = &[key("peers", &[], "array of peers", "required", "as the key of the network")];

/// Reads the peers of overlay `network` from the file at `path`, to stand beside those of `config`.
///
/// # Errors
/// When the file cannot be read, is no regular file, is larger than 16 MiB, or holds mistakes (all of them at once). One
/// without `peers` is a mistake: so a file that is just being written takes no peer away.
pub fn load_peers(path: &Path, config: &Config, network: &NetworkName) -> Result<Vec<Peer>, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    // To open a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("it is no regular file")));
    }
    Ok(parse_peers(&text_of(path)?, &path.display().to_string(), config, network)?)
}

/// [`load_peers`] of a text that messages call `origin`.
///
/// # Errors
/// Every mistake of the text; if there is none, every conflict with `config`.
pub fn parse_peers(
    text: &str,
    origin: &str,
    config: &Config,
    network: &NetworkName,
) -> Result<Vec<Peer>, ConfigErrors> {
    let mut sink = Sink::new(origin);
    let read = document(text, &mut sink, |document, sink| {
        read(&mut Section::new(String::new(), Table::Toml(document), KEYS, sink)).ok()
    });
    let Some(peers) = read.flatten().filter(|_| sink.is_clean()) else { return sink.finish(None) };
    let mut whole = config.clone();
    let at = whole.networks.iter().position(|it| it.name == *network);
    let overlay = at.and_then(|at| match &mut whole.networks[at].kind {
        NetworkKind::Overlay(overlay) => Some(overlay),
        _ => None,
    });
    // A network that is no overlay any more has no use for peers.
    let Some(overlay) = overlay else { return sink.finish(Some(peers)) };
    let given = overlay.peers.len();
    overlay.file_peers.clone_from(&peers);
    if let Err(errors) = check_files(&whole) {
        let path = format!("network[{}].peers[", at.unwrap_or_default());
        for error in errors.0 {
            let ours = error.key.strip_prefix(&path).and_then(|rest| {
                let (index, field) = rest.split_once(']')?;
                Some(format!("peers[{}]{field}", index.parse::<usize>().ok()?.checked_sub(given)?))
            });
            match ours {
                // Messages call the others by their places in the network.
                Some(key) => sink.report(&key, error.message),
                None => sink.report("peers", format!("with this file, {}: {}", error.key, error.message)),
            };
        }
    }
    sink.finish(Some(peers))
}

/// Holds the peers that were read from files against all else.
///
/// # Errors
/// Every conflict. Places are of no text.
pub fn check_files(config: &Config) -> Result<(), ConfigErrors> {
    let from_files =
        |network: &Network| network.overlay().is_some_and(|overlay| !overlay.file_peers.is_empty());
    if !config.networks.iter().any(from_files) {
        return Ok(());
    }
    // Services and policies have nothing to do with peers.
    let mut whole = Config { services: Vec::new(), cluster: Arc::default(), ..config.clone() };
    for network in &mut whole.networks {
        if let NetworkKind::Overlay(overlay) = &mut network.kind {
            let more = std::mem::take(&mut overlay.file_peers);
            overlay.peers.extend(more);
        }
    }
    let checked = parse(&whole.to_toml(), "the configuration with its peers files");
    checked.map(drop).map_err(|mut errors| {
        for error in &mut errors.0 {
            (error.line, error.column) = (0, 0);
        }
        errors
    })
}

fn read(section: &mut Section<'_, '_>) -> Result<Vec<Peer>, Reported> {
    section.refuse_others(None);
    if !section.has("peers") {
        return Err(section.report("peers", "required but missing; write peers = [] for none"));
    }
    let peers = section.tables("peers", peer::KEYS, peer::EXAMPLE, peer::read)?;
    if peers.len() > PEERS_MAX {
        return Err(section.report("peers", format!("more than {PEERS_MAX} peers; remove some")));
    }
    peers.into_iter().collect::<Option<_>>().ok_or(Reported)
}
