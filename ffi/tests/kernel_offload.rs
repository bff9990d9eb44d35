//! The offload state of single frames, against oracles: a kernel that finishes what we leave undone, and our own sums
//! over what a kernel left undone.

mod kernel_support;

use std::net::UdpSocket;

use kernel_support::raw::{PlainTap, Raw};
use kernel_support::wire::{Shape, checksums_hold, fold, sum};
use kernel_support::*;
use shunt_ffi::kernel::packet::{PacketDevice, PacketOptions};
use shunt_ffi::offload::{Checksum, Gso, GsoKind, Offload};
use shunt_ffi::{Burst, Mbuf};
use shunt_tests::{Interface, require};

const SIZE: u16 = 1000;

fn shapes(payloads: &[usize]) -> Vec<Shape> {
    let mut shapes = Vec::new();
    for v6 in [false, true] {
        for udp in [false, true] {
            for vlan in [false, true] {
                shapes.extend(payloads.iter().map(|&payload| Shape { v6, udp, vlan, payload }));
            }
        }
    }
    shapes
}

fn offload(shape: Shape, large: bool) -> Offload {
    let checksum = Checksum::Partial { start: shape.start() as u16, offset: shape.offset() as u16 };
    let kind = match (shape.udp, shape.v6) {
        (true, _) => GsoKind::Udp,
        (false, false) => GsoKind::TcpV4,
        (false, true) => GsoKind::TcpV6,
    };
    Offload { checksum, gso: large.then_some(Gso { kind, size: SIZE }) }
}

fn frame(shape: Shape, large: bool) -> Mbuf {
    let mut frame = site().pools.small.frame(&shape.partial()).unwrap();
    frame.set_offload(offload(shape, large)).unwrap();
    frame
}

/// A pod that bridges its `eth0` to a tap without offloads, where the kernel must finish everything.
fn with_oracle() -> (Pod, PlainTap) {
    let pod = Pod::new(Interface::default());
    let plain = PlainTap::new(&pod.netns, "plain");
    pod.netns.exec(&["ip", "link", "add", "br0", "type", "bridge"]).unwrap();
    for device in ["eth0", "plain"] {
        pod.netns.exec(&["ip", "link", "set", device, "master", "br0"]).unwrap();
    }
    pod.netns.exec(&["ip", "link", "set", "br0", "up"]).unwrap();
    (pod, plain)
}

/// Frames of the shapes' own addresses, not what the bridge or the pod's kernel sends.
fn made_here(frame: &[u8]) -> bool {
    frame[..12] == [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]
}

#[test]
fn a_kernel_finishes_our_partial_checksums_right() {
    require!(root(), file("/dev/net/tun"));
    let (mut pod, mut plain) = with_oracle();
    for shape in shapes(&[0, 1, 2, 17, 1000, 1200]) {
        pod.send_frame(frame(shape, false));
        let got = plain.expect(made_here);
        assert!(checksums_hold(&got, shape.ip_offset()), "{shape:?}");
        assert_eq!(shape.payload_of(&got), shape.payload_of(&shape.partial()), "{shape:?}");
        // The same bytes without state must stay wrong, or the oracle proves nothing.
        pod.send(&shape.partial());
        assert!(!checksums_hold(&plain.expect(made_here), shape.ip_offset()), "{shape:?}");
    }
    finish([pod]);
}

#[test]
fn a_kernel_cuts_our_large_frames_right() {
    require!(root(), file("/dev/net/tun"));
    let (mut pod, mut plain) = with_oracle();
    for shape in shapes(&[1001, 2000, 2001, 30_000, 60_000]) {
        pod.send_frame(frame(shape, true));
        let whole = shape.partial();
        for part in shape.payload_of(&whole).chunks(usize::from(SIZE)) {
            let got = plain.expect(made_here);
            assert!(checksums_hold(&got, shape.ip_offset()), "{shape:?}");
            assert!(shape.payload_of(&got) == part, "{shape:?}: {} bytes", got.len());
        }
    }
    finish([pod]);
}

#[test]
fn state_and_bytes_survive_a_veth() {
    require!(root());
    let mut pod = Pod::new(Interface::default());
    // A second port on the pod's own end: sends what a kernel with VLAN devices would.
    let mut options = PacketOptions::new("eth0", site().pools);
    options.isolate = false;
    let mut inner = inside(&pod.netns, || PacketDevice::open(&options)).unwrap();
    let mut burst = Burst::new();
    for shape in shapes(&[0, 1, 1000, 1001, 1200, 65_000]) {
        for large in [false, true] {
            // Frames beyond the MTU must be cut, and small ones are not large, whatever their header says.
            if large != (shape.payload > usize::from(SIZE)) {
                continue;
            }
            burst.push(frame(shape, large)).unwrap();
            assert_eq!(
                inner.tx.transmit(&mut burst).unwrap().sent,
                1,
                "{shape:?} {:?}",
                inner.tx.statistics()
            );
            let got = until("frame", || {
                pod.port.rx[0].receive(&mut burst, 32).unwrap();
                burst.drain().find(|frame| made_here(frame.data()))
            });
            assert!(got.to_vec() == shape.partial(), "{shape:?} changed");
            assert_eq!(got.offload().unwrap(), offload(shape, large), "{shape:?}");
        }
    }
    drop(inner);
    finish([pod]);
}

