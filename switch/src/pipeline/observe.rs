//! Watching the stages decide.

use std::net::{IpAddr, SocketAddr};

use crate::flow::Verdict;
use crate::state::Tuple;
use crate::table::fdb::Place;
use crate::table::fib::Route;
use crate::table::policy::{Direction, Judgement};
use crate::table::service::Front;
use crate::topology::tunnels::{Overlay, Tunnel};
use crate::topology::{Network, Topology};
use crate::wire::ethernet::Mac;

/// What a stage tells an observer. Borrowed and `Copy`, so that making one costs nothing when nobody looks.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A stage begins: its table number and name.
    Table(u8, &'static str),
    /// A rule or entry matched.
    Matched(&'static str),
    /// A station of a network was looked up; its place when it is known.
    Station(&'a Topology, &'a Network, Mac, Option<Place>),
    /// A route was looked up, in the routers of a topology.
    Route(&'a Topology, IpAddr, Option<Route>),
    /// A neighbour was looked up.
    Neighbor(IpAddr, Option<Mac>),
    /// The way of a tunnel was looked up.
    Tunnel(&'a Topology, &'a Overlay, &'a Tunnel),
    /// Nothing that changes the packet's way was found, in words.
    Noted(&'static str),
    /// What policies say about a new connection, to the end that receives or sends.
    Policy(Direction, &'a Judgement<'a>),
    /// A connection was found; what the packet is translated to.
    Connection(&'a Tuple),
    /// A service was found.
    Service(&'a Front<'a>),
    /// The backend of a new connection: address and port.
    Backend(IpAddr, u16),
    /// The destination stands for a station.
    Floating(IpAddr, IpAddr),
    /// A port that leads to another.
    Forward(SocketAddr, SocketAddr),
    /// A connection is opened, with this source address.
    Masquerade(IpAddr),
    /// The frame was rewritten.
    Rewrote(&'static str),
    /// The end, in the ports of a topology.
    Verdict(&'a Topology, Verdict),
}

/// Receives the steps of one frame.
pub trait Observe {
    /// Takes one step.
    fn step(&mut self, step: Step<'_>);
}

/// The observer of the data path: sees nothing, costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observe for Silent {
    #[inline(always)]
    fn step(&mut self, _step: Step<'_>) {}
}
