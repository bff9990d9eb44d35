//! TCP connections from the same port to the same server, one after the other: each in place of the one before.

use etherparse::TcpHeader;

use super::*;
use crate::state::State as Of;

const CLIENT: u16 = 40_000;
const SERVER: u16 = 80;

/// One segment of a conversation, without the checksum.
fn header(ports: (u16, u16), sequence: u32, acknowledgement: Option<u32>) -> TcpHeader {
    let mut header = TcpHeader::new(ports.0, ports.1, sequence, 65_000);
    (header.ack, header.acknowledgment_number) = (acknowledgement.is_some(), acknowledgement.unwrap_or(0));
    header
}

/// Two ends with a masquerading router between them.
struct Talk {
    forwarder: Forwarder,
    topology: Topology,
    table: Arc<Table>,
    /// The client's port as the server sees it.
    port: u16,
}

impl Talk {
    /// Sends a segment and expects it at the other end, sound, with the client's address hidden from the server.
    fn send(&mut self, side: usize, header: TcpHeader, payload: &[u8], now: u32) {
        let (client, server) = (station(INSIDE, 1).0, station(OUTSIDE, 1).0);
        let (from, to) = if side == INSIDE { (client, server) } else { (server, MASQUERADE) };
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, side as u8, from[3]], gateway_mac(side).bytes())
            .ipv4(from, to, 64)
            .tcp_header(header.clone())
            .write(&mut bytes, payload)
            .unwrap();
        let (out, bytes) = carry(&mut self.forwarder, &self.topology, side, &bytes, now).unwrap();
        assert_eq!(out.index(), 1 - side);
        let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
        let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else { panic!("not IPv4") };
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("not TCP") };
        let ip = ip.header();
        assert_eq!((ip.header_checksum(), ip.ttl()), (ip.to_header().calc_header_checksum(), 63));
        let sum = tcp.to_header().calc_checksum_ipv4(&ip.to_header(), tcp.payload()).unwrap();
        assert_eq!(tcp.checksum(), sum, "the TCP checksum is right");
        assert_eq!(tcp.payload(), payload);
        let (seen, ports) = ((ip.source(), ip.destination()), (tcp.source_port(), tcp.destination_port()));
        if side == INSIDE {
            self.port = ports.0;
            assert_eq!((seen, ports.1), ((MASQUERADE, server), SERVER));
        } else {
            assert_eq!((seen, ports), ((server, client), (SERVER, CLIENT)));
        }
    }

    /// The only connection there is.
    fn only(&self) -> crate::state::Connection {
        let mut rows = Vec::with_capacity(8);
        self.table.list(0, 1 << 20, &mut rows);
        let [row] = rows[..] else { panic!("one connection: {rows:?}") };
        row
    }
}

#[test]
fn a_connection_that_has_ended_makes_way_for_the_next() {
    let size = Size { capacity: 1024, threads: 2, limits: Limits::NONE };
    for entries in [4096, 0] {
        let table = Arc::new(Table::new(size, 3).unwrap());
        let topology = topology(table.clone(), FIRST, &Topology::empty());
        let mut talk = Talk { forwarder: forwarder(entries), topology, table, port: 0 };
        let mut before = None;
        for round in 0..4_u32 {
            // Not only within one second: the first packet of each is looked at.
            let now = 7 + round / 2;
            let (mine, yours) = (1_000 + round * 100_000, 5_000 + round * 200_000);
            let there = (CLIENT, SERVER);
            let syn = TcpHeader { syn: true, ..header(there, mine, None) };
            talk.send(INSIDE, syn, b"", now);
            let conn = talk.only().conn;
            assert_ne!(before.replace(conn), Some(conn), "another one than before");
            assert_eq!(talk.only().state, Of::SynSent);
            let back = (SERVER, talk.port);
            let syn_ack = TcpHeader { syn: true, ..header(back, yours, Some(mine + 1)) };
            talk.send(OUTSIDE, syn_ack, b"", now);
            talk.send(INSIDE, header(there, mine + 1, Some(yours + 1)), b"", now);
            assert_eq!(talk.only().state, Of::Established);
            for part in 0..3 {
                let (sent, heard) = (mine + 1 + part * 4, yours + 1 + part * 6);
                talk.send(INSIDE, header(there, sent, Some(heard)), b"what", now);
                talk.send(OUTSIDE, header(back, heard, Some(sent + 4)), b"is it?", now);
            }
            let (sent, heard) = (mine + 13, yours + 19);
            talk.send(INSIDE, TcpHeader { fin: true, ..header(there, sent, Some(heard)) }, b"", now);
            talk.send(OUTSIDE, TcpHeader { fin: true, ..header(back, heard, Some(sent + 1)) }, b"", now);
            talk.send(INSIDE, header(there, sent + 1, Some(heard + 1)), b"", now);
            let row = talk.only();
            assert_eq!((row.conn, row.state), (conn, Of::TimeWait));
            assert_eq!(row.traffic.map(|way| way.packets), [7, 5], "each packet is counted once");
        }
    }
}
