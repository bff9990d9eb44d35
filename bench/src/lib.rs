//! Benchmarks of `shunt`, side by side with its peers.
//!
//! `foundation` and `fastpath` measure the tables of `docs/performance.md`, ours and the peers' in turn, and fill them.
//! `plots` draws them. `pktgen` generates and receives traffic over any DPDK device.
//!
//! | module | holds |
//! |---|---|
//! | [`rows`] | one file for each kind of row: what is set up, what is counted |
//! | [`fastpath`] | the table of the fast path: scenarios by flow counts |
//! | [`pktgen`] | a packet generator and sink over any DPDK device |
//! | [`oneway`] | the path that most rows measure: captures in, nothing out |
//! | [`contest`] | ours and the peers in turn, as often as asked for |
//! | [`peer`] | Open vSwitch with DPDK, testpmd, the Linux bridge |
//! | [`switch`], [`pods`], [`frames`] | the daemon under measurement, pods on it, input frames |
//! | [`pair`] | two nodes and a pod on each, by our daemons and by the kernel |
//! | [`figure`], [`report`], [`session`] | values, bars and verdicts; Markdown and JSON; row after row |
//! | [`nodes`] | large routing tables and topologies |
//! | [`plot`] | throughput by flow count and latencies as SVG |
//! | [`machine`], [`process`], [`cores`], [`stop`] | what else ran, what a process used, where threads run, Ctrl-C |
//! | [`stolen`] | what the machine takes from a thread that only reads the clock |
#![forbid(unsafe_code)]

pub mod contest;
pub mod cores;
pub mod fastpath;
pub mod figure;
pub mod frames;
pub mod machine;
pub mod nodes;
pub mod oneway;
pub mod pair;
pub mod peer;
pub mod pktgen;
pub mod plan;
pub mod plot;
pub mod pods;
pub mod process;
pub mod report;
pub mod rows;
pub mod session;
pub mod stolen;
pub mod stop;
pub mod switch;
