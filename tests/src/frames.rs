//! Frames as values, and as bytes: what tests, fuzz seeds and benchmarks send.
//!
//! A [`Frame`] says everything that a key or a stage may decide on; [`Frame::bytes`] writes it with `etherparse`, lengths
//! and checksums right. [`random`] makes arbitrary ones, sound and broken. Cost: an allocation or two a frame.

pub mod random;

use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpAuthHeader,
    IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader,
    TcpHeader, UdpHeader,
};

/// TPID of a customer tag.
pub const CUSTOMER_TAG: u16 = 0x8100;
/// TPID of a service tag.
pub const SERVICE_TAG: u16 = 0x88a8;

/// An Ethernet frame without its check sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Destination.
    pub dst: [u8; 6],
    /// Source.
    pub src: [u8; 6],
    /// Tags from the outside in: TPID and TCI.
    pub tags: Vec<(u16, u16)>,
    /// What is behind them.
    pub body: Body,
    /// Bytes behind what the headers account for.
    pub padding: Vec<u8>,
}

/// What is behind the Ethernet header and its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An IPv4 packet.
    Ipv4(Ipv4, Payload),
    /// An IPv6 packet.
    Ipv6(Ipv6, Payload),
    /// Anything else: its EtherType and bytes.
    Other(u16, Vec<u8>),
}

/// An IPv4 header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
    /// DSCP and ECN.
    pub class: u8,
    /// Time to live.
    pub ttl: u8,
    /// Identification.
    pub id: u16,
    /// "Do not fragment".
    pub whole: bool,
    /// Which piece of a packet this is; offset 0 and no more is a whole packet.
    pub piece: Piece,
    /// Options in words of four bytes, at most ten; filled with "no operation".
    pub options: u8,
}

/// An IPv6 header with its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// Traffic class.
    pub class: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Extension headers in their order.
    pub extensions: Vec<Extension>,
}

/// An IPv6 extension header. The numbers are its length in units of its own beyond the shortest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-hop options, all padding.
    HopByHop(u8),
    /// A routing header, type 0, no segments left.
    Routing(u8),
    /// Destination options, all padding.
    Destination(u8),
    /// An authentication header.
    Authentication(u8),
    /// A fragment header.
    Fragment(Piece),
}

/// Position of a fragment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// In units of eight bytes, below 2^13.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

/// What an IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its header.
    pub transport: Transport,
    /// What is behind that.
    pub data: Vec<u8>,
}

/// A transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP: ports, the flags byte, options in words of four bytes (at most ten).
    Tcp(u16, u16, u8, u8),
    /// UDP: ports, and whether the checksum is there (IPv4 may go without, and so does a tunnel over IPv6).
    Udp(u16, u16, bool),
    /// SCTP: ports. The checksum is left 0.
    Sctp(u16, u16),
    /// ICMP or ICMPv6, whichever belongs to the IP version: type, code, identifier.
    Icmp(u8, u8, u16),
    /// No header, and this protocol number.
    Other(u8),
}

impl Frame {
    /// A UDP datagram over plain IPv4, padded to 60 bytes: the frame every figure is measured with.
    pub fn plain() -> Self {
        let ip = Ipv4 {
            source: [10, 0, 1, 10],
            destination: [10, 0, 2, 1],
            class: 0,
            ttl: 64,
            id: 0,
            whole: true,
            piece: Piece::default(),
            options: 0,
        };
        let payload = Payload { transport: Transport::Udp(1024, 5000, true), data: vec![0; 18] };
        Self {
            dst: [2, 0, 0, 0, 0, 0xfe],
            src: [2, 0, 0, 0, 0, 1],
            tags: Vec::new(),
            body: Body::Ipv4(ip, payload),
            padding: Vec::new(),
        }
    }

