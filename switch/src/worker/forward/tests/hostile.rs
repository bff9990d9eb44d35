//! The fuzz target `forward` over its seeds and every input that ever broke something, and over changes of these.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use crate::worker::forward::hostile::check;

/// Seeds and crashes, by name.
fn inputs() -> Vec<(String, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz");
    let files = ["seeds/forward", "crashes/forward"]
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
fn hostile_frames_that_were_found() {
    let done: Vec<_> = inputs().into_iter().map(|(name, input)| (name, check(&input))).collect();
    let of = |name: &str| done.iter().find(|(known, _)| known == name).unwrap().1;
    for name in ["service", "policy", "sctp", "to-be-cut"] {
        assert!(of(name).connections > 0, "{name}: {done:?}");
    }
    for name in ["service", "echo", "vxlan", "geneve", "gre", "ipip", "demux", "to-be-cut"] {
        assert!(of(name).sent > 0 && of(name).hits > 0, "{name}: {done:?}");
    }
    assert_eq!(of("spoofed").sent, 0);
}

proptest! {
    #[test]
    fn hostile_frames_that_were_changed(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let all = inputs();
        let mut input = which.get(&all).1.clone();
        for (at, value) in changes {
            if !input.is_empty() {
                let at = at.index(input.len());
                input[at] = value;
            }
        }
        check(&input);
    }
}
