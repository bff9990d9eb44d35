//! Receive queues move between workers while frames flow, and nothing is lost: a capture of known length is played in,
//! its queue is moved to and fro until it ends, and as many frames come out.

use std::path::Path;
use std::time::{Duration, Instant};

use shunt_switch::control::status::PortRow;
use shunt_switch::control::{Control, Handle};

const FRAMES: u64 = 600_000;
/// Moves that must fall into the time in which frames flow.
const MOVES: u32 = 10;
/// A fast machine plays a capture within few moves: then it is played again, by a new port.
const ROUNDS: u64 = 20;

/// The configuration with the input port of `round` on `worker`.
fn config(capture: &Path, round: u64, worker: usize) -> shunt_config::Config {
    let text = format!(
        "[memory]\nhugepages = \"never\"\n[workers]\ncount = 2\nmax_sleep = \"100us\"\n\
         [[port]]\nname = \"in{round}\"\nkind = \"dpdk\"\ndevargs = \"net_pcap{round},rx_pcap={}\"\nplacement = [{worker}]\n\
         [[port]]\nname = \"out\"\nkind = \"dpdk\"\ndevargs = \"net_null0,no-rx=1\"\nstations = [\"02:00:00:00:00:fe\"]\n",
        capture.display()
    );
    shunt_config::parse(&text, "test").unwrap()
}

fn port(handle: &Handle, name: &str) -> PortRow {
    let ports = handle.call(|control| control.ports()).unwrap();
    ports.into_iter().find(|port| port.name == name).unwrap()
}

/// A capture file of [`FRAMES`] equal frames.
fn write_capture(path: &Path) {
    let mut file =
        vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];
    for _ in 0..FRAMES {
        file.extend([[0; 4], [0; 4], 60_u32.to_le_bytes(), 60_u32.to_le_bytes()].concat());
        file.extend([2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1, 8, 0]);
        file.extend([0; 46]);
    }
    std::fs::write(path, file).unwrap();
}

#[test]
fn a_queue_moves_between_workers_without_loss() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("in.pcap");
    write_capture(&capture);

    let first = config(&capture, 0, 0);
    let mut control = Control::start(&first).unwrap();
    let errors = control.apply_at_start(&first);
    assert!(errors.is_empty(), "{errors:?}");
    let running = control.spawn().unwrap();
    let handle = running.handle();

    let mut moves_under_way = 0;
    let mut worker = 0;
    for round in 0..ROUNDS {
        let name = format!("in{round}");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            worker = 1 - worker;
            let next = config(&capture, round, worker);
            handle.call(move |control| control.apply(&next)).unwrap().unwrap();
            let input = port(&handle, &name);
            assert_eq!(input.queues, [(0, worker)]);
            if input.rx_packets == FRAMES {
                break;
            }
            moves_under_way += 1;
            assert!(Instant::now() < deadline, "{} of {FRAMES} frames came in", input.rx_packets);
        }
        // The last burst is counted as received before it is counted as sent.
        let sent = || port(&handle, "out").tx_packets;
        while sent() < FRAMES * (round + 1) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(sent(), FRAMES * (round + 1));
        if moves_under_way >= MOVES {
            break;
        }
    }
    let (workers, drops) = handle.call(|control| (control.workers(), control.drops())).unwrap();
    running.stop();
    assert!(drops.is_empty(), "{drops:?}");
    assert!(moves_under_way >= MOVES, "only {moves_under_way} moves while frames flowed");
    assert!(workers.iter().all(|worker| worker.packets > 0), "one worker did nothing");
}
