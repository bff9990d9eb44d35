//! Interfaces in other network namespaces, by rtnetlink(7): for the control thread.
//!
//! Entering a namespace changes the calling thread, so it happens on a thread that ends right after.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, address::AddressHeaderFlags};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sched::{CloneFlags, setns};

use super::error::KernelError;
use super::link::Interface;

/// An address with its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

/// A route through an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to: the prefix's address without host bits, and its length.
    pub to: (IpAddr, u8),
    /// The next router; `None`: what the route leads to is on the link.
    pub via: Option<IpAddr>,
    /// Source address that the kernel prefers.
    pub src: Option<IpAddr>,
}

/// Runs `work` in the namespace at `path`.
pub(crate) fn inside<T: Send>(
    path: &Path,
    work: impl FnOnce() -> Result<T, KernelError> + Send,
) -> Result<T, KernelError> {
    inside_fd(open(path)?, work).map_err(|error| match error {
        KernelError::Namespace { source, .. } => {
            KernelError::Namespace { path: path.display().to_string(), source }
        }
        error => error,
    })
}

/// Runs `work` in the namespace behind a descriptor.
pub(crate) fn inside_fd<T: Send>(
    namespace: OwnedFd,
    work: impl FnOnce() -> Result<T, KernelError> + Send,
) -> Result<T, KernelError> {
    let failed = |source| KernelError::Namespace { path: "of the interface".to_owned(), source };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, move || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into()))?;
            work()
        });
        thread.map_err(failed)?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn open(path: &Path) -> Result<OwnedFd, KernelError> {
    File::open(path)
        .map(OwnedFd::from)
        .map_err(|source| KernelError::Namespace { path: path.display().to_string(), source })
}

/// Moves an interface of this namespace into the one at `path` and names it there, in one step.
pub(crate) fn move_link(index: u32, path: &Path, name: &str) -> Result<(), KernelError> {
    let namespace = open(path)?;
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes =
        vec![LinkAttribute::NetNsFd(namespace.as_raw_fd()), LinkAttribute::IfName(name.to_owned())];
    request(RouteNetlinkMessage::SetLink(message), 0).map_err(|source| match source.raw_os_error() {
        Some(libc::EEXIST) => KernelError::Exists(name.to_owned()),
        _ => KernelError::from_io(name, "move to the network namespace", source),
    })
}

/// Gives an interface of this namespace its addresses, sets it up and adds its routes, which go with it.
pub(crate) fn set_up(name: &str, addresses: &[Address], routes: &[Route]) -> Result<(), KernelError> {
    let index = Interface::find(name)?.index().cast_unsigned();
    for address in addresses {
        add_address(index, *address)
            .map_err(|source| KernelError::from_io(name, "add an address", source))?;
    }
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    request(RouteNetlinkMessage::SetLink(message), 0)
        .map_err(|source| KernelError::from_io(name, "set up", source))?;
    for route in routes {
        add_route(index, route).map_err(|source| {
            let to = format!("{}/{}", route.to.0, route.to.1);
            KernelError::Route { interface: name.to_owned(), to, source }
        })?;
    }
    Ok(())
}

pub(super) fn add_address(index: u32, Address { address, prefix }: Address) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = prefix;
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    if address.is_ipv6() {
        // The address is ours alone by configuration: usable at once, without a second of duplicate detection.
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// `ip route add TO [via VIA] [src SRC] dev ...` (rtnetlink(7), `RTM_NEWROUTE`).
pub(super) fn add_route(index: u32, route: &Route) -> io::Result<()> {
    let (to, prefix) = route.to;
    let mut message = RouteMessage::default();
    message.header.address_family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.destination_prefix_length = prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    // IPv4 alone knows scopes: without a router the destination must be on the link.
    let on_link = to.is_ipv4() && route.via.is_none();
    message.header.scope = if on_link { RouteScope::Link } else { RouteScope::Universe };
    message.attributes = vec![RouteAttribute::Oif(index)];
    if prefix != 0 {
        message.attributes.push(RouteAttribute::Destination(to.into()));
    }
    message.attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    message.attributes.extend(route.src.map(|src| RouteAttribute::PrefSource(src.into())));
    request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// The addresses of an interface of this namespace.
pub(super) fn addresses(index: u32) -> io::Result<Vec<Address>> {
    let mut question = AddressMessage::default();
    question.header.index = index;
    let all = dump(RouteNetlinkMessage::GetAddress(question))?;
    let ours = all.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewAddress(message) if message.header.index == index => Some(message),
        _ => None,
    });
    let address = |message: AddressMessage| {
        let prefix = message.header.prefix_len;
        // Of IPv4 the address is the local one; of IPv6 there is no such attribute, unless it has a peer.
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let any = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        });
        local.or(any).map(|address| Address { address, prefix })
    };
    Ok(ours.filter_map(address).collect())
}

