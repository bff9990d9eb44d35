//! The table of the fast path: ours by flow counts, side by side with Open vSwitch on DPDK and the floor.
//!
//! | file | holds |
//! |---|---|
//! | [`scenario`] | the scenarios, their flow counts and bars |
//! | [`network`] | what shuntd is told: L2, and routing between two networks |
//! | [`tunnels`], [`vlan`], [`nat`], [`pods`] | overlays, VLANs, source NAT, services and policies: what shuntd is told and how it is measured |
//! | [`opened`] | new UDP connections, counted while the table fills |
//! | [`live`], [`pauses`] | a million live connections: the rate through them, memory, the worker's longest iterations |
//! | [`bursts`] | the rate by the size of a burst |
//! | [`costs`] | a policer, and a bond's hash, against the same without |
//! | [`rules`], [`tracked`] | what Open vSwitch is told: one rule, the 16 tables of an OVN-like pipeline, and connections |
//! | [`rates`], [`updates`], [`guests`] | how a scenario is measured |
//! | [`results`] | JSON for programs, the table for people |

pub mod bursts;
pub mod costs;
pub mod guests;
pub mod live;
pub mod nat;
pub mod network;
pub mod opened;
pub mod pauses;
pub mod pods;
pub mod rates;
pub mod results;
pub mod rules;
pub mod scenario;
pub mod tracked;
pub mod tunnels;
pub mod updates;
pub mod vlan;