    /// The frame on the wire.
    ///
    /// # Panics
    /// A part is larger than its length field can say.
    pub fn bytes(&self) -> Vec<u8> {
        let (ethertype, body) = match &self.body {
            Body::Ipv4(ip, payload) => (0x0800, ip.bytes(payload)),
            Body::Ipv6(ip, payload) => (0x86dd, ip.bytes(payload)),
            Body::Other(ethertype, bytes) => (*ethertype, bytes.clone()),
        };
        let mut types = self.tags.iter().map(|(tpid, _)| *tpid).chain([ethertype]);
        let ether_type = EtherType(types.next().unwrap_or(ethertype));
        let mut out =
            Ethernet2Header { source: self.src, destination: self.dst, ether_type }.to_bytes().to_vec();
        for ((_, tci), behind) in self.tags.iter().zip(types) {
            out.extend(tci.to_be_bytes());
            out.extend(behind.to_be_bytes());
        }
        out.extend(body);
        out.extend(&self.padding);
        out
    }
}

impl Ipv4 {
    fn bytes(&self, payload: &Payload) -> Vec<u8> {
        let behind = payload.bytes(Addresses::V4(self.source, self.destination));
        let protocol = IpNumber(payload.transport.protocol(1));
        let mut header =
            Ipv4Header::new(behind.len() as u16, self.ttl, protocol, self.source, self.destination)
                .expect("an IPv4 packet is shorter than 64 KiB");
        header.dscp = (self.class >> 2).try_into().expect("six bits");
        header.ecn = (self.class & 3).try_into().expect("two bits");
        header.identification = self.id;
        header.dont_fragment = self.whole;
        header.more_fragments = self.piece.more;
        header.fragment_offset = offset(self.piece);
        header.options = Ipv4Options::try_from(&[1; 40][..usize::from(self.options) * 4]).expect("ten words");
        header.set_payload_len(behind.len()).expect("an IPv4 packet is shorter than 64 KiB");
        header.header_checksum = header.calc_header_checksum();
        [&header.to_bytes()[..], &behind].concat()
    }
}

impl Ipv6 {
    fn bytes(&self, payload: &Payload) -> Vec<u8> {
        let mut next = payload.transport.protocol(58);
        let mut behind = payload.bytes(Addresses::V6(self.source, self.destination));
        for extension in self.extensions.iter().rev() {
            let mut header = extension.bytes(IpNumber(next));
            header.extend(behind);
            (next, behind) = (extension.number(), header);
        }
        let mut header = Ipv6Header {
            traffic_class: self.class,
            next_header: IpNumber(next),
            hop_limit: self.hop_limit,
            source: self.source,
            destination: self.destination,
            ..Ipv6Header::default()
        };
        header.set_payload_length(behind.len()).expect("an IPv6 payload is shorter than 64 KiB");
        [&header.to_bytes()[..], &behind].concat()
    }
}

impl Extension {
    /// Its protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::HopByHop(_) => 0,
            Self::Routing(_) => 43,
            Self::Fragment(_) => 44,
            Self::Authentication(_) => 51,
            Self::Destination(_) => 60,
        }
    }

    fn bytes(self, next: IpNumber) -> Vec<u8> {
        match self {
            Self::HopByHop(units) | Self::Routing(units) | Self::Destination(units) => {
                let zeros = vec![0; 6 + usize::from(units) * 8];
                Ipv6RawExtHeader::new_raw(next, &zeros).expect("whole units").to_bytes().to_vec()
            }
            Self::Authentication(words) => {
                let zeros = vec![0; usize::from(words) * 4];
                IpAuthHeader::new(next, 1, 1, &zeros).expect("whole words").to_bytes().to_vec()
            }
            Self::Fragment(piece) => {
                Ipv6FragmentHeader::new(next, offset(piece), piece.more, 7).to_bytes().to_vec()
            }
        }
    }
}

fn offset(piece: Piece) -> IpFragOffset {
    piece.offset.try_into().expect("a fragment offset has 13 bits")
}

