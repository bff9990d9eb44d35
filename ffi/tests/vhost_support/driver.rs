//! A virtio-net driver on a [`FrontEnd`]: split rings, written through the memory's file.

use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::front::*;
use super::until;

/// Entries of each ring.
pub(crate) const ENTRIES: u16 = 256;
/// Bytes of a `virtio_net_hdr_mrg_rxbuf`.
pub(crate) const HEADER: usize = 12;

const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// One ring: its parts at fixed places of the guest's memory.
pub(crate) struct Ring {
    pub(crate) index: u32,
    base: u64,
    pub(crate) kick: EventFd,
    pub(crate) call: EventFd,
    available: u16,
    used: u16,
}

impl Ring {
    pub(crate) fn new(index: u32) -> Self {
        let event = || EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).unwrap();
        Self { index, base: u64::from(index) * 0x10_000, kick: event(), call: event(), available: 0, used: 0 }
    }

    pub(crate) fn descriptors(&self) -> u64 {
        self.base
    }

    pub(crate) fn available_ring(&self) -> u64 {
        self.base + 0x4000
    }

    pub(crate) fn used_ring(&self) -> u64 {
        self.base + 0x8000
    }

    /// Where this ring's buffers are: 64 KiB for ring 0, 1 and so on are too few, so a stretch of 512 KiB each.
    fn buffers(&self) -> u64 {
        0x20_0000 + u64::from(self.index) * 0x10_0000
    }
}

/// A guest with queue pairs.
pub(crate) struct Guest {
    pub(crate) front: FrontEnd,
    pub(crate) rings: Vec<Ring>,
    /// Bytes of each receive buffer.
    pub(crate) buffer: u32,
}

impl Guest {
    /// Negotiates, sets up `pairs` queue pairs, gives the device `posted` receive buffers of `buffer` bytes.
    pub(crate) fn attach(mut front: FrontEnd, features: u64, pairs: u32, posted: u16, buffer: u32) -> Self {
        front.negotiate(features);
        front.share_memory();
        let rings: Vec<Ring> = (0..pairs * 2).map(Ring::new).collect();
        let mut guest = Self { front, rings, buffer };
        for index in 0..guest.rings.len() {
            if index % 2 == 0 {
                guest.post(index, posted);
            }
            guest.start(index);
        }
        guest
    }

    /// Sends all messages that start a ring.
    pub(crate) fn start(&mut self, index: usize) {
        let ring = &self.rings[index];
        let number = ring.index;
        let address = ring_address(
            number,
            USER + ring.descriptors(),
            USER + ring.used_ring(),
            USER + ring.available_ring(),
        );
        let front = &mut self.front;
        assert!(front.set(SET_VRING_CALL, &u64::from(number).to_le_bytes(), &[ring.call.as_fd()]));
        assert!(front.ring(SET_VRING_NUM, number, ENTRIES.into()));
        assert!(front.ring(SET_VRING_BASE, number, 0));
        assert!(front.set(SET_VRING_ADDR, &address, &[]));
        assert!(front.set(SET_VRING_KICK, &u64::from(number).to_le_bytes(), &[ring.kick.as_fd()]));
        assert!(front.ring(SET_VRING_ENABLE, number, 1));
    }

    pub(crate) fn write(&self, at: u64, bytes: &[u8]) {
        self.front.memory.write_all_at(bytes, at).unwrap();
    }

    pub(crate) fn read(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.front.memory.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    pub(crate) fn read_u16(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.read(at, 2).try_into().unwrap())
    }

    /// Writes one descriptor.
    pub(crate) fn descriptor(
        &self,
        ring: usize,
        slot: u16,
        address: u64,
        length: u32,
        flags: u16,
        next: u16,
    ) {
        let mut bytes = address.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        self.write(self.rings[ring].descriptors() + 16 * u64::from(slot), &bytes);
    }

