//! Guests that attack a worker through shared memory: a frame is dropped or the guest is disconnected, nothing else
//! happens, and the next guest is served.

mod vhost_support;

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use shunt_ffi::{Burst, Mbuf};
use vhost_support::driver::Guest;
use vhost_support::front::*;
use vhost_support::worker::{FEATURES, Worker, assert_serves};
use vhost_support::{Port, assert_no_leak, options, pattern, site, until};

#[test]
fn a_ring_may_not_grow_under_the_worker() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let worker = Worker::start(port.opened.rx.remove(0), port.opened.tx.remove(0));
    let late: [(&str, u32, Vec<u8>); 3] = [
        ("size", SET_VRING_NUM, pair(1, 32_768)),
        ("start", SET_VRING_KICK, (1_u64 << 8 | 1).to_le_bytes().to_vec()),
        ("address", SET_VRING_ADDR, ring_address(1, USER + MEMORY - 16, USER, USER)),
    ];
    for (what, request, payload) in late {
        let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
        port.wait_attached();
        if what == "start" {
            // After a stop the library's tables are gone: the ring needs a size again.
            assert!(guest.front.try_ask(GET_VRING_BASE, 0, &pair(1, 0), &[]).is_some());
        }
        guest.front.try_send(request, 0, &payload, &[]);
        assert!(guest.front.is_hung_up(), "{what}");
        port.wait_detached();
    }
    let (rx, tx) = worker.stop();
    port.opened.rx.push(rx);
    port.opened.tx.push(tx);
    assert_serves(&mut port, &path);
    assert_no_leak();
}

#[test]
fn a_failed_memory_change_ends_the_guest_not_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let worker = Worker::start(port.opened.rx.remove(0), port.opened.tx.remove(0));
    for round in 0..10 {
        let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
        port.wait_attached();
        // The guest's address space moves: the rings lie nowhere any more. Then a table that cannot be mapped.
        let memory = guest.front.memory.try_clone().unwrap();
        let moved = memory_table(0, MEMORY, USER + 0x1000_0000_0000, 0);
        let read_only = File::open(format!("/proc/self/fd/{}", memory.as_raw_fd())).unwrap();
        if round % 2 == 0 {
            assert!(guest.front.set(SET_MEM_TABLE, &moved, &[memory.as_fd()]));
        } else {
            guest.front.try_send(SET_MEM_TABLE, 0, &moved, &[read_only.as_fd()]);
            assert!(guest.front.is_hung_up(), "memory that cannot be written is taken");
        }
        drop(guest);
        port.wait_detached();
    }
    let (rx, tx) = worker.stop();
    port.opened.rx.push(rx);
    port.opened.tx.push(tx);
    assert_serves(&mut port, &path);
    assert_no_leak();
}