/// The routes of the main table that lead through an interface of this namespace.
pub(super) fn routes(index: u32) -> io::Result<Vec<Route>> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        for message in dump(RouteNetlinkMessage::GetRoute(question))? {
            if let RouteNetlinkMessage::NewRoute(message) = message {
                found.extend(route(&message, index));
            }
        }
    }
    Ok(found)
}

/// A route of the main table through the interface `index`; `None` for every other one.
fn route(message: &RouteMessage, index: u32) -> Option<Route> {
    let through = message.attributes.contains(&RouteAttribute::Oif(index));
    if !through || message.header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let address = |address: &RouteAddress| match address {
        RouteAddress::Inet(v4) => Some(IpAddr::from(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::from(*v6)),
        _ => None,
    };
    let anywhere = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        _ => IpAddr::from([0; 16]),
    };
    let mut route = Route { to: (anywhere, message.header.destination_prefix_length), via: None, src: None };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => route.to.0 = address(to)?,
            RouteAttribute::Gateway(via) => route.via = address(via),
            RouteAttribute::PrefSource(src) => route.src = address(src),
            _ => {}
        }
    }
    Some(route)
}

/// Frames that the kernel dropped on the way out of an interface of this namespace: for a TAP, because its queue to us
/// was full.
pub(crate) fn dropped(name: &str) -> Result<u64, KernelError> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    let failed = |source| KernelError::from_io(name, "read its counters", source);
    let answer = exchange(RouteNetlinkMessage::GetLink(message), 0).map_err(failed)?;
    let Some(RouteNetlinkMessage::NewLink(link)) = answer else {
        return Err(failed(io::ErrorKind::InvalidData.into()));
    };
    let counters = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Stats64(statistics) => Some(statistics.tx_dropped),
        _ => None,
    });
    counters.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
}

/// Sends a request that is answered by an acknowledgement.
fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    exchange(message, flags | NLM_F_ACK).map(|_| ())
}

/// Asks for all rows of a table (netlink(7), `NLM_F_DUMP`).
fn dump(message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    let socket = send(message, NLM_F_DUMP)?;
    let mut rows = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let message = read(rest)?;
            // Each begins at a multiple of four bytes.
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::InnerMessage(row) => rows.push(row),
                NetlinkPayload::Done(_) => return Ok(rows),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
        }
    }
}

/// Sends a request; `None` stands for a bare acknowledgement.
fn exchange(message: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
    let (answer, _) = send(message, flags)?.recv_from_full()?;
    let answer = read(&answer)?;
    match answer.payload {
        NetlinkPayload::Error(error) => match error.code {
            Some(_) => Err(error.to_io()),
            None => Ok(None),
        },
        NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
        _ => Ok(None),
    }
}

/// Sends a request by a socket of its own.
fn send(message: RouteNetlinkMessage, flags: u16) -> io::Result<Socket> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | flags;
    message.header.sequence_number = 1;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    Ok(socket)
}

/// The message at the front of `bytes`.
fn read(bytes: &[u8]) -> io::Result<NetlinkMessage<RouteNetlinkMessage>> {
    NetlinkMessage::deserialize(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}
