//! Interfaces in other network namespaces, by rtnetlink(7): for the control thread.
//!
//! Entering a namespace changes the calling thread, so it happens on a thread that ends right after.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, address::AddressHeaderFlags};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sched::{CloneFlags, setns};

use super::error::KernelError;
use super::link::Interface;

/// An address with its prefix length.
#[derive(Clone, Copy, Debug)]
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

fn add_address(index: u32, Address { address, prefix }: Address) -> io::Result<()> {
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
fn add_route(index: u32, route: &Route) -> io::Result<()> {
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

/// Sends a request; `None` stands for a bare acknowledgement.
fn exchange(message: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
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
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    match answer.payload {
        NetlinkPayload::Error(error) => match error.code {
            Some(_) => Err(error.to_io()),
            None => Ok(None),
        },
        NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
        _ => Ok(None),
    }
}
