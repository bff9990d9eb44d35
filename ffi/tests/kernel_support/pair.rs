//! Two pods on ports of any kind, joined by a forwarding thread: for tests with the kernels' own TCP and UDP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use shunt_ffi::kernel::tap::{self, TapDevice, TapMode, TapOptions};
use shunt_tests::{Interface, Netns};

use super::forward::{End, Seen, while_forwarding};
use super::{Pod, site};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Veth,
    Tap,
    Tun,
}

/// A pod with `eth0`, 10.99.0.N/24 and fd99::N/64.
pub(crate) struct Side {
    port: Port,
    netns: Option<Netns>,
}

enum Port {
    Veth(Box<Pod>),
    Tap(Box<tap::Opened>),
}

impl Side {
    fn new(kind: Kind, number: u8, mtu: u32) -> Self {
        if kind == Kind::Veth {
            let addresses = [format!("10.99.0.{number}/24"), format!("fd99::{number}/64")];
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            let pod = Pod::new(Interface { addrs: &addresses, mtu, ..Default::default() });
            return Self { port: Port::Veth(Box::new(pod)), netns: None };
        }
        let netns = Netns::new().unwrap();
        let mode = if kind == Kind::Tap { TapMode::Tap } else { TapMode::Tun };
        let mut options = TapOptions::new("eth0", mode, site().pools);
        options.netns = Some(netns.path());
        options.mtu = Some(mtu);
        options.addresses = vec![(v4(number), 24), (v6(number), 64)];
        Self { port: Port::Tap(Box::new(TapDevice::open(&options).unwrap())), netns: Some(netns) }
    }

    fn netns(&self) -> &Netns {
        match &self.port {
            Port::Veth(pod) => &pod.netns,
            Port::Tap(_) => self.netns.as_ref().unwrap(),
        }
    }

    fn split(&mut self) -> (&Netns, End<'_>) {
        match &mut self.port {
            Port::Veth(pod) => {
                let Pod { port, netns, .. } = &mut **pod;
                let (rx, tx) = (&mut port.rx[0], &mut port.tx);
                let receive = Box::new(|burst: &mut _| rx.receive(burst, 32));
                (netns, End { receive, transmit: Box::new(|burst: &mut _| tx.transmit(burst)) })
            }
            Port::Tap(port) => {
                let (rx, tx) = (&mut port.rx[0], &mut port.tx[0]);
                let receive = Box::new(|burst: &mut _| rx.receive(burst, 32));
                let end = End { receive, transmit: Box::new(|burst: &mut _| tx.transmit(burst)) };
                (self.netns.as_ref().unwrap(), end)
            }
        }
    }
}

/// Two pods.
pub(crate) struct Pair([Side; 2]);

impl Pair {
    pub(crate) fn new(kinds: [Kind; 2], mtu: u32) -> Self {
        Self([Side::new(kinds[0], 1, mtu), Side::new(kinds[1], 2, mtu)])
    }

    /// Runs `work` with the two pods' namespaces while frames are forwarded.
    pub(crate) fn run<T>(&mut self, work: impl FnOnce(&Netns, &Netns) -> T) -> (T, Seen) {
        let [a, b] = &mut self.0;
        let ((a, from_a), (b, from_b)) = (a.split(), b.split());
        while_forwarding([from_a, from_b], || work(a, b))
    }

    /// True when both kernels' sides hand over large UDP sends whole (Linux 6.2 and newer).
    pub(crate) fn uso(&self) -> bool {
        self.0.iter().all(|side| match &side.port {
            // Of AF_PACKET one cannot ask; it came with the same version.
            Port::Veth(_) => true,
            Port::Tap(port) => port.device.uso(),
        })
    }

    /// Checksum errors that the pods' kernels have counted.
    pub(crate) fn checksum_errors(&self) -> u64 {
        self.0.iter().map(|side| checksum_errors(side.netns())).sum()
    }
}

/// Checksum errors that a namespace's kernel has counted.
pub(crate) fn checksum_errors(netns: &Netns) -> u64 {
    let counters = netns.exec(&["cat", "/proc/net/snmp", "/proc/net/snmp6"]).unwrap().stdout;
    let mut total = 0;
    let lines: Vec<Vec<&str>> = counters.lines().map(|line| line.split_whitespace().collect()).collect();
    for pair in lines.windows(2) {
        // /proc/net/snmp: a line of names, then a line of values.
        if pair[0].len() == pair[1].len() && pair[0][0].ends_with(':') {
            let values = pair[0].iter().zip(&pair[1]).filter(|(name, _)| **name == "InCsumErrors");
            total += values.map(|(_, value)| value.parse::<u64>().unwrap()).sum::<u64>();
        }
    }
    // /proc/net/snmp6: a name and a value on each line.
    let v6 = lines.iter().filter(|line| line.len() == 2 && line[0].ends_with("InCsumErrors"));
    total + v6.map(|line| line[1].parse::<u64>().unwrap()).sum::<u64>()
}

pub(crate) fn v4(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 99, 0, number))
}

pub(crate) fn v6(number: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, u16::from(number)))
}

/// The two addresses of a pod with a port.
pub(crate) fn both(number: u8, port: u16) -> [SocketAddr; 2] {
    [SocketAddr::new(v4(number), port), SocketAddr::new(v6(number), port)]
}
