//! What two pods must be able to do with each other. Each returns what went wrong, so that a table of pairs can name all.

use shunt_tests::iperf::{Tcp, Udp};
use shunt_tests::{Iperf, Ping};

use super::{Pod, uso};

/// A second of TCP must carry at least this: far below what works, far above what a stall with retransmissions leaves.
const TCP_FLOOR_GBITS: f64 = 0.01;

/// Tries up to three times. On a machine whose cores are all taken, the kernel's own queues overflow now and then on either side of the
/// switch, and nothing in a test of packets can tell; what fails three times in a row is no such accident.
pub fn thrice<T>(mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let mut again = |n| attempt().inspect_err(|error| eprintln!("attempt {n}: {error}"));
    again(1).or_else(|_| again(2)).or_else(|_| again(3))
}

/// So many echoes of `size` bytes each way and none lost, nor come twice.
pub fn ping(a: &Pod, b: &Pod, count: u32, size: u32) -> Result<(), String> {
    for (from, to, address) in [(a, b, &b.v4), (b, a, &a.v4), (a, b, &b.v6), (b, a, &a.v6)] {
        let answers = Ping { count, size, wait_ms: 2000, ..Ping::to(address) }.run(&from.netns);
        let answers = answers.map_err(|error| error.to_string())?;
        if (answers.sent, answers.received, answers.duplicates) != (count, count, 0) {
            return Err(format!("{} bytes, {} to {} ({address}): {answers:?}", size, from.port, to.port));
        }
    }
    Ok(())
}

/// So many echoes each way over v4, none lost: for pods without IPv6.
pub fn ping_v4(a: &Pod, b: &Pod, count: u32) -> Result<(), String> {
    for (from, address) in [(a, &b.v4), (b, &a.v4)] {
        let answers = Ping { count, wait_ms: 2000, ..Ping::to(address) }.run(&from.netns);
        let answers = answers.map_err(|error| error.to_string())?;
        if (answers.received, answers.duplicates) != (count, 0) {
            return Err(format!("{} to {address}: {answers:?}", from.port));
        }
    }
    Ok(())
}

/// A second of TCP each way, written 128 KiB at a time, as the kernel's offloads like it.
pub fn tcp(a: &Pod, b: &Pod) -> Result<(), String> {
    for address in [&b.v4, &b.v6] {
        let mut iperf = Iperf::serve(&b.netns, address).map_err(|error| error.to_string())?;
        for reverse in [false, true] {
            let result = iperf.tcp(&a.netns, &Tcp { seconds: 1, reverse, ..Tcp::default() });
            let result = result.map_err(|error| format!("reverse {reverse}: {error}"))?;
            println!("{} {} tcp {address} reverse {reverse}: {result:?}", a.kind.name(), b.kind.name());
            if result.gbits < TCP_FLOOR_GBITS {
                return Err(format!("tcp to {address}, reverse {reverse}: {result:?}"));
            }
        }
    }
    Ok(())
}

/// A second of UDP each way at a rate that any machine sustains: in datagrams of `length` bytes, fragmented above the MTU.
pub fn udp(a: &Pod, b: &Pod, length: u32) -> Result<(), String> {
    let mut iperf = Iperf::serve(&b.netns, &b.v4).map_err(|error| error.to_string())?;
    for reverse in [false, true] {
        let result = iperf.udp(&a.netns, &Udp { seconds: 1, mbits: 50, length, reverse });
        let result = result.map_err(|error| format!("reverse {reverse}: {error}"))?;
        let floor = u64::from(50_000_000 / 8 / length) * 8 / 10;
        if result.lost_on_the_way() > 0 || result.sent < floor {
            return Err(format!("udp of {length} bytes, reverse {reverse}: {result:?}"));
        }
    }
    Ok(())
}

/// Everything: small, fragmented and segmented, over v4 and v6.
pub fn all(a: &Pod, b: &Pod) -> Result<(), String> {
    ping(a, b, 20, 56)?;
    thrice(|| ping(a, b, 5, 60_000))?;
    thrice(|| tcp(a, b))?;
    thrice(|| udp(a, b, 1400))?;
    thrice(|| udp(a, b, 60_000))?;
    thrice(|| uso::exchange(a, b, 1.0))
}

/// What a pair must reach.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Least TCP rate in Gbit/s.
    pub floor_gbits: f64,
    /// Share of the large sends that must arrive, 0 to 1; all of what arrives must be whole.
    pub arrives: f64,
    /// What is sent in fragments arrives, too.
    pub fragments: bool,
}

/// Kernels on both sides lose nothing.
pub const KERNEL: Terms = Terms { floor_gbits: 0.005, arrives: 1.0, fragments: true };
/// testpmd drops what finds its TAP or its ring full, shares its core, and has no offloads on the TAP.
pub const TESTPMD: Terms = Terms { floor_gbits: 0.001, arrives: 0.2, fragments: true };
/// The kernel joins fragments for DPDK's `net_af_packet`, which asks for that, and cuts what comes of it to the size of a frame.
pub const AF_PACKET: Terms = Terms { fragments: false, ..KERNEL };

/// The short form for a table of pairs: echoes, echoes in fragments, a second of TCP each way (v4 one way, v6 the other), and UDP sends of
/// 46 datagrams each.
pub fn brief(a: &Pod, b: &Pod, terms: &Terms) -> Result<(), String> {
    meet(a, b)?;
    let sizes = [(56, 10), (20_000, 5)];
    for (size, count) in sizes.into_iter().filter(|(size, _)| *size < 1_400 || terms.fragments) {
        for (from, address) in [(a, &b.v4), (b, &a.v6)] {
            let answers = Ping { count, size, wait_ms: 2000, ..Ping::to(address) }.run(&from.netns);
            let answers = answers.map_err(|error| error.to_string())?;
            if f64::from(answers.received) < f64::from(count) * terms.arrives || answers.duplicates > 0 {
                return Err(format!("{size} bytes from {} to {address}: {answers:?}", from.port));
            }
        }
    }
    for (address, reverse) in [(&b.v4, false), (&b.v6, true)] {
        let load = Tcp { seconds: 1, reverse, ..Tcp::default() };
        let result = Iperf::serve(&b.netns, address).and_then(|mut iperf| iperf.tcp(&a.netns, &load));
        let result = result.map_err(|error| format!("tcp to {address}, reverse {reverse}: {error}"))?;
        println!("{} {} tcp {address} reverse {reverse}: {result:?}", a.kind.name(), b.kind.name());
        if result.gbits < terms.floor_gbits {
            return Err(format!("tcp to {address}, reverse {reverse}: {result:?}"));
        }
    }
    uso::exchange(a, b, terms.arrives)
}

/// Pings until there is an answer: a `tun` port's first packet to an unknown neighbour gives way to the question for it.
pub fn meet(a: &Pod, b: &Pod) -> Result<(), String> {
    for (from, address) in [(a, &b.v4), (b, &a.v4), (a, &b.v6), (b, &a.v6)] {
        let ping = Ping { wait_ms: 200, ..Ping::to(address) };
        let answered = (0..10).any(|_| ping.run(&from.netns).is_ok_and(|answers| answers.received == 1));
        if !answered {
            return Err(format!("{address} does not answer {}", from.port));
        }
    }
    Ok(())
}
