//! From a [`Frame`] to its bytes, innermost part first: each header needs what is behind it for its length and checksum.

use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpAuthHeader,
    IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader,
    TcpHeader, UdpHeader,
};

use super::{Body, Extension, Frame, Ipv4, Ipv6, Payload, Piece, Transport};

impl Frame {
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
