//! Connections: who talks to whom, what is translated for them, and how far they have come.
//!
//! One [`Table`] is shared by all workers, because the two directions of a connection come in by different ports. Memory is
//! fixed at the start; nothing here allocates, blocks or makes a system call afterwards.
//!
//! # How a worker uses it
//! 1. A packet whose flow is not cached: [`Tuple::of`] its key, [`Table::lookup`]. An ICMP error: [`Tuple::quoted`], looked up
//!    reversed.
//! 2. Found: [`Table::touch`], for TCP [`Table::track`], for SCTP [`Table::track_sctp`]. What the packet is turned into is in [`Connection::path`] and
//!    [`Tuple::translation`]. The flow cache keeps the [`ConnRef`] and the direction.
//! 3. Not found, and policy lets it pass: [`tcp::open`], [`sctp::open`] or [`Opening::untracked`], then [`Table::insert`]; with source
//!    NAT by [`ports::Share::insert`], which finds a port.
//! 4. A packet whose flow is cached: [`Table::touch`]. `Gone` makes the cached decision void.
//!
//! The control thread calls [`Table::sweep`], a slice at a time, and [`Table::list`].
//!
//! # The map
//! | module | holds |
//! |---|---|
//! | [`mod@tuple`], [`quoted`] | what tells a direction of a connection from all others; the same of what an ICMP error quotes |
//! | [`table`], `bucket`, `record`, `slots` | the table, its index, its records, free slots |
//! | [`connection`] | states, marks, the copy that is given out |
//! | [`tcp`], [`sctp`], [`track`] | what a segment does to a TCP connection, a packet to an SCTP association; what a packet does to any |
//! | [`timeouts`], [`sweep`] | when connections end, and the walk that ends them |
//! | [`tally`] | how many connections there are of which kind |
//! | [`events`] | what happens to connections, for who watches |
//! | [`fragments`] | which datagram a fragment is of, and what its first one said |
//! | [`limits`] | how many a zone or a source may have |
//! | [`ports`] | ports for source NAT |
//! | [`affinity`] | which backend of a service a client stays with |

pub mod affinity;
mod atomic;
mod bucket;
pub mod connection;
pub mod events;
pub mod fragments;
pub mod limits;
#[cfg(all(test, feature = "loom"))]
mod model;
pub mod ports;
pub mod quoted;
mod record;
pub mod sctp;
mod slots;
pub mod sweep;
pub mod table;
pub mod tally;
pub mod tcp;
pub mod timeouts;
pub mod track;
pub mod tuple;

pub use affinity::Affinity;
pub use connection::{ConnRef, Connection, Direction, Marks, Nat, State};
pub use events::{Change, Event, Events};
pub use fragments::Fragments;
pub use limits::{Limit, Limits};
pub use quoted::Quoted;
pub use slots::Stock;
pub use table::{Found, Insert, New, Removal, Size, Table};
pub use tally::Tally;
pub use tcp::{Invalid, Opening, Segment};
pub use timeouts::{ByZone, Timeouts};
pub use track::{Touch, Tracked};
pub use tuple::Tuple;
