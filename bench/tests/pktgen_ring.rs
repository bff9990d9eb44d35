//! The generator end to end over a device that gives back what it is sent, and over one that gives nothing.

use std::time::Duration;

use shunt_bench::pktgen::pace::Load;
use shunt_bench::pktgen::rig::Rig;
use shunt_bench::pktgen::scenario::Scenario;
use shunt_bench::pktgen::session;
use shunt_bench::pktgen::traffic::Traffic;
use shunt_bench::pktgen::trial::Trial;
use shunt_ffi::alloc_count::{self, CountingAllocator};
use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_tests::require;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn scenario(text: &str) -> Scenario {
    Scenario::parse(text, "test").unwrap()
}

fn rig(scenario: &Scenario) -> Rig {
    let memory = Memory::Ordinary { megabytes: 256 };
    let eal = Eal::start_as_guest(&EalOptions { memory, pci: false }).unwrap();
    Rig::open(eal, &scenario.devices, Traffic::new(scenario).unwrap()).unwrap()
}

fn trial(rig: &mut Rig, load: Load) -> Trial {
    rig.trial(load, Duration::from_millis(300), |_| Ok(())).unwrap()
}

#[test]
fn a_loop_loses_nothing_and_keeps_the_order() {
    require!(root());
    let scenario = scenario(
        "[devices]\ntx = \"net_ring0\"\n[frames]\nsizes = [64, 1518, 9000]\nprotocols = [\"udp4\", \"tcp6\"]\nvlan = 7\n\
         [flows]\ncount = 1000\norder = \"shuffled\"\n[rate]\nframes_per_second = 100000\n",
    );
    let mut rig = rig(&scenario);
    for load in [Load::Rate(100_000.0), Load::Burst { frames: 50, gap: Duration::from_millis(1) }] {
        let told = trial(&mut rig, load);
        // The loop catches up when it was held up, so the rate is met but for the last burst, and for as long as the system
        // may have held it up at the very end: no longer than some frame was on its way.
        let rate = load.frames_per_second().unwrap();
        let wanted = rate * told.length.as_secs_f64();
        let held_up = told.warm.latency.as_ref().unwrap().max_us / 1e6;
        assert!((told.count.offered as f64 - wanted).abs() <= 0.02 * wanted + rate * held_up, "{told:?}");
        assert_eq!(
            (told.lost(), told.duplicates, told.reordered, told.late, told.foreign),
            (0, 0, 0, 0, 0),
            "{told:?}"
        );
        assert_eq!((told.count.sent, told.count.refused), (told.count.offered, 0));
        assert_eq!((told.cold.offered, told.cold.received), (1000, 1000));
        assert_eq!(told.cold.received + told.warm.received, told.received);
        let latency = told.warm.latency.unwrap();
        assert_eq!(latency.frames, told.warm.received);
        assert!(latency.min_us < latency.p99_us && latency.p99_us <= latency.max_us, "{latency:?}");
    }
}

#[test]
fn the_loop_allocates_nothing() {
    require!(root());
    let scenario = scenario(
        "[devices]\ntx = \"net_ring0\"\n[frames]\nmix = \"imix\"\n[flows]\ncount = 100\n[fastest]\n",
    );
    let mut rig = rig(&scenario);
    let mut seen = Vec::with_capacity(100);
    rig.trial(Load::Rate(50_000.0), Duration::from_millis(550), |sofar| {
        seen.push((alloc_count::allocations(), sofar.received));
        Ok(())
    })
    .unwrap();
    let (first, last) = (seen[0], seen[seen.len() - 1]);
    assert!(seen.len() > 2 && last.1 > first.1 + 5_000, "there was no traffic in between: {seen:?}");
    assert_eq!(first.0, last.0);
}

#[test]
fn as_fast_as_it_goes_loses_nothing_before_it_is_sent() {
    require!(root());
    let scenario = scenario("[devices]\ntx = \"net_ring0\"\n[fastest]\n");
    let told = trial(&mut rig(&scenario), Load::Fastest);
    assert_eq!((told.lost(), told.count.refused, told.reordered), (0, 0, 0), "{told:?}");
    assert!(told.received > 10_000, "{told:?}");
}

#[test]
fn what_does_not_come_back_is_lost_and_a_search_finds_nothing() {
    require!(root());
    let scenario = scenario(
        "[devices]\ntx = \"net_null0\"\nrx = \"net_null1,no-rx=1\"\nprobe = false\n\
         [search]\nloss_percent = [0.0]\nceiling = 100000\nresolution_percent = 30\ntrial_seconds = 0.05\n",
    );
    let outcome = session::run(&scenario, &mut rig(&scenario)).unwrap();
    assert_eq!(outcome.found[0].frames_per_second, 0.0);
    assert!(
        outcome.trials.iter().all(|trial| trial.lost == trial.offered && trial.offered > 0),
        "{outcome:?}"
    );
    assert!(outcome.latency.is_none());
}

#[test]
fn frames_of_a_capture_are_counted() {
    require!(root());
    let dir = tempfile::tempdir().unwrap();
    let capture = dir.path().join("in.pcap");
    shunt_bench::frames::write(&capture, shunt_bench::frames::regular(100)).unwrap();
    let text = format!(
        "[devices]\ntx = \"net_ring0\"\n[frames]\npcap = {capture:?}\n[rate]\nframes_per_second = 20000\n"
    );
    let told = trial(&mut rig(&scenario(&text)), Load::Rate(20_000.0));
    assert_eq!((told.lost(), told.cold.latency), (0, None));
    assert!(told.received > 5_000, "{}", told.received);
}
