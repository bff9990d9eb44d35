//! What must hold of the file in `state_dir` when a daemon starts, whatever is in it: it starts, with what can be read of it, and what it
//! left is read again.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use shunt_config::{Config, parse};
use shunt_switch::control::kept::Kept;

/// A node with what the tests' objects refer to.
fn node() -> &'static Config {
    static NODE: OnceLock<Config> = OnceLock::new();
    NODE.get_or_init(|| {
        let text = include_str!("../../../config/tests/kube/node.toml");
        parse(text, "node.toml").expect("the node of the tests")
    })
}

/// A directory of this process's own, in memory where there is such a place.
fn directory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    let place = if shared.is_dir() { shared } else { std::env::temp_dir() };
    place.join(format!("shunt-fuzz-kept-{}", std::process::id()))
}

/// FNV-1a of 64 bits, as the file has it.
fn sum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Lines as records with sums that are right, each up to an empty line.
fn records(text: &[u8]) -> Vec<u8> {
    let mut file = b"shunt state, version 1\n".to_vec();
    for lines in String::from_utf8_lossy(text).split("\n\n").filter(|lines| !lines.is_empty()) {
        let lines = format!("{}\n", lines.trim_end_matches('\n'));
        let numbers = format!("{:010} {:016x}", lines.len(), sum(lines.as_bytes()));
        file.extend(format!("{numbers} {:016x}\n{lines}", sum(numbers.as_bytes())).bytes());
    }
    file
}

/// How a case is written in bytes: one byte; when its bit 0 is set the file itself, else the lines of its records, of which each ends with
/// an empty line.
///
/// Panics when a property does not hold. How many objects are kept.
pub(crate) fn check(input: &[u8]) -> usize {
    let Some((flags, text)) = input.split_first() else { return 0 };
    let file = if flags & 1 == 0 { records(text) } else { text.to_vec() };
    let directory = directory();
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join("objects"), &file).expect("a file");
    let kept = Kept::open(&directory).expect("a daemon starts with any file");
    let (config, aside) = kept.over(node());
    let count = kept.len();
    assert!(aside.iter().all(|aside| !aside.why.is_empty()), "kept aside without a word");
    drop(kept);
    let again = Kept::open(&directory).expect("what it left is a file");
    assert_eq!(again.len(), count, "the second time something else was kept");
    assert!(again.over(node()).0 == config);
    drop(again);
    let left = fs::read_dir(&directory).expect("the directory").count();
    assert!(left <= 3, "the file, its lock, and at most one copy of what was damaged");
    let _ = fs::remove_dir_all(&directory);
    count
}
