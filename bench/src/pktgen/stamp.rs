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

    /// As bytes.
    #[inline]
    pub fn bytes(self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        out[0] = MARK;
        out[1] = self.trial;
        out[2..6].copy_from_slice(&self.sequence.to_be_bytes());
        out[6..].copy_from_slice(&self.time.to_be_bytes()[2..]);
        out
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
