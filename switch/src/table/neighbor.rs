//! The neighbours of one network: IP address -> MAC address. Asked only for frames that come from an L3 port and have
//! no Ethernet header of their own.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::wire::ethernet::Mac;

/// How an address came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// The MAC address.
    pub mac: Mac,
    /// The switch itself answers for it: it is the address of an L3 port.
    pub own: bool,
}

/// An immutable neighbour table.
#[derive(Debug, Default)]
pub struct NeighborTable {
    rows: HashMap<IpAddr, Neighbor>,
}

impl NeighborTable {
    /// Builds the table; of rows with the same address the first wins.
    pub fn build(rows: impl Iterator<Item = (IpAddr, Neighbor)>) -> Self {
        let mut table = Self::default();
        for (address, neighbor) in rows {
            table.rows.entry(address).or_insert(neighbor);
        }
        table
    }

    /// The neighbour with `address`.
    pub fn get(&self, address: IpAddr) -> Option<Neighbor> {
        self.rows.get(&address).copied()
    }

    /// All rows, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, Neighbor)> {
        self.rows.iter().map(|(address, neighbor)| (*address, *neighbor))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True when nothing is known.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
