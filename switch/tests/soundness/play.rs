//! Playing the captures into a daemon of their own, and reading what came out.
//!
//! Three networks, a bridge and two with a router between them, each with four ports: `in` plays the capture, `a` and `b`
//! have its stations, `spare` has none and so gets what is flooded, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use shunt_tests::Shuntd;
use tempfile::TempDir;

use super::capture;
use super::hostile::{self, FRAMES, LAST_STATION, Seed, ipv4, ipv6, mac};

const NETWORKS: u8 = 3;
/// The first network has no gateway.
const BRIDGE: u8 = 0;
const PATIENCE: Duration = Duration::from_secs(60);

/// What is played.
pub(crate) struct Captures {
    directory: TempDir,
    /// Frames that the switch keeps for itself: they neither go out nor are they dropped.
    kept: u64,
}

impl Captures {
    /// Makes them.
    pub(crate) fn write(seed: Seed) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = 0;
        for network in 0..NETWORKS {
            let frames = hostile::capture(seed, network);
            let ours = |frame: &&Vec<u8>| network != BRIDGE && hostile::is_for_switch(frame, network);
            kept += frames.iter().filter(ours).count() as u64;
            capture::write(&directory.path().join(format!("in{network}")), &frames);
            let first = capture::frame([0xff; 6], mac(network, 0xee), 60, 0);
            capture::write(&directory.path().join(format!("first{network}")), &[first]);
        }
        Self { directory, kept }
    }

    /// Frames of all.
    pub(crate) fn total(&self) -> usize {
        FRAMES * usize::from(NETWORKS)
    }
}

/// What a worker's cache did.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "printed whole")]
pub(crate) struct Cache {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) stale: u64,
    pub(crate) verified: u64,
    pub(crate) unsound: u64,
}

/// What came out.
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// Frames by port, without the switch's own requests.
    pub(crate) frames: BTreeMap<String, Vec<Vec<u8>>>,
    /// Dropped frames by port and reason.
    pub(crate) drops: BTreeMap<(String, String), u64>,
    pub(crate) cache: Cache,
}

impl Outcome {
    /// Frames that came out of any port.
    pub(crate) fn sent(&self) -> usize {
        self.frames.values().map(Vec::len).sum()
    }
}

/// Addresses in the form of the configuration, without their prefix length.
fn endpoint(network: u8, host: u8) -> (String, String) {
    let mac = mac(network, host).map(|byte| format!("{byte:02x}")).join(":");
    let [v4, v6] = [
        std::net::Ipv4Addr::from(ipv4(network, host)).to_string(),
        std::net::Ipv6Addr::from(ipv6(network, host)).to_string(),
    ];
    (mac, format!("{v4}/{v6}"))
}

/// The daemon's configuration but for the ports that play.
fn config(captures: &Path, out: &Path, cache: &str) -> String {
    let mut text = format!(
        "[memory]\nhugepages = \"never\"\n[workers]\nmax_sleep = \"100us\"\n[flow_cache]\n{cache}\n\
         [[router]]\nname = \"r\"\nroutes = [{{ to = \"10.9.0.0/16\", via = \"10.0.2.5\" }}, \
         {{ to = \"192.168.0.0/16\", blackhole = true }}, {{ to = \"fd00:9::/32\", via = \"fd00:2::6\" }}, \
         {{ to = \"fd00:8::/32\", blackhole = true }}]\n"
    );
    for network in 0..NETWORKS {
        text += &format!("[[network]]\nname = \"n{network}\"\nmac_limit = 1\nmac_ageing = \"0s\"\n");
        if network != BRIDGE {
            let (mac, addresses) = endpoint(network, 1);
            let (v4, v6) = addresses.split_once('/').unwrap();
            text += &format!(
                "router = \"r\"\ngateways = [\"{v4}/28\", \"{v6}/124\"]\ngateway_mac = \"{mac}\"\n\
                 neighbor_ageing = \"0s\"\n"
            );
        }
        for (port, hosts) in [("a", 2..8), ("b", 8..LAST_STATION), ("spare", 0..0)] {
            let given = hosts.map(|host| {
                let (mac, addresses) = endpoint(network, host);
                let (v4, v6) = addresses.split_once('/').unwrap();
                format!("{{ mac = \"{mac}\", ip = [\"{v4}\", \"{v6}\"] }}")
            });
            let given = given.collect::<Vec<_>>().join(", ");
            let name = format!("{port}{network}");
            let first = captures.join(format!("first{network}"));
            let input = if port == "spare" { format!("rx_pcap={},", first.display()) } else { String::new() };
            text += &format!(
                "[[port]]\nname = \"{name}\"\nnetwork = \"n{network}\"\nkind = \"dpdk\"\n\
                 devargs = \"net_pcap_{name},{input}tx_pcap={}\"\nendpoints = [{given}]\n",
                out.join(&name).display()
            );
        }
    }
    text
}

