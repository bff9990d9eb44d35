//! Proves the namespace half of the lab against the kernel alone: two pods on a Linux bridge.

use shunt_tests::iperf::{Tcp, Udp};
use shunt_tests::{Bridge, Interface, Iperf, Netns, Ping, Veth, require};

#[test]
fn two_pods_on_a_bridge_exchange_ping_tcp_and_udp() {
    require!(root(), tool("iperf3"), tool("ping"));
    let (node, a, b) = (Netns::new().unwrap(), Netns::new().unwrap(), Netns::new().unwrap());
    let bridge = Bridge::new(&node).unwrap();
    let inside = |addr| Interface { addrs: addr, ..Interface::default() };
    let _a = Veth::pair("pod-a", Some(&node), &a, &inside(&["10.0.0.1/24", "fd00::1/64"])).unwrap();
    let _b = Veth::pair("pod-b", Some(&node), &b, &inside(&["10.0.0.2/24", "fd00::2/64"])).unwrap();
    bridge.add("pod-a").unwrap();
    bridge.add("pod-b").unwrap();

    for to in ["10.0.0.2", "fd00::2"] {
        let answers = Ping { count: 20, ..Ping::to(to) }.run(&a).unwrap();
        assert_eq!((answers.sent, answers.received, answers.duplicates), (20, 20, 0), "{to}: {answers:?}");
        assert_eq!(answers.rtts.len(), 20);
    }
    let nobody = Ping { wait_ms: 100, ..Ping::to("10.0.0.99") }.run(&a).unwrap();
    assert_eq!(nobody.received, 0);

    let mut iperf = Iperf::serve(&b, "10.0.0.2").unwrap();
    for load in [Tcp { seconds: 1, ..Tcp::default() }, Tcp { seconds: 1, streams: 4, reverse: true }] {
        let result = iperf.tcp(&a, &load).unwrap();
        assert!(result.gbits > 0.1 && result.bytes > 10_000_000, "{load:?}: {result:?}");
        println!("{load:?}: {result:?}");
    }
    for reverse in [false, true] {
        let result = iperf.udp(&a, &Udp { seconds: 1, mbits: 50, reverse, ..Udp::default() }).unwrap();
        // 50 Mbit/s for a second in datagrams of 1400 bytes is 4464 of them.
        assert!((4000..5000).contains(&result.sent), "{result:?}");
        assert_eq!(result.lost_on_the_way(), 0, "{result:?}");
        println!("reverse {reverse}: {result:?}");
    }
}

#[test]
fn a_load_on_a_server_that_is_not_there_is_an_error() {
    require!(root(), tool("iperf3"));
    let (a, b) = (Netns::new().unwrap(), Netns::new().unwrap());
    let mut iperf = Iperf::serve(&b, "10.0.0.2").unwrap();
    let error = iperf.tcp(&a, &Tcp::default()).unwrap_err().to_string();
    assert!(error.contains("iperf3"), "{error}");
}
