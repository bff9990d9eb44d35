use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::flow::key::{Depth, Fragment, Marks};
use crate::ids::PortId;
use crate::wire::ethernet::Mac;
use crate::wire::protocol::UDP;

fn key(sender: u32, fragment: Fragment) -> FlowKey {
    let mut key = FlowKey::ethernet(PortId::FIRST, Mac(1), Mac(2), 0x0800);
    key.set_ipv4(sender, 0x0a00_0001);
    let marks = Marks { depth: Depth::Transport, l3: L3::Ipv4, fragment, ..Marks::default() };
    match fragment {
        Fragment::First => {
            key.set_facts(UDP, 0, Marks { l4: L4::Known, ..marks });
            key.set_ports(sender as u16, 53);
        }
        _ => key.set_facts(UDP, 0, marks),
    }
    key
}

fn identity(sender: u32, id: u32) -> Identity {
    Identity::new(&key(sender, Fragment::Later), 0, id)
}

fn upper(sender: u32) -> Upper {
    Upper::of(&key(sender, Fragment::First))
}

/// The fragment from byte 8 * `start` to 8 * `end`.
fn piece(start: u16, end: u16, more: bool) -> Piece {
    Piece { id: 0, start: start * 8, end: end * 8, more }
}

/// Notes a fragment of datagram `id` of sender 1.
fn note(fragments: &Fragments, id: u32, start: u16, end: u16, more: bool, now: u32) -> Result<bool, Refused> {
    let first = (start == 0).then(|| upper(1));
    let known = fragments.note(&identity(1, id), &piece(start, end, more), first, now)?;
    assert!(known.is_none_or(|known| known == upper(1)));
    Ok(known.is_some())
}

#[test]
fn later_fragments_get_what_the_first_one_said() {
    let first = key(9, Fragment::First);
    let later = Upper::of(&first).complete(&key(9, Fragment::Later));
    let marks = later.marks();
    assert_eq!((later.ports(), later.protocol(), later.addresses()), (first.ports(), UDP, first.addresses()));
    assert_eq!((marks.fragment, marks.l4, marks.gathered), (Fragment::Later, L4::Known, true));
}

#[test]
fn in_order_and_out_of_order() {
    let fragments = Fragments::new(1);
    assert_eq!(note(&fragments, 1, 0, 10, true, 0), Ok(true));
    assert_eq!(note(&fragments, 1, 10, 20, true, 0), Ok(true));
    assert_eq!(fragments.open(0), 1);
    assert_eq!(note(&fragments, 1, 20, 25, false, 0), Ok(true));
    assert_eq!(fragments.open(0), 0, "it is complete");

    assert_eq!(note(&fragments, 2, 20, 25, false, 0), Ok(false));
    assert_eq!(note(&fragments, 2, 10, 20, true, 0), Ok(false));
    let news = fragments.news();
    assert_eq!(fragments.settle(&identity(1, 2), 0), Ok(None), "nothing is known yet");
    assert_eq!(note(&fragments, 2, 0, 10, true, 0), Ok(true));
    assert_ne!(fragments.news(), news, "who waits is told");
    assert_eq!(fragments.open(0), 1, "those that wait have not asked");
    for left in [1, 0] {
        assert_eq!(fragments.settle(&identity(1, 2), 0), Ok(Some(upper(1))));
        assert_eq!(fragments.open(0), left);
    }
    assert_eq!(fragments.settle(&identity(1, 2), 0), Err(Refused::Forgotten));
}

