//! Where a frame goes and what it looks like then, from the rules and without tables.

use super::change::Trunk;
use super::frames::{Advertisement, Arp, Frame, Sent, Twist, wrap};
use super::world::{Attached, World, identity};
use super::{
    At, DEMUX, JOINED, OVERLAYS, SHARED, TRANSPORT, gateway_mac, host, is_overlay, peer_address, port_id,
    router, station_mac, subnet, vni,
};
use crate::drop::DropReason;
use crate::flow::{Answer, Verdict};
use crate::ids::{NetworkId, PortId};
use crate::wire::checksum::Sum;
use crate::wire::ethernet::Mac;

/// Where a frame goes.
pub(super) struct Decided {
    /// `None` floods.
    pub(super) to: Option<At>,
    /// Network it is routed into, and its new addresses.
    pub(super) routed: Option<(usize, Mac, Mac)>,
    /// To the node itself: it loses no hop.
    pub(super) local: bool,
    pub(super) from_peer: bool,
}

impl Decided {
    /// Within its network; `None` is to all.
    pub(super) fn bridged(to: Option<At>, from_peer: bool) -> Self {
        Self { to, routed: None, local: false, from_peer }
    }
}

/// The verdict, and the frame as it leaves.
pub(super) type Expected = (Verdict, Vec<u8>);

impl World {
    /// What the rules say of a frame: where to and what it looks like then. `None` where this model has no opinion.
    pub(in super::super) fn expects(&self, port: PortId, sent: &Sent) -> Option<Expected> {
        match sent {
            Sent::Frame(frame) => self.expects_frame(port, frame),
            Sent::Arp(arp) => self.expects_arp(port, arp),
            Sent::Solicitation(message) => self.expects_solicitation(port, message),
            Sent::Advertisement(advertisement) => self.expects_advertisement(port, advertisement),
            Sent::Wrapped { ends, vni: number, dst, tag, inner } => {
                let (network, _) = self.network_of(port, tag.map(|tci| (tci, false)))?.ok()?;
                if network != TRANSPORT || *dst != gateway_mac(TRANSPORT) || ends.1 != 1 {
                    return None;
                }
                let peer = ends.0.checked_sub(2).filter(|peer| self.knows(*peer));
                let overlay = OVERLAYS.into_iter().find(|network| vni(*network) == *number);
                let reason = match (overlay, peer) {
                    (None, _) => DropReason::TunnelUnknownVni,
                    (_, None) => DropReason::TunnelUnknownPeer,
                    _ if inner.bytes().len() < 14 => DropReason::TunnelBadHeader,
                    (Some(network), Some(peer)) => return self.expects_inner(network, peer, inner),
                };
                Some((Verdict::Drop(reason), sent.bytes()))
            }
        }
    }

    fn knows(&self, peer: u8) -> bool {
        self.peers.get(usize::from(peer)) == Some(&true)
    }

    /// The network of a frame with that tag, and the tag it is in the switch without. `None` for tags that are payload.
    pub(super) fn network_of(
        &self,
        port: PortId,
        tag: Option<(u16, bool)>,
    ) -> Option<Result<(usize, Option<u16>), DropReason>> {
        let Attached { home, trunk, .. } = self.ports[port.index()];
        match (trunk, tag) {
            (None, None) => Some(Ok((home, None))),
            (None, Some(_)) | (Some(_), Some((_, true))) => None,
            (Some(trunk), tag) => {
                let tci = tag.map(|(tci, _)| tci);
                Some(trunk.network(tci).map(|network| (network, tci)).ok_or(DropReason::VlanMismatch))
            }
        }
    }

    fn expects_frame(&self, port: PortId, frame: &Frame) -> Option<Expected> {
        if !frame.is_plain() {
            return None;
        }
        let tag = match frame.twist {
            Twist::Tag(tci, service) => Some((tci, service)),
            _ => None,
        };
        let (network, tci) = match self.network_of(port, tag)? {
            Ok(found) => found,
            Err(reason) => return Some((Verdict::Drop(reason), frame.bytes())),
        };
        let decided = self.speaks_behind(port, frame).and_then(|()| self.decide(network, Some(port), frame));
        self.outcome(frame.bytes(), network, tci, decided)
    }

