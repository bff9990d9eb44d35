//! Which connections go on in a changed world.

use super::model::{Connection, Leaves};
use super::places;
use super::services::front;
use super::way::forward;
use super::world::World;

/// Whether a connection may go on in a changed world.
pub(super) fn goes_on(world: &World, it: &Connection) -> bool {
    let stands = it.rests.floating.is_none_or(|(external, internal)| {
        world.floating.is_some_and(|station| {
            (external, internal)
                == (places::floating(external.is_ipv6()), places::address(station, internal.is_ipv6()))
        })
    });
    let v6 = it.original.is_v6();
    // One that began before the address stood for a station.
    let early =
        it.original.to == places::floating(v6) && world.floating.is_some() && it.rests.floating.is_none();
    let there = (it.reply.from, it.reply.ports.0);
    let floats = it.rests.floating.is_some_and(|(external, _)| external == it.original.to);
    let sent_on = it.rests.service || floats;
    let forwarded = match forward(world, &it.original) {
        Some(station) => it.rests.forward && station == there,
        None => !it.rests.forward,
    };
    // Its address is still there for it.
    let leaves = match it.rests.leaves {
        Leaves::AsElse => true,
        Leaves::Pooled => world.pools(it.reply.to),
        Leaves::Sourced => world.sources(it.original.from).contains(&it.reply.to),
    };
    let front = front(world, &it.original);
    stands
        && leaves
        && (forwarded || sent_on && !it.rests.forward)
        && !early
        && match (it.rests.service, front) {
            (true, None) | (false, Some(_)) => false,
            (false, None) => true,
            (true, Some((number, _, _))) => world.services[number]
                .iter()
                .flat_map(|it| &it.endpoints)
                .any(|endpoint| (endpoint.address, endpoint.port) == (there.0, Some(there.1))),
        }
}
