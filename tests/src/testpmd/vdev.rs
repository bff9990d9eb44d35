//! Device arguments of the drivers that tests use (DPDK guide: virtio, vhost, memif, null).

use std::path::Path;

/// A virtio-user device on a vhost-user socket; `server`: it makes the socket and the switch connects.
pub fn virtio_user(n: u16, socket: &Path, mac: &str, queues: u16, server: bool) -> String {
    let (path, server) = (socket.display(), u8::from(server));
    format!("virtio_user{n},path={path},mac={mac},queues={queues},server={server},mrg_rxbuf=1,in_order=0")
}

/// The device side: what the switch does, to prove a guest without the switch. `client`: it connects.
pub fn vhost(n: u16, socket: &Path, queues: u16, client: bool) -> String {
    format!("net_vhost{n},iface={},queues={queues},client={}", socket.display(), u8::from(client))
}

/// A memif; the server makes the socket. Without hugepages memif shares what it allocates by itself, but not mbufs (no zero copy).
pub fn memif(n: u16, socket: &Path, id: u32, server: bool) -> String {
    let role = if server { "server" } else { "client" };
    format!("net_memif{n},role={role},id={id},socket={},socket-abstract=no", socket.display())
}

/// A device that takes every frame and gives none.
pub fn null(n: u16) -> String {
    format!("net_null{n},no-rx=1")
}
