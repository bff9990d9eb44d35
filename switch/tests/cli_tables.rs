//! Every table, character by character.

use shunt_switch::cli::show;
use shunt_switch::control::api::proto;

/// `table` as expected, and no line longer than 100 characters.
#[track_caller]
fn golden(table: &str, expected: &str) {
    assert_eq!(table, expected, "got:\n{table}\nexpected:\n{expected}");
    for line in table.lines() {
        assert!(line.chars().count() <= 100, "longer than 100 characters: {line}");
        assert_eq!(line.trim_end(), line, "spaces at the end");
    }
}

#[test]
fn ports() {
    let rows = [
        proto::Port {
            name: "pod1".into(),
            kind: "veth".into(),
            network: "blue".into(),
            admin_up: true,
            oper_up: true,
            link: true,
            rx_packets: 1_234_567,
            tx_packets: 89,
            drops: 3,
            missed: 12,
            about: "veth1, checksum, tso".into(),
            ..proto::Port::default()
        },
        proto::Port {
            name: "vm2".into(),
            kind: "vhost-user".into(),
            network: "blue".into(),
            about: "its device went away".into(),
            ..proto::Port::default()
        },
    ];
    golden(
        &show::ports(&rows),
        "\
PORT  KIND        NETWORK  ADMIN  OPER  LINK  RX-PKTS  TX-PKTS  DROPS  MISSED  ABOUT
pod1  veth        blue     up     up    up    1234567       89      3      12  veth1, checksum, tso
vm2   vhost-user  blue     down   down  down        0        0      0       0  its device went away
",
    );
    golden(&show::ports(&[]), "there are no ports; add one with `shunt port add`\n");
}

#[test]
fn fdb() {
    let entry = |mac: &str, port: &str, fixed, age| proto::FdbEntry {
        network: "blue".into(),
        mac: mac.into(),
        port: port.into(),
        fixed,
        age,
        peer: String::new(),
    };
    golden(
        &show::fdb(&[
            entry("02:00:00:00:00:01", "pod1", false, 12),
            entry("02:00:00:00:00:02", "l3", true, 0),
        ]),
        "\
NETWORK  MAC                PORT  ORIGIN   AGE-S
blue     02:00:00:00:00:01  pod1  learned     12
blue     02:00:00:00:00:02  l3    given        -
",
    );
    golden(&show::fdb(&[]), "no MAC address is known\n");
}

