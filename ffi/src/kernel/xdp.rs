//! What an AF_XDP port must know and cannot ask DPDK's driver for: the interface's driver, queues and MTU before it is
//! opened, its sockets afterwards, and why a bind was refused.
//!
//! The driver (`net_af_xdp`) keeps its sockets to itself, yet a worker can only sleep on a descriptor, and the frames a
//! full ring lost are counted in the socket. [`XdpSockets::mark`] before and [`XdpSockets::since`] after opening finds
//! them among the descriptors of the process. Control thread only, apart from the descriptor itself.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::Gone;
use super::error::KernelError;
use super::link::Interface;

/// `ETHTOOL_GDRVINFO` and `ETHTOOL_GCHANNELS` of `linux/ethtool.h`.
const GET_DRIVER: u32 = 0x03;
const GET_CHANNELS: u32 = 0x3c;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverRequest {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    rom: [u8; 32],
    reserved: [u8; 12],
    lengths: [u32; 5],
}

/// `struct ethtool_channels`.
#[repr(C)]
struct ChannelsRequest {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// An interface that sockets are, or will be, bound to; meant by its index.
#[derive(Debug)]
pub struct XdpInterface(Interface);

/// How frames reach an interface's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Queues that receive, whatever they are called.
    pub receiving: u32,
    /// Queues that `net_af_xdp` counts: combined ones, or 1 where there are none.
    pub usable: u32,
}

impl XdpInterface {
    /// Looks an interface up in the calling thread's namespace.
    pub fn find(name: &str) -> Result<Self, KernelError> {
        Interface::find(name).map(Self)
    }

    /// Kernel's index of the interface.
    pub fn index(&self) -> u32 {
        self.0.index().cast_unsigned()
    }

    /// Largest IP packet, in bytes.
    pub fn mtu(&self) -> Result<u32, KernelError> {
        self.0.mtu()
    }

    /// The MAC address; an error when the interface carries no Ethernet frames.
    pub fn mac(&self) -> Result<[u8; 6], KernelError> {
        self.0.mac()
    }

    /// Carrier and administratively up; or why nothing can pass. Three system calls.
    pub fn link(&self) -> Result<bool, Gone> {
        self.0.examine()?;
        let flags = self.0.flags().map_err(|_| Gone::Deleted)?;
        Ok(flags & libc::IFF_RUNNING != 0)
    }

    /// Name of the driver and of the bus the device sits on; both empty when the kernel has none to give.
    pub fn driver(&self) -> (String, String) {
        // SAFETY: all-zero is a valid value of this plain structure.
        let mut request: DriverRequest = unsafe { zeroed() };
        request.command = GET_DRIVER;
        match self.ethtool(&mut request) {
            Ok(()) => (text(&request.driver), text(&request.bus)),
            Err(_) => Default::default(),
        }
    }

    /// Queues of the interface; one where the kernel does not say.
    pub fn channels(&self) -> Channels {
        // SAFETY: all-zero is a valid value of this plain structure.
        let mut request: ChannelsRequest = unsafe { zeroed() };
        request.command = GET_CHANNELS;
        match self.ethtool(&mut request) {
            Ok(()) => {
                let usable = if request.max_combined == 0 { 1 } else { request.combined };
                Channels { receiving: (request.rx + request.combined).max(1), usable }
            }
            Err(_) => Channels { receiving: 1, usable: 1 },
        }
    }

    /// `T` is a structure of `linux/ethtool.h` that begins with its command, which bounds what the kernel writes.
    fn ethtool<T>(&self, request: &mut T) -> io::Result<()> {
        let mut outer = super::link::named_request(self.0.name());
        outer.ifr_ifru.ifru_data = std::ptr::from_mut(request).cast();
        // SAFETY: SIOCETHTOOL writes one structure of the command's kind to `ifru_data`, which is that structure and
        // lives past the call; see the callers.
        if unsafe {
            libc::ioctl(self.0.descriptor().as_raw_fd(), libc::SIOCETHTOOL, std::ptr::from_mut(&mut outer))
        } < 0
        {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Binds a socket of its own to `queue`, and lets go of it: the kernel's reason when that fails, which the driver
    /// does not pass on. Copy mode, a single page of memory, no program attached: traffic is not touched.
    pub fn try_bind(&self, queue: u32) -> io::Result<()> {
        let socket = open_xdp()?;
        let area = Area::new()?;
        let memory = libc::xdp_umem_reg {
            addr: area.start as u64,
            len: Area::LENGTH as u64,
            chunk_size: Area::LENGTH as u32,
            ..umem_zero()
        };
        set(&socket, libc::XDP_UMEM_REG, &memory)?;
        for ring in [libc::XDP_UMEM_FILL_RING, libc::XDP_UMEM_COMPLETION_RING, libc::XDP_RX_RING] {
            set(&socket, ring, &64_u32)?;
        }
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: libc::XDP_COPY,
            sxdp_ifindex: self.index(),
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        // SAFETY: a complete address of the socket's family.
        let code = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                std::ptr::from_ref(&address).cast(),
                size_of::<libc::sockaddr_xdp>() as u32,
            )
        };
        // The socket goes before the memory it was given.
        let outcome = if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
        drop(socket);
        drop(area);
        outcome
    }
}

