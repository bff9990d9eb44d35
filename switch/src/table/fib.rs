//! The forwarding information base of one router: longest prefix of a destination address -> [`Route`].
//!
//! A trie of 8-bit strides whose nodes hold, for each of 256 slots, the route of the longest prefix up to there, with runs
//! of equal slots stored once (see [`node`]). IPv4 begins with two plain arrays (256 chunks of 256 slots, chunks behind
//! `Arc`, so that a later version of the table can share those that did not change), so a prefix of up to 16 bits costs two
//! loads and one of up to 32 bits two nodes more. IPv6 nodes skip the bytes that all prefixes below them have in common:
//! the cost grows with the branching on the way, not with the length of the prefix.
//!
//! A node is one cache line and its slots another, or the same one in small IPv4 nodes. Building is linear in the number of
//! prefixes, after a sort.

mod node;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use shunt_config::IpNet;

use crate::ids::NetworkId;
use node::{CHILD, Line, NONE, Slot};

/// Where packets of a prefix go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// The destination itself is a neighbour in this network.
    Connected(NetworkId),
    /// To the router with this address, a neighbour in this network.
    Via(NetworkId, IpAddr),
    /// Nowhere.
    Blackhole,
}

/// One row given to [`Fib::build`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The prefix; bits behind its length are ignored.
    pub prefix: IpNet,
    /// Its route.
    pub route: Route,
}

/// An immutable longest-prefix table for both families.
#[derive(Debug)]
pub struct Fib {
    v4: Box<[Arc<Chunk>; 256]>,
    v6: Arc<Trie>,
    /// What [`Route::Via`] leaves point to; few, so nearly always in the cache.
    hops: Box<[(NetworkId, IpAddr)]>,
    rows: Box<[Row]>,
}

/// The IPv4 addresses with one first byte.
#[derive(Debug)]
struct Chunk {
    /// By second byte.
    root: [Slot; 256],
    lines: Box<[Line]>,
}

/// All IPv6 addresses.
#[derive(Debug)]
struct Trie {
    root: Slot,
    lines: Box<[Line]>,
}

impl Fib {
    /// Builds the table; of rows with the same prefix the first wins.
    pub fn build(rows: impl IntoIterator<Item = Row>) -> Self {
        let truncate = |row: Row| Row { prefix: row.prefix.trunc(), ..row };
        let mut rows: Vec<Row> = rows.into_iter().map(truncate).collect();
        // Stable, and a prefix sorts directly before those it contains: what `node` wants.
        rows.sort_by_key(|row| row.prefix);
        rows.dedup_by_key(|row| row.prefix);
        let mut hops = Hops::default();
        let items: Vec<node::Item> = rows.iter().map(|row| item(row, &mut hops)).collect();
        let (v4, v6) = items.split_at(rows.partition_point(|row| matches!(row.prefix, IpNet::V4(_))));
        Self { v4: chunks(v4), v6: Arc::new(trie(v6)), hops: hops.list.into(), rows: rows.into() }
    }

    /// The route of the longest prefix that contains `address`.
    #[inline]
    pub fn get(&self, address: IpAddr) -> Option<Route> {
        match address {
            IpAddr::V4(address) => self.get_v4(address),
            IpAddr::V6(address) => self.get_v6(address),
        }
    }

    /// [`Fib::get`] for IPv4.
    #[inline]
    pub fn get_v4(&self, address: Ipv4Addr) -> Option<Route> {
        let [a, b, c, d] = address.octets();
        let chunk = &self.v4[usize::from(a)];
        let mut slot = chunk.root[usize::from(b)];
        for byte in [c, d] {
            if slot & CHILD == 0 {
                break;
            }
            slot = node::select(&chunk.lines, slot, byte, node::PLAIN);
        }
        self.route(slot)
    }

    /// [`Fib::get`] for IPv6.
    #[inline]
    pub fn get_v6(&self, address: Ipv6Addr) -> Option<Route> {
        let (trie, key) = (&*self.v6, address.to_bits());
        let mut slot = trie.root;
        // Ends: the byte that a node looks at lies behind that of its parent.
        while slot & CHILD != 0 {
            slot = node::descend(&trie.lines, slot, key);
        }
        self.route(slot)
    }

    /// All rows: IPv4 before IPv6, by prefix.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.iter()
    }

    /// Number of prefixes.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True when there is no route.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    #[inline]
    fn route(&self, leaf: Slot) -> Option<Route> {
        match leaf & KIND {
            CONNECTED => Some(Route::Connected(NetworkId(leaf as u16))),
            VIA => self.hops.get((leaf & !KIND) as usize).map(|&(network, hop)| Route::Via(network, hop)),
            BLACKHOLE => Some(Route::Blackhole),
            _ => None,
        }
    }
}

/// The bits of a leaf that say what it is; [`NONE`] has none of them.
const KIND: Slot = 3 << 29;
/// With the network's index.
const CONNECTED: Slot = 1 << 29;
/// With the index into `hops`.
const VIA: Slot = 2 << 29;
const BLACKHOLE: Slot = 3 << 29;

/// The next hops of [`Route::Via`] rows, each once.
#[derive(Default)]
struct Hops {
    list: Vec<(NetworkId, IpAddr)>,
    places: HashMap<(NetworkId, IpAddr), Slot>,
}

impl Hops {
    fn place(&mut self, hop: (NetworkId, IpAddr)) -> Slot {
        let list = &mut self.list;
        *self.places.entry(hop).or_insert_with(|| {
            list.push(hop);
            (list.len() - 1) as Slot
        })
    }
}

/// A row as the trie has it.
fn item(row: &Row, hops: &mut Hops) -> node::Item {
    let leaf = match row.route {
        Route::Connected(network) => CONNECTED | Slot::from(network.0),
        Route::Via(network, hop) => VIA | hops.place((network, hop)),
        Route::Blackhole => BLACKHOLE,
    };
    let key = match row.prefix {
        IpNet::V4(net) => u128::from(net.addr().to_bits()) << 96,
        IpNet::V6(net) => net.addr().to_bits(),
    };
    node::Item { key, len: u32::from(row.prefix.prefix_len()), leaf }
}

fn chunks(items: &[node::Item]) -> Box<[Arc<Chunk>; 256]> {
    let mut made = Vec::new();
    let slots = node::paint(items, 0, NONE, &mut |inner, around| {
        made.push(Arc::new(chunk(inner, around)));
        CHILD | (made.len() - 1) as Slot
    });
    // First bytes without long prefixes of their own are most often all of one route: those share a chunk.
    let mut uniform: Option<(Slot, Arc<Chunk>)> = None;
    Box::new(slots.map(|slot| match &uniform {
        _ if slot & CHILD != 0 => made[(slot & !CHILD) as usize].clone(),
        Some((known, same)) if *known == slot => same.clone(),
        _ => uniform.insert((slot, Arc::new(chunk(&[], slot)))).1.clone(),
    }))
}

fn chunk(items: &[node::Item], around: Slot) -> Chunk {
    let mut lines = Vec::new();
    let root = node::paint(items, 1, around, &mut |inner, around| node::plain(&mut lines, inner, 2, around));
    Chunk { root, lines: lines.into() }
}

fn trie(items: &[node::Item]) -> Trie {
    let mut lines = Vec::new();
    let root = node::skipping(&mut lines, items, 0, NONE);
    Trie { root, lines: lines.into() }
}
