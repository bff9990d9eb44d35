//! One datagram of which fragments are under way: what has been seen of it.

use super::{Identity, LIFETIME, Refused, Upper};
use crate::wire::fragment::Piece;

/// Fragments that a datagram may have: 64 KiB at an MTU of 1,280 are 54.
pub const PIECES: usize = 64;
/// Seconds after which a first fragment that was seen before, or any of a datagram that has passed, is of another datagram with
/// the same identification, and no copy: 16 bits of it are soon used up (RFC 6864 section 5.2), and no network delays for so
/// long.
const REUSED_AFTER: u32 = 2;

/// How a datagram is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    /// There is none.
    #[default]
    Free,
    /// Not all of it has been seen.
    Open,
    /// All of it has been seen, and has passed: what still comes is a copy.
    Passed,
    /// Its fragments contradict each other: nothing of it passes any more.
    Refused(Refused),
}

/// What became of a fragment that fits its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The first one has said this.
    Goes(Upper),
    /// The first one has not come.
    Waits,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    pub(super) identity: Identity,
    life: Life,
    born: u32,
    upper: Option<Upper>,
    /// Where it ends; 0 while the last fragment has not come.
    end: u16,
    /// Bytes that have been seen.
    seen: u32,
    /// Fragments that wait for the first one.
    waiting: u8,
    count: u8,
    /// Start and end of each fragment.
    pieces: [(u16, u16); PIECES],
}

impl Default for Datagram {
    fn default() -> Self {
        Self {
            identity: Identity::default(),
            life: Life::Free,
            born: 0,
            upper: None,
            end: 0,
            seen: 0,
            waiting: 0,
            count: 0,
            pieces: [(0, 0); PIECES],
        }
    }
}

impl Datagram {
    pub(super) fn is_live(&self, now: u32) -> bool {
        match self.life {
            Life::Free => false,
            Life::Passed => self.age(now) < REUSED_AFTER,
            Life::Open | Life::Refused(_) => self.age(now) < LIFETIME,
        }
    }

    /// All of it has passed: nothing is lost when it is forgotten.
    pub(super) fn has_passed(&self) -> bool {
        self.life == Life::Passed
    }

    /// Seconds since its first fragment came.
    pub(super) fn age(&self, now: u32) -> u32 {
        // Another worker's clock may be ahead.
        now.saturating_sub(self.born)
    }

    /// Some of its fragments wait, and will not hear more yet.
    pub(super) fn is_undecided(&self) -> bool {
        self.waiting > 0 && self.upper.is_none() && self.life == Life::Open
    }

    /// Makes it another one.
    pub(super) fn begin(&mut self, identity: &Identity, now: u32) {
        let pieces = self.pieces;
        *self = Self { identity: *identity, life: Life::Open, born: now, pieces, ..Self::default() };
    }

    fn pieces(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.pieces.iter().take(usize::from(self.count)).copied()
    }

    /// Adds a fragment.
    pub(super) fn take(&mut self, piece: &Piece, first: Option<Upper>, now: u32) -> Result<Taken, Refused> {
        if first.is_some() && self.upper.is_some() && self.age(now) >= REUSED_AFTER {
            let identity = self.identity;
            self.begin(&identity, now);
        }
        if let Life::Refused(refused) = self.life {
            return Err(refused);
        }
        let (start, end) = (piece.start, piece.end);
        // RFC 8200 section 4.5: exact duplicates are no harm to the others.
        if self.pieces().any(|seen| seen == (start, end)) {
            return Err(Refused::Duplicate);
        }
        // What it is has been decided: nothing that comes now is to make it lose its memory of copies.
        if self.has_passed() {
            return Err(Refused::Overlap);
        }
        let overlaps = self.pieces().any(|seen| start < seen.1 && seen.0 < end);
        let reached = self.pieces().map(|seen| seen.1).max().unwrap_or(0);
        let two_ends = match self.end {
            0 => !piece.more && reached > end,
            known => !piece.more || end >= known,
        };
        if overlaps || two_ends {
            return Err(self.refuse(Refused::Overlap));
        }
        let Some(place) = self.pieces.get_mut(usize::from(self.count)) else {
            return Err(self.refuse(Refused::TooMany));
        };
        *place = (start, end);
        self.count += 1;
        self.seen += u32::from(end - start);
        if !piece.more {
            self.end = end;
        }
        self.upper = first.or(self.upper);
        let Some(upper) = self.upper else {
            self.waiting = self.waiting.saturating_add(1);
            return Ok(Taken::Waits);
        };
        self.end_if_complete();
        Ok(Taken::Goes(upper))
    }

    fn refuse(&mut self, reason: Refused) -> Refused {
        self.life = Life::Refused(reason);
        reason
    }

    /// It has passed when all of it has been seen, and nobody will ask for its ports.
    fn end_if_complete(&mut self) {
        // Fragments do not overlap, so their lengths add up.
        if self.life == Life::Open && self.waiting == 0 && self.seen == u32::from(self.end) && self.end != 0 {
            self.life = Life::Passed;
        }
    }

    /// What the first fragment said, for one that waits; it waits no more then.
    pub(super) fn settle(&mut self) -> Result<Option<Upper>, Refused> {
        if let Life::Refused(refused) = self.life {
            self.forget();
            return Err(refused);
        }
        let upper = self.upper;
        if upper.is_some() {
            self.forget();
        }
        Ok(upper)
    }

    /// One that waits does not any more.
    pub(super) fn forget(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        self.end_if_complete();
    }
}
