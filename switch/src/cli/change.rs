//! Commands that change something: what they send, and the sentence about what came of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Failure;
use super::client::Client;
use super::objects;
use super::options::{Command, PortCommand};
use crate::control::api::proto;

/// Longest configuration sent, bytes: what the daemon takes of a file, too.
const LONGEST_FILE: u64 = 16 << 20;

/// A change, checked as far as it can be without the daemon.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A configuration.
    Apply(proto::ApplyRequest),
    /// Kubernetes objects.
    Objects(proto::ApplyObjectsRequest),
    /// Kubernetes objects that go.
    DeleteObjects(proto::DeleteObjectsRequest),
    /// A new port.
    Add(proto::AddPortRequest),
    /// One port less.
    Delete(proto::DeletePortRequest),
    /// A port up or down.
    Set(proto::SetPortRequest),
    /// A port opened anew.
    Reset(proto::ResetPortRequest),
}

impl Change {
    /// The change that `command` asks for; `None` when it only asks.
    ///
    /// # Errors
    /// When the file cannot be read or a word is not `key=value`.
    pub fn of(command: &Command) -> Result<Option<Self>, Failure> {
        Ok(Some(match command {
            Command::Apply { file, filename } => {
                // One of the two is there.
                let file = file.as_deref().or(filename.as_deref()).unwrap_or(Path::new("-"));
                let (text, origin) = read(file)?;
                match are_objects(file, &text) {
                    true => Self::Objects(proto::ApplyObjectsRequest { yaml: text, origin }),
                    false => Self::Apply(proto::ApplyRequest { toml: text, origin }),
                }
            }
            Command::Delete(wanted) => {
                let (yaml, origin) = match &wanted.filename {
                    Some(file) => read(file)?,
                    None => (objects::named(&wanted.words, &wanted.namespace)?, "argument".to_owned()),
                };
                let ignore_not_found = wanted.ignore_not_found;
                Self::DeleteObjects(proto::DeleteObjectsRequest { yaml, origin, ignore_not_found })
            }
            Command::Port { command } => match command.clone() {
                PortCommand::Add { name, keys } => Self::Add(port(name, &keys)?),
                PortCommand::Del { name } => Self::Delete(proto::DeletePortRequest { name }),
                PortCommand::Up { name } => Self::Set(proto::SetPortRequest { name, up: true }),
                PortCommand::Down { name } => Self::Set(proto::SetPortRequest { name, up: false }),
                PortCommand::Reset { name } => Self::Reset(proto::ResetPortRequest { name }),
            },
            _ => return Ok(None),
        }))
    }

    /// Has the daemon do it.
    pub(super) async fn send(self, client: &mut Client) -> Result<proto::Applied, Failure> {
        match self {
            Self::Apply(request) => client.apply(request).await,
            Self::Objects(request) => client.apply_objects(request).await,
            Self::DeleteObjects(request) => client.delete_objects(request).await,
            Self::Add(request) => client.add_port(request).await,
            Self::Delete(request) => client.delete_port(request).await,
            Self::Set(request) => client.set_port(request).await,
            Self::Reset(request) => client.reset_port(request).await,
        }
    }
}

/// Whether a text is Kubernetes objects: by the name of its file, or because a line begins as all of them do and none of a
/// configuration does.
fn are_objects(file: &Path, text: &str) -> bool {
    let named =
        file.extension().is_some_and(|it| it.eq_ignore_ascii_case("yaml") || it.eq_ignore_ascii_case("yml"));
    named || text.lines().any(|line| line.starts_with("apiVersion:"))
}

/// The text of `file`, or of standard input for `-`, and the name that messages give it.
fn read(file: &Path) -> Result<(String, String), Failure> {
    let standard_input = file.as_os_str() == "-";
    let origin = if standard_input { "stdin".to_owned() } else { file.display().to_string() };
    let mut bytes = Vec::new();
    let read = if standard_input {
        io::stdin().take(LONGEST_FILE + 1).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        Failure::bad_input(format!(
            "shunt: cannot read {origin}: {error}; give the path of a readable configuration file"
        ))
    })?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(Failure::bad_input(format!(
            "shunt: {origin} is larger than {LONGEST_FILE} bytes; give the path of a configuration file"
        )));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::bad_input(format!("{origin}: not valid UTF-8; save the file as UTF-8 text")))?;
    Ok((text, origin))
}

/// Words as `key=value`, the name first, so that its number among the arguments is 1.
fn port(name: String, words: &[String]) -> Result<proto::AddPortRequest, Failure> {
    let mut keys = vec![proto::KeyValue { key: "name".to_owned(), value: name }];
    let mut mistakes = Vec::new();
    for (number, word) in (2..).zip(words) {
        match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                keys.push(proto::KeyValue { key: key.to_owned(), value: value.to_owned() });
            }
            _ => {
                mistakes.push(format!("argument {number}: {word:?} is not key=value; write it as kind=veth"))
            }
        }
    }
    if mistakes.is_empty() {
        Ok(proto::AddPortRequest { keys })
    } else {
        Err(Failure::bad_input(mistakes.join("\n")))
    }
}

/// What was done, in one line, and a line for each thing that has no effect.
pub fn sentence(applied: &proto::Applied) -> String {
    let parts: Vec<String> =
        [("added", &applied.added), ("removed", &applied.removed), ("changed", &applied.changed)]
            .into_iter()
            .filter(|(_, ports)| !ports.is_empty())
            .map(|(verb, ports)| format!("{verb} {}", ports.join(", ")))
            .collect();
    let what = if parts.is_empty() { "no port changed".to_owned() } else { parts.join("; ") };
    let notes = applied.notes.iter().map(|note| format!("note: {note}\n"));
    format!("generation {}: {what}\n{}", applied.generation, notes.collect::<String>())
}
