//! The library's callbacks: a guest came, went, or changed its queues.
//!
//! What they may rely on in DPDK 22.11 (`lib/vhost/vhost_user.c`, `vhost.c`), and what this module therefore does:
//!
//! - `new_device` and `destroy_device` run without any ring lock. The library frees nothing of a device before
//!   `destroy_device` has returned, so that callback closes the line and waits until no worker is inside; afterwards
//!   nobody holds the device number any more.
//! - `vring_state_changed` runs with *all* ring locks held while a worker may spin on one of them inside
//!   `rte_vhost_enqueue_burst`. Waiting there would be a deadlock, and is not needed: the burst functions look at the ring's
//!   own enabled flag under that lock.
//! - It may come before `new_device` (rings are enabled first) and come again while the device runs.
//! - Rings move in memory only before `new_device` (NUMA reallocation) or under their lock.
//!
//! The callbacks name a device number; the number belongs to a connection and the connection to a socket path.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int};
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sys;

use super::VhostEvent;
use super::features::GuestOffloads;
use super::state::{State, guest_rx_ring, guest_tx_ring};

/// What the control side knows of one connection.
struct Connection {
    state: Arc<State>,
    attached: bool,
    /// Rings the library reported ready, by ring number.
    ready: Vec<bool>,
}

#[derive(Default)]
struct Registry {
    ports: HashMap<String, Arc<State>>,
    connections: HashMap<c_int, Connection>,
}

static REGISTRY: Mutex<Option<Registry>> = Mutex::new(None);

struct Locked(MutexGuard<'static, Option<Registry>>);

fn registry() -> Locked {
    let mut guard = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    guard.get_or_insert_with(Registry::default);
    Locked(guard)
}

impl std::ops::Deref for Locked {
    type Target = Registry;
    fn deref(&self) -> &Registry {
        self.0.as_ref().expect("filled when it was locked")
    }
}

impl std::ops::DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Registry {
        self.0.as_mut().expect("filled when it was locked")
    }
}

/// Makes a port known by its path. False when the path is taken.
pub(super) fn add_port(state: &Arc<State>) -> bool {
    let mut registry = registry();
    if registry.ports.contains_key(&state.path) {
        return false;
    }
    registry.ports.insert(state.path.clone(), state.clone());
    true
}

/// Forgets a port; its connections were ended by the library before.
pub(super) fn remove_port(state: &Arc<State>) {
    let mut registry = registry();
    registry.ports.remove(&state.path);
    registry.connections.retain(|_, connection| !Arc::ptr_eq(&connection.state, state));
}

/// The callback table; the library keeps the pointer for ever.
pub(super) struct Operations(pub(super) sys::rte_vhost_device_ops);

// SAFETY: the table is constant; its one pointer is null.
unsafe impl Sync for Operations {}

pub(super) static OPERATIONS: Operations = Operations(sys::rte_vhost_device_ops {
    new_device: Some(new_device),
    destroy_device: Some(destroy_device),
    vring_state_changed: Some(vring_state_changed),
    features_changed: None,
    new_connection: Some(new_connection),
    destroy_connection: Some(destroy_connection),
    guest_notified: None,
    reserved: [std::ptr::null_mut()],
});

