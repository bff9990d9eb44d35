//! Lost, duplicated and reordered frames, from the sequence numbers that arrive.
//!
//! A frame is reordered when one with a higher number came before it (RFC 4737 section 3.3). Which of the last [`WINDOW`]
//! numbers were seen is a ring of bits, 32 KiB; a frame that is further behind cannot be told from a duplicate and counts as
//! late, and so as lost.

/// Numbers that are remembered.
pub const WINDOW: u64 = 1 << 18;

/// What a frame is to the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its number was not seen before.
    Fresh(u64),
    /// It was.
    Duplicate,
    /// Too far behind to tell.
    Late,
    /// A number that nobody sent.
    Foreign,
}

/// What has arrived so far.
#[derive(Debug)]
pub struct Tracker {
    seen: Box<[u64]>,
    /// One more than the highest number seen.
    next: u64,
    /// Different numbers seen.
    pub received: u64,
    /// Frames whose number was seen before.
    pub duplicates: u64,
    /// Frames that came after one with a higher number.
    pub reordered: u64,
    /// How far behind the worst of them was.
    pub farthest: u64,
    /// Frames too far behind to tell.
    pub late: u64,
    /// Frames with a number that nobody sent.
    pub foreign: u64,
}

impl Default for Tracker {
    fn default() -> Self {
        let seen = vec![0; (WINDOW / 64) as usize].into_boxed_slice();
        Self { seen, next: 0, received: 0, duplicates: 0, reordered: 0, farthest: 0, late: 0, foreign: 0 }
    }
}

impl Tracker {
    /// Forgets everything; allocates nothing.
    pub fn reset(&mut self) {
        let mut seen = std::mem::take(&mut self.seen);
        seen.fill(0);
        *self = Self {
            seen,
            next: 0,
            received: 0,
            duplicates: 0,
            reordered: 0,
            farthest: 0,
            late: 0,
            foreign: 0,
        };
    }

    /// Takes note of a number, of which the lower 32 bits are known, when `sent` numbers were given out so far.
    #[inline]
    pub fn record(&mut self, low: u32, sent: u64) -> Verdict {
        // The number nearest to the one that is expected.
        let ahead = i64::from(low.wrapping_sub(self.next as u32) as i32);
        let Some(number) = self.next.checked_add_signed(ahead).filter(|number| *number < sent) else {
            self.foreign += 1;
            return Verdict::Foreign;
        };
        if number >= self.next {
            self.advance(number);
        } else {
            // The highest number seen is `next - 1`.
            let behind = self.next - 1 - number;
            if behind >= WINDOW {
                self.late += 1;
                return Verdict::Late;
            }
            if self.is_seen(number) {
                self.duplicates += 1;
                return Verdict::Duplicate;
            }
            self.reordered += 1;
            self.farthest = self.farthest.max(behind);
        }
        let (word, bit) = place(number);
        self.seen[word] |= bit;
        self.received += 1;
        Verdict::Fresh(number)
    }

    /// As [`record`](Self::record) for each of `count` numbers from `low` on, at most 64, when they are those that are expected
    /// next; the first of them. `None`, and nothing noted, when they are not.
    #[inline]
    pub fn record_next(&mut self, low: u32, count: u64, sent: u64) -> Option<u64> {
        let first = self.next;
        if low != first as u32 || first + count > sent || !(1..=64).contains(&count) {
            return None;
        }
        let (word, shift) = ((first % WINDOW / 64) as usize, first % 64);
        let bits = u128::from(u64::MAX >> (64 - count)) << shift;
        self.seen[word] |= bits as u64;
        self.seen[(word + 1) % (WINDOW as usize / 64)] |= (bits >> 64) as u64;
        self.next += count;
        self.received += count;
        Some(first)
    }

    fn is_seen(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.seen[word] & bit != 0
    }

    /// Makes `number` the highest: those in between were not seen yet.
    fn advance(&mut self, number: u64) {
        if number - self.next >= WINDOW {
            self.seen.fill(0);
        } else {
            for skipped in self.next..=number {
                let (word, bit) = place(skipped);
                self.seen[word] &= !bit;
            }
        }
        self.next = number + 1;
    }
}

fn place(number: u64) -> (usize, u64) {
    let slot = number % WINDOW;
    ((slot / 64) as usize, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn told(numbers: impl IntoIterator<Item = u64>, sent: u64) -> Tracker {
        let mut tracker = Tracker::default();
        numbers.into_iter().for_each(|number| {
            tracker.record(number as u32, sent);
        });
        tracker
    }

    #[test]
    fn in_order_is_nothing_but_received() {
        let tracker = told(0..1000, 1000);
        assert_eq!((tracker.received, tracker.duplicates, tracker.reordered, tracker.late), (1000, 0, 0, 0));
    }

    #[test]
    fn loss_duplicates_and_reordering_are_told_apart() {
        // 3 is lost, 5 comes twice, 8 comes after 10.
        let tracker = told([0, 1, 2, 4, 5, 5, 6, 7, 9, 10, 8], 11);
        assert_eq!(
            (tracker.received, tracker.duplicates, tracker.reordered, tracker.farthest),
            (10, 1, 1, 2)
        );
    }

    #[test]
    fn numbers_that_nobody_sent_are_foreign() {
        let mut tracker = told([0, 1], 2);
        assert_eq!(tracker.record(7, 2), Verdict::Foreign);
        assert_eq!(tracker.record(u32::MAX, 2), Verdict::Foreign, "one below 0");
        assert_eq!((tracker.received, tracker.foreign), (2, 2));
    }

    #[test]
    fn the_sequence_goes_on_when_32_bits_are_full() {
        let start = u64::from(u32::MAX) - 2;
        let mut tracker = Tracker { next: start, ..Tracker::default() };
        let verdicts: Vec<Verdict> =
            (start..start + 6).map(|number| tracker.record(number as u32, start + 6)).collect();
        assert_eq!(verdicts.last(), Some(&Verdict::Fresh(start + 5)));
        assert_eq!((tracker.received, tracker.reordered), (6, 0));
    }

    #[test]
    fn what_is_too_far_behind_is_late_and_not_received() {
        let mut tracker = told([0, WINDOW + 5], WINDOW + 6);
        assert_eq!(tracker.record(1, WINDOW + 6), Verdict::Late);
        assert_eq!(tracker.record(6, WINDOW + 6), Verdict::Fresh(6));
        tracker.reset();
        assert_eq!(tracker.record(0, 1), Verdict::Fresh(0));
        assert_eq!((tracker.received, tracker.late), (1, 0));
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_naive_model(numbers in proptest::collection::vec(0_u64..600, 0..400)) {
            let (mut seen, mut highest, mut reordered, mut duplicates) = (HashSet::new(), None, 0, 0);
            for number in &numbers {
                if !seen.insert(*number) {
                    duplicates += 1;
                } else if highest.is_some_and(|highest| *number < highest) {
                    reordered += 1;
                }
                highest = highest.max(Some(*number));
            }
            let tracker = told(numbers, 600);
            prop_assert_eq!(
                (tracker.received, tracker.duplicates, tracker.reordered, tracker.late, tracker.foreign),
                (seen.len() as u64, duplicates, reordered, 0, 0)
            );
        }
    }
}
