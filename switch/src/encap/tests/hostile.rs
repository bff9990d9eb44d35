//! Whatever is sent to a tunnel: no panic, a reason, and nothing outside the packet.

use proptest::prelude::*;

use super::samples::{Sample, sample};
use super::*;

/// A sound packet of a tunnel.
fn tunnelled(encap: Encap, v6: bool, sample: &Sample, udp_checksum: bool) -> Vec<u8> {
    let outer = Outer { udp_checksum, ..outer(encap, v6) };
    let mut frame = pool().frame(&sample.bytes()).unwrap();
    encap.template(&outer).unwrap().push(5, &mut frame).unwrap();
    frame.to_vec()
}

/// Opens a whole frame, and takes out what is in it.
fn open(terminator: &Terminator, bytes: &[u8]) -> Opening {
    let mut frame = pool().frame(bytes).unwrap();
    let opening = terminator.open_frame(&frame, 14);
    if let Opening::Inner(inner) = opening {
        let end = usize::from(inner.offset) + usize::from(inner.length);
        assert!(end <= bytes.len(), "{inner:?} of {} bytes", bytes.len());
        assert!(inner.offset >= 34 && !inner.unverified);
        let link = if inner.ip == 0 { 0 } else { 14 };
        match decapsulate(&mut frame, &inner, DST, SRC) {
            Ok(()) => assert_eq!(frame.len(), u32::from(inner.length) + link),
            Err(reason) => assert_eq!(reason, DropReason::TunnelEcn),
        }
    }
    assert_ne!(opening, Opening::Split, "a frame in one segment is not split");
    opening
}

/// Makes the lengths of the outer headers those of `frame`.
fn fix_lengths(frame: &mut [u8], v6: bool, udp: bool) {
    let l4 = if v6 { 54 } else { 34 };
    let Some(length) = frame.len().checked_sub(l4) else { return };
    let ip = if v6 { length } else { length + 20 };
    let at = if v6 { 18 } else { 16 };
    frame[at..at + 2].copy_from_slice(&(ip as u16).to_be_bytes());
    if udp && length >= 8 {
        frame[l4 + 4..l4 + 6].copy_from_slice(&(length as u16).to_be_bytes());
    }
}

#[test]
fn every_truncation_has_a_reason() {
    let sample = Sample { payload: vec![3; 8], ..Sample::udp() };
    for encap in kinds() {
        for v6 in [false, true] {
            let terminator = Terminator::build(&[row(encap, v6)]);
            let whole = tunnelled(encap, v6, &sample, false);
            let udp = encap.udp_port().is_some();
            let outer = if v6 { 54 } else { 34 };
            let shortest = match encap.payload() {
                Payload::Ethernet => 14,
                Payload::Ip => 20,
            };
            let headers =
                whole.len() - sample.bytes().len() + if encap.payload() == Payload::Ip { 14 } else { 0 };
            for length in 0..whole.len() {
                // Cut on the way: the IP header promises more than there is.
                assert_eq!(open(&terminator, &whole[..length]), Opening::NotOurs, "{encap:?} {length}");
                // Made short: IP and UDP are sound, what is inside is not.
                let mut short = whole[..length].to_vec();
                fix_lengths(&mut short, v6, udp);
                let opening = open(&terminator, &short);
                if length < outer + if udp || matches!(encap, Encap::Gre { .. }) { 4 } else { 0 } {
                    // Too short for ports. (The parser knows such a packet for a malformed one.)
                    let refused = Opening::Refused(DropReason::TunnelBadHeader);
                    assert!(
                        opening == Opening::NotOurs || opening == refused,
                        "{encap:?} {length} {opening:?}"
                    );
                } else if length < headers + shortest {
                    assert_eq!(opening, Opening::Refused(DropReason::TunnelBadHeader), "{encap:?} {length}");
                } else {
                    let Opening::Inner(inner) = opening else { panic!("{encap:?} {length} {opening:?}") };
                    assert_eq!(usize::from(inner.offset), headers);
                }
            }
        }
    }
}

