//! SCTP associations: scenarios through the table as a worker sees them, a table of states to compare with, and two honest
//! ends over a network that loses and doubles.

mod ends;
mod model;

use super::*;
use crate::state::connection::ConnRef;
use crate::state::table::{Insert, New, Size, Table};
use crate::state::tuple::Parts;
use crate::state::{Limits, Stock, Touch, Tracked, Tuple};
use crate::wire::protocol::SCTP;
use Direction::{Original as C, Reply as S};
use State::{
    SctpClosed as Closed, SctpCookieEchoed as CookieEchoed, SctpCookieWait as CookieWait,
    SctpEstablished as Established, SctpHeartbeatSent as HeartbeatSent,
    SctpShutdownAckSent as ShutdownAckSent, SctpShutdownRecd as ShutdownRecd,
    SctpShutdownSent as ShutdownSent,
};
use Tracked::{Invalid as Bad, Valid};

/// Chosen by the client: what the server's packets carry. And the other way round.
const CLIENTS: u32 = 0xc11e;
const SERVERS: u32 = 0x5e55;
const WRONG: u32 = 0xbad;

fn packet(tag: u32, chunks: &[Chunk]) -> Packet {
    Packet::new(tag, chunks).expect("a sound packet")
}

fn init(offered: u32) -> Packet {
    packet(0, &[Chunk::Init(offered)])
}

/// The tag that packets of a direction carry.
fn tag_of(direction: Direction) -> u32 {
    match direction {
        C => SERVERS,
        S => CLIENTS,
    }
}

/// An association in a table.
struct Talk {
    table: Table,
    conn: ConnRef,
    now: u32,
}

impl Talk {
    fn begin(first: &Packet, loose: bool) -> Self {
        let table = Table::new(Size { capacity: 8, threads: 1, limits: Limits::NONE }, 3).expect("memory");
        let original = Tuple::new(&Parts {
            zone: 0,
            protocol: SCTP,
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            source_port: 5000,
            destination_port: 38_412,
        })
        .expect("one family");
        let opening = open(first, loose).expect("it opens");
        let new = New { original, reply: original.reversed(), opening, rule: 1, now: 10 };
        let Insert::Created(conn) = table.insert(&mut Stock::default(), &new) else {
            panic!("an empty table")
        };
        Self { table, conn, now: 10 }
    }

    fn established() -> Self {
        let mut talk = Self::begin(&init(CLIENTS), false);
        assert_eq!(talk.says(S, Chunk::InitAck(SERVERS)), Valid(CookieWait));
        assert_eq!(talk.says(C, Chunk::CookieEcho), Valid(CookieEchoed));
        assert_eq!(talk.says(S, Chunk::CookieAck), Valid(Established));
        talk
    }

    fn sends(&mut self, direction: Direction, packet: &Packet) -> Tracked {
        assert_eq!(self.table.touch(self.conn, direction, self.now, 1, 100), Touch::Look);
        self.table.track_sctp(self.conn, direction, self.now, packet)
    }

    /// With the direction's own tag.
    fn says(&mut self, direction: Direction, chunk: Chunk) -> Tracked {
        self.sends(direction, &packet(tag_of(direction), &[chunk]))
    }

    fn marks(&self) -> Marks {
        self.table.get(self.conn).expect("live").marks
    }

    fn half_open(&self) -> u64 {
        self.table.count().1
    }
}

/// What is known after a first packet, without a table around it.
fn known(first: &Packet) -> Association {
    let Opening { state, marks, end, offered, .. } = open(first, false).expect("it opens");
    let tags = [Tags { held: end, offered: 0 }, Tags { held: 0, offered }];
    Association { state, marks, tags }
}

#[test]
fn what_is_known_is_what_the_table_keeps() {
    for first in [init(CLIENTS), packet(SERVERS, &[Chunk::Heartbeat])] {
        let (mut talk, mut known) = (Talk::begin(&first, false), known(&first));
        let packets = [(C, init(CLIENTS + 1)), (S, packet(CLIENTS, &[Chunk::InitAck(SERVERS)]))];
        let more = [(C, packet(SERVERS, &[Chunk::CookieEcho])), (S, packet(CLIENTS, &[Chunk::CookieAck]))];
        for (direction, packet) in packets.into_iter().chain(more) {
            let tracked = talk.sends(direction, &packet);
            match known.step(direction, &packet) {
                Step::To(next) => {
                    assert_eq!(tracked, Valid(next.state));
                    known = next;
                }
                Step::Invalid(invalid) => assert_eq!(tracked, Bad(invalid)),
                Step::Reopens => assert_eq!(tracked, Tracked::Reopens),
            }
            let kept = talk.table.get(talk.conn).expect("live");
            assert_eq!((kept.state, kept.marks), (known.state, known.marks));
        }
    }
}

