//! Which connections go on when services or floating addresses change. Established ones keep where they go whatever becomes of
//! that short of its end (table 4 finds them before any other stage is asked), so whoever changes the tables goes through
//! them and ends the others.

use std::net::IpAddr;

use super::{nat, service};
use crate::state::Connection;
use crate::table::service::Services;

/// True when a connection of a router with `services` goes on: the service that made it still has the backend, and the
/// floating address that it has still stands for its station; `inward` says for which one an address stands. All others are
/// kept but those to where a service or a floating address has come to be: they would go by it for ever otherwise, as a
/// resolver's that asked too early.
pub fn keeps(
    connection: &Connection,
    services: Option<&Services>,
    inward: impl Fn(IpAddr) -> Option<IpAddr>,
) -> bool {
    let (original, reply) = (connection.original.parts(), connection.reply.parts());
    let (to, protocol, port) = (original.destination, original.protocol, original.destination_port);
    let leaves = || inward(reply.destination) == Some(original.source);
    let served = || {
        let backend = (reply.source, reply.source_port);
        services.is_some_and(|services| services.keeps(to, protocol, port, backend))
    };
    match connection.rule {
        service::RULE => served(),
        service::FLOATING_RULE => served() && leaves(),
        _ if services.is_some_and(|services| services.is_front(to, protocol, port)) => false,
        rule => match inward(to) {
            Some(station) => station == reply.source,
            None => rule != nat::RULE || leaves(),
        },
    }
}
