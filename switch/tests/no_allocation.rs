//! A worker allocates nothing: an allocator that counts watches the worker threads while frames of every fate go
//! through them (known, flooded, routed, answered, asked for, dropped, learned, copied to a mirror, policed; from the cache, by the stages,
//! verified),
//! topologies change under them and their caches are dumped.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shunt_ffi::alloc_count::{self, CountingAllocator};
use shunt_switch::control::Control;
use shunt_tests::frames::{Body, Frame, Ipv6, Payload, Transport};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The gateway of the network that is routed.
const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0xff, 1];

/// Unicast, broadcast, unknown, group-source frames and a runt, for the bridge.
fn bridged() -> Vec<Vec<u8>> {
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
    frames
}

/// Packets for the gateway, more flows than the cache has places, and those that routing refuses or answers.
fn routed() -> Vec<Vec<u8>> {
    let source = |last| [2, 0, 0, 0, 1, last];
    let v4 = |host: u8, to: [u8; 4], ttl: u8| {
        let mut frame = Frame { dst: GATEWAY, src: source(host), ..Frame::plain() };
        if let Body::Ipv4(ip, _) = &mut frame.body {
            (ip.source, ip.destination, ip.ttl) = ([10, 0, 1, host], to, ttl);
        }
        frame.bytes()
    };
    let v6 = |host: u8, to: u8| {
        let address = |network: u8, host: u8| {
            let mut address = [0xfd, 0, 0, network, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            address[15] = host;
            address
        };
        let ip = Ipv6 {
            source: address(1, host),
            destination: address(2, to),
            class: 0,
            hop_limit: 64,
            extensions: vec![],
        };
        let payload = Payload { transport: Transport::Udp(1, 2, true), data: vec![0; 9] };
        Frame { dst: GATEWAY, src: source(host), body: Body::Ipv6(ip, payload), ..Frame::plain() }.bytes()
    };
    let arp = |operation: u8, host: u8| {
        let mut frame = [[0xff; 6], source(host)].concat();
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
        frame.extend([source(host).as_slice(), &[10, 0, 1, host], &[0; 6], &[10, 0, 1, 1]].concat());
        frame
    };
    let mut frames: Vec<Vec<u8>> = (10..60).map(|host| v4(host, [10, 0, 2, 10], 64)).collect();
    frames.extend((10..40).map(|host| v6(host, 0x10)));
    // A few flows that have most of the packets, so that there are hits in so small a cache.
    for _ in 0..3 {
        frames.extend(std::iter::repeat_n(v4(10, [10, 0, 2, 10], 64), 40));
        frames.extend(std::iter::repeat_n(v6(10, 0x10), 40));
    }
    // Longer than the other network takes: told, or cut; a SYN whose MSS is lowered; an echo request for the gateway.
    for whole in [true, false] {
        let mut frame = Frame { dst: GATEWAY, src: source(10), ..Frame::plain() };
        if let Body::Ipv4(ip, payload) = &mut frame.body {
            (ip.source, ip.destination, ip.whole) = ([10, 0, 1, 10], [10, 0, 2, 10], whole);
            payload.data = vec![7; 1400];
        }
        frames.push(frame.bytes());
    }
    let mut syn = v4(10, [10, 0, 2, 10], 64);
    syn.truncate(34);
    syn[16..18].copy_from_slice(&44_u16.to_be_bytes());
    syn[23] = 6;
    syn.extend([0, 80, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 9, 9, 0, 0, 0, 0, 2, 4, 5, 0xb4]);
    let mut echo = v4(10, [10, 0, 1, 1], 64);
    echo[23] = 1;
    echo[34..42].copy_from_slice(&[8, 0, 0, 0, 0, 1, 0, 1]);
    frames.extend([syn, echo]);
    frames.extend([
        v4(10, [10, 0, 2, 77], 64),
        v6(10, 0x77),
        v4(10, [10, 0, 2, 10], 1),
        v4(10, [192, 0, 2, 1], 64),
        v4(10, [198, 51, 100, 1], 64),
        v4(10, [10, 0, 2, 1], 64),
        v4(10, [224, 0, 0, 5], 64),
        arp(1, 10),
        arp(2, 11),
    ]);
    frames
}

/// Writes frames as a capture file.
fn write(path: &Path, frames: Vec<Vec<u8>>) {
    let mut file =
        vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];
    for frame in frames {
        let length = (frame.len() as u32).to_le_bytes();
        file.extend([[0; 4], [0; 4], length, length].concat());
        file.extend(frame);
    }
    std::fs::write(path, file).unwrap();
}

/// Writes both captures.
fn captures(directory: &Path) -> [PathBuf; 2] {
    let paths = ["bridged", "routed"].map(|name| directory.join(name));
    write(&paths[0], bridged());
    write(&paths[1], routed());
    paths
}