#[test]
fn handshake_data_and_shutdown() {
    let mut talk = Talk::begin(&init(CLIENTS), false);
    assert_eq!((talk.half_open(), talk.marks().has(Marks::REPLIED)), (1, false));
    assert_eq!(talk.says(S, Chunk::InitAck(SERVERS)), Valid(CookieWait));
    // The cookie goes with the first data.
    let echo = packet(SERVERS, &[Chunk::CookieEcho, Chunk::Other]);
    assert_eq!((talk.sends(C, &echo), talk.half_open()), (Valid(CookieEchoed), 1));
    let ack = packet(CLIENTS, &[Chunk::CookieAck, Chunk::Other]);
    assert_eq!((talk.sends(S, &ack), talk.half_open()), (Valid(Established), 0));
    assert!(talk.marks().has(Marks::ASSURED));
    for direction in [C, S] {
        assert_eq!(talk.says(direction, Chunk::Other), Valid(Established));
        assert_eq!(talk.says(direction, Chunk::Heartbeat), Valid(Established));
    }
    // Behind a SACK.
    let shutdown = packet(SERVERS, &[Chunk::Other, Chunk::Shutdown]);
    assert_eq!(talk.sends(C, &shutdown), Valid(ShutdownSent));
    assert_eq!(talk.says(S, Chunk::Other), Valid(ShutdownSent));
    assert_eq!(talk.says(S, Chunk::ShutdownAck), Valid(ShutdownAckSent));
    assert_eq!(talk.says(C, Chunk::ShutdownComplete(false)), Valid(Closed));
    assert_eq!(talk.sends(C, &init(99)), Tracked::Reopens);
}

#[test]
fn the_other_side_may_shut_down_or_both() {
    let mut talk = Talk::established();
    assert_eq!(talk.says(S, Chunk::Shutdown), Valid(ShutdownRecd));
    assert_eq!(talk.says(C, Chunk::ShutdownAck), Valid(ShutdownAckSent));
    assert_eq!(talk.says(S, Chunk::ShutdownComplete(false)), Valid(Closed));
    // Its last word was lost behind us: the client says it again, and the server knows the association no more.
    assert_eq!(talk.says(C, Chunk::ShutdownAck), Valid(Closed));
    let reflected = packet(SERVERS, &[Chunk::ShutdownComplete(true)]);
    assert_eq!(talk.sends(S, &reflected), Valid(Closed));

    let mut talk = Talk::established();
    assert_eq!(talk.says(C, Chunk::Shutdown), Valid(ShutdownSent));
    assert_eq!(talk.says(S, Chunk::Shutdown), Valid(ShutdownSent));
    assert_eq!(talk.says(C, Chunk::ShutdownAck), Valid(ShutdownAckSent));
    assert_eq!(talk.says(S, Chunk::ShutdownAck), Valid(ShutdownAckSent));
    assert_eq!(talk.says(C, Chunk::ShutdownComplete(false)), Valid(Closed));
}

#[test]
fn an_abort_needs_a_tag_of_the_association() {
    for (direction, reflected) in [(C, false), (C, true), (S, false), (S, true)] {
        let mut talk = Talk::established();
        let due = tag_of(if reflected { direction.other() } else { direction });
        let abort = |tag| packet(tag, &[Chunk::Abort(reflected)]);
        for wrong in [tag_of(if reflected { direction } else { direction.other() }), WRONG] {
            assert_eq!(talk.sends(direction, &abort(wrong)), Bad(Invalid::Tag));
        }
        assert_eq!(talk.sends(direction, &abort(due)), Valid(Closed));
    }
    // Nobody listens: the answer to an INIT has the tag that it offers.
    let mut talk = Talk::begin(&init(CLIENTS), false);
    assert_eq!(talk.sends(S, &packet(WRONG, &[Chunk::Abort(false)])), Bad(Invalid::Tag));
    assert_eq!((talk.says(S, Chunk::Abort(false)), talk.half_open()), (Valid(Closed), 0));
}

