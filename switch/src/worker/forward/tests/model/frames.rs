//! What is sent: UDP in IPv4 and IPv6, sound or not quite; ARP; neighbour solicitations and advertisements; and both kinds of
//! wrapping, a tag and a VXLAN packet.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{
    DEMUX, JOINED, NETWORKS, OUTSIDE, OVERLAYS, SHARED, STATIONS, TRANSPORT, gateway_mac, host, station_mac,
    twin, vid, vni,
};
use crate::wire::checksum::Sum;
use crate::wire::ethernet::Mac;
use crate::wire::nd;

/// What all nodes hear (RFC 4291 section 2.7.1).
const ALL_NODES: (Mac, Ipv6Addr) =
    (Mac::from_bytes([0x33, 0x33, 0, 0, 0, 1]), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));

/// A UDP packet in a frame.
#[derive(Clone, Debug)]
pub(in super::super) struct Frame {
    pub(super) dst: Mac,
    pub(super) src: Mac,
    pub(super) from: Ipv4Addr,
    pub(super) to: Ipv4Addr,
    /// It is the twins of these addresses that it has.
    pub(super) six: bool,
    pub(super) ttl: u8,
    pub(super) ports: (u16, u16),
    /// What is wrong with it, or special about it.
    pub(super) twist: Twist,
}

#[derive(Clone, Debug)]
pub(super) enum Twist {
    None,
    Tag(u16, bool),
    Truncate(usize),
    Flip(usize, u8),
    Pad(usize),
}

/// An ARP message in a frame.
#[derive(Clone, Debug)]
pub(in super::super) struct Arp {
    pub(super) dst: Mac,
    pub(super) src: Mac,
    pub(super) tag: Option<u16>,
    pub(super) is_reply: bool,
    pub(super) sender: (Mac, Ipv4Addr),
    pub(super) target: Ipv4Addr,
}

/// A neighbour solicitation in a frame, from a link-local address or, of one who has none yet, from no address.
#[derive(Clone, Debug)]
pub(in super::super) struct Solicitation {
    /// To somebody else than the group of those that it may be for.
    pub(super) dst: Option<Mac>,
    pub(super) src: Mac,
    pub(super) tag: Option<u16>,
    pub(super) claims: Mac,
    pub(super) is_probe: bool,
    /// By its twin.
    pub(super) target: Ipv4Addr,
}

/// A neighbour advertisement to all nodes (RFC 4861 section 4.4).
#[derive(Clone, Debug)]
pub(in super::super) struct Advertisement {
    pub(super) src: Mac,
    pub(super) tag: Option<u16>,
    /// By their twins.
    pub(super) from: Ipv4Addr,
    pub(super) target: Ipv4Addr,
    /// Who is said to have the target.
    pub(super) owner: Mac,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(in super::super) enum Sent {
    Frame(Frame),
    Arp(Arp),
    Solicitation(Solicitation),
    Advertisement(Advertisement),
    /// A frame in a VXLAN packet of the transport.
    Wrapped {
        /// Last byte of the outer source and destination.
        ends: (u8, u8),
        vni: u32,
        dst: Mac,
        tag: Option<u16>,
        inner: Frame,
    },
}

/// Anything.
pub(in super::super) fn sent() -> impl Strategy<Value = Sent> {
    let dst = prop_oneof![8 => Just(gateway_mac(TRANSPORT)), 1 => (0..STATIONS).prop_map(station_mac)];
    let ends = (1_u8..7, prop_oneof![8 => Just(1_u8), 1 => 2_u8..6]);
    let number = prop_oneof![8 => prop::sample::select(OVERLAYS.to_vec()).prop_map(vni), 1 => Just(7_u32)];
    let tag = prop_oneof![3 => Just(None), 1 => Just(Some(vid(TRANSPORT))), 1 => Just(Some(vid(0)))];
    let wrapped = (ends, number, dst, tag, frame()).prop_map(|(ends, vni, dst, tag, inner)| Sent::Wrapped {
        ends,
        vni,
        dst,
        tag,
        inner,
    });
    prop_oneof![
        4 => frame().prop_map(Sent::Frame),
        2 => honest(0..NETWORKS).prop_map(Sent::Frame),
        2 => honest(DEMUX..DEMUX + 1).prop_map(Sent::Frame),
        2 => arp().prop_map(Sent::Arp),
        1 => solicitation().prop_map(Sent::Solicitation),
        1 => advertisement().prop_map(Sent::Advertisement),
        2 => wrapped,
        2 => honest_inner(),
    ]
}

fn any_mac() -> impl Strategy<Value = Mac> + Clone {
    prop_oneof![
        6 => (0..STATIONS).prop_map(station_mac),
        3 => (0..NETWORKS).prop_map(gateway_mac),
        1 => Just(SHARED),
        1 => Just(Mac::BROADCAST),
        1 => Just(Mac::from_bytes([0x33, 0x33, 0, 0, 0, 1])),
    ]
}

fn any_host() -> impl Strategy<Value = Ipv4Addr> {
    (prop::sample::select(JOINED.to_vec()), 1_u8..6).prop_map(|(network, last)| host(network, last))
}

fn frame() -> impl Strategy<Value = Frame> {
    let special =
        [Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 5), Ipv4Addr::UNSPECIFIED];
    let to = prop_oneof![
        6 => any_host(),
        1 => Just(OUTSIDE),
        1 => prop::sample::select(special.to_vec()),
    ];
    let twist = prop_oneof![
        12 => Just(Twist::None),
        1 => (any::<u16>(), any::<bool>()).prop_map(|(tci, service)| Twist::Tag(tci, service)),
        3 => (0..NETWORKS, any::<u16>()).prop_map(|(network, rest)| Twist::Tag(rest & 0xf000 | vid(network), false)),
        1 => any::<u16>().prop_map(|rest| Twist::Tag(rest & 0xf000, false)),
        1 => (0_usize..60).prop_map(Twist::Truncate),
        3 => (0_usize..46, any::<u8>()).prop_map(|(at, value)| Twist::Flip(at, value)),
        1 => (1_usize..40).prop_map(Twist::Pad),
    ];
    let ttl = prop::sample::select(vec![0_u8, 1, 2, 64, 255]);
    (any_mac(), any_mac(), (any_host(), to, any::<bool>()), ttl, (1_u16..4, 1_u16..4), twist).prop_map(
        |(dst, src, (from, to, six), ttl, ports, twist)| Frame { dst, src, from, to, six, ttl, ports, twist },
    )
}

