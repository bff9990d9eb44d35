//! The tunnel terminator against the fuzzer's oracle: the golden packets, mutated and split everywhere.

#[path = "../../../tests/fuzz/inputs.rs"]
mod files;

use proptest::prelude::*;

use super::{config, open_oracle as oracle};

/// Seeds and crashes of the fuzz target, with their names.
fn inputs() -> Vec<(String, Vec<u8>)> {
    let inputs = files::of("open");
    assert!(inputs.len() >= 19, "the seeds are there");
    inputs
}

#[test]
fn seeds_and_crashes_pass_split_everywhere() {
    let mut opened = 0;
    for (name, mut input) in inputs() {
        let whole = oracle::check(&input);
        opened += usize::from(whole);
        for split in 0..=input.len().saturating_sub(oracle::CONTROL) as u16 {
            input[..2].copy_from_slice(&split.to_le_bytes());
            assert_eq!(oracle::check(&input), whole, "{name} split at {split}");
        }
    }
    // The golden packets of networks that the oracle does not have are refused.
    assert!(opened >= 14, "only {opened} of the seeds are opened");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn mutations_pass(
        chosen in any::<prop::sample::Index>(), changes in prop::collection::vec((0_usize..140, any::<u8>()), 0..6),
        cut in prop::option::of(0_usize..160), split: u16, tags in 0_u8..3,
    ) {
        let inputs = inputs();
        let mut input = chosen.get(&inputs).1.clone();
        for (at, value) in changes {
            if let Some(byte) = input.get_mut(oracle::CONTROL + at) {
                *byte = value;
            }
        }
        if let Some(cut) = cut {
            input.truncate(oracle::CONTROL + cut);
        }
        input[..2].copy_from_slice(&split.to_le_bytes());
        input[2] = if split % 4 == 0 { tags } else { input[2] };
        oracle::check(&input);
    }
}
