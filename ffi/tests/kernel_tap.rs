//! TAP and TUN ports against the kernel on the other side: every byte and length, set-up inside a namespace, several
//! queues, and what happens when the namespace goes.

mod kernel_support;

use std::net::UdpSocket;

use kernel_support::pair::{v4, v6};
use kernel_support::raw::Raw;
use kernel_support::wire::{Shape, fold, sum};
use kernel_support::*;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shunt_ffi::kernel::tap::{Opened, TapDevice, TapMode, TapOptions};
use shunt_ffi::kernel::{Gone, KernelError};
use shunt_ffi::{Burst, Mbuf};
use shunt_tests::{Netns, require};

/// Largest MTU that Linux gives a TAP: a frame is at most 65535 bytes.
const TAP_MTU: u32 = 65535 - 14;

fn open(netns: &Netns, mode: TapMode, change: impl FnOnce(&mut TapOptions)) -> Opened {
    let mut options = TapOptions::new("eth0", mode, site().pools);
    options.netns = Some(netns.path());
    change(&mut options);
    TapDevice::open(&options).unwrap()
}

fn receive(port: &mut Opened, wanted: impl Fn(&Mbuf) -> bool) -> Mbuf {
    let mut burst = Burst::new();
    until("frame", || {
        port.rx[0].receive(&mut burst, 32).unwrap();
        burst.drain().find(&wanted)
    })
}

fn send(port: &mut Opened, bytes: &[u8]) {
    let mut burst = Burst::new();
    burst.push(site().pools.small.frame(bytes).unwrap()).unwrap();
    let sent = port.tx[0].transmit(&mut burst).unwrap();
    assert_eq!((sent.sent, sent.refused), (1, 0), "{:?}", port.tx[0].statistics());
}

#[test]
fn tap_frames_of_all_lengths_pass_unchanged() {
    require!(root(), file("/dev/net/tun"));
    let netns = Netns::new().unwrap();
    let mut port = open(&netns, TapMode::Tap, |options| options.mtu = Some(TAP_MTU));
    let mut raw = Raw::open(&netns, "eth0");
    for length in lengths(65535) {
        let frame = pattern(length, length as u8);
        raw.send(&frame);
        let got = receive(&mut port, |frame| is_ours(frame.data()));
        assert!(got.to_vec() == frame, "{length} bytes came in as {}", got.len());
        drop(got);
        send(&mut port, &frame);
        assert!(raw.expect(is_ours) == frame, "{length} bytes went out changed");
    }
    drop(port);
    assert_no_leak();
}

#[test]
fn tun_packets_of_all_lengths_pass_unchanged_behind_an_ethernet_header() {
    require!(root(), file("/dev/net/tun"));
    let netns = Netns::new().unwrap();
    let mut port = open(&netns, TapMode::Tun, |options| options.mtu = Some(65535));
    let mut raw = Raw::open(&netns, "eth0");
    let ours = |packet: &[u8]| packet.len() > 40 && packet.ends_with(&[0xee, 0xee]);
    for v6 in [false, true] {
        for length in lengths(65535).into_iter().filter(|&length| length > 64) {
            // No valid transport is needed: the kernel's raw socket sees every IP packet.
            let mut packet = pattern(length, length as u8);
            packet[0] = if v6 { 0x60 } else { 0x45 };
            packet[length - 2..].fill(0xee);
            raw.send(&packet);
            let got = receive(&mut port, |frame| ours(frame.data()) || frame.segment_count() > 1).to_vec();
            let ethertype = if v6 { [0x86, 0xdd] } else { [8, 0] };
            assert_eq!((&got[..12], &got[12..14]), (&[0; 12][..], &ethertype[..]));
            assert!(got[14..] == packet, "{length} bytes came in changed");
            send(&mut port, &got);
            assert!(raw.expect(ours) == packet, "{length} bytes went out changed");
        }
    }
    drop(port);
    assert_no_leak();
}

#[test]
fn tun_refuses_what_is_not_ip() {
    require!(root(), file("/dev/net/tun"));
    let netns = Netns::new().unwrap();
    let mut port = open(&netns, TapMode::Tun, |_| {});
    let tagged = Shape { v6: false, udp: true, vlan: true, payload: 10 }.partial();
    let mut burst = Burst::new();
    for bytes in [&pattern(60, 0)[..], &tagged, &[0; 14], &[0xff; 14]] {
        burst.push(site().pools.small.frame(bytes).unwrap()).unwrap();
    }
    burst.push(site().pools.small.frame(&[0; 12]).unwrap()).unwrap();
    let sent = port.tx[0].transmit(&mut burst).unwrap();
    assert_eq!((sent.sent, sent.refused, port.tx[0].statistics().not_ip), (0, 5, 5));
    drop((burst, port));
    assert_no_leak();
}

