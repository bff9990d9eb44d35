//! Front ends and guests that do what they must not: the port ends the connection or drops the frame, nothing else
//! happens, and the next guest is served.

mod vhost_support;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shunt_ffi::Burst;
use shunt_ffi::vhost::{VhostRxQueue, VhostTxQueue};
use vhost_support::driver::{ENTRIES, Guest, HEADER};
use vhost_support::front::*;
use vhost_support::{Port, assert_no_leak, options, pattern, site, until};

const PLAIN: [u8; HEADER] = [0; HEADER];
const FEATURES: u64 = VERSION_1 | MRG_RXBUF | CSUM | HOST_TSO4 | GUEST_CSUM | GUEST_TSO4 | INDIRECT;

/// A worker that receives all the time and sends what it received back, or a frame of its own.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(VhostRxQueue, VhostTxQueue)>,
}

impl Worker {
    fn start(mut rx: VhostRxQueue, mut tx: VhostTxQueue) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let (eal, pool, _) = site();
            let registered = eal.register_thread().unwrap();
            let mut burst = Burst::new();
            while !told.load(Ordering::Relaxed) {
                if rx.receive(&mut burst, 32) == 0
                    && let Some(frame) = pool.frame(&pattern(100, 7))
                {
                    burst.push(frame).unwrap();
                }
                tx.transmit(&mut burst);
                burst.clear();
            }
            drop(registered);
            (rx, tx)
        });
        Self { stop, thread }
    }

    fn stop(self) -> (VhostRxQueue, VhostTxQueue) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the worker lives")
    }
}

