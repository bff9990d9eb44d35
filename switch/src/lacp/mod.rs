//! Which members of a bond carry traffic: the link aggregation control protocol (IEEE 802.1AX-2014 clause 6.4), and two
//! ways without a protocol.
//!
//! In: what members hear, their links, the time. Out: frames to send, and a set of members to take traffic from and one to give it
//! to. Nothing here waits, locks or asks the time: a simulated partner drives it in the tests, `port::bond` drives it in the daemon.
//!
//! | file | holds |
//! |---|---|
//! | [`member`] | the machines of one link: receive, periodic transmission, mux (clauses 6.4.12, 6.4.13, 6.4.15) |
//! | [`aggregate`] | which links belong together (selection, 6.4.14), and the bond as a whole |
//! | [`backup`] | active-backup: the first link that is up |
//! | [`fixed`] | static: all links that are up |

pub mod aggregate;
pub mod backup;
pub mod fixed;
pub mod member;

pub use aggregate::{Aggregate, Settings};
pub use backup::Backup;
pub use fixed::Fixed;
pub use member::{Hears, Member, Mux};

use std::time::Duration;

/// A moment, counted from one that stays the same: as long as the aggregate lives.
pub type Time = Duration;

/// Members a bond has at most.
pub const MEMBERS: usize = 8;

/// A set of members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members(pub u8);

impl Members {
    /// Those for which `is` holds, of `count`.
    pub fn which(count: usize, is: impl Fn(usize) -> bool) -> Self {
        Self((0..count.min(MEMBERS)).filter(|member| is(*member)).fold(0, |set, member| set | 1 << member))
    }

    /// True when `member` is in it.
    #[inline]
    pub const fn has(self, member: usize) -> bool {
        member < MEMBERS && self.0 >> member & 1 != 0
    }

    /// How many.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// True when there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members in it, in their order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MEMBERS).filter(move |member| self.has(*member))
    }
}

#[cfg(test)]
mod tests;