fn path_of(vid: c_int) -> Option<String> {
    let mut name: [c_char; 4096] = [0; 4096];
    // SAFETY: writes at most `len` bytes and terminates them.
    if unsafe { sys::rte_vhost_get_ifname(vid, name.as_mut_ptr(), name.len()) } != 0 {
        return None;
    }
    // SAFETY: terminated by the call above.
    Some(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

unsafe extern "C" fn new_connection(vid: c_int) -> c_int {
    let Some(path) = path_of(vid) else { return -1 };
    let mut registry = registry();
    let Some(state) = registry.ports.get(&path).cloned() else { return -1 };
    let ready = vec![false; usize::from(state.pairs()) * 2];
    registry.connections.insert(vid, Connection { state, attached: false, ready });
    0
}

unsafe extern "C" fn destroy_connection(vid: c_int) {
    registry().connections.remove(&vid);
}

unsafe extern "C" fn new_device(vid: c_int) -> c_int {
    let mut registry = registry();
    let Some(connection) = registry.connections.get_mut(&vid) else { return -1 };
    if connection.state.line.is_open() {
        // Somebody else is attached to this port; the library asks again after the next message.
        return -1;
    }
    let mut features = 0;
    // SAFETY: a writable integer; `vid` is live during its callback.
    unsafe { sys::rte_vhost_get_negotiated_features(vid, &mut features) };
    for (ring, _) in connection.ready.iter().enumerate().filter(|(_, ready)| **ready) {
        // SAFETY: no ring lock is held in this callback, so the call can take it.
        unsafe { sys::rte_vhost_enable_guest_notification(vid, ring as u16, 0) };
    }
    let mut mtu = 0;
    // SAFETY: a writable integer.
    let mtu = (unsafe { sys::rte_vhost_get_mtu(vid, &mut mtu) } == 0).then_some(mtu);
    // SAFETY: `vid` is live during its callback.
    let numa = u32::try_from(unsafe { sys::rte_vhost_get_numa_node(vid) }).ok();
    connection.attached = true;
    let state = connection.state.clone();
    state.set_offloads(GuestOffloads::of(features));
    apply(vid, connection);
    let queues = receiving(connection).iter().filter(|on| **on).count() as u16;
    state.line.open(vid);
    drop(registry);
    for queue in &state.rx {
        queue.wake.raise();
    }
    (state.events)(VhostEvent::Attached { queues, features, mtu, numa });
    0
}

unsafe extern "C" fn destroy_device(vid: c_int) {
    let state = {
        let mut registry = registry();
        let Some(connection) = registry.connections.get_mut(&vid) else { return };
        if !std::mem::take(&mut connection.attached) {
            return;
        }
        connection.state.clone()
    };
    // The registry is not locked here: a worker never takes it, but other callbacks need not wait for workers.
    state.close();
    state.route(&vec![false; usize::from(state.pairs())]);
    for queue in &state.rx {
        queue.enabled.store(false, Ordering::Release);
        queue.wake.set_kick(None);
    }
    (state.events)(VhostEvent::Detached);
}

unsafe extern "C" fn vring_state_changed(vid: c_int, ring: u16, enable: c_int) -> c_int {
    let mut registry = registry();
    let Some(connection) = registry.connections.get_mut(&vid) else { return 0 };
    let on = enable != 0;
    // A guest may have more rings than the port: those are not served.
    let Some(ready) = connection.ready.get_mut(usize::from(ring)) else { return 0 };
    *ready = on;
    if !connection.attached {
        return 0;
    }
    apply(vid, connection);
    let state = connection.state.clone();
    drop(registry);
    (state.events)(VhostEvent::QueueEnabled { pair: ring / 2, guest_receives: ring % 2 == 0, on });
    0
}

/// Which pairs the guest receives on.
fn receiving(connection: &Connection) -> Vec<bool> {
    (0..connection.state.pairs()).map(|pair| connection.ready[usize::from(guest_rx_ring(pair))]).collect()
}

/// Brings the workers' view in line with the rings that are ready.
fn apply(vid: c_int, connection: &Connection) {
    let state = &connection.state;
    state.route(&receiving(connection));
    for (pair, queue) in state.rx.iter().enumerate() {
        let ring = guest_tx_ring(pair as u16);
        let ready = connection.ready[usize::from(ring)];
        if ready == queue.enabled.load(Ordering::Relaxed) {
            continue;
        }
        if ready {
            queue.generation.fetch_add(1, Ordering::Relaxed);
            with_kick(vid, ring, |kick| queue.wake.set_kick(kick));
        } else {
            queue.wake.set_kick(None);
        }
        queue.enabled.store(ready, Ordering::Release);
    }
}

fn with_kick(vid: c_int, ring: u16, give: impl FnOnce(Option<BorrowedFd<'_>>)) {
    // SAFETY: plain integers and pointers; all zero is a valid value.
    let mut vring: sys::rte_vhost_vring = unsafe { std::mem::zeroed() };
    // SAFETY: writes the structure; `vid` is live during its callback. It takes no lock.
    let found = unsafe { sys::rte_vhost_get_vhost_vring(vid, ring, &mut vring) } == 0;
    if found && vring.kickfd >= 0 {
        // SAFETY: the library keeps the descriptor open at least until this callback has returned.
        give(Some(unsafe { BorrowedFd::borrow_raw(vring.kickfd) }));
    } else {
        give(None);
    }
}
