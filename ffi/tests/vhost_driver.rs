//! A vhost-user port against a virtio-net driver of our own that looks at every byte.

mod vhost_support;

use std::os::unix::net::UnixListener;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shunt_ffi::Burst;
use shunt_ffi::offload::Offload;
use shunt_ffi::vhost::{VhostEvent, VhostMode};
use vhost_support::driver::{Guest, HEADER};
use vhost_support::front::*;
use vhost_support::{Port, assert_no_leak, options, pattern, site, until};

const PLAIN: [u8; HEADER] = [0; HEADER];

#[test]
fn frames_pass_unchanged_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    assert!(!port.opened.port.is_attached());
    for features in [VERSION_1 | MRG_RXBUF, VERSION_1] {
        let mut guest = Guest::attach(FrontEnd::connect(&path), features, 1, 128, 2048);
        let VhostEvent::Attached { queues: 1, features: got, .. } = port.wait_attached() else {
            panic!("wrong event")
        };
        assert_eq!(got, features | PROTOCOL);
        for length in [14, 59, 60, 64, 1514, 1518] {
            let frame = pattern(length, length as u8);
            port.send(0, &frame);
            let (header, got) = guest.receive(0);
            assert_eq!(header[..10], PLAIN[..10]);
            assert_eq!(got, frame, "to the guest, {length} bytes");
            guest.send(0, PLAIN, &frame);
            let got = port.receive(0);
            assert_eq!(got.to_vec(), frame, "from the guest, {length} bytes");
            assert_eq!(got.offload(), Ok(Offload::default()));
        }
        drop(guest);
        port.wait_detached();
    }
    let counted = port.opened.port.statistics();
    assert_eq!((counted.rx_frames, counted.tx_frames), (12, 12));
    assert_no_leak();
}

#[test]
fn large_frames_spread_over_mergeable_buffers_and_come_back_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let mut guest = Guest::attach(FrontEnd::connect(&path), VERSION_1 | MRG_RXBUF | CSUM, 1, 128, 2048);
    port.wait_attached();
    for length in [2036, 2037, 9014, 65_000] {
        let frame = pattern(length, 3);
        port.send(0, &frame);
        let (header, got) = guest.receive(0);
        assert_eq!(got, frame);
        assert_eq!(
            usize::from(u16::from_le_bytes([header[10], header[11]])),
            (length + HEADER).div_ceil(2048)
        );
        let cut = length / 3;
        guest.send_chain(0, PLAIN, &[&frame[..cut], &frame[cut..2 * cut], &frame[2 * cut..]]);
        let got = port.receive(0);
        assert_eq!(got.to_vec(), frame);
        assert_eq!(usize::from(got.segment_count()), length.div_ceil(2048), "no buffer more than it takes");
    }
    drop(guest);
    port.wait_detached();
    assert_no_leak();
}

#[test]
fn a_frame_no_buffer_holds_does_not_stop_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let mut guest = Guest::attach(FrontEnd::connect(&path), VERSION_1, 1, 16, 2048);
    port.wait_attached();
    assert!(!port.opened.tx[0].offloads().mergeable);
    let mut burst = Burst::new();
    let pool = site().1;
    for bytes in [pattern(60, 1), pattern(9000, 2), pattern(61, 3)] {
        burst.push(pool.frame(&bytes).unwrap()).unwrap();
    }
    assert_eq!(port.opened.tx[0].transmit(&mut burst), 3, "all are gone, one of them as a drop");
    assert_eq!(guest.receive(0).1, pattern(60, 1));
    assert_eq!(guest.receive(0).1, pattern(61, 3));
    let counted = port.opened.port.statistics();
    assert_eq!((counted.tx_frames, counted.tx_too_large, counted.tx_ring_full), (2, 1, 0));
    drop(guest);
    port.wait_detached();
    assert_no_leak();
}

