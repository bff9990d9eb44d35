//! The fuzz targets `kube` and `config` over every file of the tests and examples, every input that ever broke something, and cuts and
//! joins of them.

#[path = "../../tests/fuzz/oracles/config.rs"]
mod config;
#[path = "../../tests/fuzz/oracles/kube.rs"]
mod kube;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

/// The texts that the fuzzer starts from (`tests/fuzz/README.md`), but those whose names end so, and its crashes.
fn inputs(target: &str, without: &[&str]) -> Vec<(String, Vec<u8>)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crashes = format!("../tests/fuzz/crashes/{target}");
    let files = ["tests/kube", "examples", &crashes]
        .into_iter()
        .flat_map(|place| fs::read_dir(here.join(place)).into_iter().flatten());
    let mut inputs: Vec<_> = files
        .map(|file| {
            let file = file.unwrap();
            (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).unwrap())
        })
        .filter(|(name, _)| name != ".gitkeep" && !without.iter().any(|end| name.ends_with(end)))
        .collect();
    inputs.sort();
    inputs
}

const NO_OBJECTS: &[&str] = &[".toml", ".txt"];
const NO_CONFIGURATION: &[&str] = &[".yaml", ".txt"];

#[test]
fn what_is_applied_twice_changes_nothing() {
    let all = inputs("kube", NO_OBJECTS);
    let applied: Vec<_> = all.into_iter().filter(|(_, text)| kube::check(text)).collect();
    assert!(applied.len() >= 2, "hardly any of the files is applied: {applied:?}");
}

#[test]
fn what_is_written_out_is_read_again() {
    let all = inputs("config", NO_CONFIGURATION);
    let taken = all.iter().filter(|(_, text)| config::check(text)).count();
    assert!(taken >= 20, "hardly any of the files is a configuration: {taken}");
}

/// Text with lines left out, doubled, or put elsewhere.
fn moved(text: &[u8], moves: Vec<(prop::sample::Index, prop::sample::Index, bool)>) -> String {
    let text = String::from_utf8_lossy(text);
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
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn objects_with_lines_in_wrong_places(
        which in any::<prop::sample::Index>(),
        moves in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..6),
    ) {
        let all = inputs("kube", NO_OBJECTS);
        kube::check(moved(&which.get(&all).1, moves).as_bytes());
    }

    #[test]
    fn configurations_with_lines_in_wrong_places(
        which in any::<prop::sample::Index>(),
        moves in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..6),
    ) {
        let all = inputs("config", NO_CONFIGURATION);
        config::check(moved(&which.get(&all).1, moves).as_bytes());
    }
}
