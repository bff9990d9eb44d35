//! The file of what is kept: records behind one another, each of lines, each whole or not there.
//!
//! ```text
//! shunt state, version 1
//! 0000000107 5f0c...e1 91aa...07        length of the record's lines, their sum, the sum of the two numbers
//! {"kind":"Service","namespace":"shop","name":"web","text":"..."}
//! ```
//! A change is one record, appended by one write and made durable by fdatasync(2). What is no longer of use is left behind when the file
//! is written anew: under another name, fsync(2), rename(2), fsync of the directory. Only the control thread, or whoever starts the daemon,
//! uses it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};

/// The file's first line.
const MAGIC: &str = "shunt state, version 1\n";
/// Bytes of a record before its lines.
const HEAD: usize = 45;
const NAME: &str = "objects";

/// The directory or the file in it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// The system refused something.
    #[error("{path}: {what}: {source}", path = path.display())]
    System {
        /// Of what.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Its error.
        source: io::Error,
    },
    /// Another daemon keeps its state there.
    #[error("{}: another daemon uses this directory; give each its own `state_dir` under [daemon]", .0.display())]
    Taken(PathBuf),
    /// What was written may not be on the disk.
    #[error(
        "the change is in force, but could not be kept ({0}): after a restart or reload it may be missing; apply it again"
    )]
    NotDurable(Box<KeptError>),
}

/// Where lines are in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) at: u64,
    pub(super) len: u32,
}

/// What was wrong with a file.
#[derive(Debug)]
pub(super) struct Damage {
    /// In words.
    pub(super) what: String,
    /// Where it is now.
    pub(super) kept_as: PathBuf,
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Its lines, in the order in which they were written.
    pub(super) lines: Vec<(String, Span)>,
    pub(super) damage: Option<Damage>,
}

#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    file: File,
    /// Bytes of whole records; whatever is behind them is nobody's.
    len: u64,
    /// The directory is this daemon's as long as this is open.
    _lock: Flock<File>,
}

/// FNV-1a of 64 bits (Fowler, Noll, Vo): no change of a single byte, and hardly any other, goes unnoticed.
fn sum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Lines as a record.
fn record(lines: &str) -> Vec<u8> {
    let numbers = format!("{:010} {:016x}", lines.len(), sum(lines.as_bytes()));
    format!("{numbers} {:016x}\n{lines}", sum(numbers.as_bytes())).into_bytes()
}

/// Length and sum of the record that begins with `head`.
fn numbers(head: &[u8]) -> Option<(usize, u64)> {
    let head = std::str::from_utf8(head).ok()?.strip_suffix('\n')?;
    let (numbers, own) = head.rsplit_once(' ')?;
    if u64::from_str_radix(own, 16).ok()? != sum(numbers.as_bytes()) {
        return None;
    }
    let (len, of_lines) = numbers.split_once(' ')?;
    Some((len.parse().ok()?, u64::from_str_radix(of_lines, 16).ok()?))
}

/// How far a file is good.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// All of it.
    Whole,
    /// Up to that byte; there the writing ended before its time.
    Torn(usize),
    /// At that byte is something else than was written.
    Bad(usize),
}

/// The lines of a file, and how far it is good.
fn read(bytes: &[u8]) -> (Vec<(String, Span)>, Found) {
    let mut lines = Vec::new();
    let Some(mut rest) = bytes.strip_prefix(MAGIC.as_bytes()) else {
        let torn = MAGIC.as_bytes().starts_with(bytes) || bytes.iter().all(|byte| *byte == 0);
        return (lines, if torn { Found::Torn(0) } else { Found::Bad(0) });
    };
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        // A file system may have noted that the file is longer before it has what is in there.
        if rest.len() < HEAD || rest.iter().all(|byte| *byte == 0) {
            return (lines, Found::Torn(at));
        }
        let Some((len, wanted)) = numbers(&rest[..HEAD]) else { return (lines, Found::Bad(at)) };
        let Some(body) = rest.get(HEAD..HEAD + len) else { return (lines, Found::Torn(at)) };
        let text = std::str::from_utf8(body).ok().filter(|_| sum(body) == wanted);
        let Some(text) = text else {
            let last = rest.len() == HEAD + len;
            return (lines, if last { Found::Torn(at) } else { Found::Bad(at) });
        };
        let mut begin = (at + HEAD) as u64;
        for line in text.split_inclusive('\n') {
            lines.push((line.trim_end().to_owned(), Span { at: begin, len: line.len() as u32 }));
            begin += line.len() as u64;
        }
        rest = &rest[HEAD + len..];
    }
    (lines, Found::Whole)
}

