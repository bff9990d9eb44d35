//! Frames as values, and as bytes: what tests, fuzz seeds and benchmarks send.
//!
//! A [`Frame`] says everything that a key or a stage may decide on; [`Frame::bytes`] writes it with `etherparse`, lengths
//! and checksums right. [`random`] makes arbitrary ones, sound and broken. Cost: an allocation or two a frame.

pub mod cut;
pub mod random;
mod write;

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
