//! vhost-user guest to vhost-user guest, 64 B: throughput, the rate without loss, and latencies at half of it, through shuntd
//! and through Open vSwitch. Both guests are one `pktgen` on the house core.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shunt_tests::{Cmd, Hugepages, Netns, shuntd};

use crate::contest::{Rival, hold};
use crate::cores;
use crate::figure::{Bar, Cell, Figure, Sample};
use crate::peer::ovs::{self, Ovs};
use crate::plan::Plan;
use crate::stop;
use crate::switch::{Switch, one_worker};

const MACS: [&str; 2] = ["02:00:00:00:00:0a", "02:00:00:00:00:0b"];
/// 2 MiB pages for the guests.
const GUEST_PAGES: u32 = 100;
/// The guest takes buffers back when so many of its 1,024 are free: those it uses again are in its first-level cache. By itself
/// virtio-user waits for 32, and each frame is written into a buffer that went through the other core 1,000 frames ago.
const TAKE_BACK: u16 = 960;
/// All trials of a search, and then some.
const MOST: Duration = Duration::from_secs(300);
const P99: &str = "p99 us";
const P99_9: &str = "p99.9 us";
const NO_LOSS: &str = "no-loss Mpps";

/// Measures `flows` flows.
///
/// # Errors
/// Ours failed, too few hugepages, or a signal came.
pub fn measure(plan: &Plan, flows: u32, bar: Bar) -> Result<Vec<Figure>> {
    let what = format!("vhost-user guest to guest, 64 B, {flows} flows");
    let name = |part: &str| format!("vhost{part}-{flows}");
    let mut rate = Figure::new(name(""), what.clone(), "Mpps", bar);
    rate.cell = Some(Cell { scenario: "vhost", flows });
    let _pages = Hugepages::reserve(ovs::PAGES + GUEST_PAGES)?;
    let peer =
        Rival { name: "OVS-DPDK, dpdkvhostuser", run: &|| with_round_trip(|| open_vswitch(plan, flows)) };
    hold(plan, &mut rate, &|| with_round_trip(|| ours(plan, flows)), Some(peer), None)?;
    rate.notes.push("as fast as the guest's queue takes frames: what is received a second".into());
    // The distributions belong to the latencies.
    let curves = std::mem::take(&mut rate.ours.curves);
    let peer_curves = rate.peer.as_mut().map(|peer| std::mem::take(&mut peer.curves));
    let derived = |part: &str, scenario: &'static str, beside: &str, unit, bar, note: &str| {
        let mut figure = Figure::new(name(part), format!("{what}: {beside}"), unit, bar);
        figure.cell = Some(Cell { scenario, flows });
        figure.ours = rate.ours.of_beside(beside);
        figure.peer = rate.peer.as_ref().map(|peer| peer.of_beside(beside));
        figure.notes.push(note.into());
        figure
    };
    let half = "at half the rate without loss, each at half of its own";
    let mut p99 = derived("-p99", "vhost-p99", P99, "us", Bar::RatioBelow(1.0), half);
    p99.ours.curves = curves;
    if let Some(peer) = &mut p99.peer {
        peer.curves = peer_curves.unwrap_or_default();
    }
    let p99_9 = derived("-p99.9", "vhost-p99.9", P99_9, "us", Bar::RatioBelow(1.0), half);
    let no_loss = derived(
        "-no-loss",
        "vhost-no-loss",
        NO_LOSS,
        "Mpps",
        Bar::Stated,
        "highest rate without any loss (RFC 2544)",
    );
    Ok(vec![rate, no_loss, p99, p99_9])
}

/// A contestant, and beside its figures how far the cores are from each other: the figures of two runs are comparable when that
/// is alike. Measured before the switch takes its core.
fn with_round_trip(run: impl FnOnce() -> Result<Sample>) -> Result<Sample> {
    let near = cores::round_trip()?;
    let mut sample = run()?;
    sample.beside.push((cores::ROUND_TRIP, near));
    Ok(sample)
}

fn ours(plan: &Plan, flows: u32) -> Result<Sample> {
    let node = Netns::new()?;
    let sockets = ["vhost-a", "vhost-b"].map(|name| plan.dir().join(name));
    for socket in sockets.iter().filter(|socket| socket.exists()) {
        fs::remove_file(socket).with_context(|| format!("remove {}", socket.display()))?;
    }
    let port = |index: usize| {
        let (path, mac) = (sockets[index].display(), MACS[index]);
        format!(
            "[[port]]\nname = \"guest{index}\"\nkind = \"vhost-user\"\npath = \"{path}\"\nstations = [\"{mac}\"]\n"
        )
    };
    // Frames that it drops are lost for the guest, who counts them.
    let _switch = Switch::start(&node, &(one_worker("busy", "require") + &port(0) + &port(1)))?;
    generate(plan, flows, &sockets)
}

fn open_vswitch(plan: &Plan, flows: u32) -> Result<Sample> {
    let ovs = Ovs::start()?;
    ovs.add_bridge()?;
    let rule = |number: usize| format!("dl_dst={},actions=output:{}\n", MACS[number - 1], number);
    ovs.add_flows("br0", &(rule(1) + &rule(2)))?;
    let names = ["guest-a", "guest-b"];
    for (index, name) in names.into_iter().enumerate() {
        let number = format!("ofport_request={}", index + 1);
        ovs.vsctl(&["add-port", "br0", name, "--", "set", "Interface", name, "type=dpdkvhostuser", &number])?;
    }
    generate(plan, flows, &names.map(|name| ovs.dir().join(name)))
}