#[test]
fn a_frame_in_two_segments_says_the_same_or_that_it_is_split() {
    for encap in kinds() {
        for v6 in [false, true] {
            let terminator = Terminator::build(&[row(encap, v6)]);
            let whole = tunnelled(encap, v6, &Sample::udp(), false);
            let wanted = terminator.open(&whole, whole.len() as u32, 14);
            assert!(matches!(wanted, Opening::Inner(_)));
            let mut splits = 0;
            for at in 14..whole.len() {
                match terminator.open(&whole[..at], whole.len() as u32, 14) {
                    Opening::Split => splits += 1,
                    other => assert_eq!(other, wanted, "{encap:?} split at {at}"),
                }
            }
            // All headers, and one byte more where the version of an IP packet is read.
            let ip = usize::from(encap.payload() == Payload::Ip);
            let Opening::Inner(inner) = wanted else { unreachable!() };
            assert_eq!(splits, usize::from(inner.offset) - 14 + ip, "{encap:?}");
        }
    }
}

#[test]
fn a_checksum_over_two_segments_is_verified() {
    for encap in [Encap::Vxlan { vni: 2 }, Encap::Geneve { vni: 4, ovn: Some(1) }] {
        for v6 in [false, true] {
            let terminator = Terminator::build(&[row(encap, v6)]);
            let bytes = tunnelled(encap, v6, &Sample::udp(), true);
            for at in [90, 91, 100, bytes.len() - 1] {
                let chain = |bytes: &[u8]| {
                    let mut frame = pool().frame(&bytes[..at]).unwrap();
                    frame.chain(pool().frame(&bytes[at..]).unwrap()).unwrap();
                    frame
                };
                let opened = terminator.open_frame(&chain(&bytes), 14);
                assert!(matches!(opened, Opening::Inner(Inner { unverified: false, .. })), "{opened:?}");
                let mut wrong = bytes.clone();
                *wrong.last_mut().unwrap() ^= 0x40;
                let refused = Opening::Refused(DropReason::TunnelBadChecksum);
                assert_eq!(terminator.open_frame(&chain(&wrong), 14), refused);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_mutation_does_harm(
        encap in prop::sample::select(kinds()), v6: bool, sample in sample(), udp_checksum: bool,
        changes in prop::collection::vec((0_usize..120, any::<u8>()), 1..5), length in 0_usize..400, relength: bool,
    ) {
        prop_assume!(encap.payload() == Payload::Ethernet || sample.is_ip());
        let rows = [row(encap, v6), terminator::Row { binding: 8, peers: vec![], ..row(encap, v6) }];
        let terminator = Terminator::build(&rows);
        let mut bytes = tunnelled(encap, v6, &sample, udp_checksum);
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= value;
            }
        }
        if length < bytes.len() && length >= 14 {
            bytes.truncate(length);
        }
        if relength {
            fix_lengths(&mut bytes, v6, encap.udp_port().is_some());
        }
        open(&terminator, &bytes);
    }

    #[test]
    fn noise_does_no_harm(noise in prop::collection::vec(any::<u8>(), 14..200), v6: bool, encap in prop::sample::select(kinds())) {
        let mut bytes = tunnelled(encap, v6, &Sample::udp(), false);
        let at = if v6 { 54 } else { 34 };
        bytes.truncate(at + if encap.udp_port().is_some() { 8 } else { 0 });
        bytes.extend(noise);
        fix_lengths(&mut bytes, v6, encap.udp_port().is_some());
        open(&Terminator::build(&[row(encap, v6)]), &bytes);
    }

    #[test]
    fn what_is_behind_the_packet_is_cut_off(
        encap in prop::sample::select(kinds()), v6: bool, trailer in prop::collection::vec(any::<u8>(), 1..40), udp_checksum: bool,
    ) {
        let sample = Sample::udp();
        let mut bytes = tunnelled(encap, v6, &sample, udp_checksum);
        bytes.extend(&trailer);
        let mut frame = pool().frame(&bytes).unwrap();
        let Opening::Inner(inner) = Terminator::build(&[row(encap, v6)]).open_frame(&frame, 14) else {
            panic!("not opened")
        };
        decapsulate(&mut frame, &inner, DST, SRC).unwrap();
        prop_assert_eq!(&frame.to_vec()[14..], &sample.bytes()[14..]);
    }
}