    /// Makes the chain that starts at `slot` available.
    pub(crate) fn offer(&mut self, ring: usize, slot: u16) {
        let (at, count) = (self.rings[ring].available_ring(), self.rings[ring].available);
        self.write(at + 4 + 2 * u64::from(count % ENTRIES), &slot.to_le_bytes());
        self.set_available(ring, count.wrapping_add(1));
    }

    /// Says that `count` chains have been made available.
    pub(crate) fn set_available(&mut self, ring: usize, count: u16) {
        self.rings[ring].available = count;
        self.write(self.rings[ring].available_ring() + 2, &count.to_le_bytes());
    }

    /// Gives the device `count` receive buffers.
    pub(crate) fn post(&mut self, ring: usize, count: u16) {
        for slot in 0..count {
            let at = self.rings[ring].buffers() + u64::from(slot) * u64::from(self.buffer);
            self.descriptor(ring, slot, at, self.buffer, WRITE, 0);
            self.offer(ring, slot);
        }
    }

    /// Sends a frame with its header, as one descriptor.
    pub(crate) fn send(&mut self, pair: usize, header: [u8; HEADER], frame: &[u8]) {
        let (ring, slot) = (pair * 2 + 1, self.rings[pair * 2 + 1].available % 8);
        let at = self.rings[ring].buffers() + u64::from(slot) * 0x1_1000;
        self.write(at, &header);
        self.write(at + HEADER as u64, frame);
        self.descriptor(ring, slot, at, (HEADER + frame.len()) as u32, 0, 0);
        self.offer(ring, slot);
    }

    /// Sends a frame in pieces: header, then each piece, as a chain of descriptors.
    pub(crate) fn send_chain(&mut self, pair: usize, header: [u8; HEADER], pieces: &[&[u8]]) {
        let ring = pair * 2 + 1;
        let mut at = self.rings[ring].buffers();
        for (slot, bytes) in std::iter::once(&header[..]).chain(pieces.iter().copied()).enumerate() {
            self.write(at, bytes);
            let flags = if slot < pieces.len() { NEXT } else { 0 };
            self.descriptor(ring, slot as u16, at, bytes.len() as u32, flags, slot as u16 + 1);
            at += bytes.len() as u64;
        }
        self.offer(ring, 0);
    }

    /// True when the device has used everything offered on `ring`.
    pub(crate) fn is_done(&self, ring: usize) -> bool {
        self.read_u16(self.rings[ring].used_ring() + 2) == self.rings[ring].available
    }

    /// Waits for a frame: its header and its bytes, over as many buffers as it took; the buffers are offered again.
    pub(crate) fn receive(&mut self, pair: usize) -> ([u8; HEADER], Vec<u8>) {
        let first = self.used_buffer(pair);
        let header: [u8; HEADER] = first[..HEADER].try_into().unwrap();
        let mut frame = first[HEADER..].to_vec();
        for _ in 1..u16::from_le_bytes([header[10], header[11]]) {
            frame.extend(self.used_buffer(pair));
        }
        (header, frame)
    }

    /// True when a frame waits on `pair`.
    pub(crate) fn has_frame(&self, pair: usize) -> bool {
        let ring = &self.rings[pair * 2];
        self.read_u16(ring.used_ring() + 2) != ring.used
    }

    fn used_buffer(&mut self, pair: usize) -> Vec<u8> {
        until("frame for the guest", || self.has_frame(pair));
        let index = pair * 2;
        let ring = &mut self.rings[index];
        let entry = ring.used_ring() + 4 + 8 * u64::from(ring.used % ENTRIES);
        ring.used = ring.used.wrapping_add(1);
        let entry = self.read(entry, 8);
        let (slot, length) =
            (u16::from_le_bytes([entry[0], entry[1]]), u32::from_le_bytes(entry[4..].try_into().unwrap()));
        assert!(length <= self.buffer, "{length} bytes in a buffer of {}", self.buffer);
        let at = self.rings[index].buffers() + u64::from(slot) * u64::from(self.buffer);
        let bytes = self.read(at, length as usize);
        self.offer(index, slot);
        bytes
    }
}