#[test]
fn every_packet_needs_the_tag_of_its_direction() {
    let mut talk = Talk::established();
    for direction in [C, S] {
        for chunk in [Chunk::Other, Chunk::Heartbeat, Chunk::Shutdown, Chunk::CookieAck, Chunk::InitAck(5)] {
            for tag in [WRONG, tag_of(direction.other())] {
                assert_eq!(talk.sends(direction, &packet(tag, &[chunk])), Bad(Invalid::Tag), "{chunk:?}");
            }
        }
    }
    assert_eq!(talk.says(C, Chunk::Other), Valid(Established));
}

#[test]
fn a_step_that_is_taken_again_leads_to_the_same() {
    // Tags are written before the state; when another packet changes that first, the step starts from the new tags.
    let mut known = known(&init(CLIENTS));
    let packets = [
        (S, packet(CLIENTS, &[Chunk::InitAck(SERVERS)])),
        (S, packet(CLIENTS, &[Chunk::InitAck(SERVERS + 1)])),
        (C, packet(SERVERS, &[Chunk::CookieEcho])),
        (S, packet(CLIENTS, &[Chunk::CookieAck])),
        (C, packet(SERVERS, &[Chunk::Abort(false)])),
    ];
    for (direction, packet) in packets {
        let Step::To(next) = known.step(direction, &packet) else { panic!("{packet:?}") };
        let half = Association { tags: next.tags, ..known };
        assert_eq!(half.step(direction, &packet), Step::To(next), "{packet:?}");
        known = next;
    }
}

#[test]
fn a_packet_that_is_refused_keeps_nothing_alive() {
    let mut talk = Talk::established();
    talk.now = 50;
    assert_eq!(talk.sends(C, &packet(WRONG, &[Chunk::Other])), Bad(Invalid::Tag));
    assert_eq!(talk.table.get(talk.conn).unwrap().seen, 10);
    talk.says(C, Chunk::Other);
    assert_eq!(talk.table.get(talk.conn).unwrap().seen, 50);
}

#[test]
fn either_of_two_answers_may_be_the_one_that_counts() {
    for chosen in [SERVERS, SERVERS + 1, SERVERS + 2] {
        let mut talk = Talk::begin(&init(CLIENTS), false);
        for offered in [SERVERS, SERVERS + 1, SERVERS + 2] {
            assert_eq!(talk.sends(C, &init(CLIENTS)), Valid(CookieWait));
            assert_eq!(talk.says(S, Chunk::InitAck(offered)), Valid(CookieWait));
        }
        let echo = talk.sends(C, &packet(chosen, &[Chunk::CookieEcho]));
        // The first and the last: that the one between got through and the first did not is not provided for.
        if chosen == SERVERS + 1 {
            assert_eq!(echo, Bad(Invalid::Tag));
            continue;
        }
        assert_eq!(echo, Valid(CookieEchoed));
        assert_eq!(talk.says(S, Chunk::CookieAck), Valid(Established));
        let other = SERVERS + SERVERS + 2 - chosen;
        assert_eq!(talk.sends(C, &packet(other, &[Chunk::Other])), Bad(Invalid::Tag));
        assert_eq!(talk.sends(C, &packet(chosen, &[Chunk::Other])), Valid(Established));
    }
}

#[test]
fn both_may_open_at_once() {
    // RFC 9260 section 5.2.1: each answers with the tag that its own INIT offered.
    let mut talk = Talk::begin(&init(CLIENTS), false);
    assert_eq!(talk.sends(S, &init(SERVERS)), Valid(CookieWait));
    assert_eq!(talk.says(C, Chunk::InitAck(CLIENTS)), Valid(CookieWait));
    assert_eq!(talk.says(S, Chunk::InitAck(SERVERS)), Valid(CookieWait));
    assert_eq!(talk.says(C, Chunk::CookieEcho), Valid(CookieEchoed));
    assert_eq!(talk.says(S, Chunk::CookieEcho), Valid(CookieEchoed));
    assert_eq!(talk.says(C, Chunk::CookieAck), Valid(Established));
    assert_eq!((talk.says(S, Chunk::CookieAck), talk.half_open()), (Valid(Established), 0));
}

