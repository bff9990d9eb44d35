//! The lab: real other sides for whole-switch tests.
//!
//! Every piece is a guard: what it makes (a namespace, a device, a process, hugepages) is gone when it is
//! dropped, also when the test panics; what a killed test left behind is removed by the next one
//! ([`sweep`]). Nothing here touches the machine's own network: devices live in namespaces of their own.
//!
//! | need | module |
//! |---|---|
//! | a pod: namespace, interface, addresses | [`netns`], [`veth`], [`tap`], [`bridge`] |
//! | traffic with figures; how long it stands still | [`ping`], [`iperf`], [`outage`](mod@outage) |
//! | who is on the way | [`traceroute`] |
//! | a DPDK application as peer (virtio-user, vhost, memif) | [`testpmd`] |
//! | a virtual machine with the kernel's virtio-net driver | [`guest`] |
//! | the switch under test | [`shuntd`] |
//! | frames as values; arbitrary and broken ones | [`frames`] |
//! | any frame, tags included, out of and into an interface | [`wire`] |
//! | Open vSwitch: a physical switch with VLANs, the far end of a tunnel | [`ovs`] |
//! | whole scenes: nodes with a daemon each, pods, a physical switch, routers | [`scene`] |
//! | 2 MiB pages for the length of a test | [`hugepages`] |
//! | a test that cannot run here | [`require!`](crate::require!), [`skip!`](crate::skip!) |
//!
//! Cost: a namespace 10 ms, a veth pair 10 ms, testpmd 0.5 s, a guest 3 s of one core. All of it needs root; a
//! test starts with `require!(root(), tool("iperf3"))` and is counted as skipped where that does not hold.

#![forbid(unsafe_code)]

pub mod bridge;
pub mod command;
pub mod error;
pub mod frames;
pub mod guest;
pub mod hugepages;
pub mod interface;
pub mod iperf;
pub mod netns;
pub mod outage;
pub mod ovs;
pub mod paths;
pub mod ping;
pub mod scene;
pub mod shuntd;
pub mod skip;
pub mod sweep;
pub mod tap;
pub mod testpmd;
pub mod traceroute;
pub mod transcript;
pub mod veth;
pub mod wire;

pub use bridge::Bridge;
pub use command::{Cmd, Output, Running};
pub use error::LabError;
pub use guest::Guest;
pub use hugepages::Hugepages;
pub use interface::Interface;
pub use iperf::Iperf;
pub use netns::Netns;
pub use outage::outage;
pub use ovs::Ovs;
pub use ping::Ping;
pub use shuntd::Shuntd;
pub use testpmd::Testpmd;
pub use veth::Veth;
pub use wire::Wire;