#[test]
fn what_a_kernel_leaves_undone_is_where_the_state_says() {
    require!(root());
    let mut pod = Pod::new(Interface { addrs: &["10.99.0.1/24", "fd99::1/64"], ..Default::default() });
    let mut burst = Burst::new();
    for (peer, offset) in [("10.99.0.2", 14), ("fd99::2", 14)] {
        pod.netns
            .exec(&[
                "ip",
                "neigh",
                "add",
                peer,
                "lladdr",
                "02:00:00:00:00:02",
                "dev",
                "eth0",
                "nud",
                "permanent",
            ])
            .unwrap();
        let any = if peer.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = inside(&pod.netns, || UdpSocket::bind(any).unwrap());
        for length in 0..300 {
            let bytes: Vec<u8> = (0..length).map(|at| (at * length) as u8).collect();
            socket.send_to(&bytes, (peer.parse::<std::net::IpAddr>().unwrap(), 9)).unwrap();
            let got = until("datagram", || {
                pod.port.rx[0].receive(&mut burst, 32).unwrap();
                burst.drain().find(|frame| frame.data()[..6] == [2, 0, 0, 0, 0, 2])
            });
            let Checksum::Partial { start, offset: field } = got.offload().unwrap().checksum else {
                panic!("the kernel finished the checksum itself")
            };
            let (start, field) = (usize::from(start), usize::from(start + field));
            let mut bytes = got.to_vec();
            assert!(!checksums_hold(&bytes, offset), "nothing was left undone");
            let checksum = !fold(sum(&bytes[start..]));
            bytes[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
            assert!(checksums_hold(&bytes, offset), "{peer}, {length} bytes");
        }
    }
    finish([pod]);
}

/// Whether the node's own stack takes or answers what a pod addresses to it.
fn node_answers(isolate: bool) -> (bool, bool) {
    let mut pod = Pod::with(Interface { addrs: &["10.99.0.1/24"], ..Default::default() }, |options| {
        options.isolate = isolate
    });
    pod.node.exec(&["ip", "addr", "add", "10.99.0.9/32", "dev", "lo"]).unwrap();
    let mut raw = Raw::open(&pod.netns, "eth0");
    let mac = pod.port.device.mac().unwrap();
    let mut burst = Burst::new();

    let mut request = vec![0xff; 6];
    request.extend([
        2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 99, 0, 1, 0, 0, 0, 0, 0, 0, 10,
        99, 0, 9,
    ]);
    raw.send(&request);
    let listener = inside(&pod.node, || UdpSocket::bind("10.99.0.9:9").unwrap());
    listener.set_nonblocking(true).unwrap();
    let mut datagram = Shape { v6: false, udp: true, vlan: false, payload: 8 }.partial();
    datagram[..6].copy_from_slice(&mac);
    datagram[33] = 9;
    datagram[36..38].copy_from_slice(&[0, 9]);
    datagram[40..42].fill(0);
    datagram[24..26].fill(0);
    let checksum = !fold(sum(&datagram[14..34]));
    datagram[24..26].copy_from_slice(&checksum.to_be_bytes());
    for _ in 0..20 {
        raw.send(&datagram);
    }
    // What comes to the port has been through the node's stack: both happen in one pass, and in order.
    let mut seen = 0;
    until("the datagrams", || {
        pod.port.rx[0].receive(&mut burst, 32).unwrap();
        seen += burst.drain().filter(|frame| frame.data()[12..14] == [8, 0]).count();
        (seen == 20).then_some(())
    });
    raw.send(&pattern(60, 0));
    pod.receive(&mut burst);
    burst.clear();
    let taken = listener.recv(&mut [0; 64]).is_ok();
    let mut answered = false;
    while let Some(frame) = raw.poll() {
        answered |= frame[12..14] == [8, 6] && frame[21] == 2;
    }
    finish([pod]);
    (answered, taken)
}

#[test]
fn a_pod_cannot_reach_the_node_around_the_switch() {
    require!(root());
    assert_eq!(node_answers(true), (false, false), "(ARP answered, UDP taken) while isolated");
}

#[test]
fn without_isolation_the_node_answers() {
    require!(root());
    assert_eq!(
        node_answers(false),
        (true, true),
        "(ARP answered, UDP taken): the other test proves nothing otherwise"
    );
}
