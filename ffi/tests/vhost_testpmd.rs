//! A vhost-user port against DPDK's own virtio driver (`dpdk-testpmd` with virtio-user), which swaps the addresses of what
//! it receives and sends it back.

mod vhost_support;

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use shunt_ffi::vhost::{VhostEvent, VhostMode};
use shunt_ffi::{Burst, Mbuf};
use shunt_tests::require;
use shunt_tests::testpmd::{Forward, Options, Testpmd};
use vhost_support::{LIMIT, Port, assert_no_leak, options, pattern, site};

/// A guest's device; `more` adds device arguments.
fn guest(path: &Path, queues: u16, more: &str) -> Options {
    let device = format!("net_virtio_user0,path={},queues={queues},{more}", path.display());
    Options { vdevs: vec![device], queues, ..Options::default() }
}

fn swapped(frame: &[u8]) -> Vec<u8> {
    [&frame[6..12], &frame[..6], &frame[12..]].concat()
}

/// Sends `count` frames on each queue and waits until all are back, in order and unchanged but for their addresses.
fn echo(port: &mut Port, queues: usize, count: u32) {
    let pool = site().1;
    for queue in 0..queues {
        let bytes = |number: u32| {
            let mut frame = pattern([60, 61, 128, 1514][number as usize % 4], number as u8);
            frame[14..18].copy_from_slice(&number.to_be_bytes());
            frame
        };
        let (mut sent, mut received) = (0, 0);
        let (mut out, mut back) = (Burst::new(), Burst::new());
        let until = Instant::now() + LIMIT;
        while received < count {
            assert!(Instant::now() < until, "queue {queue}: {received} of {sent} frames came back");
            // So many that the guest's ring never overflows: a lost frame is a bug.
            while sent < count && sent < received + 200 && !out.is_full() {
                out.push(pool.frame(&bytes(sent)).unwrap()).unwrap();
                sent += 1;
            }
            port.opened.tx[queue].transmit(&mut out);
            port.opened.rx[queue].receive(&mut back, 32);
            for frame in back.drain() {
                assert_eq!(frame.to_vec(), swapped(&bytes(received)), "queue {queue}, frame {received}");
                received += 1;
            }
        }
    }
}