/// Whether AF_XDP sockets can be made at all: `EAFNOSUPPORT` from a kernel without them, `EPERM` without `CAP_NET_RAW`.
pub fn supported() -> io::Result<()> {
    open_xdp().map(drop)
}

fn open_xdp() -> io::Result<OwnedFd> {
    // SAFETY: plain system call.
    let socket = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

fn umem_zero() -> libc::xdp_umem_reg {
    // SAFETY: all-zero is a valid value of this plain structure.
    unsafe { zeroed() }
}

fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a structure that lives past the call.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as u32,
        )
    };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// One page of anonymous memory.
struct Area {
    start: *mut libc::c_void,
}

impl Area {
    /// The smallest page of all architectures DPDK runs on; a chunk is at most a page and at least 2 KiB.
    const LENGTH: usize = 4096;

    fn new() -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new private mapping that overlaps nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::LENGTH,
                access,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { start }) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nothing in this process points into; the kernel holds its pages by reference.
        unsafe { libc::munmap(self.start, Self::LENGTH) };
    }
}

/// The AF_XDP sockets the process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpSockets(BTreeSet<RawFd>);

impl XdpSockets {
    /// Notes which there are now.
    pub fn mark() -> io::Result<Self> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir("/proc/self/fd")? {
            let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if domain(number) == Some(libc::AF_XDP) {
                found.insert(number);
            }
        }
        Ok(Self(found))
    }

    /// Descriptors of our own for those that came after `self` was noted, in no particular order. The caller must have
    /// opened one device in between, and nobody else another: ports are opened by the control thread alone.
    pub fn since(&self) -> io::Result<Vec<XdpSocket>> {
        let now = Self::mark()?;
        now.0.difference(&self.0).map(|number| XdpSocket::duplicate(*number)).collect()
    }

    /// The driver's own descriptors for them, to be closed after the driver.
    pub fn leftovers(&self) -> io::Result<XdpLeftovers> {
        let now = Self::mark()?;
        Ok(XdpLeftovers(now.0.difference(&self.0).filter_map(|number| Some((*number, inode(*number)?))).collect()))
    }
}

/// Closes on drop what the driver forgets: with libxdp 1.3 the socket outlives its device, and the queue stays taken
/// until the process ends. Keep it with [`EthDevice::after_close`](crate::ethdev::EthDevice::after_close), or drop it
/// when the device did not open.
#[derive(Debug)]
pub struct XdpLeftovers(Vec<(RawFd, libc::ino_t)>);

impl Drop for XdpLeftovers {
    fn drop(&mut self) {
        for (number, socket) in &self.0 {
            // A driver that does close it may have made room for another descriptor of this number.
            if inode(*number) == Some(*socket) && domain(*number) == Some(libc::AF_XDP) {
                // SAFETY: still the socket that the driver made and, being closed itself, will not use again.
                unsafe { libc::close(*number) };
            }
        }
    }
}

/// What tells one socket from another: its inode (sockets of one kernel share a file system).
fn inode(number: RawFd) -> Option<libc::ino_t> {
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut found: libc::stat = unsafe { zeroed() };
    // SAFETY: writes one structure; a number that is no descriptor (any more) is an error, not a fault.
    (unsafe { libc::fstat(number, &mut found) } == 0).then_some(found.st_ino)
}

