//! A connection as people see it: a line as conntrack(8) prints it (`conntrack -L`), and the fields for JSON.
//!
//! The line is that of libnetfilter_conntrack with accounting on: protocol and its number, seconds left, state, the original
//! tuple and its counts, `[UNREPLIED]`, the reply tuple and its counts, `[ASSURED]`, mark, zone (when it is not 0), use.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::Serialize;

use super::connection::{Connection, Direction, Marks, Traffic};
use super::timeouts::Timeouts;
use super::tuple::Tuple;
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

const GRE: u8 = 47;

/// A connection, and how long it has left.
#[derive(Clone, Copy, Debug)]
pub struct Line<'c> {
    connection: &'c Connection,
    left: u32,
}

impl<'c> Line<'c> {
    /// At second `now` on the workers' clock.
    pub fn new(connection: &'c Connection, now: u32, timeouts: &Timeouts) -> Self {
        let patience = timeouts.of(&connection.original, connection.state);
        Self { connection, left: patience.saturating_sub(now.saturating_sub(connection.seen)) }
    }
}

/// The name that conntrack(8) prints for a protocol.
pub const fn protocol_name(protocol: u8) -> &'static str {
    match protocol {
        TCP => "tcp",
        UDP => "udp",
        ICMP => "icmp",
        ICMPV6 => "icmpv6",
        SCTP => "sctp",
        GRE => "gre",
        _ => "unknown",
    }
}

impl Display for Line<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let connection = self.connection;
        let protocol = connection.original.protocol();
        write!(out, "{:<8} {} {} ", protocol_name(protocol), protocol, self.left)?;
        if let Some(state) = connection.state.name() {
            write!(out, "{state} ")?;
        }
        tuple(out, &connection.original, connection.traffic[Direction::Original.index()])?;
        if !connection.marks.has(Marks::REPLIED) {
            write!(out, "[UNREPLIED] ")?;
        }
        tuple(out, &connection.reply, connection.traffic[Direction::Reply.index()])?;
        if connection.marks.has(Marks::ASSURED) {
            write!(out, "[ASSURED] ")?;
        }
        write!(out, "mark=0 ")?;
        if connection.original.zone() != 0 {
            write!(out, "zone={} ", connection.original.zone())?;
        }
        write!(out, "use=1")
    }
}

fn tuple(out: &mut Formatter<'_>, tuple: &Tuple, traffic: Traffic) -> fmt::Result {
    write!(out, "src={} dst={} ", tuple.source(), tuple.destination())?;
    let (source, destination) = (tuple.source_port(), tuple.destination_port());
    match tuple.protocol() {
        TCP | UDP | SCTP => write!(out, "sport={source} dport={destination} ")?,
        ICMP | ICMPV6 if tuple.echo().is_some() => {
            write!(out, "type={} code={} id={source} ", destination >> 8, destination & 0xff)?;
        }
        GRE => write!(out, "srckey=0x0 dstkey=0x0 ")?,
        _ => {}
    }
    write!(out, "packets={} bytes={} ", traffic.packets, traffic.bytes)
}

/// The fields of a connection, for JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fields {
    /// Name of the protocol.
    pub protocol: &'static str,
    /// Its number.
    pub protocol_number: u8,
    /// State, where the protocol has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// Zone.
    pub zone: u16,
    /// Seconds until it is forgotten, if nothing comes.
    pub timeout: u32,
    /// Seconds since it was made.
    pub age: u32,
    /// A reply was seen.
    pub replied: bool,
    /// Traffic both ways.
    pub assured: bool,
    /// Picked up in the middle.
    pub picked_up: bool,
    /// Its source is translated.
    pub snat: bool,
    /// Its destination is translated.
    pub dnat: bool,
    /// What made it.
    pub rule: u32,
    /// Packets of its first packet's direction.
    pub original: Side,
    /// Packets of the other.
    pub reply: Side,
}

/// One direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port, where there are ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// Destination port, where there are ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    /// ICMP type and code of an echo message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// Identifier of an echo message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_id: Option<u16>,
    /// Packets and bytes.
    #[serde(flatten)]
    pub traffic: Traffic,
}