/// The port serves a polite guest.
fn assert_serves(port: &mut Port, path: &Path) {
    while port.events.try_recv().is_ok() {}
    let mut guest = Guest::attach(FrontEnd::connect(path), FEATURES, 1, 16, 2048);
    port.wait_attached();
    guest.send(0, PLAIN, &pattern(200, 5));
    assert_eq!(port.receive(0).to_vec(), pattern(200, 5));
    port.send(0, &pattern(201, 6));
    assert_eq!(guest.receive(0).1, pattern(201, 6));
    drop(guest);
    port.wait_detached();
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The descriptors of the last connection may still be on their way out.
fn assert_closed(before: usize) {
    let started = Instant::now();
    while open_descriptors() > before && started.elapsed() < Duration::from_secs(2) {
        std::thread::yield_now();
    }
    let name = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_link(entry.unwrap().path());
    let list: Vec<_> = std::fs::read_dir("/proc/self/fd").unwrap().map(name).collect();
    assert!(list.len() <= before, "{before} descriptors were open, now {list:?}");
}

#[test]
fn malformed_requests_end_the_connection_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    assert_serves(&mut port, &path);
    let disk = tempfile::tempfile_in(std::env::current_dir().unwrap()).unwrap();
    disk.set_len(MEMORY).unwrap();
    let zero = File::open("/dev/zero").unwrap();
    let (pipe, _pipe_writer) = nix::unistd::pipe().unwrap();
    let before = open_descriptors();
    let word = |value: u64| value.to_le_bytes().to_vec();
    type Step<'a> = (&'a str, u32, Vec<u8>, Vec<BorrowedFd<'a>>);
    let inflight = [word(0), word(0), vec![0xff; 4], vec![0; 4]].concat();
    // Each follows an honest negotiation and memory table, and a size for ring 0.
    let steps: Vec<Step<'_>> = vec![
        ("an unknown request", 63, vec![], vec![]),
        ("no request", 0, vec![], vec![]),
        ("crash recovery memory", GET_INFLIGHT_FD, inflight, vec![]),
        ("post-copy", 28, vec![], vec![]),
        ("a descriptor nobody asked for", SET_FEATURES, word(VERSION_1 | PROTOCOL), vec![disk.as_fd()]),
        ("features that were not offered", SET_FEATURES, word(1 << 60 | PROTOCOL), vec![]),
        ("features changed after a ring has a size", SET_FEATURES, word(VERSION_1 | 1 << 34), vec![]),
        ("protocol features that were not offered", SET_PROTOCOL_FEATURES, word(1 << 12), vec![]),
        ("a short payload", SET_FEATURES, vec![1, 2, 3], vec![]),
        ("memory without a file", SET_MEM_TABLE, memory_table(0, MEMORY, USER, 0), vec![]),
        ("memory on a disk", SET_MEM_TABLE, memory_table(0, MEMORY, USER, 0), vec![disk.as_fd()]),
        ("memory of a device", SET_MEM_TABLE, memory_table(0, MEMORY, USER, 0), vec![zero.as_fd()]),
        ("memory of a pipe", SET_MEM_TABLE, memory_table(0, MEMORY, USER, 0), vec![pipe.as_fd()]),
        ("a table of no regions", SET_MEM_TABLE, pair(0, 0), vec![]),
        ("a table of a thousand regions", SET_MEM_TABLE, pair(1000, 0), vec![]),
        ("ring 2 of a port with one pair", SET_VRING_NUM, pair(2, 256), vec![]),
        ("ring 4294967295", SET_VRING_ENABLE, pair(u32::MAX, 1), vec![]),
        ("a ring of no entries", SET_VRING_NUM, pair(1, 0), vec![]),
        ("a ring of 100 entries", SET_VRING_NUM, pair(1, 100), vec![]),
        ("a ring of 65536 entries", SET_VRING_NUM, pair(1, 65_536), vec![]),
        ("an address before a size", SET_VRING_ADDR, ring_address(1, USER, USER + 0x8000, USER + 0x4000), vec![]),
        ("a start before a size", SET_VRING_KICK, word(1 << 8 | 1), vec![]),
        ("a ring outside of the memory", SET_VRING_ADDR, ring_address(0, USER - 16, USER, USER), vec![]),
        ("a ring over the end", SET_VRING_ADDR, ring_address(0, USER, USER + MEMORY - 100, USER), vec![]),
        ("a ring over the end of addresses", SET_VRING_ADDR, ring_address(0, u64::MAX - 8, USER, USER), vec![]),
        ("a kick that is a pipe", SET_VRING_KICK, word(0), vec![pipe.as_fd()]),
        ("a call that is a file", SET_VRING_CALL, word(0), vec![disk.as_fd()]),
        ("a call without its descriptor", SET_VRING_CALL, word(0), vec![]),
        ("a request longer than any", SET_MEM_TABLE, vec![0; 4000], vec![]),
    ];
    for acknowledged in [0, 1 << 3] {
        for (what, request, payload, fds) in &steps {
            let mut front = FrontEnd::connect(&path);
            front.negotiate(VERSION_1);
            front.share_memory();
            assert!(front.ring(SET_VRING_NUM, 0, 256));
            front.try_send(*request, acknowledged, payload, fds);
            assert!(front.is_hung_up(), "{what} is answered");
        }
    }
    // Memory: shorter than its region, or with an offset that overflows.
    for (what, size, offset) in [("too short", MEMORY + 1, 0), ("offset", 4096, MEMORY), ("overflow", 4096, u64::MAX - 100), ("empty", 0, 0)] {
        let mut front = FrontEnd::connect(&path);
        front.negotiate(VERSION_1);
        let memory = front.memory.try_clone().unwrap();
        front.try_send(SET_MEM_TABLE, 0, &memory_table(0, size, USER, offset), &[memory.as_fd()]);
        assert!(front.is_hung_up(), "{what} is taken");
    }
    // A packed ring that starts behind its end, before and after a stop.
    let mut front = FrontEnd::connect(&path);
    front.negotiate(VERSION_1 | 1 << 34);
    front.share_memory();
    assert!(front.ring(SET_VRING_NUM, 0, 16) && front.ring(SET_VRING_BASE, 0, 16));
    front.try_send(SET_VRING_KICK, 0, &word(1 << 8), &[]);
    assert!(front.is_hung_up(), "a packed ring started outside of itself");
    drop(front);
    assert_serves(&mut port, &path);
    assert_closed(before);
    assert_no_leak();
}

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
        let read_only = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memory))).unwrap();
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
    let attacks: [Attack; 14] = [
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
    ];
    let worker = Worker::start(port.opened.rx.remove(0), port.opened.tx.remove(0));
    for (what, attack) in attacks {
        let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
        port.wait_attached();
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

/// One descriptor of these words, offered.
fn lone(guest: &mut Guest, address: u64, length: u32, flags: u16) {
    guest.descriptor(1, 0, address, length, flags, 0);
    guest.offer(1, 0);
}

/// The worker has come round many times since.
fn until_the_worker_turned(port: &Port, what: &str) {
    let seen = || {
        let counted = port.opened.port.statistics();
        counted.tx_frames + counted.tx_link_down + counted.tx_ring_full
    };
    let before = seen();
    until(what, || seen() > before + 1000);
}

#[test]
fn offload_lies_are_dropped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
    port.wait_attached();
    let mut tcp = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 140, 0, 0, 0, 0, 64, 6, 0, 0];
    tcp.extend([10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
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

#[test]
fn memory_taken_away_ends_the_guest_not_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let worker = Worker::start(port.opened.rx.remove(0), port.opened.tx.remove(0));
    for round in 0..20 {
        let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
        port.wait_attached();
        guest.front.memory.set_len(if round % 2 == 0 { 0 } else { 0x1_8000 }).unwrap();
        assert!(guest.front.is_hung_up(), "round {round}");
        port.wait_detached();
    }
    let (rx, tx) = worker.stop();
    port.opened.rx.push(rx);
    port.opened.tx.push(tx);
    assert_serves(&mut port, &path);
    assert_no_leak();
}

#[test]
fn a_call_that_blocks_costs_the_guest_its_connection() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let worker = Worker::start(port.opened.rx.remove(0), port.opened.tx.remove(0));
    let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 0, 2048);
    port.wait_attached();
    // A counter that takes nothing more, and writes that wait: the shared file's flags are the guest's to set.
    for ring in &guest.rings {
        nix::fcntl::fcntl(ring.call.as_fd(), nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();
        let mut fds = [PollFd::new(ring.call.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::ZERO).unwrap() == 1 {
            ring.call.read().unwrap();
        }
        ring.call.write(u64::MAX - 1).unwrap();
    }
    let started = Instant::now();
    guest.post(0, 8);
    assert!(guest.front.is_hung_up());
    assert!(started.elapsed() < Duration::from_secs(1), "the worker waited for {:?}", started.elapsed());
    port.wait_detached();
    let (rx, tx) = worker.stop();
    port.opened.rx.push(rx);
    port.opened.tx.push(tx);
    // It is kept out for ten seconds, which the limit of the test allows for.
    assert_serves(&mut port, &path);
    assert!(started.elapsed() > Duration::from_secs(9));
    assert_no_leak();
}

#[test]
fn a_stalled_front_end_does_not_delay_another_port() {
    let directory = tempfile::tempdir().unwrap();
    let (path, other) = (directory.path().join("a"), directory.path().join("b"));
    let (mut port, mut victim) = (Port::open(&options(&path)), Port::open(&options(&other)));
    assert_serves(&mut victim, &other);
    // Half a message, and a peer that never reads its answers.
    let mut stalled = FrontEnd::connect(&path);
    stalled.raw(&[1, 0, 0, 0, 1, 0], &[]);
    let started = Instant::now();
    assert_serves(&mut victim, &other);
    assert!(started.elapsed() < Duration::from_millis(400), "the other port waited for {:?}", started.elapsed());
    assert!(stalled.is_hung_up());
    assert!(started.elapsed() >= Duration::from_millis(400), "it had its time");
    let mut deaf = FrontEnd::connect(&path);
    until("an end of patience", || !deaf.try_send(GET_FEATURES, 0, &[], &[]));
    let _ = deaf.socket.read(&mut [0; 1 << 20]);
    drop((stalled, deaf));
    assert_serves(&mut port, &path);
    assert_no_leak();
}

#[test]
fn hundreds_of_connections_and_ends_leave_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    assert_serves(&mut port, &path);
    let worker = Worker::start(port.opened.rx.remove(0), port.opened.tx.remove(0));
    let before = open_descriptors();
    for round in 0..300_u32 {
        match round % 6 {
            0 => half_a_message(&path),
            1 => drop(FrontEnd::connect(&path)),
            2 => {
                FrontEnd::connect(&path).negotiate(FEATURES);
            }
            3 => {
                let mut front = FrontEnd::connect(&path);
                front.negotiate(FEATURES);
                front.share_memory();
            }
            4 => {
                // Many descriptors at once, with a request that takes none.
                let front = FrontEnd::connect(&path);
                let fd = front.memory.as_fd();
                front.try_send(GET_FEATURES, 0, &[], &[fd; 60]);
            }
            _ => {
                let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
                guest.send(0, PLAIN, &pattern(100, 1));
                if round % 12 == 5 {
                    guest.set_available(1, ENTRIES / 2);
                }
            }
        }
    }
    let (rx, tx) = worker.stop();
    port.opened.rx.push(rx);
    port.opened.tx.push(tx);
    assert_serves(&mut port, &path);
    assert_closed(before);
    assert_no_leak();
}

