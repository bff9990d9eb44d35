//! The forwarding information base of one router: longest prefix of a destination address -> [`Route`].
//!
//! What a lookup costs is the cache lines it has to wait for, so the table is small first and shallow second: prefixes are
//! flattened to runs of addresses with one route, runs are packed into search trees of cache lines (see [`packed`]), and
//! only where more than some thousand prefixes begin with the same byte does a plain table of 256 places tell that byte
//! apart ([`table`]).
//!
//! A table never changes. [`Fib::changed`] makes the next one, which shares with it every tree and every piece of the row
//! list that no change touches: a route more costs some 100 us beside 100,000 others.

mod hops;
mod packed;
mod rows;
mod table;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use shunt_config::IpNet;

use crate::ids::NetworkId;
use hops::Hops;
use rows::Rows;
use table::Table;

/// Where packets of a prefix go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// The destination itself is a neighbour in this network.
    Connected(NetworkId),
    /// To the router with this address, a neighbour in this network.
    Via(NetworkId, IpAddr),
    /// Nowhere.
    Blackhole,
    /// Nowhere, as far as is known: an address of an overlay that nobody has. Its sender hears of it.
    Unreachable,
}

/// One row given to [`Fib::build`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The prefix; bits behind its length are ignored.
    pub prefix: IpNet,
    /// Its route.
    pub route: Route,
}

/// One difference between a table and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The prefix; bits behind its length are ignored.
    pub prefix: IpNet,
    /// Its route from now on; without one the prefix goes.
    pub route: Option<Route>,
}

/// An immutable longest-prefix table for both families.
#[derive(Clone, Debug)]
pub struct Fib {
    v4: Arc<Table<u32>>,
    v6: Arc<Table<u128>>,
    hops: Hops,
    rows: Rows,
}

impl Default for Fib {
    fn default() -> Self {
        Self::build([])
    }
}

impl Fib {
    /// Builds the table; of rows with the same prefix the first wins.
    pub fn build(rows: impl IntoIterator<Item = Row>) -> Self {
        let truncate = |row: Row| Row { prefix: row.prefix.trunc(), ..row };
        let mut rows: Vec<Row> = rows.into_iter().map(truncate).collect();
        // Stable, and a prefix sorts directly before those it contains: what the trees want.
        rows.sort_by_key(|row| row.prefix);
        rows.dedup_by_key(|row| row.prefix);
        let mut hops = Hops::default();
        let (v4, v6) = rows.split_at(rows.partition_point(|row| matches!(row.prefix, IpNet::V4(_))));
        let v4 = Arc::new(Table::build(&table::items(v4, &mut hops), 0));
        let v6 = Arc::new(Table::build(&table::items(v6, &mut hops), 0));
        Self { v4, v6, hops, rows: Rows::of_sorted(&rows) }
    }

    /// The table after `changes`, the last one of a prefix wins. Costs some 100 us for each change that is far from the
    /// others, so that with very many [`Fib::build`] is cheaper: then it does that.
    #[must_use]
    pub fn changed(&self, changes: &[Change]) -> Self {
        let mut next = self.clone();
        for change in changes {
            next.rows.set(change.prefix.trunc(), change.route);
        }
        // Hops that nobody uses any more stay until they are as many as the routes.
        let stale = next.hops.len() > 2 * next.rows.len() + 1024;
        if changes.len() > 64 + self.len() / 64 || stale {
            return Self::build(next.rows.iter().copied());
        }
        for change in changes {
            let (rows, hops) = (&next.rows, &mut next.hops);
            match change.prefix.trunc() {
                IpNet::V4(net) => {
                    let (key, len) = (net.addr().to_bits(), net.prefix_len());
                    Arc::make_mut(&mut next.v4).refresh(0, (key, len), rows, hops);
                }
                IpNet::V6(net) => {
                    let (key, len) = (net.addr().to_bits(), net.prefix_len());
                    Arc::make_mut(&mut next.v6).refresh(0, (key, len), rows, hops);
                }
            }
        }
        next
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
        self.hops.route(self.v4.get(address.to_bits()))
    }

    /// [`Fib::get`] for IPv6.
    #[inline]
    pub fn get_v6(&self, address: Ipv6Addr) -> Option<Route> {
        self.hops.route(self.v6.get(address.to_bits()))
    }

    /// The route of exactly this prefix.
    pub fn row(&self, prefix: IpNet) -> Option<Route> {
        self.rows.get(prefix)
    }

    /// All rows: IPv4 before IPv6, by prefix.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    /// Number of prefixes.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True when there is no route.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    /// Bytes that the table takes: those that lookups read, and all with the list of rows. What it shares with other tables
    /// is counted.
    pub fn bytes(&self) -> (usize, usize) {
        let read = self.v4.bytes() + self.v6.bytes() + self.hops.bytes();
        (read, read + self.rows.bytes())
    }
}