/// One whose source addresses belong together, so that it is not refused for them.
fn honest(networks: std::ops::Range<usize>) -> impl Strategy<Value = Frame> {
    let dst = prop_oneof![2 => Just(SHARED), 2 => any_mac()];
    let to = prop_oneof![4 => (1_u8..6).prop_map(|last| host(DEMUX, last)), 2 => any_host()];
    let kind = (any::<bool>(), any::<bool>());
    (networks, 0..STATIONS, dst, to, kind).prop_map(|(network, last, dst, to, (tagged, six))| Frame {
        dst,
        src: if network == DEMUX { SHARED } else { station_mac(last) },
        from: host(network, last),
        to,
        six,
        ttl: 64,
        ports: (1, 1),
        twist: if tagged { Twist::Tag(vid(network), false) } else { Twist::None },
    })
}

/// One of a station that is behind that peer, as long as nobody moves it: number 4 behind peer 0, and so on.
fn honest_inner() -> impl Strategy<Value = Sent> {
    let src = (prop::sample::select(OVERLAYS.to_vec()), 4..STATIONS, any::<bool>());
    let to = prop_oneof![4 => any_host(), 1 => Just(OUTSIDE)];
    // Now and then of somebody else.
    let other = prop::option::weighted(0.3, any_host());
    (src, any_mac(), to, other, any::<bool>()).prop_map(
        |((network, station, routed), dst, to, other, six)| {
            let src = if routed { gateway_mac(network) } else { station_mac(station) };
            let from = other.unwrap_or(host(network, station));
            let inner = Frame { dst, src, from, to, six, ttl: 64, ports: (1, 1), twist: Twist::None };
            Sent::Wrapped {
                ends: (2 + station - 4, 1),
                vni: vni(network),
                dst: gateway_mac(TRANSPORT),
                tag: None,
                inner,
            }
        },
    )
}

fn arp() -> impl Strategy<Value = Arp> {
    let dst = prop_oneof![6 => Just(Mac::BROADCAST), 1 => Just(SHARED), 2 => any_mac()];
    let tag =
        prop_oneof![3 => Just(None), 1 => (0..NETWORKS).prop_map(|network| Some(0x6000 | vid(network)))];
    let src = prop_oneof![8 => (0..STATIONS).prop_map(station_mac), 1 => Just(SHARED), 1 => any_mac()];
    let sender_ip = prop_oneof![
        8 => (0..NETWORKS, 0..STATIONS).prop_map(|(network, last)| host(network, last)),
        1 => Just(Ipv4Addr::UNSPECIFIED),
    ];
    let target = prop_oneof![
        8 => (0..NETWORKS, 1_u8..6).prop_map(|(network, last)| host(network, last)),
        1 => Just(OUTSIDE),
        1 => Just(Ipv4Addr::new(224, 0, 0, 5)),
    ];
    // Most say the truth about their MAC address.
    let claimed = prop::option::weighted(0.2, (0..STATIONS).prop_map(station_mac));
    (dst, src, tag, prop::bool::weighted(0.2), claimed, sender_ip, target).prop_map(
        |(dst, src, tag, is_reply, claimed, sender_ip, target)| Arp {
            dst,
            src,
            tag,
            is_reply,
            sender: (claimed.unwrap_or(src), sender_ip),
            target,
        },
    )
}