/// Attaches, echoes, detaches.
fn run(mode: VhostMode, queues: u16, more: &str) {
    require!(root(), tool("dpdk-testpmd"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut wanted = options(&path);
    (wanted.mode, wanted.queues, wanted.tx_queues) = (mode, queues, queues);
    let mut port = Port::open(&wanted);
    let server = u8::from(mode == VhostMode::Client);
    let mut testpmd = Testpmd::launch(&guest(&path, queues, &format!("server={server},{more}"))).unwrap();
    testpmd.start(Forward::MacSwap).unwrap();
    let VhostEvent::Attached { .. } = port.wait_attached() else { unreachable!("checked by wait_attached") };
    let until = Instant::now() + LIMIT;
    while !port.opened.tx.iter().all(shunt_ffi::vhost::VhostTxQueue::is_up) {
        assert!(Instant::now() < until, "the guest does not receive");
        std::thread::yield_now();
    }
    echo(&mut port, queues.into(), 5000);
    let statistics = port.opened.port.statistics();
    assert_eq!(statistics.rx_frames, 5000 * u64::from(queues), "{statistics:?}");
    assert_eq!((statistics.rx_short, statistics.rx_bad_offload), (0, 0));
    drop(testpmd);
    port.wait_detached();
    assert_no_leak();
}

#[test]
fn server_mergeable() {
    run(VhostMode::Server, 1, "mrg_rxbuf=1,in_order=0");
}

#[test]
fn server_plain_buffers() {
    run(VhostMode::Server, 1, "mrg_rxbuf=0,in_order=1");
}

#[test]
fn server_packed_ring() {
    run(VhostMode::Server, 1, "mrg_rxbuf=1,packed_vq=1,in_order=0");
}

#[test]
fn server_packed_ring_in_order_plain_buffers() {
    run(VhostMode::Server, 1, "mrg_rxbuf=0,packed_vq=1,in_order=1");
}

#[test]
fn server_two_queues() {
    run(VhostMode::Server, 2, "mrg_rxbuf=1,in_order=0");
}

#[test]
fn client() {
    run(VhostMode::Client, 1, "mrg_rxbuf=1,in_order=0");
}

#[test]
fn client_two_queues_packed() {
    run(VhostMode::Client, 2, "mrg_rxbuf=1,packed_vq=1,in_order=0");
}

#[test]
fn a_killed_guest_comes_back_twenty_times() {
    require!(root(), tool("dpdk-testpmd"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut wanted = options(&path);
    (wanted.queues, wanted.tx_queues) = (2, 2);
    let mut port = Port::open(&wanted);
    for round in 0..20 {
        // Every second guest with one queue only, and every third with packed rings.
        let queues = 1 + round % 2;
        let more = format!("mrg_rxbuf=1,in_order=0,packed_vq={}", u8::from(round % 3 == 0));
        let mut testpmd = Testpmd::launch(&guest(&path, queues, &more)).unwrap();
        testpmd.start(Forward::MacSwap).unwrap();
        port.wait_attached();
        let until = Instant::now() + LIMIT;
        while !port.opened.tx[0].is_up() {
            assert!(Instant::now() < until, "round {round}: the guest does not receive");
            std::thread::yield_now();
        }
        echo(&mut port, 1, 500);
        // Killed with frames on their way in both directions.
        let mut burst = Burst::new();
        for number in 0..32 {
            burst.push(frame(number)).unwrap();
        }
        port.opened.tx[0].transmit(&mut burst);
        testpmd.running().signal(Signal::SIGKILL);
        let killed = Instant::now();
        let mut back = Burst::new();
        while port.opened.port.is_attached() {
            port.opened.rx[0].receive(&mut back, 32);
            port.opened.rx[1].receive(&mut back, 32);
            port.opened.tx[1].transmit(&mut burst);
            back.clear();
            assert!(killed.elapsed() < Duration::from_secs(5), "round {round}: the end was not seen");
        }
        port.wait_detached();
    }
    assert_no_leak();
}

fn frame(number: u8) -> Mbuf {
    site().1.frame(&pattern(60, number)).unwrap()
}

#[test]
fn generated_traffic_of_two_queues_arrives() {
    require!(root(), tool("dpdk-testpmd"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut wanted = options(&path);
    wanted.queues = 2;
    let mut port = Port::open(&wanted);
    let mut testpmd = Testpmd::launch(&guest(&path, 2, "mrg_rxbuf=1,in_order=0")).unwrap();
    testpmd.start(Forward::TxOnly).unwrap();
    port.wait_attached();
    let mut burst = Burst::new();
    let mut counts = [0_u64; 2];
    let until = Instant::now() + LIMIT;
    while counts.iter().any(|count| *count < 100_000) {
        assert!(Instant::now() < until, "{counts:?}");
        for (queue, count) in port.opened.rx.iter_mut().zip(&mut counts) {
            *count += queue.receive(&mut burst, 32) as u64;
            assert!(burst.iter().all(|frame| frame.len() == 64));
            burst.clear();
        }
    }
    // The guest stops first, so what it counts as sent is what arrived.
    let sent = testpmd.stop().unwrap().tx_packets;
    let until = Instant::now() + LIMIT;
    while counts.iter().sum::<u64>() < sent {
        assert!(Instant::now() < until, "{counts:?} of {sent}");
        for (queue, count) in port.opened.rx.iter_mut().zip(&mut counts) {
            *count += queue.receive(&mut burst, 32) as u64;
            burst.clear();
        }
    }
    assert_eq!(counts.iter().sum::<u64>(), sent);
    assert_eq!(port.opened.port.statistics().rx_frames, sent);
    drop(testpmd);
    port.wait_detached();
    assert_no_leak();
}
