//! `net_pcap infinite_rx` -> switch -> `net_null`, 64 B, one worker, hugepages: L2 by MAC, held against Open vSwitch with one rule,
//! and against testpmd on the same devices with nothing in between.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use shunt_tests::testpmd::{self, Forward, Memory, Options};
use shunt_tests::{Hugepages, Netns};

use crate::contest::{Rival, hold};
use crate::cores;
use crate::figure::{Bar, Figure, Sample};
use crate::frames::DESTINATION;
use crate::peer::{
    self,
    ovs::{self, Ovs},
};
use crate::plan::Plan;
use crate::stop;
use crate::switch::{Switch, device_port, one_worker};

/// Caches and flow tables are warm after this.
const WARM_UP: Duration = Duration::from_secs(2);
/// Packet buffers, as many as shuntd's default.
const MBUFS: u32 = 16_384;
/// Frames in one iteration of a worker, at most.
const MAX_BURST: u64 = 64;

/// Measures `flows` flows.
pub(super) fn measure(plan: &Plan, flows: u32) -> Result<Vec<Figure>> {
    let capture = plan.capture(flows)?;
    let plural = if flows == 1 { "flow" } else { "flows" };
    let what = format!("`net_pcap infinite_rx` to `net_null`, 64 B, {flows} {plural}, L2 by MAC");
    let mut figure = Figure::new(format!("l2-{flows}"), what, "Mpps", Bar::Ratio(1.0));
    // One set of pages for all contestants: the pool is not remade between the turns.
    let _pages = Hugepages::reserve(ovs::PAGES)?;
    let peer = Rival { name: "OVS-DPDK, one rule", run: &|| open_vswitch(&capture, plan.window()) };
    let floor = Rival { name: "testpmd io", run: &|| testpmd_io(&capture, plan.window()) };
    hold(plan, &mut figure, &|| ours(&capture, plan.window()), Some(peer), Some(floor))?;
    figure.notes.push(format!(
        "switch on core {}, everything else on core {}; busy polling; OVS rule: ip,nw_dst=10.0.2.0/24 to the port",
        cores::SWITCH, cores::HOUSE
    ));
    Ok(vec![figure])
}

fn source(index: u16, capture: &Path) -> String {
    format!("net_pcap{index},rx_pcap={},infinite_rx=1", capture.display())
}

fn ours(capture: &Path, window: Duration) -> Result<Sample> {
    let node = Netns::new()?;
    let config = one_worker("busy", "require")
        + &device_port("in", "default", &source(0, capture), &[])
        + &device_port("out", "default", &testpmd::null(0), &[DESTINATION]);
    let mut switch = Switch::start(&node, &config)?;
    stop::pause(WARM_UP)?;
    let work = switch.watch(window)?;
    let drops = switch.drops()?;
    ensure!(drops.is_empty(), "shuntd dropped frames: {drops}");
    // Read in this order, more must have been sent than was received, but for a burst that is under way.
    let received = switch.port("in")?.rx_packets;
    let sent = switch.port("out")?.tx_packets;
    ensure!(sent + MAX_BURST >= received, "shuntd received {received} frames and sent {sent}");
    Ok(Sample { value: work.mpps, beside: vec![("cycles/packet", work.cycles_per_packet)] })
}

fn open_vswitch(capture: &Path, window: Duration) -> Result<Sample> {
    let ovs = Ovs::start()?;
    let bridge = "protocols=OpenFlow10,OpenFlow15";
    ovs.vsctl(&[
        "add-br",
        "br0",
        "--",
        "set",
        "bridge",
        "br0",
        "datapath_type=netdev",
        "fail-mode=secure",
        bridge,
    ])?;
    ovs.add_flow("in_port=1,ip,nw_dst=10.0.2.0/24,actions=output:2")?;
    let port = |name: &str, number: u16, devargs: &str| {
        let (request, devargs) =
            (format!("ofport_request={number}"), format!("options:dpdk-devargs=\"{devargs}\""));
        ovs.vsctl(&["add-port", "br0", name, "--", "set", "Interface", name, "type=dpdk", &request, &devargs])
    };
    port("sink", 2, &testpmd::null(0))?;
    port("source", 1, &source(0, capture))?;
    stop::pause(WARM_UP)?;
    let (mpps, cycles) = ovs.watch(window)?;
    Ok(Sample { value: mpps, beside: vec![("cycles/packet", cycles)] })
}

fn testpmd_io(capture: &Path, window: Duration) -> Result<Sample> {
    let options = Options {
        vdevs: vec![source(0, capture), testpmd::null(0)],
        memory: Memory::Huge(256),
        mbufs: MBUFS,
        args: vec!["--burst=32".into()],
        ..Options::default()
    };
    let mut testpmd = peer::testpmd::launch(&options, cores::SWITCH)?;
    testpmd.command("set record-core-cycles on")?;
    testpmd.start(Forward::Io)?;
    stop::pause(WARM_UP)?;
    let (before, started) = (testpmd.port_stats(0)?, std::time::Instant::now());
    stop::pause(window)?;
    let (after, elapsed) = (testpmd.port_stats(0)?, started.elapsed());
    let cycles = peer::testpmd::stop_counting_cycles(&mut testpmd)?;
    let mpps = (after.rx_packets - before.rx_packets) as f64 / elapsed.as_secs_f64() / 1e6;
    Ok(Sample { value: mpps, beside: vec![("cycles/packet", cycles)] })
}
