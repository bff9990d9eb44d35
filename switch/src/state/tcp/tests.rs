//! TCP connections, one scenario each, through the table as a worker sees them.

use super::*;
use crate::state::connection::ConnRef;
use crate::state::table::{Found, Insert, New, Size, Table};
use crate::state::tuple::Parts;
use crate::state::{Limits, Stock, Touch, Tracked};
use Direction::{Original as C, Reply as S};

/// Headers that a segment's bytes count with.
const HEADERS: u32 = 40;
const CLIENT_START: u32 = 0xffff_ff00;
const SERVER_START: u32 = 7000;

/// A connection, and the numbers that its two ends would use next. Client numbers wrap around soon.
struct Talk {
    table: Table,
    stock: Stock,
    conn: ConnRef,
    now: u32,
    next: [u32; 2],
}

/// A segment to be sent: what differs from the next in order.
#[derive(Clone, Copy, Default)]
struct Say {
    flags: u8,
    payload: u32,
    /// Added to the number that is due.
    sequence: u32,
    /// Added to the acknowledgement that is due.
    ack: u32,
}

fn say(flags: u8) -> Say {
    Say { flags, ..Say::default() }
}

fn data(payload: u32) -> Say {
    Say { flags: ACK, payload, ..Say::default() }
}

fn tuple() -> Tuple {
    Tuple::new(&Parts {
        zone: 0,
        protocol: TCP,
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
        source_port: 40_000,
        destination_port: 80,
    })
    .expect("one family")
}

impl Talk {
    /// With a client's SYN.
    fn begin() -> Self {
        let opening = open(&syn_segment(), true).expect("a SYN opens");
        Self::from(opening, [CLIENT_START.wrapping_add(1), SERVER_START])
    }

    fn from(opening: Opening, next: [u32; 2]) -> Self {
        let table = Table::new(Size { capacity: 8, threads: 1, limits: Limits::NONE }, 3).expect("memory");
        let mut stock = Stock::default();
        let original = tuple();
        let new = New { original, reply: original.reversed(), opening, rule: 1, now: 10 };
        let Insert::Created(conn) = table.insert(&mut stock, &new) else { panic!("an empty table") };
        table.touch(conn, C, 10, 1, HEADERS);
        Self { table, stock, conn, now: 10, next }
    }

    /// Established in three segments.
    fn established() -> Self {
        let mut talk = Self::begin();
        assert_eq!(talk.sends(S, say(SYN | ACK)), Tracked::Valid(State::SynRecv));
        assert_eq!(talk.sends(C, say(ACK)), Tracked::Valid(State::Established));
        assert!(talk.marks().has(Marks::ASSURED) && !talk.marks().has(Marks::WATCH));
        talk
    }

    fn segment(&self, direction: Direction, say: Say) -> Segment {
        let (own, other) = (self.next[direction.index()], self.next[direction.other().index()]);
        Segment {
            flags: say.flags,
            sequence: own.wrapping_add(say.sequence),
            acknowledgement: if say.flags & ACK != 0 { other.wrapping_add(say.ack) } else { 0 },
            window: 0x1000,
            scale: (say.flags & SYN != 0).then_some(4),
            payload: say.payload,
        }
    }

    /// Shows a segment to the tracker whatever it is; what the tracker takes for valid is sent in order.
    fn sends(&mut self, direction: Direction, say: Say) -> Tracked {
        let segment = self.segment(direction, say);
        self.table.touch(self.conn, direction, self.now, 1, HEADERS + say.payload);
        let tracked = self.table.track(self.conn, direction, self.now, &segment);
        if say.sequence == 0 && matches!(tracked, Tracked::Valid(_)) {
            self.next[direction.index()] = segment.end();
        }
        tracked
    }

    /// Sends data as a cached flow does: the tracker sees it only when it asks to.
    fn streams(&mut self, direction: Direction, payload: u32) -> Touch {
        let segment = self.segment(direction, data(payload));
        let touch = self.table.touch(self.conn, direction, self.now, 1, HEADERS + payload);
        if touch == Touch::Look {
            let tracked = self.table.track(self.conn, direction, self.now, &segment);
            assert!(matches!(tracked, Tracked::Valid(_)), "{tracked:?}");
        }
        self.next[direction.index()] = segment.end();
        touch
    }

    fn state(&self) -> State {
        self.table.get(self.conn).expect("live").state
    }

