//! What must hold of a vhost-user port whatever its guest writes into the rings: nothing outside the guest's memory is touched, frames are
//! as long as frames may be, no buffer is lost. Whoever includes this has `ffi/tests/vhost_support` beside it.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use shunt_ffi::Burst;
use shunt_ffi::vhost::VhostEvent;

use crate::vhost_support::driver::Guest;
use crate::vhost_support::front::*;
use crate::vhost_support::worker::FEATURES;
use crate::vhost_support::{Port, options, pattern, site};

/// How a case is written in bytes: steps of eight.
///
/// | byte | is |
/// |---|---|
/// | 0 | the step, modulo as many as there are; bit 7: of the ring that the guest receives on |
/// | 1 | a descriptor, or how many frames |
/// | 2, 3 and 4, 5 | two numbers, little-endian |
/// | 6 | flags of the descriptor |
/// | 7 | the descriptor it names as the next one |
pub(crate) const STEP: usize = 8;
/// Where the guest's buffers are.
const BUFFERS: u64 = 0x20_0000;
/// Longest frame with its Ethernet header and two tags.
const LONGEST: u32 = 65_535 + 14 + 8;

struct Bench {
    port: Port,
    guest: Option<Guest>,
    path: PathBuf,
}

/// Panics when a property does not hold. How many frames the port has received, and given to the guest.
pub(crate) fn check(input: &[u8]) -> (u64, u64) {
    static BENCH: OnceLock<Mutex<Bench>> = OnceLock::new();
    let bench = BENCH.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("shunt-fuzz-vhost-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Mutex::new(Bench { port: Port::open(&options(&path)), guest: None, path })
    });
    bench.lock().expect("no case before this one has panicked").play(input)
}

impl Bench {
    fn play(&mut self, input: &[u8]) -> (u64, u64) {
        self.attach();
        let before = self.port.opened.port.statistics();
        for step in input.as_chunks::<STEP>().0.iter().take(256) {
            self.step(step);
        }
        // What is still waiting would be the next case's.
        for _ in 0..16 {
            self.receive(32);
        }
        let (_, pool, all) = site();
        assert_eq!(pool.available(), all, "buffers were lost");
        // A guest that has offered what is none has stopped its own ring.
        if self.guest.as_ref().is_some_and(|guest| !guest.is_done(1)) {
            self.guest = None;
            self.port.wait_detached();
        }
        let after = self.port.opened.port.statistics();
        (after.rx_frames - before.rx_frames, after.tx_frames - before.tx_frames)
    }

    /// A guest that is there; a new one when the port has had enough of the last one.
    fn attach(&mut self) {
        if self.port.events.try_iter().any(|event| matches!(event, VhostEvent::Detached)) {
            self.guest = None;
        }
        if self.guest.is_none() {
            self.guest = Some(Guest::attach(FrontEnd::connect(&self.path), FEATURES, 1, 16, 2048));
            self.port.wait_attached();
        }
        // Whole buffers in all places, as far as the case leaves them so.
        let Some(guest) = &self.guest else { return };
        for slot in 0..64_u16 {
            guest.descriptor(0, slot, BUFFERS + u64::from(slot) * 2048, 2048, 2, 0);
            guest.descriptor(1, slot, BUFFERS + 0x10_0000 + u64::from(slot) * 2048, 112, 0, 0);
        }
    }

    fn step(&mut self, &[kind, slot, a0, a1, b0, b1, flags, next]: &[u8; STEP]) {
        let Some(guest) = &mut self.guest else { return };
        let ring = if kind & 0x80 == 0 { 1 } else { 0 };
        let (a, b) = (u16::from_le_bytes([a0, a1]), u16::from_le_bytes([b0, b1]));
        let (place, length) = (u64::from(a), u32::from(b));
        let describe = |at: u64, length: u32| {
            guest.descriptor(ring, slot.into(), at, length, flags.into(), next.into());
        };
        match kind & 0x7f {
            0 => describe(BUFFERS + place * 16, length),
            1 => describe(MEMORY.wrapping_sub(place), length),
            2 => describe(0_u64.wrapping_sub(place), length << 16 | 0xffff),
            // The rings themselves.
            3 => describe(place, length),
            4 => guest.offer(ring, a),
            5 => guest.offer(ring, slot.into()),
            6 => guest.set_available(ring, a),
            // Headers of frames, tables of indirect descriptors.
            7 => guest.write(BUFFERS + place * 16, &[b0, b1, flags, next, slot, 0, b1, b0]),
            8 => {
                let mut table = (BUFFERS + u64::from(slot) * 64).to_le_bytes().to_vec();
                table.extend(length.to_le_bytes());
                table.extend([flags, 0, next, 0]);
                guest.write(BUFFERS + place * 16, &table);
            }
            9 => guest.write(guest.rings[ring].available_ring(), &[a0, 0]),
            10 => guest.write(guest.rings[ring].used_ring() + place % 2054, &[b0, b1]),
            11 => guest.write(guest.rings[ring].available_ring() + place % 518, &[b0, b1]),
            12 | 13 => self.receive(usize::from(slot % 33)),
            _ => self.give(usize::from(slot % 33), 14 + usize::from(b) % 9000),
        }
    }

    fn receive(&mut self, most: usize) {
        let mut burst = Burst::new();
        let count = self.port.opened.rx[0].receive(&mut burst, most);
        assert!(count <= most.max(1) && count == burst.len());
        for frame in burst.iter() {
            let lengths: usize = frame.segments().map(<[u8]>::len).sum();
            assert_eq!(lengths, frame.len() as usize, "the segments are the frame");
            assert!(frame.len() <= LONGEST, "{} bytes", frame.len());
            // What it says of itself is within it.
            let _ = frame.offload();
            std::hint::black_box(frame.to_vec());
        }
    }

    fn give(&mut self, count: usize, length: usize) {
        let mut burst = Burst::new();
        for at in 0..count {
            if let Some(frame) = site().1.frame(&pattern(length, at as u8)) {
                let _ = burst.push(frame);
            }
        }
        let given = self.port.opened.tx[0].transmit(&mut burst);
        assert!(given <= count && burst.len() + given <= count);
    }
}