#[test]
fn bad_descriptors_and_headers_harm_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    type Attack = (&'static str, fn(&mut Guest));
    let attacks: [Attack; 18] = [
        ("length 0", |g| lone(g, 0x20_0000, 0, 0)),
        ("shorter than the header", |g| lone(g, 0x20_0000, 5, 0)),
        ("only the header", |g| lone(g, 0x20_0000, 12, 0)),
        ("13 bytes of frame", |g| lone(g, 0x20_0000, 25, 0)),
        ("the whole memory as one frame", |g| lone(g, 0, MEMORY as u32, 0)),
        ("4 GiB", |g| lone(g, 0x20_0000, u32::MAX, 0)),
        ("behind the memory", |g| lone(g, MEMORY, 100, 0)),
        ("over the end", |g| lone(g, MEMORY - 10, 100, 0)),
        ("over the end of addresses", |g| lone(g, u64::MAX - 10, 100, 0)),
        ("a chain that ends in itself", |g| {
            g.descriptor(1, 0, 0x20_0000, 100, 1, 0);
            g.offer(1, 0);
        }),
        ("a chain to a descriptor that is none", |g| {
            g.descriptor(1, 0, 0x20_0000, 100, 1, 60_000);
            g.offer(1, 0);
        }),
        ("a head that is none", |g| g.offer(1, 50_000)),
        ("an indirect table of a billion, nested", |g| {
            g.descriptor(1, 0, 0x20_0000, 0x4000_0000, 4, 0);
            g.offer(1, 0);
            g.descriptor(1, 1, 0, 16, 4 | 1, 0);
            g.offer(1, 1);
        }),
        ("a jump of the index", |g| g.set_available(1, 40_000)),
        ("a frame behind one that is none", |g| {
            g.descriptor(1, 0, MEMORY, 100, 0, 0);
            g.descriptor(1, 1, 0x20_0000, 100, 0, 0);
            g.offer(1, 0);
            g.offer(1, 1);
        }),
        ("a buffer to write where one to read belongs", |g| lone(g, 0x20_0000, 100, 2)),
        ("the rings themselves as a frame", |g| {
            let at = g.rings[1].available_ring();
            lone(g, at, 1500, 0);
        }),
        ("the rings themselves as a buffer", |g| {
            let at = g.rings[0].used_ring();
            g.descriptor(0, 2, at, 2048, 2, 0);
            g.offer(0, 2);
        }),
    ];
    let worker = Worker::start(port.opened.rx.remove(0), port.opened.tx.remove(0));
    for (what, attack) in attacks {
        let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
        port.wait_attached();
        // From the second burst on a ring is read by ourselves, not by the library.
        until_the_worker_turned(&port, what);
        attack(&mut guest);
        // And on the ring it receives on: buffers that are not there.
        guest.descriptor(0, 0, MEMORY - 1, 2048, 2, 0);
        guest.descriptor(0, 1, 0x20_0000, 0, 2, 0);
        guest.set_available(0, 300);
        until_the_worker_turned(&port, what);
        drop(guest);
        port.wait_detached();
    }
    let (rx, tx) = worker.stop();
    port.opened.rx.push(rx);
    port.opened.tx.push(tx);
    assert_serves(&mut port, &path);
    assert_no_leak();
}

/// Frames one byte too long, and so long that they would take the whole pool: dropped, counted, and a frame as long as
/// it may be still comes through whole, in a chain.
#[test]
fn frames_longer_than_any_packet_are_dropped_and_counted() {
    const LONGEST: usize = 65_535 + 14 + 8;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    // Without and with offloads the library copies in different ways.
    for features in [VERSION_1, FEATURES] {
        let mut guest = Guest::attach(FrontEnd::connect(&path), features, 1, 16, 2048);
        port.wait_attached();
        let before = port.opened.port.statistics();
        let counted = |port: &Port| port.opened.port.statistics().rx_too_long - before.rx_too_long;
        let mut burst = Burst::new();
        guest.send(0, [0; 12], &pattern(LONGEST + 1, 7));
        until("the count of the frame that is too long", || {
            assert_eq!(port.opened.rx[0].receive(&mut burst, 32), 0);
            counted(&port) == 1
        });
        lone(&mut guest, 0x20_0000, (MEMORY - 0x20_0000) as u32, 0);
        until("the count of the frame that has no end", || {
            assert_eq!(port.opened.rx[0].receive(&mut burst, 32), 0);
            counted(&port) == 2
        });
        // Pieces so small that the library puts their copies off, and more of them than the frame may have bytes.
        let small = pattern(200, 3);
        let pieces: Vec<&[u8]> = std::iter::repeat_n(&small[..], 200).collect();
        guest.send_chain(0, [0; 12], &pieces);
        assert_eq!(port.receive(0).to_vec(), pieces.concat());
        let longest = pattern(LONGEST, 5);
        guest.send(0, [0; 12], &longest);
        let frame = port.receive(0);
        assert_eq!(frame.to_vec(), longest);
        assert_eq!(usize::from(frame.segment_count()), LONGEST.div_ceil(2048));
        drop(frame);
        assert_eq!(counted(&port), 2);
        drop(guest);
        port.wait_detached();
    }
    assert_no_leak();
}