#[test]
fn the_interface_is_as_asked_for() {
    require!(root(), file("/dev/net/tun"));
    let netns = Netns::new().unwrap();
    let mac = [2, 0x5a, 0, 0, 0, 0x17];
    let port = open(&netns, TapMode::Tap, |options| {
        options.mtu = Some(8000);
        options.mac = Some(mac);
        options.addresses = vec![(v4(7), 24), (v6(7), 64)];
    });
    let shown = netns.exec(&["ip", "addr", "show", "dev", "eth0"]).unwrap().stdout;
    for part in ["mtu 8000", "02:5a:00:00:00:17", "inet 10.99.0.7/24", "inet6 fd99::7/64", ",UP"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert!(!shown.contains("fd99::7/64 scope global tentative"), "usable at once: {shown}");
    assert_eq!((port.device.mac(), port.device.name()), (Some(mac), "eth0"));
    // It goes with its last descriptor.
    let Opened { device, rx, tx } = port;
    drop((device, rx));
    netns.exec(&["ip", "link", "show", "dev", "eth0"]).unwrap();
    drop(tx);
    netns.exec(&["ip", "link", "show", "dev", "eth0"]).unwrap_err();
    assert_no_leak();
}

#[test]
fn errors_say_what_to_do_and_leave_nothing() {
    require!(root(), file("/dev/net/tun"));
    let netns = Netns::new().unwrap();
    let before = netns.exec(&["ip", "-o", "link"]).unwrap().stdout;
    let here = || {
        std::fs::read_to_string("/proc/net/dev")
            .unwrap()
            .lines()
            .filter(|line| line.contains("shtap"))
            .count()
    };
    let left = here();
    let try_open = |change: &dyn Fn(&mut TapOptions)| {
        let mut options = TapOptions::new("eth0", TapMode::Tap, site().pools);
        options.netns = Some(netns.path());
        change(&mut options);
        TapDevice::open(&options).map(drop).unwrap_err()
    };
    let missing = try_open(&|options| options.netns = Some("/run/netns/no-such-one".into()));
    assert!(matches!(missing, KernelError::Namespace { .. }), "{missing}");
    let other = try_open(&|options| options.netns = Some("/dev/null".into()));
    assert!(matches!(other, KernelError::Call { .. } | KernelError::Namespace { .. }), "{other}");
    let long = try_open(&|options| options.name = "a-name-too-long-".into());
    assert!(matches!(long, KernelError::BadName(_)), "{long}");
    let mtu = try_open(&|options| options.mtu = Some(20));
    assert!(matches!(mtu, KernelError::Call { .. }), "{mtu}");
    let taken = try_open(&|options| options.name = "lo".into());
    assert!(matches!(taken, KernelError::Exists(_)), "{taken}");
    for error in [missing, other, long, mtu, taken] {
        let text = error.to_string();
        assert!(
            !text.contains('\n')
                && text.chars().find(|char| char.is_alphabetic()).is_some_and(char::is_lowercase),
            "{text}"
        );
    }
    assert_eq!(netns.exec(&["ip", "-o", "link"]).unwrap().stdout, before);
    assert_eq!(here(), left, "an interface was left here");
    assert_no_leak();
}

#[test]
fn a_deleted_interface_is_gone_for_good() {
    require!(root(), file("/dev/net/tun"));
    let netns = Netns::new().unwrap();
    let mut port = open(&netns, TapMode::Tap, |_| {});
    let raw = Raw::open(&netns, "eth0");
    let mut burst = Burst::new();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| while raw.try_send(&pattern(1000, 0)).is_ok_and(|()| true) {});
        for _ in 0..100 {
            receive(&mut port, |frame| is_ours(frame.data()));
        }
        netns.exec(&["ip", "link", "del", "eth0"]).unwrap();
        load.join().unwrap();
    });
    let gone = until("end", || port.rx[0].receive(&mut burst, 32).map(|_| burst.clear()).err());
    assert_eq!(gone, Gone::Deleted);
    assert_eq!(port.rx[0].receive(&mut burst, 32), Err(Gone::Deleted));
    burst.push(site().pools.small.frame(&pattern(60, 0)).unwrap()).unwrap();
    assert_eq!(port.tx[0].transmit(&mut burst), Err(Gone::Deleted));
    assert_eq!(burst.len(), 1, "the frame is still the caller's");
    drop((burst, port));
    assert_no_leak();
}

#[test]
fn a_deleted_namespace_takes_the_interface_along() {
    require!(root(), file("/dev/net/tun"));
    let netns = Netns::new().unwrap();
    let mut port = open(&netns, TapMode::Tap, |_| {});
    let path = netns.path();
    drop(netns);
    assert!(!path.exists());
    let mut burst = Burst::new();
    // Nothing of ours keeps the namespace alive; the kernel takes it down in its own time.
    let gone = until("end", || port.rx[0].receive(&mut burst, 32).map(|_| burst.clear()).err());
    assert_eq!(gone, Gone::Deleted);
    assert_eq!(port.device.kernel_drops(), 0);
    drop((burst, port));
    assert_no_leak();
}