#[test]
fn a_full_ring_keeps_frames_in_the_burst_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let pool = site().1;
    let mut burst = Burst::new();
    for index in 0..40 {
        burst.push(pool.frame(&pattern(60, index)).unwrap()).unwrap();
    }
    assert_eq!(port.opened.tx[0].transmit(&mut burst), 0);
    assert_eq!(port.opened.port.statistics().tx_link_down, 40);
    let mut guest = Guest::attach(FrontEnd::connect(&path), VERSION_1 | MRG_RXBUF, 1, 33, 2048);
    port.wait_attached();
    until("the guest's ring", || port.opened.tx[0].is_up());
    let before = port.opened.port.statistics();
    assert_eq!(port.opened.tx[0].transmit(&mut burst), 33, "more than one call of the library");
    assert_eq!(burst.len(), 7);
    assert_eq!(port.opened.port.statistics().tx_ring_full - before.tx_ring_full, 7);
    for index in 0..40 {
        if index == 33 {
            assert_eq!(port.opened.tx[0].transmit(&mut burst), 7);
        }
        assert_eq!(guest.receive(0).1, pattern(60, index), "in order");
    }
    drop(guest);
    port.wait_detached();
    assert_no_leak();
}

#[test]
fn switches_and_queue_numbers_are_negotiated() {
    let directory = tempfile::tempdir().unwrap();
    let offered = |name: &str, tso, mergeable, queues| {
        let path = directory.path().join(name);
        let port = Port::open(&vhost_options(&path, tso, mergeable, queues));
        let mut front = FrontEnd::connect(&path);
        let features = front.negotiate(VERSION_1);
        let pairs = front.ask(GET_QUEUE_NUM);
        drop(port);
        (features, pairs)
    };
    let (all, pairs) = offered("a", true, true, 3);
    assert_eq!(pairs, 3);
    let tso = GUEST_TSO4 | GUEST_TSO6 | HOST_TSO4 | HOST_TSO6;
    // EVENT_IDX, INDIRECT and the packed ring are offered; ECN and UFO never.
    for bit in [tso, CSUM, GUEST_CSUM, MRG_RXBUF, MQ, VERSION_1, INDIRECT, 1 << 29, 1 << 34] {
        assert_eq!(all & bit, bit, "{bit:#x} is offered");
    }
    assert_eq!(all & (1 << 6 | 1 << 9 | 1 << 10 | 1 << 13 | 1 << 14), 0);
    assert_eq!(offered("b", false, true, 3).0 & tso, 0);
    assert_eq!(offered("c", true, false, 3).0 & MRG_RXBUF, 0);
    let (single, pairs) = offered("d", true, true, 1);
    assert_eq!((single & MQ, pairs), (0, 1));
}

fn vhost_options(
    path: &std::path::Path,
    tso: bool,
    mergeable: bool,
    queues: u16,
) -> shunt_ffi::vhost::VhostOptions {
    shunt_ffi::vhost::VhostOptions { tso, mergeable, queues, ..options(path) }
}

#[test]
fn queues_come_and_go_while_attached() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut wanted = options(&path);
    (wanted.queues, wanted.tx_queues) = (2, 3);
    let mut port = Port::open(&wanted);
    let mut guest = Guest::attach(FrontEnd::connect(&path), VERSION_1 | MRG_RXBUF | MQ, 2, 16, 2048);
    port.wait_attached();
    until("both pairs", || {
        port.send(1, &pattern(60, 1));
        guest.has_frame(1)
    });
    for pair in 0..2 {
        guest.send(pair, PLAIN, &pattern(64, pair as u8));
        assert_eq!(port.receive(pair).to_vec(), pattern(64, pair as u8));
    }
    // Three transmit queues share what there is; with one ring left all of them use it.
    assert!(guest.front.ring(SET_VRING_ENABLE, 2, 0));
    port.wait("ring 2 off", |event| {
        *event == VhostEvent::QueueEnabled { pair: 1, guest_receives: true, on: false }
    });
    while guest.has_frame(0) {
        guest.receive(0);
    }
    for queue in 0..3 {
        port.send(queue, &pattern(60, queue as u8));
        assert_eq!(guest.receive(0).1, pattern(60, queue as u8));
    }
    assert!(guest.front.ring(SET_VRING_ENABLE, 0, 0));
    port.wait("ring 0 off", |event| {
        *event == VhostEvent::QueueEnabled { pair: 0, guest_receives: true, on: false }
    });
    let mut burst = Burst::new();
    burst.push(site().1.frame(&pattern(60, 9)).unwrap()).unwrap();
    assert_eq!(port.opened.tx[2].transmit(&mut burst), 0);
    assert!(guest.front.ring(SET_VRING_ENABLE, 0, 1));
    until("ring 0 on", || port.opened.tx[2].transmit(&mut burst) == 1);
    assert_eq!(guest.receive(0).1, pattern(60, 9));
    drop(guest);
    port.wait_detached();
    assert_no_leak();
}