#[test]
fn what_overlaps_ends_the_datagram() {
    let cases: [&[(u16, u16, bool)]; 6] = [
        &[(0, 10, true), (5, 15, true)],
        &[(0, 10, true), (12, 20, false), (9, 11, true)],
        &[(10, 20, true), (0, 11, true)],
        // Two ends, an end before what has come, something behind the end.
        &[(10, 20, false), (20, 25, false)],
        &[(10, 20, true), (5, 8, false)],
        &[(5, 8, false), (8, 20, true)],
    ];
    for case in cases {
        let fragments = Fragments::new(1);
        let (last, before) = case.split_last().unwrap();
        for &(start, end, more) in before {
            assert!(note(&fragments, 1, start, end, more, 0).is_ok(), "{case:?}");
        }
        assert_eq!(note(&fragments, 1, last.0, last.1, last.2, 0), Err(Refused::Overlap), "{case:?}");
        assert_eq!(note(&fragments, 1, 30, 40, true, 1), Err(Refused::Overlap), "{case:?}: and all after it");
        assert!(note(&fragments, 2, 30, 40, true, 1).is_ok(), "another datagram is none the worse");
        // Nor is one with the same number, later.
        assert!(note(&fragments, 1, 30, 40, true, LIFETIME).is_ok(), "{case:?}");
    }
}

#[test]
fn those_that_wait_hear_of_an_overlap() {
    let fragments = Fragments::new(1);
    assert_eq!(note(&fragments, 1, 10, 20, true, 0), Ok(false));
    let news = fragments.news();
    assert_eq!(note(&fragments, 1, 15, 25, true, 0), Err(Refused::Overlap));
    assert_ne!(fragments.news(), news);
    assert_eq!(fragments.settle(&identity(1, 1), 0), Err(Refused::Overlap));
}

#[test]
fn a_duplicate_does_no_harm_and_a_reused_number_is_another_datagram() {
    let fragments = Fragments::new(1);
    assert_eq!(note(&fragments, 1, 0, 10, true, 0), Ok(true));
    assert_eq!(note(&fragments, 1, 0, 10, true, 0), Err(Refused::Duplicate));
    assert_eq!(note(&fragments, 1, 10, 20, true, 0), Ok(true));
    assert_eq!(note(&fragments, 1, 10, 20, true, 1), Err(Refused::Duplicate));
    // Its last fragment was lost on the way, and the sender has come round.
    assert_eq!(note(&fragments, 1, 0, 12, true, 2), Ok(true));
    assert_eq!(note(&fragments, 1, 12, 20, false, 2), Ok(true));
    assert_eq!(fragments.open(2), 0);
}

#[test]
fn late_copies_of_a_datagram_that_has_passed_do_not() {
    for later_first in [false, true] {
        let fragments = Fragments::new(1);
        let pieces = [(0, 10, true), (10, 20, true), (20, 25, false)];
        let mut order = pieces;
        if later_first {
            order.reverse();
        }
        let waited = order.iter().filter(|it| note(&fragments, 1, it.0, it.1, it.2, 0) == Ok(false)).count();
        assert_eq!(waited, if later_first { 2 } else { 0 });
        for _ in 0..waited {
            assert_eq!(fragments.settle(&identity(1, 1), 0), Ok(Some(upper(1))));
        }
        assert_eq!(fragments.open(0), 0, "it is complete");
        for (start, end, more) in pieces {
            assert_eq!(note(&fragments, 1, start, end, more, 1), Err(Refused::Duplicate), "{start}");
        }
        // A first fragment with other ports, one over the end, one beyond it; and none of them changes what is known.
        for (start, end, more) in
            [(0, 9, true), (0, 25, false), (24, 26, false), (25, 30, true), (30, 31, false)]
        {
            assert_eq!(note(&fragments, 1, start, end, more, 1), Err(Refused::Overlap), "{start}");
        }
        assert_eq!(note(&fragments, 1, 0, 10, true, 1), Err(Refused::Duplicate));
        assert_eq!(fragments.open(1), 0);
        // The sender has come round: it is another datagram, whichever fragment comes first.
        assert_eq!(note(&fragments, 1, 10, 20, false, 2), Ok(false));
        assert_eq!(note(&fragments, 1, 0, 10, true, 2), Ok(true));
    }
}

