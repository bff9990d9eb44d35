//! What must hold of the expressions of `shunt trace`, whatever is typed: they are refused with a word, or the frame that they make is one
//! that they describe.

use shunt_switch::control::capture::headers::Headers;
use shunt_switch::control::trace::compose::compose;
use shunt_switch::control::trace::expression::Probe;
use shunt_switch::control::trace::fields::Family;
use shunt_switch::control::trace::summary::summary;
use shunt_switch::flow::key::{Depth, L3};
use shunt_switch::flow::parse::parse;
use shunt_switch::ids::PortId;

/// Panics when a property does not hold. True when a frame was made.
pub(crate) fn check(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let probe = match Probe::parse(text) {
        Ok(probe) => probe,
        Err(error) => {
            assert!(!error.0.is_empty(), "refused without a word");
            return false;
        }
    };
    let Ok(frame) = compose(&probe) else { return false };
    assert!(frame.len() <= 65_535);
    assert!(!summary(&frame).is_empty());
    let length = frame.len() as u32;
    let _ = Headers::of(&frame, length);
    let port = PortId::new(1).expect("a port");
    let (key, _) = parse(&frame, length, port, Depth::Transport).expect("a whole frame");
    if let Some(mac) = probe.mac("eth.dst") {
        assert_eq!(key.dst().bytes(), mac);
    }
    let layer = match probe.family() {
        Some(Family::Ip4) => L3::Ipv4,
        Some(Family::Arp) => L3::Other,
        // An extension header is not made: its place is taken by zeros.
        Some(Family::Ip6) if [0, 43, 44, 51, 60].contains(&probe.protocol()) => return true,
        Some(Family::Ip6) => L3::Ipv6,
        Some(Family::Ip) | None => return true,
    };
    // Behind a tag of another kind the parser sees no packet.
    if probe.number("vlan.tpid").is_some_and(|tpid| ![0x8100, 0x88a8].contains(&tpid)) {
        return true;
    }
    assert_eq!(key.marks().l3, layer, "{text:?}: {frame:02x?}");
    if let Some((source, destination)) = key.addresses() {
        assert!(probe.address("ip.src").is_none_or(|given| given == source), "{text:?}");
        assert!(probe.address("ip.dst").is_none_or(|given| given == destination), "{text:?}");
        assert_eq!(key.protocol(), probe.protocol(), "{text:?}");
    }
    true
}
