//! `police_frames` and `police_bits`: what a port or a network may send in a second.

use serde::Serialize;

use crate::error::Reported;
use crate::section::Section;
use crate::value;

/// Most bits a second that can be said: a terabit.
const BITS_MAX: i64 = 1_000_000_000_000;

/// A policer's rates; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Police {
    /// Frames a second.
    pub police_frames: u32,
    /// Bits a second, of frames without FCS.
    pub police_bits: u64,
}

impl Police {
    /// True when there is a limit.
    pub const fn is_on(self) -> bool {
        self.police_frames != 0 || self.police_bits != 0
    }
}

/// Reads both keys.
pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Police, Reported> {
    let police_frames = section.or("police_frames", 0, value::integer(0..=i64::from(u32::MAX)));
    let police_bits = section.or("police_bits", 0, value::integer(0..=BITS_MAX));
    Ok(Police { police_frames: police_frames?, police_bits: police_bits? })
}
