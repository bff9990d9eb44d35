//! Benchmarks of `shunt`, side by side with its peers.
//!
//! `foundation` measures every row of the table in `docs/performance.md`, ours and the peer's in turn, and fills the table.
//!
//! | module | holds |
//! |---|---|
//! | [`rows`] | one file for each kind of row: what is set up, what is counted |
//! | [`contest`] | ours and the peers in turn, as often as asked for |
//! | [`peer`] | Open vSwitch with DPDK, testpmd, the Linux bridge |
//! | [`switch`], [`pods`], [`frames`] | the daemon under measurement, pods on it, input frames |
//! | [`figure`], [`report`] | values, bars and verdicts; Markdown and JSON |
//! | [`machine`], [`process`], [`cores`], [`stop`] | what else ran, what a process used, where threads run, Ctrl-C |
#![forbid(unsafe_code)]

pub mod contest;
pub mod cores;
pub mod figure;
pub mod frames;
pub mod machine;
pub mod peer;
pub mod plan;
pub mod pods;
pub mod process;
pub mod report;
pub mod rows;
pub mod stop;
pub mod switch;
