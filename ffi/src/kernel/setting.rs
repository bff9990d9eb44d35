//! What was set on an interface when its port was opened (state, MTU, addresses, routes): whether it is still there, and setting
//! again what somebody has taken away. For the control thread, in the interface's namespace.

use std::fmt;
use std::net::IpAddr;

use super::error::KernelError;
use super::link::Interface;
use super::netns::{self, Address, Route};

/// What was set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setting {
    /// Largest IP packet, bytes; `None`: it is not ours to say.
    pub(crate) mtu: Option<u32>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) routes: Vec<Route>,
}

/// Something that was set and is not so any more, in the words of `ip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The interface is down.
    Up,
    /// It has another MTU.
    Mtu {
        /// Now.
        is: u32,
        /// As it was set.
        was: u32,
    },
    /// It does not have the address, with that prefix length.
    Address(IpAddr, u8),
    /// There is no such route through it.
    Route(Route),
}

impl fmt::Display for Lost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => out.write_str("the interface is down"),
            Self::Mtu { is, was } => write!(out, "mtu {is} instead of {was}"),
            Self::Address(address, prefix) => write!(out, "no address {address}/{prefix}"),
            Self::Route(Route { to: (to, prefix), via, .. }) => {
                write!(out, "no route {to}/{prefix}")?;
                via.map_or(Ok(()), |via| write!(out, " via {via}"))
            }
        }
    }
}

impl Setting {
    /// What of it is not so any more on the interface `name`.
    pub(crate) fn lost(&self, name: &str) -> Result<Vec<Lost>, KernelError> {
        let interface = Interface::find(name)?;
        let mut lost = Vec::new();
        let flags = interface.flags().map_err(|source| KernelError::from_io(name, "SIOCGIFFLAGS", source))?;
        if flags & libc::IFF_UP == 0 {
            lost.push(Lost::Up);
        }
        if let Some(was) = self.mtu {
            let is = interface.mtu()?;
            lost.extend((is != was).then_some(Lost::Mtu { is, was }));
        }
        let index = interface.index().cast_unsigned();
        if !self.addresses.is_empty() {
            let there = netns::addresses(index)
                .map_err(|source| KernelError::from_io(name, "read its addresses", source))?;
            let gone = self.addresses.iter().filter(|wanted| !there.contains(wanted));
            lost.extend(gone.map(|gone| Lost::Address(gone.address, gone.prefix)));
        }
        if !self.routes.is_empty() {
            let there = netns::routes(index)
                .map_err(|source| KernelError::from_io(name, "read its routes", source))?;
            // The kernel fills in a source where none was given.
            let same = |wanted: &Route, found: &Route| {
                (wanted.to, wanted.via) == (found.to, found.via)
                    && (wanted.src.is_none() || wanted.src == found.src)
            };
            let gone = self.routes.iter().filter(|wanted| !there.iter().any(|found| same(wanted, found)));
            lost.extend(gone.map(|gone| Lost::Route(*gone)));
        }
        Ok(lost)
    }

    /// Sets again what is lost; returns it. What is there is not touched.
    pub(crate) fn restore(&self, name: &str) -> Result<Vec<Lost>, KernelError> {
        let lost = self.lost(name)?;
        let interface = Interface::find(name)?;
        let index = interface.index().cast_unsigned();
        for lost in &lost {
            match *lost {
                Lost::Up => interface.add_flags(libc::IFF_UP)?,
                Lost::Mtu { was, .. } => interface.set_mtu(was)?,
                Lost::Address(address, prefix) => netns::add_address(index, Address { address, prefix })
                    .map_err(|source| KernelError::from_io(name, "add an address", source))?,
                Lost::Route(route) => netns::add_route(index, &route).map_err(|source| {
                    let to = format!("{}/{}", route.to.0, route.to.1);
                    KernelError::Route { interface: name.to_owned(), to, source }
                })?,
            }
        }
        Ok(lost)
    }
}
