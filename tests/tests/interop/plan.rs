//! Who has which address: two sides, near (the switch under test) and far, each with an address outside and a station inside.

/// What carries the inner frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Vxlan,
    Geneve,
    Gre,
}

/// What the outer packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    V4,
    V6,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Near,
    Far,
}

/// Network identifier, or GRE's key.
pub(crate) const VNI: u32 = 2;

impl Kind {
    /// As both Open vSwitch and a configuration name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
        }
    }
}

/// The largest inner IP packet: 1500 less outer IP, the tunnel's headers (UDP and VXLAN or Geneve 16, GRE with key 8) and inner Ethernet.
pub(crate) fn inner_mtu(kind: Kind, transport: Transport) -> u32 {
    let outer = if transport == Transport::V4 { 20 } else { 40 };
    let tunnel = if kind == Kind::Gre { 8 } else { 16 };
    1500 - outer - tunnel - 14
}

impl Side {
    pub(crate) fn other(self) -> Self {
        if self == Self::Near { Self::Far } else { Self::Near }
    }

    /// Its address in the transport network.
    pub(crate) fn outer(self, transport: Transport) -> &'static str {
        match (self, transport) {
            (Self::Near, Transport::V4) => "192.0.2.1",
            (Self::Far, Transport::V4) => "192.0.2.2",
            (Self::Near, Transport::V6) => "fd00:192::1",
            (Self::Far, Transport::V6) => "fd00:192::2",
        }
    }

    pub(crate) fn outer_prefixes(self) -> (String, String) {
        (format!("{}/24", self.outer(Transport::V4)), format!("{}/64", self.outer(Transport::V6)))
    }

    /// The station's addresses in the overlay.
    pub(crate) fn inner_v4(self) -> &'static str {
        if self == Self::Near { "10.50.0.1" } else { "10.50.0.2" }
    }

    pub(crate) fn inner_v6(self) -> &'static str {
        if self == Self::Near { "fd00:50::1" } else { "fd00:50::2" }
    }

    pub(crate) fn inner_prefixes(self) -> (String, String) {
        (format!("{}/24", self.inner_v4()), format!("{}/64", self.inner_v6()))
    }

    /// The station's MAC address.
    pub(crate) fn mac(self) -> &'static str {
        if self == Self::Near { "02:00:00:50:00:01" } else { "02:00:00:50:00:02" }
    }
}
