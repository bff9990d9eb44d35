//! What must hold of SCTP packets and of the association that they make, whatever both ends send.

use shunt_switch::state::sctp::{Packet, open};
use shunt_switch::state::tuple::Parts;
use shunt_switch::state::{
    ConnRef, Direction, Insert, Limits, New, Removal, Size, Stock, Table, Tracked, Tuple,
};

/// How a case is written in bytes: one byte (bit 0: associations are picked up in the middle), then packets, each behind a byte with its
/// direction in bit 7 and the words of four bytes it has in the others, and a byte with how many bytes of it there are besides those at
/// hand.
///
/// Panics when a property does not hold. How many packets were taken for valid ones of an association.
pub(crate) fn check(input: &[u8]) -> usize {
    let Some((flags, mut rest)) = input.split_first() else { return 0 };
    let size = Size { capacity: 4, threads: 1, limits: Limits::NONE };
    let mut ends = Ends {
        table: Table::new(size, 1).expect("memory for four connections"),
        stock: Stock::default(),
        loose: flags & 1 != 0,
        conn: None,
    };
    let mut valid = 0;
    for now in 0.. {
        let [head, more, behind @ ..] = rest else { break };
        let (bytes, next) = behind.split_at(behind.len().min(usize::from(head & 0x7f) * 4));
        rest = next;
        let direction = if head & 0x80 == 0 { Direction::Original } else { Direction::Reply };
        let length = bytes.len() as u32 + u32::from(*more);
        let packet = Packet::read(bytes, length);
        check_packet(bytes, length, packet);
        if let Some(packet) = packet {
            valid += usize::from(ends.hear(direction, &packet, now));
        }
    }
    valid
}

/// Bytes behind the packet change nothing, nor does what is behind its first DATA.
fn check_packet(bytes: &[u8], length: u32, packet: Option<Packet>) {
    let longer = [bytes, &[1, 0, 0, 4]].concat();
    assert_eq!(Packet::read(&longer, bytes.len() as u32), Packet::read(bytes, bytes.len() as u32));
    assert_eq!(Packet::read(bytes, length), packet);
    let Some(packet) = packet else { return };
    assert!(bytes.len() >= 16, "a header and a chunk");
    let (mut at, mut init) = (12, false);
    while at + 4 <= bytes.len() {
        let (kind, length) = (bytes[at], usize::from(bytes[at + 2]) << 8 | usize::from(bytes[at + 3]));
        assert!(length >= 4, "a chunk of no length");
        init |= kind == 1;
        if kind == 0 || kind == 64 {
            let shortened = Packet::read(&bytes[..at + 4], at as u32 + 4);
            assert_eq!(shortened, Some(packet), "what is behind DATA");
            break;
        }
        at += length.div_ceil(4) * 4;
    }
    assert_eq!(init, bytes[4..8] == [0; 4], "INIT and nothing else has no tag");
}

struct Ends {
    table: Table,
    stock: Stock,
    loose: bool,
    conn: Option<ConnRef>,
}

impl Ends {
    /// What a worker does with a packet of a connection.
    fn hear(&mut self, direction: Direction, packet: &Packet, now: u32) -> bool {
        let Some(conn) = self.conn else { return self.begin(packet, now) };
        let before = self.table.get(conn).expect("it is there");
        match self.table.track_sctp(conn, direction, now, packet) {
            Tracked::Valid(state) => {
                let after = self.table.get(conn).expect("it is there");
                assert_eq!(after.state, state);
                assert_eq!((after.original, after.reply), (before.original, before.reply));
                true
            }
            Tracked::Invalid(_) => {
                assert_eq!(self.table.get(conn), Some(before), "an invalid packet changed something");
                false
            }
            Tracked::Reopens => {
                assert!(matches!(self.table.remove(&mut self.stock, conn), Removal::Removed(_)));
                self.conn = None;
                self.begin(packet, now)
            }
            Tracked::Gone => panic!("nobody has removed it"),
        }
    }

    fn begin(&mut self, packet: &Packet, now: u32) -> bool {
        let Ok(opening) = open(packet, self.loose) else { return false };
        let [source, destination] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().expect("an address"));
        let parts =
            Parts { zone: 0, protocol: 132, source, destination, source_port: 1, destination_port: 2 };
        let original = Tuple::new(&parts).expect("a tuple");
        let new = New { original, reply: original.reversed(), opening, rule: 0, now };
        let Insert::Created(conn) = self.table.insert(&mut self.stock, &new) else { panic!("it is alone") };
        self.conn = Some(conn);
        true
    }
}