/// Runs both guests: value is the throughput.
fn generate(plan: &Plan, flows: u32, sockets: &[PathBuf; 2]) -> Result<Sample> {
    let file = plan.dir().join("guests.toml");
    fs::write(&file, scenario(plan, flows, sockets)).with_context(|| format!("write {}", file.display()))?;
    let program = shuntd::binary("pktgen")?;
    let argv = [program.as_os_str(), file.as_os_str(), "--json".as_ref()];
    let mut running = Cmd::new(argv.map(|part| part.to_string_lossy())).timeout(MOST).spawn()?;
    let started = std::time::Instant::now();
    let status = loop {
        if let Some(status) = running.try_wait()? {
            break status;
        }
        ensure!(started.elapsed() < MOST, "pktgen does not end: {}", running.stderr().text(0));
        stop::pause(Duration::from_millis(20))?;
    };
    ensure!(status.success(), "pktgen ended with {status}: {}", running.stderr().text(0));
    let text = running.stdout().text(0);
    let told: Value = serde_json::from_str(&text).with_context(|| format!("pktgen printed: {text}"))?;
    sample(&told)
}

fn scenario(plan: &Plan, flows: u32, sockets: &[PathBuf; 2]) -> String {
    let device = |index: usize| {
        let (path, mac) = (sockets[index].display(), MACS[index]);
        format!("virtio_user{index},path={path},mac={mac},queue_size=1024,mrg_rxbuf=1,in_order=0")
    };
    let (tx, rx, [from, to]) = (device(0), device(1), MACS);
    let seconds = plan.seconds as f64;
    // A whole search takes about ten trials.
    let trial = (seconds / 3.0).min(2.0);
    format!(
        "[devices]\ntx = \"{tx}\"\nrx = \"{rx}\"\nhugepages = true\ntx_free_threshold = {TAKE_BACK}\n\
         [frames]\nsource_mac = \"{from}\"\ndestination_mac = \"{to}\"\n[flows]\ncount = {flows}\nfresh = false\n\
         [search]\nloss_percent = [0.0]\nresolution_percent = 2.0\nretries = 2\ntrial_seconds = {trial}\nlatency_seconds = {seconds:.1}\n"
    )
}

fn sample(told: &Value) -> Result<Sample> {
    let number = |value: &Value| value.as_f64();
    let mega = |value: &Value| number(value).map(|frames| frames / 1e6);
    let throughput = mega(&told["trials"][0]["received_per_second"]).context("pktgen told no throughput")?;
    let no_loss = mega(&told["found"][0]["frames_per_second"]).context("pktgen told no rate without loss")?;
    ensure!(no_loss > 0.0, "pktgen found no rate without loss; it told: {}", trials(told));
    let latency = &told["latency"]["warm"]["latency"];
    let time = |key: &str| number(&latency[key]).with_context(|| format!("pktgen told no {key}: {latency}"));
    let bound = f64::from(u8::from(told["found"][0]["generator_bound"] == true));
    let beside = vec![
        (NO_LOSS, no_loss),
        ("p50 us", time("p50_us")?),
        (P99, time("p99_us")?),
        (P99_9, time("p99_9_us")?),
        ("max us", time("max_us")?),
        ("generator is the limit", bound),
    ];
    let points = latency["curve"].as_array().into_iter().flatten();
    let curve = points.filter_map(|point| Some((point[0].as_f64()?, point[1].as_f64()?))).collect();
    Ok(Sample { curve, ..Sample::new(throughput, beside) })
}

/// Rates and losses in short.
fn trials(told: &Value) -> String {
    let one = |trial: &Value| {
        let number = |key: &str| trial[key].as_f64().unwrap_or(f64::NAN);
        format!("{:.0} pps lost {:.3} %", number("offered_per_second"), number("loss_percent"))
    };
    told["trials"].as_array().into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pktgen::scenario::Scenario;

    #[test]
    fn the_scenario_is_one_that_pktgen_takes() {
        let plan = Plan::new(1, 1, Duration::ZERO).unwrap();
        let text = scenario(&plan, 7, &["a".into(), "b".into()]);
        let scenario = Scenario::parse(&text, "guests").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(scenario.flows.count, 7);
    }

    #[test]
    fn what_pktgen_tells_becomes_a_sample() {
        let latency = json!({"p50_us": 5.0, "p99_us": 9.0, "p99_9_us": 20.0, "max_us": 30.0, "curve": [[4.0, 0.0], [30.0, 1.0]]});
        let mut told = json!({
            "trials": [{"received_per_second": 4e6}], "found": [{"frames_per_second": 3e6, "generator_bound": false}],
            "latency": {"warm": {"latency": latency}},
        });
        let got = sample(&told).unwrap();
        assert_eq!((got.value, got.beside[0], got.beside[2]), (4.0, (NO_LOSS, 3.0), (P99, 9.0)));
        assert_eq!(got.curve, [(4.0, 0.0), (30.0, 1.0)]);
        told["found"][0]["frames_per_second"] = json!(0.0);
        assert!(sample(&told).unwrap_err().to_string().contains("no rate without loss"));
    }
}
