//! Forwards between two vhost-user ports on one busy core: the smallest possible switch, to measure the ports alone.
//!
//! `vhost_forward --core N --seconds S [--hugepages MB] [--pmd] SOCKET_A SOCKET_B` listens on both sockets and prints what went
//! through and how many cycles a frame took. `--pmd` uses DPDK's `net_vhost` driver instead of our ports, in the same loop.
//!
//! The cycles are those of full bursts (32 frames), as quantiles: a burst in which the machine ran something else counts as
//! one outlier and does not move the median, so the figure holds on a machine that is not idle. So do the rates of windows of
//! 100 us without a silence of 20: those in which guest and switch both ran all the time.

use std::time::{Duration, Instant};

use shunt_ffi::clock::tsc;
use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::ethdev::{EthDevice, EthOptions, Opened};
use shunt_ffi::vhost::{VhostMode, VhostOpened, VhostOptions, VhostPort};
use shunt_ffi::{Burst, Mempool};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// Frames of a full burst.
const FULL: usize = 32;
/// Bursts measured at most.
const SAMPLES: usize = 1 << 20;
/// Windows a second, and the silences of which none may be in one.
const WINDOWS: u64 = 10_000;
const SILENCES: u64 = 50_000;

struct Arguments {
    core: usize,
    seconds: u64,
    memory: Memory,
    pmd: bool,
    sockets: Vec<String>,
}

fn arguments() -> Result<Arguments, String> {
    let memory = Memory::Ordinary { megabytes: 512 };
    let mut parsed = Arguments { core: 0, seconds: 10, memory, pmd: false, sockets: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number =
            || words.next().and_then(|text| text.parse().ok()).ok_or(format!("`{word}` wants a number"));
        match word.as_str() {
            "--core" => parsed.core = number()?,
            "--seconds" => parsed.seconds = number()? as u64,
            "--hugepages" => parsed.memory = Memory::Hugepages { megabytes: number()? as u32 },
            "--pmd" => parsed.pmd = true,
            _ => parsed.sockets.push(word),
        }
    }
    if parsed.sockets.len() == 2 { Ok(parsed) } else { Err("two sockets are needed".into()) }
}

fn main() -> Fallible<()> {
    let arguments = arguments()?;
    let eal = Eal::start(&EalOptions { memory: arguments.memory, pci: false })?;
    let pool = Mempool::new(eal, "frames", 32_768, 2048)?;
    let time = Duration::from_secs(arguments.seconds);
    if arguments.pmd {
        let mut ports = Vec::new();
        for (number, path) in arguments.sockets.iter().enumerate() {
            ports.push(ethernet(eal, pool, &format!("net_vhost{number},iface={path},queues=1,tso=1"))?);
        }
        pin(arguments.core)?;
        let _registered = eal.register_thread()?;
        let [a, b] = &mut ports[..] else { return Err("two ports".into()) };
        let (a, b) = ((&mut a.rx[0], &mut a.tx[0]), (&mut b.rx[0], &mut b.tx[0]));
        forward(time, a, b, |rx, burst| rx.receive(burst, FULL), |tx, burst| tx.transmit(burst));
    } else {
        let mut ports = Vec::new();
        for path in &arguments.sockets {
            ports.push(vhost(eal, pool, path)?);
        }
        pin(arguments.core)?;
        let _registered = eal.register_thread()?;
        let [first, second] = &mut ports[..] else { return Err("two ports".into()) };
        let a = (&mut first.rx[0], &mut first.tx[0]);
        let b = (&mut second.rx[0], &mut second.tx[0]);
        forward(time, a, b, |rx, burst| rx.receive(burst, FULL), |tx, burst| tx.transmit(burst));
        for opened in &ports {
            println!("{:?}", opened.port.statistics());
        }
    }
    shunt_ffi::log::drain();
    Ok(())
}

fn pin(core: usize) -> Fallible<()> {
    println!("ready");
    let mut set = nix::sched::CpuSet::new();
    set.set(core)?;
    Ok(nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)?)
}

fn vhost(eal: Eal, pool: Mempool, path: &str) -> Fallible<VhostOpened> {
    let options = VhostOptions {
        path: path.into(),
        mode: VhostMode::Server,
        queues: 1,
        tx_queues: 1,
        tso: true,
        mergeable: true,
        pool,
    };
    let name = path.to_owned();
    Ok(VhostPort::open(eal, &options, move |event| eprintln!("{name}: {event:?}"))?)
}

fn ethernet(eal: Eal, pool: Mempool, devargs: &str) -> Fallible<Opened> {
    let options = EthOptions {
        devargs: devargs.into(),
        rx_queues: 1,
        tx_queues: 1,
        mtu: None,
        descriptors: 1024,
        tx_free_threshold: None,
        pool,
        interrupts: false,
    };
    Ok(EthDevice::open(eal, &options)?)
}

/// Forwards both ways for `time`, then prints frames per second and cycles per frame.
fn forward<Rx, Tx>(
    time: Duration,
    a: (&mut Rx, &mut Tx),
    b: (&mut Rx, &mut Tx),
    receive: impl Fn(&mut Rx, &mut Burst) -> usize,
    transmit: impl Fn(&mut Tx, &mut Burst) -> usize,
) {
    let mut burst = Burst::new();
    let mut cycles: Vec<u64> = Vec::with_capacity(SAMPLES);
    let mut rates: Vec<f64> = Vec::with_capacity(SAMPLES);
    let (mut frames, mut turns) = (0_u64, 0_u64);
    let hertz = shunt_ffi::clock::tsc_hz();
    let (mut window, mut before, mut heard, mut last) = (tsc(), 0, 0, 0);
    let mut started = Instant::now();
    while !turns.is_multiple_of(1024) || started.elapsed() < time {
        turns += 1;
        if frames == 0 {
            // The time begins with the first frame, however long the guests take to come.
            started = Instant::now();
        }
        let now = tsc();
        if now - heard > hertz / SILENCES {
            (window, before) = (now, frames);
        } else if now - window > hertz / WINDOWS {
            if rates.len() < SAMPLES {
                rates.push((frames - before) as f64 * hertz as f64 / (now - window) as f64 / 1e6);
            }
            (window, before) = (now, frames);
        }
        if frames != last {
            (heard, last) = (now, frames);
        }
        for (rx, tx) in [(&mut *a.0, &mut *b.1), (&mut *b.0, &mut *a.1)] {
            let begun = tsc();
            let got = receive(rx, &mut burst);
            if got == 0 {
                continue;
            }
            let sent = transmit(tx, &mut burst);
            frames += sent as u64;
            if sent == FULL && cycles.len() < SAMPLES {
                cycles.push(tsc() - begun);
            }
            burst.clear();
        }
    }
    cycles.sort_unstable();
    rates.sort_unstable_by(f64::total_cmp);
    let rate = |part: f64| rates.get((rates.len() as f64 * part) as usize).copied().unwrap_or_default();
    println!(
        "Mframes/s in {} windows: p10 {:.2}, median {:.2}, p90 {:.2}",
        rates.len(),
        rate(0.1),
        rate(0.5),
        rate(0.9)
    );
    let quantile = |part: f64| match cycles.len() {
        0 => 0.0,
        count => cycles[((count - 1) as f64 * part) as usize] as f64 / FULL as f64,
    };
    println!(
        "{:.3} Mframes/s, cycles per frame in {} full bursts: p10 {:.1}, median {:.1}, p90 {:.1}",
        frames as f64 / started.elapsed().as_secs_f64() / 1e6,
        cycles.len(),
        quantile(0.1),
        quantile(0.5),
        quantile(0.9)
    );
}
