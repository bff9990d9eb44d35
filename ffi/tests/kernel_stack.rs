//! Kernels talk to each other through two ports: TCP and UDP arrive whole and right, large sends stay large, and what
//! the virtio-net header says is true.

mod kernel_support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use kernel_support::pair::{Kind, Pair, both, checksum_errors};
use kernel_support::*;
use shunt_tests::{Netns, require, skip};

const TOTAL: usize = 24 << 20;

fn byte_at(position: usize) -> u8 {
    (position.wrapping_mul(0x9e37_79b9) >> 13) as u8
}

/// Sends [`TOTAL`] bytes over TCP from one pod to the other and checks every one.
fn transfer(from: &Netns, to: &Netns, address: SocketAddr) {
    let listener = inside(to, || TcpListener::bind(address).unwrap());
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let (mut position, mut buffer) = (0, vec![0; 1 << 18]);
            loop {
                let got = stream.read(&mut buffer).unwrap();
                if got == 0 {
                    return position;
                }
                let wrong =
                    buffer[..got].iter().zip(position..).find(|&(&byte, position)| byte != byte_at(position));
                assert!(wrong.is_none(), "byte {} of the stream is wrong", wrong.unwrap().1);
                position += got;
            }
        });
        let mut stream = inside(from, || TcpStream::connect_timeout(&address, LIMIT).unwrap());
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        let bytes: Vec<u8> = (0..TOTAL).map(byte_at).collect();
        stream.write_all(&bytes).unwrap();
        drop(stream);
        assert_eq!(receiver.join().unwrap(), TOTAL);
    });
}

/// Sends one datagram of each length from one pod to the other and checks every byte.
fn datagrams(from: &Netns, to: &Netns, address: SocketAddr, lengths: &[usize]) {
    let receiver = inside(to, || UdpSocket::bind(address).unwrap());
    receiver.set_read_timeout(Some(LIMIT)).unwrap();
    let any: SocketAddr =
        if address.is_ipv4() { "0.0.0.0:0".parse().unwrap() } else { "[::]:0".parse().unwrap() };
    let sender = inside(from, || UdpSocket::bind(any).unwrap());
    let mut buffer = vec![0; 1 << 16];
    for &length in lengths {
        let bytes: Vec<u8> = (length..2 * length).map(byte_at).collect();
        sender.send_to(&bytes, address).unwrap();
        let got = receiver.recv(&mut buffer).unwrap();
        assert!(buffer[..got] == bytes, "{length} bytes to {address} arrived changed, {got} long");
    }
}

/// TCP both ways and UDP between two kinds of port.
fn contract(kinds: [Kind; 2]) {
    let mut pair = Pair::new(kinds, 1500);
    for (address, back) in both(2, 5001).into_iter().zip(both(1, 5001)) {
        for forth in [true, false] {
            let ((), seen) =
                pair.run(|a, b| if forth { transfer(a, b, address) } else { transfer(b, a, back) });
            assert!(seen.tcp_gso > 0 && seen.longest > 30_000, "large sends were cut: {seen:?}");
            assert!(seen.partial > 0, "{seen:?}");
        }
        // Up to the MTU, then fragments, then the longest there is.
        let lengths: Vec<usize> =
            (0..=1472).step_by(7).chain([1451, 1452, 1453, 1472, 1473, 4000, 9001, 65000]).collect();
        let ((), seen) = pair.run(|a, b| {
            datagrams(a, b, address, &lengths);
            datagrams(b, a, back, &lengths);
        });
        assert!(seen.partial > 0, "{seen:?}");
    }
    assert_eq!(pair.checksum_errors(), 0);
    drop(pair);
    assert_no_leak();
}

#[test]
fn veth_to_veth() {
    require!(root());
    contract([Kind::Veth, Kind::Veth]);
}

#[test]
fn tap_to_tap() {
    require!(root(), file("/dev/net/tun"));
    contract([Kind::Tap, Kind::Tap]);
}

#[test]
fn veth_to_tap() {
    require!(root(), file("/dev/net/tun"));
    contract([Kind::Veth, Kind::Tap]);
}

#[test]
fn tun_to_tun() {
    require!(root(), file("/dev/net/tun"));
    contract([Kind::Tun, Kind::Tun]);
}

#[test]
fn jumbo_frames_between_veth_and_tap() {
    require!(root(), file("/dev/net/tun"));
    let mut pair = Pair::new([Kind::Veth, Kind::Tap], 9000);
    for (address, back) in both(2, 5001).into_iter().zip(both(1, 5001)) {
        let longest = 9000 - if address.is_ipv4() { 28 } else { 48 };
        let lengths: Vec<usize> = (1400..longest).step_by(61).chain([longest - 1, longest]).collect();
        let ((), seen) = pair.run(|a, b| {
            datagrams(a, b, address, &lengths);
            datagrams(b, a, back, &lengths);
        });
        assert_eq!(seen.longest, 9014, "{seen:?}");
    }
    assert_eq!(pair.checksum_errors(), 0);
    drop(pair);
    assert_no_leak();
}

