//! Guests whose call descriptors block the worker that calls them: found by one thread, which looks only while guests are called.

mod vhost_support;

use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vhost_support::driver::Guest;
use vhost_support::front::*;
use vhost_support::worker::{FEATURES, Worker, assert_serves};
use vhost_support::{LIMIT, Port, assert_no_leak, options, until};

/// Longer than the worker may wait, and than it takes to be found.
const SOON: Duration = Duration::from_secs(1);

/// A counter that takes nothing more, and writes that wait: the shared file's flags are the guest's to set.
fn make_calls_block(guest: &Guest) {
    for ring in &guest.rings {
        fcntl(ring.call.as_fd(), FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        let mut fds = [PollFd::new(ring.call.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::ZERO).unwrap() == 1 {
            ring.call.read().unwrap();
        }
        ring.call.write(u64::MAX - 1).unwrap();
    }
}

/// Asks to be called, or not to be (`VIRTQ_AVAIL_F_NO_INTERRUPT`).
fn ask_for_calls(guest: &Guest, wanted: bool) {
    for ring in &guest.rings {
        guest.write(ring.available_ring(), &u16::from(!wanted).to_le_bytes());
    }
}

/// How often the thread that looks has slept so far.
fn looks() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named = |name: &str| name.trim() == "shunt-vhost-eye";
    let eye =
        tasks.into_iter().find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| named(&name)));
    let status = fs::read_to_string(eye.expect("the thread lives").join("status")).unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    count.trim().parse().unwrap()
}

/// Waits until it has not looked for half a second; it would have fifty times.
fn until_nobody_looks() {
    let started = Instant::now();
    let (mut last, mut since) = (looks(), Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        // It gives up after two seconds of its own time, of which a busy machine has few.
        assert!(started.elapsed() < 2 * LIMIT, "somebody looks although nobody is called");
        std::thread::sleep(Duration::from_millis(20));
        let now = looks();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}

/// The worker sends to a guest whose calls block.
fn assert_ended(guest: &mut Guest) {
    make_calls_block(guest);
    let started = Instant::now();
    guest.post(0, 8);
    assert!(guest.front.is_hung_up());
    assert!(started.elapsed() < SOON, "the worker waited for {:?}", started.elapsed());
}

#[test]
fn a_call_that_blocks_costs_the_guest_its_connection() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let worker = Worker::start(port.opened.rx.remove(0), port.opened.tx.remove(0));
    let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 0, 2048);
    port.wait_attached();
    let started = Instant::now();
    assert_ended(&mut guest);
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
fn nobody_looks_while_no_guest_is_called_and_somebody_does_at_the_first_call() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let worker = Worker::start(port.opened.rx.remove(0), port.opened.tx.remove(0));
    let mut guest = Guest::attach(FrontEnd::connect(&path), FEATURES, 1, 16, 2048);
    port.wait_attached();
    ask_for_calls(&guest, false);
    until_nobody_looks();
    // Frames still come, without a call.
    guest.post(0, 8);
    until("the guest has its frames", || guest.is_done(0));
    until_nobody_looks();
    ask_for_calls(&guest, true);
    assert_ended(&mut guest);
    port.wait_detached();
    drop(worker.stop());
    assert_no_leak();
}
