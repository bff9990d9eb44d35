//! A plain packet socket, without virtio-net headers: what the kernel on the other side really puts on its wire.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use shunt_tests::Netns;

use super::{inside, until};

/// Sends and receives whole frames on an interface.
pub(crate) struct Raw {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Raw {
    /// Opens `device` inside `netns`. Frames must not be longer than its MTU and an Ethernet header.
    pub(crate) fn open(netns: &Netns, device: &str) -> Self {
        let socket = inside(netns, || {
            let index = nix::net::if_::if_nametoindex(device).unwrap();
            // SAFETY: plain system call.
            let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0) };
            assert!(fd >= 0);
            // SAFETY: a fresh descriptor that nobody else owns.
            let socket = unsafe { OwnedFd::from_raw_fd(fd) };
            set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20);
            set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 64 << 20);
            set(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1);
            // SAFETY: all-zero is a valid address.
            let mut address: libc::sockaddr_ll = unsafe { zeroed() };
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            address.sll_ifindex = index as i32;
            // SAFETY: a complete address of the length given.
            let code = unsafe {
                let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length)
            };
            assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
            socket
        });
        Self { socket, buffer: vec![0; 1 << 17] }
    }

    /// Sends one frame as it is.
    pub(crate) fn send(&self, frame: &[u8]) {
        self.try_send(frame).unwrap();
    }

    pub(crate) fn try_send(&self, frame: &[u8]) -> std::io::Result<()> {
        // SAFETY: a readable buffer of the length given.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 {
            return Err(std::io::Error::last_os_error());
        }
        assert_eq!(sent as usize, frame.len());
        Ok(())
    }

    /// The next frame, if there is one. A VLAN tag that the kernel took out is missing.
    pub(crate) fn poll(&mut self) -> Option<Vec<u8>> {
        // SAFETY: a writable buffer of the length given.
        let got = unsafe {
            libc::recv(self.socket.as_raw_fd(), self.buffer.as_mut_ptr().cast(), self.buffer.len(), 0)
        };
        usize::try_from(got).ok().map(|got| self.buffer[..got].to_vec())
    }

    /// The next frame for which `wanted` holds.
    pub(crate) fn expect(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        until("frame on the raw socket", || self.poll().filter(|frame| wanted(frame)))
    }
}

/// Sets an integer option.
pub(crate) fn set(socket: &OwnedFd, level: i32, option: i32, value: i32) {
    // SAFETY: a readable integer of the length given.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    assert_eq!(code, 0, "option {option}: {}", std::io::Error::last_os_error());
}

/// A TAP without offloads and headers: the kernel finishes every checksum and cuts every large frame before it hands
/// them over. Goes with the value.
pub(crate) struct PlainTap {
    file: File,
    buffer: Vec<u8>,
}

impl PlainTap {
    /// Makes `name` inside `netns`, up.
    pub(crate) fn new(netns: &Netns, name: &str) -> Self {
        let file = inside(netns, || {
            let mut options = OpenOptions::new();
            let file =
                options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun").unwrap();
            // SAFETY: all-zero is a valid request.
            let mut request: libc::ifreq = unsafe { zeroed() };
            for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                *to = from as _;
            }
            request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
            // SAFETY: TUNSETIFF reads and writes one request.
            assert_eq!(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) }, 0);
            file
        });
        netns.exec(&["ip", "link", "set", name, "up"]).unwrap();
        Self { file, buffer: vec![0; 1 << 17] }
    }

    /// The next frame for which `wanted` holds.
    pub(crate) fn expect(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        until("frame on the plain tap", || {
            let got = self.file.read(&mut self.buffer).ok()?;
            Some(self.buffer[..got].to_vec()).filter(|frame| wanted(frame))
        })
    }

    /// Sends one frame as it is.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        assert_eq!(self.file.write(frame).unwrap(), frame.len());
    }
}