/// A bridge, and two networks with a router; a cache of 16 places that is verified. Everything that is routed goes to one
/// station, which is behind port `active`: `server0` or `server1`.
fn config_of([bridged, routed]: &[PathBuf; 2], active: usize) -> shunt_config::Config {
    let mut text = format!(
        "[memory]\nhugepages = \"never\"\n[workers]\nmax_sleep = \"100us\"\n\
         [flow_cache]\nentries = 16\nverify = 7\n\
         [[router]]\nname = \"r\"\nroutes = [{{ to = \"192.0.2.0/24\", blackhole = true }}]\n\
         [[network]]\nname = \"default\"\n\
         [[network]]\nname = \"left\"\nrouter = \"r\"\ngateways = [\"10.0.1.1/24\", \"fd00:1::1/64\"]\n\
         gateway_mac = \"02:00:00:00:ff:01\"\n\
         [[network]]\nname = \"right\"\nrouter = \"r\"\ngateways = [\"10.0.2.1/24\", \"fd00:2::1/64\"]\n\
         mtu = 1280\nmss_clamp = true\n\
         [[port]]\nname = \"in\"\nkind = \"dpdk\"\ndevargs = \"net_pcap0,rx_pcap={},infinite_rx=1\"\n\
         mirror = \"span\"\nmirror_direction = \"both\"\npolice_frames = 20000\n\
         [[port]]\nname = \"out\"\nkind = \"dpdk\"\ndevargs = \"net_null0,no-rx=1\"\nstations = [\"02:00:00:00:00:fe\"]\n\
         [[network]]\nname = \"spans\"\n[[port]]\nname = \"span\"\nnetwork = \"spans\"\nkind = \"dpdk\"\n\
         devargs = \"net_null2,no-rx=1\"\n\
         [[port]]\nname = \"other\"\nkind = \"dpdk\"\ndevargs = \"net_null1,no-rx=1\"\n\
         [[port]]\nname = \"pods\"\nnetwork = \"left\"\nkind = \"dpdk\"\ndevargs = \"net_pcap1,rx_pcap={},infinite_rx=1\"\n",
        bridged.display(),
        routed.display()
    );
    for server in 0..2 {
        let station = "{ mac = \"02:00:00:00:02:10\", ip = [\"10.0.2.10\", \"fd00:2::10\"] }";
        text += &format!(
            "[[port]]\nname = \"server{server}\"\nnetwork = \"right\"\nkind = \"dpdk\"\n\
             devargs = \"net_null1{server},no-rx=1\"\nendpoints = [{}]\n",
            if server == active { station } else { "" }
        );
    }
    shunt_config::parse(&text, "test").unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn workers_allocate_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let captures = captures(directory.path());
    let config = config_of(&captures, 0);
    let mut control = Control::start(&config).unwrap();
    let errors = control.apply_at_start(&config);
    assert!(errors.is_empty(), "{errors:?}");
    let running = control.spawn().unwrap();
    let handle = running.handle();
    let worker = || handle.call(|control| control.workers().remove(0)).unwrap();
    let packets = || worker().packets;

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
    let before = worker();
    for round in 0..20 {
        let up = round % 2 == 1;
        handle.call(move |control| control.set_port("other", up)).unwrap().unwrap();
        // The station that all routed flows rest on moves to the other port.
        let moved = config_of(&captures, (round + 1) % 2);
        handle.call(move |control| control.apply(&moved)).unwrap().unwrap();
        let (flows, _) = handle.call(|control| control.flows(100, None)).unwrap().unwrap();
        assert!(!flows.is_empty(), "no flow is cached in round {round}");
    }
    while packets() < before.packets + 200_000 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let after = worker();
    let allocated = alloc_count::watched() - seen;
    let (drops, ports) = handle.call(|control| (control.drops(), control.ports())).unwrap();
    running.stop();
    let moved = after.packets - before.packets;
    assert!(moved >= 200_000, "only {moved} frames moved");
    // What the figure is about did happen, while it was counted.
    let (old, new) = (before.cache, after.cache);
    assert!(new.hits - old.hits > 10_000 && new.misses - old.misses > 10_000, "{old:?} {new:?}");
    assert!(new.entered - old.entered > 16, "no flow was displaced: {old:?} {new:?}");
    assert!(new.verified - old.verified > 1_000 && new.unsound == 0, "{old:?} {new:?}");
    assert!(new.stale > old.stale, "no flow met a changed topology: {old:?} {new:?}");
    let refused = [
        "runt",
        "source_is_group",
        "ttl_exceeded",
        "blackhole",
        "no_route",
        "for_switch",
        "not_routable",
        "neighbor_unresolved",
        "too_big",
        "policed",
    ];
    for reason in refused {
        assert!(drops.iter().any(|row| row.reason == reason), "no frame met {reason}: {drops:?}");
    }
    let (said, unsaid) = (after.replies - before.replies, after.replies_limited - before.replies_limited);
    assert!(said > 100 && unsaid > 1_000, "{said} replies were sent and {unsaid} were not");
    let sent = |name: &str| ports.iter().find(|port| port.name == name).map_or(0, |port| port.tx_packets);
    assert!(sent("server0") > 1_000 && sent("server1") > 1_000, "hardly anything was routed: {ports:?}");
    assert!(sent("pods") > 100, "no question was answered: {ports:?}");
    assert_eq!(allocated, 0, "a worker allocated {allocated} times while moving {moved} frames");
}
