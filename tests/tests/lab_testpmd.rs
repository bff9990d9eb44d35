//! Proves the testpmd half of the lab: one instance against another, over vhost-user and over memif.

use std::thread;
use std::time::{Duration, Instant};

use shunt_tests::testpmd::{self, Forward, Memory, Options, PortStats, Testpmd};
use shunt_tests::{Hugepages, require};

const MAC: &str = "02:00:00:00:00:01";

/// Polls the counters until `enough` holds.
fn until(pmd: &mut Testpmd, enough: impl Fn(&PortStats) -> bool) -> PortStats {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let stats = pmd.port_stats(0).unwrap();
        if enough(&stats) {
            return stats;
        }
        assert!(Instant::now() < deadline, "{stats:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn launch(vdev: String, memory: Memory) -> Testpmd {
    Testpmd::launch(&Options { vdevs: vec![vdev], memory, ..Options::default() }).unwrap()
}

/// A burst goes round between the two until it has passed 10,000 times: both directions carry frames.
fn round_and_round(mut far: Testpmd, mut near: Testpmd) {
    far.start(Forward::MacSwap).unwrap();
    near.start_with_burst(Forward::Io).unwrap();
    let stats = until(&mut near, |s| s.rx_packets > 10_000);
    assert!(stats.tx_packets > 10_000 && stats.rx_errors == 0, "{stats:?}");
    let (forwarded, swapped) = (near.stop().unwrap(), far.stop().unwrap());
    assert!(forwarded.tx_packets > 10_000 && swapped.rx_packets > 10_000, "{forwarded:?} {swapped:?}");
    near.clear_stats().unwrap();
    assert_eq!(near.port_stats(0).unwrap().tx_packets, 0);
}

fn vhost_user(near_listens: bool, memory: Memory) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("vhost");
    let far = launch(testpmd::vhost(0, &socket, 1, near_listens), memory);
    let near = launch(testpmd::virtio_user(0, &socket, MAC, 1, near_listens), memory);
    round_and_round(far, near);
}

#[test]
fn vhost_user_without_hugepages() {
    require!(root(), tool("dpdk-testpmd"));
    vhost_user(false, Memory::Ordinary(256));
}

#[test]
fn vhost_user_on_a_socket_of_virtio_user() {
    require!(root(), tool("dpdk-testpmd"));
    vhost_user(true, Memory::Ordinary(256));
}

#[test]
fn vhost_user_with_hugepages() {
    require!(root(), tool("dpdk-testpmd"), hugepages(256));
    let _pages = Hugepages::reserve(256).unwrap();
    vhost_user(false, Memory::Huge(256));
}

#[test]
fn memif() {
    require!(root(), tool("dpdk-testpmd"));
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("memif");
    let far = launch(testpmd::memif(0, &socket, 0, true), Memory::Ordinary(256));
    let near = launch(testpmd::memif(0, &socket, 0, false), Memory::Ordinary(256));
    round_and_round(far, near);
}

#[test]
fn an_unknown_command_and_a_bad_device_are_errors() {
    require!(root(), tool("dpdk-testpmd"));
    let mut pmd = launch(testpmd::null(0), Memory::Ordinary(64));
    assert!(pmd.command("make coffee").is_err());
    assert!(pmd.port_stats(7).is_err());
    let bad = Options { vdevs: vec!["net_nonsense0".into()], ..Options::default() };
    let error = Testpmd::launch(&bad).err().expect("no such driver").to_string();
    assert!(error.contains("net_nonsense0"), "{error}");
}
