//! JSON of a message equals JSON of its row, with every field different from its default.

use std::fmt::Debug;

use serde::Serialize;

use super::*;

/// The JSON of `row` and of the message made of it.
#[track_caller]
fn same<Row, Message>(row: Row)
where
    Row: Serialize + Clone + Debug,
    Message: From<Row> + Serialize,
{
    let wanted = serde_json::to_value(&row).unwrap();
    let found = serde_json::to_value(Message::from(row)).unwrap();
    assert_eq!(found, wanted);
}

fn network() -> NetworkRow {
    NetworkRow {
        name: "blue".into(),
        members: vec!["a".into(), "b".into()],
        macs: 1,
        mac_limit: 2,
        mac_moves: 3,
        mac_refused: 4,
        neighbors: 5,
        neighbors_refused: 6,
        mtu: 1500,
        router: "r".into(),
        gateways: vec!["10.0.1.1/24".into(), "fd00:1::1/64".into()],
        gateway_mac: "02:00:00:00:00:fe".into(),
        peers_wrong: "line 1".into(),
    }
}

fn router() -> RouterRow {
    let route =
        RouteRow { to: "::/0".into(), via: "fd00:1::2".into(), network: "blue".into(), unreachable: true };
    RouterRow { name: "r".into(), networks: vec!["blue".into()], route_count: 6, routes: vec![route] }
}

fn worker(core: Option<usize>) -> WorkerRow {
    WorkerRow {
        worker: 1,
        core,
        packets: 2,
        busy_percent: 12.5,
        asleep_percent: 80.25,
        cycles_per_packet: 99.5,
        iterations: 3,
        sleeps: 4,
        queues: vec!["a/0".into()],
        generation: 5,
        worst_swap_us: 6.5,
        lessons_lost: 7,
        tx_contended: 8,
        replies: 19,
        replies_limited: 20,
        held: 21,
        pace: Iterations {
            busy: 22,
            full: 23,
            full_percent: 24.5,
            p99_us: 25.5,
            late: 26,
            worst_late_us: 27.5,
            late_age: core.map(|core| core as u64 + 28),
            latency: vec![29, 30],
        },
        steal_seconds: 31.5,
        waited_seconds: 32.5,
        cycles: Cycles { total: 9, busy: 10, slept: 11, hz: u64::MAX },
        cache: CacheUse {
            capacity: 12,
            hits: 13,
            misses: 14,
            hit_percent: 48.25,
            entered: 15,
            stale: 16,
            verified: 17,
            unsound: 18,
        },
        carried: Carried {
            rx_packets: 33,
            rx_bytes: 34,
            tx_packets: 35,
            tx_bytes: 36,
            taken: 37,
            drops: vec![WorkerDrop { reason: "runt", count: 38 }],
        },
    }
}

fn generation(done: bool) -> GenerationRow {
    GenerationRow {
        generation: 1,
        cause: "start".into(),
        changes: vec!["PortAdded(a)".into()],
        age: 2,
        build_us: 3.5,
        in_force_us: done.then_some(4.5),
        worst_stall_us: done.then_some(5.5),
        worst_before_us: done.then_some(6.5),
    }
}

