//! What may happen to the world.

use proptest::prelude::*;

use super::{At, DEMUX, NETWORKS, OVERLAYS, PEERS, PORTS, STATIONS, TRANSPORT, vid};
use crate::ids::NetworkId;
use crate::topology::{Answers, Vlans};

/// One change.
#[derive(Clone, Debug)]
pub(in super::super) enum Change {
    /// A station is somewhere else; `fixed` is one that configuration gives.
    Station {
        network: usize,
        station: u8,
        at: Option<At>,
        fixed: bool,
    },
    /// Address `last` of a network belongs to another station.
    Neighbor {
        network: usize,
        last: u8,
        station: Option<u8>,
        fixed: bool,
    },
    /// A station of the demux network.
    Child {
        last: u8,
        port: Option<u8>,
    },
    Peer {
        peer: u8,
        known: bool,
    },
    Up {
        port: u8,
        up: bool,
    },
    Move {
        port: u8,
        network: usize,
    },
    Vlans {
        port: u8,
        vlans: Option<Trunk>,
    },
    /// Whether senders behind a port are held against what they have.
    Checks {
        port: u8,
        checks: bool,
    },
    Outside(Option<u8>),
    FullKey(bool),
    Host {
        network: usize,
        port: Option<u8>,
    },
    /// Whose addresses the switch answers for.
    Answers {
        network: usize,
        answers: Answers,
    },
    /// Whether what a station sends to another router is routed here if that is possible.
    LocalRoute {
        network: usize,
        on: bool,
    },
    /// Whether peers may send packets of stations outside of overlays.
    Admits(bool),
    /// Floods a second.
    Storm {
        network: usize,
        limit: u32,
    },
}

/// Any change.
pub(in super::super) fn change() -> impl Strategy<Value = Change> {
    let network = 0..NETWORKS;
    let answers = prop::sample::select(vec![Answers::Own, Answers::Given, Answers::Everybody]);
    prop_oneof![
        4 => (network.clone(), 0..STATIONS, prop::option::weighted(0.8, (0..PORTS).prop_map(At::Port)), any::<bool>())
            .prop_map(|(network, station, at, fixed)| Change::Station { network, station, at, fixed }),
        4 => (prop::sample::select(OVERLAYS.to_vec()), 0..STATIONS, (0..PEERS).prop_map(At::Peer), any::<bool>())
            .prop_map(|(network, station, at, fixed)| Change::Station { network, station, at: Some(at), fixed }),
        1 => (0..PEERS, any::<bool>()).prop_map(|(peer, known)| Change::Peer { peer, known }),
        5 => (prop::sample::select(vec![0, 1, TRANSPORT, OVERLAYS[0], OVERLAYS[1], DEMUX]), 2_u8..6, prop::option::weighted(0.8, 0..STATIONS), any::<bool>())
            .prop_map(|(network, last, station, fixed)| Change::Neighbor { network, last, station, fixed }),
        2 => (2_u8..6, prop::option::weighted(0.8, 0..PORTS)).prop_map(|(last, port)| Change::Child { last, port }),
        2 => (0..PORTS, any::<bool>()).prop_map(|(port, up)| Change::Up { port, up }),
        1 => (0..PORTS, network.clone()).prop_map(|(port, network)| Change::Move { port, network }),
        2 => (0..PORTS, prop::option::weighted(0.7, trunk())).prop_map(|(port, vlans)| Change::Vlans { port, vlans }),
        2 => (0..PORTS, any::<bool>()).prop_map(|(port, checks)| Change::Checks { port, checks }),
        1 => prop::option::of(2_u8..6).prop_map(Change::Outside),
        1 => any::<bool>().prop_map(Change::FullKey),
        1 => any::<bool>().prop_map(Change::Admits),
        1 => (prop::sample::select(vec![0, 1, DEMUX]), prop::option::weighted(0.8, 0..PORTS))
            .prop_map(|(network, port)| Change::Host { network, port }),
        2 => (prop::sample::select(vec![0, 1, OVERLAYS[0]]), answers)
            .prop_map(|(network, answers)| Change::Answers { network, answers }),
        2 => (prop::sample::select(vec![0, 1, DEMUX]), any::<bool>())
            .prop_map(|(network, on)| Change::LocalRoute { network, on }),
        1 => (network, prop::sample::select(vec![0_u32, 1, 3, 10]))
            .prop_map(|(network, limit)| Change::Storm { network, limit }),
    ]
}

/// The VLANs of a port.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Trunk {
    native: Option<usize>,
    tagged: [bool; NETWORKS],
}

fn trunk() -> impl Strategy<Value = Trunk> {
    (prop::option::of(0..NETWORKS), any::<[bool; NETWORKS]>()).prop_map(|(native, mut tagged)| {
        // A network is there once.
        if let Some(native) = native {
            tagged[native] = false;
        }
        Trunk { native, tagged }
    })
}

impl Trunk {
    /// As a topology has them.
    pub(super) fn vlans(self) -> Vlans {
        let tagged = (0..NETWORKS).filter(|network| self.tagged[*network]);
        Vlans {
            untagged: self.native.map(|network| NetworkId(network as u16)),
            tagged: tagged.map(|network| (vid(network), NetworkId(network as u16))).collect(),
            service: false,
        }
    }

    /// The network of a frame with that tag.
    pub(super) fn network(self, tci: Option<u16>) -> Option<usize> {
        match tci.map(|tci| tci & 0xfff) {
            None | Some(0) => self.native,
            Some(tag) => (0..NETWORKS).find(|network| self.tagged[*network] && vid(*network) == tag),
        }
    }

    /// The tag of a frame of `network`.
    pub(super) fn tag(self, network: usize) -> Option<u16> {
        self.tagged[network].then_some(vid(network))
    }
}
