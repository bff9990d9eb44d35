//! Forwards frames between two kernel ports, nothing else: what the ports cost without a switch between them.
//!
//! `kernel_forward [--busy] [--huge] [--room BYTES] [--max FRAMES] veth HOST_A HOST_B`
//! `kernel_forward ... tap|tun NETNS_A NETNS_B` (makes `eth0` with 10.99.0.1/24 and 10.99.0.2/24 in the namespaces)
//!
//! `--busy` polls without sleeping; otherwise it sleeps in poll(2) when both are empty. `--room` is the size of the large
//! buffers, 2048 does without them. Prints its counters at the end (SIGTERM or SIGINT). `kernel_forward.sh` compares it
//! with a Linux bridge.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigHandler, Signal, signal};
use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::kernel::packet::{self, PacketDevice, PacketOptions};
use shunt_ffi::kernel::tap::{self, TapDevice, TapMode, TapOptions};
use shunt_ffi::kernel::{Gone, Pools, Sent};
use shunt_ffi::{Burst, Mempool};

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_signal: i32) {
    STOP.store(true, Ordering::Relaxed);
}

struct Arguments {
    busy: bool,
    huge: bool,
    room: u16,
    max: usize,
    rest: Vec<String>,
}

impl Arguments {
    fn parse() -> Option<Self> {
        let mut parsed = Self { busy: false, huge: false, room: 16384, max: 32, rest: Vec::new() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--busy" => parsed.busy = true,
                "--huge" => parsed.huge = true,
                "--room" => parsed.room = words.next()?.parse().ok()?,
                "--max" => parsed.max = words.next()?.parse().ok()?,
                _ => parsed.rest.push(word),
            }
        }
        (parsed.rest.len() == 3).then_some(parsed)
    }
}

/// What both kinds of port can do.
trait Port {
    fn receive(&mut self, burst: &mut Burst, max: usize) -> Result<usize, Gone>;
    fn transmit(&mut self, burst: &mut Burst) -> Result<Sent, Gone>;
    fn wake(&self) -> BorrowedFd<'_>;
    fn report(&mut self);
}

impl Port for packet::Opened {
    fn receive(&mut self, burst: &mut Burst, max: usize) -> Result<usize, Gone> {
        self.rx[0].receive(burst, max)
    }
    fn transmit(&mut self, burst: &mut Burst) -> Result<Sent, Gone> {
        self.tx.transmit(burst)
    }
    fn wake(&self) -> BorrowedFd<'_> {
        self.rx[0].wake_fd()
    }
    fn report(&mut self) {
        println!(
            "kernel drops {}, {:?}, {:?}",
            self.device.kernel_drops(),
            self.rx[0].statistics(),
            self.tx.statistics()
        );
    }
}

impl Port for tap::Opened {
    fn receive(&mut self, burst: &mut Burst, max: usize) -> Result<usize, Gone> {
        self.rx[0].receive(burst, max)
    }
    fn transmit(&mut self, burst: &mut Burst) -> Result<Sent, Gone> {
        self.tx[0].transmit(burst)
    }
    fn wake(&self) -> BorrowedFd<'_> {
        self.rx[0].wake_fd()
    }
    fn report(&mut self) {
        println!(
            "kernel drops {}, {:?}, {:?}",
            self.device.kernel_drops(),
            self.rx[0].statistics(),
            self.tx[0].statistics()
        );
    }
}

fn main() {
    let Some(arguments) = Arguments::parse() else {
        eprintln!("usage: kernel_forward [--busy] [--huge] [--room BYTES] [--max FRAMES] veth|tap|tun A B");
        std::process::exit(2);
    };
    for number in [Signal::SIGTERM, Signal::SIGINT] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { signal(number, SigHandler::Handler(stop)) }.expect("signal");
    }
    let memory = if arguments.huge {
        Memory::Hugepages { megabytes: 256 }
    } else {
        Memory::Ordinary { megabytes: 256 }
    };
    let eal = Eal::start(&EalOptions { memory, pci: false }).expect("eal");
    let _registered = eal.register_thread().expect("register");
    let small = Mempool::new(eal, "small", 16384, 2048).expect("pool");
    let large = match arguments.room {
        2048 => small,
        room => Mempool::new(eal, "large", (64 << 20) / (u32::from(room) + 300), room).expect("pool"),
    };
    let pools = Pools { small, large };
    let (kind, a, b) = (arguments.rest[0].as_str(), arguments.rest[1].as_str(), arguments.rest[2].as_str());
    match kind {
        "veth" => forward(
            &arguments,
            [a, b].map(|name| PacketDevice::open(&PacketOptions::new(name, pools)).expect(name)),
        ),
        "tap" => {
            forward(&arguments, [(a, 1), (b, 2)].map(|(name, last)| tap_in(name, TapMode::Tap, last, pools)))
        }
        "tun" => {
            forward(&arguments, [(a, 1), (b, 2)].map(|(name, last)| tap_in(name, TapMode::Tun, last, pools)))
        }
        _ => panic!("`{kind}` is no kind of port; use veth, tap or tun"),
    }
}

fn tap_in(namespace: &str, mode: TapMode, last: u8, pools: Pools) -> tap::Opened {
    let mut options = TapOptions::new("eth0", mode, pools);
    options.netns = Some(Path::new("/run/netns").join(namespace));
    options.addresses = vec![(IpAddr::V4(Ipv4Addr::new(10, 99, 0, last)), 24)];
    TapDevice::open(&options).expect(namespace)
}

fn forward<P: Port>(arguments: &Arguments, mut ports: [P; 2]) {
    let mut burst = Burst::new();
    let (mut frames, mut bytes, mut calls, mut unsent) = (0, 0, 0u64, 0);
    println!("forwarding");
    while !STOP.load(Ordering::Relaxed) {
        let mut work = 0;
        for from in 0..2 {
            calls += 1;
            let count = ports[from].receive(&mut burst, arguments.max).expect("receive");
            work += count;
            if count > 0 {
                frames += count;
                bytes += burst.iter().map(|frame| frame.len() as usize).sum::<usize>();
                ports[1 - from].transmit(&mut burst).expect("transmit");
                unsent += burst.len();
                burst.clear();
            }
        }
        if work == 0 && !arguments.busy {
            let [a, b] = &ports;
            let mut fds =
                [PollFd::new(a.wake(), PollFlags::POLLIN), PollFd::new(b.wake(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(100u8));
        }
    }
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("usage");
    println!(
        "{frames} frames of {} bytes, {unsent} unsent, {calls} receive calls, cpu {} user {} system",
        bytes / frames.max(1),
        usage.user_time(),
        usage.system_time()
    );
    for port in &mut ports {
        port.report();
    }
}
