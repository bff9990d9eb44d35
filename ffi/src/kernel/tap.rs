//! An interface of our own: TAP (Ethernet frames) or TUN (IP packets), with virtio-net headers and any number of
//! queues (Linux `Documentation/networking/tuntap.rst`).
//!
//! The interface is made in the caller's network namespace under a name that the kernel chooses, then moved into the
//! pod's and given its real name there; so it dies with the pod's namespace, and its descriptors do not keep that
//! namespace alive. It also goes when the last queue is closed.
//!
//! Checksums stay partial and frames up to 64 KiB whole in both directions (`TUNSETOFFLOAD`: checksum, TSO, TSO with
//! ECN; USO where the kernel knows it, 6.2 and newer).
//!
//! **TUN** has no Ethernet header, the switch's frames always have: receiving puts one in front (zero addresses, the
//! EtherType that the IP version says), sending takes it off and refuses everything but untagged IPv4 and IPv6.

mod rx;
mod tx;

use std::fs::OpenOptions;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

pub use rx::TapRxQueue;
pub use tx::TapTxQueue;

use super::error::KernelError;
use super::landing::Pools;
use super::link::{Interface, check_name, named_request};
pub use super::netns::Route;
use super::netns::{self, Address};
use super::setting::{Lost, Setting};
use super::vnet_hdr::VnetHdr;

/// What the interface carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapMode {
    /// Ethernet frames.
    Tap,
    /// IP packets.
    Tun,
}

/// What to make and where.
#[derive(Clone, Debug)]
pub struct TapOptions {
    /// Name of the interface as the pod sees it, 1 to 15 characters.
    pub name: String,
    /// Ethernet or IP.
    pub mode: TapMode,
    /// Queues; a flow comes on the queue on which its other direction was last sent.
    pub queues: u16,
    /// Largest IP packet, in bytes; `None` means the kernel's 1500.
    pub mtu: Option<u32>,
    /// MAC address of the kernel's side; `None` means a random one. Not for TUN.
    pub mac: Option<[u8; 6]>,
    /// Namespace to move it to, e.g. `/run/netns/pod1`; `None` leaves it in the caller's.
    pub netns: Option<PathBuf>,
    /// Addresses with prefix lengths to give it.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Routes through it, added once it is up; they go with it.
    pub routes: Vec<Route>,
    /// Where received frames are stored.
    pub pools: Pools,
}

impl TapOptions {
    /// One queue, no address, no route, the caller's namespace.
    pub fn new(name: &str, mode: TapMode, pools: Pools) -> Self {
        let name = name.to_owned();
        Self {
            name,
            mode,
            queues: 1,
            mtu: None,
            mac: None,
            netns: None,
            addresses: Vec::new(),
            routes: Vec::new(),
            pools,
        }
    }
}

/// A new interface with its queues.
#[derive(Debug)]
pub struct Opened {
    /// The control side.
    pub device: TapDevice,
    /// As many as asked for.
    pub rx: Vec<TapRxQueue>,
    /// As many; clone where workers outnumber them (the kernel locks).
    pub tx: Vec<TapTxQueue>,
}

/// The interface itself: control thread only. It lives as long as this or any of its queues.
#[derive(Debug)]
pub struct TapDevice {
    name: String,
    uso: bool,
    mac: Option<[u8; 6]>,
    queue: Arc<OwnedFd>,
    drops: u64,
    setting: Setting,
}

impl TapDevice {
    /// Makes the interface, moves it, sets it up and opens its queues.
    pub fn open(options: &TapOptions) -> Result<Opened, KernelError> {
        check_name(&options.name)?;
        // In its final namespace already, or under a name of the kernel's choice until it is there.
        let pattern = if options.netns.is_some() { "shtap%d" } else { options.name.as_str() };
        let multi = options.queues > 1;
        let (first, name) = attach(options, pattern, libc::IFF_TUN_EXCL, multi)?;
        let mut queues = vec![Arc::new(first)];
        for _ in 1..options.queues {
            queues.push(Arc::new(attach(options, &name, 0, multi)?.0));
        }
        let mut uso = true;
        for queue in &queues {
            uso &= set_header_and_offloads(queue, &options.name)?;
        }
        let interface = Interface::find(&name)?;
        if let Some(mtu) = options.mtu {
            interface.set_mtu(mtu)?;
        }
        if let (Some(mac), TapMode::Tap) = (options.mac, options.mode) {
            interface.set_mac(mac)?;
        }
        let mac = interface.mac().ok();
        let addresses: Vec<_> =
            options.addresses.iter().map(|&(address, prefix)| Address { address, prefix }).collect();
        match &options.netns {
            Some(path) => {
                netns::move_link(interface.index().cast_unsigned(), path, &options.name)?;
                netns::inside(path, || netns::set_up(&options.name, &addresses, &options.routes))?;
            }
            None => netns::set_up(&options.name, &addresses, &options.routes)?,
        }
        let rx =
            queues.iter().map(|queue| TapRxQueue::new(queue.clone(), options.mode, options.pools)).collect();
        let tx = queues.iter().map(|queue| TapTxQueue::new(queue.clone(), options.mode)).collect();
        let setting = Setting { mtu: options.mtu, addresses, routes: options.routes.clone() };
        let (name, queue) = (options.name.clone(), queues.swap_remove(0));
        let device = Self { name, uso, mac, queue, drops: 0, setting };
        Ok(Opened { device, rx, tx })
    }