    fn expects_inner(&self, network: usize, peer: u8, frame: &Frame) -> Option<Expected> {
        if !matches!(frame.twist, Twist::None | Twist::Pad(_)) {
            return None;
        }
        let decided =
            self.speaks_through(network, peer, frame).and_then(|()| self.decide(network, None, frame));
        self.outcome(frame.bytes(), network, None, decided)
    }

    /// Whether `frame` may come from `port`.
    fn speaks_behind(&self, port: PortId, frame: &Frame) -> Result<(), DropReason> {
        if frame.src.is_group() {
            return Err(DropReason::SourceIsGroup);
        }
        if !self.ports[port.index()].checks {
            return Ok(());
        }
        let stations = identity(port.index() as u8);
        let (_, owns) = stations.iter().find(|(mac, _)| *mac == frame.src).ok_or(DropReason::SpoofedMac)?;
        if owns.contains(&frame.from) { Ok(()) } else { Err(DropReason::SpoofedIp) }
    }

    /// Of an advertisement the model knows only when it may not come in.
    fn expects_advertisement(&self, port: PortId, claim: &Advertisement) -> Option<Expected> {
        let refused = match self.network_of(port, claim.tag.map(|tci| (tci, false)))? {
            Err(reason) => reason,
            Ok(_) if !self.ports[port.index()].checks => return None,
            Ok(_) => {
                let stations = identity(port.index() as u8);
                match stations.iter().find(|(mac, _)| *mac == claim.src) {
                    None => DropReason::SpoofedMac,
                    Some((_, owns)) if !owns.contains(&claim.from) => DropReason::SpoofedIp,
                    Some((_, owns)) if claim.owner == claim.src && owns.contains(&claim.target) => {
                        return None;
                    }
                    Some(_) => DropReason::SpoofedArp,
                }
            }
        };
        Some((Verdict::Drop(refused), claim.bytes()))
    }

    /// The same of an ARP message.
    pub(super) fn claims_behind(&self, port: PortId, arp: &Arp) -> Result<(), DropReason> {
        if arp.src.is_group() {
            return Err(DropReason::SourceIsGroup);
        }
        if !self.ports[port.index()].checks {
            return Ok(());
        }
        let stations = identity(port.index() as u8);
        let (_, owns) = stations.iter().find(|(mac, _)| *mac == arp.src).ok_or(DropReason::SpoofedMac)?;
        let (mac, address) = arp.sender;
        let own = mac == arp.src && (address.is_unspecified() || owns.contains(&address));
        if own { Ok(()) } else { Err(DropReason::SpoofedArp) }
    }

    /// Whether `frame` may come from `peer` of overlay `into`.
    fn speaks_through(&self, into: usize, peer: u8, frame: &Frame) -> Result<(), DropReason> {
        if frame.src.is_group() {
            return Err(DropReason::SourceIsGroup);
        }
        if frame.src != gateway_mac(into) && self.place(into, frame.src) != Some(At::Peer(peer)) {
            return Err(DropReason::TunnelInnerSource);
        }
        let network = JOINED.into_iter().find(|network| frame.from.octets()[..3] == subnet(*network));
        let last = frame.from.octets()[3];
        let station = network.filter(|_| last != 1).and_then(|network| self.neighbors[network].get(&last));
        let owner = network
            .zip(station)
            .and_then(|(network, (station, _))| self.place(network, station_mac(*station)));
        let outside = network.filter(|network| self.admits && last != 1 && !is_overlay(*network));
        let outside = outside.is_some_and(|network| !self.is_given(network, last));
        if owner == Some(At::Peer(peer)) || outside { Ok(()) } else { Err(DropReason::TunnelInnerSource) }
    }

    /// Whether configuration puts the station with that address behind a port.
    fn is_given(&self, network: usize, last: u8) -> bool {
        let behind_a_port =
            |station: u8| matches!(self.place(network, station_mac(station)), Some(At::Port(_)));
        let given = self.neighbors[network].get(&last);
        self.child(network, last).is_some()
            || given.is_some_and(|(station, fixed)| *fixed && behind_a_port(*station))
    }