/// A pool that ends in the middle of a frame costs that frame, is counted, and leaves nothing behind.
#[test]
fn a_frame_that_finds_too_few_buffers_is_dropped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
    port.wait_attached();
    let (_, pool, all) = site();
    let held: Vec<Mbuf> = (0..all - 10).map(|_| pool.alloc().unwrap()).collect();
    let frame = pattern(60_000, 9);
    guest.send(0, [0; 12], &frame);
    let mut burst = Burst::new();
    until("the count", || {
        assert_eq!(port.opened.rx[0].receive(&mut burst, 32), 0);
        port.opened.port.statistics().rx_no_buffers == 1
    });
    drop(held);
    guest.send(0, [0; 12], &frame);
    assert_eq!(port.receive(0).to_vec(), frame);
    drop(guest);
    port.wait_detached();
    assert_no_leak();
}

/// One descriptor of these words, offered.
fn lone(guest: &mut Guest, address: u64, length: u32, flags: u16) {
    guest.descriptor(1, 0, address, length, flags, 0);
    guest.offer(1, 0);
}

/// The worker has come round many times since.
fn until_the_worker_turned(port: &Port, what: &str) {
    until_turns(port, what, 1000);
}

/// The same, so many times: each turn offers the guest a frame at least.
fn until_turns(port: &Port, what: &str, turns: u64) {
    let seen = || {
        let counted = port.opened.port.statistics();
        counted.tx_frames + counted.tx_link_down + counted.tx_ring_full
    };
    let before = seen();
    until(what, || seen() > before + turns);
}

#[test]
fn offload_lies_are_dropped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
    port.wait_attached();
    let mut tcp = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 140, 0, 0, 0, 0, 64, 6, 0, 0];
    tcp.extend([
        10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0,
    ]);
    tcp.extend([9; 100]);
    let segment = |size: u16| {
        let [low, high] = size.to_le_bytes();
        [1, 1, 0, 0, low, high, 34, 0, 16, 0, 0, 0]
    };
    let changed = |at: usize, value: u8| {
        let mut frame = tcp.clone();
        frame[at] = value;
        frame
    };
    let lies = [
        ("segments of one byte", segment(1), tcp.clone()),
        ("an IP header of 0 bytes", [1, 0, 0, 0, 0, 0, 14, 0, 16, 0, 0, 0], changed(14, 0x40)),
        ("a TCP header of 0 bytes", segment(1000), changed(46, 0)),
        ("nothing to cut", segment(1000), tcp[..54].to_vec()),
    ];
    for (index, (what, header, frame)) in lies.iter().enumerate() {
        guest.send(0, *header, frame);
        let mut burst = Burst::new();
        until(what, || {
            assert_eq!(port.opened.rx[0].receive(&mut burst, 32), 0, "{what}");
            port.opened.port.statistics().rx_bad_offload == index as u64 + 1
        });
    }
    // What the library cannot place has no state any more: the frame is as it is.
    for (what, header) in [
        ("a sum that starts behind the frame", [1, 0, 0, 0, 0, 0, 0xff, 0xff, 16, 0, 0, 0]),
        ("a sum stored behind the frame", [1, 0, 0, 0, 0, 0, 34, 0, 0xff, 0xff, 0, 0]),
        ("segments of nothing", segment(0)),
        ("an unknown kind of segment", [1, 7, 0, 0, 0, 4, 34, 0, 16, 0, 0, 0]),
    ] {
        guest.send(0, header, &tcp);
        let frame = port.receive(0);
        assert!(!frame.needs_offload(), "{what}");
        assert_eq!(frame.to_vec(), tcp, "{what}");
    }
    drop(guest);
    port.wait_detached();
    assert_no_leak();
}

