//! What goes in comes out; and what is in between is what `etherparse` takes for a sound packet.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::samples::{Sample, class, sample};
use super::*;
use crate::wire::checksum::Sum;

/// The outer packet of a frame that was put into a tunnel: addresses, lengths, checksums, class, entropy.
fn check_outer(bytes: &[u8], encap: Encap, outer: &Outer, sample: &Sample, entropy: u16) {
    let packet = SlicedPacket::from_ethernet(bytes).unwrap();
    let tag = outer.tag.map_or(0, |_| 4);
    let (wanted_mask, fixed) = match outer.dscp {
        Dscp::Inherit => (0xff, 0),
        Dscp::Fixed(dscp) => (0b11, dscp << 2),
    };
    assert_eq!(class(bytes, 14 + tag), fixed | sample.class_seen() & wanted_mask);
    match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            assert_eq!(usize::from(header.total_len()), bytes.len() - 14 - tag);
            assert_eq!((header.ttl(), header.dont_fragment(), header.more_fragments()), (64, true, false));
            assert_eq!(IpAddr::from(header.source()), outer.local);
            assert_eq!(IpAddr::from(header.destination()), outer.remote);
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            assert_eq!(usize::from(header.payload_length()), bytes.len() - 14 - 40 - tag);
            assert_eq!((header.hop_limit(), header.flow_label().value()), (64, u32::from(entropy)));
            assert_eq!(IpAddr::from(header.source()), outer.local);
            assert_eq!(IpAddr::from(header.destination()), outer.remote);
        }
        NetSlice::Arp(_) => panic!("no IP packet"),
    }
    if encap.udp_port().is_none() {
        return;
    }
    let Some(TransportSlice::Udp(datagram)) = &packet.transport else { panic!("no UDP in the tunnel") };
    assert_eq!(datagram.destination_port(), outer.port);
    assert_eq!(datagram.source_port(), 49_152 + entropy % 16_384);
    let payload = packet.ip_payload().unwrap().payload;
    assert_eq!(usize::from(datagram.length()), payload.len());
    if outer.udp_checksum {
        let pseudo = match packet.net.as_ref().unwrap() {
            NetSlice::Ipv4(ip) => {
                Sum::pseudo_v4(ip.header().source(), ip.header().destination(), 17, payload.len() as u16)
            }
            NetSlice::Ipv6(ip) => {
                Sum::pseudo_v6(ip.header().source(), ip.header().destination(), 17, payload.len() as u32)
            }
            NetSlice::Arp(_) => unreachable!(),
        };
        assert_ne!(datagram.checksum(), 0);
        assert_eq!(pseudo.bytes(payload).value(), 0xffff);
    } else {
        assert_eq!(datagram.checksum(), 0);
    }
}

fn tag() -> impl Strategy<Value = Option<Tag>> {
    let some = (any::<u16>(), any::<bool>()).prop_map(|(tci, service)| Some(Tag { tci, service }));
    prop_oneof![Just(None), some]
}

