//! The generator through a switch, by the port kinds that are made for it: both sides in ordinary pages, at rates that any machine
//! sustains. What counts here is that nothing is told wrong, not how fast it is.

use std::time::Duration;

use shunt_bench::pktgen::pace::Load;
use shunt_bench::pktgen::rig::Rig;
use shunt_bench::pktgen::scenario::Scenario;
use shunt_bench::pktgen::session;
use shunt_bench::pktgen::traffic::Traffic;
use shunt_bench::pktgen::trial::Trial;
use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_tests::{Netns, Shuntd, require};
use tempfile::TempDir;

/// Frames a second that a busy machine carries: rings of 1,024 hold half a second of them.
const RATE: f64 = 2_000.0;
/// What the policed port lets in, frames a second.
const POLICED: f64 = 4_000.0;

/// A switch with two ports of a kind, `a` and `b`, whose sockets are in the directory.
struct Bench {
    _shuntd: Shuntd,
    _netns: Netns,
    dir: TempDir,
}

impl Bench {
    fn start(kind: &str, keys: &str) -> Self {
        let (dir, netns) = (tempfile::tempdir().unwrap(), Netns::new().unwrap());
        let port = |name: &str, keys: &str| {
            let path = dir.path().join(name);
            format!("[[port]]\nname = \"{name}\"\nkind = \"{kind}\"\npath = \"{}\"\n{keys}\n", path.display())
        };
        let head = "[memory]\nhugepages = \"never\"\n[[network]]\nname = \"default\"\n";
        let shuntd =
            Shuntd::start_in(&netns, &(head.to_owned() + &port("a", keys) + &port("b", ""))).unwrap();
        Self { _shuntd: shuntd, _netns: netns, dir }
    }

    fn path(&self, name: &str) -> impl std::fmt::Display {
        self.dir.path().join(name).display().to_string()
    }

    fn memif(&self) -> String {
        let device = |number: u8, name: &str| {
            format!("net_memif{number},role=client,id=0,socket={},socket-abstract=no", self.path(name))
        };
        format!("[devices]\ntx = \"{}\"\nrx = \"{}\"\n", device(0, "a"), device(1, "b"))
    }

    fn virtio(&self) -> String {
        let device = |number: u8, name: &str| {
            format!("virtio_user{number},path={},mac=02:00:00:00:00:0{name},queue_size=1024", self.path(name))
        };
        format!("[devices]\ntx = \"{}\"\nrx = \"{}\"\n", device(0, "a"), device(1, "b"))
    }
}

/// As the scenarios of vhost-user have them: who sends and who receives.
const FRAMES: &str =
    "[frames]\nsource_mac = \"02:00:00:00:00:0a\"\ndestination_mac = \"02:00:00:00:00:0b\"\n";

fn rig(text: &str) -> (Scenario, Rig) {
    let scenario = Scenario::parse(text, "test").unwrap();
    let memory = Memory::Ordinary { megabytes: 256 };
    let eal = Eal::start_as_guest(&EalOptions { memory, pci: false }).unwrap();
    let rig = Rig::open(eal, &scenario.devices, Traffic::new(&scenario).unwrap()).unwrap();
    (scenario, rig)
}

/// A trial of which nothing is lost; the last of three attempts counts, for the machine may be somebody else's for a while.
#[track_caller]
fn whole(rig: &mut Rig, load: Load) -> Trial {
    let mut told = None;
    for _ in 0..3 {
        let trial = rig.trial(load, Duration::from_secs(1), |_| Ok(())).unwrap();
        if trial.lost() == 0 && trial.count.refused == 0 {
            return trial;
        }
        told = Some(trial);
    }
    panic!("{told:?}");
}

fn nothing_is_told_wrong(devices: &str) {
    let flows = "[flows]\ncount = 100\norder = \"shuffled\"\n[rate]\nframes_per_second = 2000\n";
    let (_, mut rig) =
        rig(&format!("{devices}{FRAMES}sizes = [64, 1518]\nprotocols = [\"udp4\", \"tcp6\"]\n{flows}"));
    for load in [Load::Rate(RATE), Load::Burst { frames: 20, gap: Duration::from_millis(10) }] {
        let told = whole(&mut rig, load);
        assert_eq!((told.duplicates, told.reordered, told.late, told.foreign), (0, 0, 0, 0), "{told:?}");
        assert_eq!((told.cold.offered, told.cold.received), (100, 100));
        assert!(told.received >= 1_000 && told.received == told.count.offered, "{told:?}");
        let latency = told.warm.latency.unwrap();
        assert!(latency.min_us > 0.0 && latency.p50_us <= latency.p99_us, "{latency:?}");
    }
}

#[test]
fn through_a_switch_over_memif() {
    require!(root(), shuntd());
    let bench = Bench::start("memif", "");
    nothing_is_told_wrong(&bench.memif());
}

#[test]
fn through_a_switch_over_vhost_user_in_ordinary_pages() {
    require!(root(), shuntd());
    let bench = Bench::start("vhost-user", "");
    nothing_is_told_wrong(&bench.virtio());
}

/// A search (RFC 2544 section 26.1) finds the rate that is known beforehand: a policed port lets in so many frames a second, and a tenth
/// of a second's worth at once. A generator that is held up for longer than that loses what it catches up with: three attempts.
#[test]
fn a_search_finds_the_rate_of_a_policed_port() {
    require!(root(), shuntd());
    let bench = Bench::start("memif", &format!("police_frames = {POLICED}"));
    let search = "[search]\nloss_percent = [0.0]\nceiling = 10000\nresolution_percent = 2\ntrial_seconds = 1.0\nretries = 2\nlatency_seconds = 0.5\n";
    let (scenario, mut rig) = rig(&format!("{}{FRAMES}{search}", bench.memif()));
    let mut attempt = || {
        let outcome = session::run(&scenario, &mut rig).unwrap();
        let found = &outcome.found[0];
        // A trial of a second passes as long as what is above the rate finds room in what is let in at once.
        let (least, most) = (POLICED - 0.02 * 10_000.0, POLICED * 1.1 + 0.02 * 10_000.0);
        let right = (least..=most).contains(&found.frames_per_second) && !found.generator_bound;
        // At more than twice the rate half is lost, and the outcome says so.
        let first = &outcome.trials[0];
        let told = first.lost > first.offered / 3 && outcome.latency.as_ref().is_some_and(|it| it.lost == 0);
        let trials = outcome.trials.iter().map(|it| (it.offered_per_second, it.offered, it.lost));
        if right && told { Ok(()) } else { Err(format!("{found:?}, {:?}", trials.collect::<Vec<_>>())) }
    };
    let again = |error: String| eprintln!("{error}");
    let found = attempt()
        .or_else(|error| {
            again(error);
            attempt()
        })
        .or_else(|error| {
            again(error);
            attempt()
        });
    found.unwrap();
}
