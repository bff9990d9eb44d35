//! Oracles: a model that builds every segment from scratch, `etherparse`, and the pool's count of free buffers.

mod capabilities;
mod checksums;
mod fragments;
mod hostile;
mod model;
mod segments;

use std::sync::OnceLock;

use shunt_ffi::eal::{Eal, EalOptions, Memory};
use shunt_ffi::{Mbuf, Mempool};

use super::*;

/// A pool of `count` buffers of `room` bytes; tests have their own, so that each can count its buffers.
fn pool(name: &str, count: u32, room: u16) -> Mempool {
    static EAL: OnceLock<Eal> = OnceLock::new();
    let eal = *EAL.get_or_init(|| {
        let memory = Memory::Ordinary { megabytes: 128 };
        Eal::start(&EalOptions { memory, pci: false }).expect("EAL starts without privileges")
    });
    Mempool::new(eal, name, count, room).expect("memory for a small pool")
}

/// A frame that holds `bytes`: `first` of them (the headers, at least) in the first buffer, then as many in each as
/// `cuts` says in turn, then full buffers.
fn chain(pool: Mempool, bytes: &[u8], first: usize, cuts: &[usize]) -> Mbuf {
    let room = room(pool);
    let (head, mut rest) = bytes.split_at(first.min(room).min(bytes.len()));
    let mut frame = pool.alloc().unwrap();
    frame.append_slice(head).unwrap();
    let mut cuts = cuts.iter();
    while !rest.is_empty() {
        let (part, later) = rest.split_at(cuts.next().map_or(room, |cut| *cut.min(&room)).min(rest.len()));
        let mut segment = pool.alloc().unwrap();
        segment.append_slice(part).unwrap();
        frame.chain(segment).unwrap();
        rest = later;
    }
    frame
}

/// Runs [`finish`] and collects what it emits.
fn finished(frame: Mbuf, can: EgressCapabilities, pool: Mempool) -> (Vec<Mbuf>, Result<(), OffloadError>) {
    let mut frames = Vec::new();
    let result = finish(frame, can, pool, &mut |frame| frames.push(frame));
    (frames, result)
}