impl Journal {
    /// Opens the file in `dir`, which is made when it is not there, and reads it. A file that ends before its time, as after a loss of
    /// power, is good up to there; of one that is damaged nothing is taken. Either is left under another name.
    pub(super) fn open(dir: &Path) -> Result<(Self, Read), KeptError> {
        let failed = |path: &Path, what| {
            let path = path.to_owned();
            move |source| KeptError::System { path, what, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir, "cannot be made"))?;
        let path = dir.join(NAME);
        let lock = options().open(dir.join("lock")).map_err(failed(dir, "cannot be written to"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|_| KeptError::Taken(dir.to_owned()))?;
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(&path, "cannot be read")(error)),
        };
        let (mut lines, found) = read(&bytes);
        let (what, good) = match found {
            Found::Whole => (String::new(), bytes.len()),
            Found::Torn(at) => {
                let rest = bytes.len() - at;
                (format!("its last change, {rest} bytes, was not written to its end and is not taken"), at)
            }
            Found::Bad(at) => (format!("it is damaged at byte {at}, and nothing of it is taken"), 0),
        };
        if let Found::Bad(_) = found {
            lines.clear();
        }
        let damage = match bytes.len() == good {
            true => None,
            false => {
                let kept_as = set_aside(dir, &bytes).map_err(failed(&path, "cannot be copied"))?;
                Some(Damage { what, kept_as })
            }
        };
        let mut file = options().open(&path).map_err(failed(&path, "cannot be written"))?;
        let mut len = good as u64;
        file.set_len(len).map_err(failed(&path, "cannot be shortened"))?;
        if len == 0 {
            file.write_all(MAGIC.as_bytes()).map_err(failed(&path, "cannot be written"))?;
            len = MAGIC.len() as u64;
        }
        let journal = Self { dir: dir.to_owned(), file, len, _lock: lock };
        journal.sync()?;
        sync_dir(dir).map_err(failed(dir, "cannot be synced"))?;
        Ok((journal, Read { lines, damage }))
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> KeptError {
        let path = self.dir.join(NAME);
        move |source| KeptError::System { path, what, source }
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Writes `lines`, each without its end, behind all others, as one record; gives their places and the length before. Not durable
    /// before [`Journal::sync`].
    pub(super) fn append(&mut self, lines: &[String]) -> Result<(Vec<Span>, u64), KeptError> {
        let before = self.len;
        // Nothing may be left behind of what could not be taken back.
        self.file.set_len(before).map_err(self.failed("cannot be shortened"))?;
        let (text, spans) = joined(lines, before + HEAD as u64);
        let record = record(&text);
        if let Err(error) = self.file.write_all_at(&record, before) {
            // Half a record is as good as none, but looks worse.
            let _ = self.file.set_len(before);
            return Err(self.failed("cannot be written")(error));
        }
        self.len += record.len() as u64;
        Ok((spans, before))
    }

    /// Takes back what was written since the file was `len` bytes long.
    pub(super) fn take_back(&mut self, len: u64) -> Result<(), KeptError> {
        self.len = len;
        self.file.set_len(len).map_err(self.failed("cannot be shortened"))
    }

    /// Waits until all is on the disk.
    pub(super) fn sync(&self) -> Result<(), KeptError> {
        self.file.sync_data().map_err(self.failed("cannot be synced"))
    }

    /// The line at a place, with its end.
    pub(super) fn line(&self, span: Span) -> Result<String, KeptError> {
        let mut bytes = vec![0; span.len as usize];
        self.file.read_exact_at(&mut bytes, span.at).map_err(self.failed("cannot be read"))?;
        String::from_utf8(bytes)
            .map_err(|error| self.failed("cannot be read")(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    /// Writes the file anew with these lines only, which are as [`Journal::line`] gives them; gives their new places.
    pub(super) fn replace(&mut self, lines: &[String]) -> Result<Vec<Span>, KeptError> {
        let (path, new) = (self.dir.join(NAME), self.dir.join(format!("{NAME}.new")));
        let trimmed: Vec<String> = lines.iter().map(|line| line.trim_end().to_owned()).collect();
        let (text, spans) = joined(&trimmed, (MAGIC.len() + HEAD) as u64);
        let bytes = [MAGIC.as_bytes(), &record(&text)].concat();
        let write = || {
            let mut file = options().truncate(true).open(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync_dir(&self.dir)?;
            Ok(file)
        };
        self.file = write().map_err(self.failed("cannot be written anew"))?;
        self.len = bytes.len() as u64;
        Ok(spans)
    }
}

/// Lines with their ends, and where each is when the first is at `begin`.
fn joined(lines: &[String], begin: u64) -> (String, Vec<Span>) {
    let mut text = String::new();
    let mut spans = Vec::with_capacity(lines.len());
    for line in lines {
        spans.push(Span { at: begin + text.len() as u64, len: line.len() as u32 + 1 });
        text.push_str(line);
        text.push('\n');
    }
    (text, spans)
}

/// For reading and writing, by the daemon's user only: there may be secrets of ports.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

/// Makes what was renamed in `dir` last.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Leaves `bytes` in `dir` under a name that nobody has.
fn set_aside(dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut number = 0;
    loop {
        let path = dir.join(format!("{NAME}.bad-{}", now + number));
        match options().create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(bytes)?;
                file.sync_all()?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of three records, and its lines.
    fn written() -> (Vec<u8>, Vec<&'static str>) {
        let records = ["{\"a\":1}\n{\"b\":2}\n", "{\"c\":\"\u{e4}\"}\n", "{\"d\":4}\n"];
        let mut bytes = MAGIC.as_bytes().to_vec();
        records.iter().for_each(|lines| bytes.extend(record(lines)));
        (bytes, records.iter().flat_map(|lines| lines.lines()).collect())
    }

    fn lines(bytes: &[u8]) -> (Vec<String>, Found) {
        let (lines, found) = read(bytes);
        (lines.into_iter().map(|(line, _)| line).collect(), found)
    }

    #[test]
    fn a_file_that_ends_anywhere_is_good_up_to_there() {
        let (bytes, wanted) = written();
        assert_eq!(lines(&bytes), (wanted.iter().map(ToString::to_string).collect(), Found::Whole));
        let mut ends = Vec::new();
        for end in 0..bytes.len() {
            let (cut, found) = lines(&bytes[..end]);
            assert_eq!(cut, wanted[..cut.len()], "{end}");
            match found {
                Found::Whole => ends.push((end, cut.len())),
                Found::Torn(at) => assert!(at <= end, "{end}"),
                Found::Bad(at) => panic!("bad at {at} of {end}"),
            }
            // As a file system leaves it that has noted the length first.
            let padded = [&bytes[..end], &[0; 100]].concat();
            let (padded, found) = lines(&padded);
            assert!(padded == cut && !matches!(found, Found::Whole), "{end}: {found:?}");
        }
        assert_eq!(ends.iter().map(|(_, lines)| *lines).collect::<Vec<_>>(), [0, 2, 3]);
    }

    #[test]
    fn no_byte_is_changed_unnoticed() {
        let (bytes, wanted) = written();
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut other = bytes.clone();
                other[at] ^= flip;
                let (read, found) = lines(&other);
                assert_ne!(found, Found::Whole, "{at}");
                assert_eq!(read, wanted[..read.len()], "{at}");
            }
        }
    }

    #[test]
    fn what_is_damaged_or_torn_is_left_under_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, _) = written();
        let mut bad = bytes.clone();
        bad[70] ^= 1;
        for (content, kept) in [(&bytes[..bytes.len() - 1], 3), (bad.as_slice(), 0)] {
            fs::write(dir.path().join(NAME), content).unwrap();
            let (mut journal, read) = Journal::open(dir.path()).unwrap();
            assert_eq!(read.lines.len(), kept);
            let damage = read.damage.unwrap();
            assert_eq!(fs::read(&damage.kept_as).unwrap(), content, "{}", damage.what);
            // It goes on behind what was good.
            journal.append(&["more".to_owned()]).unwrap();
            journal.sync().unwrap();
            drop(journal);
            let (_, again) = Journal::open(dir.path()).unwrap();
            assert!(again.damage.is_none());
            assert_eq!(again.lines.len(), kept + 1);
        }
    }

    #[test]
    fn a_directory_is_one_daemons() {
        let dir = tempfile::tempdir().unwrap();
        let first = Journal::open(dir.path()).unwrap();
        let refused = Journal::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("another daemon"), "{refused}");
        drop(first);
        Journal::open(dir.path()).unwrap();
    }
}
