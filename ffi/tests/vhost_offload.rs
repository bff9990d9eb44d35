//! Checksum and segmentation state between the switch and a guest, both ways, to the byte.

mod vhost_support;

use shunt_ffi::Burst;
use shunt_ffi::offload::{Checksum, Gso, GsoKind, Offload};
use shunt_ffi::vhost::GuestOffloads;
use vhost_support::driver::{Guest, HEADER};
use vhost_support::front::*;
use vhost_support::{Port, assert_no_leak, options, site, until};

/// `virtio_net_hdr_v1`: flags, GSO type, header length, segment size, checksum start, checksum offset, buffers.
fn header(flags: u8, gso: u8, size: u16, start: u16, offset: u16) -> [u8; HEADER] {
    let [s0, s1] = size.to_le_bytes();
    let [c0, c1] = start.to_le_bytes();
    let [o0, o1] = offset.to_le_bytes();
    [flags, gso, 0, 0, s0, s1, c0, c1, o0, o1, 0, 0]
}

/// TCP (20 bytes of header) over IPv4 or IPv6, optionally in a VLAN.
fn tcp(v6: bool, vlan: bool, payload: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    if vlan {
        frame.extend([0x81, 0, 0, 5]);
    }
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((20 + payload as u16).to_be_bytes());
        frame.extend([6, 64]);
        frame.extend([0xfd; 32]);
    } else {
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((40 + payload as u16).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    }
    let start = frame.len();
    frame.extend([0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    frame.extend((0..payload).map(|at| at as u8));
    if !v6 {
        let sum = !fold(words(&frame[start - 20..start]));
        frame[start - 10..start - 8].copy_from_slice(&sum.to_be_bytes());
    }
    // What virtio wants in the checksum field of an unfinished frame: the sum of the pseudo header (virtio 1.1, 5.1.6.2).
    let addresses = if v6 { &frame[start - 32..start] } else { &frame[start - 8..start] };
    let sum = fold(words(addresses) + 6 + (frame.len() - start) as u32);
    frame[start + 16..start + 18].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
}

fn fold(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + sum) as u16
}

#[test]
fn offload_state_of_the_guest_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let features = VERSION_1 | MRG_RXBUF | CSUM | HOST_TSO4 | HOST_TSO6;
    let mut guest = Guest::attach(FrontEnd::connect(&path), features, 1, 8, 2048);
    port.wait_attached();
    for vlan in [0, 4] {
        for (v6, l3, gso, kind) in [(false, 20, 1, GsoKind::TcpV4), (true, 40, 4, GsoKind::TcpV6)] {
            let start = 14 + vlan + l3;
            let partial = Checksum::Partial { start, offset: 16 };
            guest.send(0, header(1, 0, 0, start, 16), &tcp(v6, vlan > 0, 100));
            assert_eq!(port.receive(0).offload(), Ok(Offload { checksum: partial, gso: None }));
            guest.send(0, header(1, gso, 1400, start, 16), &tcp(v6, vlan > 0, 60_000));
            let frame = port.receive(0);
            assert_eq!(
                frame.offload(),
                Ok(Offload { checksum: partial, gso: Some(Gso { kind, size: 1400 }) })
            );
            assert_eq!(frame.to_vec(), tcp(v6, vlan > 0, 60_000));
        }
    }
    drop(guest);
    port.wait_detached();
    assert_no_leak();
}

#[test]
fn offload_state_for_the_guest_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let features = VERSION_1 | MRG_RXBUF | GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6;
    let mut guest = Guest::attach(FrontEnd::connect(&path), features, 1, 128, 2048);
    port.wait_attached();
    let all = GuestOffloads { checksum: true, tso_v4: true, tso_v6: true, mergeable: true };
    assert_eq!(port.opened.tx[0].offloads(), all);
    for vlan in [0_u16, 4] {
        for (v6, l3, gso, kind) in [(false, 20, 1, GsoKind::TcpV4), (true, 40, 4, GsoKind::TcpV6)] {
            let start = 14 + vlan + l3;
            let checksum = Checksum::Partial { start, offset: 16 };
            for wanted in
                [Offload { checksum, gso: None }, Offload { checksum, gso: Some(Gso { kind, size: 1400 }) }]
            {
                let bytes = tcp(v6, vlan > 0, 20_000);
                let mut frame = site().1.frame(&bytes).unwrap();
                frame.set_offload(wanted).unwrap();
                port.send_frame(0, frame);
                let (got, received) = guest.receive(0);
                let (kind, size) = if wanted.gso.is_some() { (gso, 1400) } else { (0, 0) };
                let mut expected = header(1, kind, size, start, 16);
                if wanted.gso.is_some() {
                    expected[2..4].copy_from_slice(&(start + 20).to_le_bytes());
                }
                assert_eq!(got[..10], expected[..10], "{wanted:?}");
                assert!(
                    received == bytes,
                    "the bytes of {wanted:?}: {:?} became {:?}",
                    &bytes[..80],
                    &received[..80]
                );
            }
        }
    }
    drop(guest);
    port.wait_detached();
    assert!(!port.opened.tx[0].is_up());
    assert_no_leak();
}

#[test]
fn a_frame_that_finds_the_ring_full_stays_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let mut port = Port::open(&options(&path));
    let features = VERSION_1 | MRG_RXBUF | GUEST_CSUM | GUEST_TSO4;
    let guest = Guest::attach(FrontEnd::connect(&path), features, 1, 3, 2048);
    port.wait_attached();
    until("the guest's ring", || port.opened.tx[0].is_up());
    let mut burst = Burst::new();
    let bytes = tcp(false, false, 3000);
    let offload = Offload {
        checksum: Checksum::Partial { start: 34, offset: 16 },
        gso: Some(Gso { kind: GsoKind::TcpV4, size: 1000 }),
    };
    for _ in 0..3 {
        let mut frame = site().1.frame(&bytes).unwrap();
        frame.set_offload(offload).unwrap();
        burst.push(frame).unwrap();
    }
    // Three buffers hold one frame of 3054 bytes.
    assert_eq!(port.opened.tx[0].transmit(&mut burst), 1);
    assert_eq!(burst.len(), 2);
    for frame in burst.iter() {
        assert_eq!((frame.segment_count(), frame.len() as usize), (2, bytes.len()));
        assert_eq!(frame.data(), &bytes[..2048]);
        assert_eq!(frame.to_vec(), bytes);
        assert_eq!(frame.offload(), Ok(offload));
    }
    drop((burst, guest));
    port.wait_detached();
    assert_no_leak();
}
