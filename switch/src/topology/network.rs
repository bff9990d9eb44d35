//! A network as the data path sees it.

use std::sync::Arc;

use shunt_config::NetworkName;

use super::{Crossing, Gateway, Member, Meter, Port, Tag};
use crate::flow::Depth;
use crate::ids::{NetworkId, PortId};
use crate::port::FRAME_OVERHEAD;
use crate::table::fdb::Fdb;
use crate::table::neighbor::{Neighbor, NeighborTable};
use crate::table::policy::Policies;
use crate::wire::ethernet::Mac;

/// A network: one isolated broadcast domain.
#[derive(Clone, Debug)]
pub struct Network {
    /// Index.
    pub id: NetworkId,
    /// Name, for people.
    pub name: NetworkName,
    /// The ports of the network that are up, by port.
    pub members: Arc<[Member]>,
    /// All its ports, up or not, by port.
    pub attached: Arc<[Member]>,
    /// Some of its ports have a tag.
    pub has_tags: bool,
    /// MAC table.
    pub fdb: Arc<Fdb>,
    /// Neighbours; filled only while the switch has addresses of its own in the network.
    pub neighbors: Arc<NeighborTable>,
    /// The router's place in the network; without one it is an Ethernet bridge and no more.
    pub gateway: Option<Gateway>,
    /// The port to the node's own stack, which has the gateway's addresses, too: what is sent to them and is nothing that
    /// the switch itself answers goes there, and so do answers to what the node has asked.
    pub host: Option<PortId>,
    /// True when the switch has addresses of its own in the network, a gateway's or an L3 port's: only then does ARP and
    /// ND traffic have to be looked at.
    pub has_l3: bool,
    /// How deep the stages of the network look into a frame.
    pub depth: Depth,
    /// Whose addresses the switch answers ARP and ND requests for.
    pub answers: Answers,
    /// Its stations share a MAC address.
    pub demux: Option<Demux>,
    /// Longest IP packet that is routed into it, bytes.
    pub mtu: u16,
    /// TCP SYNs that are routed into or out of it announce no larger segments than fit its MTU (RFC 4459 section 3.2).
    pub mss_clamp: bool,
    /// What its stations send to networks that are not masqueraded leaves with the router's address there.
    pub masquerade: bool,
    /// Its stations are reached from networks that are not masqueraded only by the connections that they have opened.
    pub closed: bool,
    /// Where connections of what is routed out of it are looked for: set when some network of its router is masqueraded, or
    /// what is bridged has connections, too.
    pub zone: Option<u16>,
    /// Connections are looked for also of what is only bridged in it: a service's answers may be, and what a policy forbids.
    pub tracks_bridged: bool,
    /// Who may talk to whom; `None` where no policy can be about what comes in.
    pub policies: Option<Arc<Policies>>,
    /// Frames a second that each port may have flooded in it; 0 is any number.
    pub storm_limit: u32,
    /// Frames to the addresses that no bridge forwards to are flooded.
    pub forward_control: bool,
    /// What may come into it by its ports.
    pub meter: Option<Arc<Meter>>,
    /// Rules for traffic between it and other networks of its router.
    pub crossing: Crossing,
}

impl Network {
    /// The destination of frames to a neighbour: its MAC address, but of a station of a demux network the one that all share. (What
    /// the tables have for those, which configuration gives, is a name.)
    #[inline]
    pub fn mac_on_wire(&self, neighbor: &Neighbor) -> Mac {
        self.demux.filter(|_| neighbor.fixed).map_or(neighbor.mac, |demux| demux.mac)
    }

    /// Longest IP packet that may be routed into it through `port`, which may take less than the others, bytes.
    #[inline]
    pub fn mtu_at(&self, port: &Port) -> u16 {
        let takes = port.max_frame.saturating_sub(FRAME_OVERHEAD);
        self.mtu.min(takes.min(u32::from(u16::MAX)) as u16)
    }

    /// The tag that the network's frames have at `port`, be it up or not: a decision outlives that.
    #[inline]
    pub fn tag_at(&self, port: PortId) -> Option<Tag> {
        if !self.has_tags {
            return None;
        }
        let at = self.attached.binary_search_by_key(&port, |member| member.port).ok()?;
        self.attached.get(at)?.tag
    }
}

/// A network whose stations share a MAC address and are told apart by IP address, each a given neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demux {
    /// The address.
    pub mac: Mac,
    /// Port that gets what is for none of them.
    pub host: Option<PortId>,
}

/// Whose addresses the switch answers ARP and ND requests for, in place of their owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// Its own.
    #[default]
    Own,
    /// Also those of neighbours that configuration gives: nobody else need be asked (RFC 9161 section 3).
    Given,
    /// Everybody's but those of stations behind the asking port, with the gateway's MAC address (proxy ARP, RFC 1027).
    Everybody,
}
