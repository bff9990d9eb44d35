//! Offload state goes into a tunnel and comes out of it.

use shunt_ffi::Mbuf;
use shunt_ffi::offload::{Checksum, Gso, GsoKind, Offload};

use super::samples::{Body, Sample};
use super::*;
use crate::offload::checksum::complete;
use crate::wire::checksum::Sum;

/// The sample as a kernel leaves it: pseudo-header sum in the field, the rest to be done.
pub(super) fn unfinished(sample: &Sample, gso: Option<Gso>) -> Mbuf {
    let mut bytes = sample.bytes();
    let l3 = sample.link();
    let start = l3 + if sample.v6 { 40 } else { 20 };
    let (protocol, offset) = if sample.body == Body::Tcp { (6, 16) } else { (17, 6) };
    let length = bytes.len() - start;
    let sum = if sample.v6 {
        let at = |from: usize| -> [u8; 16] { bytes[l3 + from..l3 + from + 16].try_into().unwrap() };
        Sum::pseudo_v6(at(8), at(24), protocol, length as u32)
    } else {
        let at = |from: usize| -> [u8; 4] { bytes[l3 + from..l3 + from + 4].try_into().unwrap() };
        Sum::pseudo_v4(at(12), at(16), protocol, length as u16)
    };
    bytes[start + offset..start + offset + 2].copy_from_slice(&sum.value().to_be_bytes());
    let mut frame = pool().frame(&bytes).unwrap();
    let checksum = Checksum::Partial { start: start as u16, offset: offset as u16 };
    frame.set_offload(Offload { checksum, gso }).unwrap();
    frame
}

fn samples() -> impl Iterator<Item = Sample> {
    [Body::Tcp, Body::Udp].into_iter().flat_map(|body| {
        [false, true].into_iter().flat_map(move |v6| {
            [false, true].map(|tag| Sample { body, v6, tag, payload: vec![9; 101], ..Sample::udp() })
        })
    })
}

/// Decapsulates; the same packet without tag where only IP is carried.
fn open(encap: Encap, v6: bool, frame: &mut Mbuf) {
    let Opening::Inner(inner) = Terminator::build(&[row(encap, v6)]).open_frame(frame, 14) else {
        panic!("not opened")
    };
    decapsulate(frame, &inner, DST, SRC).unwrap();
}

#[test]
fn a_partial_checksum_is_carried_through_and_finished_anywhere() {
    for sample in samples() {
        for encap in kinds() {
            for v6 in [false, true] {
                let template = encap.template(&outer(encap, v6)).unwrap();
                let ip = &sample.bytes()[sample.link()..];
                // Finished in the tunnel.
                let mut frame = unfinished(&sample, None);
                template.push(3, &mut frame).unwrap();
                assert!(frame.needs_offload(), "nobody finished it for nothing");
                complete(&mut frame).unwrap();
                let tunnelled = frame.to_vec();
                assert!(tunnelled.ends_with(ip), "{encap:?} {sample:?}");
                // Finished behind it.
                let mut frame = unfinished(&sample, None);
                template.push(3, &mut frame).unwrap();
                open(encap, v6, &mut frame);
                assert!(matches!(frame.offload().unwrap().checksum, Checksum::Partial { .. }));
                complete(&mut frame).unwrap();
                assert!(frame.to_vec().ends_with(ip));
            }
        }
    }
}

#[test]
fn a_checksum_around_it_covers_the_finished_one() {
    for sample in samples() {
        for v6 in [false, true] {
            let encap = Encap::Geneve { vni: 1, ovn: None };
            let template = encap.template(&Outer { udp_checksum: true, ..outer(encap, v6) }).unwrap();
            let mut finished = pool().frame(&sample.bytes()).unwrap();
            template.push(3, &mut finished).unwrap();
            let mut frame = unfinished(&sample, None);
            template.push(3, &mut frame).unwrap();
            assert!(frame.needs_offload(), "nobody finished it for nothing");
            // Finished by whoever sends it, the packet is the same to the last bit.
            complete(&mut frame).unwrap();
            assert_eq!(frame.to_vec(), finished.to_vec(), "{v6} {sample:?}");
            open(encap, v6, &mut frame);
            assert_eq!(frame.to_vec(), sample.bytes());
            // Behind the tunnel.
            let mut frame = unfinished(&sample, None);
            template.push(3, &mut frame).unwrap();
            open(encap, v6, &mut frame);
            complete(&mut frame).unwrap();
            assert_eq!(frame.to_vec(), sample.bytes());
        }
    }
}

#[test]
fn a_large_send_does_not_go_in_but_may_come_out() {
    let sample = Sample { body: Body::Tcp, payload: vec![9; 600], ..Sample::udp() };
    let gso = Gso { kind: GsoKind::TcpV4, size: 100 };
    let encap = Encap::Vxlan { vni: 2 };
    let template = encap.template(&outer(encap, false)).unwrap();
    let mut large = unfinished(&sample, Some(gso));
    assert_eq!(template.push(0, &mut large), Err(DropReason::TunnelNotSegmented));

    // As a device with tunnel offload hands it over.
    for v6 in [false, true] {
        let template = encap.template(&outer(encap, v6)).unwrap();
        let mut frame = unfinished(&sample, None);
        template.push(0, &mut frame).unwrap();
        let checksum = frame.offload().unwrap().checksum;
        let kind = if v6 { GsoKind::TcpV6 } else { GsoKind::TcpV4 };
        frame.set_offload(Offload { checksum, gso: Some(Gso { kind, size: 100 }) }).unwrap();
        open(encap, v6, &mut frame);
        assert_eq!(frame.offload().unwrap().gso, Some(gso));
        assert_eq!(frame.offload().unwrap().checksum, Checksum::Partial { start: 34, offset: 16 });
    }
}

#[test]
fn the_state_of_the_outer_datagram_goes_with_it() {
    let (encap, sample) = (Encap::Vxlan { vni: 2 }, Sample::udp());
    let template = encap.template(&outer(encap, false)).unwrap();
    let tunnelled = |state: Offload| {
        let mut frame = pool().frame(&sample.bytes()).unwrap();
        template.push(0, &mut frame).unwrap();
        // Some sum, as it stands in an unfinished field.
        frame.data_mut()[40..42].copy_from_slice(&[0x12, 0x34]);
        frame.set_offload(state).unwrap();
        frame
    };
    let checksum = Checksum::Partial { start: 34, offset: 6 };
    for checksum in [checksum, Checksum::Valid] {
        let mut frame = tunnelled(Offload { checksum, gso: None });
        open(encap, false, &mut frame);
        assert_eq!((frame.offload().unwrap(), frame.to_vec()), (Offload::default(), sample.bytes()));
    }
    // Datagrams of a tunnel that are to be cut apart: `train` knows what to do with them, this does not.
    let mut frame = tunnelled(Offload { checksum, gso: Some(Gso { kind: GsoKind::Udp, size: 40 }) });
    let Opening::Inner(inner) = Terminator::build(&[row(encap, false)]).open_frame(&frame, 14) else {
        panic!("not opened")
    };
    assert_eq!(decapsulate(&mut frame, &inner, DST, SRC), Err(DropReason::BadOffload));
}
