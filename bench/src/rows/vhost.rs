//! 64-byte frames between two vhost-user guests: through shuntd, and through testpmd io between two `net_vhost` ports.
//!
//! Both guests are one testpmd with two virtio-user devices and one forwarding thread: two threads that share the one core
//! that is left would each wait for the other's time slice with rings of 256 entries, and measure the scheduler. It sends
//! back out of one device what came in by the other, so a fixed number of frames goes round in each direction, none is
//! lost, and the slower of guest and switch sets the pace. Cycles per frame of the switch are stated beside.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use shunt_tests::testpmd::{self, Memory, Options, Testpmd};
use shunt_tests::{Hugepages, Netns};

use crate::contest::{Rival, hold};
use crate::cores;
use crate::figure::{Bar, Figure, Sample};
use crate::peer;
use crate::plan::Plan;
use crate::stop;
use crate::switch::{Switch, one_worker};

const WARM_UP: Duration = Duration::from_secs(1);
/// MiB of each testpmd, hugepages.
const MEMORY: u32 = 256;
/// Pages for two testpmd, or for one and shuntd.
const PAGES: u32 = 300;
/// Frames under way in each direction, in bursts of 32: half a ring, so that no ring is ever full.
const BURSTS: u32 = 4;
const MACS: [&str; 2] = ["02:00:00:00:00:0a", "02:00:00:00:00:0b"];

/// Measures it.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let what = "vhost-user guest to vhost-user guest (virtio-user), 64 B, both directions together";
    let mut figure = Figure::new("vhost-64", what, "Mpps", Bar::Ratio(0.8));
    let _pages = Hugepages::reserve(PAGES)?;
    let peer = Rival { name: "testpmd io, two net_vhost", run: &|| testpmd_io(plan) };
    hold(plan, &mut figure, &|| ours(plan), Some(peer), None)?;
    figure.notes.push(format!(
        "both guests are one testpmd io thread on core {}, the switch is on core {}; {} frames go round in each direction",
        cores::HOUSE, cores::SWITCH, BURSTS * 32
    ));
    Ok(vec![figure])
}

fn sockets(plan: &Plan) -> Result<[PathBuf; 2]> {
    let sockets = [plan.dir().join("vhost-a"), plan.dir().join("vhost-b")];
    for socket in sockets.iter().filter(|socket| socket.exists()) {
        fs::remove_file(socket).with_context(|| format!("remove {}", socket.display()))?;
    }
    Ok(sockets)
}

fn ours(plan: &Plan) -> Result<Sample> {
    let near = cores::round_trip()?;
    let node = Netns::new()?;
    let sockets = sockets(plan)?;
    let port = |index: usize| {
        let (path, mac) = (sockets[index].display(), MACS[index]);
        format!(
            "[[port]]\nname = \"guest{index}\"\nkind = \"vhost-user\"\npath = \"{path}\"\nstations = [\"{mac}\"]\n"
        )
    };
    let mut switch = Switch::start(&node, &(one_worker("busy", "require") + &port(0) + &port(1)))?;
    let mut guests = guests(&sockets)?;
    start(&mut guests)?;
    stop::pause(WARM_UP)?;
    let before = (received(&mut guests)?, Instant::now());
    let work = switch.watch(plan.window())?;
    let mpps = rate(before, received(&mut guests)?);
    let drops = switch.drops()?;
    ensure!(drops.is_empty(), "shuntd dropped frames: {drops}");
    let guest = peer::testpmd::stop_counting_cycles(&mut guests)?;
    Ok(Sample::new(mpps, beside(work.cycles_per_packet, guest, near)))
}

/// What is told beside the rate. Rates are comparable when the last of them is alike.
fn beside(switch: f64, guest: f64, near: f64) -> Vec<(&'static str, f64)> {
    vec![("switch cycles/packet", switch), ("guest cycles/packet", guest), (cores::ROUND_TRIP, near)]
}

fn testpmd_io(plan: &Plan) -> Result<Sample> {
    let near = cores::round_trip()?;
    let sockets = sockets(plan)?;
    let vdevs = vec![testpmd::vhost(0, &sockets[0], 1, false), testpmd::vhost(1, &sockets[1], 1, false)];
    let options = Options { vdevs, memory: Memory::Huge(MEMORY), ..Options::default() };
    let mut switch = peer::testpmd::launch(&options, cores::SWITCH)?;
    let mut guests = guests(&sockets)?;
    switch.command("set record-core-cycles on")?;
    switch.start(testpmd::Forward::Io)?;
    start(&mut guests)?;
    stop::pause(WARM_UP)?;
    let before = (received(&mut guests)?, Instant::now());
    stop::pause(plan.window())?;
    let mpps = rate(before, received(&mut guests)?);
    let guest = peer::testpmd::stop_counting_cycles(&mut guests)?;
    let cycles = peer::testpmd::stop_counting_cycles(&mut switch)?;
    Ok(Sample::new(mpps, beside(cycles, guest, near)))
}

fn guests(sockets: &[PathBuf; 2]) -> Result<Testpmd> {
    let device =
        |index: u16, socket: &Path| testpmd::virtio_user(index, socket, MACS[usize::from(index)], 1, false);
    // What one device sends is for the other.
    let to = |index: usize| format!("--eth-peer={index},{}", MACS[1 - index]);
    let options = Options {
        vdevs: vec![device(0, &sockets[0]), device(1, &sockets[1])],
        memory: Memory::Huge(MEMORY),
        args: vec![to(0), to(1)],
        ..Options::default()
    };
    peer::testpmd::launch(&options, cores::HOUSE)
}

fn start(guests: &mut Testpmd) -> Result<()> {
    guests.command("set record-core-cycles on")?;
    guests.command("set fwd io")?;
    guests.command(&format!("start tx_first {BURSTS}"))?;
    Ok(())
}

/// Frames that both guests have received.
fn received(guests: &mut Testpmd) -> Result<u64> {
    Ok(guests.port_stats(0)?.rx_packets + guests.port_stats(1)?.rx_packets)
}

fn rate((before, since): (u64, Instant), after: u64) -> f64 {
    (after - before) as f64 / since.elapsed().as_secs_f64() / 1e6
}