#[test]
fn what_has_passed_makes_way_before_what_has_not() {
    let fragments = Fragments::new(1);
    let open: Vec<u32> = (0..8).collect();
    let begin = |id: u32| note(&fragments, id, 0, 10, true, 0).unwrap();
    assert!(open.iter().all(|id| begin(*id)));
    for id in 1_000..20_000 {
        assert!(begin(id));
        assert_eq!(note(&fragments, id, 10, 20, false, 0), Ok(true), "{id}");
    }
    assert_eq!(fragments.open(0), open.len());
    let is_there = |id: &u32| fragments.settle(&identity(1, *id), 0) == Ok(Some(upper(1)));
    assert!(open.iter().all(is_there), "no open one was displaced");
    // A copy of the newest is one still.
    assert_eq!(note(&fragments, 19_999, 0, 10, true, 0), Err(Refused::Duplicate));
}

#[test]
fn a_datagram_has_no_more_pieces_and_no_more_time_than_it_may() {
    let fragments = Fragments::new(1);
    for at in 0..PIECES as u16 {
        assert_eq!(note(&fragments, 1, at, at + 1, true, 0), Ok(true));
    }
    assert_eq!(note(&fragments, 1, 99, 100, false, 0), Err(Refused::TooMany));
    assert_eq!(note(&fragments, 2, 0, 1, true, 0), Ok(true));
    assert_eq!(note(&fragments, 2, 1, 2, true, LIFETIME - 1), Ok(true));
    assert_eq!(note(&fragments, 2, 2, 3, true, LIFETIME), Ok(false), "the first one is forgotten");
}

#[test]
fn a_sender_who_leaves_datagrams_open_displaces_his_own() {
    let fragments = Fragments::new(1);
    let honest: Vec<u32> = (100..140).collect();
    let begin = |sender: u32, id: u32| {
        fragments.note(&identity(sender, id), &piece(0, 10, true), Some(upper(sender)), 0).unwrap();
    };
    honest.iter().for_each(|sender| begin(*sender, 7));
    (0..10_000).for_each(|id| begin(1, id));
    let is_there =
        |sender: u32, id: u32| fragments.settle(&identity(sender, id), 0) == Ok(Some(upper(sender)));
    assert!(honest.iter().all(|sender| is_there(*sender, 7)), "nobody else has lost one");
    let left = (0..10_000).filter(|id| is_there(1, *id)).count();
    assert!(left <= SPREAD as usize * WAYS, "{left}");
    assert!(is_there(1, 9_999), "the newest is there");
}

#[test]
fn memory_is_bounded() {
    let fragments = Fragments::new(1);
    assert!(fragments.bytes() < 2 << 20, "{}", fragments.bytes());
    for sender in 0..20_000 {
        let first = Some(upper(sender));
        fragments.note(&identity(sender, sender), &piece(0, 10, true), first, 0).unwrap();
    }
    assert!(fragments.open(0) <= DATAGRAMS);
    assert_eq!(fragments.open(LIFETIME), 0);
}

/// First fragments by one thread, later ones by another: each later one passes at once or hears by the news.
#[test]
fn two_workers_lose_nothing() {
    const EACH: u32 = 20_000;
    /// Fewer at a time than a sender may have open.
    const AHEAD: u32 = 8;
    let fragments = Arc::new(Fragments::new(1));
    let pace: Arc<[AtomicU32; 2]> = Arc::default();
    let run = |side: usize| {
        let (fragments, pace) = (fragments.clone(), pace.clone());
        std::thread::spawn(move || {
            let (mut waiting, mut news) = (Vec::new(), fragments.news());
            for id in 0..EACH {
                while id > pace[1 - side].load(Ordering::Acquire) + AHEAD {
                    std::thread::yield_now();
                }
                let (piece, first) = match side {
                    0 => (piece(0, 10, true), Some(upper(1))),
                    _ => (piece(10, 20, false), None),
                };
                let noted = loop {
                    match fragments.note(&identity(1, id), &piece, first, 0) {
                        Err(Refused::Busy) => std::thread::yield_now(),
                        noted => break noted.unwrap(),
                    }
                };
                if noted.is_none() {
                    waiting.push(id);
                }
                if !waiting.is_empty() && fragments.news() != news {
                    news = fragments.news();
                    waiting.retain(|id| fragments.settle(&identity(1, *id), 0).unwrap().is_none());
                }
                pace[side].store(id, Ordering::Release);
            }
            waiting
        })
    };
    let threads = [run(0), run(1)];
    let [firsts, later] = threads.map(|thread| thread.join().unwrap());
    assert!(firsts.is_empty());
    for id in later {
        assert_eq!(fragments.settle(&identity(1, id), 0), Ok(Some(upper(1))), "{id}");
    }
    assert_eq!(fragments.open(0), 0);
}

