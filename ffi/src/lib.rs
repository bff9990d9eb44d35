//! Safe types over DPDK and the kernel's packet devices: the only crate of `shunt` that contains unsafe code.
//!
//! | module | what it makes safe |
//! |---|---|
//! | [`eal`] | starting DPDK's environment once per process, registering worker threads |
//! | [`mempool`], [`mbuf`], [`chain`], [`burst`] | owned frames: one owner, freed on drop, gone after transmit |
//! | [`offload`] | the checksum and segmentation state a frame carries |
//! | [`ethdev`] | any DPDK Ethernet device by device arguments, hot plug, queues, statistics |
//! | [`kernel`] | interfaces of the kernel with virtio-net headers: veth by AF_PACKET, TAP, TUN |
//! | [`rcu`] | publication of immutable snapshots, reclaimed by the publisher |
//! | [`region`] | large tables of fixed size in huge pages |
//! | [`lanes`] | comparing eight numbers at once |
//! | [`clock`] | the time-stamp counter |
//! | [`log`] | DPDK's log lines, given to `tracing` off the data path |
//! | [`alloc_count`] | an allocator that counts, for tests |
//!
//! No name of the generated bindings leaves this crate. A frame is a [`mbuf::Mbuf`]: transmit functions take what they
//! sent out of the [`burst::Burst`] and leave the rest, so a frame can neither be used after it was sent nor leak.
#![warn(missing_docs)]

pub mod alloc_count;
pub mod burst;
pub mod chain;
pub mod clock;
pub mod eal;
pub mod error;
pub mod ethdev;
pub mod kernel;
pub mod lanes;
pub mod log;
pub mod mbuf;
pub mod mempool;
pub mod offload;
pub mod rcu;
pub mod region;
mod sys;
pub mod vhost;

pub use burst::{Burst, MAX_BURST};
pub use chain::Chain;
pub use error::DpdkError;
pub use mbuf::Mbuf;
pub use mempool::Mempool;
pub use region::Region;
