//! Receive queues move between workers while frames flow, and nothing is lost: a capture of known length is played in,
//! its queue is moved to and fro until it ends, and as many frames come out.

use std::time::{Duration, Instant};

use shunt_switch::control::{Control, Handle};

const FRAMES: u64 = 600_000;

fn text(pcap: &std::path::Path, worker: usize) -> String {
    format!(
        "[memory]\nhugepages = \"never\"\n[workers]\ncount = 2\nmax_sleep = \"100us\"\n\
         [[port]]\nname = \"in\"\nkind = \"dpdk\"\ndevargs = \"net_pcap0,rx_pcap={}\"\nplacement = [{worker}]\n\
         [[port]]\nname = \"out\"\nkind = \"dpdk\"\ndevargs = \"net_null0,no-rx=1\"\nstations = [\"02:00:00:00:00:fe\"]\n",
        pcap.display()
    )
}

fn received(handle: &Handle) -> u64 {
    let ports = handle.call(|control| control.ports()).unwrap();
    ports.iter().find(|port| port.name == "in").unwrap().rx_packets
}

#[test]
fn a_queue_moves_between_workers_without_loss() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("in.pcap");
    let mut file =
        vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];
    for _ in 0..FRAMES {
        file.extend([[0; 4], [0; 4], 60_u32.to_le_bytes(), 60_u32.to_le_bytes()].concat());
        file.extend([2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1, 8, 0]);
        file.extend([0; 46]);
    }
    std::fs::write(&path, file).unwrap();

    let config = shunt_config::parse(&text(&path, 0), "test").unwrap();
    let mut control = Control::start(&config).unwrap();
    let errors = control.apply_at_start(&config);
    assert!(errors.is_empty(), "{errors:?}");
    let running = control.spawn().unwrap();
    let handle = running.handle();

    let deadline = Instant::now() + Duration::from_secs(30);
    let mut moves_under_way = 0;
    let mut worker = 0;
    while received(&handle) < FRAMES && Instant::now() < deadline {
        worker = 1 - worker;
        let next = shunt_config::parse(&text(&path, worker), "test").unwrap();
        handle.call(move |control| control.apply(&next)).unwrap().unwrap();
        let ports = handle.call(|control| control.ports()).unwrap();
        let port = ports.iter().find(|port| port.name == "in").unwrap();
        assert_eq!(port.queues, [(0, worker)]);
        if port.rx_packets < FRAMES {
            moves_under_way += 1;
        }
    }
    let (ports, workers, drops) =
        handle.call(|control| (control.ports(), control.workers(), control.drops())).unwrap();
    running.stop();
    let port = |name: &str| ports.iter().find(|port| port.name == name).unwrap();
    assert!(drops.is_empty(), "{drops:?}");
    assert_eq!(port("in").rx_packets, FRAMES);
    assert_eq!(port("out").tx_packets, FRAMES);
    assert!(
        moves_under_way >= 10,
        "only {moves_under_way} moves while frames flowed: the capture is too short"
    );
    assert!(workers.iter().all(|worker| worker.packets > 0), "one worker did nothing");
}