#[test]
fn a_cookie_that_was_too_old_is_asked_for_anew() {
    let mut talk = Talk::begin(&init(CLIENTS), false);
    talk.says(S, Chunk::InitAck(SERVERS));
    talk.says(C, Chunk::CookieEcho);
    assert_eq!(talk.says(S, Chunk::Error), Valid(CookieEchoed));
    assert_eq!(talk.sends(C, &init(CLIENTS + 1)), Valid(CookieWait));
    assert_eq!(talk.sends(S, &packet(CLIENTS + 1, &[Chunk::InitAck(SERVERS + 1)])), Valid(CookieWait));
    assert_eq!(talk.sends(C, &packet(SERVERS + 1, &[Chunk::CookieEcho])), Valid(CookieEchoed));
    assert_eq!(talk.sends(S, &packet(CLIENTS + 1, &[Chunk::CookieAck])), Valid(Established));
    assert_eq!(talk.sends(S, &packet(CLIENTS, &[Chunk::Other])), Bad(Invalid::Tag));
}

#[test]
fn an_end_that_begins_anew_replaces_the_association_when_its_cookie_is_taken() {
    let (client, server) = (CLIENTS + 7, SERVERS + 7);
    let mut talk = Talk::established();
    assert_eq!(talk.sends(C, &init(client)), Valid(Established));
    assert_eq!(talk.sends(S, &packet(client, &[Chunk::InitAck(server)])), Valid(Established));
    // Until then what is there goes on, and only that.
    assert_eq!(talk.says(S, Chunk::Other), Valid(Established));
    assert_eq!(talk.sends(S, &packet(client, &[Chunk::Other])), Bad(Invalid::Tag));
    // Who can forge both sides' addresses has not seen the server's tag.
    assert_eq!(talk.sends(S, &packet(client, &[Chunk::CookieAck])), Bad(Invalid::Unexpected));
    for end in [Chunk::Shutdown, Chunk::ShutdownAck] {
        assert_eq!(talk.sends(S, &packet(client, &[Chunk::CookieEcho, end])), Bad(Invalid::Tag));
    }
    assert_eq!(talk.sends(C, &packet(server, &[Chunk::CookieEcho, Chunk::Other])), Valid(Established));
    assert_eq!(talk.sends(S, &packet(client, &[Chunk::CookieAck])), Valid(Established));
    assert_eq!(talk.says(C, Chunk::Other), Bad(Invalid::Tag));
    assert_eq!(talk.sends(C, &packet(server, &[Chunk::Other])), Valid(Established));
}

#[test]
fn an_end_that_begins_anew_may_be_refused() {
    let mut talk = Talk::established();
    talk.sends(C, &init(WRONG));
    assert_eq!(talk.sends(S, &packet(WRONG, &[Chunk::Abort(false)])), Valid(Established));
    assert_eq!(talk.says(C, Chunk::Other), Valid(Established));
    assert_eq!(talk.sends(S, &packet(WRONG, &[Chunk::InitAck(1)])), Bad(Invalid::Tag));
}

#[test]
fn an_end_that_waits_for_the_last_word_of_an_older_association_gets_it() {
    // RFC 9260 section 8.5.1 E: the tag is that of the older one.
    let mut talk = Talk::begin(&init(CLIENTS), false);
    let old = packet(0xe1d, &[Chunk::ShutdownAck]);
    assert_eq!(talk.sends(S, &old), Valid(CookieWait));
    assert_eq!(talk.sends(C, &packet(0xe1d, &[Chunk::ShutdownComplete(true)])), Valid(CookieWait));
    assert_eq!(talk.sends(C, &init(CLIENTS)), Valid(CookieWait));
    assert_eq!(talk.says(S, Chunk::InitAck(SERVERS)), Valid(CookieWait));
}

#[test]
fn a_heartbeat_opens_another_path() {
    let mut talk = Talk::begin(&packet(SERVERS, &[Chunk::Heartbeat]), false);
    assert_eq!(talk.half_open(), 1);
    assert_eq!(talk.says(C, Chunk::Heartbeat), Valid(HeartbeatSent));
    assert_eq!((talk.says(S, Chunk::HeartbeatAck), talk.half_open()), (Valid(Established), 0));
    assert_eq!(talk.sends(S, &packet(WRONG, &[Chunk::Other])), Bad(Invalid::Tag));
    assert_eq!(talk.says(C, Chunk::Other), Valid(Established));
    // And may be where an association begins.
    let mut talk = Talk::begin(&packet(0xe1d, &[Chunk::Heartbeat]), false);
    assert_eq!((talk.sends(C, &init(CLIENTS)), talk.half_open()), (Valid(CookieWait), 1));
    assert_eq!(talk.says(S, Chunk::InitAck(SERVERS)), Valid(CookieWait));
}

