//! Kind `memif`: frames copied through memory shared with another process (VPP, another DPDK application), by DPDK's
//! `net_memif`; see `docs/ports/memif.md`.
//!
//! What the driver leaves open is closed here: a socket file that a crash left behind, a client that never connects
//! again, frames that do not fit one shared buffer (its chains are wrong in 22.11), more queues than the other side made
//! (it then reads memory that is no ring), and its own error texts, which hold the secret.
//!
//! One queue, because of the above, and one producer per ring: workers share it through the counted lock. No wake-up
//! descriptor: an adaptive worker polls at `max_sleep` while such a port exists.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use shunt_config::{MemifRole, Secret};
use shunt_ffi::Burst;
use shunt_ffi::ethdev::{EthDevice, EthError, EthOptions, EthRxQueue};

use super::{Device, FRAME_OVERHEAD, Opened, Received, RxQueue, Site, TxQueue, spread};
use crate::offload::EgressCapabilities;

/// How long a server may take to accept us: eight messages over a socket.
const HANDSHAKE: Duration = Duration::from_millis(300);
/// What the driver takes: finished frames in any number of our buffers, as long as they fit one of the shared memory.
const CHAINS: EgressCapabilities =
    EgressCapabilities { checksum: false, tso4: false, tso6: false, uso: false, multi_segment: true };

/// What the configuration says of a memif port.
pub(super) struct Wanted<'a> {
    pub(super) path: &'a Path,
    pub(super) id: u32,
    pub(super) role: MemifRole,
    pub(super) secret: Option<&'a Secret>,
    pub(super) ring_size_log2: u8,
    pub(super) buffer_size: u16,
}

/// Opens the interface. As server it waits for the other side; as client the other side must be there.
pub(super) fn open(
    site: &Site,
    port: &shunt_config::Port,
    wanted: &Wanted<'_>,
    mtu: u16,
) -> Result<Opened, String> {
    let max_frame = u32::from(mtu) + FRAME_OVERHEAD;
    if port.queues != 1 {
        return Err("a memif port has one queue; set `queues = 1`, and use more ports for more".to_owned());
    }
    if max_frame > u32::from(wanted.buffer_size) {
        return Err(format!(
            "mtu {mtu} needs `buffer_size` {max_frame} or more on both sides, it is {}; raise it or lower the mtu",
            wanted.buffer_size
        ));
    }
    let server = wanted.role == MemifRole::Server;
    if server {
        claim(wanted.path)?
    } else {
        reach(wanted.path)?
    }
    let options = EthOptions {
        devargs: devargs(port.name.as_str(), wanted),
        rx_queues: 1,
        tx_queues: 1,
        // The driver has no such notion; the limit is ours.
        mtu: None,
        descriptors: 1 << wanted.ring_size_log2,
        tx_free_threshold: None,
        pool: site.pool,
        interrupts: false,
    };
    let opened = EthDevice::open(site.eal, &options).map_err(|error| why(&error, wanted))?;
    if !server {
        await_server(&opened.device, wanted)?;
    }
    let rx = opened.rx.into_iter().map(|queue| RxQueue::Memif(MemifRxQueue { queue, reopens: !server }));
    let tx = opened.tx.into_iter().map(|queue| TxQueue::Ethdev(queue, CHAINS)).collect();
    Ok(Opened {
        rx: rx.collect(),
        tx: spread(tx, site.workers),
        device: Device::Ethdev(opened.device),
        max_frame,
        longest: None,
        l3: None,
    })
}

/// Device arguments. Path and secret hold nothing that would end a value: the configuration refuses it.
fn devargs(name: &str, wanted: &Wanted<'_>) -> String {
    let role = match wanted.role {
        MemifRole::Server => "server",
        MemifRole::Client => "client",
    };
    let secret = wanted.secret.map_or_else(String::new, |secret| format!(",secret={}", secret.as_str()));
    format!(
        "net_memif_{name},role={role},id={},socket={},socket-abstract=no,rsize={},bsize={}{secret}",
        wanted.id,
        wanted.path.display(),
        wanted.ring_size_log2,
        wanted.buffer_size
    )
}

/// Makes sure that the driver can make the socket: its directory is there, and what stands in its place is a socket of
/// this process (another memif port's, which the driver shares) or one that nobody listens on, which is removed.
fn claim(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        return Err(format!("the socket's directory {} does not exist; create it", directory.display()));
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("socket {shown}: {error}; run with the right to look there")),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(format!("{shown} is no socket; remove it or choose another path"));
        }
        Ok(_) => {}
    }
    match probe(path) {
        Ok(true) if is_ours(path) => Ok(()),
        Ok(true) => {
            Err(format!("socket {shown} is in use by another process; stop it or choose another path"))
        }
        Ok(false) => {
            tracing::info!(%shown, "removing a memif socket that nobody listens on");
            std::fs::remove_file(path)
                .map_err(|error| format!("socket {shown} cannot be removed: {error}; remove it by hand"))
        }
        Err(error) => Err(format!("socket {shown}: {error}; run with the right to use it")),
    }
}

