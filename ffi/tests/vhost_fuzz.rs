//! The fuzz target `vhost` over its seeds and every input that ever broke something, and over changes of these.

#[path = "../../tests/fuzz/inputs.rs"]
mod inputs;
#[path = "../../tests/fuzz/oracles/vhost.rs"]
mod oracle;
mod vhost_support;

use proptest::prelude::*;

#[test]
fn rings_that_were_found() {
    let counts: Vec<_> =
        inputs::of("vhost").into_iter().map(|(name, input)| (name, oracle::check(&input))).collect();
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
        let all = inputs::of("vhost");
        let mut input = which.get(&all).1.clone();
        for (at, value) in changes {
            let at = at.index(input.len());
            input[at] = value;
        }
        oracle::check(&input);
    }
}