#[test]
fn an_association_under_way_is_picked_up_when_that_is_wanted() {
    let middle = packet(SERVERS, &[Chunk::Other]);
    assert_eq!(open(&middle, false), Err(Invalid::NotFirst));
    let mut talk = Talk::begin(&middle, true);
    assert!(!talk.marks().has(Marks::ASSURED));
    // The other side's tag is that of its first packet.
    assert_eq!(talk.says(S, Chunk::Other), Valid(Established));
    assert!(talk.marks().has(Marks::ASSURED));
    assert_eq!(talk.sends(S, &packet(WRONG, &[Chunk::Other])), Bad(Invalid::Tag));
    assert_eq!(talk.says(S, Chunk::ShutdownAck), Valid(ShutdownAckSent));
    // An end that knows nothing of it says so with the sender's tag.
    let mut talk = Talk::begin(&middle, true);
    assert_eq!(talk.sends(S, &packet(SERVERS, &[Chunk::Abort(true)])), Valid(Closed));
    for chunk in [
        Chunk::InitAck(1),
        Chunk::CookieEcho,
        Chunk::CookieAck,
        Chunk::HeartbeatAck,
        Chunk::ShutdownComplete(false),
        Chunk::Abort(false),
        Chunk::Error,
    ] {
        assert_eq!(open(&packet(SERVERS, &[chunk]), true), Err(Invalid::NotFirst), "{chunk:?}");
    }
}

#[test]
fn a_packet_is_read_as_it_is() {
    let header = [0, 1, 0, 2, 0, 0, 0, 9, 1, 2, 3, 4];
    let read = |chunks: &[u8]| {
        let bytes = [header.as_slice(), chunks].concat();
        Packet::read(&bytes, bytes.len() as u32)
    };
    let some = |chunks: &[Chunk]| Some(packet(9, chunks));
    // COOKIE ECHO of five bytes, padded, and DATA.
    assert_eq!(read(&[10, 0, 0, 5, 1, 0, 0, 0, 0, 3, 0, 17]), some(&[Chunk::CookieEcho, Chunk::Other]));
    assert_eq!(read(&[3, 0, 0, 4, 7, 0, 0, 8, 0, 0, 0, 1]), some(&[Chunk::Other, Chunk::Shutdown]));
    assert_eq!(read(&[6, 1, 0, 4]), some(&[Chunk::Abort(true)]));
    assert_eq!(read(&[2, 0, 0, 20, 0, 0, 0, 8]), some(&[Chunk::InitAck(8)]));
    // What is behind DATA is no control chunk, whatever it looks like.
    assert_eq!(read(&[0, 3, 0, 4, 6, 0, 0, 4]), some(&[Chunk::Other]));
    // No chunk, one of no length, an INIT ACK without a tag or in company, an INIT with a tag, no tag without an INIT.
    for unsound in [
        [].as_slice(),
        &[3, 0, 0],
        &[3, 0, 0, 3],
        &[2, 0, 0, 20],
        &[2, 0, 0, 20, 0, 0, 0, 0],
        &[2, 0, 0, 8, 0, 0, 0, 8, 3, 0, 0, 4],
        &[3, 0, 0, 4, 14, 0, 0, 4],
        &[1, 0, 0, 20, 0, 0, 0, 8],
    ] {
        assert_eq!(read(unsound), None, "{unsound:?}");
    }
    assert_eq!(Packet::read(&[0; 12], 12), None);
    assert_eq!(Packet::read(&[0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 4], 16), None);
    // Padding behind the packet is not of it, and neither is what is not there.
    let padded = [header.as_slice(), &[3, 0, 0, 4, 6, 0, 0, 4]].concat();
    assert_eq!(Packet::read(&padded, 16), some(&[Chunk::Other]));
    assert_eq!(Packet::read(&padded[..16], 20), some(&[Chunk::Other]));
    // More chunks than any sender has cause for.
    let many = [header.as_slice(), &[9, 0, 0, 4].repeat(packet::MOST + 1)].concat();
    assert_eq!(Packet::read(&many, many.len() as u32), None);
}
