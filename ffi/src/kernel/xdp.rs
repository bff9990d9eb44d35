//! What DPDK's AF_XDP driver (`net_af_xdp`) does not do and a switch needs.
//!
//! | module | what it is |
//! |---|---|
//! | here | an interface: its driver, queues and MTU, and why the kernel refuses a queue of it |
//! | `sockets` | the driver's sockets: to sleep on, and for what a full ring lost; closed when the driver forgets to |
//! | `device` | opening a device with buffers of its own, which come back when it is closed |
//! | `pool`, `reclaim` | those buffers, and the ones that the driver leaves in the kernel's rings |
//!
//! Control thread only, apart from a socket's descriptor.

mod device;
mod pool;
mod reclaim;
mod sockets;

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub use device::{Buffers, XdpError, XdpOpened, open};
pub(crate) use sockets::Aftermath;
pub use sockets::{XdpLosses, XdpSocket};

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
}