    fn marks(&self) -> Marks {
        self.table.get(self.conn).expect("live").marks
    }

    fn half_open(&self) -> u64 {
        self.table.count().1
    }
}

fn syn_segment() -> Segment {
    Segment { flags: SYN, sequence: CLIENT_START, window: 0x1000, scale: Some(4), ..Segment::default() }
}

use State::{Close, CloseWait, Established, FinWait, LastAck, SynRecv, SynSent, SynSent2, TimeWait};
use Tracked::{Invalid as Bad, Valid};

#[test]
fn handshake_data_and_close() {
    let mut talk = Talk::begin();
    assert_eq!((talk.state(), talk.half_open()), (SynSent, 1));
    assert!(!talk.marks().has(Marks::REPLIED));
    assert_eq!(talk.sends(S, say(SYN | ACK)), Valid(SynRecv));
    assert!(talk.marks().has(Marks::REPLIED));
    assert_eq!((talk.sends(C, say(ACK)), talk.half_open()), (Valid(Established), 0));
    assert_eq!(talk.streams(C, 1000), Touch::Done);
    assert_eq!(talk.streams(S, 50_000), Touch::Done);
    talk.now += 1;
    assert_eq!(
        [talk.streams(C, 100), talk.streams(C, 100), talk.streams(S, 10), talk.streams(S, 10)],
        [Touch::Look, Touch::Done, Touch::Look, Touch::Done]
    );
    assert_eq!(talk.sends(C, say(FIN | ACK)), Valid(FinWait));
    assert_eq!(talk.sends(S, say(ACK)), Valid(CloseWait));
    assert_eq!(talk.sends(S, data(500)), Valid(CloseWait));
    assert_eq!(talk.sends(S, say(FIN | ACK)), Valid(LastAck));
    assert_eq!(talk.sends(C, say(ACK)), Valid(TimeWait));
    let traffic = talk.table.get(talk.conn).unwrap().traffic;
    assert_eq!((traffic[0].packets, traffic[1].packets), (7, 7));
    assert_eq!(traffic[0].bytes, u64::from(7 * HEADERS + 1200));
}

#[test]
fn close_in_three_segments() {
    let mut talk = Talk::established();
    assert_eq!(talk.sends(S, say(FIN | ACK)), Valid(FinWait));
    assert_eq!(talk.sends(C, say(FIN | ACK)), Valid(LastAck));
    assert_eq!(talk.sends(S, say(ACK)), Valid(TimeWait));
}

#[test]
fn close_from_both_sides_at_once() {
    let mut talk = Talk::established();
    // Neither has seen the other's FIN yet.
    let server = Say { flags: FIN | ACK, ack: 0, ..Say::default() };
    let acknowledged = talk.next[C.index()];
    assert_eq!(talk.sends(C, say(FIN | ACK)), Valid(FinWait));
    let back = acknowledged.wrapping_sub(talk.next[C.index()]);
    assert_eq!(talk.sends(S, Say { ack: back, ..server }), Valid(LastAck));
    assert_eq!(talk.sends(C, say(ACK)), Valid(LastAck));
    assert_eq!(talk.sends(S, say(ACK)), Valid(TimeWait));
}

#[test]
fn a_retransmitted_syn_changes_nothing() {
    let mut talk = Talk::begin();
    let again = Say { flags: SYN, sequence: u32::MAX, ..Say::default() };
    assert_eq!(talk.sends(C, again), Valid(SynSent));
    talk.sends(S, say(SYN | ACK));
    assert_eq!(talk.sends(C, again), Valid(SynRecv));
    let answer = Say { flags: SYN | ACK, sequence: u32::MAX, ..Say::default() };
    assert_eq!(talk.sends(S, answer), Valid(SynRecv));
    assert_eq!((talk.sends(C, say(ACK)), talk.half_open()), (Valid(Established), 0));
}

#[test]
fn a_client_that_tries_anew_with_other_numbers_is_answered_by_those() {
    let mut talk = Talk::begin();
    talk.next[C.index()] = 0x1234_0000;
    assert_eq!(talk.sends(C, say(SYN)), Valid(SynSent));
    assert_eq!(talk.sends(S, say(SYN | ACK)), Valid(SynRecv));
    assert_eq!(talk.sends(C, say(ACK)), Valid(Established));
}