/// What a naive model knows of a datagram.
#[derive(Default)]
struct Naive {
    first: bool,
    refused: Option<Refused>,
    /// All of it has passed.
    passed: bool,
    pieces: Vec<Piece>,
}

impl Naive {
    /// Whether a fragment passes at once.
    fn note(&mut self, piece: &Piece) -> Result<bool, Refused> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        if self.pieces.iter().any(|seen| (seen.start, seen.end) == (piece.start, piece.end)) {
            return Err(Refused::Duplicate);
        }
        if self.passed {
            return Err(Refused::Overlap);
        }
        let mut all = self.pieces.clone();
        all.push(*piece);
        let bytes = |piece: &Piece| piece.start..piece.end;
        let overlap = self.pieces.iter().any(|seen| bytes(seen).any(|byte| bytes(piece).contains(&byte)));
        let ends: Vec<u16> = all.iter().filter(|piece| !piece.more).map(|piece| piece.end).collect();
        let behind = |end: &u16| all.iter().any(|piece| piece.end > *end || piece.more && piece.end == *end);
        if overlap || ends.len() > 1 || ends.iter().any(behind) {
            self.refused = Some(Refused::Overlap);
            return Err(Refused::Overlap);
        }
        self.pieces = all;
        self.first |= piece.start == 0;
        Ok(self.first)
    }

    fn is_complete(&self) -> bool {
        let seen: u32 = self.pieces.iter().map(|piece| u32::from(piece.end - piece.start)).sum();
        self.pieces.iter().any(|piece| !piece.more && u32::from(piece.end) == seen)
    }
}

proptest! {
    #[test]
    fn it_says_what_a_naive_model_says(
        sent in prop::collection::vec((0_u32..4, 0_u16..12, 1_u16..6, any::<bool>(), 0_u8..8), 1..120),
    ) {
        let fragments = Fragments::new(1);
        let mut model: HashMap<u32, Naive> = HashMap::new();
        // Those that wait in the model, by datagram.
        let mut waiting: HashMap<u32, u32> = HashMap::new();
        for (id, start, length, more, ask) in sent {
            let piece = piece(start, start + length, more);
            let naive = model.entry(id).or_default();
            let expected = naive.note(&piece);
            let first = (start == 0).then(|| upper(1));
            let noted = fragments.note(&identity(1, id), &piece, first, 0);
            prop_assert_eq!(noted.map(|known| known.is_some()), expected);
            if expected == Ok(false) {
                *waiting.entry(id).or_default() += 1;
            }
            // Now and then those that wait ask.
            if ask == 0 && waiting.get(&id).is_some_and(|count| *count > 0) {
                let expected = match naive.refused {
                    Some(refused) => Err(refused),
                    None => Ok(naive.first.then(|| upper(1))),
                };
                prop_assert_eq!(fragments.settle(&identity(1, id), 0), expected);
                if expected != Ok(None) {
                    *waiting.entry(id).or_default() -= 1;
                }
            }
            let waits = waiting.get(&id).is_some_and(|count| *count > 0);
            naive.passed |= naive.refused.is_none() && naive.is_complete() && !waits;
        }
        prop_assert_eq!(fragments.open(0), model.values().filter(|naive| !naive.passed).count());
    }
}
