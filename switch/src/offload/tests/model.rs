//! A naive model of TCP and UDP frames: each is built from its parts, with a checksum summed word by word.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use shunt_ffi::offload::{Checksum, Gso, GsoKind, Offload, TCP_CHECKSUM, UDP_CHECKSUM};

pub(super) const FIN: u8 = 0x01;
pub(super) const PSH: u8 = 0x08;
pub(super) const CWR: u8 = 0x80;

#[derive(Clone, Debug)]
pub(super) enum Network {
    V4 {
        options: Vec<u8>,
        id: u16,
    },
    /// `(type, everything but the next-header byte)` of each extension; the address the pseudo header takes.
    V6 {
        extensions: Vec<(u8, Vec<u8>)>,
        last: [u8; 16],
    },
}

#[derive(Clone, Debug)]
pub(super) enum Transport {
    Tcp { options: Vec<u8>, seq: u32, flags: u8 },
    Udp,
}

/// What is the same, or follows a rule, in all segments of one large frame.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) tags: Vec<(u16, u16)>,
    pub(super) network: Network,
    pub(super) transport: Transport,
    source: [u8; 16],
    destination: [u8; 16],
}

/// What the checksum field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    /// The right checksum.
    Whole,
    /// The sum of the pseudo header.
    Partial,
}

impl Flow {
    /// Segment `index` of a large frame, with `payload`, of which `sent` bytes went before.
    pub(super) fn segment(
        &self,
        payload: &[u8],
        index: usize,
        sent: usize,
        last: bool,
        field: Field,
    ) -> Vec<u8> {
        let protocol = if self.is_tcp() { 6 } else { 17 };
        let mut transport = self.transport_header(payload.len(), index, sent, last);
        let field_at = usize::from(self.checksum_offset());
        let length = transport.len() + payload.len();
        let pseudo = match &self.network {
            Network::V4 { .. } => [&self.source[..4], &self.destination[..4], &[0, protocol]].concat(),
            Network::V6 { last, .. } => [&self.source[..], &last[..], &[0, protocol]].concat(),
        };
        let pseudo = [&pseudo[..], &(length as u32).to_be_bytes()].concat();
        let checksum = match field {
            Field::Partial => sum(&pseudo),
            Field::Whole => match (!sum(&[&pseudo[..], &transport, payload].concat()), self.is_tcp()) {
                (0, false) => 0xffff,
                (checksum, _) => checksum,
            },
        };
        transport[field_at..field_at + 2].copy_from_slice(&checksum.to_be_bytes());
        let network = self.network_header(protocol, length, index);
        [&self.link_header()[..], &network, &transport, payload].concat()
    }

    /// The large frame as a guest hands it over. Its length fields wrap where the frame is too long for them.
    pub(super) fn large(&self, payload: &[u8]) -> Vec<u8> {
        self.segment(payload, 0, 0, true, Field::Partial)
    }

    /// What cutting the large frame must give.
    pub(super) fn cut(&self, payload: &[u8], size: usize, field: Field) -> Vec<Vec<u8>> {
        if payload.is_empty() {
            return vec![self.segment(&[], 0, 0, true, field)];
        }
        let count = payload.chunks(size).count();
        let cut = |(index, chunk)| self.segment(chunk, index, index * size, index + 1 == count, field);
        payload.chunks(size).enumerate().map(cut).collect()
    }

    pub(super) fn is_tcp(&self) -> bool {
        matches!(self.transport, Transport::Tcp { .. })
    }

    pub(super) fn checksum_offset(&self) -> u16 {
        if self.is_tcp() { TCP_CHECKSUM } else { UDP_CHECKSUM }
    }

    /// Offset of the transport header.
    pub(super) fn start(&self) -> usize {
        self.link_header().len() + self.network_header(0, 0, 0).len()
    }

    /// Bytes before the payload.
    pub(super) fn headers(&self) -> usize {
        self.start() + self.transport_header(0, 0, 0, true).len()
    }

    pub(super) fn partial(&self) -> Checksum {
        Checksum::Partial { start: self.start() as u16, offset: self.checksum_offset() }
    }

