//! Forwards between two vhost-user ports on one busy core: the smallest possible switch, to measure the ports alone.
//!
//! `vhost_forward --core N --seconds S [--hugepages MB] SOCKET_A SOCKET_B` listens on both sockets and prints what went through.

use std::time::{Duration, Instant};

use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::vhost::{VhostMode, VhostOpened, VhostOptions, VhostPort};
use shunt_ffi::{Burst, Mempool};

struct Arguments {
    core: usize,
    seconds: u64,
    memory: Memory,
    sockets: Vec<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed =
        Arguments { core: 0, seconds: 10, memory: Memory::Ordinary { megabytes: 512 }, sockets: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number =
            || words.next().and_then(|text| text.parse().ok()).ok_or(format!("`{word}` wants a number"));
        match word.as_str() {
            "--core" => parsed.core = number()? as usize,
            "--seconds" => parsed.seconds = number()?,
            "--hugepages" => parsed.memory = Memory::Hugepages { megabytes: number()? as u32 },
            _ => parsed.sockets.push(word),
        }
    }
    if parsed.sockets.len() != 2 {
        return Err("two sockets are needed".into());
    }
    Ok(parsed)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = arguments()?;
    let eal = Eal::start(&EalOptions { memory: arguments.memory, pci: false })?;
    let pool = Mempool::new(eal, "frames", 32_768, 2048)?;
    let mut ports = Vec::new();
    for path in &arguments.sockets {
        let options = VhostOptions {
            path: path.clone(),
            mode: VhostMode::Server,
            queues: 1,
            tx_queues: 1,
            tso: true,
            mergeable: true,
            pool,
        };
        let name = path.clone();
        ports.push(VhostPort::open(eal, &options, move |event| eprintln!("{name}: {event:?}"))?);
    }
    println!("ready");
    let mut set = nix::sched::CpuSet::new();
    set.set(arguments.core)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)?;
    let _registered = eal.register_thread()?;
    forward(&mut ports, Duration::from_secs(arguments.seconds));
    for opened in &ports {
        println!("{:?}", opened.port.statistics());
    }
    shunt_ffi::log::drain();
    Ok(())
}

fn forward(ports: &mut [VhostOpened], time: Duration) {
    let mut burst = Burst::new();
    let started = Instant::now();
    let mut turns = 0_u64;
    let [first, second] = ports else { return };
    loop {
        for (from, to) in [(&mut first.rx[0], &mut second.tx[0]), (&mut second.rx[0], &mut first.tx[0])] {
            if from.receive(&mut burst, 32) > 0 {
                to.transmit(&mut burst);
                burst.clear();
            }
        }
        turns += 1;
        if turns.is_multiple_of(1024) && started.elapsed() > time {
            return;
        }
    }
}