fn dscp() -> impl Strategy<Value = Dscp> {
    prop_oneof![Just(Dscp::Inherit), (0_u8..64).prop_map(Dscp::Fixed)]
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        sample in sample(), encap in prop::sample::select(kinds()), v6: bool, tag in tag(), dscp in dscp(),
        udp_checksum: bool, entropy: u16, crowded: bool,
    ) {
        let outer = Outer { tag, dscp, udp_checksum, ..outer(encap, v6) };
        let template = encap.template(&outer).unwrap();
        let bytes = sample.bytes();
        let mut frame = pool().frame(&bytes).unwrap();
        // Just the room that the headers need: the copy of fixed size does not fit.
        if crowded {
            while usize::from(frame.headroom()) > template.len() {
                frame.prepend(1).unwrap();
            }
            let spare = frame.len() as usize - bytes.len();
            frame.data_mut().copy_within(spare.., 0);
            frame.data_mut()[..bytes.len()].copy_from_slice(&bytes);
            frame.truncate(bytes.len() as u16).unwrap();
        }
        let pushed = template.push(entropy, &mut frame);
        if encap.payload() == Payload::Ip && !sample.is_ip() {
            prop_assert_eq!(pushed, Err(DropReason::NotIp));
            return Ok(());
        }
        prop_assert_eq!(pushed, Ok(()));
        let tunnelled = frame.to_vec();
        check_outer(&tunnelled, encap, &outer, &sample, entropy);
        let overhead = usize::from(encap.overhead(v6));
        let link = 14 + tag.map_or(0, |_| 4);
        let inner = bytes.len() - sample.link();
        // Without the inner tag, which the overlay's MTU does not know of.
        let tag_inside = if encap.payload() == Payload::Ethernet { sample.link() - 14 } else { 0 };
        prop_assert_eq!(tunnelled.len() - link, inner + tag_inside + overhead);

        let terminator = Terminator::build(&[row(encap, v6)]);
        let Opening::Inner(opened) = terminator.open_frame(&frame, link) else {
            panic!("{:?}", terminator.open_frame(&frame, link));
        };
        prop_assert_eq!((opened.binding, opened.peer, opened.unverified), (7, 3, false));
        // Congestion marks are another test's.
        let opened = Inner { ecn: 0, ..opened };
        decapsulate(&mut frame, &opened, Mac(1), Mac(2)).unwrap();
        let out = frame.to_vec();
        if encap.payload() == Payload::Ethernet {
            prop_assert_eq!(out, bytes);
        } else {
            let ethertype: &[u8] = if sample.v6 { &[0x86, 0xdd] } else { &[8, 0] };
            prop_assert_eq!(&out[..14], &[&[1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0], ethertype].concat());
            prop_assert_eq!(&out[14..], &bytes[sample.link()..]);
        }
    }

    #[test]
    fn short_frames_leave_their_padding_when_only_ip_is_carried(
        v6: bool, inner_v6: bool, padding in 0_usize..60, gre: bool,
    ) {
        let encap = if gre { Encap::Gre { key: None, payload: Payload::Ip } } else { Encap::IpIp };
        let sample = Sample { v6: inner_v6, payload: vec![1; 4], ..Sample::udp() };
        let bytes = sample.bytes();
        let mut frame = pool().frame(&[bytes.clone(), vec![0xaa; padding]].concat()).unwrap();
        encap.template(&outer(encap, v6)).unwrap().push(0, &mut frame).unwrap();
        prop_assert_eq!(frame.len() as usize, bytes.len() + usize::from(encap.overhead(v6)));
    }

    #[test]
    fn entropy_is_that_of_the_five_tuple(sample in sample(), other in sample()) {
        use crate::flow::parse::parse;
        use crate::flow::Depth;
        use crate::ids::PortId;
        let entropy_of = |bytes: &[u8], port| {
            let port = PortId::new(port).unwrap();
            let (key, layout) = parse(bytes, bytes.len() as u32, port, Depth::Network).unwrap();
            Entropy::of(&key).at(layout, bytes)
        };
        let bytes = sample.bytes();
        let here = entropy_of(&bytes, 1);
        let mut flagged = bytes.clone();
        if sample.body == samples::Body::Tcp {
            let at = sample.link() + if sample.v6 { 40 } else { 20 } + 13;
            flagged[at] |= 0x02;
        }
        // Port, traffic class and flags are of the packet, not of the flow.
        prop_assert_eq!(here, entropy_of(&flagged, 5));
        let marked = Sample { class: other.class, ..sample.clone() };
        prop_assert_eq!(here, entropy_of(&marked.bytes(), 1));
    }
}

#[test]
fn flows_spread_over_the_source_ports() {
    use crate::flow::Depth;
    use crate::flow::parse::parse;
    use crate::ids::PortId;
    let mut ports = std::collections::HashSet::new();
    let mut keys = std::collections::HashSet::new();
    for source in 0..4096 {
        let bytes = Sample { ports: (source, 80), ..Sample::udp() }.bytes();
        let (key, layout) =
            parse(&bytes, bytes.len() as u32, PortId::new(0).unwrap(), Depth::Network).unwrap();
        ports.insert(Entropy::of(&key).at(layout, &bytes) & 0x3fff);
        keys.insert(*key.words());
    }
    // They are one row of the cache all the same.
    assert_eq!(keys.len(), 1);
    // 4096 balls in 16384 bins leave 3624 bins used on average, standard deviation 20.
    assert!(ports.len() > 3500, "{}", ports.len());
}

#[test]
fn what_no_template_can_be() {
    let encap = Encap::Vxlan { vni: 2 };
    let v4 = outer(encap, false);
    assert_eq!(Encap::Vxlan { vni: 0 }.template(&v4), Err(TemplateError::Vni(0)));
    assert_eq!(Encap::Geneve { vni: 1 << 24, ovn: None }.template(&v4), Err(TemplateError::Vni(1 << 24)));
    assert_eq!(encap.template(&Outer { dscp: Dscp::Fixed(64), ..v4 }), Err(TemplateError::Dscp(64)));
    assert_eq!(encap.template(&Outer { remote: ends(true).0, ..v4 }), Err(TemplateError::Families));
    assert_eq!(size_of::<Template>(), 128);
}

#[test]
fn what_cannot_be_put_into_a_tunnel() {
    let encap = Encap::Vxlan { vni: 2 };
    let template = encap.template(&outer(encap, false)).unwrap();
    let mut full = pool().frame(&Sample::udp().bytes()).unwrap();
    while full.headroom() >= 50 {
        full.prepend(1).unwrap();
    }
    assert_eq!(template.push(0, &mut full), Err(DropReason::NoHeadroom));
    let ip = Encap::IpIp.template(&outer(Encap::IpIp, false)).unwrap();
    let mut lying = Sample::udp().bytes();
    lying[16] = 0xff;
    assert_eq!(ip.push(0, &mut pool().frame(&lying).unwrap()), Err(DropReason::BadIpHeader));
    for runt in 0..14 {
        let mut runt = pool().frame(&vec![0; runt]).unwrap();
        assert_eq!(ip.push(0, &mut runt), Err(DropReason::NotIp));
    }
}
