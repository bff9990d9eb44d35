//! What two stations of one overlay must be able to do: echoes of every size both ways, TCP and UDP both ways, over IPv4 and IPv6.

use std::time::{Duration, Instant};

use shunt_tests::iperf::{Tcp, Udp};
use shunt_tests::{Iperf, Netns, Ping};

use super::plan::Side;

/// How long neighbours may take to be found on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Pings until the first answer.
#[track_caller]
pub(crate) fn until_answered(from: &Netns, to: &str, state: &dyn Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    let ping = Ping { wait_ms: 300, ..Ping::to(to) };
    while ping.run(from).unwrap().received == 0 {
        assert!(Instant::now() < deadline, "{to} does not answer\n{}", state());
    }
}

/// A series of echoes of `size` bytes is answered whole; a machine that others use is given a second try.
#[track_caller]
pub(crate) fn answered(from: &Netns, to: &str, size: u32, state: &dyn Fn() -> String) {
    let ping = Ping { count: 10, wait_ms: 2000, size, ..Ping::to(to) };
    let mut answers = ping.run(from).unwrap();
    if answers.received < 10 {
        answers = ping.run(from).unwrap();
    }
    assert_eq!(
        (answers.received, answers.duplicates),
        (10, 0),
        "{to}, {size} bytes: {answers:?}\n{}",
        state()
    );
}

/// ICMP echo requests that this kernel has received (`/proc/net/snmp`).
#[track_caller]
pub(crate) fn echo_requests(netns: &Netns) -> u64 {
    let counters = netns.exec(&["cat", "/proc/net/snmp"]).unwrap().stdout;
    let mut lines = counters.lines().filter(|line| line.starts_with("Icmp:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|name| name == "InEchos").unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

/// Everything, between the stations of the two sides.
#[track_caller]
pub(crate) fn everything(near: &Netns, far: &Netns, state: &dyn Fn() -> String) {
    let pairs = [(near, Side::Far), (far, Side::Near)];
    for (from, to) in pairs {
        for address in [to.inner_v4(), to.inner_v6()] {
            until_answered(from, address, state);
            // Small, as large as goes whole, and in three fragments.
            for size in [56, 1300, 4000] {
                answered(from, address, size, state);
            }
        }
    }
    for (server, side, client) in [(far, Side::Far, near), (near, Side::Near, far)] {
        for address in [side.inner_v4(), side.inner_v6()] {
            let mut iperf = Iperf::serve(server, address).unwrap();
            let tcp = iperf.tcp(client, &Tcp { seconds: 1, ..Tcp::default() }).unwrap();
            println!("to {address}: {tcp:?}");
            assert!(tcp.bytes > 1_000_000, "to {address}: {tcp:?}\n{}", state());
        }
        let mut iperf = Iperf::serve(server, side.inner_v4()).unwrap();
        // Datagrams in two fragments.
        let udp = iperf.udp(client, &Udp { seconds: 1, mbits: 20, length: 2000, reverse: false }).unwrap();
        assert!(udp.sent > 800 && udp.lost_on_the_way() * 50 <= udp.sent, "{udp:?}\n{}", state());
    }
}