/// Plays the captures into a daemon with these keys of `[flow_cache]`.
#[track_caller]
pub(crate) fn run(captures: &Captures, name: &str, cache: &str) -> Outcome {
    let out = tempfile::tempdir().unwrap();
    let directory = captures.directory.path();
    let mut shuntd = Shuntd::start(&config(directory, out.path(), cache)).unwrap();
    let mut played = u64::from(NETWORKS);
    wait_for_packets(&shuntd, played);
    // One address was learned in each network; no other one will be.
    let full = |fdb: &Value| {
        let learned = fdb.as_array().unwrap().iter().filter(|row| row["fixed"] == false);
        learned.count() == usize::from(NETWORKS)
    };
    shuntd.cli_until(&["show", "fdb", "--json"], PATIENCE, full).unwrap();
    settle(&shuntd);
    for network in 0..NETWORKS {
        let (mac, addresses) = endpoint(network, LAST_STATION);
        let (input, output) =
            (directory.join(format!("in{network}")), out.path().join(format!("in{network}")));
        let devargs =
            format!("devargs=net_pcap_in{network},rx_pcap={},tx_pcap={}", input.display(), output.display());
        let (of, given) = (format!("network=n{network}"), format!("endpoints={mac}/{addresses}"));
        shuntd
            .cli_text(&["port", "add", &format!("in{network}"), "kind=dpdk", &of, &devargs, &given])
            .unwrap();
        played += FRAMES as u64;
        wait_for_packets(&shuntd, played);
    }
    // What waits for a neighbour that never comes is given up, and counted.
    let none_held = |workers: &Value| workers[0]["held"] == 0;
    shuntd.cli_until(&["show", "workers", "--json"], PATIENCE, none_held).unwrap();
    let ports = shuntd.cli(&["show", "ports", "--json"]).unwrap();
    let drops = shuntd.cli(&["show", "drops", "--json"]).unwrap();
    let cache = cache_use(&shuntd);
    shuntd.stop().unwrap();
    let drops = drops.as_array().unwrap().iter().map(|row| {
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        ((text("port"), text("reason")), row["count"].as_u64().unwrap())
    });
    let mut outcome =
        Outcome { name: name.to_owned(), frames: BTreeMap::new(), drops: drops.collect(), cache };
    let requests = outcome.read(&ports, out.path());
    outcome.account(&ports, &requests, captures.kept);
    outcome
}

impl Outcome {
    /// Reads what each port wrote, which is what it says it has sent; returns how many requests of the switch were in it.
    #[track_caller]
    fn read(&mut self, ports: &Value, out: &Path) -> BTreeMap<String, u64> {
        let mut requests = BTreeMap::new();
        for port in ports.as_array().unwrap() {
            let name = port["name"].as_str().unwrap().to_owned();
            let mut frames = capture::read(&out.join(&name));
            let all = frames.len() as u64;
            assert_eq!(port["tx_packets"], all, "{name}: {all} frames in its file, and it says {port}");
            frames.retain(|frame| !is_request(frame));
            requests.insert(name.clone(), all - frames.len() as u64);
            self.frames.insert(name, frames);
        }
        requests
    }

