//! The switch: data path, topology, control.
//!
//! # A frame's way
//! 1. [`worker`]: a worker polls a receive queue ([`port::RxQueue`]) and gets a burst of up to 32 frames.
//! 2. [`pipeline::Ingress`]: port and network of the burst, looked up once in the worker's snapshot of the [`topology`].
//! 3. [`flow::parse`]: headers become a [`flow::FlowKey`], as deep as the stages of the network read.
//! 4. [`flow::cache`]: what was decided for that key before, while it is still right (`worker::forward`).
//! 5. Only on a miss, the stages of [`pipeline`], on the same core: [`pipeline::ingress`] (table 0: is the frame allowed in;
//!    does the switch answer it itself; [`pipeline::link`] gives a frame of an L3 port its Ethernet header),
//!    [`pipeline::conntrack`] and [`pipeline::policy`] (tables 4 and 8: is its connection known, may it be opened),
//!    [`pipeline::lookup`] (table 16: the destination's port in [`table::fdb`], or flood), and for what is sent to a gateway
//!    [`pipeline::route`] (longest prefix in [`table::fib`]) and [`pipeline::nexthop`] (table 17: [`table::neighbor`]).
//!    They compile [`flow::Actions`], which the cache keeps.
//! 6. [`flow::execute`]: TTL, MAC addresses, tags, whatever the actions say.
//! 7. `worker::output` (table 20): length check, whatever checksum or segmentation the egress port cannot do
//!    ([`offload`]), the port's transmit buffer.
//! 8. [`port::TxQueue`]: the whole buffer at once. What the port does not take is dropped and counted ([`mod@drop`]).
//!
//! # The map
//! | module | holds |
//! |---|---|
//! | [`worker`] | the loop, transmit buffers, sleeping, the mailbox to the control thread |
//! | [`flow`] | keys, compiled actions, the cache |
//! | [`pipeline`] | the stages, one file each |
//! | [`topology`] | the immutable snapshot and how it is built and compared |
//! | [`table`] | its tables |
//! | [`port`] | port kinds, one file each |
//! | [`state`] | connections |
//! | [`policy`] | selectors resolved to addresses: who may talk to whom |
//! | [`lacp`] | link aggregation: the state machines of a bond, as pure functions of time |
//! | [`encap`] | tunnels: headers to put in front, and reading them |
//! | [`offload`] | checksums and segmentation in software |
//! | [`wire`] | header formats |
//! | [`control`] | configuration, ports, learning, publication, API |
//! | [`metrics`] | counters and health over HTTP |
//! | [`daemon`] | `shuntd`: from the command line to a running switch and its end |
//! | [`cli`] | `shunt`: commands, tables, the client of the API |
//! | [`counters`], [`mod@drop`], [`ids`] | what is counted, why frames are dropped, dense numbers for names |
#![forbid(unsafe_code)]

pub mod cli;
pub mod control;
pub mod counters;
pub mod daemon;
pub mod drop;
pub mod encap;
pub mod flow;
pub mod ids;
pub mod lacp;
pub mod metrics;
pub mod offload;
pub mod pipeline;
pub mod policy;
pub mod port;
pub mod state;
pub mod table;
pub mod topology;
pub mod wire;
pub mod worker;