/// Nothing happens to the guest before the worker touches what is gone, and a worker that waits for frames touches only
/// the available index: where the rings stay, the guest offers what lies in the lost part.
#[test]
fn memory_taken_away_ends_the_guest_not_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let worker = Worker::start(port.opened.rx.remove(0), port.opened.tx.remove(0));
    // All rings but the used ring of the one it sends on.
    const RINGS: u64 = 0x1_8000;
    // The first page of buffers, and half of what lies across its end.
    const PAGE: u64 = 0x20_1000;
    type Touch = (&'static str, u64, fn(&mut Guest));
    let touches: [Touch; 7] = [
        ("the rings", 0, |_| {}),
        ("a frame of one buffer", RINGS, |guest| lone(guest, 0x20_0000, 112, 0)),
        ("a frame of many buffers", RINGS, |guest| lone(guest, 0x20_0000, 60_000, 0)),
        ("a receive buffer", RINGS, |guest| guest.post(0, 1)),
        ("a frame, in the middle of its copy", PAGE, |guest| lone(guest, PAGE - 700, 1400, 0)),
        ("a short frame, in the middle of its copy", PAGE, |guest| lone(guest, PAGE - 50, 112, 0)),
        ("a receive buffer, in the middle of a copy", PAGE, |guest| {
            guest.descriptor(0, 0, PAGE - 50, 2048, 2, 0);
            guest.offer(0, 0);
        }),
    ];
    for round in 0..5 {
        for (what, left, touch) in touches {
            let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
            port.wait_attached();
            if round % 2 == 1 {
                until_the_worker_turned(&port, what);
            }
            guest.front.memory.set_len(left).unwrap();
            touch(&mut guest);
            assert!(guest.front.is_hung_up(), "{what}, round {round}");
            port.wait_detached();
        }
    }
    let (rx, tx) = worker.stop();
    port.opened.rx.push(rx);
    port.opened.tx.push(tx);
    assert_serves(&mut port, &path);
    assert_no_leak();
}

/// Descriptors, indices and headers that change all the time, also between two looks at them.
#[test]
fn a_guest_that_scribbles_over_its_rings_harms_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let worker = Worker::start(port.opened.rx.remove(0), port.opened.tx.remove(0));
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..4 {
        let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
        port.wait_attached();
        until_the_worker_turned(&port, "a turn");
        for step in 0..4_000 {
            if step % 64 == 0 {
                until_turns(&port, "a turn between", 2);
            }
            let (ring, what) = (next() as usize & 1, next());
            let slot = next() as u16 % 256;
            match what % 8 {
                // Addresses and lengths that are right, nearly right, and any.
                0 => guest.descriptor(ring, slot, next(), next() as u32, next() as u16, next() as u16),
                1 => guest.descriptor(ring, slot, MEMORY - next() % 4096, next() as u32 % 4096, 2, 0),
                2 => guest.write(0x20_0000 + next() % 0x1_0000, &next().to_le_bytes()),
                3 => guest.write(guest.rings[ring].available_ring() + next() % 516, &next().to_le_bytes()),
                4 => guest.write(guest.rings[ring].used_ring() + next() % 2052, &next().to_le_bytes()),
                _ => {
                    let flags = if ring == 0 { 2 } else { 0 };
                    guest.descriptor(
                        ring,
                        slot,
                        0x20_0000 + next() % 0x1_0000,
                        20 + next() as u32 % 2000,
                        flags,
                        0,
                    );
                    guest.offer(ring, slot);
                }
            }
        }
        until_the_worker_turned(&port, "a turn afterwards");
        drop(guest);
        port.wait_detached();
    }
    // All rounds together: what one of them leaves of its rings is a matter of luck.
    let counted = port.opened.port.statistics();
    assert!(counted.rx_frames > 100 && counted.tx_frames > 100, "too little came through: {counted:?}");
    let (rx, tx) = worker.stop();
    port.opened.rx.push(rx);
    port.opened.tx.push(tx);
    assert_serves(&mut port, &path);
    assert_no_leak();
}