#[test]
fn simultaneous_open() {
    let mut talk = Talk::begin();
    assert_eq!(talk.sends(S, say(SYN)), Valid(SynSent2));
    // Each repeats its SYN, with the acknowledgement of the other's.
    let answer = Say { flags: SYN | ACK, sequence: u32::MAX, ..Say::default() };
    assert_eq!(talk.sends(C, answer), Valid(SynRecv));
    assert_eq!((talk.sends(S, answer), talk.half_open()), (Valid(Established), 0));
}

#[test]
fn data_in_the_syn_need_not_be_acknowledged() {
    let syn = Segment { payload: 800, ..syn_segment() };
    let mut talk = Talk::from(open(&syn, false).unwrap(), [CLIENT_START.wrapping_add(801), SERVER_START]);
    let refused = Say { flags: SYN | ACK, ack: 800_u32.wrapping_neg(), ..Say::default() };
    assert_eq!(talk.sends(S, refused), Valid(SynRecv));
    let again = Say { flags: ACK, payload: 800, sequence: 800_u32.wrapping_neg(), ack: 0 };
    assert_eq!(talk.sends(C, again), Valid(Established));
}

#[test]
fn a_handshake_needs_the_right_acknowledgements() {
    let mut talk = Talk::begin();
    let off = |flags, ack| Say { flags, ack, ..Say::default() };
    assert_eq!(talk.sends(S, off(SYN | ACK, 1 << 20)), Bad(Invalid::OutOfWindow));
    assert_eq!(talk.sends(S, off(SYN | ACK, 0x8000_0000)), Bad(Invalid::OutOfWindow));
    assert_eq!(talk.sends(C, say(ACK)), Bad(Invalid::Unexpected));
    assert_eq!(talk.sends(C, say(SYN | ACK)), Bad(Invalid::Unexpected));
    assert_eq!(talk.sends(S, say(SYN | ACK)), Valid(SynRecv));
    assert_eq!(talk.sends(C, off(ACK, 0x8000_0000)), Bad(Invalid::OutOfWindow));
    assert_eq!(talk.sends(C, off(ACK, 1 << 20)), Bad(Invalid::OutOfWindow));
    assert_eq!((talk.state(), talk.half_open()), (SynRecv, 1));
}

#[test]
fn the_server_may_speak_before_the_client_has_answered() {
    let mut talk = Talk::begin();
    talk.sends(S, say(SYN | ACK));
    assert_eq!(talk.sends(S, data(1400)), Valid(SynRecv));
    assert_eq!(talk.sends(C, data(10)), Valid(Established));
}

#[test]
fn a_refused_connection_closes() {
    let mut talk = Talk::begin();
    let forged = Say { flags: RST | ACK, ack: 1 << 24, ..Say::default() };
    assert_eq!(talk.sends(S, forged), Bad(Invalid::OutOfWindow));
    assert_eq!(
        talk.sends(S, say(RST)),
        Bad(Invalid::OutOfWindow),
        "without an acknowledgement anybody could send it"
    );
    assert_eq!((talk.sends(S, say(RST | ACK)), talk.half_open()), (Valid(Close), 0));
}

#[test]
fn a_client_that_gives_up_resets() {
    let mut talk = Talk::begin();
    assert_eq!(talk.sends(C, say(RST)), Valid(Close));
    let mut talk = Talk::begin();
    talk.sends(S, say(SYN | ACK));
    assert_eq!((talk.sends(C, say(RST)), talk.half_open()), (Valid(Close), 0));
}

#[test]
fn a_server_with_an_older_connection_is_reset_by_its_client() {
    let mut talk = Talk::begin();
    // RFC 9293 figure 9: the server answers with the numbers of long ago, the client resets those.
    let old = Say { flags: ACK, payload: 0, sequence: 0x4000_0000, ack: 0x5000_0000 };
    assert_eq!(talk.sends(S, old), Valid(SynSent));
    let reset = Say { flags: RST, sequence: 0x5000_0000, ..Say::default() };
    assert_eq!(talk.sends(C, reset), Valid(SynSent));
    let again = Say { flags: SYN, sequence: u32::MAX, ..Say::default() };
    assert_eq!(talk.sends(C, again), Valid(SynSent));
    assert_eq!(talk.sends(S, say(SYN | ACK)), Valid(SynRecv));
}