#[test]
fn an_interface_set_down_comes_back() {
    require!(root(), file("/dev/net/tun"));
    let netns = Netns::new().unwrap();
    let mut port = open(&netns, TapMode::Tap, |_| {});
    let mut raw = Raw::open(&netns, "eth0");
    let mut burst = Burst::new();
    netns.exec(&["ip", "link", "set", "eth0", "down"]).unwrap();
    burst.push(site().pools.small.frame(&pattern(60, 1)).unwrap()).unwrap();
    assert_eq!(port.tx[0].transmit(&mut burst), Err(Gone::Down));
    netns.exec(&["ip", "link", "set", "eth0", "up"]).unwrap();
    assert_eq!(port.tx[0].transmit(&mut burst).map(|sent| sent.sent), Ok(1));
    assert_eq!(raw.expect(is_ours), pattern(60, 1));
    drop((burst, port));
    assert_no_leak();
}

#[test]
fn what_the_kernel_drops_is_counted() {
    require!(root(), file("/dev/net/tun"));
    let netns = Netns::new().unwrap();
    let mut port = open(&netns, TapMode::Tap, |_| {});
    let before = port.device.kernel_drops();
    // Renamed by the pod: still found.
    netns.exec(&["ip", "link", "set", "eth0", "down"]).unwrap();
    netns.exec(&["ip", "link", "set", "eth0", "name", "other0"]).unwrap();
    netns.exec(&["ip", "link", "set", "other0", "txqueuelen", "10", "up"]).unwrap();
    let raw = Raw::open(&netns, "other0");
    for _ in 0..2000 {
        // A full queue may be reported to the sender as well.
        let _ = raw.try_send(&pattern(100, 0));
    }
    let mut burst = Burst::new();
    while port.rx[0].receive(&mut burst, 32).unwrap() > 0 {
        burst.clear();
    }
    assert!(port.device.kernel_drops() > before);
    drop((burst, port));
    assert_no_leak();
}

#[test]
fn queues_share_the_flows_and_follow_the_sender() {
    require!(root(), file("/dev/net/tun"));
    let netns = Netns::new().unwrap();
    let mut port = open(&netns, TapMode::Tap, |options| {
        options.queues = 3;
        options.addresses = vec![(v4(1), 24)];
    });
    assert_eq!((port.rx.len(), port.tx.len()), (3, 3));
    netns
        .exec(&[
            "ip",
            "neigh",
            "add",
            "10.99.0.2",
            "lladdr",
            "02:00:00:00:00:02",
            "dev",
            "eth0",
            "nud",
            "permanent",
        ])
        .unwrap();
    let mac = port.device.mac().unwrap();
    let mut burst = Burst::new();
    let mut used = [0; 3];
    for flow in 0..30u16 {
        let socket = inside(&netns, || UdpSocket::bind("10.99.0.1:0").unwrap());
        let own = socket.local_addr().unwrap().port();
        let queue = usize::from(flow) % 3;
        // A datagram to that socket by one queue...
        let mut datagram = Shape { v6: false, udp: true, vlan: false, payload: 8 }.partial();
        datagram[..6].copy_from_slice(&mac);
        (datagram[29], datagram[33]) = (2, 1);
        datagram[34..36].copy_from_slice(&(5000 + flow).to_be_bytes());
        datagram[36..38].copy_from_slice(&own.to_be_bytes());
        datagram[24..26].fill(0);
        let checksum = !fold(sum(&datagram[14..34]));
        datagram[24..26].copy_from_slice(&checksum.to_be_bytes());
        datagram[40..42].fill(0);
        burst.push(site().pools.small.frame(&datagram).unwrap()).unwrap();
        assert_eq!(port.tx[queue].transmit(&mut burst).unwrap().sent, 1);
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(socket.recv(&mut [0; 64]).unwrap(), 8);
        // ... makes the answer come by the same queue.
        socket.send_to(b"answer", ("10.99.0.2", 5000 + flow)).unwrap();
        let from = until("answer", || {
            (0..3).find(|&queue| {
                port.rx[queue].receive(&mut burst, 32).unwrap();
                burst.drain().any(|frame| frame.data().get(36..38) == Some(&(5000 + flow).to_be_bytes()))
            })
        });
        used[from] += 1;
        assert_eq!(from, queue, "flow {flow}");
    }
    assert_eq!(used, [10; 3]);
    drop((burst, port));
    assert_no_leak();
}

#[test]
fn a_sleeper_is_woken_by_a_frame() {
    require!(root(), file("/dev/net/tun"));
    let netns = Netns::new().unwrap();
    let mut port = open(&netns, TapMode::Tap, |_| {});
    let raw = Raw::open(&netns, "eth0");
    let mut burst = Burst::new();
    while port.rx[0].receive(&mut burst, 32).unwrap() > 0 {
        burst.clear();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| raw.send(&pattern(60, 9)));
        let got = until("wake-up with a frame", || {
            let mut fds = [PollFd::new(port.rx[0].wake_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, PollTimeout::from(10_000u16)), Ok(1));
            assert!(port.rx[0].receive(&mut burst, 32).unwrap() > 0, "woken for nothing");
            burst.drain().find(|frame| is_ours(frame.data()))
        });
        assert_eq!(got.to_vec(), pattern(60, 9));
    });
    drop((burst, port));
    assert_no_leak();
}