#[test]
fn every_row() {
    same::<PortRow, proto::Port>(PortRow {
        name: "a".into(),
        kind: "veth".into(),
        network: "blue".into(),
        admin_up: true,
        oper_up: true,
        link: true,
        mtu: 9000,
        queues: vec![(0, 1), (1, 0)],
        rx_packets: 1,
        rx_bytes: 2,
        tx_packets: 3,
        tx_bytes: 4,
        taken: 10,
        full_bursts: 77,
        drops: 5,
        missed: 6,
        deaths: 7,
        rx_ring: Some(512),
        tx_ring: Some(1024),
        seconds: 8,
        about: "veth".into(),
        slot: 9,
        tag: Some(10),
        trunks: vec![11, 12],
        service_tag: true,
        endpoints: vec!["02:00:00:00:00:01 10.0.0.1".into()],
    });
    same::<RouteEntry, proto::RouteEntry>(RouteEntry {
        router: "r".into(),
        to: "10.0.0.0/8".into(),
        kind: "via",
        via: "10.0.0.1".into(),
        network: "blue".into(),
        port: "a".into(),
        source: "10.0.0.2".into(),
        onlink: true,
    });
    same::<NeighborEntry, proto::NeighborEntry>(NeighborEntry {
        network: "blue".into(),
        address: "10.0.0.1".into(),
        mac: "02:00:00:00:00:01".into(),
        port: "a".into(),
        fixed: true,
        own: true,
        age: 1,
    });
    same::<RuleRow, proto::Rule>(RuleRow {
        table: 1,
        priority: 2,
        r#match: vec!["ip".into()],
        actions: vec!["drop".into()],
        packets: 3,
        bytes: 4,
        cookie: 5,
        age_us: 6,
    });
    same::<FdbRow, proto::FdbEntry>(FdbRow {
        network: "blue".into(),
        mac: "02:00:00:00:00:01".into(),
        port: "a".into(),
        fixed: true,
        age: 9,
        peer: "10.0.0.1".into(),
    });
    same::<WorkerRow, proto::Worker>(worker(Some(1)));
    same::<WorkerRow, proto::Worker>(worker(None));
    same::<DropRow, proto::Drop>(DropRow { port: "a".into(), reason: "runt", count: 1, text: "Short." });
    same::<GenerationRow, proto::Generation>(generation(true));
    same::<GenerationRow, proto::Generation>(generation(false));
    same::<NetworkRow, proto::Network>(network());
    same::<TopologyRow, proto::Topology>(TopologyRow {
        generation: 1,
        networks: vec![network()],
        routers: vec![router()],
        ports: 2,
        workers: 3,
        mbufs: (16384, 12000),
        hugepages: true,
        uptime: 4,
        connections: Some(ConnectionTableRow {
            entries: 1,
            capacity: 2,
            half_open: 3,
            pressure_percent: 50.0,
        }),
    });
}

#[test]
fn flows_and_traces() {
    same::<FlowRow, proto::Flow>(FlowRow {
        worker: 1,
        port: "a".into(),
        r#match: "ip4.dst==10.0.0.2".into(),
        packets: 2,
        bytes: 3,
        age: 4,
        generation: 5,
        stale: true,
        actions: vec!["dec ip4.ttl".into(), "output:b".into()],
    });
    let frame = || FrameRow { hex: "0200".into(), length: 2, summary: "short".into() };
    for dropped in [None, Some("runt")] {
        same::<TraceRow, proto::Traced>(TraceRow {
            generation: 1,
            port: "a".into(),
            network: "blue".into(),
            assumed: vec!["ip.ttl==64 (usual)".into()],
            before: frame(),
            r#match: "ip4.dst==10.0.0.2".into(),
            tables: vec![TableRow { table: 16, name: "lookup", steps: vec!["matched".into()] }],
            steps: vec!["pod: a".into()],
            actions: vec!["output:b".into()],
            after: dropped.is_none().then(frame),
            verdict: "output to b".into(),
            drop: dropped,
            outputs: vec![OutputRow {
                port: "b".into(),
                by: None,
                member: None,
                outcome: "sent".into(),
                drop: dropped,
            }],
            cacheable: true,
            rests_on: vec!["port a".into()],
            about: Vec::new(),
            asks: None,
            effects: vec!["learn".into()],
        });
    }
}

#[test]
fn bonds() {
    use crate::control::bonds::BondRow;
    use crate::port::bond::{BondStatus, MemberStatus, SideStatus};
    let side = |n: u16| SideStatus {
        system: "02:00:00:00:00:01".into(),
        system_priority: n,
        key: n + 1,
        port: n + 2,
        port_priority: n + 3,
        state: vec!["activity".into()],
    };
    let member = MemberStatus {
        name: "nic0".into(),
        link: true,
        collecting: true,
        distributing: true,
        receive: "current".into(),
        mux: "distributing".into(),
        actor: Some(side(1)),
        partner: Some(side(10)),
        lacpdus_heard: 1,
        lacpdus_sent: 2,
        markers: 3,
        malformed: 4,
        unheard: 5,
        rx_packets: 6,
        tx_packets: 7,
        refused: 8,
        missed: 9,
        about: "driver".into(),
    };
    let status = BondStatus {
        mode: "lacp".into(),
        rate: "fast".into(),
        hash: "layer2".into(),
        min_links: 2,
        system: "02:00:00:00:00:02".into(),
        up: true,
        changes: 3,
        looped: 4,
        members: vec![member, MemberStatus::default()],
    };
    same::<_, proto::Bond>(BondRow { port: "bond0".into(), status });
}