/// TCP and UDP inside a VXLAN that the pods build themselves: the kernel leaves more undone than the header can say.
fn tunnel_inside(kinds: [Kind; 2]) {
    let mut pair = Pair::new(kinds, 1500);
    let (v4, v6) = (["10.99.0.1", "10.99.0.2"], ["fd99::1", "fd99::2"]);
    let tunnels: [(_, &[&str]); 4] = [
        (v4, &["noudpcsum"]),
        (v4, &["udpcsum"]),
        (v6, &["udp6zerocsumtx", "udp6zerocsumrx"]),
        (v6, &["noudp6zerocsumtx"]),
    ];
    for ([a, b], checksum) in tunnels {
        let ((), seen) = pair.run(|one, two| {
            for (pod, local, remote, number) in [(one, a, b, 1), (two, b, a, 2)] {
                let words = [
                    "ip", "link", "add", "vx0", "type", "vxlan", "id", "5", "dstport", "4789", "local",
                    local, "remote", remote,
                ];
                pod.exec(&[&words[..], &["dev", "eth0"], checksum].concat()).unwrap();
                pod.exec(&["ip", "addr", "add", &format!("10.7.0.{number}/24"), "dev", "vx0"]).unwrap();
                pod.exec(&["ip", "addr", "add", &format!("fd07::{number}/64"), "dev", "vx0", "nodad"])
                    .unwrap();
            }
            let both = |words: &[&str]| [one, two].map(|pod| pod.exec(words).unwrap());
            both(&["ip", "link", "set", "vx0", "up"]);
            // What the first to come up sent may have met no tunnel at the other yet, where a kernel counts a missing
            // checksum as a wrong one. It is there before the echo.
            one.exec(&["ping", "-c1", "-W5", "10.7.0.2"]).unwrap();
            let before = checksum_errors(one) + checksum_errors(two);
            for address in ["10.7.0.2:5001", "[fd07::2]:5001"] {
                let address = address.parse().unwrap();
                transfer(one, two, address);
                datagrams(one, two, address, &[0, 1, 2, 3, 500, 1390, 4000]);
            }
            assert_eq!(checksum_errors(one) + checksum_errors(two), before);
            both(&["ip", "link", "set", "vx0", "down"]);
            both(&["ip", "link", "del", "vx0"]);
        });
        assert!(seen.frames > 0);
    }
    drop(pair);
    assert_no_leak();
}

#[test]
fn tunnels_inside_veth_pods() {
    require!(root());
    tunnel_inside([Kind::Veth, Kind::Veth]);
}

#[test]
fn tunnels_inside_tap_pods() {
    require!(root(), file("/dev/net/tun"));
    tunnel_inside([Kind::Tap, Kind::Tap]);
}

/// One send of many datagrams (`UDP_SEGMENT`) crosses as one frame and arrives as many.
fn large_udp_sends(kinds: [Kind; 2]) {
    const UDP_SEGMENT: i32 = 103;
    const SIZE: usize = 1000;
    let mut pair = Pair::new(kinds, 1500);
    if !pair.uso() {
        skip!("this kernel's taps know no udp segmentation: needs linux 6.2");
    }
    for address in both(2, 5001) {
        let ((), seen) = pair.run(|a, b| {
            let receiver = inside(b, || UdpSocket::bind(address).unwrap());
            receiver.set_read_timeout(Some(LIMIT)).unwrap();
            let any: SocketAddr =
                if address.is_ipv4() { "0.0.0.0:0".parse().unwrap() } else { "[::]:0".parse().unwrap() };
            let sender = inside(a, || UdpSocket::bind(any).unwrap());
            let owned = sender.as_fd().try_clone_to_owned().unwrap();
            raw::set(&owned, libc::SOL_UDP, UDP_SEGMENT, SIZE as i32);
            let bytes: Vec<u8> = (0..40 * SIZE + 17).map(byte_at).collect();
            sender.send_to(&bytes, address).unwrap();
            let mut buffer = vec![0; 1 << 16];
            for part in bytes.chunks(SIZE) {
                let got = receiver.recv(&mut buffer).unwrap();
                assert!(buffer[..got] == *part, "a datagram of {} came as {got}", part.len());
            }
        });
        assert_eq!(seen.udp_gso, 1, "the send was cut on the way: {seen:?}");
    }
    assert_eq!(pair.checksum_errors(), 0);
    drop(pair);
    assert_no_leak();
}

#[test]
fn large_udp_sends_cross_a_veth_whole() {
    require!(root());
    large_udp_sends([Kind::Veth, Kind::Veth]);
}

#[test]
fn large_udp_sends_cross_a_tap_whole() {
    require!(root(), file("/dev/net/tun"));
    large_udp_sends([Kind::Tap, Kind::Tap]);
}

#[test]
fn large_udp_sends_cross_a_tun_whole() {
    require!(root(), file("/dev/net/tun"));
    large_udp_sends([Kind::Tun, Kind::Tun]);
}
