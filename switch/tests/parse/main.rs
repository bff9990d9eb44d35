//! The parser against `etherparse`, against itself at other depths, and against itself on split frames.
//!
//! 4,096 cases a property; `PROPTEST_CASES` changes that.

mod corners;
mod designed;
mod fixed;
mod model;
mod open;
#[path = "../../../tests/fuzz/oracles/open.rs"]
mod open_oracle;
#[path = "../../../tests/fuzz/oracles/parse.rs"]
mod oracle;
mod seeds;

use proptest::prelude::*;
use shunt_switch::flow::key::{Depth, FlowKey, L3, L4};
use shunt_switch::flow::parse::{Layout, Unparsed, parse};
use shunt_switch::ids::PortId;
use shunt_tests::frames::random::{body, broken, frame, payload};
use shunt_tests::frames::{Body, Frame, Payload, Transport};

/// The ingress port of every test that does not care.
fn port() -> PortId {
    PortId::new(77).unwrap()
}

/// A frame that lies in one segment.
fn whole(frame: &[u8], depth: Depth) -> Result<(FlowKey, Layout), Unparsed> {
    parse(frame, u32::try_from(frame.len()).unwrap(), port(), depth)
}

/// The key of a frame that has one.
fn key(frame: &Frame, depth: Depth) -> FlowKey {
    whole(&frame.bytes(), depth).unwrap().0
}

/// Field by field first, because a difference of two keys is hard to read.
fn assert_is_expected(frame: &[u8]) -> Result<(), TestCaseError> {
    let Some((expected, layout)) = model::expected(frame, port()) else {
        prop_assert_eq!(whole(frame, Depth::Transport), Err(Unparsed::Runt));
        return Ok(());
    };
    let (key, found) = whole(frame, Depth::Transport).unwrap();
    prop_assert_eq!(key.marks(), expected.marks());
    prop_assert_eq!((key.ethertype(), key.vlan()), (expected.ethertype(), expected.vlan()));
    prop_assert_eq!(key.addresses(), expected.addresses());
    prop_assert_eq!((key.protocol(), key.ports()), (expected.protocol(), expected.ports()));
    prop_assert_eq!(key, expected);
    prop_assert_eq!(found, layout);
    Ok(())
}

/// The frame with other values in fields that no key has: identification, "do not fragment", padding, payload bytes.
fn with_other_unread(frame: &Frame, fill: u8) -> Frame {
    let mut other = frame.clone();
    other.padding.push(fill);
    let payload = match &mut other.body {
        Body::Ipv4(ip, payload) => {
            ip.id ^= u16::from(fill);
            ip.whole = !ip.whole;
            payload
        }
        Body::Ipv6(_, payload) => payload,
        Body::Other(_, bytes) => {
            bytes.fill(fill);
            return other;
        }
    };
    // Behind an unknown number there may be a header that is known after all: ICMP by its plain number.
    if !matches!(payload.transport, Transport::Other(_)) {
        payload.data.fill(fill);
    }
    other
}

/// The frame with another payload of the same protocol and another traffic class: fields of [`Depth::Transport`].
fn with_other_transport(frame: &Frame, class: u8, other: Payload) -> Frame {
    let mut changed = frame.clone();
    let (old_class, payload) = match &mut changed.body {
        Body::Ipv4(ip, payload) => (&mut ip.class, payload),
        Body::Ipv6(ip, payload) => (&mut ip.class, payload),
        Body::Other(..) => return changed,
    };
    *old_class = class;
    payload.data = other.data;
    match &mut payload.transport {
        Transport::Tcp(source, destination, flags, _) => {
            (*source, *destination, *flags) = (!*source, destination.swap_bytes(), !*flags);
        }
        Transport::Udp(source, destination, _) | Transport::Sctp(source, destination) => {
            (*source, *destination) = (!*source, !*destination);
        }
        Transport::Icmp(kind, code, identifier) => {
            (*kind, *code, *identifier) = (!*kind, !*code, !*identifier)
        }
        Transport::Other(_) => {}
    }
    changed
}

fn config() -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(4096),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn sound_frames_are_read_as_etherparse_reads_them(frame in frame()) {
        let bytes = frame.bytes();
        assert_is_expected(&bytes)?;
        let marks = whole(&bytes, Depth::Network).unwrap().0.marks();
        let l3 = match frame.body {
            _ if frame.tags.len() > 2 => L3::Other,
            Body::Ipv4(..) => L3::Ipv4,
            Body::Ipv6(..) => L3::Ipv6,
            Body::Other(..) => L3::Other,
        };
        prop_assert_eq!(marks.l3, l3);
    }

    #[test]
    fn broken_frames_are_refused_where_etherparse_refuses_them(bytes in broken()) {
        assert_is_expected(&bytes)?;
    }

    #[test]
    fn a_split_frame_has_the_same_key_or_is_called_split(bytes in broken()) {
        let len = u32::try_from(bytes.len()).unwrap();
        for split in 0..=bytes.len() {
            oracle::check_split(&bytes, len, port(), split);
        }
        // Nobody linearizes a frame whose headers are at hand.
        if let Ok((key, layout)) = whole(&bytes, Depth::Transport) {
            let headers = match key.marks().l4 {
                L4::Known => usize::from(layout.l4) + 20,
                _ => bytes.len(),
            };
            for split in headers.min(bytes.len())..=bytes.len() {
                prop_assert!(parse(&bytes[..split], len, port(), Depth::Transport).is_ok());
            }
        }
    }

    #[test]
    fn a_shallow_key_is_a_part_of_the_deep_one(bytes in broken(), beyond in 0_u32..80) {
        let len = u32::try_from(bytes.len()).unwrap();
        oracle::check_depths(&bytes, len, port());
        oracle::check_depths(&bytes, len + beyond, port());
        // A length that is too small counts for nothing.
        prop_assert_eq!(whole(&bytes, Depth::Transport), parse(&bytes, len / 2, port(), Depth::Transport));
    }

    #[test]
    fn a_key_holds_nothing_that_its_depth_does_not_name(
        frame in frame(), other in body(), payload in payload(), class: u8, fill: u8,
    ) {
        let unread = with_other_unread(&frame, fill);
        for depth in [Depth::Network, Depth::Transport] {
            prop_assert_eq!(key(&frame, depth), key(&unread, depth));
        }
        let transport = with_other_transport(&frame, class, payload);
        prop_assert_eq!(key(&frame, Depth::Network), key(&transport, Depth::Network));
        if !frame.tags.is_empty() {
            let behind = Frame { body: other, ..frame.clone() };
            prop_assert_eq!(key(&frame, Depth::Ethernet), key(&behind, Depth::Ethernet));
        }
    }
}
