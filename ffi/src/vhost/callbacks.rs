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
//! A callback names a device number; it belongs to the connection that [`super::relay`] has made, and so to a port.
//! `new_connection` runs on the relay's thread, the others on the library's, and `destroy_device` on either.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int};
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use crate::sys;

use super::VhostEvent;
use super::features::GuestOffloads;
use super::state::{Control, State, guest_rx_ring, guest_tx_ring};

/// Ports by the socket that the library listens on.
static PORTS: Mutex<Option<HashMap<String, Arc<State>>>> = Mutex::new(None);
/// Ports by the library's device number.
static DEVICES: Mutex<Option<HashMap<c_int, Arc<State>>>> = Mutex::new(None);

fn with<K, T>(
    map: &Mutex<Option<HashMap<K, Arc<State>>>>,
    use_it: impl FnOnce(&mut HashMap<K, Arc<State>>) -> T,
) -> T {
    use_it(map.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(HashMap::new))
}

/// Connections to `device_path` belong to `state` from now on.
pub(super) fn add_port(device_path: &str, state: &Arc<State>) {
    with(&PORTS, |ports| ports.insert(device_path.to_owned(), state.clone()));
}

/// Forgets a port whose driver is unregistered.
pub(super) fn remove_port(device_path: &str) {
    with(&PORTS, |ports| ports.remove(device_path));
}

/// Forgets the connection of a port, for the library does not report the end of one that is unregistered.
pub(super) fn forget(state: &Arc<State>) {
    with(&DEVICES, |devices| devices.retain(|_, owner| !Arc::ptr_eq(owner, state)));
    state.set_connection(None);
}

fn port(vid: c_int) -> Option<Arc<State>> {
    with(&DEVICES, |devices| devices.get(&vid).cloned())
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
    let Some(state) = path_of(vid).and_then(|path| with(&PORTS, |ports| ports.get(&path).cloned())) else {
        return -1;
    };
    with(&DEVICES, |devices| devices.insert(vid, state.clone()));
    state.set_connection(Some(vid));
    0
}

unsafe extern "C" fn destroy_connection(vid: c_int) {
    if let Some(state) = with(&DEVICES, |devices| devices.remove(&vid)) {
        state.set_connection(None);
    }
}

unsafe extern "C" fn new_device(vid: c_int) -> c_int {
    let Some(state) = port(vid) else { return -1 };
    let mut features = 0;
    // SAFETY: a writable integer; `vid` is live during its callback.
    unsafe { sys::rte_vhost_get_negotiated_features(vid, &mut features) };
    let mut mtu = 0;
    // SAFETY: as above.
    let mtu = (unsafe { sys::rte_vhost_get_mtu(vid, &mut mtu) } == 0).then_some(mtu);
    // SAFETY: as above.
    let numa = u32::try_from(unsafe { sys::rte_vhost_get_numa_node(vid) }).ok();
    let mut control = state.control();
    for (ring, _) in control.ready.iter().enumerate().filter(|(_, ready)| **ready) {
        // A worker polls: the guest need not kick when it sends, and never when it adds receive buffers.
        // SAFETY: no ring lock is held in this callback, so the call can take it.
        unsafe { sys::rte_vhost_enable_guest_notification(vid, ring as u16, 0) };
    }
    control.running = true;
    state.set_offloads(GuestOffloads::of(features));
    apply(vid, &state, &control);
    let queues =
        (0..state.pairs()).filter(|&pair| control.ready[usize::from(guest_rx_ring(pair))]).count() as u16;
    state.open_if_ready(&control);
    drop(control);
    (state.events)(VhostEvent::Attached { queues, features, mtu, numa });
    0
}

unsafe extern "C" fn destroy_device(vid: c_int) {
    let Some(state) = port(vid) else { return };
    let mut control = state.control();
    if !std::mem::take(&mut control.running) {
        return;
    }
    // Workers never take this lock, so waiting for them under it is safe; it keeps the relay from opening the line again.
    state.close();
    state.set_offloads(GuestOffloads::default());
    let none = vec![false; control.ready.len()];
    state.route(&none);
    for queue in &state.rx {
        queue.enabled.store(false, Ordering::Release);
        queue.wake.set_kick(None);
    }
    drop(control);
    (state.events)(VhostEvent::Detached);
}

unsafe extern "C" fn vring_state_changed(vid: c_int, ring: u16, enable: c_int) -> c_int {
    let Some(state) = port(vid) else { return 0 };
    let on = enable != 0;
    let mut control = state.control();
    let Some(ready) = control.ready.get_mut(usize::from(ring)) else { return 0 };
    *ready = on;
    if !control.running {
        return 0;
    }
    apply(vid, &state, &control);
    drop(control);
    (state.events)(VhostEvent::QueueEnabled { pair: ring / 2, guest_receives: ring.is_multiple_of(2), on });
    0
}

/// Brings the workers' view in line with the rings that are ready.
fn apply(vid: c_int, state: &State, control: &Control) {
    state.route(&control.ready);
    for (pair, queue) in state.rx.iter().enumerate() {
        let ring = guest_tx_ring(pair as u16);
        let ready = control.ready[usize::from(ring)];
        if ready == queue.enabled.load(Ordering::Relaxed) {
            continue;
        }
        if ready {
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
