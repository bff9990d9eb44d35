//! A traffic generator and sink over any DPDK device: rates, loss, order and latency of whatever is between two devices.
//!
//! | file | holds |
//! |---|---|
//! | [`scenario`] | the TOML that says what to send, how fast and over which devices |
//! | [`template`], [`traffic`] | frames prepared once, patched for each flow; what comes after what |
//! | [`stamp`] | the 12 bytes at the end of a frame: trial, sequence number, time |
//! | [`arrivals`], [`tracker`] | what arrived, run by run; lost, duplicated and reordered frames, from sequence numbers |
//! | [`latency`] | histograms and what is told of them |
//! | [`pace`] | how many frames are due: fixed rate, bursts, as fast as it goes |
//! | [`rig`], [`trial`] | the devices, and one trial over them: the loop that sends and receives; what became of it |
//! | [`search`] | the highest rate without loss (RFC 2544 section 26.1) |
//! | [`session`], [`outcome`] | all trials of a scenario; JSON and the table |
//! | [`progress`] | one line on a terminal |
//!
//! One thread does both sides: it sends what is due, then receives what is there. On a machine of two cores that leaves
//! the other one to what is measured, and both ends of a latency are read from one clock. The loop allocates nothing.

pub mod arrivals;
pub mod latency;
pub mod outcome;
pub mod pace;
mod pcap;
pub mod progress;
pub mod rig;
pub mod scenario;
pub mod search;
pub mod session;
pub mod stamp;
pub mod template;
pub mod tracker;
pub mod traffic;
pub mod trial;