    /// The state of the large frame.
    pub(super) fn gso(&self, size: u16) -> Offload {
        let kind = match (&self.transport, &self.network) {
            (Transport::Udp, _) => GsoKind::Udp,
            (_, Network::V4 { .. }) => GsoKind::TcpV4,
            (_, Network::V6 { .. }) => GsoKind::TcpV6,
        };
        Offload { checksum: self.partial(), gso: Some(Gso { kind, size }) }
    }

    fn link_header(&self) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for (tpid, tci) in &self.tags {
            bytes.extend([tpid.to_be_bytes(), tci.to_be_bytes()].concat());
        }
        let ethertype: u16 = if matches!(self.network, Network::V4 { .. }) { 0x0800 } else { 0x86dd };
        bytes.extend(ethertype.to_be_bytes());
        bytes
    }

    fn network_header(&self, protocol: u8, length: usize, index: usize) -> Vec<u8> {
        match &self.network {
            Network::V4 { options, id } => {
                let words = 5 + options.len() as u8 / 4;
                let total = (usize::from(words) * 4 + length) as u16;
                let id = id.wrapping_add(index as u16);
                let mut bytes = vec![0x40 | words, 0x28];
                bytes.extend(
                    [total.to_be_bytes(), id.to_be_bytes(), [0x40, 0], [63, protocol], [0, 0]].concat(),
                );
                bytes.extend([&self.source[..4], &self.destination[..4], options].concat());
                let checksum = !sum(&bytes);
                bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
                bytes
            }
            Network::V6 { extensions, .. } => {
                let behind: usize = extensions.iter().map(|(_, body)| body.len() + 1).sum();
                let mut nexts = extensions.iter().map(|(kind, _)| *kind).chain([protocol]);
                let mut bytes = vec![0x6b, 0xa1, 0x23, 0x45];
                bytes.extend(((behind + length) as u16).to_be_bytes());
                bytes.extend([nexts.next().unwrap(), 63]);
                bytes.extend([self.source, self.destination].concat());
                for ((_, body), next) in extensions.iter().zip(nexts) {
                    bytes.push(next);
                    bytes.extend(body);
                }
                bytes
            }
        }
    }

    fn transport_header(&self, payload: usize, index: usize, sent: usize, last: bool) -> Vec<u8> {
        let ports = [0x9c, 0x40, 0, 80];
        match &self.transport {
            Transport::Tcp { options, seq, flags } => {
                let mut flags = *flags;
                if !last {
                    flags &= !(FIN | PSH);
                }
                if index > 0 {
                    flags &= !CWR;
                }
                let seq = seq.wrapping_add(sent as u32).to_be_bytes();
                let offset = (5 + options.len() as u8 / 4) << 4;
                let rest = [0x11, 0x22, 0x33, 0x44, offset, flags, 0x7f, 0xff, 0, 0, 0, 0];
                [&ports[..], &seq, &rest, options].concat()
            }
            Transport::Udp => [ports, [((8 + payload) >> 8) as u8, (8 + payload) as u8, 0, 0]].concat(),
        }
    }

    /// A frame without VLAN tags, between fixed addresses.
    pub(super) fn plain(network: Network, transport: Transport) -> Self {
        Self { tags: Vec::new(), network, transport, source: [10; 16], destination: [20; 16] }
    }

    /// Any frame that Linux could hand over, and some that only the standards allow.
    pub(super) fn any() -> impl Strategy<Value = Flow> {
        let tag = (prop_oneof![Just(0x8100u16), Just(0x88a8)], any::<u16>());
        let tags = prop::collection::vec(tag, 0..=2);
        let addresses = (any::<[u8; 16]>(), any::<[u8; 16]>());
        (tags, network(), transport(), addresses).prop_map(
            |(tags, mut network, transport, (source, destination))| {
                if let Network::V6 { extensions, last } = &mut network
                    && !extensions.iter().any(|(kind, body)| *kind == 43 && body[2] > 0)
                {
                    *last = destination;
                }
                Flow { tags, network, transport, source, destination }
            },
        )
    }
}

fn words(most: usize) -> impl Strategy<Value = Vec<u8>> {
    (0..=most).prop_flat_map(|count| prop::collection::vec(any::<u8>(), count * 4))
}

