//! A fixed number of fixed frames through one worker, for counting its instructions (`scripts/ci.sh instructions`).
//!
//! Plays a capture of 1,000 flows, routed between two networks, sixteen times, on ordinary pages (valgrind knows no huge ones), and
//! ends when all have come out. Prints the number of frames. What is counted is the worker's forwarding alone: it does not
//! depend on how often an idle worker looks at its queue.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use shunt_bench::frames;
use shunt_switch::control::Control;

const FLOWS: u32 = 1_000;
const ROUNDS: u32 = 16;
/// Under valgrind everything takes fifty times as long.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() -> Result<()> {
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let capture = directory.path().join("in.pcap");
    frames::write(&capture, (0..ROUNDS).flat_map(|_| frames::regular(FLOWS)))?;
    let config = shunt_config::parse(&config(&capture.to_string_lossy()), "instructions")?;
    let mut control = Control::start(&config)?;
    if let Some(error) = control.apply_at_start(&config).into_iter().next() {
        anyhow::bail!("{error}");
    }
    let running = control.spawn()?;
    let (handle, deadline) = (running.handle(), Instant::now() + PATIENCE);
    let wanted = u64::from(FLOWS * ROUNDS);
    let sent = loop {
        let ports = handle.call(|control| control.ports())?;
        let sent = ports.iter().find(|port| port.name == "out").context("no port `out`")?.tx_packets;
        if sent == wanted || Instant::now() > deadline {
            break sent;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let drops = handle.call(|control| control.drops())?;
    running.stop();
    ensure!(sent == wanted && drops.is_empty(), "{sent} of {wanted} frames came out; dropped: {drops:?}");
    println!("{wanted}");
    Ok(())
}

fn config(capture: &str) -> String {
    let mut text = String::from(
        "[memory]\nhugepages = \"never\"\nmbufs = 4096\n[workers]\ncount = 1\n\
         [[router]]\nname = \"r\"\n\
         [[network]]\nname = \"left\"\nrouter = \"r\"\ngateways = [\"10.0.1.1/24\"]\ngateway_mac = \"02:00:00:00:00:fe\"\n\
         [[network]]\nname = \"right\"\nrouter = \"r\"\ngateways = [\"10.0.2.254/24\"]\ngateway_mac = \"02:00:00:00:00:fd\"\n\
         [[port]]\nname = \"out\"\nnetwork = \"right\"\nkind = \"dpdk\"\ndevargs = \"net_null0,no-rx=1\"\nendpoints = [",
    );
    for host in 1..=250 {
        // A String takes everything.
        let _ = write!(text, "{{ mac = \"02:00:00:02:00:{host:02x}\", ip = [\"10.0.2.{host}\"] }},");
    }
    let _ = write!(
        text,
        "]\n[[port]]\nname = \"in\"\nnetwork = \"left\"\nkind = \"dpdk\"\ndevargs = \"net_pcap0,rx_pcap={capture}\"\n"
    );
    text
}