/// The other side's socket is there and alive.
fn reach(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match probe(path) {
        Ok(true) => Ok(()),
        Ok(false) | Err(Errno::ENOENT) => Err(format!(
            "nobody listens on {shown}; start the other side, or set `role = \"server\"` and let it connect"
        )),
        Err(error) => Err(format!("socket {shown}: {error}; run with the right to use it")),
    }
}

/// A server that listens may still refuse us, and the driver says neither that nor why, nor does it try again.
fn await_server(device: &EthDevice, wanted: &Wanted<'_>) -> Result<(), String> {
    let deadline = Instant::now() + HANDSHAKE;
    while !device.link().up {
        if Instant::now() >= deadline {
            return Err(format!(
                "the server on {} did not take us; check `id` ({}) and `secret`, and that its interface is started",
                wanted.path.display(),
                wanted.id
            ));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether a process has the socket open. Asked with a socket of another type, which the kernel refuses before the other
/// side hears of it: a connection that is made and dropped at once makes a DPDK memif server panic.
fn probe(path: &Path) -> Result<bool, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let asks = socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    match socket::connect(asks.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EPROTOTYPE) => Ok(true),
        Err(Errno::ECONNREFUSED) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a socket of this process has the name: /proc/net/unix gives the inode of each name (proc_pid_net(5)).
fn is_ours(path: &Path) -> bool {
    let text = std::fs::read_to_string("/proc/thread-self/net/unix").unwrap_or_default();
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(6);
        let inode = words.next()?;
        (words.next()? == path.to_str()?).then(|| format!("socket:[{inode}]"))
    });
    let named: Vec<String> = named.collect();
    let ours = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    ours.filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .any(|target| named.iter().any(|name| Path::new(name) == target))
}

/// One line without the device arguments, which hold the secret.
fn why(error: &EthError, wanted: &Wanted<'_>) -> String {
    let shown = wanted.path.display();
    match error {
        EthError::Dpdk { source, .. } => format!(
            "memif {} on {shown}: {source}; check that no other interface has this id on the socket",
            wanted.id
        ),
        _ => format!(
            "memif {} on {shown} did not open: the driver net_memif is missing; install librte-net-memif23",
            wanted.id
        ),
    }
}

/// The receive ring.
#[derive(Debug)]
pub struct MemifRxQueue {
    queue: EthRxQueue,
    /// The driver does not connect again by itself: as client we have to be opened again.
    reopens: bool,
}

impl MemifRxQueue {
    /// Appends up to `max` frames to `burst`. A client whose server went away is gone, and comes back when it does.
    #[inline]
    pub(super) fn receive(&mut self, burst: &mut Burst, max: usize) -> Received {
        let count = self.queue.receive(burst, max);
        if count == 0 && self.reopens {
            // It was up when the port opened.
            if !self.queue.link_up() {
                return Received::Gone;
            }
        }
        Received::Frames(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seqpacket(path: &Path) -> std::os::fd::OwnedFd {
        let listener =
            socket::socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
        socket::bind(listener.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
        socket::listen(&listener, socket::Backlog::new(1).unwrap()).unwrap();
        listener
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memif");
        claim(&path).unwrap();
        let listener = seqpacket(&path);
        claim(&path).unwrap();
        assert!(path.exists(), "it is ours");
        drop(listener);
        claim(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memif");
        std::fs::write(&path, "text").unwrap();
        assert!(claim(&path).unwrap_err().contains("is no socket"));
        assert!(claim(&dir.path().join("none/memif")).unwrap_err().contains("create it"));
        assert!(path.exists());
    }

    #[test]
    fn a_client_needs_a_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memif");
        assert!(reach(&path).unwrap_err().contains("nobody listens"));
        let listener = seqpacket(&path);
        reach(&path).unwrap();
        drop(listener);
        assert!(reach(&path).unwrap_err().contains("nobody listens"));
    }

    #[test]
    fn no_error_shows_the_secret() {
        let secret = Secret::new("hunter2").unwrap();
        let wanted = Wanted {
            path: Path::new("/run/memif.sock"),
            id: 7,
            role: MemifRole::Client,
            secret: Some(&secret),
            ring_size_log2: 10,
            buffer_size: 2048,
        };
        let devargs = devargs("vpp0", &wanted);
        assert_eq!(
            devargs,
            "net_memif_vpp0,role=client,id=7,socket=/run/memif.sock,socket-abstract=no,rsize=10,bsize=2048,secret=hunter2"
        );
        let busy = why(&EthError::Busy(devargs), &wanted);
        assert!(busy.contains("memif 7 on /run/memif.sock") && !busy.contains("hunter2"), "{busy}");
    }
}
