//! A worker allocates nothing: an allocator that counts watches the worker threads while frames of every fate go
//! through them (known, flooded, answered, dropped, learned), topologies change under them and their caches are dumped.

use std::time::{Duration, Instant};

use shunt_ffi::alloc_count::{self, CountingAllocator};
use shunt_switch::control::Control;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A capture with unicast, broadcast, ARP, runt and group-source frames.
fn capture(path: &std::path::Path) {
    let mut file =
        vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];
    let unicast = |last: u8| {
        let mut frame = vec![2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, last, 8, 0];
        frame.resize(60, 0);
        frame
    };
    let mut frames: Vec<Vec<u8>> = (0..50).map(unicast).collect();
    let mut broadcast = unicast(1);
    broadcast[..6].fill(0xff);
    let mut unknown = unicast(2);
    unknown[5] = 0x77;
    let mut group_source = unicast(3);
    group_source[6] |= 1;
    frames.extend([broadcast, unknown, group_source, vec![1; 10]]);
    for frame in frames {
        let length = (frame.len() as u32).to_le_bytes();
        file.extend([[0; 4], [0; 4], length, length].concat());
        file.extend(frame);
    }
    std::fs::write(path, file).unwrap();
}

#[test]
fn workers_allocate_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("in.pcap");
    capture(&path);
    let text = format!(
        "[memory]\nhugepages = \"never\"\n[workers]\nmax_sleep = \"100us\"\n\
         [[port]]\nname = \"in\"\nkind = \"dpdk\"\ndevargs = \"net_pcap0,rx_pcap={},infinite_rx=1\"\n\
         [[port]]\nname = \"out\"\nkind = \"dpdk\"\ndevargs = \"net_null0,no-rx=1\"\nstations = [\"02:00:00:00:00:fe\"]\n\
         [[port]]\nname = \"other\"\nkind = \"dpdk\"\ndevargs = \"net_null1,no-rx=1\"\n",
        path.display()
    );
    let config = shunt_config::parse(&text, "test").unwrap();
    let mut control = Control::start(&config).unwrap();
    let errors = control.apply_at_start(&config);
    assert!(errors.is_empty(), "{errors:?}");
    let running = control.spawn().unwrap();
    let handle = running.handle();
    let packets = || handle.call(|control| control.workers()[0].packets).unwrap();

    // Past the first frames: thread start and lazily made thread-locals are not the data path.
    let deadline = Instant::now() + Duration::from_secs(20);
    while packets() < 10_000 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    alloc_count::watch("shunt-worker");
    // The watch itself works: a thread of that name that allocates is seen.
    let probe = std::thread::Builder::new().name("shunt-worker-probe".into());
    probe.spawn(|| std::hint::black_box(Box::new(1_u64))).unwrap().join().unwrap();
    let seen = alloc_count::watched();
    assert!(seen > 0, "the counting allocator does not see a worker's allocation");
    let before = packets();
    for round in 0..20 {
        let up = round % 2 == 1;
        handle.call(move |control| control.set_port("other", up)).unwrap().unwrap();
        let (flows, _) = handle.call(|control| control.flows(100, None)).unwrap().unwrap();
        assert!(!flows.is_empty(), "no flow is cached in round {round}");
    }
    while packets() < before + 200_000 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let moved = packets() - before;
    let allocated = alloc_count::watched() - seen;
    let drops = handle.call(|control| control.drops()).unwrap();
    running.stop();
    assert!(moved >= 200_000, "only {moved} frames moved");
    for reason in ["runt", "source_is_group"] {
        assert!(drops.iter().any(|row| row.reason == reason), "no frame met {reason}: {drops:?}");
    }
    assert_eq!(allocated, 0, "a worker allocated {allocated} times while moving {moved} frames");
}