fn network() -> impl Strategy<Value = Network> {
    let v4 = (words(10), any::<u16>()).prop_map(|(options, id)| Network::V4 { options, id });
    // Options of 8 or 16 bytes: one PadN over all of it (RFC 8200 section 4.2).
    let padding = |kind: u8| {
        (0u8..2).prop_map(move |units| {
            let mut body = vec![units, 1, 4 + 8 * units];
            body.resize(7 + 8 * usize::from(units), 0);
            (kind, body)
        })
    };
    let routing =
        (any::<[u8; 16]>(), 0u8..2, prop_oneof![Just(2u8), Just(4)]).prop_map(|(last, left, kind)| {
            let body = [&[2, kind, left, 0, 0, 0, 0][..], &last].concat();
            (last, (43u8, body))
        });
    let parts = (prop::option::of(padding(0)), prop::option::of(padding(60)), prop::option::of(routing));
    let v6 = parts.prop_map(|(hop, destination, routing)| {
        let last = routing.as_ref().map_or([0; 16], |(last, _)| *last);
        let routing = routing.map(|(_, extension)| extension);
        Network::V6 { extensions: [hop, destination, routing].into_iter().flatten().collect(), last }
    });
    prop_oneof![v4, v6]
}

fn transport() -> impl Strategy<Value = Transport> {
    let tcp = (words(10), any::<u32>(), any::<u8>());
    let tcp = tcp.prop_map(|(options, seq, flags)| Transport::Tcp { options, seq, flags });
    prop_oneof![2 => tcp, 1 => Just(Transport::Udp)]
}

/// RFC 1071 word by word.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    words.fold(0, |sum, word| if sum + word > 0xffff { sum + word - 0xffff } else { sum + word }) as u16
}

/// Payload of a frame whose every length and checksum `etherparse` finds right.
///
/// The transport checksum is not looked at where a routing header is still to be followed: `etherparse` takes the next
/// address for it, not the last.
pub(super) fn verified(frame: &[u8]) -> Result<Vec<u8>, String> {
    let packet = SlicedPacket::from_ethernet(frame).map_err(|error| error.to_string())?;
    let (v4, v6, routed) = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            // Not by `etherparse`: it would build the header again, without the reserved bit.
            if sum(header.slice()) != 0xffff {
                return Err("IPv4 header checksum".into());
            }
            (Some((header.source(), header.destination())), None, false)
        }
        Some(NetSlice::Ipv6(ip)) => {
            let at = |bytes: &[u8]| {
                bytes.first().is_some_and(|_| segments_left(ip.header().next_header().0, bytes))
            };
            (None, Some((ip.header().source(), ip.header().destination())), at(ip.extensions().slice()))
        }
        other => return Err(format!("network {other:?}")),
    };
    let wrong = |error: etherparse::err::ValueTooBigError<usize>| error.to_string();
    let (right, found, payload) = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let right = match (v4, v6) {
                (Some((from, to)), _) => tcp.calc_checksum_ipv4(from, to),
                (_, Some((from, to))) => tcp.calc_checksum_ipv6(from, to),
                _ => unreachable!(),
            };
            (right.map_err(wrong)?, tcp.checksum(), tcp.payload())
        }
        Some(TransportSlice::Udp(udp)) => {
            let (header, payload) = (udp.to_header(), udp.payload());
            let right = match (v4, v6) {
                (Some((from, to)), _) => header.calc_checksum_ipv4_raw(from, to, payload),
                (_, Some((from, to))) => header.calc_checksum_ipv6_raw(from, to, payload),
                _ => unreachable!(),
            };
            (right.map_err(wrong)?, udp.checksum(), payload)
        }
        other => return Err(format!("transport {other:?}")),
    };
    if right != found && !routed {
        return Err(format!("transport checksum {found:#06x}, should be {right:#06x}"));
    }
    let start = payload.as_ptr() as usize - frame.as_ptr() as usize;
    if start + payload.len() != frame.len() {
        return Err("bytes behind the packet".into());
    }
    Ok(payload.to_vec())
}

/// A routing header among `extensions` still names hops.
fn segments_left(mut next: u8, mut extensions: &[u8]) -> bool {
    while matches!(next, 0 | 43 | 60) && extensions.len() >= 8 {
        if next == 43 && extensions[3] > 0 {
            return true;
        }
        let length = usize::from(extensions[1]) * 8 + 8;
        (next, extensions) = (extensions[0], extensions.get(length..).unwrap_or(&[]));
    }
    false
}