#[test]
fn a_sleeping_worker_is_woken_by_kicks_and_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let readable = |port: &Port, wait: u16| {
        let mut fds = [PollFd::new(port.opened.rx[0].wake_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(wait)).unwrap() == 1
    };
    port.opened.rx[0].set_notify(true);
    assert!(!readable(&port, 0));
    let mut guest = Guest::attach(FrontEnd::connect(&path), VERSION_1 | MRG_RXBUF, 1, 8, 2048);
    port.wait_attached();
    assert!(readable(&port, 1000), "the new guest wakes");
    let no_notify = |guest: &Guest| guest.read_u16(guest.rings[1].used_ring()) & 1 == 1;
    let mut burst = Burst::new();
    assert_eq!(port.opened.rx[0].receive(&mut burst, 32), 0);
    assert!(!no_notify(&guest), "the wish from before the guest came is kept");
    port.opened.rx[0].set_notify(false);
    assert!(no_notify(&guest), "polling: the guest need not kick");
    for round in 0..3 {
        port.opened.rx[0].set_notify(true);
        assert!(!no_notify(&guest));
        assert_eq!(port.opened.rx[0].receive(&mut burst, 32), 0);
        assert!(!readable(&port, 0), "round {round}");
        guest.send(0, PLAIN, &pattern(60, round));
        guest.rings[1].kick.write(1).unwrap();
        assert!(readable(&port, 1000), "a kick wakes, round {round}");
        port.opened.rx[0].set_notify(false);
        assert_eq!(port.receive(0).to_vec(), pattern(60, round));
    }
    port.opened.rx[0].set_notify(true);
    drop(guest);
    port.wait_detached();
    assert!(readable(&port, 1000), "the end of the guest wakes");
    assert_no_leak();
}

#[test]
fn a_client_port_finds_its_front_end_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut wanted = options(&path);
    wanted.mode = VhostMode::Client;
    let mut port = Port::open(&wanted);
    for round in 0..3 {
        let listener = UnixListener::bind(&path).unwrap();
        let front = FrontEnd::over(listener.accept().unwrap().0);
        let mut guest = Guest::attach(front, VERSION_1 | MRG_RXBUF, 1, 8, 2048);
        port.wait_attached();
        port.send(0, &pattern(60, round));
        assert_eq!(guest.receive(0).1, pattern(60, round));
        drop((guest, listener));
        port.wait_detached();
        std::fs::remove_file(&path).unwrap();
    }
    assert_no_leak();
}

#[test]
fn queues_outlive_their_port() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let mut guest = Guest::attach(FrontEnd::connect(&path), VERSION_1 | MRG_RXBUF, 1, 8, 2048);
    port.wait_attached();
    port.send(0, &pattern(60, 1));
    guest.receive(0);
    let (mut rx, mut tx) = (port.opened.rx.remove(0), port.opened.tx.remove(0));
    drop(port);
    assert!(!path.exists(), "the socket is removed");
    assert!(guest.front.is_hung_up());
    let mut burst = Burst::new();
    assert_eq!(rx.receive(&mut burst, 32), 0);
    burst.push(site().1.frame(&pattern(60, 2)).unwrap()).unwrap();
    assert_eq!(tx.transmit(&mut burst), 0);
    rx.set_notify(true);
    drop((rx, tx, burst));
    // The path is free again.
    drop(Port::open(&options(&path)));
    assert_no_leak();
}
