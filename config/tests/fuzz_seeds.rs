//! The fuzz target `kube` over every YAML file of the tests and examples, every input that ever broke something, and cuts and joins of
//! them.

#[path = "../../tests/fuzz/oracles/kube.rs"]
mod oracle;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

/// The texts that the fuzzer starts from (`tests/fuzz/README.md`), and its crashes.
fn inputs() -> Vec<(String, Vec<u8>)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["tests/kube", "examples", "../tests/fuzz/crashes/kube"]
        .into_iter()
        .flat_map(|place| fs::read_dir(here.join(place)).into_iter().flatten());
    let mut inputs: Vec<_> = files
        .map(|file| {
            let file = file.unwrap();
            (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).unwrap())
        })
        .filter(|(name, _)| !name.ends_with(".toml") && !name.ends_with(".txt"))
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn what_is_applied_twice_changes_nothing() {
    let applied: Vec<_> = inputs().into_iter().filter(|(_, text)| oracle::check(text)).collect();
    assert!(applied.len() >= 2, "hardly any of the files is applied: {applied:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Lines left out, doubled, or put elsewhere.
    #[test]
    fn texts_with_lines_in_wrong_places(
        which in any::<prop::sample::Index>(),
        moves in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..6),
    ) {
        let all = inputs();
        let text = String::from_utf8_lossy(&which.get(&all).1).into_owned();
        let mut lines: Vec<&str> = text.lines().collect();
        for (from, to, keep) in moves {
            if lines.len() < 2 {
                break;
            }
            let from = from.index(lines.len());
            let line = lines[from];
            if !keep {
                lines.remove(from);
            }
            lines.insert(to.index(lines.len()), line);
        }
        oracle::check(lines.join("\n").as_bytes());
    }
}
