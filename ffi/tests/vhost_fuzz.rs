//! The fuzz target `vhost` over its seeds and every input that ever broke something, and over changes of these.

#[path = "../../tests/fuzz/oracles/vhost.rs"]
mod oracle;
mod vhost_support;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

/// Seeds and crashes, by name.
fn inputs() -> Vec<(String, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz");
    let files = ["seeds/vhost", "crashes/vhost"]
        .into_iter()
        .flat_map(|place| fs::read_dir(fuzz.join(place)).into_iter().flatten());
    let mut inputs: Vec<_> = files
        .map(|file| {
            let file = file.unwrap();
            (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).unwrap())
        })
        .filter(|(name, _)| name != ".gitkeep")
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn rings_that_were_found() {
    let counts: Vec<_> = inputs().into_iter().map(|(name, input)| (name, oracle::check(&input))).collect();
    println!("{counts:?}");
    let of = |name: &str| counts.iter().find(|(known, _)| known == name).unwrap().1;
    assert_eq!((of("received"), of("given")), ((8, 0), (0, 8)), "{counts:?}");
}

proptest! {
    #[test]
    fn rings_that_were_changed(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let all = inputs();
        let mut input = which.get(&all).1.clone();
        for (at, value) in changes {
            let at = at.index(input.len());
            input[at] = value;
        }
        oracle::check(&input);
    }
}
