//! The fuzz targets `lacp`, `nd`, `geneve` and `quoted` over their seeds and every input that ever broke something, and over mutations of
//! these (those of `parse` and `open`: `tests/parse`).

#[path = "../../tests/fuzz/oracles/geneve.rs"]
mod geneve;
#[path = "../../tests/fuzz/oracles/lacp.rs"]
mod lacp;
#[path = "../../tests/fuzz/oracles/nd.rs"]
mod nd;
#[path = "../../tests/fuzz/oracles/quoted.rs"]
mod quoted;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

/// Seeds and crashes of a target, by name.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz");
    let files = ["seeds", "crashes"]
        .into_iter()
        .flat_map(|kind| fs::read_dir(fuzz.join(kind).join(target)).into_iter().flatten());
    let mut inputs: Vec<_> = files
        .map(|file| {
            let file = file.unwrap();
            (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

/// The seeds that are taken for what they are, by name.
fn taken(target: &str, check: impl Fn(&[u8]) -> bool) -> Vec<String> {
    inputs(target).into_iter().filter(|(_, input)| check(input)).map(|(name, _)| name).collect()
}

#[test]
fn messages_of_neighbours() {
    let sound = ["advertisement", "arp-reply", "arp-request", "detection", "solicitation", "two-options"];
    assert_eq!(taken("nd", nd::check), sound);
}

#[test]
fn headers_of_geneve() {
    assert_eq!(taken("geneve", geneve::check), ["63-options", "others", "ovn", "ovn-twice", "plain"]);
}

#[test]
fn quoted_packets() {
    let sound = ["echo", "tcp-options", "udp", "v6-chain", "v6-echo", "v6-tcp"];
    assert_eq!(taken("quoted", quoted::check), sound);
}

#[test]
fn partners_of_a_bond() {
    let most: Vec<(String, usize)> =
        inputs("lacp").into_iter().map(|(name, input)| (name, lacp::check(&input))).collect();
    let links = |name: &str| most.iter().find(|(known, _)| known == name).unwrap().1;
    for name in ["two-links", "two-links-wanted", "link-down-and-up", "silence"] {
        assert_eq!(links(name), 2, "{name}: {most:?}");
    }
    assert_eq!(links("two-partners"), 2, "only links to one of them: {most:?}");
    assert_eq!((links("ourselves"), links("marker")), (0, 0));
}

/// Changes some bytes and the length of a seed.
fn mutated(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    (any::<prop::sample::Index>(), changes, prop::option::of(any::<prop::sample::Index>())).prop_map(
        move |(which, changes, cut)| {
            let all = inputs(target);
            let mut input = which.get(&all).1.clone();
            if input.is_empty() {
                return input;
            }
            for (at, value) in changes {
                let at = at.index(input.len());
                input[at] = value;
            }
            if let Some(cut) = cut {
                input.truncate(cut.index(input.len()));
            }
            input
        },
    )
}

proptest! {
    #[test]
    fn mutated_messages_of_neighbours(input in mutated("nd")) {
        nd::check(&input);
    }

    #[test]
    fn mutated_headers_of_geneve(input in mutated("geneve")) {
        geneve::check(&input);
    }

    #[test]
    fn mutated_quoted_packets(input in mutated("quoted")) {
        quoted::check(&input);
    }

    #[test]
    fn mutated_partners_of_a_bond(input in mutated("lacp")) {
        lacp::check(&input);
    }
}