fn domain(number: RawFd) -> Option<libc::c_int> {
    let mut domain: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as u32;
    // SAFETY: writes one integer; a number that is no socket (any more) is an error, not a fault.
    let code = unsafe {
        libc::getsockopt(
            number,
            libc::SOL_SOCKET,
            libc::SO_DOMAIN,
            std::ptr::from_mut(&mut domain).cast(),
            &mut length,
        )
    };
    (code == 0).then_some(domain)
}

/// A second descriptor of a socket that the driver works with: for waiting and for statistics, never for data. Drop it
/// before the device is closed, or the queue stays taken.
#[derive(Debug)]
pub struct XdpSocket(OwnedFd);

/// Frames a socket lost (`struct xdp_statistics`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpLosses {
    /// Longer than a buffer, or no buffer was free.
    pub no_buffer: u64,
    /// The receive ring was full: the worker came too late.
    pub ring_full: u64,
}

impl XdpSocket {
    fn duplicate(number: RawFd) -> io::Result<Self> {
        // SAFETY: plain system call; on success the result is a fresh descriptor that nobody else owns.
        let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: see above.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(copy) }))
    }

    /// Frames lost so far (`XDP_STATISTICS`).
    pub fn losses(&self) -> io::Result<XdpLosses> {
        // SAFETY: all-zero is a valid value of this plain structure.
        let mut statistics: libc::xdp_statistics = unsafe { zeroed() };
        let mut length = size_of::<libc::xdp_statistics>() as u32;
        let value = std::ptr::from_mut(&mut statistics).cast();
        // SAFETY: the kernel writes at most `length` bytes, the size of the structure.
        if unsafe {
            libc::getsockopt(self.0.as_raw_fd(), libc::SOL_XDP, libc::XDP_STATISTICS, value, &mut length)
        } < 0
        {
            return Err(io::Error::last_os_error());
        }
        Ok(XdpLosses { no_buffer: statistics.rx_dropped, ring_full: statistics.rx_ring_full })
    }
}

impl AsFd for XdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The text of a NUL-terminated field.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use shunt_tests::veth::unique_name;
    use shunt_tests::{Interface as Inside, Netns, Veth, require};

    use super::*;

    #[test]
    fn a_veth_is_told_by_its_driver_and_has_one_queue() {
        require!(root());
        let (pod, name) = (Netns::new().unwrap(), unique_name());
        let veth = Veth::pair(&name, None, &pod, &Inside::default()).unwrap();
        let interface = XdpInterface::find(&name).unwrap();
        assert_eq!(interface.driver(), ("veth".to_owned(), String::new()));
        assert_eq!(interface.channels(), Channels { receiving: 1, usable: 1 });
        assert_eq!(interface.link(), Ok(true));
        veth.set_up(false).unwrap();
        assert_eq!(interface.link(), Err(Gone::Down));
        drop(veth);
        assert_eq!(interface.link(), Err(Gone::Deleted));
    }

    #[test]
    fn a_bind_says_why_it_fails() {
        require!(root());
        let (pod, name) = (Netns::new().unwrap(), unique_name());
        let _veth = Veth::pair(&name, None, &pod, &Inside::default()).unwrap();
        let interface = XdpInterface::find(&name).unwrap();
        interface.try_bind(0).unwrap();
        assert_eq!(interface.try_bind(9).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn sockets_that_came_since_are_found() {
        require!(root());
        let before = XdpSockets::mark().unwrap();
        assert!(before.since().unwrap().is_empty());
        let socket = open_xdp().unwrap();
        let found = before.since().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].losses().unwrap(), XdpLosses::default());
        drop(socket);
        assert_eq!(before.since().unwrap().len(), 1, "ours is a descriptor of its own");
        drop(found);
        assert!(before.since().unwrap().is_empty());
    }

    #[test]
    fn leftovers_are_closed_unless_the_number_was_given_away() {
        require!(root());
        let before = XdpSockets::mark().unwrap();
        let forgotten = std::os::fd::IntoRawFd::into_raw_fd(open_xdp().unwrap());
        drop(before.leftovers().unwrap());
        assert_eq!(XdpSockets::mark().unwrap(), before);
        assert_eq!(inode(forgotten), None);
        let closed_by_its_owner = open_xdp().unwrap();
        let number = closed_by_its_owner.as_raw_fd();
        let leftovers = before.leftovers().unwrap();
        drop(closed_by_its_owner);
        let heir = open_xdp().unwrap();
        assert_eq!(heir.as_raw_fd(), number, "the lowest free number is given");
        drop(leftovers);
        assert!(inode(number).is_some());
    }
}
