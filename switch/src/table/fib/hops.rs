//! Routes as numbers of 32 bits, so that many fit a cache line.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::Route;
use crate::ids::NetworkId;

/// A route, or where the search goes on (see [`super::packed`]).
pub(super) type Slot = u32;

/// Marks a slot that is not a route but the place of a tree.
pub(super) const TREE: Slot = 1 << 31;
/// The slot of addresses without a route.
pub(super) const NONE: Slot = 0;

/// The bits of a route that say what it is; [`NONE`] has none of them.
const KIND: Slot = 3 << 29;
/// With the network's index.
const CONNECTED: Slot = 1 << 29;
/// With the index into the list of hops.
const VIA: Slot = 2 << 29;
const BLACKHOLE: Slot = 3 << 29;
/// A blackhole that the sender hears of.
const UNREACHABLE: Slot = BLACKHOLE | 1;

/// The next hops of [`Route::Via`] rows, each once. A hop keeps its number in all later versions of the list; versions
/// without a new hop are the same list.
#[derive(Clone, Debug, Default)]
pub(super) struct Hops(Arc<List>);

#[derive(Clone, Debug, Default)]
struct List {
    by_number: Vec<(NetworkId, IpAddr)>,
    numbers: HashMap<(NetworkId, IpAddr), Slot>,
}

impl Hops {
    /// The slot of `route`, whose hop is entered when it is new.
    pub(super) fn slot(&mut self, route: Route) -> Slot {
        match route {
            Route::Connected(network) => CONNECTED | Slot::from(network.0),
            Route::Via(network, hop) => VIA | self.number((network, hop)),
            Route::Blackhole => BLACKHOLE,
            Route::Unreachable => UNREACHABLE,
        }
    }

    fn number(&mut self, hop: (NetworkId, IpAddr)) -> Slot {
        if let Some(known) = self.0.numbers.get(&hop) {
            return *known;
        }
        let list = Arc::make_mut(&mut self.0);
        let number = list.by_number.len() as Slot;
        assert!(number & KIND == 0, "more next hops than 2^29");
        list.by_number.push(hop);
        list.numbers.insert(hop, number);
        number
    }

    /// The route that [`Hops::slot`] made the slot of.
    #[inline]
    pub(super) fn route(&self, slot: Slot) -> Option<Route> {
        match slot & KIND {
            CONNECTED => Some(Route::Connected(NetworkId(slot as u16))),
            VIA => {
                let hop = self.0.by_number.get((slot & !KIND) as usize);
                hop.map(|&(network, hop)| Route::Via(network, hop))
            }
            BLACKHOLE if slot == UNREACHABLE => Some(Route::Unreachable),
            BLACKHOLE => Some(Route::Blackhole),
            _ => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.by_number.len()
    }

    pub(super) fn bytes(&self) -> usize {
        // The map is not read by lookups, but small beside the rest.
        2 * size_of::<(NetworkId, IpAddr)>() * self.len()
    }
}
