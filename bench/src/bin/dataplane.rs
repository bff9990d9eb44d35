//! The forwarding rate of one worker: `net_pcap infinite_rx` -> switch -> `net_null`, in this process.
//!
//! `dataplane FRAMES.pcap [--seconds N] [--repeat N] [--core N]` prints Mpps and cycles a frame for each repetition.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use shunt_switch::control::Control;

#[derive(Parser)]
struct Arguments {
    /// Input frames; one frame is one flow.
    pcap: PathBuf,
    /// Seconds per repetition.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Repetitions.
    #[arg(long, default_value_t = 3)]
    repeat: u32,
    /// Core of the worker.
    #[arg(long, default_value_t = 1)]
    core: u16,
    /// Buffers in the pool; more than the file has frames.
    #[arg(long, default_value_t = 65_536)]
    mbufs: u32,
    /// Route between two networks instead of switching.
    #[arg(long)]
    l3: bool,
    /// Places in the flow cache.
    #[arg(long, default_value_t = 65_536)]
    entries: u32,
    /// Every field in the key.
    #[arg(long)]
    full: bool,
    /// Frames per burst.
    #[arg(long, default_value_t = 32)]
    burst: u16,
}

fn main() -> Result<()> {
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::WARN).init();
    let arguments = Arguments::parse();
    let head = format!(
        "[memory]\nmbufs = {}\n[workers]\ncores = [{}]\npoll = \"busy\"\nburst = {}\n[flow_cache]\nentries = {}\nkey = \"{}\"\nidle_timeout = \"60s\"\n",
        arguments.mbufs,
        arguments.core,
        arguments.burst,
        arguments.entries,
        if arguments.full { "full" } else { "needed" }
    );
    let devargs = format!("net_pcap0,rx_pcap={},infinite_rx=1", arguments.pcap.display());
    let text = head
        + &if arguments.l3 {
            let endpoints: Vec<String> = (1..=250)
                .map(|host| format!("{{ mac = \"02:00:00:02:00:{:02x}\", ip = [\"10.0.2.{host}\"] }}", host))
                .collect();
            format!(
                "[[router]]\nname = \"r\"\n\
             [[network]]\nname = \"left\"\nrouter = \"r\"\ngateways = [\"10.0.1.1/24\"]\ngateway_mac = \"02:00:00:00:00:fe\"\n\
             [[network]]\nname = \"right\"\nrouter = \"r\"\ngateways = [\"10.0.2.254/24\"]\ngateway_mac = \"02:00:00:00:00:fd\"\n\
             [[port]]\nname = \"in\"\nnetwork = \"left\"\nkind = \"dpdk\"\ndevargs = \"{devargs}\"\n\
             [[port]]\nname = \"out\"\nnetwork = \"right\"\nkind = \"dpdk\"\ndevargs = \"net_null0,no-rx=1\"\n\
             endpoints = [{}]\n",
                endpoints.join(", ")
            )
        } else {
            format!(
                "[[network]]\nname = \"default\"\n\
             [[port]]\nname = \"in\"\nnetwork = \"default\"\nkind = \"dpdk\"\ndevargs = \"{devargs}\"\n\
             [[port]]\nname = \"out\"\nnetwork = \"default\"\nkind = \"dpdk\"\ndevargs = \"net_null0,no-rx=1\"\n\
             stations = [\"02:00:00:00:00:fe\"]\n"
            )
        };
    let config = shunt_config::parse(&text, "bench")?;
    let mut control = Control::start(&config)?;
    if let Some(error) = control.apply_at_start(&config).into_iter().next() {
        anyhow::bail!("{error}");
    }
    let running = control.spawn()?;
    let handle = running.handle();
    let rows =
        |handle: &shunt_switch::control::Handle| handle.call(|control| (control.ports(), control.workers()));
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..arguments.repeat {
        let (_, workers) = rows(&handle)?;
        let (packets, busy, started) = (workers[0].packets, workers[0].cycles.busy, Instant::now());
        std::thread::sleep(Duration::from_secs(arguments.seconds));
        let (ports, workers) = rows(&handle)?;
        let elapsed = started.elapsed().as_secs_f64();
        let moved = (workers[0].packets - packets) as f64;
        let sent = ports.iter().find(|port| port.name == "out").context("no port `out`")?.tx_packets;
        println!(
            "{:.3} Mpps  {:.1} cycles/packet  sent in all {sent}",
            moved / elapsed / 1e6,
            (workers[0].cycles.busy - busy) as f64 / moved,
        );
    }
    for row in handle.call(|control| control.drops())? {
        println!("{} {} {}", row.port, row.reason, row.count);
    }
    running.stop();
    Ok(())
}