    /// True when the kernel hands over large UDP sends whole.
    pub fn uso(&self) -> bool {
        self.uso
    }

    /// MAC address of the kernel's side; `None` for TUN.
    pub fn mac(&self) -> Option<[u8; 6]> {
        self.mac
    }

    /// Frames that the kernel dropped because a queue was full (`tx_dropped` of the interface). Starts a short thread
    /// in the interface's namespace; keeps the last figure when the interface is gone.
    pub fn kernel_drops(&mut self) -> u64 {
        if let Ok(drops) = self.inside(|name, _| netns::dropped(name)) {
            self.drops = drops;
        }
        self.drops
    }

    /// What of its state, MTU, addresses and routes somebody has changed since it was made. Starts a short thread in the
    /// interface's namespace.
    ///
    /// # Errors
    /// The interface or its namespace is gone, or the kernel does not tell.
    pub fn lost(&self) -> Result<Vec<Lost>, KernelError> {
        self.inside(|name, setting| setting.lost(name))
    }

    /// Sets it again; returns what was lost. Frames go on meanwhile.
    ///
    /// # Errors
    /// As [`TapDevice::lost`], or the kernel refuses.
    pub fn restore(&self) -> Result<Vec<Lost>, KernelError> {
        self.inside(|name, setting| setting.restore(name))
    }

    /// Gives the interface another MTU, in bytes after the Ethernet header. Queues go on meanwhile.
    ///
    /// # Errors
    /// As [`TapDevice::lost`], or the kernel refuses.
    pub fn set_mtu(&mut self, mtu: u32) -> Result<(), KernelError> {
        self.inside(|name, _| Interface::find(name)?.set_mtu(mtu))?;
        self.setting.mtu = Some(mtu);
        Ok(())
    }

    /// Runs `work` in the interface's namespace, with the name it has now: the pod may have renamed it.
    fn inside<T: Send>(
        &self,
        work: impl FnOnce(&str, &Setting) -> Result<T, KernelError> + Send,
    ) -> Result<T, KernelError> {
        // SAFETY: takes no argument and returns a new descriptor of the interface's namespace.
        let fd = unsafe { libc::ioctl(self.queue.as_raw_fd(), libc::TUNGETDEVNETNS) };
        if fd < 0 {
            return Err(KernelError::last(&self.name, "TUNGETDEVNETNS"));
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let namespace = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
        let name = current_name(&self.queue).unwrap_or_else(|| self.name.clone());
        let setting = &self.setting;
        netns::inside_fd(namespace, || work(&name, setting))
    }

    /// Name of the interface as it was made.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Opens a queue of the interface `name`, making the interface if there is none; returns its real name.
fn attach(
    options: &TapOptions,
    name: &str,
    exclusive: libc::c_int,
    multi: bool,
) -> Result<(OwnedFd, String), KernelError> {
    let shown = options.name.as_str();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .map_err(|source| KernelError::from_io(shown, "open /dev/net/tun", source))?;
    let kind = match options.mode {
        TapMode::Tap => libc::IFF_TAP,
        TapMode::Tun => libc::IFF_TUN,
    };
    let multi = if multi { libc::IFF_MULTI_QUEUE } else { 0 };
    let mut request = named_request(name);
    request.ifr_ifru.ifru_flags =
        (kind | libc::IFF_NO_PI | libc::IFF_VNET_HDR | multi | exclusive) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } < 0 {
        let source = std::io::Error::last_os_error();
        return Err(match source.raw_os_error() {
            Some(libc::EBUSY | libc::EEXIST | libc::EINVAL) => KernelError::Exists(shown.to_owned()),
            _ => KernelError::from_io(shown, "TUNSETIFF", source),
        });
    }
    Ok((file.into(), name_in(&request)))
}

/// The name in an `ifreq` that the kernel has filled.
fn name_in(request: &libc::ifreq) -> String {
    let bytes: Vec<u8> =
        request.ifr_name.iter().map(|&byte| byte.cast_unsigned()).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn current_name(queue: &OwnedFd) -> Option<String> {
    let mut request = named_request("");
    // SAFETY: TUNGETIFF writes one `ifreq`.
    let code = unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNGETIFF, &raw mut request) };
    (code == 0).then(|| name_in(&request))
}

/// Agrees on the header's length and on what may stay undone. True when UDP segmentation is among it.
fn set_header_and_offloads(queue: &OwnedFd, name: &str) -> Result<bool, KernelError> {
    let length = VnetHdr::TUN_LEN as libc::c_int;
    // SAFETY: TUNSETVNETHDRSZ reads one integer.
    if unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const length) } < 0 {
        return Err(KernelError::last(name, "TUNSETVNETHDRSZ"));
    }
    let basic = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    // SAFETY: TUNSETOFFLOAD takes its flags as the argument itself.
    let set = |flags: u32| unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) } == 0;
    if set(basic | libc::TUN_F_USO4 | libc::TUN_F_USO6) {
        return Ok(true);
    }
    if set(basic) { Ok(false) } else { Err(KernelError::last(name, "TUNSETOFFLOAD")) }
}
