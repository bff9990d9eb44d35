//! Ports for source NAT: each worker has its share of the range and asks nobody.
//!
//! That no two connections get the same translated tuple is the table's doing ([`Insert::Clash`]); the shares only see to it
//! that workers rarely try for the same. A port is preserved when it can be (RFC 4787 REQ-1 to REQ-3 allow either; it keeps
//! protocols alive that care). Otherwise the search starts at a random place (RFC 6056 section 3.3.1) in the worker's own
//! share, and goes on in all of the range when the share has nothing: few ports with many workers are all used.
//!
//! Of an ICMP echo the identifier is the port. What has no ports (GRE, ESP) can be translated for one connection between
//! two addresses at a time.

use std::ops::RangeInclusive;

use super::slots::Stock;
use super::table::{Found, Insert, New, Table};
use super::{ConnRef, Limit};

/// Ports that are tried in the own share at most, and in the whole range at most: a bound on what one packet costs.
const TRIES: u32 = 128;

/// Ports a translated connection may have, unless configured otherwise: those that are no well-known ones.
pub const DEFAULT_RANGE: RangeInclusive<u16> = 1024..=u16::MAX;

/// Ports from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl From<RangeInclusive<u16>> for Span {
    fn from(range: RangeInclusive<u16>) -> Self {
        Self { first: *range.start(), last: *range.end() }
    }
}

/// One worker's share of the ports.
#[derive(Clone, Debug)]
pub struct Share {
    /// Whose it is, and of how many.
    worker: (usize, usize),
    first: u16,
    /// Ports of the whole range.
    all: u32,
    /// Ports of this worker, from `own_first` on.
    own: u32,
    own_first: u32,
    random: u64,
}

/// Why a connection was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Every port that was tried is taken by another connection to the same destination.
    #[error("no port is free for another connection to that destination")]
    Exhausted,
    /// See [`Insert::Full`].
    #[error("the connection table is full")]
    Full,
    /// See [`Insert::OverLimit`].
    #[error("{0}")]
    OverLimit(Limit),
    /// See [`Insert::Busy`].
    #[error("another worker is at the same place of the table")]
    Busy,
}

/// A connection with source NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translated {
    /// It is in the table.
    Created(ConnRef),
    /// There is one already, and it may be translated otherwise.
    Exists(Found),
}

impl Share {
    /// The share of worker number `worker` of `workers`; `random` is a random number. A worker that has no port of its own,
    /// because there are fewer than workers, still finds those of others.
    pub fn new(range: RangeInclusive<u16>, worker: usize, workers: usize, random: u64) -> Self {
        let all = (u32::from(*range.end()) + 1).saturating_sub(u32::from(*range.start()));
        let at = |worker: usize| (u64::from(all) * worker as u64 / workers.max(1) as u64) as u32;
        let (start, end) = (at(worker.min(workers)), at((worker + 1).min(workers)));
        Self {
            first: *range.start(),
            all,
            own: end - start,
            own_first: start,
            random,
            worker: (worker, workers),
        }
    }

    /// The same worker's share of other ports, for the next connection.
    pub fn over(&mut self, ports: Span) -> Self {
        let (worker, workers) = self.worker;
        Self::new(ports.first..=ports.last, worker, workers, self.step())
    }

    /// splitmix64: one step for each connection.
    fn step(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random
    }

    /// The ports that are tried for a connection that comes from `preserved`: that one when it is in the range, then as the
    /// module's text says.
    pub fn candidates(&mut self, preserved: u16) -> impl Iterator<Item = u16> + use<> {
        let random = self.step();
        let mixed = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let (first, all, own_first) = (self.first, self.all, self.own_first);
        let in_range = preserved >= first && u32::from(preserved - first) < all;
        let around = move |start: u32, count: u32, random: u32| {
            let offset = ((u64::from(random) * u64::from(count)) >> 32) as u32;
            (0..count.min(TRIES)).map(move |step| first + (start + (offset + step) % count) as u16)
        };
        let own = around(own_first, self.own, (mixed >> 32) as u32);
        let others = if self.own == all { 0 } else { all };
        in_range.then_some(preserved).into_iter().chain(own).chain(around(0, others, mixed as u32))
    }

    /// Enters `new`, whose source keeps its address: with its port, too, unless another connection is answered in the same
    /// way. That is one to a service, when there is one to its backend itself, and the other way round.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn insert_as_it_is(
        &mut self,
        table: &Table,
        stock: &mut Stock,
        new: &New,
    ) -> Result<Translated, Refused> {
        settled(table.insert(stock, new)).unwrap_or_else(|| self.insert(table, stock, new))
    }

    /// Enters `new`, whose reply goes to a translated source, with a port for it. The reply's destination port is what is
    /// looked for; the rest of `new.reply` stays.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn insert(&mut self, table: &Table, stock: &mut Stock, new: &New) -> Result<Translated, Refused> {
        let echo = new.reply.echo().is_some();
        let preserved = if echo { new.reply.source_port() } else { new.reply.destination_port() };
        if !new.reply.has_ports() {
            return settled(table.insert(stock, new)).unwrap_or(Err(Refused::Exhausted));
        }
        for (tried, port) in self.candidates(preserved).enumerate() {
            let reply =
                if echo { new.reply.with_source_port(port) } else { new.reply.with_destination_port(port) };
            // The first one is mostly free. Where it was not, most that are taken are seen so, at the cost of a lookup.
            if tried > 0 && table.lookup(&reply).is_some() {
                continue;
            }
            if let Some(result) = settled(table.insert(stock, &New { reply, ..*new })) {
                return result;
            }
        }
        Err(Refused::Exhausted)
    }
}

/// What an attempt came to; `None` when another port is to be tried.
fn settled(insert: Insert) -> Option<Result<Translated, Refused>> {
    Some(match insert {
        Insert::Created(conn) => Ok(Translated::Created(conn)),
        Insert::Exists(found) => Ok(Translated::Exists(found)),
        Insert::Clash => return None,
        Insert::Full => Err(Refused::Full),
        Insert::OverLimit(limit) => Err(Refused::OverLimit(limit)),
        Insert::Busy => Err(Refused::Busy),
    })
}

#[cfg(all(test, not(feature = "loom")))]
mod tests;
