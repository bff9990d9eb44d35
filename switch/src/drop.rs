//! Why a frame was dropped. One variant per reason; its counter, its name in `shunt show drops` and its text in the
//! documentation all come from the line here.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// The one reason for which a frame was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DropReason {
            /// All reasons in the order of their counters.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)+];

            /// Stable name, as printed and exported.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)+ }
            }

            /// What it means, in one sentence.
            pub const fn describe(self) -> &'static str {
                match self { $(DropReason::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

drop_reasons! {
    /// Shorter than an Ethernet header (14 bytes).
    Runt = "runt",
    /// The source address is a group address, which no station may use (IEEE 802.3 clause 3.2.3).
    SourceIsGroup = "source_is_group",
    /// The source address is that of the network's gateway, which is the switch itself: a spoof, or a loop.
    SourceIsGateway = "source_is_gateway",
    /// It came over a member of a bond from which nothing is taken at present: the partner has not agreed, or it stands by.
    BondNotCollecting = "bond_not_collecting",
    /// The port it came in by is administratively down or not in the running topology.
    IngressDown = "ingress_down",
    /// The destination is behind the port the frame came in by.
    SamePort = "same_port",
    /// The destination's port is down.
    EgressDown = "egress_down",
    /// More than `police_frames` or `police_bits` of its port or of its network allow.
    Policed = "policed",
    /// To be flooded, and the port has flooded as many frames as `storm_limit` of the network allows.
    StormLimit = "storm_limit",
    /// There is no other port in the network that could take a flooded frame.
    NoReceiver = "no_receiver",
    /// Longer than the egress port's maximum.
    TooLong = "too_long",
    /// The egress port's queue was full: it takes frames slower than they come.
    TxFull = "tx_full",
    /// No free buffer in the pool for a copy or a segment; raise `mbufs` under `[memory]`.
    NoBuffers = "no_buffers",
    /// The sender's checksum or segmentation state does not fit the frame.
    BadOffload = "bad_offload",
    /// A large send would make more segments, or a packet more fragments, than the limit: the segment size or MTU is tiny.
    TooManySegments = "too_many_segments",
    /// The egress port takes single buffers only, and the frame is longer than one.
    TooLongForBuffer = "too_long_for_buffer",
    /// Not IPv4 or IPv6, and the egress port is an L3 device (TUN).
    NotIp = "not_ip",
    /// Out of a masqueraded network, and no connection can be made of it: ICMP other than echo.
    Untracked = "untracked",
    /// A fragment that overlaps another one of its datagram, or contradicts it about its end; so is all that comes of the
    /// datagram after it (RFC 5722).
    FragmentOverlap = "fragment_overlap",
    /// A fragment that has come before (RFC 8200 section 4.5).
    FragmentDuplicate = "fragment_duplicate",
    /// A fragment that fits into no datagram: empty, beyond 64 KiB, or followed by others and no multiple of 8 bytes long.
    FragmentUnfit = "fragment_unfit",
    /// A first fragment that does not hold all of a sound transport header (RFC 1858, RFC 7112).
    FragmentTiny = "fragment_tiny",
    /// One of more than 64 fragments of a datagram.
    FragmentTooMany = "fragment_too_many",
    /// A later fragment whose first one, which has its ports, did not come in time.
    FragmentNoFirst = "fragment_no_first",
    /// A later fragment that came before its first one, and its sender, its port or the worker has as many that wait as it may.
    FragmentRoom = "fragment_room",
    /// The first fragment of an SCTP packet whose ports are to change: without the packet's length its checksum cannot follow.
    FragmentChecksum = "fragment_checksum",
    /// Several workers had fragments for the same place of the table at once.
    FragmentBusy = "fragment_busy",
    /// A policy does not allow its sender to send it; `shunt drops --why` says which.
    PolicyEgress = "policy_egress",
    /// A policy does not allow its receiver to receive it; `shunt drops --why` says which.
    PolicyIngress = "policy_ingress",
    /// The first packet of no connection, and of none that is known: an answer that nobody asked for, a TCP segment that is not
    /// due (RFC 9293), or an SCTP packet with a wrong tag or a chunk that is not due (RFC 9260; as conntrack's INVALID).
    InvalidState = "invalid_state",
    /// Out of a masqueraded network into one in which the router has no address of the packet's family.
    NoMasqueradeAddress = "no_masquerade_address",
    /// No port is left that the address it is masqueraded with could have towards this destination.
    MasqueradePorts = "masquerade_ports",
    /// The connection table is full.
    ConnectionsFull = "connections_full",
    /// Its source has as many connections, or handshakes under way, as it may.
    ConnectionLimit = "connection_limit",
    /// Its source opened as many connections in this second as it may.
    ConnectionRate = "connection_rate",
    /// Its zone (a router with its networks) has as many connections, or handshakes under way, as it may.
    ConnectionZone = "connection_zone",
    /// Several workers opened connections at the same place of the table; the next packet will do.
    ConnectionBusy = "connection_busy",
    /// Its connection ended while it was under way.
    ConnectionGone = "connection_gone",
    /// The destination's MAC address is not known yet; it is being asked for.
    NeighborUnresolved = "neighbor_unresolved",
    /// Nobody is behind the egress port: no guest is attached, or its interface is down.
    LinkDown = "link_down",
    /// The frame's headers are cut into several buffers and it is too long for one.
    HeadersSplit = "headers_split",
    /// No room in front of the frame for a tag or a tunnel's headers.
    NoHeadroom = "no_headroom",
    /// A tag was to be removed from a frame that has none.
    NoTag = "no_tag",
    /// The actions name a template or a translation that the topology does not have: a defect of the switch.
    NoRewrite = "no_rewrite",
    /// Sent to the gateway, but its IP header is not sound: version, length or extension chain.
    BadIpHeader = "bad_ip_header",
    /// Sent to the gateway's MAC address, but neither IPv4 nor IPv6.
    NotForGateway = "not_for_gateway",
    /// An address that no router passes on (loopback, multicast, link-local, unspecified).
    NotRoutable = "not_routable",
    /// Sent to an address of the switch itself, which offers no service there.
    ForSwitch = "for_switch",
    /// The TTL or hop limit was 1 or 0 when the packet was to be routed.
    TtlExceeded = "ttl_exceeded",
    /// The router has no route to the destination.
    NoRoute = "no_route",
    /// The route to the destination says that packets are to be dropped.
    Blackhole = "blackhole",
    /// An address within the `cidr` of an overlay that no peer and no endpoint has; its sender is told.
    OverlayUnreachable = "overlay_unreachable",
    /// Its VLAN tag, or the lack of one, belongs to no network of the port it came in by.
    VlanMismatch = "vlan_mismatch",
    /// It came out of a tunnel and would go into a tunnel of the same network: whoever sent it should have sent it there.
    SplitHorizon = "split_horizon",
    /// Sent to a tunnel of ours, but of a network identifier or key that no network has.
    TunnelUnknownVni = "tunnel_unknown_vni",
    /// Sent to a tunnel of ours by an address that is no peer of its network, which is told nothing; or sent to a peer that is
    /// no more.
    TunnelUnknownPeer = "tunnel_unknown_peer",
    /// Sent to a tunnel of ours, but its headers are not sound: flags, version, lengths or payload type.
    TunnelBadHeader = "tunnel_bad_header",
    /// A fragment of a tunnel packet: tunnels are not reassembled; the peer's overlay MTU is too large for the path.
    TunnelFragment = "tunnel_fragment",
    /// It has a critical Geneve option that the switch does not know (RFC 8926 section 3.5).
    TunnelCriticalOption = "tunnel_critical_option",
    /// A Geneve control packet (O bit), which is not for the network, and which the switch does not answer.
    TunnelControl = "tunnel_control",
    /// The UDP or GRE checksum of a tunnel packet is wrong, or missing where the network wants one.
    TunnelBadChecksum = "tunnel_bad_checksum",
    /// The tunnel met congestion, and the packet inside is of a transport that knows no such mark (RFC 6040 section 4.2).
    TunnelEcn = "tunnel_ecn",
    /// A large send reached a tunnel before it was cut: a defect of the switch.
    TunnelNotSegmented = "tunnel_not_segmented",
    /// The port's stations are given, and the frame's source MAC address is none of theirs.
    SpoofedMac = "spoofed_mac",
    /// The port's stations are given, and the packet's source IP address is not its sender's.
    SpoofedIp = "spoofed_ip",
    /// The port's stations are given, and an ARP or ND message claims an address that is not its sender's, or cannot be read.
    SpoofedArp = "spoofed_arp",
    /// A frame of the link's own protocols (spanning tree, LACP, 802.1X, LLDP), to an address that no bridge forwards to, or from a
    /// port that is not trusted.
    LinkControl = "link_control",
    /// A source address that nobody has, or a loopback one (RFC 1812 section 5.3.7), from a port that is not trusted.
    Martian = "martian",
    /// BFD (RFC 5880) from a port that is not trusted.
    PodBfd = "pod_bfd",
    /// What a DHCP or DHCPv6 server sends, from a port that is not trusted.
    PodDhcpServer = "pod_dhcp_server",
    /// An IPv6 router advertisement from a port that is not trusted (RFC 6105).
    PodRouterAdvertisement = "pod_router_advertisement",
    /// An ICMP or ICMPv6 redirect from a port that is not trusted.
    PodRedirect = "pod_redirect",
    /// For a station of a closed network, from outside of the masqueraded ones, and of no connection that such a one has opened.
    OverlayNotReachable = "overlay_not_reachable",
    /// Sent to the shared MAC address of a demux network, but to no address of its stations, and no host port takes it.
    NoStation = "no_station",
    /// The sender inside a tunnel packet is not behind the peer that sent it.
    TunnelInnerSource = "tunnel_inner_source",
    /// The way to a tunnel's other end leads into a tunnel, or to ourselves.
    TunnelLoop = "tunnel_loop",
    /// The next hop's MAC address is behind no port and no peer of the overlay.
    NoFdbEntry = "no_fdb_entry",
    /// Sent to an address of a service, at which it has no such port; its sender hears of it.
    ServiceNoPort = "service_no_port",
    /// Sent to a service that has no endpoint; its sender hears of it.
    ServiceNoEndpoints = "service_no_endpoints",
    /// Sent to a service whose traffic policy is local, and none of its endpoints is on this node.
    ServiceNoneHere = "service_none_here",
    /// Sent to a load balancer's address of a service by somebody who is not in its source ranges.
    ServiceSourceRefused = "service_source_refused",
    /// To a backend on another node for somebody outside, and this node has no address of its own to which it would answer.
    ServiceNoSource = "service_no_source",
    /// Longer than the MTU of the network or port it is routed to, and not to be cut; its sender is told the MTU.
    TooBig = "too_big",
    /// The egress port refused the frame: malformed, or longer than its interface takes.
    TxRefused = "tx_refused",
}

impl DropReason {
    /// True when a policy said so.
    #[inline]
    pub const fn is_policy(self) -> bool {
        matches!(self, Self::PolicyEgress | Self::PolicyIngress)
    }
}

/// Number of reasons.
pub const REASONS: usize = DropReason::ALL.len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_indexed_by_discriminant() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(reason.describe().ends_with('.'), "{reason:?} needs a sentence");
        }
        let names: std::collections::BTreeSet<_> =
            DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), REASONS, "two reasons share a name");
    }
}
