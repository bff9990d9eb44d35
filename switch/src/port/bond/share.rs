//! What the workers and the bond's own thread share: which members traffic is taken from, which member a frame leaves by, and counts.
//!
//! The thread writes, the workers read, without a lock: a frame that is on its way while a member goes may still go to it, which is what
//! a frame on the wire does, too. A flow keeps its member as long as that carries traffic: when another one goes or comes back, only
//! flows of that one move.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use crate::lacp::{MEMBERS, Members};

/// Parts into which all flows fall: divisible by every number of members but 7, so that all have as many.
const BUCKETS: usize = 240;
/// No member.
const NONE: u8 = u8::MAX;

/// What was counted of one member. Several workers may count at once.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Frames received, LACPDUs and refused ones included.
    pub rx: AtomicU64,
    /// Frames sent by workers.
    pub tx: AtomicU64,
    /// Frames received while nothing was to be taken.
    pub refused: AtomicU64,
    /// Messages of slow protocols for the thread that came too often, or found its queue full.
    pub unheard: AtomicU64,
}

impl Counts {
    pub(super) fn add(counter: &AtomicU64, count: usize) {
        if count > 0 {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Share {
    collecting: AtomicU8,
    /// Members that a worker found down when it sent: passed over until the thread has looked.
    suspended: AtomicU8,
    buckets: [AtomicU8; BUCKETS],
    counts: [CachePadded<Counts>; MEMBERS],
}

/// The part that a hash falls into.
#[inline]
pub(super) fn bucket(hash: u64) -> usize {
    ((u128::from(hash) * BUCKETS as u128) >> 64) as usize
}

/// The member of each part. A part belongs to the member of its number as long as that carries traffic, else to one of the others, in
/// turn.
fn spread(count: usize, carrying: Members) -> [u8; BUCKETS] {
    let all: Vec<usize> = carrying.iter().filter(|member| *member < count).collect();
    std::array::from_fn(|bucket| {
        let own = bucket % count.max(1);
        match all.len() {
            0 => NONE,
            _ if carrying.has(own) => own as u8,
            others => all.get(bucket / count.max(1) % others).map_or(NONE, |member| *member as u8),
        }
    })
}

impl Share {
    pub(super) fn new() -> Self {
        Self {
            collecting: AtomicU8::new(0),
            suspended: AtomicU8::new(0),
            buckets: std::array::from_fn(|_| AtomicU8::new(NONE)),
            counts: std::array::from_fn(|_| CachePadded::default()),
        }
    }

    /// Says which of `count` members carry traffic from now on.
    pub(super) fn set(&self, count: usize, collecting: Members, distributing: Members) {
        self.collecting.store(collecting.0, Ordering::Release);
        for (place, member) in self.buckets.iter().zip(spread(count, distributing)) {
            place.store(member, Ordering::Release);
        }
    }

    /// Traffic is taken from `member`.
    #[inline]
    pub(super) fn collects(&self, member: usize) -> bool {
        Members(self.collecting.load(Ordering::Acquire)).has(member)
    }

    /// A worker has found out that `member` is down.
    #[cold]
    pub(super) fn suspend(&self, member: usize) {
        // A receive queue that is down says so every time it is asked.
        if !self.suspended().has(member) {
            self.suspended.fetch_or(1_u8.checked_shl(member as u32).unwrap_or(0), Ordering::AcqRel);
        }
    }

    /// The thread has looked at all links: what workers found out is known.
    pub(super) fn examined(&self) -> Members {
        Members(self.suspended.swap(0, Ordering::AcqRel))
    }

    /// The members that workers pass over.
    #[inline]
    pub(super) fn suspended(&self) -> Members {
        Members(self.suspended.load(Ordering::Acquire))
    }

    /// The member that frames with `hash` leave by, but none of `without`.
    #[inline]
    pub(super) fn member(&self, hash: u64, without: Members) -> Option<usize> {
        let member = usize::from(self.buckets[bucket(hash)].load(Ordering::Acquire));
        if without.is_empty() || !without.has(member) {
            return (member < MEMBERS).then_some(member);
        }
        self.another(hash, without)
    }

    /// Asked only in the moment between a worker's noticing that a link is down and the thread's.
    #[cold]
    fn another(&self, hash: u64, without: Members) -> Option<usize> {
        let from = bucket(hash);
        let later = (0..BUCKETS).map(|offset| &self.buckets[(from + offset) % BUCKETS]);
        let mut members = later.map(|place| usize::from(place.load(Ordering::Acquire)));
        members.find(|member| *member < MEMBERS && !without.has(*member))
    }

    /// What was counted of `member`.
    #[inline]
    pub(super) fn counts(&self, member: usize) -> &Counts {
        &self.counts[member % MEMBERS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(share: &Share) -> Vec<Option<usize>> {
        let step = u64::MAX / BUCKETS as u64;
        (0..BUCKETS as u64).map(|n| share.member(n * step + step / 2, Members::default())).collect()
    }

    #[test]
    fn only_flows_of_a_member_that_goes_or_comes_move() {
        for count in 1..=MEMBERS {
            let share = Share::new();
            let all = Members::which(count, |_| true);
            assert!(members(&share).iter().all(Option::is_none));
            share.set(count, all, all);
            let before = members(&share);
            for gone in 0..count {
                let rest = Members(all.0 & !(1 << gone));
                share.set(count, rest, rest);
                for (was, is) in before.iter().zip(members(&share)) {
                    match was {
                        Some(member) if *member == gone => {
                            assert!(is != *was && is.is_none() == (count == 1))
                        }
                        _ => assert_eq!(is, *was),
                    }
                }
                // Those that remain have equal parts.
                let parts = rest
                    .iter()
                    .map(|member| members(&share).iter().filter(|it| **it == Some(member)).count());
                let parts: Vec<usize> = parts.collect();
                let spread =
                    parts.iter().max().zip(parts.iter().min()).map_or(0, |(most, least)| most - least);
                assert!(spread <= BUCKETS / count / (count - 1).max(1) + 2, "{count}: {parts:?}");
                share.set(count, all, all);
                assert_eq!(members(&share), before, "and back");
            }
        }
    }

    #[test]
    fn a_suspended_member_is_passed_over_until_it_was_looked_at() {
        let share = Share::new();
        let both = Members(0b11);
        share.set(2, both, both);
        share.suspend(1);
        assert_eq!(share.suspended(), Members(0b10));
        let step = u64::MAX / 100;
        assert!((0..100).all(|n| share.member(n * step, share.suspended()) == Some(0)));
        assert_eq!(share.member(0, both), None, "nobody is left");
        assert_eq!(share.examined(), Members(0b10));
        assert!((0..100).any(|n| share.member(n * step, share.suspended()) == Some(1)));
    }
}
