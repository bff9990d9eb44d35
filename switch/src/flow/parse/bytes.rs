//! Reading from a frame of which only the first bytes are at hand.
//!
//! Cost: a read is two comparisons.

/// Why a read found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The frame, or the packet in it, ends before.
    Beyond,
    /// The bytes exist, but in a later segment.
    Split,
}

/// A layer that is not sound; or one that cannot be read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// What the header says is wrong or does not fit the frame.
    Malformed,
    /// Some of the header is in a later segment.
    Split,
}

impl From<Missing> for Refused {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Beyond => Self::Malformed,
            Missing::Split => Self::Split,
        }
    }
}

/// A frame, or the part of it up to the end of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'f> {
    data: &'f [u8],
    len: usize,
}

impl<'f> Bytes<'f> {
    /// A frame of `len` bytes that starts with `data`.
    pub(super) fn new(data: &'f [u8], len: u32) -> Self {
        Self { data, len: (len as usize).max(data.len()) }
    }

    /// Bytes from offset `at` to the end.
    pub(super) fn behind(self, at: usize) -> usize {
        self.len.saturating_sub(at)
    }

    /// The same without what lies more than `count` bytes behind `at`: a frame without its padding.
    pub(super) fn cut(self, at: usize, count: usize) -> Self {
        Self { data: self.data, len: self.len.min(at.saturating_add(count)) }
    }

    /// The `N` bytes at offset `at`.
    pub(super) fn read<const N: usize>(self, at: usize) -> Result<&'f [u8; N], Missing> {
        // The end of the packet comes first: padding is at hand, but is not the packet.
        if self.behind(at) < N {
            return Err(Missing::Beyond);
        }
        self.data.get(at..).and_then(<[u8]>::first_chunk).ok_or(Missing::Split)
    }

    /// That the `count` bytes at offset `at` are there.
    pub(super) fn expect(self, at: usize, count: usize) -> Result<(), Missing> {
        if self.behind(at) < count {
            return Err(Missing::Beyond);
        }
        if self.data.len().saturating_sub(at) < count { Err(Missing::Split) } else { Ok(()) }
    }
}
