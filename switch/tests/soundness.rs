//! Soundness of the flow cache in the daemon itself: the same hostile captures through the same networks, with the cache off, tiny,
//! ordinary and with full keys, give the same frames on every port in the same order, byte by byte, and the same drops.
//!
//! What could differ for another reason is taken away: each network's table of addresses is full before the capture begins
//! (`mac_limit`), neighbours are given, captures are played one after the other. Only the switch's own requests for unknown
//! neighbours depend on the clock; they are recognised and counted apart. `SHUNT_SEED=n` plays other captures.

#[allow(dead_code, unreachable_pub, reason = "shared with the whole-switch tests, which use all of it")]
#[path = "../../tests/tests/node/capture.rs"]
mod capture;
#[path = "soundness/hostile.rs"]
mod hostile;
#[path = "soundness/play.rs"]
mod play;
#[path = "soundness/vary.rs"]
mod vary;

use std::collections::BTreeSet;

use hostile::Seed;
use play::{Captures, Outcome};

/// Drops that the captures must have caused in every run, so that no comparison is of nothing.
const REASONS: &[&str] = &[
    "runt",
    "source_is_group",
    "source_is_gateway",
    "same_port",
    "too_long",
    "neighbor_unresolved",
    "bad_ip_header",
    "not_for_gateway",
    "not_routable",
    "for_switch",
    "ttl_exceeded",
    "no_route",
    "blackhole",
];

/// Says which frame of which port is the first to differ.
#[track_caller]
fn assert_alike(reference: &Outcome, other: &Outcome) {
    assert_eq!(reference.drops, other.drops, "{}: other drops than {}", other.name, reference.name);
    for (port, frames) in &reference.frames {
        let theirs = &other.frames[port];
        for (number, (one, two)) in frames.iter().zip(theirs).enumerate() {
            assert_eq!(one, two, "{port}: frame {number} of {} (left) and {}", reference.name, other.name);
        }
        assert_eq!(frames.len(), theirs.len(), "{port}: {} and {}", reference.name, other.name);
    }
}

#[test]
fn a_cache_of_any_size_forwards_as_none_does() {
    let seed = Seed::of_environment();
    println!("SHUNT_SEED={}", seed.0);
    let captures = Captures::write(seed);
    let off = play::run(&captures, "cache off", "entries = 0");
    let met: BTreeSet<&str> = off.drops.keys().map(|(_, reason)| reason.as_str()).collect();
    let absent: Vec<_> = REASONS.iter().filter(|reason| !met.contains(**reason)).collect();
    assert!(absent.is_empty(), "no frame was dropped as {absent:?}: {:?}", off.drops);
    assert!(off.sent() > captures.total() / 2, "few frames came through: {}", off.sent());
    assert_eq!(off.cache.verified, 0);

    for (name, keys, least_hits) in [
        ("16 entries", "entries = 16\nverify = 1", 300),
        ("ordinary", "entries = 65536\nverify = 1", 5_000),
        ("unverified", "entries = 65536", 5_000),
        ("full key", "entries = 65536\nverify = 1\nkey = \"full\"", 5_000),
        ("full key, 16 entries", "entries = 16\nverify = 3\nkey = \"full\"", 300),
    ] {
        let cached = play::run(&captures, name, keys);
        println!("{name}: {:?}", cached.cache);
        assert_alike(&off, &cached);
        assert!(cached.cache.hits > least_hits, "{name}: {:?}", cached.cache);
        assert_eq!(cached.cache.unsound, 0, "{name}: {:?}", cached.cache);
        assert_eq!(cached.cache.verified > 0, keys.contains("verify"), "{name}: {:?}", cached.cache);
    }
}