#[test]
fn random_messages_are_survived() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let worker = Worker::start(port.opened.rx.remove(0), port.opened.tx.remove(0));
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let event = nix::sys::eventfd::EventFd::new().unwrap();
    for _ in 0..400 {
        let guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
        let memory = guest.front.memory.try_clone().unwrap();
        for _ in 0..random(20) {
            let request = random(42) as u32;
            let mut payload = vec![0; random(48) as usize];
            for byte in &mut payload {
                *byte = if random(3) == 0 { random(256) as u8 } else { random(2) as u8 };
            }
            if random(3) == 0 {
                payload = ring_address(random(3) as u32, USER + random(MEMORY), USER + random(MEMORY), USER + random(MEMORY));
            }
            let fds: &[BorrowedFd<'_>] = match random(4) {
                0 => &[memory.as_fd()],
                1 => &[event.as_fd()],
                _ => &[],
            };
            if !guest.front.try_send(request, random(2) as u32 * 8, &payload, fds) {
                break;
            }
        }
        // Whatever is running now has random rings.
        for _ in 0..random(20) {
            let bytes: Vec<u8> = (0..64).map(|_| random(256) as u8).collect();
            guest.write(random(0x2_0000), &bytes);
        }
    }
    let (rx, tx) = worker.stop();
    port.opened.rx.push(rx);
    port.opened.tx.push(tx);
    assert_serves(&mut port, &path);
    assert_no_leak();
}
