//! What a frame says of itself, in its last 12 bytes: a mark, the trial, a sequence number, the time it was made.
//!
//! At the end, because what is measured may add, take or rewrite headers; the frame then still ends as it did. Frames are
//! made long enough never to be padded behind it.
//!
//! | bytes | value |
//! |---|---|
//! | 0 | mark |
//! | 1 | number of the trial, modulo 256: frames of the one before do not count |
//! | 2..6 | sequence number, lower 32 bits |
//! | 6..12 | time-stamp counter when the frame was made, lower 48 bits |

/// Bytes of a stamp.
pub const LENGTH: usize = 12;

const MARK: u8 = 0xb5;
const TIME: u64 = (1 << 48) - 1;

/// A stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The trial, modulo 256.
    pub trial: u8,
    /// Lower bits of the sequence number.
    pub sequence: u32,
    /// Lower 48 bits of the time-stamp counter.
    pub time: u64,
}

impl Stamp {
    /// For a frame made at `now`.
    #[inline]
    pub fn new(trial: u8, sequence: u64, now: u64) -> Self {
        Self { trial, sequence: sequence as u32, time: now & TIME }
    }

    /// For the frame that is made `ahead` frames after this one, at the same time.
    #[inline]
    pub fn later(self, ahead: u64) -> Self {
        Self { sequence: self.sequence.wrapping_add(ahead as u32), ..self }
    }

    /// As bytes.
    #[inline]
    pub fn bytes(self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        let (front, time) = self.parts();
        out[..8].copy_from_slice(&front.to_be_bytes());
        out[8..].copy_from_slice(&time.to_be_bytes());
        out
    }

    /// The first eight bytes and the last four.
    #[inline]
    fn parts(self) -> (u64, u32) {
        let front = u64::from(MARK) << 56 | u64::from(self.trial) << 48 | u64::from(self.sequence) << 16;
        (front | self.time >> 32 & 0xffff, self.time as u32)
    }

    /// Sum of its words for a checksum (RFC 1071), not folded.
    #[inline]
    pub fn sum(self) -> u32 {
        let (front, time) = self.parts();
        let words = [front >> 48, front >> 32, front >> 16, front, u64::from(time >> 16), u64::from(time)];
        words.iter().map(|word| (word & 0xffff) as u32).sum()
    }

    /// From the last bytes of a frame; `None` when they are not a stamp.
    #[inline]
    pub fn read(tail: [u8; LENGTH]) -> Option<Self> {
        if tail[0] != MARK {
            return None;
        }
        let mut time = [0; 8];
        time[2..].copy_from_slice(&tail[6..]);
        let sequence = u32::from_be_bytes([tail[2], tail[3], tail[4], tail[5]]);
        Some(Self { trial: tail[1], sequence, time: u64::from_be_bytes(time) })
    }

    /// Cycles from when the frame was made until `now`, at most 2^47 of them; 0 when `now` is before.
    #[inline]
    pub fn age(self, now: u64) -> u64 {
        let age = now.wrapping_sub(self.time) & TIME;
        if age > TIME / 2 { 0 } else { age }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let now = 0x1234_5678_9abc_def0;
        let stamp = Stamp::new(7, 0x1_0000_0002, now);
        assert_eq!(stamp.sequence, 2);
        assert_eq!(Stamp::read(stamp.bytes()), Some(stamp));
        assert_eq!(Stamp::read([0; LENGTH]), None);
        let later = Stamp::new(7, 0x1_0000_0005, now);
        assert_eq!((stamp.later(3), stamp.later(3).time), (later, stamp.time));
        let last = Stamp { sequence: u32::MAX, ..stamp };
        assert_eq!(last.later(1).sequence, 0);
    }

    #[test]
    fn the_sum_is_that_of_the_bytes() {
        let stamp = Stamp::new(0xfe, 0x89ab_cdef, 0xfedc_ba98_7654);
        let words = stamp.bytes();
        let wanted: u32 = words.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
        assert_eq!(stamp.sum(), wanted);
    }

    #[test]
    fn ages_survive_the_wrap_of_the_clock() {
        let before = Stamp::new(0, 0, TIME - 9);
        assert_eq!(before.age((TIME - 9).wrapping_add(30)), 30);
        assert_eq!(
            before.age(TIME - 20),
            0,
            "made after it was received: clocks of two cores may differ by a little"
        );
    }
}