    /// What becomes of a frame that came in with the tag `tci`, of which this was decided.
    pub(super) fn outcome(
        &self,
        arrived: Vec<u8>,
        network: usize,
        tci: Option<u16>,
        decided: Result<Decided, DropReason>,
    ) -> Option<Expected> {
        let mut bytes = arrived.clone();
        let decided = match decided {
            Ok(decided) => decided,
            Err(DropReason::NeighborUnresolved) => return None,
            Err(reason) => {
                let answer = match reason {
                    DropReason::NoRoute => Some(Answer::NoRoute),
                    DropReason::TtlExceeded => Some(Answer::Expired),
                    DropReason::ForSwitch => Some(Answer::Own),
                    DropReason::NoFdbEntry => Some(Answer::NoHost),
                    _ => None,
                };
                let verdict = answer.map_or(Verdict::Drop(reason), |answer| Verdict::Reject(reason, answer));
                return Some((verdict, arrived));
            }
        };
        if tci.is_some() {
            bytes.drain(12..16);
        }
        let mut through = network;
        if let Some((into, dst, src)) = decided.routed {
            through = into;
            bytes[..6].copy_from_slice(&dst.bytes());
            bytes[6..12].copy_from_slice(&src.bytes());
            let hop = u8::from(!decided.local);
            if bytes[12..14] == [0x86, 0xdd] {
                bytes[21] -= hop;
            } else {
                bytes[22] -= hop;
                bytes[24..26].fill(0);
                let sum = Sum::new().bytes(&bytes[14..34]).checksum();
                bytes[24..26].copy_from_slice(&sum.to_be_bytes());
            }
        }
        let tag = |port: u8, network: usize| {
            self.ports[usize::from(port)].trunk.and_then(|trunk: Trunk| trunk.tag(network))
        };
        let verdict = match decided.to {
            None if decided.routed.is_some() => Verdict::FloodInto(NetworkId(through as u16)),
            None if decided.from_peer => Verdict::FloodLocal(NetworkId(through as u16)),
            None => Verdict::Flood(NetworkId(through as u16)),
            Some(At::Port(port)) => {
                if let Some(vid) = tag(port, through) {
                    let new = tci.unwrap_or_default() & 0xf000 | vid;
                    bytes.splice(12..12, [[0x81, 0], new.to_be_bytes()].concat());
                }
                Verdict::Port(port_id(port))
            }
            Some(At::Peer(peer)) => {
                if !self.knows(peer) {
                    let reason = DropReason::TunnelUnknownPeer;
                    // A bridge tells nobody.
                    let told = decided.routed.map(|_| Verdict::Reject(reason, Answer::NoHost));
                    return Some((told.unwrap_or(Verdict::Drop(reason)), arrived));
                }
                // Unresolved: somebody is asked.
                let (hop, _) = self.neighbors[TRANSPORT].get(&(2 + peer))?;
                let hop = station_mac(*hop);
                let At::Port(port) = self.place(TRANSPORT, hop)? else { return None };
                let macs = (hop, gateway_mac(TRANSPORT));
                let ends = (host(TRANSPORT, 1), peer_address(peer));
                bytes = wrap(macs, tag(port, TRANSPORT), ends, vni(through), &bytes);
                Verdict::Port(port_id(port))
            }
        };
        Some((verdict, bytes))
    }

