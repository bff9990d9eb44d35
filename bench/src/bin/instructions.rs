//! A fixed number of fixed frames through one worker, for counting its instructions (`scripts/ci.sh instructions`).
//!
//! `instructions [KIND]` plays a capture on ordinary pages (valgrind knows no huge ones), ends when all of it has come out, and
//! prints the number of frames. What is counted is the worker's forwarding alone: it does not depend on how often an idle
//! worker looks at its queue.
//!
//! | kind | frames |
//! |---|---|
//! | `l3` (default) | 1,000 flows, routed between two networks, sixteen times |
//! | `flow-setup` | routed, every frame a flow of its own, which is entered |
//! | `snat` | 500 connections through source NAT, packets and answers, sixteen times |
//! | `cluster-ip` | 500 connections to services, packets and their backends' answers, sixteen times |
//! | `snat-new` | TCP connections through source NAT, opened and closed |
//! | `service-new` | TCP connections to services, opened and closed |
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use shunt_bench::fastpath::nat::through_nat;
use shunt_bench::fastpath::network::{FlowCache, l3};
use shunt_bench::fastpath::pods::services;
use shunt_bench::frames::{self, Answers, SEGMENTS};
use shunt_bench::oneway::Settings;
use shunt_bench::switch::device_port;
use shunt_switch::control::Control;

const FLOWS: u32 = 1_000;
const ROUNDS: u32 = 16;
/// Under valgrind everything takes fifty times as long.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() -> Result<()> {
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let capture = directory.path().join("in.pcap");
    let kind = std::env::args().nth(1).unwrap_or_else(|| "l3".into());
    let settings = prepare(&kind, &capture)?;
    let config = shunt_config::parse(&config(&settings, &capture), "instructions")?;
    let mut control = Control::start(&config)?;
    if let Some(error) = control.apply_at_start(&config).into_iter().next() {
        anyhow::bail!("{error}");
    }
    let running = control.spawn()?;
    let (handle, deadline) = (running.handle(), Instant::now() + PATIENCE);
    let wanted = u64::from(FLOWS * ROUNDS);
    let sent = loop {
        let ports = handle.call(|control| control.ports())?;
        let sent: u64 =
            ports.iter().filter(|port| port.name.starts_with("out")).map(|port| port.tx_packets).sum();
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

/// Writes the frames of a kind, always [`FLOWS`] times [`ROUNDS`]; what the switch is to be for them.
fn prepare(kind: &str, capture: &Path) -> Result<Settings> {
    let all = FLOWS * ROUNDS;
    let talk = |answers| {
        let round = |_| frames::conversations(FLOWS / 2, answers);
        frames::write(capture, (0..ROUNDS).flat_map(round))
    };
    let open = |answers| {
        frames::write(capture, frames::handshakes(all.div_ceil(SEGMENTS), answers).take(all as usize))
    };
    Ok(match kind {
        "l3" => {
            frames::write(capture, (0..ROUNDS).flat_map(|_| frames::regular(FLOWS)))?;
            l3(FlowCache::default())
        }
        "flow-setup" => {
            frames::write(capture, frames::random(all))?;
            l3(FlowCache { entries: Some(1024), full_key: true, enters_all: true })
        }
        "snat" => {
            talk(Answers::Masqueraded)?;
            through_nat(FlowCache::default())
        }
        "cluster-ip" => {
            talk(Answers::Backend)?;
            services("udp", 1)
        }
        "snat-new" => {
            open(Answers::Masqueraded)?;
            through_nat(FlowCache::default())
        }
        "service-new" => {
            open(Answers::Backend)?;
            services("tcp", 1)
        }
        other => {
            anyhow::bail!("no kind `{other}`: l3, flow-setup, snat, snat-new, cluster-ip or service-new")
        }
    })
}

fn config(settings: &Settings, capture: &Path) -> String {
    let head = "[memory]\nhugepages = \"never\"\nmbufs = 4096\n[workers]\ncount = 1\n";
    let source = format!("net_pcap0,rx_pcap={}", capture.display());
    let port = device_port("in", settings.network, &source, &[]);
    format!("{head}{}{port}{}", settings.sections, settings.ports)
}