#[test]
fn workers() {
    let worker = proto::Worker {
        worker: 0,
        core: Some(1),
        packets: 5_000_000,
        busy_percent: 12.34,
        asleep_percent: 80.05,
        cycles_per_packet: 123.4,
        queues: vec!["pod1/0".into(), "pod2/0".into()],
        generation: 17,
        worst_swap_us: 4.25,
        cache: Some(proto::CacheUse {
            capacity: 65536,
            hits: 4_999_000,
            misses: 1000,
            hit_percent: 99.98,
            entered: 900,
            stale: 12,
            verified: 50,
            unsound: 0,
        }),
        pace: Some(proto::Iterations {
            busy: 400_000,
            full: 2_000,
            full_percent: 0.5,
            p99_us: 16.384,
            late: 0,
            worst_late_us: 0.0,
            late_age: None,
            latency: vec![],
        }),
        steal_seconds: 0.07,
        waited_seconds: 1.234,
        carried: Some(proto::WorkerCarried {
            rx_packets: 5_000_000,
            rx_bytes: 320_000_000,
            tx_packets: 4_999_000,
            tx_bytes: 319_936_000,
            taken: 3,
            drops: [("runt", 2), ("same_port", 900), ("no_station", 90), ("tx_full", 5)]
                .map(|(reason, count)| proto::WorkerDrop { reason: reason.into(), count })
                .into(),
        }),
        ..proto::Worker::default()
    };
    let floating = proto::Worker { worker: 1, core: None, ..proto::Worker::default() };
    golden(
        &show::workers(&[worker, floating]),
        "\
WORKER  CORE  BUSY-%  ASLEEP-%  PACKETS  CYCLES/PKT  GENERATION  WORST-SWAP-US  QUEUES
     0     1    12.3      80.0  5000000         123          17            4.2  pod1/0 pod2/0
     1     -     0.0       0.0        0           0           0            0.0

WORKER  BUSY-ITERATIONS  FULL-%  P99-US  OVER-5MS  LONGEST-MS  WAITED-S  STEAL-S
     0           400000     0.5    16.4         0           -      1.23     0.07
     1                0     0.0     0.0         0           -      0.00     0.00

WORKER  CACHE-FLOWS     HITS  MISSES  HIT-%  ENTERED  STALE  VERIFIED  UNSOUND
     0        65536  4999000    1000  100.0      900     12        50        0

WORKER  RX-PKTS   RX-BYTES  TX-PKTS   TX-BYTES  TAKEN  DROPS  REASONS
     0  5000000  320000000  4999000  319936000      3    997  same_port 900, no_station 90, tx_full
                                                              5, and 1 more
     1        0          0        0          0      0      0
",
    );
    let cache = |capacity, unsound| Some(proto::CacheUse { capacity, unsound, ..proto::CacheUse::default() });
    let off = proto::Worker { cache: cache(0, 0), ..proto::Worker::default() };
    let text = show::workers(&[off]);
    let said = "\n\nthe flow cache is off (`entries = 0` under [flow_cache])\n\n";
    assert!(text.contains(said), "{text}");

    let pace = proto::Iterations {
        late: 4,
        worst_late_us: 12_345.6,
        late_age: Some(61),
        ..proto::Iterations::default()
    };
    let late = proto::Worker { worker: 2, pace: Some(pace), ..proto::Worker::default() };
    golden(
        show::workers(&[late]).split("\n\n").nth(1).unwrap(),
        "\
WORKER  BUSY-ITERATIONS  FULL-%  P99-US  OVER-5MS  LONGEST-MS  WAITED-S  STEAL-S
     2                0     0.0     0.0         4        12.3      0.00     0.00
ALARM: worker 2 made frames late 4 times, by up to 12.3 ms, the last time 1m 1s ago;
where WAITED-S or STEAL-S grows, something else has its core (`cores` under [workers])",
    );

    let alarm = proto::Worker { worker: 3, cache: cache(16, 2), ..proto::Worker::default() };
    let text = show::workers(&[alarm]);
    golden(
        text.split("\n\n").nth(2).unwrap(),
        "\
WORKER  CACHE-FLOWS  HITS  MISSES  HIT-%  ENTERED  STALE  VERIFIED  UNSOUND
     3           16     0       0    0.0        0      0         0        2
ALARM: worker 3 held 2 cached decisions that the stages decide otherwise: a defect of the switch;
turn the cache off (`entries = 0` under [flow_cache], restart) and report it",
    );
}

#[test]
fn topology() {
    let network = proto::Network {
        name: "blue".into(),
        members: (0..20).map(|n| format!("pod{n}")).collect(),
        macs: 20,
        mac_limit: 8192,
        mac_moves: 1,
        mac_refused: 0,
        neighbors: 2,
        mtu: 1500,
        ..proto::Network::default()
    };
    let row = proto::Topology {
        generation: 17,
        networks: vec![network],
        ports: 20,
        workers: 2,
        mbufs: Some(proto::Mbufs { total: 16384, free: 16000 }),
        hugepages: true,
        uptime: 3723,
        routers: Vec::new(),
        connections: Some(proto::ConnectionTable {
            entries: 1200,
            capacity: 65_536,
            half_open: 3,
            pressure_percent: 1.8,
        }),
    };
    golden(
        &show::topology(&row),
        "\
generation  17
uptime      1h 2m
ports       20
workers     2
buffers     16000 free of 16384, in hugepages
connections 1200 of 65536 (1.8 %), 3 half-open

NETWORK   MTU  MACS  LIMIT  MOVES  REFUSED  NEIGHBORS  PORTS-UP
blue     1500    20   8192      1        0          2  pod0 pod1 pod2 pod3 pod4 pod5 pod6 pod7 pod8
                                                       pod9 pod10 pod11 pod12 pod13 pod14 pod15
                                                       pod16 pod17 pod18 pod19
",
    );
}

