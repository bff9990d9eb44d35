//! Which connections go on when services, translations or the router's own addresses change. Established ones keep where they go whatever becomes of
//! that short of its end (table 4 finds them before any other stage is asked), so whoever changes the tables goes through
//! them and ends the others.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use super::{nat, service};
use crate::state::Connection;
use crate::state::tuple::Parts;
use crate::table::nat::Nat;
use crate::table::service::Services;

/// What connections of a router rest on.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Its services, where it has some.
    pub services: Option<&'a Services>,
    /// What it translates.
    pub nat: Option<&'a Nat>,
    /// Its own addresses in all of its networks.
    pub own: &'a HashSet<IpAddr>,
}

/// True when a connection goes on: what sends it inside still does, and the address that it leaves with is still there for it:
/// once that is not the node's it may be anybody's. All others are kept but those to where a service, a floating address or a
/// forwarded port has come to be: they would go by it for ever otherwise, as a resolver's that asked too early.
pub fn keeps(connection: &Connection, standing: &Standing<'_>) -> bool {
    let (original, reply) = (connection.original.parts(), connection.reply.parts());
    let rule = connection.rule;
    is_sent_there(rule & nat::INWARD, &original, &reply, standing.services, standing.nat)
        && leaves_so(rule & nat::OUTWARD, &original, &reply, standing)
}

/// Whether its first packet would go there again.
fn is_sent_there(
    rule: u32,
    original: &Parts,
    reply: &Parts,
    services: Option<&Services>,
    nat: Option<&Nat>,
) -> bool {
    let (to, protocol, port) = (original.destination, original.protocol, original.destination_port);
    let there = SocketAddr::new(reply.source, reply.source_port);
    if rule == service::RULE {
        return services
            .is_some_and(|services| services.keeps(to, protocol, port, (there.ip(), there.port())));
    }
    if services.is_some_and(|services| services.is_front(to, protocol, port)) {
        return false;
    }
    if let Some(station) = nat.and_then(|nat| nat.inward(to)) {
        return station == there.ip();
    }
    let forwarded = nat.and_then(|nat| nat.forward(protocol, SocketAddr::new(to, port)));
    match rule {
        nat::RULE => false,
        nat::FORWARD => forwarded == Some(there),
        _ => forwarded.is_none(),
    }
}

/// Whether it would leave with that address again.
fn leaves_so(rule: u32, original: &Parts, reply: &Parts, standing: &Standing<'_>) -> bool {
    let (leaves_with, nat) = (reply.destination, standing.nat);
    match rule {
        nat::OWN => standing.own.contains(&leaves_with),
        // Another one may be its first choice by now: it stays with the one that it has.
        nat::POOLED => nat.is_some_and(|nat| nat.pools(leaves_with)),
        nat::LEAVES => nat.and_then(|nat| nat.inward(leaves_with)) == Some(original.source),
        nat::SOURCED => {
            nat.and_then(|nat| nat.sourced(original.source, |address| address == leaves_with)).is_some()
        }
        _ => true,
    }
}