    /// What came in went out, was dropped or was kept. A flooded frame is three; one of them the spare port had, or had to
    /// refuse.
    #[track_caller]
    fn account(&self, ports: &Value, requests: &BTreeMap<String, u64>, kept: u64) {
        let sum = |key: &str| -> u64 {
            ports.as_array().unwrap().iter().map(|port| port[key].as_u64().unwrap()).sum()
        };
        let dropped: u64 = self.drops.values().sum();
        assert_eq!(sum("drops"), dropped, "{}", self.name);
        let spare =
            ports.as_array().unwrap().iter().filter(|port| port["name"].as_str().unwrap().contains("spare"));
        let flooded: u64 = spare
            .map(|port| {
                let name = port["name"].as_str().unwrap();
                port["tx_packets"].as_u64().unwrap() + port["drops"].as_u64().unwrap() - requests[name]
            })
            .sum();
        // The first frames were flooded by the spare port to the other two.
        let copies = 2 * flooded + u64::from(NETWORKS);
        let sent = sum("tx_packets") - requests.values().sum::<u64>();
        assert!(kept > 0, "no frame was for the switch");
        assert_eq!(
            sum("rx_packets") + copies,
            sent + dropped + kept,
            "{}: {ports:#}, {:?}",
            self.name,
            self.drops
        );
        assert_eq!(sum("missed"), 0);
    }
}

/// True for what the switch sends of itself, which depends on the clock: its questions for neighbours, ICMP errors, and TCP resets. (A
/// solicitation of somebody else that it routes has lost a hop; an error of somebody else has not its class and TTL.)
fn is_request(frame: &[u8]) -> bool {
    let from_gateway =
        (0..NETWORKS).any(|network| network != BRIDGE && frame.get(6..12) == Some(&mac(network, 1)));
    let arp = || frame.get(12..14) == Some(&[8, 6]) && frame.get(20..22) == Some(&[0, 1]);
    let nd = || {
        frame.get(12..14) == Some(&[0x86, 0xdd])
            && frame.get(20..22) == Some(&[58, 255])
            && frame.get(54) == Some(&135)
    };
    let icmp4 = || {
        frame.get(12..16) == Some(&[8, 0, 0x45, 0xc0])
            && frame.get(22..24) == Some(&[64, 1])
            && matches!(frame.get(34), Some(3 | 11))
    };
    let icmp6 = || {
        frame.get(12..16) == Some(&[0x86, 0xdd, 0x6c, 0])
            && frame.get(20..22) == Some(&[58, 64])
            && matches!(frame.get(54), Some(1..=4))
    };
    let reset = |at: usize| frame.get(at + 13).is_some_and(|flags| flags & 4 != 0);
    let tcp4 = || {
        frame.get(12..18) == Some(&[8, 0, 0x45, 0, 0, 40]) && frame.get(22..24) == Some(&[64, 6]) && reset(34)
    };
    let tcp6 = || {
        frame.get(12..16) == Some(&[0x86, 0xdd, 0x60, 0])
            && frame.get(18..22) == Some(&[0, 20, 6, 64])
            && reset(54)
    };
    from_gateway && (arp() || nd() || icmp4() || icmp6() || tcp4() || tcp6())
}

/// Waits until the worker is done with so many frames: it counts them behind the last transmit.
#[track_caller]
fn wait_for_packets(shuntd: &Shuntd, count: u64) {
    shuntd
        .cli_until(&["show", "workers", "--json"], PATIENCE, |workers| workers[0]["packets"] == count)
        .unwrap();
}

/// Waits until no worker can use any topology but the newest.
#[track_caller]
fn settle(shuntd: &Shuntd) {
    let newest = |generations: &Value| generations[0]["in_force_us"].is_f64();
    shuntd.cli_until(&["show", "generations", "--json"], PATIENCE, newest).unwrap();
}

fn cache_use(shuntd: &Shuntd) -> Cache {
    let workers = shuntd.cli(&["show", "workers", "--json"]).unwrap();
    let count = |key: &str| workers[0]["cache"][key].as_u64().unwrap();
    Cache {
        hits: count("hits"),
        misses: count("misses"),
        stale: count("stale"),
        verified: count("verified"),
        unsound: count("unsound"),
    }
}