#[test]
fn routed_networks() {
    let network = |name: &str, gateways: &[&str], mac: &str| proto::Network {
        name: name.into(),
        mtu: 1500,
        router: if mac.is_empty() { String::new() } else { "r".into() },
        gateways: gateways.iter().map(ToString::to_string).collect(),
        gateway_mac: mac.into(),
        ..proto::Network::default()
    };
    let route = |(to, via, network): &(&str, &str, &str)| proto::Route {
        to: (*to).into(),
        via: (*via).into(),
        network: (*network).into(),
        unreachable: *to == "10.20.0.0/16",
    };
    let routes = [
        ("0.0.0.0/0", "10.0.2.254", "right"),
        ("10.0.1.0/24", "", "left"),
        ("10.20.0.0/16", "", ""),
        ("192.168.0.0/16", "", ""),
    ];
    let row = proto::Topology {
        networks: vec![
            network("alone", &[], ""),
            network("left", &["10.0.1.1/24", "fd00:1::1/64"], "02:00:00:00:00:fe"),
            proto::Network {
                peers_wrong: "/p.toml:1:1: peers: wrong".into(),
                ..network("right", &["10.0.2.1/24"], "02:ad:a2:04:1c:b0")
            },
        ],
        routers: vec![
            proto::Router {
                name: "r".into(),
                networks: vec!["left".into(), "right".into()],
                route_count: 100_005,
                routes: routes.iter().map(route).collect(),
            },
            proto::Router { name: "idle".into(), ..proto::Router::default() },
        ],
        ..proto::Topology::default()
    };
    let text = show::topology(&row);
    let routing = text.find("\nNETWORK  ROUTER").expect("the gateways have a table");
    golden(
        &text[routing..],
        "
NETWORK  ROUTER  GATEWAY-MAC        GATEWAYS
left     r       02:00:00:00:00:fe  10.0.1.1/24 fd00:1::1/64
right    r       02:ad:a2:04:1c:b0  10.0.2.1/24

ROUTER  TO              VIA          NETWORK
r       0.0.0.0/0       10.0.2.254   right
r       10.0.1.0/24     connected    left
r       10.20.0.0/16    unreachable  -
r       192.168.0.0/16  blackhole    -
r: the first 4 of 100005 routes
right: peers_file is not in force: /p.toml:1:1: peers: wrong
",
    );
}

#[test]
fn drops() {
    let row = proto::Drop {
        port: "pod1".into(),
        reason: "no_buffers".into(),
        count: 42,
        text: "No free buffer in the pool for a copy or a segment; raise `mbufs` under [memory].".into(),
    };
    golden(
        &show::drops(&[row]),
        "\
PORT  REASON      FRAMES  MEANING
pod1  no_buffers      42  No free buffer in the pool for a copy or a segment; raise `mbufs` under
                          [memory].
",
    );
    golden(&show::drops(&[]), "nothing was dropped\n");
}

#[test]
fn generations() {
    let row = |generation, done: bool| proto::Generation {
        generation,
        cause: "configuration applied".into(),
        changes: vec!["PortAdded(\"a\")".into(), "TablesRebuilt(\"blue\")".into()],
        age: 7,
        build_us: 104.5,
        in_force_us: done.then_some(5.1),
        worst_stall_us: done.then_some(0.3),
        worst_before_us: done.then_some(0.2),
    };
    golden(
        &show::generations(&[row(18, false), row(17, true)]),
        "\
GENERATION  AGE-S  BUILD-US  IN-FORCE-US  STALL-US  CAUSE                  CHANGES
        18      7     104.5            -         -  configuration applied  PortAdded(\"a\")
                                                                           TablesRebuilt(\"blue\")
        17      7     104.5          5.1       0.3  configuration applied  PortAdded(\"a\")
                                                                           TablesRebuilt(\"blue\")
",
    );
}

#[test]
fn health() {
    let mut row =
        proto::Healthy { version: "0.1.0".into(), generation: 3, uptime: 59, ports: 2, ports_failed: 0 };
    golden(&show::health(&row), "shuntd 0.1.0 works: generation 3, up 59s, ports: 2\n");
    (row.uptime, row.ports_failed) = (90_000, 1);
    golden(
        &show::health(&row),
        "shuntd 0.1.0 works: generation 3, up 1d 1h, ports: 2, 1 of them not open (see `shunt show ports`)\n",
    );
}
