//! Who may speak behind a port.

use std::net::IpAddr;

use crate::wire::ethernet::Mac;

/// The stations behind a port, each with its IP addresses. Nobody else may send there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    stations: Box<[(Mac, Box<[IpAddr]>)]>,
}

impl Identity {
    /// Of these stations.
    pub fn new(stations: impl IntoIterator<Item = (Mac, Box<[IpAddr]>)>) -> Self {
        Self { stations: stations.into_iter().collect() }
    }

    /// Each station with its IP addresses.
    pub fn iter(&self) -> impl Iterator<Item = (Mac, &[IpAddr])> {
        self.stations.iter().map(|(mac, addresses)| (*mac, &**addresses))
    }

    /// The IP addresses of station `mac`; `None` when it is none of these.
    #[inline]
    pub fn of(&self, mac: Mac) -> Option<&[IpAddr]> {
        // A pod has one, seldom two.
        self.stations.iter().find(|(station, _)| *station == mac).map(|(_, addresses)| &**addresses)
    }
}
