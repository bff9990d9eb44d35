//! Arbitrary frames: sound ones ([`frame`]), and the bytes of broken ones ([`broken`]).
//!
//! Small value ranges where two frames should sometimes agree, the whole range where every bit pattern counts.

use proptest::prelude::*;
use proptest::sample::select;

use super::{Body, CUSTOMER_TAG, Extension, Frame, Ipv4, Ipv6, Payload, Piece, SERVICE_TAG, Transport};

/// Any frame that is sound in every layer, with 0 to 3 tags, options, extension headers, fragments, padding.
pub fn frame() -> impl Strategy<Value = Frame> {
    let tag = (select(&[CUSTOMER_TAG, SERVICE_TAG][..]), any::<u16>());
    let tags = prop_oneof![4 => Just(Vec::new()), 3 => prop::collection::vec(tag, 1..4)];
    (any::<[u8; 6]>(), any::<[u8; 6]>(), tags, body(), prop_oneof![Just(0), 1_usize..40], any::<u8>())
        .prop_map(|(dst, src, tags, body, padding, fill)| Frame {
            dst,
            src,
            tags,
            body,
            padding: vec![fill; padding],
        })
}

/// The bytes of a frame that was changed in up to four places, cut, or lengthened: sound or not.
pub fn broken() -> impl Strategy<Value = Vec<u8>> {
    (frame(), prop::collection::vec(damage(), 0..5)).prop_map(|(frame, damages)| {
        let mut bytes = frame.bytes();
        damages.into_iter().for_each(|damage| damage.apply(&mut bytes));
        bytes
    })
}

/// What is behind the tags.
pub fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        5 => (ipv4(), payload()).prop_map(|(ip, payload)| Body::Ipv4(ip, payload)),
        5 => (ipv6(), payload()).prop_map(|(ip, payload)| Body::Ipv6(ip, payload)),
        1 => prop::collection::vec(any::<u8>(), 28..60).prop_map(|bytes| Body::Other(0x0806, bytes)),
        1 => (select(&[0, 46, 0x88cc, 0x8847, 0x9100, 0x0801, 0xffff][..]), prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(ethertype, bytes)| Body::Other(ethertype, bytes)),
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
    let fragment = (prop_oneof![Just(0), 1_u16..8192], any::<bool>());
    prop_oneof![3 => Just(Piece::default()), 1 => fragment.prop_map(|(offset, more)| Piece { offset, more })]
}

fn ttl() -> impl Strategy<Value = u8> {
    prop_oneof![Just(64), 0_u8..4, any::<u8>()]
}

fn ipv4() -> impl Strategy<Value = Ipv4> {
    let addresses = (any::<[u8; 4]>(), any::<[u8; 4]>());
    let options = prop_oneof![3 => Just(0), 1 => 1_u8..11];
    (addresses, any::<u8>(), ttl(), any::<(u16, bool)>(), piece(), options).prop_map(
        |((source, destination), class, ttl, (id, whole), piece, options)| Ipv4 {
            source,
            destination,
            class,
            ttl,
            id,
            whole,
            piece,
            options,
        },
    )
}

fn ipv6() -> impl Strategy<Value = Ipv6> {
    let extension = prop_oneof![
        (0_u8..3).prop_map(Extension::Routing),
        (0_u8..3).prop_map(Extension::Destination),
        (0_u8..4).prop_map(Extension::Authentication),
        piece().prop_map(Extension::Fragment),
    ];
    let chain =
        (prop::option::of((0_u8..3).prop_map(Extension::HopByHop)), prop::collection::vec(extension, 0..8))
            .prop_map(|(first, rest)| first.into_iter().chain(rest).collect());
    let extensions = prop_oneof![Just(Vec::new()), chain];
    (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u8>(), ttl(), extensions).prop_map(
        |(source, destination, class, hop_limit, extensions)| Ipv6 {
            source,
            destination,
            class,
            hop_limit,
            extensions,
        },
    )
}

/// What is behind the IP header.
pub fn payload() -> impl Strategy<Value = Payload> {
    let flags = prop_oneof![select(&[0x02, 0x12, 0x10, 0x18, 0x11, 0x14, 0x04, 0x00, 0x29][..]), any::<u8>()];
    let kind = prop_oneof![select(&[0, 3, 8, 11, 13, 14, 128, 129, 135, 136][..]), any::<u8>()];
    // The numbers that parsers treat in special ways, and any other; what follows is data, not the header they mean.
    let other = prop_oneof![select(&[1, 2, 4, 41, 47, 50, 58, 59, 135, 139, 140, 253][..]), 134_u8..255];
    let transport = prop_oneof![
        3 => (any::<u16>(), any::<u16>(), flags, 0_u8..11).prop_map(|(a, b, c, d)| Transport::Tcp(a, b, c, d)),
        3 => any::<(u16, u16, bool)>().prop_map(|(a, b, c)| Transport::Udp(a, b, c)),
        1 => any::<(u16, u16)>().prop_map(|(a, b)| Transport::Sctp(a, b)),
        2 => (kind, any::<u8>(), any::<u16>()).prop_map(|(a, b, c)| Transport::Icmp(a, b, c)),
        2 => other.prop_map(Transport::Other),
    ];
    (transport, prop::collection::vec(any::<u8>(), 0..64))
        .prop_map(|(transport, data)| Payload { transport, data })
}

/// One way to break a frame.
#[derive(Clone, Debug)]
enum Damage {
    /// This byte becomes that.
    Set(usize, u8),
    /// These bits of the byte change.
    Flip(usize, u8),
    /// Only so many bytes are left.
    Cut(usize),
    /// More behind the end.
    Lengthen(Vec<u8>),
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Set(at, value) => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value),
            Self::Flip(at, bits) => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits),
            Self::Cut(length) => bytes.truncate(length),
            Self::Lengthen(more) => bytes.extend(more),
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    // Most of it where the lengths and types are.
    let place = prop_oneof![12_usize..60, 0_usize..160];
    let value = prop_oneof![
        select(&[0, 1, 6, 17, 20, 40, 43, 44, 51, 58, 60, 0x45, 0x60, 0x81, 0xff][..]),
        any::<u8>()
    ];
    prop_oneof![
        4 => (place.clone(), value).prop_map(|(at, value)| Damage::Set(at, value)),
        2 => (place, 0_u8..8).prop_map(|(at, bit)| Damage::Flip(at, 1 << bit)),
        1 => (0_usize..160).prop_map(Damage::Cut),
        1 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Damage::Lengthen),
    ]
}
