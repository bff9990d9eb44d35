//! Two virtual machines with the kernel's virtio-net driver, each behind a vhost-user port of its own, and nobody else on the switch:
//! what they say to each other is copied from one guest's memory into the other's.

mod node;

use std::time::Duration;

use node::{Node, Plan, traffic};
use serde_json::Value;
use shunt_tests::guest::{Backend, Nic, Options};
use shunt_tests::{Guest, Interface, require};

/// Least TCP rate between two emulated machines, bit/s.
const SLOW: f64 = 5e6;

/// Port, MAC and addresses of the two.
const GUESTS: [(&str, &str, [&str; 2]); 2] = [
    ("vm1", "02:00:00:00:00:0b", ["10.0.0.11", "fd00::11"]),
    ("vm2", "02:00:00:00:00:0c", ["10.0.0.12", "fd00::12"]),
];

fn boot(node: &Node, (port, mac, [v4, v6]): (&str, &str, [&str; 2])) -> Guest {
    let (v4, v6) = (format!("{v4}/24"), format!("{v6}/64"));
    let addrs = [v4.as_str(), v6.as_str()];
    let inside = Interface { mac: Some(mac), addrs: &addrs, ..Interface::default() };
    let nic = Nic::new(Backend::Connect(node.path(port)), inside);
    let guest = Guest::boot(&Options { nics: vec![nic], tools: &["iperf3"], cpus: 1 }).unwrap();
    node.wait_port(port, "the guest is attached", |port| port.link);
    guest
}

/// iperf3 from one to the other; the report's end.
fn iperf(from: &mut Guest, to: &mut Guest, address: &str, load: &str) -> Result<Value, String> {
    let text = |error: shunt_tests::LabError| error.to_string();
    to.sh("pidof iperf3 > /dev/null || iperf3 --server --daemon > /dev/null").map_err(text)?;
    let run = format!(
        "for i in 1 2 3 4 5; do iperf3 -c {address} {load} -J > /tmp/report && break; usleep 500000; done; cat /tmp/report"
    );
    let report = from.run(&run, Duration::from_secs(30)).map_err(text)?.text;
    // It says first that large datagrams are fragmented.
    let report = report.find('{').map_or("", |begin| &report[begin..]);
    let report: Value = serde_json::from_str(report).map_err(|error| format!("{error}: {report}"))?;
    Ok(report["end"].clone())
}

/// Datagrams of `length` bytes, of which none is lost.
fn udp(from: &mut Guest, to: &mut Guest, address: &str, length: u32) -> Result<(), String> {
    let end = iperf(from, to, address, &format!("-u -b 2M -t 2 -l {length}"))?;
    println!("udp of {length} bytes to {address}: {}", end["sum"]);
    let (sent, lost) = (end["sum"]["packets"].as_u64(), end["sum"]["lost_packets"].as_u64());
    let least = 400_000 / u64::from(length);
    if sent.is_some_and(|sent| sent >= least) && lost == Some(0) {
        Ok(())
    } else {
        Err(format!("{length}: {end}"))
    }
}

#[test]
fn two_virtual_machines_exchange_ping_tcp_and_udp() {
    require!(root(), guest(), tool("iperf3"), shuntd());
    let port = |(name, ..): (&str, _, _)| {
        format!("[[port]]\nname = \"{name}\"\nkind = \"vhost-user\"\npath = \"DIR/{name}\"\n")
    };
    let node = Node::start(&Plan { tail: &GUESTS.map(port).concat(), ..Plan::default() });
    let mut guests = GUESTS.map(|guest| boot(&node, guest));
    for from in 0..2 {
        let to = 1 - from;
        for address in GUESTS[to].2 {
            for size in [56, 20_000] {
                let line = format!("ping -c 5 -i 0.2 -W 3 -s {size} {address}");
                let answers = guests[from].run(&line, Duration::from_secs(30)).unwrap().text;
                assert!(answers.contains("5 packets received"), "{line}: {answers}");
            }
        }
        let [one, two] = &mut guests;
        let (from, other) = if from == 0 { (one, two) } else { (two, one) };
        let [v4, v6] = GUESTS[to].2;
        for (address, load) in [(v4, "-t 1"), (v6, "-t 1 -R")] {
            let end = iperf(from, other, address, load).unwrap();
            println!("tcp to {address} {load}: {}", end["sum_received"]);
            let rate = end["sum_received"]["bits_per_second"].as_f64().unwrap();
            assert!(rate > SLOW, "tcp to {address} {load}: {rate} bit/s");
        }
        for length in [1000, 20_000] {
            traffic::thrice(|| udp(from, other, v4, length)).unwrap();
        }
    }
    for (port, ..) in GUESTS {
        let about = node.port(port).about;
        assert!(about.contains("csum") && about.contains("tso") && about.contains("mergeable"), "{about}");
    }
    // Nothing was cut short or finished wrongly between the two: what one sent the other got. Only before the second came was there none.
    let (ports, drops) = (node.ports(), node.drops());
    assert!(drops.keys().all(|key| key == "vm2: link_down" || key.ends_with(": tx_full")), "{drops:?}");
    assert_eq!((ports["vm1"].missed, ports["vm2"].missed), (0, 0));
    assert_eq!(
        ports["vm2"].rx_packets,
        ports["vm1"].tx_packets + drops.get("vm1: tx_full").copied().unwrap_or(0)
    );
}