#[test]
fn a_reset_closes_at_the_expected_number() {
    for direction in [C, S] {
        let mut talk = Talk::established();
        talk.streams(direction, 5000);
        talk.now += 1;
        talk.streams(direction.other(), 1);
        assert_eq!(talk.sends(direction, say(RST | ACK)), Valid(Close));
        assert!(!talk.marks().has(Marks::DOUBTFUL));
        // For certain: nothing opens it again but a SYN.
        assert_eq!(talk.sends(direction.other(), data(10)), Valid(Close));
    }
}

#[test]
fn a_reset_behind_data_that_was_not_looked_at_closes() {
    let mut talk = Talk::established();
    // 60 MB within a second: only the first segment of the second is looked at.
    talk.now += 1;
    for _ in 0..1000 {
        talk.streams(S, 60_000);
        talk.streams(C, 0);
    }
    assert_eq!(talk.sends(S, say(RST)), Valid(Close));
}

#[test]
fn a_reset_outside_of_the_window_is_invalid() {
    for direction in [C, S] {
        let mut talk = Talk::established();
        for off in [u32::MAX, 0x8000_0000, 1 << 20, 0_u32.wrapping_sub(100_000)] {
            let forged = Say { flags: RST, sequence: off, ..Say::default() };
            assert_eq!(talk.sends(direction, forged), Bad(Invalid::OutOfWindow), "{off:#x}");
        }
        assert_eq!(talk.state(), Established);
    }
}

#[test]
fn a_reset_in_the_window_is_doubted() {
    let mut talk = Talk::established();
    let forged = Say { flags: RST, sequence: 3000, ..Say::default() };
    assert_eq!(talk.sends(S, forged), Valid(Close));
    assert!(talk.marks().has(Marks::DOUBTFUL));
    // The client has answered with a challenge (RFC 5961), and the server does not mind.
    assert_eq!(talk.streams(C, 0), Touch::Look);
    assert_eq!(talk.state(), Established);
    assert_eq!(talk.streams(S, 100), Touch::Done);
    // Had it meant it, it would reset again.
    talk.sends(S, forged);
    talk.streams(C, 10);
    assert_eq!(talk.sends(S, say(RST)), Valid(Close));
    assert!(!talk.marks().has(Marks::DOUBTFUL));
    talk.sends(C, data(10));
    assert_eq!(talk.state(), Close);
}

#[test]
fn a_fin_outside_of_the_window_is_invalid() {
    let mut talk = Talk::established();
    let forged = Say { flags: FIN | ACK, sequence: 0x3000_0000, ..Say::default() };
    assert_eq!(talk.sends(S, forged), Bad(Invalid::OutOfWindow));
    assert_eq!(talk.state(), Established);
}

#[test]
fn a_fin_with_data_and_one_that_is_sent_again() {
    let mut talk = Talk::established();
    let fin = Say { flags: FIN | ACK, payload: 700, ..Say::default() };
    assert_eq!(talk.sends(C, fin), Valid(FinWait));
    let again = Say { sequence: 701_u32.wrapping_neg(), ..fin };
    assert_eq!(talk.sends(C, again), Valid(FinWait));
    // Acknowledges the data, not the FIN.
    assert_eq!(talk.sends(S, Say { flags: ACK, ack: u32::MAX, ..Say::default() }), Valid(FinWait));
    assert_eq!(talk.sends(S, say(ACK)), Valid(CloseWait));
    assert_eq!(talk.sends(C, again), Valid(CloseWait));
}

#[test]
fn a_syn_reopens_what_has_ended() {
    let mut talk = Talk::established();
    talk.sends(C, say(FIN | ACK));
    talk.sends(S, say(FIN | ACK));
    talk.sends(C, say(ACK));
    assert_eq!(talk.state(), TimeWait);
    assert_eq!(talk.sends(S, say(SYN)), Bad(Invalid::Unexpected));
    assert_eq!(talk.sends(C, Say { flags: SYN, sequence: 1 << 16, ..Say::default() }), Tracked::Reopens);
    // The caller removes it and opens a new one.
    let Talk { table, stock, conn, .. } = &mut talk;
    table.remove(stock, *conn);
    let original = tuple();
    let opening = open(&syn_segment(), false).unwrap();
    let new = New { original, reply: original.reversed(), opening, rule: 2, now: 11 };
    let Insert::Created(reopened) = table.insert(stock, &new) else { panic!("no room") };
    assert_eq!(table.lookup(&original.reversed()), Some(Found { conn: reopened, direction: S }));
    assert_eq!(table.track(*conn, C, 11, &syn_segment()), Tracked::Gone);
    assert_eq!(table.touch(*conn, C, 11, 1, 40), Touch::Gone);
}

