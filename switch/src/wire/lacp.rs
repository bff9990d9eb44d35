//! Slow protocol frames of link aggregation: LACPDUs and markers (IEEE 802.1AX-2014 clauses 6.4.2.3 and 6.5.3.3, the format of
//! both in annex A of IEEE 802.3).
//!
//! All are 124 bytes from the destination address on. Nothing is believed that is not in the bytes at hand.

use super::ethernet::{self, Mac};

/// EtherType of slow protocols.
pub const ETHERTYPE: u16 = 0x8809;
/// The group address they are sent to, which no bridge passes on (IEEE 802.1Q table 8-1).
pub const GROUP: Mac = Mac::from_bytes([0x01, 0x80, 0xc2, 0, 0, 2]);
/// Bytes of a message behind the Ethernet header.
pub const MESSAGE: usize = 110;
/// Bytes of a frame, FCS not included.
pub const FRAME: usize = ethernet::HEADER + MESSAGE;

/// Subtypes (IEEE 802.3 table 57A-3).
const LACP: u8 = 1;
const MARKER: u8 = 2;
/// Types of marker messages.
const MARKER_INFORMATION: u8 = 1;
const MARKER_RESPONSE: u8 = 2;
/// Bytes of what describes one side, of what describes the collector, and of what a marker says; type and length included.
const SIDE: usize = 20;
const COLLECTOR: usize = 16;
const MARKED: usize = 22;

/// The bits of a side's state, `Actor_State` of clause 6.4.2.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State(pub u8);

impl State {
    /// It speaks without being spoken to.
    pub const ACTIVITY: State = State(1);
    /// It wants to hear every second.
    pub const TIMEOUT: State = State(1 << 1);
    /// Its link may be one of several.
    pub const AGGREGATION: State = State(1 << 2);
    /// Its link is in the right aggregate.
    pub const SYNCHRONIZATION: State = State(1 << 3);
    /// It takes what comes over the link.
    pub const COLLECTING: State = State(1 << 4);
    /// It sends over the link.
    pub const DISTRIBUTING: State = State(1 << 5);
    /// It has not heard from the other side, and uses defaults.
    pub const DEFAULTED: State = State(1 << 6);
    /// It has not heard from the other side in time.
    pub const EXPIRED: State = State(1 << 7);

    /// True when all of `bits` are set.
    pub const fn has(self, bits: State) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// The same with `bits` set or not.
    #[must_use]
    pub const fn with(self, bits: State, set: bool) -> State {
        State(if set { self.0 | bits.0 } else { self.0 & !bits.0 })
    }

    /// Only `bits`.
    #[must_use]
    pub const fn only(self, bits: State) -> State {
        State(self.0 & bits.0)
    }
}

/// One side of a link as a LACPDU describes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Priority of its system; the lower is the better.
    pub system_priority: u16,
    /// Its system.
    pub system: Mac,
    /// Links of one system with the same key may be aggregated.
    pub key: u16,
    /// Priority of its port.
    pub port_priority: u16,
    /// Its port.
    pub port: u16,
    /// How it is.
    pub state: State,
}

impl Side {
    fn parse(bytes: &[u8; SIDE], kind: u8) -> Option<Self> {
        let &[this, length, p0, p1, a, b, c, d, e, f, k0, k1, r0, r1, n0, n1, state, ..] = bytes;
        (this == kind && usize::from(length) == SIDE).then_some(())?;
        Some(Self {
            system_priority: u16::from_be_bytes([p0, p1]),
            system: Mac::from_bytes([a, b, c, d, e, f]),
            key: u16::from_be_bytes([k0, k1]),
            port_priority: u16::from_be_bytes([r0, r1]),
            port: u16::from_be_bytes([n0, n1]),
            state: State(state),
        })
    }

    fn bytes(&self, kind: u8) -> [u8; SIDE] {
        let [p0, p1] = self.system_priority.to_be_bytes();
        let [a, b, c, d, e, f] = self.system.bytes();
        let [k0, k1] = self.key.to_be_bytes();
        let [r0, r1] = self.port_priority.to_be_bytes();
        let [n0, n1] = self.port.to_be_bytes();
        [kind, SIDE as u8, p0, p1, a, b, c, d, e, f, k0, k1, r0, r1, n0, n1, self.state.0, 0, 0, 0]
    }
}

/// A LACPDU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pdu {
    /// Who sends it.
    pub actor: Side,
    /// What he knows of the receiver.
    pub partner: Side,
}

/// A message of slow protocols that is ours to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A LACPDU.
    Lacp(Pdu),
    /// A marker that wants its answer; what it says is sent back as it is.
    Marker([u8; MARKED - 2]),
    /// The answer to a marker. We send none, so it is nobody's.
    MarkerResponse,
}

/// True for a frame of slow protocols, which is for us and nobody behind us.
#[inline]
pub fn is_slow(frame: &[u8]) -> bool {
    ethernet::parse(frame).is_some_and(|header| header.ethertype == ETHERTYPE && header.dst == GROUP)
}

