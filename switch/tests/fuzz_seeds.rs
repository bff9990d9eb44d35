//! The fuzz targets over their seeds and every input that ever broke something, and over mutations of these (elsewhere are those of
//! `parse` and `open`: `tests/parse`, of `forward`: `src/worker/forward/tests/hostile.rs`, and of what is the configuration's).

#[path = "../../tests/fuzz/oracles/answer.rs"]
mod answer;
#[path = "../../tests/fuzz/oracles/filter.rs"]
mod filter;
#[path = "../../tests/fuzz/oracles/fragment.rs"]
mod fragment;
#[path = "../../tests/fuzz/oracles/geneve.rs"]
mod geneve;
#[path = "../../tests/fuzz/inputs.rs"]
mod inputs;
#[path = "../../tests/fuzz/oracles/kept.rs"]
mod kept;
#[path = "../../tests/fuzz/oracles/lacp.rs"]
mod lacp;
#[path = "../../tests/fuzz/oracles/nd.rs"]
mod nd;
#[path = "../../tests/fuzz/oracles/quoted.rs"]
mod quoted;
#[path = "../../tests/fuzz/oracles/sctp.rs"]
mod sctp;
#[path = "../../tests/fuzz/oracles/trace.rs"]
mod trace;

use proptest::prelude::*;

/// The seeds that are taken for what they are, by name.
fn taken(target: &str, check: impl Fn(&[u8]) -> bool) -> Vec<String> {
    inputs::of(target).into_iter().filter(|(_, input)| check(input)).map(|(name, _)| name).collect()
}

#[test]
fn messages_of_neighbours() {
    // Not `two-options`: of its two addresses kernels believe one or the other.
    let sound = ["advertisement", "arp-reply", "arp-request", "detection", "solicitation"];
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

/// What each seed and crash gives, by name.
fn given(target: &str, check: impl Fn(&[u8]) -> usize) -> Vec<(String, usize)> {
    inputs::of(target).into_iter().map(|(name, input)| (name, check(&input))).collect()
}

#[test]
fn fragments() {
    assert_eq!(taken("fragment", fragment::check), ["first", "last", "later", "v6-first", "v6-last"]);
}

#[test]
fn associations() {
    let valid = given("sctp", sctp::check);
    let of = |name: &str| valid.iter().find(|(known, _)| known == name).unwrap().1;
    for (name, packets) in [
        ("association", 6),
        ("shutdown", 11),
        ("abort", 5),
        ("begins-anew", 8),
        ("in-the-middle", 3),
        ("no-length", 0),
    ] {
        assert_eq!(of(name), packets, "{name}: {valid:?}");
    }
}

#[test]
fn answers() {
    let said = given("answer", answer::check);
    let of = |name: &str| said.iter().find(|(known, _)| known == name).unwrap().1;
    // An error about each, an echo reply to two, a reset to two.
    for (name, answers) in
        [("echo", 2), ("echo-v6", 2), ("syn", 2), ("data-v6", 2), ("reset", 1), ("long", 1)]
    {
        assert_eq!(of(name), answers, "{name}: {said:?}");
    }
}

#[test]
fn trace_expressions() {
    assert_eq!(taken("trace", trace::check), ["arp", "fragment", "nd", "other", "syn", "udp"]);
}

#[test]
fn filters() {
    assert_eq!(taken("filter", filter::check), ["drop", "ether", "not", "range", "udp"]);
}

#[test]
fn what_is_kept() {
    let kept = given("kept", kept::check);
    let of = |name: &str| kept.iter().find(|(known, _)| known == name).unwrap().1;
    for (name, objects) in
        [("service", 1), ("gone", 0), ("port", 2), ("not-understood", 1), ("torn", 0), ("bad", 0)]
    {
        assert_eq!(of(name), objects, "{name}: {kept:?}");
    }
}

#[test]
fn partners_of_a_bond() {
    let most = given("lacp", lacp::check);
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
            let all = inputs::of(target);
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

    #[test]
    fn mutated_fragments(input in mutated("fragment")) {
        fragment::check(&input);
    }

    #[test]
    fn mutated_associations(input in mutated("sctp")) {
        sctp::check(&input);
    }

    #[test]
    fn mutated_answers(input in mutated("answer")) {
        answer::check(&input);
    }

    #[test]
    fn mutated_trace_expressions(input in mutated("trace")) {
        trace::check(&input);
    }

    #[test]
    fn mutated_filters(input in mutated("filter")) {
        filter::check(&input);
    }

    #[test]
    fn mutated_files_of_what_is_kept(input in mutated("kept")) {
        kept::check(&input);
    }
}