    /// Where a frame of `network` goes; `port` is `None` for one out of a tunnel. Its sender may send it.
    fn decide(&self, network: usize, port: Option<PortId>, frame: &Frame) -> Result<Decided, DropReason> {
        let from_peer = port.is_none();
        let routed = router(network).is_some();
        let is_node = self.hosts[network].map(port_id) == port;
        if routed && network != DEMUX && !from_peer && !is_node && frame.src == gateway_mac(network) {
            return Err(DropReason::SourceIsGateway);
        }
        if network == DEMUX && frame.dst == SHARED {
            let [front @ .., last] = frame.to.octets();
            let near = front == subnet(DEMUX);
            let child = Some(last).filter(|_| near).and_then(|last| self.child_at(last));
            let beyond = child.is_none() && (!near || frame.to == host(DEMUX, 1));
            if !beyond {
                return self.to_child(port, child);
            }
        }
        let taken = || port.is_some_and(|port| self.is_taken(network, port, frame));
        if !routed || frame.dst != gateway_mac(network) && !taken() {
            return self.bridge(network, port, frame.dst);
        }
        let to = frame.to;
        if to.is_loopback() || to.is_broadcast() || to.is_multicast() || to.is_unspecified() {
            return Err(DropReason::NotRoutable);
        }
        if to == host(network, 1) {
            let node = self.hosts[network].ok_or(DropReason::ForSwitch)?;
            let decided = Decided { to: Some(At::Port(node)), routed: None, local: true, from_peer };
            return if Some(port_id(node)) == port { Err(DropReason::SamePort) } else { Ok(decided) };
        }
        let joined: &[usize] = if network == TRANSPORT { &[TRANSPORT] } else { &JOINED };
        let connected = joined.iter().copied().find(|network| to.octets()[..3] == subnet(*network));
        if let Some(into) = connected.filter(|into| to == host(*into, 1)) {
            let (node, mac) = (self.hosts[into].ok_or(DropReason::ForSwitch)?, gateway_mac(into));
            let routed = Some((into, mac, mac));
            return Ok(Decided { to: Some(At::Port(node)), routed, local: true, from_peer });
        }
        if frame.ttl <= 1 {
            return Err(DropReason::TtlExceeded);
        }
        let (through, last) = match (connected, self.outside) {
            (Some(network), _) => (network, to.octets()[3]),
            (None, Some(last)) if network != TRANSPORT => (1, last),
            (None, _) => return Err(DropReason::NoRoute),
        };
        if let Some(to) = self.child(through, last) {
            let routed = Some((through, SHARED, SHARED));
            return Ok(Decided { to: Some(At::Port(to)), routed, local: false, from_peer });
        }
        let (station, _) = self.neighbors[through].get(&last).ok_or(DropReason::NeighborUnresolved)?;
        let mac = station_mac(*station);
        let to = self.place(through, mac);
        match to {
            Some(At::Peer(_)) if from_peer && through == network => return Err(DropReason::SplitHorizon),
            None if is_overlay(through) => return Err(DropReason::NoFdbEntry),
            _ => {}
        }
        let routed = Some((through, mac, gateway_mac(through)));
        Ok(Decided { to, routed, local: false, from_peer })
    }

    /// Whether a packet to somebody else's MAC address is routed here all the same.
    fn is_taken(&self, network: usize, port: PortId, frame: &Frame) -> bool {
        let [front @ .., last] = frame.to.octets();
        let into = JOINED.into_iter().find(|network| front == subnet(*network));
        let Some(into) = into.filter(|into| *into != network && !frame.dst.is_group()) else { return false };
        let given = self.neighbors[into].get(&last).is_some_and(|(_, fixed)| *fixed);
        let known = is_overlay(into) || last == 1 || given || self.child(into, last).is_some();
        self.local_route[network] && self.ports[port.index()].checks && known
    }

    /// Where a frame goes by its destination's MAC address.
    pub(super) fn bridge(
        &self,
        network: usize,
        port: Option<PortId>,
        dst: Mac,
    ) -> Result<Decided, DropReason> {
        let from_peer = port.is_none();
        let to = if dst.is_group() { None } else { self.place(network, dst) };
        match to {
            Some(At::Port(to)) if Some(port_id(to)) == port => Err(DropReason::SamePort),
            // A tunnel packet comes in by a port, too.
            Some(At::Peer(_)) if from_peer => Err(DropReason::SplitHorizon),
            to => Ok(Decided::bridged(to, from_peer)),
        }
    }

    /// The port behind which the demux network's address `last` is: a station's, or of somebody on the wire who is known.
    pub(super) fn child_at(&self, last: u8) -> Option<u8> {
        let on_the_wire = || {
            let (station, _) = self.neighbors[DEMUX].get(&last)?;
            match self.place(DEMUX, station_mac(*station)) {
                Some(At::Port(port)) => Some(port),
                _ => None,
            }
        };
        self.child(DEMUX, last).or_else(on_the_wire)
    }

    /// What is sent to the MAC address that all stations share: to the one that is meant, else to the host.
    pub(super) fn to_child(&self, port: Option<PortId>, child: Option<u8>) -> Result<Decided, DropReason> {
        let is_ingress = |to: u8| Some(port_id(to)) == port;
        match (child, self.hosts[DEMUX]) {
            (Some(to), _) if is_ingress(to) => Err(DropReason::SamePort),
            (Some(to), _) => Ok(Decided::bridged(Some(At::Port(to)), false)),
            (None, Some(to)) if !is_ingress(to) => Ok(Decided::bridged(Some(At::Port(to)), false)),
            (None, _) => Err(DropReason::NoStation),
        }
    }
}
