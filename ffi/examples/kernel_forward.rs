//! Forwards frames between two kernel ports, nothing else: what the ports cost without a switch between them.
//!
//! `kernel_forward [--busy] [--room BYTES] [--huge] veth HOST_A HOST_B`
//!
//! `--busy` polls without sleeping; otherwise it sleeps in poll(2) when both are empty. Prints its counters at the end
//! (SIGTERM or SIGINT).

use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::kernel::packet::{PacketDevice, PacketOptions};
use shunt_ffi::{Burst, Mempool};

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_signal: i32) {
    STOP.store(true, Ordering::Relaxed);
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| arguments.iter().position(|word| word == name).map(|at| arguments.remove(at)).is_some();
    let (busy, huge) = (flag("--busy"), flag("--huge"));
    let room = match arguments.iter().position(|word| word == "--room") {
        Some(at) => arguments.drain(at..at + 2).next_back().unwrap().parse().unwrap(),
        None => 2048,
    };
    let action = nix::sys::signal::SigHandler::Handler(stop);
    for signal in [nix::sys::signal::Signal::SIGTERM, nix::sys::signal::Signal::SIGINT] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { nix::sys::signal::signal(signal, action) }.unwrap();
    }
    let memory = if huge { Memory::Hugepages { megabytes: 256 } } else { Memory::Ordinary { megabytes: 256 } };
    let eal = Eal::start(&EalOptions { memory, pci: false }).unwrap();
    let _registered = eal.register_thread().unwrap();
    let pool = Mempool::new(eal, "frames", (64 << 20) / (u32::from(room) + 300), room).unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["veth", a, b] => veth(pool, [a, b], busy),
        _ => panic!("usage: kernel_forward [--busy] [--room BYTES] [--huge] veth A B"),
    }
}

fn veth(pool: Mempool, names: [&str; 2], busy: bool) {
    let mut opened = names.map(|name| PacketDevice::open(&PacketOptions::new(name, pool)).unwrap());
    let mut bursts = [Burst::new(), Burst::new()];
    let (mut frames, mut bytes, mut calls, mut full) = (0u64, 0u64, 0u64, 0u64);
    println!("forwarding");
    while !STOP.load(Ordering::Relaxed) {
        let mut work = 0;
        for from in 0..2 {
            let burst = &mut bursts[from];
            calls += 1;
            let count = opened[from].rx[0].receive(burst, 32).unwrap();
            work += count;
            if count > 0 {
                frames += count as u64;
                bytes += burst.iter().map(|frame| u64::from(frame.len())).sum::<u64>();
                opened[1 - from].tx.transmit(burst).unwrap();
                full += burst.len() as u64;
                burst.clear();
            }
        }
        if work == 0 && !busy {
            let mut fds = [0, 1].map(|at| PollFd::new(opened[at].rx[0].wake_fd(), PollFlags::POLLIN));
            let _ = poll(&mut fds, PollTimeout::from(100u8));
        }
    }
    let drops: u64 = opened.iter_mut().map(|port| port.device.kernel_drops()).sum();
    println!("frames {frames}, {} bytes a frame, receive calls {calls}, full {full}, kernel drops {drops}", bytes / frames.max(1));
    for port in &opened {
        println!("rx {:?}, tx {:?}", port.rx[0].statistics(), port.tx.statistics());
    }
}