fn solicitation() -> impl Strategy<Value = Solicitation> {
    let dst = prop_oneof![6 => Just(None), 1 => any_mac().prop_map(Some)];
    let src = prop_oneof![4 => Just(SHARED), 2 => (0..STATIONS).prop_map(station_mac), 1 => any_mac()];
    let tag = prop_oneof![1 => Just(None), 1 => Just(Some(0x6000 | vid(DEMUX)))];
    let claimed = prop::option::weighted(0.1, (0..STATIONS).prop_map(station_mac));
    let target = (prop_oneof![6 => Just(DEMUX), 1 => 0..NETWORKS], 1_u8..6);
    let target = target.prop_map(|(network, last)| host(network, last));
    (dst, src, tag, claimed, prop::bool::weighted(0.2), target).prop_map(
        |(dst, src, tag, claimed, is_probe, target)| Solicitation {
            dst,
            src,
            tag,
            claims: claimed.unwrap_or(src),
            is_probe,
            target,
        },
    )
}

/// Of a station that mostly says the truth.
fn advertisement() -> impl Strategy<Value = Advertisement> {
    let tag =
        prop_oneof![3 => Just(None), 1 => (0..NETWORKS).prop_map(|network| Some(0x6000 | vid(network)))];
    let other = || prop::option::weighted(0.2, any_host());
    let owner = prop::option::weighted(0.2, any_mac());
    (0..NETWORKS, 0..STATIONS, tag, (other(), other()), owner).prop_map(
        |(network, station, tag, (from, target), owner)| {
            let src = if network == DEMUX { SHARED } else { station_mac(station) };
            let own = host(network, station);
            let (from, target) = (from.unwrap_or(own), target.unwrap_or(own));
            Advertisement { src, tag, from, target, owner: owner.unwrap_or(src) }
        },
    )
}

impl Sent {
    /// One of a station of the demux network for the one with the address that ends in `last`.
    pub(in super::super) fn solicitation(last: u8, is_probe: bool) -> Self {
        let (src, claims) = (SHARED, SHARED);
        Self::Solicitation(Solicitation {
            dst: None,
            src,
            tag: None,
            claims,
            is_probe,
            target: host(DEMUX, last),
        })
    }

    /// True for IPv6, also inside of a tunnel.
    pub(in super::super) fn is_six(&self) -> bool {
        match self {
            Self::Frame(frame) | Self::Wrapped { inner: frame, .. } => frame.six,
            Self::Solicitation(_) | Self::Advertisement(_) => true,
            Self::Arp(_) => false,
        }
    }

    pub(in super::super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Frame(frame) => frame.bytes(),
            Self::Arp(arp) => arp.bytes(),
            Self::Solicitation(message) => message.bytes(),
            Self::Advertisement(advertisement) => advertisement.bytes(),
            Self::Wrapped { ends, vni, dst, tag, inner } => {
                let (from, to) = (host(TRANSPORT, ends.0), host(TRANSPORT, ends.1));
                let macs = (*dst, station_mac(5));
                wrap(macs, *tag, (from, to), *vni, &inner.bytes())
            }
        }
    }
}

/// A VXLAN packet by hand, its source port 49152.
pub(super) fn wrap(
    (dst, src): (Mac, Mac),
    tag: Option<u16>,
    (from, to): (Ipv4Addr, Ipv4Addr),
    vni: u32,
    inner: &[u8],
) -> Vec<u8> {
    let mut bytes = ethernet(dst, src, tag.map(|tci| (tci, false)), 0x0800);
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0];
    ip[2..4].copy_from_slice(&(36 + inner.len() as u16).to_be_bytes());
    ip.extend([from.octets(), to.octets()].concat());
    let sum = Sum::new().bytes(&ip).checksum();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(ip);
    bytes.extend([0xc0, 0, 0x12, 0xb5]);
    bytes.extend((16 + inner.len() as u16).to_be_bytes());
    bytes.extend([0, 0, 8, 0, 0, 0]);
    bytes.extend((vni << 8).to_be_bytes());
    bytes.extend(inner);
    bytes
}

/// An Ethernet header, with a service tag or a customer's.
fn ethernet(dst: Mac, src: Mac, tag: Option<(u16, bool)>, ethertype: u16) -> Vec<u8> {
    let mut bytes = [dst.bytes(), src.bytes()].concat();
    if let Some((tci, service)) = tag {
        bytes.extend(if service { [0x88, 0xa8] } else { [0x81, 0] });
        bytes.extend(tci.to_be_bytes());
    }
    bytes.extend(ethertype.to_be_bytes());
    bytes
}