/// The message behind the Ethernet header; `None` for other protocols and for what is not sound. A higher version of a LACPDU
/// is read as far as it is known (clause 6.4.2.3 c).
pub fn parse(message: &[u8]) -> Option<Message> {
    let (&[subtype, version_or_type], rest) = message.split_first_chunk()?;
    match subtype {
        LACP if version_or_type >= 1 => {
            let (actor, rest) = rest.split_first_chunk::<SIDE>()?;
            let (partner, _) = rest.split_first_chunk::<SIDE>()?;
            Some(Message::Lacp(Pdu { actor: Side::parse(actor, 1)?, partner: Side::parse(partner, 2)? }))
        }
        // Behind the version comes what it is and how long.
        MARKER if version_or_type >= 1 => {
            let (&[kind, length], rest) = rest.split_first_chunk()?;
            (usize::from(length) == MARKED).then_some(())?;
            match kind {
                MARKER_INFORMATION => Some(Message::Marker(*rest.first_chunk()?)),
                MARKER_RESPONSE => Some(Message::MarkerResponse),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The frame of a LACPDU, sent by `from`.
pub fn frame(from: Mac, pdu: &Pdu) -> [u8; FRAME] {
    let mut frame = header(from);
    let body = [&[LACP, 1][..], &pdu.actor.bytes(1), &pdu.partner.bytes(2), &[3, COLLECTOR as u8]].concat();
    // The collector's delay, 0, its reserved bytes and the terminator are zeros.
    if let Some(place) = frame.get_mut(ethernet::HEADER..ethernet::HEADER + body.len()) {
        place.copy_from_slice(&body);
    }
    frame
}

/// The frame that answers a marker (clause 6.5.4).
pub fn marker_response(from: Mac, marker: &[u8; MARKED - 2]) -> [u8; FRAME] {
    let mut frame = header(from);
    let body = [&[MARKER, 1, MARKER_RESPONSE, MARKED as u8][..], marker].concat();
    if let Some(place) = frame.get_mut(ethernet::HEADER..ethernet::HEADER + body.len()) {
        place.copy_from_slice(&body);
    }
    frame
}

fn header(from: Mac) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[..6].copy_from_slice(&GROUP.bytes());
    frame[6..12].copy_from_slice(&from.bytes());
    frame[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn side() -> impl Strategy<Value = Side> {
        (any::<u16>(), any::<[u8; 6]>(), any::<u16>(), any::<u16>(), any::<u16>(), any::<u8>()).prop_map(
            |(system_priority, system, key, port_priority, port, state)| Side {
                system_priority,
                system: Mac::from_bytes(system),
                key,
                port_priority,
                port,
                state: State(state),
            },
        )
    }

    #[test]
    fn a_lacpdu_has_the_bytes_of_the_standard() {
        let actor = Side {
            system_priority: 0x8000,
            system: Mac::from_bytes([2, 0, 0, 0, 0, 0xa]),
            key: 0x11,
            port_priority: 0xff,
            port: 3,
            state: State(0x3f),
        };
        let frame = frame(Mac::from_bytes([2, 0, 0, 0, 0, 1]), &Pdu { actor, partner: Side::default() });
        assert_eq!(frame[..14], [1, 0x80, 0xc2, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0x09]);
        assert_eq!(frame[14..18], [1, 1, 1, 20], "subtype, version, actor");
        assert_eq!(frame[18..33], [0x80, 0, 2, 0, 0, 0, 0, 0xa, 0, 0x11, 0, 0xff, 0, 3, 0x3f]);
        assert_eq!(frame[36..38], [2, 20], "partner");
        assert_eq!(frame[56..58], [3, 16], "collector");
        assert!(frame[58..].iter().all(|byte| *byte == 0), "delay 0, terminator, reserved");
        assert!(is_slow(&frame));
    }

    #[test]
    fn a_marker_is_sent_back_and_other_things_are_not_ours() {
        let mut marker = header(Mac(2));
        marker[14..18].copy_from_slice(&[2, 1, 1, 22]);
        marker[18..38].copy_from_slice(&[7; 20]);
        let Some(Message::Marker(said)) = parse(&marker[14..]) else { panic!("a marker") };
        let answer = marker_response(Mac(4), &said);
        assert_eq!(answer[14..18], [2, 1, 2, 22]);
        assert_eq!(answer[18..38], [7; 20]);
        assert_eq!(parse(&answer[14..]), Some(Message::MarkerResponse));
        for (at, byte) in [(14, 3), (15, 0), (16, 9), (17, 21)] {
            let mut other = marker;
            other[at] = byte;
            assert_eq!(parse(&other[14..]), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(actor in side(), partner in side(), cut in 0..FRAME) {
            let pdu = Pdu { actor, partner };
            let frame = frame(Mac(2), &pdu);
            prop_assert_eq!(parse(&frame[14..]), Some(Message::Lacp(pdu)));
            // Cut behind the partner it is whole; before that it is nothing.
            let short = frame.get(14..cut.max(14)).and_then(parse);
            prop_assert_eq!(short.is_some(), cut >= 56);
        }

        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
            let _ = (parse(&bytes), is_slow(&bytes));
        }
    }
}