impl Fields {
    /// At second `now` on the workers' clock.
    pub fn new(connection: &Connection, now: u32, timeouts: &Timeouts) -> Self {
        let protocol = connection.original.protocol();
        let side = |tuple: &Tuple, direction: Direction| {
            let ports = matches!(protocol, TCP | UDP | SCTP);
            Side {
                src: tuple.source(),
                dst: tuple.destination(),
                sport: ports.then(|| tuple.source_port()),
                dport: ports.then(|| tuple.destination_port()),
                icmp_type: tuple.echo().map(|kind| (kind >> 8) as u8),
                icmp_id: tuple.echo().map(|_| tuple.source_port()),
                traffic: connection.traffic[direction.index()],
            }
        };
        Self {
            protocol: protocol_name(protocol),
            protocol_number: protocol,
            state: connection.state.name(),
            zone: connection.original.zone(),
            timeout: Line::new(connection, now, timeouts).left,
            age: now.saturating_sub(connection.created),
            replied: connection.marks.has(Marks::REPLIED),
            assured: connection.marks.has(Marks::ASSURED),
            picked_up: connection.marks.has(Marks::PICKED_UP),
            snat: connection.nat.source,
            dnat: connection.nat.destination,
            rule: connection.rule,
            original: side(&connection.original, Direction::Original),
            reply: side(&connection.reply, Direction::Reply),
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::state::tuple::Parts;
    use crate::state::{Insert, Limits, New, Opening, Segment, Size, Stock, Table, tcp};

    /// The connection that its first packet makes, its line and its fields 7 seconds later, and the same after an answer.
    fn shown(original: Tuple, reply: Tuple) -> (String, String, Fields) {
        let table = Table::new(Size { capacity: 4, threads: 1, limits: Limits::NONE }, 1).unwrap();
        let mut segment = Segment { flags: 2, sequence: 9, ..Segment::default() };
        let tcp = original.protocol() == TCP;
        let opening = if tcp { tcp::open(&segment, false) } else { Opening::untracked(&original) }.unwrap();
        let new = New { original, reply, opening, rule: 3, now: 100 };
        let Insert::Created(conn) = table.insert(&mut Stock::default(), &new) else { panic!("no room") };
        table.touch(conn, Direction::Original, 100, 1, 60);
        let timeouts = Timeouts::default();
        let first = Line::new(&table.get(conn).unwrap(), 107, &timeouts).to_string();
        table.touch(conn, Direction::Reply, 107, 2, 1500);
        if tcp {
            (segment.flags, segment.acknowledgement) = (0x12, 10);
            table.track(conn, Direction::Reply, 107, &segment);
            (segment.flags, segment.sequence, segment.acknowledgement) = (0x10, 10, 10);
            table.track(conn, Direction::Original, 107, &segment);
        }
        let last = table.get(conn).unwrap();
        (first, Line::new(&last, 107, &timeouts).to_string(), Fields::new(&last, 107, &timeouts))
    }

    fn of(protocol: u8, zone: u16, hosts: (&str, &str), ports: (u16, u16)) -> Tuple {
        let (source, destination) = (hosts.0.parse().unwrap(), hosts.1.parse().unwrap());
        let (source_port, destination_port) = ports;
        Tuple::new(&Parts { zone, protocol, source, destination, source_port, destination_port }).unwrap()
    }

    #[test]
    fn a_tcp_connection_through_a_service() {
        let original = of(TCP, 0, ("10.0.0.1", "10.96.0.1"), (40_000, 80));
        let (first, last, fields) = shown(original, of(TCP, 0, ("10.0.1.7", "10.0.0.1"), (8080, 40_000)));
        assert_eq!(
            first,
            "tcp      6 113 SYN_SENT src=10.0.0.1 dst=10.96.0.1 sport=40000 dport=80 packets=1 bytes=60 [UNREPLIED] \
             src=10.0.1.7 dst=10.0.0.1 sport=8080 dport=40000 packets=0 bytes=0 mark=0 use=1"
        );
        assert_eq!(
            last,
            "tcp      6 432000 ESTABLISHED src=10.0.0.1 dst=10.96.0.1 sport=40000 dport=80 packets=1 bytes=60 \
             src=10.0.1.7 dst=10.0.0.1 sport=8080 dport=40000 packets=2 bytes=1500 [ASSURED] mark=0 use=1"
        );
        assert!(fields.dnat && !fields.snat && fields.assured);
        let json = serde_json::to_value(&fields).unwrap();
        assert_eq!(json["reply"]["sport"], 8080);
        assert_eq!(json["original"]["bytes"], 60);
        assert_eq!((&json["age"], &json["state"]), (&7.into(), &"ESTABLISHED".into()));
        assert_eq!(json["original"].get("icmp_id"), None);
    }

    #[test]
    fn udp_icmp_sctp_and_others() {
        let lines = |tuple: Tuple| {
            let (first, last, _) = shown(tuple, tuple.reversed());
            [first, last]
        };
        assert_eq!(
            lines(of(UDP, 5, ("fd00::1", "fd00::2"), (5000, 53))),
            [
                "udp      17 23 src=fd00::1 dst=fd00::2 sport=5000 dport=53 packets=1 bytes=60 [UNREPLIED] src=fd00::2 \
                 dst=fd00::1 sport=53 dport=5000 packets=0 bytes=0 mark=0 zone=5 use=1",
                "udp      17 120 src=fd00::1 dst=fd00::2 sport=5000 dport=53 packets=1 bytes=60 src=fd00::2 \
                 dst=fd00::1 sport=53 dport=5000 packets=2 bytes=1500 [ASSURED] mark=0 zone=5 use=1",
            ]
        );
        assert_eq!(
            lines(of(ICMP, 0, ("10.0.0.1", "10.0.0.2"), (77, 8 << 8)))[1],
            "icmp     1 30 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=77 packets=1 bytes=60 src=10.0.0.2 dst=10.0.0.1 \
             type=0 code=0 id=77 packets=2 bytes=1500 mark=0 use=1"
        );
        assert!(
            lines(of(SCTP, 0, ("10.0.0.1", "10.0.0.2"), (1, 2)))[1]
                .starts_with("sctp     132 210 ESTABLISHED src=")
        );
        let gre = &lines(of(GRE, 0, ("10.0.0.1", "10.0.0.2"), (0, 0)))[0];
        assert!(
            gre.starts_with("gre      47 593 src=10.0.0.1 dst=10.0.0.2 srckey=0x0 dstkey=0x0 packets=1"),
            "{gre}"
        );
        assert!(
            lines(of(50, 0, ("10.0.0.1", "10.0.0.2"), (0, 0)))[0].starts_with("unknown  50 593 src=10.0.0.1")
        );
    }
}