impl Frame {
    /// A plain one from one station to another.
    pub(in super::super) fn between_stations(from: u8, to: u8) -> Self {
        let (dst, src) = (station_mac(to), station_mac(from));
        let (from, to) = (host(0, 2), host(0, 3));
        Self { dst, src, from, to, six: false, ttl: 64, ports: (1, 1), twist: Twist::None }
    }

    pub(in super::super) fn bytes(&self) -> Vec<u8> {
        let tag = match self.twist {
            Twist::Tag(tci, service) => Some((tci, service)),
            _ => None,
        };
        let mut bytes = ethernet(self.dst, self.src, tag, if self.six { 0x86dd } else { 0x0800 });
        if self.six {
            bytes.extend([0x60, 0, 0, 0, 0, 16, 17, self.ttl]);
            bytes.extend([twin(self.from).octets(), twin(self.to).octets()].concat());
        } else {
            let mut ip = vec![0x45, 0, 0, 36, 0, 0, 0, 0, self.ttl, 17, 0, 0];
            ip.extend([self.from.octets(), self.to.octets()].concat());
            let sum = Sum::new().bytes(&ip).checksum();
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            bytes.extend(ip);
        }
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend([0, 16, 0, 0]);
        bytes.extend(*b"payload!");
        match self.twist {
            Twist::Truncate(len) => bytes.truncate(len),
            Twist::Flip(at, value) => bytes[at] ^= value,
            Twist::Pad(count) => bytes.extend(std::iter::repeat_n(0, count)),
            Twist::None | Twist::Tag(..) => {}
        }
        bytes
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self.twist, Twist::None | Twist::Pad(_) | Twist::Tag(..))
    }
}

impl Solicitation {
    const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);

    pub(super) fn bytes(&self) -> Vec<u8> {
        let source = if self.is_probe { Ipv6Addr::UNSPECIFIED } else { Self::LINK_LOCAL };
        let mut bytes = nd::solicitation(self.claims, source, twin(self.target)).to_vec();
        if let Some(dst) = self.dst {
            bytes[..6].copy_from_slice(&dst.bytes());
        }
        bytes[6..12].copy_from_slice(&self.src.bytes());
        if let Some(tci) = self.tag {
            bytes.splice(12..12, [[0x81, 0], tci.to_be_bytes()].concat());
        }
        bytes
    }

    /// The answer that `mac` has the target; to all nodes if the asker has no address yet.
    pub(super) fn answer(&self, mac: Mac) -> Vec<u8> {
        let (to, flags) =
            if self.is_probe { (ALL_NODES, 0x20) } else { ((self.src, Self::LINK_LOCAL), 0x60) };
        advertise((mac, twin(self.target)), to, self.tag, flags, (twin(self.target), mac))
    }
}

impl Advertisement {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let claim = (twin(self.target), self.owner);
        advertise((self.src, twin(self.from)), ALL_NODES, self.tag, 0x20, claim)
    }
}

/// A neighbour advertisement by hand (RFC 4861 section 4.4).
fn advertise(
    (src, from): (Mac, Ipv6Addr),
    (dst, to): (Mac, Ipv6Addr),
    tag: Option<u16>,
    flags: u8,
    (target, owner): (Ipv6Addr, Mac),
) -> Vec<u8> {
    let mut bytes = ethernet(dst, src, tag.map(|tci| (tci, false)), 0x86dd);
    let ends = [from.octets(), to.octets()].concat();
    let mut message = vec![136, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    message.extend([2, 1]);
    message.extend(owner.bytes());
    let pseudo = [ends.as_slice(), &[0, 0, 0, 32, 0, 0, 0, 58]].concat();
    let sum = Sum::new().bytes(&pseudo).bytes(&message).checksum();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes.extend([0x60, 0, 0, 0, 0, 32, 58, 255]);
    bytes.extend(ends);
    bytes.extend(message);
    bytes
}

impl Arp {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = ethernet(self.dst, self.src, self.tag.map(|tci| (tci, false)), 0x0806);
        bytes.extend([0, 1, 8, 0, 6, 4, 0, 1 + u8::from(self.is_reply)]);
        bytes.extend(self.sender.0.bytes());
        bytes.extend(self.sender.1.octets());
        bytes.extend([0; 6]);
        bytes.extend(self.target.octets());
        bytes
    }

    /// The answer that `mac` has the target.
    pub(super) fn answer(&self, mac: Mac) -> Vec<u8> {
        let mut bytes = ethernet(self.sender.0, mac, self.tag.map(|tci| (tci, false)), 0x0806);
        bytes.extend([0, 1, 8, 0, 6, 4, 0, 2]);
        bytes.extend(mac.bytes());
        bytes.extend(self.target.octets());
        bytes.extend(self.sender.0.bytes());
        bytes.extend(self.sender.1.octets());
        bytes
    }
}
