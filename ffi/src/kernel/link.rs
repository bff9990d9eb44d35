//! Attributes of one interface of the kernel, by `ioctl` (netdevice(7)): for the control thread.
//!
//! An interface is meant by its index: a name can be given to another interface while we look.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use super::Gone;
use super::error::KernelError;

/// Largest MTU an interface can have: the length field of IPv4.
pub const MAX_MTU: u32 = 65535;

/// An interface, with a socket of the namespace it was found in.
#[derive(Debug)]
pub(crate) struct Interface {
    name: String,
    index: libc::c_int,
    socket: OwnedFd,
    state: AtomicU8,
}

const UP: u8 = 0;
const DOWN: u8 = 1;
const DELETED: u8 = 2;

impl Interface {
    /// Looks an interface up in the calling thread's namespace.
    pub(crate) fn find(name: &str) -> Result<Self, KernelError> {
        check_name(name)?;
        // SAFETY: plain system call.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(KernelError::last(name, "socket"));
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let mut interface = Self { name: name.to_owned(), index: 0, socket, state: AtomicU8::new(UP) };
        let mut request = interface.request();
        interface
            .ioctl(libc::SIOCGIFINDEX, &mut request)
            .map_err(|source| KernelError::from_io(name, "SIOCGIFINDEX", source))?;
        // SAFETY: SIOCGIFINDEX filled this member of the union.
        interface.index = unsafe { request.ifr_ifru.ifru_ifindex };
        Ok(interface)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn index(&self) -> libc::c_int {
        self.index
    }

    /// A socket of the namespace the interface was found in, for calls that are not here.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The MAC address; an error when the interface has none of Ethernet's.
    pub(crate) fn mac(&self) -> Result<[u8; 6], KernelError> {
        let mut request = self.request();
        self.ioctl(libc::SIOCGIFHWADDR, &mut request)
            .map_err(|source| self.error("SIOCGIFHWADDR", source))?;
        // SAFETY: SIOCGIFHWADDR filled this member of the union.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr };
        if address.sa_family != libc::ARPHRD_ETHER {
            return Err(KernelError::NotEthernet(self.name.clone()));
        }
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(address.sa_data) {
            *to = from.cast_unsigned();
        }
        Ok(mac)
    }

    /// Sets the MAC address.
    pub(crate) fn set_mac(&self, mac: [u8; 6]) -> Result<(), KernelError> {
        let mut request = self.request();
        // SAFETY: all-zero is a valid `sockaddr`.
        let mut address: libc::sockaddr = unsafe { zeroed() };
        address.sa_family = libc::ARPHRD_ETHER;
        for (to, from) in address.sa_data.iter_mut().zip(mac) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_hwaddr = address;
        self.ioctl(libc::SIOCSIFHWADDR, &mut request).map_err(|source| self.error("SIOCSIFHWADDR", source))
    }

    /// Largest IP packet, in bytes.
    pub(crate) fn mtu(&self) -> Result<u32, KernelError> {
        let mut request = self.request();
        self.ioctl(libc::SIOCGIFMTU, &mut request).map_err(|source| self.error("SIOCGIFMTU", source))?;
        // SAFETY: SIOCGIFMTU filled this member of the union.
        Ok(unsafe { request.ifr_ifru.ifru_mtu }.cast_unsigned())
    }

    /// Sets the largest IP packet, in bytes.
    pub(crate) fn set_mtu(&self, mtu: u32) -> Result<(), KernelError> {
        let mut request = self.request();
        request.ifr_ifru.ifru_mtu = mtu.min(MAX_MTU).cast_signed();
        self.ioctl(libc::SIOCSIFMTU, &mut request).map_err(|source| self.error("SIOCSIFMTU", source))
    }

    /// `IFF_*` flags.
    pub(crate) fn flags(&self) -> io::Result<libc::c_int> {
        let mut request = self.request();
        self.ioctl(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: SIOCGIFFLAGS filled this member of the union.
        Ok(libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags }))
    }

    /// Sets some flags and leaves the others.
    pub(crate) fn add_flags(&self, flags: libc::c_int) -> Result<(), KernelError> {
        let old = self.flags().map_err(|source| self.error("SIOCGIFFLAGS", source))?;
        let mut request = self.request();
        request.ifr_ifru.ifru_flags = (old | flags) as libc::c_short;
        self.ioctl(libc::SIOCSIFFLAGS, &mut request).map_err(|source| self.error("SIOCSIFFLAGS", source))
    }

    /// The state that the queues last saw; one load.
    #[inline]
    pub(crate) fn usable(&self) -> Result<(), Gone> {
        match self.state.load(Ordering::Relaxed) {
            UP => Ok(()),
            DELETED => Err(Gone::Deleted),
            _ => self.examine(),
        }
    }

    /// Marks the interface as deleted.
    pub(crate) fn deleted(&self) -> Gone {
        self.state.store(DELETED, Ordering::Relaxed);
        Gone::Deleted
    }

    /// Asks the kernel what has become of the interface after a queue got an error that says it is not up.
    /// `Ok` when it is up (again).
    #[cold]
    pub(crate) fn examine(&self) -> Result<(), Gone> {
        let state = match self.flags_by_index() {
            Ok(flags) if flags & libc::IFF_UP != 0 => UP,
            Ok(_) => DOWN,
            Err(_) => DELETED,
        };
        // Deleted is final: an index may be used again, but not by our interface.
        let before = self.state.swap(state, Ordering::Relaxed);
        match (before, state) {
            (DELETED, _) | (_, DELETED) => Err(self.deleted()),
            (_, DOWN) => Err(Gone::Down),
            _ => Ok(()),
        }
    }

    /// Flags of the interface under whatever name it has now.
    fn flags_by_index(&self) -> io::Result<libc::c_int> {
        // SAFETY: all-zero is a valid `ifreq`.
        let mut request: libc::ifreq = unsafe { zeroed() };
        request.ifr_ifru.ifru_ifindex = self.index;
        self.ioctl(libc::SIOCGIFNAME, &mut request)?;
        self.ioctl(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: SIOCGIFFLAGS filled this member of the union.
        Ok(libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags }))
    }

    fn request(&self) -> libc::ifreq {
        named_request(&self.name)
    }

    fn ioctl(&self, call: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: all calls made here read and write one `ifreq`.
        if unsafe { libc::ioctl(self.socket.as_raw_fd(), call, std::ptr::from_mut(request)) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn error(&self, call: &'static str, source: io::Error) -> KernelError {
        KernelError::from_io(&self.name, call, source)
    }
}

/// An `ifreq` for the interface `name`, which [`check_name`] has accepted.
pub(crate) fn named_request(name: &str) -> libc::ifreq {
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // The last byte stays zero: the name is a C string.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request
}

/// The kernel's own rule for names (`dev_valid_name`).
pub(crate) fn check_name(name: &str) -> Result<(), KernelError> {
    let fits = !name.is_empty() && name.len() < libc::IFNAMSIZ && name != "." && name != "..";
    if fits && !name.bytes().any(|byte| matches!(byte, b'/' | b':' | b'%' | 0) || byte.is_ascii_whitespace())
    {
        Ok(())
    } else {
        Err(KernelError::BadName(name.to_owned()))
    }
}