#[test]
fn a_reset_does_not_end_time_wait() {
    // RFC 1337.
    let mut talk = Talk::established();
    talk.sends(C, say(FIN | ACK));
    talk.sends(S, say(FIN | ACK));
    talk.sends(C, say(ACK));
    assert_eq!(talk.sends(S, say(RST)), Valid(TimeWait));
}

#[test]
fn a_syn_on_an_established_connection_is_its_receivers_business() {
    let mut talk = Talk::established();
    // RFC 5961 section 4.2: the receiver answers with a challenge.
    assert_eq!(talk.sends(C, Say { flags: SYN, sequence: 1 << 24, ..Say::default() }), Valid(Established));
    // A client that has forgotten the connection resets it by the challenge, and begins anew.
    assert_eq!(talk.sends(S, say(ACK)), Valid(Established));
    assert_eq!(talk.sends(C, say(RST)), Valid(Close));
    assert_eq!(talk.sends(C, Say { flags: SYN, sequence: 1 << 24, ..Say::default() }), Tracked::Reopens);
}

#[test]
fn a_connection_under_way_is_picked_up_when_that_is_wanted() {
    let middle = Segment {
        flags: ACK,
        sequence: 900,
        acknowledgement: 5000,
        window: 0x1000,
        scale: None,
        payload: 100,
    };
    assert_eq!(open(&middle, false), Err(Invalid::NotFirst));
    let mut talk = Talk::from(open(&middle, true).unwrap(), [1000, 5000]);
    assert_eq!((talk.state(), talk.half_open()), (Established, 0));
    assert!(!talk.marks().has(Marks::ASSURED));
    assert_eq!(talk.streams(S, 1000), Touch::Look);
    assert_eq!(talk.streams(C, 1000), Touch::Done);
    assert!(talk.marks().has(Marks::ASSURED));
    assert_eq!(talk.sends(S, say(FIN | ACK)), Valid(FinWait));
    assert_eq!(talk.sends(C, say(FIN | ACK)), Valid(LastAck));
    assert_eq!(talk.sends(S, say(ACK)), Valid(TimeWait));
    // Only by a segment of the middle.
    for flags in [FIN | ACK, RST, RST | ACK, SYN | ACK] {
        assert_eq!(open(&Segment { flags, ..middle }, true), Err(Invalid::NotFirst), "{flags:#x}");
    }
}

#[test]
fn flags_that_contradict_each_other_are_invalid() {
    for flags in [0, FIN, SYN | FIN, SYN | RST, FIN | RST | ACK, SYN | FIN | ACK, 0x3f] {
        assert_eq!(open(&Segment { flags, ..Segment::default() }, true), Err(Invalid::Flags), "{flags:#x}");
        let mut talk = Talk::established();
        assert_eq!(talk.sends(C, say(flags)), Bad(Invalid::Flags), "{flags:#x}");
        assert_eq!(talk.state(), Established);
    }
}

#[test]
fn a_header_is_read_as_it_is() {
    let mut bytes = vec![0, 80, 1, 2, 0, 0, 0, 9, 0, 0, 0, 5, 7 << 4, SYN, 4, 0, 0, 0, 0, 0];
    bytes.extend([1, 3, 3, 20, 2, 4, 5, 180]);
    let segment = Segment::read(&bytes, 28 + 6).unwrap();
    let expected =
        Segment { flags: SYN, sequence: 9, acknowledgement: 5, window: 0x400, scale: Some(14), payload: 6 };
    assert_eq!((segment, segment.end()), (expected, 16));
    assert_eq!(Segment::read(&bytes[..19], 34), None);
    assert_eq!(Segment::read(&bytes, 27), None, "shorter than its header says");
    bytes[12] = 4 << 4;
    assert_eq!(Segment::read(&bytes, 34), None);
    // An option without end, and one of length 0.
    bytes[12] = 7 << 4;
    bytes[20] = 5;
    bytes[21] = 40;
    assert_eq!(Segment::read(&bytes, 34).map(|segment| segment.scale), Some(None));
    bytes[21] = 0;
    assert_eq!(Segment::read(&bytes, 34).map(|segment| segment.scale), Some(None));
}
