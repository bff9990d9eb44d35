use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::ids::PortId;
use crate::wire::ethernet::Mac;

fn key(number: u32) -> FlowKey {
    let mut key = FlowKey::ethernet(PortId::new(3).unwrap(), Mac(2), Mac(4), 0x0800);
    key.set_ipv4(number, 7);
    key
}

fn entry(number: u32, second: u32) -> Entry {
    Entry {
        key: key(number),
        packets: 1,
        bytes: u64::from(number),
        generation: 1,
        second,
        rests_on: Dependencies::NONE,
        actions: Actions::unchanged(Verdict::Port(PortId::new(number as usize % 1000).unwrap())),
    }
}

fn lookup(cache: &mut FlowCache, number: u32) -> Option<Place> {
    let hash = cache.hash(&key(number));
    let found = cache.find(hash);
    cache.confirm(found, hash, &key(number))
}

#[test]
fn a_flow_takes_less_than_192_bytes() {
    assert_eq!(ENTRY_BYTES, 132);
}

#[test]
fn a_cache_that_is_off_finds_and_keeps_nothing() {
    let mut cache = FlowCache::new(0, 10, true, 1).unwrap();
    assert!(!cache.is_on());
    assert_eq!(lookup(&mut cache, 1), None);
    let hash = cache.hash(&key(1));
    assert_eq!(cache.enter(hash, entry(1, 0)), None);
}

#[test]
fn nearly_all_flows_find_a_place_when_there_are_as_many_places() {
    let mut cache = FlowCache::new(4096, 10, true, 1).unwrap();
    for number in 0..4096 {
        let hash = cache.hash(&key(number));
        cache.enter(hash, entry(number, 5));
    }
    let kept = (0..4096).filter(|number| lookup(&mut cache, *number).is_some()).count();
    assert!(kept > 3800, "{kept} of 4096");
}

#[test]
fn more_live_flows_than_places_leave_most_places_to_those_that_have_them() {
    let mut cache = FlowCache::new(1024, 10, true, 1).unwrap();
    let mut hits = 0;
    // Round robin over twice as many flows as places: a cache that always replaces the oldest would never hit.
    for round in 0..20 {
        for number in 0..2048 {
            match lookup(&mut cache, number) {
                Some(_) if round > 10 => hits += 1,
                Some(_) => {}
                None => {
                    let hash = cache.hash(&key(number));
                    cache.enter(hash, entry(number, 5));
                }
            }
        }
    }
    let rate = f64::from(hits) / (9.0 * 2048.0);
    assert!(rate > 0.3, "{rate}");
}

#[test]
fn a_silent_flow_gives_its_place_away_and_leaves_the_dump() {
    let mut cache = FlowCache::new(16, 10, true, 1).unwrap();
    for number in 0..200 {
        let hash = cache.hash(&key(number));
        cache.enter(hash, entry(number, 0));
    }
    let mut rows = Vec::with_capacity(100);
    assert_eq!(cache.dump(0, 100, 5, &mut rows), None);
    assert_eq!(rows.len(), 16);
    rows.clear();
    assert_eq!(cache.dump(0, 100, 10, &mut rows), None);
    assert!(rows.is_empty());
    let hash = cache.hash(&key(1000));
    assert!(cache.enter(hash, entry(1000, 10)).is_some());
}

#[test]
fn a_dump_goes_on_where_it_stopped() {
    let mut cache = FlowCache::new(64, 10, true, 1).unwrap();
    for number in 0..30 {
        let hash = cache.hash(&key(number));
        cache.enter(hash, entry(number, 5));
    }
    let (mut all, mut from) = (Vec::new(), Some(0));
    while let Some(start) = from {
        let mut rows = Vec::with_capacity(4);
        from = cache.dump(start, 7, 5, &mut rows);
        assert!(rows.len() <= 4);
        all.extend(rows.iter().map(|entry| entry.bytes));
    }
    all.sort_unstable();
    assert_eq!(all, (0..30).collect::<Vec<_>>());
}

#[test]
fn without_backing_off_every_flow_is_entered() {
    let mut cache = FlowCache::new(16, 10, false, 1).unwrap();
    for number in 0..100_000 {
        let hash = cache.hash(&key(number));
        let found = cache.find(hash);
        assert!(cache.confirm(found, hash, &key(number)).is_none());
        let place = cache.enter(hash, entry(number, 5)).expect("it takes the place of another");
        assert_eq!(cache.at(place).unwrap().key, key(number));
    }
}

proptest! {
    /// Whatever is found is what was entered last for that very key, and nothing that was removed is found.
    #[test]
    fn agrees_with_a_map(operations in prop::collection::vec((0_u32..120, 0_u8..4, 0_u32..30), 0..600)) {
        let mut cache = FlowCache::new(64, 10, true, 9).unwrap();
        let mut model: HashMap<u32, u32> = HashMap::new();
        for (number, what, second) in operations {
            let hash = cache.hash(&key(number));
            let found = cache.find(hash);
            let place = cache.confirm(found, hash, &key(number));
            if let Some(place) = place {
                let held = *cache.at(place).unwrap();
                prop_assert_eq!(held.key, key(number));
                prop_assert_eq!(Some(&held.second), model.get(&number));
            }
            match what {
                0 | 1 if cache.enter(hash, entry(number, second)).is_some() => {
                    model.insert(number, second);
                }
                2 => {
                    if let Some(place) = place {
                        cache.remove(place);
                        model.remove(&number);
                    }
                }
                _ => {}
            }
        }
        cache.clear();
        for number in 0..120 {
            prop_assert_eq!(lookup(&mut cache, number), None);
        }
    }
}