/// The part of the pseudo header that the checksums need.
#[derive(Clone, Copy)]
enum Addresses {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

impl Transport {
    /// Its protocol number, `icmp` being that of the IP version.
    fn protocol(self, icmp: u8) -> u8 {
        match self {
            Self::Tcp(..) => 6,
            Self::Udp(..) => 17,
            Self::Sctp(..) => 132,
            Self::Icmp(..) => icmp,
            Self::Other(protocol) => protocol,
        }
    }
}

impl Payload {
    fn bytes(&self, addresses: Addresses) -> Vec<u8> {
        const LENGTH: &str = "a payload is shorter than 64 KiB";
        let data = &self.data;
        let mut out = match self.transport {
            Transport::Tcp(source, destination, flags, options) => {
                let mut tcp = TcpHeader::new(source, destination, 0x0102_0304, 0xffff);
                tcp.set_options_raw(&[1; 40][..usize::from(options) * 4]).expect("ten words");
                let bit = |at: u8| flags >> at & 1 == 1;
                (tcp.fin, tcp.syn, tcp.rst, tcp.psh) = (bit(0), bit(1), bit(2), bit(3));
                (tcp.ack, tcp.urg, tcp.ece, tcp.cwr) = (bit(4), bit(5), bit(6), bit(7));
                tcp.checksum = match addresses {
                    Addresses::V4(from, to) => tcp.calc_checksum_ipv4_raw(from, to, data),
                    Addresses::V6(from, to) => tcp.calc_checksum_ipv6_raw(from, to, data),
                }
                .expect(LENGTH);
                tcp.to_bytes().to_vec()
            }
            Transport::Udp(source_port, destination_port, summed) => {
                let length = u16::try_from(8 + data.len()).expect(LENGTH);
                let mut udp = UdpHeader { source_port, destination_port, length, checksum: 0 };
                if summed {
                    udp.checksum = match addresses {
                        Addresses::V4(from, to) => udp.calc_checksum_ipv4_raw(from, to, data),
                        Addresses::V6(from, to) => udp.calc_checksum_ipv6_raw(from, to, data),
                    }
                    .expect(LENGTH);
                }
                udp.to_bytes().to_vec()
            }
            Transport::Sctp(source, destination) => {
                let mut header = [source.to_be_bytes(), destination.to_be_bytes()].concat();
                header.extend([0; 8]);
                header
            }
            Transport::Icmp(type_u8, code_u8, identifier) => {
                let [a, b] = identifier.to_be_bytes();
                let bytes5to8 = [a, b, 0, 1];
                match addresses {
                    Addresses::V4(..) => {
                        let kind = Icmpv4Type::Unknown { type_u8, code_u8, bytes5to8 };
                        Icmpv4Header::with_checksum(kind, data).to_bytes().to_vec()
                    }
                    Addresses::V6(from, to) => {
                        let kind = Icmpv6Type::Unknown { type_u8, code_u8, bytes5to8 };
                        Icmpv6Header::with_checksum(kind, from, to, data).expect(LENGTH).to_bytes().to_vec()
                    }
                }
            }
            Transport::Other(_) => Vec::new(),
        };
        out.extend(data);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{SlicedPacket, TransportSlice};

    #[test]
    fn the_plain_frame_is_the_one_the_figures_were_measured_with() {
        let bytes = Frame::plain().bytes();
        assert_eq!(bytes.len(), 60);
        assert_eq!(bytes[..16], [2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0]);
        assert_eq!(bytes[26..38], [10, 0, 1, 10, 10, 0, 2, 1, 4, 0, 0x13, 0x88]);
    }

    #[test]
    fn tags_and_extensions_are_where_etherparse_finds_them() {
        let frame = Frame {
            tags: vec![(SERVICE_TAG, 100), (CUSTOMER_TAG, 200)],
            body: Body::Ipv6(
                Ipv6 {
                    source: [1; 16],
                    destination: [2; 16],
                    class: 0,
                    hop_limit: 64,
                    extensions: vec![
                        Extension::HopByHop(1),
                        Extension::Routing(0),
                        Extension::Authentication(3),
                        Extension::Destination(2),
                    ],
                },
                Payload { transport: Transport::Tcp(1, 2, 0x12, 3), data: vec![9; 5] },
            ),
            padding: vec![0; 3],
            ..Frame::plain()
        };
        let bytes = frame.bytes();
        let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
        assert_eq!(packet.vlan_ids().iter().map(|id| id.value()).collect::<Vec<_>>(), [100, 200]);
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("not TCP") };
        assert!(tcp.syn() && tcp.ack() && !tcp.fin());
        assert_eq!((tcp.options().len(), tcp.payload()), (12, &[9; 5][..]));
        assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv6([1; 16], [2; 16]).unwrap());
    }
}
