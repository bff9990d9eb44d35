//! What stations do, and what happens meanwhile.

use proptest::prelude::*;
use proptest::sample::select;

use super::places::STATIONS;
use super::world::{self, Change, SERVICES};
use crate::wire::protocol::{ICMP, SCTP, TCP, UDP};

/// Whom a station speaks to.
#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    /// A service: its number, by which kind of address, and which of its ports; none is one that it does not have.
    Service(usize, usize, Option<usize>),
    /// A station, at a port.
    Station(usize, u16),
    Floating(u16),
    /// A single port that may lead inside: one of these, or (none) another one of the same address.
    Forward(usize, bool),
    /// Any address that the router may answer for.
    Lent(usize, u16),
    Far,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Station, protocol, family, port, whom.
    Open(usize, u8, bool, u16, To),
    /// The one who opened the connection of that number sends on.
    On(usize),
    /// The other end answers.
    Back(usize),
    /// Both sides of that connection speak in turns, so many times: a handshake gets done.
    Dialogue(usize, usize),
    /// Both sides of that connection agree that it is over, and the one who opened it opens it again.
    Again(usize),
    /// One side resets the connection.
    Reset(usize, bool),
    /// One side has nothing more to say.
    Finish(usize, bool),
    /// The receiver of a packet, or of an answer, complains that nobody is there.
    Complain(usize, bool),
    /// One side sends a datagram in fragments, in an order (of [`ORDERS`](super::pieces::ORDERS)), and perhaps all of them once more.
    Pieces(usize, bool, usize, bool),
    /// One side sends a packet of a connection that is no more.
    Stray(usize, bool),
    /// The connection of that number is ended by hand.
    End(usize),
    /// Seconds pass, and what was silent for too long is ended.
    Wait(u32),
    /// Something changes; connections are gone through at once, or only later.
    Change(Change, bool),
}

fn to() -> impl Strategy<Value = To> {
    prop_oneof![
        14 => (0..SERVICES, 0..4_usize, prop::option::weighted(0.95, 0..3_usize))
            .prop_map(|(number, kind, port)| To::Service(number, kind, port)),
        2 => (0..STATIONS, select(&[80_u16, 81, 53][..])).prop_map(|(station, port)| To::Station(station, port)),
        1 => select(&[80_u16, 81][..]).prop_map(To::Floating),
        2 => (0..4_usize, prop::bool::weighted(0.9)).prop_map(|(which, exact)| To::Forward(which, exact)),
        1 => (any::<usize>(), select(&[80_u16, 8080][..])).prop_map(|(which, port)| To::Lent(which, port)),
        1 => Just(To::Far),
    ]
}

fn open() -> impl Strategy<Value = Event> {
    let protocol = select(&[TCP, TCP, UDP, UDP, SCTP, SCTP, ICMP][..]);
    // Few ports, so that connections meet; 80 is one that servers answer from, 700 a well-known one.
    let port = select(&[5000_u16, 5000, 5001, 5002, 80, 700][..]);
    (0..STATIONS, protocol, prop::bool::weighted(0.4), port, to())
        .prop_map(|(station, protocol, v6, port, to)| Event::Open(station, protocol, v6, port, to))
}

/// A client of one of the first two services.
pub(super) fn client() -> impl Strategy<Value = Event> {
    let (from, kind) = ((0..STATIONS, any::<bool>(), 5000_u16..5003), (0..2_usize, 0..4_usize));
    (from, kind, 0..3_usize).prop_map(|((station, v6, port), (number, kind), at)| {
        let protocol = [TCP, UDP, SCTP][at];
        Event::Open(station, protocol, v6, port, To::Service(number, kind, Some(at)))
    })
}

/// What stations do, and time.
pub(super) fn traffic() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => open(),
        6 => any::<usize>().prop_map(Event::On),
        8 => any::<usize>().prop_map(Event::Back),
        3 => (any::<usize>(), 2_usize..6).prop_map(|(which, turns)| Event::Dialogue(which, turns)),
        1 => any::<usize>().prop_map(Event::Again),
        2 => any::<(usize, bool)>().prop_map(|(which, side)| Event::Reset(which, side)),
        2 => any::<(usize, bool)>().prop_map(|(which, side)| Event::Finish(which, side)),
        2 => (any::<(usize, bool)>(), 0..6_usize, any::<bool>())
            .prop_map(|((which, side), order, again)| Event::Pieces(which, side, order, again)),
        1 => any::<(usize, bool)>().prop_map(|(which, side)| Event::Stray(which, side)),
        2 => any::<(usize, bool)>().prop_map(|(which, side)| Event::Complain(which, side)),
        1 => any::<usize>().prop_map(Event::End),
        2 => select(&[0_u32, 1, 1, 2, 12, 31, 61][..]).prop_map(Event::Wait),
    ]
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => traffic(),
        1 => (world::change(), any::<bool>()).prop_map(|(change, late)| Event::Change(change, late)),
    ]
}
