//! The services of one router: which address and port stand for which backends.
//!
//! | file | holds |
//! |---|---|
//! | `index` | addresses, protocols and ports -> service and port |
//! | `row` | one service: its ports, and who answers for each |
//! | `backends` | who answers for one port: all, and those that get new connections |
//! | `maglev` | which of these a connection goes to |
//!
//! Immutable. The next table is made of the one before: a service that is the same is the same `Arc`, and so is the index
//! while no address or port comes or goes. A lookup is one hash and one probe; a choice is one multiplication and two loads.

mod backends;
mod index;
mod maglev;
mod row;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use shunt_config::{Service, ServiceName};

pub use backends::{Backend, Backends, Pick, Scope};
pub use index::Kind;
use index::{Index, Place};
pub use maglev::Maglev;
pub use row::{PortRow, Row};

/// Where this node is, as far as it decides which endpoints are near.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// What endpoints call the node.
    pub node: Option<String>,
    /// Its zone.
    pub zone: Option<String>,
    /// Addresses of stations of this node, for endpoints that name no node.
    pub stations: HashSet<IpAddr>,
}

/// The services of a router.
#[derive(Debug)]
pub struct Services {
    index: Arc<Index>,
    rows: Box<[Arc<Row>]>,
    /// What the rows were built for.
    site: Arc<Site>,
}

/// What a destination is.
#[derive(Clone, Copy, Debug)]
pub enum Found<'t> {
    /// A port of a service.
    Front(Front<'t>),
    /// An address of a service, at which it has no such port.
    Address(IpAddr),
    /// Nothing of a service's.
    Nothing,
}

/// An address, protocol and port that stand for backends.
#[derive(Clone, Copy, Debug)]
pub struct Front<'t> {
    /// Number of the service in its table.
    pub number: u32,
    /// The service.
    pub row: &'t Row,
    /// The port.
    pub port: &'t PortRow,
    /// Whose address it is.
    pub kind: Kind,
}

impl Services {
    /// Builds the table of `services`, which the nodes of their router reach at `own`, its addresses outside of overlays;
    /// what is the same as in `before` is shared with it. Pure but for that.
    pub fn build<'s>(
        services: impl IntoIterator<Item = &'s Arc<Service>>,
        own: &[IpAddr],
        site: &Site,
        before: Option<&Self>,
    ) -> Self {
        let old = before.map_or(&[][..], |before| &before.rows);
        let site = match before {
            Some(before) if *before.site == *site => before.site.clone(),
            _ => Arc::new(site.clone()),
        };
        let same_site = before.is_some_and(|before| Arc::ptr_eq(&before.site, &site));
        let mut by_name: Option<HashMap<&ServiceName, &Arc<Row>>> = None;
        let rows: Box<[Arc<Row>]> = services
            .into_iter()
            .enumerate()
            .map(|(at, service)| {
                // Most often each is where it was, and the same.
                if let Some(row) = old.get(at).filter(|row| same_site && row.is_just(service)) {
                    return row.clone();
                }
                let same = old.get(at).filter(|row| row.service().name == service.name);
                let known = same.or_else(|| {
                    let map = by_name
                        .get_or_insert_with(|| old.iter().map(|row| (&row.service().name, row)).collect());
                    map.get(&service.name).copied()
                });
                match known {
                    Some(row) if same_site && row.is_just(service) => row.clone(),
                    Some(row) if row.is_of(service, &site) => row.clone(),
                    known => Arc::new(Row::build(service, &site, known.map(|row| &**row))),
                }
            })
            .collect();
        let same = before.filter(|before| before.index.is_of(&before.rows, &rows, own));
        let index = same.map_or_else(|| Arc::new(Index::build(&rows, own)), |before| before.index.clone());
        Self { index, rows, site }
    }

    /// What a packet to `address` with `protocol` and destination `port` is for.
    #[inline]
    pub fn get(&self, address: IpAddr, protocol: u8, port: u16) -> Found<'_> {
        let place = match self.index.get(address, protocol, port) {
            Some(place) => place,
            None if self.index.has(address) => return Found::Address(address),
            None => return Found::Nothing,
        };
        match self.front(place) {
            Some(front) => Found::Front(front),
            None => Found::Nothing,
        }
    }

    /// True when a packet to `address` may be for a service: it is one's own, or the node's with node ports.
    #[inline]
    pub fn concerns(&self, address: IpAddr) -> bool {
        self.index.concerns(address)
    }

    /// True when `address` is a service's own.
    #[inline]
    pub fn has(&self, address: IpAddr) -> bool {
        self.index.has(address)
    }

    fn front(&self, place: Place) -> Option<Front<'_>> {
        let row = self.rows.get(place.service as usize)?;
        let port = row.ports().get(usize::from(place.port))?;
        Some(Front { number: place.service, row, port, kind: place.kind })
    }

    /// All services, by number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.iter().map(|row| &**row)
    }

    /// Number of services.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// True when `other` has services at the same addresses and ports, by the same numbers.
    pub fn stands_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.index, &other.index)
    }

    /// Numbers of the services that are not the same in `other`, which stands like this one.
    pub fn differing<'o>(&'o self, other: &'o Self) -> impl Iterator<Item = u32> + 'o {
        let pairs = (0..).zip(self.rows.iter().zip(&other.rows));
        pairs.filter(|(_, (one, other))| !Arc::ptr_eq(one, other)).map(|(number, _)| number)
    }

    /// True when a service has that port of `address`.
    pub fn is_front(&self, address: IpAddr, protocol: u8, port: u16) -> bool {
        matches!(self.get(address, protocol, port), Found::Front(_))
    }

    /// True while a connection that was opened to `port` of `address`, and sent to `backend`, may go on: the service is there
    /// and the backend is one of its endpoints, be it on its way out.
    pub fn keeps(&self, address: IpAddr, protocol: u8, port: u16, backend: (IpAddr, u16)) -> bool {
        match self.get(address, protocol, port) {
            Found::Front(front) => front.port.backends(backend.0).get(backend.0, backend.1).is_some(),
            Found::Address(_) | Found::Nothing => false,
        }
    }
}
