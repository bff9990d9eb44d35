//! Front ends that do what they must not: the port ends the connection, nothing else happens, and the next is served.

mod vhost_support;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use vhost_support::driver::{ENTRIES, Guest};
use vhost_support::front::*;
use vhost_support::worker::{FEATURES, PLAIN, Worker, assert_serves};
use vhost_support::{Port, assert_no_leak, options, pattern, until};

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
        (
            "an address before a size",
            SET_VRING_ADDR,
            ring_address(1, USER, USER + 0x8000, USER + 0x4000),
            vec![],
        ),
        ("a start before a size", SET_VRING_KICK, word(1 << 8 | 1), vec![]),
        ("a ring outside of the memory", SET_VRING_ADDR, ring_address(0, USER - 16, USER, USER), vec![]),
        ("a ring over the end", SET_VRING_ADDR, ring_address(0, USER, USER + MEMORY - 100, USER), vec![]),
        (
            "a ring over the end of addresses",
            SET_VRING_ADDR,
            ring_address(0, u64::MAX - 8, USER, USER),
            vec![],
        ),
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
    for (what, size, offset) in [
        ("too short", MEMORY + 1, 0),
        ("offset", 4096, MEMORY),
        ("overflow", 4096, u64::MAX - 100),
        ("empty", 0, 0),
    ] {
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
    assert!(
        started.elapsed() < Duration::from_millis(400),
        "the other port waited for {:?}",
        started.elapsed()
    );
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
                payload = ring_address(
                    random(3) as u32,
                    USER + random(MEMORY),
                    USER + random(MEMORY),
                    USER + random(MEMORY),
                );
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
