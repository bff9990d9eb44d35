//! A ring against a naive model: whatever the guest offers, as one buffer or many, in order or not, on one side of a memory
//! region's end or on both, frames arrive whole and in order, used entries say what the model says, and no byte of
//! the guest's changes that should not. Part of the frames go the straight way, part by the library, in any mixture.

mod vhost_support;

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use proptest::prelude::*;
use shunt_ffi::Burst;
use vhost_support::front::*;
use vhost_support::{Port, assert_no_leak, options, pattern, site, until};

/// Entries of each ring: few, so that they wrap often.
const ENTRIES: u16 = 32;
const HEADER: usize = 12;
/// The first region ends here; the file goes on in the second.
const SEAM: u64 = MEMORY / 2;
const SECOND: u64 = USER + 0x1000_0000;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
/// What a buffer holds before the device writes it.
const FILL: u8 = 0xee;

#[derive(Clone, Debug)]
enum Step {
    /// The guest sends a frame of `length` bytes in pieces of `cuts` bytes and what is left; `flags` are its header's.
    Send { length: usize, cuts: Vec<usize>, flags: u8 },
    /// The guest offers a receive buffer in pieces of these lengths.
    Post { pieces: Vec<u32> },
    /// The port receives once.
    Receive { most: usize },
    /// The port sends frames of these lengths.
    Give { lengths: Vec<usize> },
    /// The guest wants to be called for frames, or not.
    Interrupts(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length =
        prop_oneof![6 => 14..200_usize, 1 => 1..14_usize, 2 => 200..1600_usize, 1 => 1600..9000_usize];
    let cuts = prop_oneof![4 => Just(vec![]), 1 => prop::collection::vec(1..400_usize, 1..4)];
    let flags = prop_oneof![6 => Just(0_u8), 1 => Just(1)];
    let piece = prop_oneof![6 => Just(2048_u32), 1 => 64..300_u32];
    let pieces =
        prop_oneof![6 => prop::collection::vec(piece.clone(), 1), 1 => prop::collection::vec(piece, 2..4)];
    let sent = prop_oneof![6 => 14..200_usize, 2 => 200..2036_usize, 1 => 2036..6000_usize];
    let step = prop_oneof![
        6 => (length, cuts, flags).prop_map(|(length, cuts, flags)| Step::Send { length, cuts, flags }),
        6 => pieces.prop_map(|pieces| Step::Post { pieces }),
        3 => (2..33_usize).prop_map(|most| Step::Receive { most }),
        3 => prop::collection::vec(sent, 1..20).prop_map(|lengths| Step::Give { lengths }),
        1 => any::<bool>().prop_map(Step::Interrupts),
    ];
    prop::collection::vec(step, 1..250)
}

/// Pieces of guest memory, in the order of a chain.
type Chain = Vec<(u64, u32)>;

/// One ring, as its driver keeps it.
struct Ring {
    number: u32,
    base: u64,
    call: EventFd,
    kick: EventFd,
    available: u16,
    used: u16,
    /// Descriptors that nobody uses; taken from the front, given back in an order that the case chooses.
    free: VecDeque<u16>,
    /// What the device has, in the order it was offered: its descriptors, its pieces.
    offered: VecDeque<(Vec<u16>, Chain)>,
    /// Where the next buffer goes.
    place: u64,
}

impl Ring {
    fn new(number: u32, first: u16) -> Self {
        let event = || EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).unwrap();
        Self {
            number,
            base: u64::from(number) * 0x1_0000,
            call: event(),
            kick: event(),
            available: first,
            used: first,
            free: (0..ENTRIES).collect(),
            offered: VecDeque::new(),
            // Around the seam, so that some buffers lie across it; each ring has a stretch of its own.
            place: SEAM - 0x8_0000 + u64::from(number) * 0x8_0000 - 3000 * u64::from(number),
        }
    }

    /// Memory for `length` bytes: 512 KiB round and round, which is more than the ring can hold.
    fn buffer(&mut self, length: u32) -> u64 {
        let start = SEAM - 0x8_0000 + u64::from(self.number) * 0x8_0000 - 3000 * u64::from(self.number);
        if self.place + u64::from(length) > start + 0x7_0000 {
            self.place = start;
        }
        let at = self.place;
        self.place += u64::from(length) + 5;
        at
    }
}

struct Model {
    front: FrontEnd,
    port: Port,
    rings: [Ring; 2],
    /// Frames that the port must receive, in order.
    coming: VecDeque<Vec<u8>>,
    interrupts: bool,
    seed: u8,
}

impl Model {
    fn new(path: &Path, first: u16) -> Self {
        let port = Port::open(&options(path));
        let mut front = FrontEnd::connect(path);
        front.negotiate(VERSION_1 | MRG_RXBUF | CSUM | GUEST_CSUM);
        let mut table = pair(2, 0);
        for word in [0, SEAM, USER, 0, SEAM, MEMORY - SEAM, SECOND, SEAM] {
            table.extend(word.to_le_bytes());
        }
        let memory = front.memory.try_clone().unwrap();
        assert!(front.set(SET_MEM_TABLE, &table, &[memory.as_fd(), memory.as_fd()]));
        let rings = [0, 1].map(|number| Ring::new(number, first));
        let model = Self { front, port, rings, coming: VecDeque::new(), interrupts: true, seed: 0 };
        model.start(first)
    }

    fn start(mut self, first: u16) -> Self {
        for ring in &self.rings {
            let (number, at) = (ring.number, USER + ring.base);
            for part in [0x4000, 0x8000] {
                self.front.memory.write_all_at(&first.to_le_bytes(), ring.base + part + 2).unwrap();
            }
            let front = &mut self.front;
            let word = u64::from(number).to_le_bytes();
            assert!(front.set(SET_VRING_CALL, &word, &[ring.call.as_fd()]));
            assert!(front.ring(SET_VRING_NUM, number, ENTRIES.into()));
            assert!(front.ring(SET_VRING_BASE, number, first.into()));
            assert!(front.set(SET_VRING_ADDR, &ring_address(number, at, at + 0x8000, at + 0x4000), &[]));
            assert!(front.set(SET_VRING_KICK, &word, &[ring.kick.as_fd()]));
            assert!(front.ring(SET_VRING_ENABLE, number, 1));
        }
        self.port.wait_attached();
        self
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.front.memory.write_all_at(bytes, at).unwrap();
    }

    fn read(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.front.memory.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    fn read_u32(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.read(at, 4).try_into().unwrap())
    }

    /// Offers a chain; false when there are too few descriptors.
    fn offer(&mut self, ring: usize, chain: Chain, flags: u16) -> bool {
        let ring = &mut self.rings[ring];
        if ring.free.len() < chain.len() {
            return false;
        }
        let slots: Vec<u16> = ring.free.drain(..chain.len()).collect();
        for (index, &(address, length)) in chain.iter().enumerate() {
            let (next, more) = slots.get(index + 1).map_or((0, 0), |&next| (next, NEXT));
            let mut bytes = address.to_le_bytes().to_vec();
            bytes.extend(length.to_le_bytes());
            bytes.extend((flags | more).to_le_bytes());
            bytes.extend(next.to_le_bytes());
            self.front.memory.write_all_at(&bytes, ring.base + 16 * u64::from(slots[index])).unwrap();
        }
        let at = ring.base + 0x4000;
        let entry = at + 4 + 2 * u64::from(ring.available % ENTRIES);
        self.front.memory.write_all_at(&slots[0].to_le_bytes(), entry).unwrap();
        ring.available = ring.available.wrapping_add(1);
        self.front.memory.write_all_at(&ring.available.to_le_bytes(), at + 2).unwrap();
        ring.offered.push_back((slots, chain));
        // So that descriptors are not taken in the order of their numbers for ever.
        let turn = usize::from(ring.available / 3) % ring.free.len().max(1);
        ring.free.rotate_left(turn);
        true
    }

    /// Takes the next used entry: its chain and the bytes the device says it wrote.
    fn take_used(&mut self, ring: usize) -> Option<(Chain, u32)> {
        let at = self.rings[ring].base + 0x8000;
        let index = u16::from_le_bytes(self.read(at + 2, 2).try_into().unwrap());
        if index == self.rings[ring].used {
            return None;
        }
        let entry = at + 4 + 8 * u64::from(self.rings[ring].used % ENTRIES);
        let (id, length) = (self.read_u32(entry), self.read_u32(entry + 4));
        let ring = &mut self.rings[ring];
        let (slots, chain) = ring.offered.pop_front().expect("no more is used than was offered");
        assert_eq!(id, u32::from(slots[0]), "used in the order offered");
        ring.used = ring.used.wrapping_add(1);
        ring.free.extend(slots);
        Some((chain, length))
    }

    fn send(&mut self, length: usize, cuts: &[usize], flags: u8) {
        self.seed = self.seed.wrapping_add(1);
        let frame = if length < 14 { vec![self.seed; length] } else { pattern(length, self.seed) };
        let mut bytes = vec![0; HEADER];
        // The library cannot place the sum in such a frame, and leaves the frame as it is.
        bytes[0] = flags;
        bytes.extend(&frame);
        let mut chain = Chain::new();
        let mut rest = &bytes[..];
        for &cut in cuts.iter().chain([&usize::MAX]) {
            let (piece, left) = rest.split_at(cut.min(rest.len()));
            if !piece.is_empty() {
                let at = self.rings[1].buffer(piece.len() as u32);
                self.write(at, piece);
                chain.push((at, piece.len() as u32));
            }
            rest = left;
        }
        // A header that is not in one piece with anything is legal, but one cut in two is the library's own affair.
        if chain[0].1 >= HEADER as u32 && self.offer(1, chain, 0) && length >= 14 {
            self.coming.push_back(frame);
        }
    }

    fn receive(&mut self, most: usize) {
        let mut burst = Burst::new();
        let count = self.port.opened.rx[0].receive(&mut burst, most);
        assert_eq!(burst.len(), count);
        assert!(count <= most);
        for frame in burst.iter() {
            assert_eq!(Some(frame.to_vec()), self.coming.pop_front());
            assert!(!frame.needs_offload());
        }
        while let Some((_, length)) = self.take_used(1) {
            assert_eq!(length, 0, "nothing was written");
        }
    }

    fn post(&mut self, pieces: &[u32]) {
        let chain: Chain = pieces.iter().map(|&length| (self.rings[0].buffer(length), length)).collect();
        for &(at, length) in &chain {
            self.write(at, &vec![FILL; length as usize]);
        }
        self.offer(0, chain, WRITE);
    }

    /// Frames that fit into what is posted, by filling one buffer after the other.
    fn fitting(&self, frames: &[Vec<u8>]) -> usize {
        let bytes =
            |(_, chain): &(Vec<u16>, Chain)| chain.iter().map(|piece| piece.1 as usize).sum::<usize>();
        let mut buffers = self.rings[0].offered.iter().map(bytes);
        let fits = |frame: &&Vec<u8>| {
            let mut left = HEADER + frame.len();
            while left > 0 {
                let Some(buffer) = buffers.next() else { return false };
                left = left.saturating_sub(buffer);
            }
            true
        };
        frames.iter().take_while(fits).count()
    }

    fn give(&mut self, lengths: &[usize]) {
        let frames: Vec<Vec<u8>> = lengths
            .iter()
            .map(|&length| {
                self.seed = self.seed.wrapping_add(1);
                pattern(length, self.seed)
            })
            .collect();
        let fitting = self.fitting(&frames);
        let mut burst = Burst::new();
        for frame in &frames {
            burst.push(site().1.frame(frame).unwrap()).unwrap();
        }
        let _ = self.rings[0].call.read();
        assert_eq!(self.port.opened.tx[0].transmit(&mut burst), fitting);
        if fitting > 0 {
            let mut fds = [PollFd::new(self.rings[0].call.as_fd(), PollFlags::POLLIN)];
            let called = poll(&mut fds, PollTimeout::ZERO).unwrap() == 1;
            assert_eq!(called, self.interrupts, "called");
        }
        for frame in &frames[..fitting] {
            self.check_given(frame);
        }
        assert!(self.take_used(0).is_none(), "nothing else was used");
    }

    /// The next used buffers hold this frame, and behind it what they held before.
    fn check_given(&mut self, frame: &[u8]) {
        let mut got = Vec::new();
        let mut buffers = 0;
        while got.len() < HEADER + frame.len() {
            let (chain, written) = self.take_used(0).expect("a used buffer");
            buffers += 1;
            let all: Vec<u8> =
                chain.iter().flat_map(|&(at, length)| self.read(at, length as usize)).collect();
            let (frame, rest) = all.split_at(written as usize);
            assert!(rest.iter().all(|&byte| byte == FILL), "written behind the frame");
            got.extend(frame);
        }
        assert_eq!(got[..10], [0; 10], "the header asks for nothing");
        assert_eq!(u16::from_le_bytes([got[10], got[11]]), buffers);
        assert_eq!(got[HEADER..], *frame);
    }

    fn interrupts(&mut self, on: bool) {
        self.interrupts = on;
        self.write(self.rings[0].base + 0x4000, &u16::from(!on).to_le_bytes());
    }

    fn finish(mut self) {
        until("the rest of the frames", || {
            self.receive(32);
            self.rings[1].offered.is_empty()
        });
        assert!(self.coming.is_empty(), "frames are missing");
        let Self { front, port, .. } = self;
        drop(front);
        port.wait_detached();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ring_does_what_the_model_says(steps in steps(), first in prop_oneof![Just(0_u16), any::<u16>(), 65_500..=u16::MAX]) {
        let directory = tempfile::tempdir().unwrap();
        let mut model = Model::new(&directory.path().join("s"), first);
        for step in steps {
            match step {
                Step::Send { length, cuts, flags } => model.send(length, &cuts, flags),
                Step::Post { pieces } => model.post(&pieces),
                Step::Receive { most } => model.receive(most),
                Step::Give { lengths } => model.give(&lengths),
                Step::Interrupts(on) => model.interrupts(on),
            }
        }
        model.finish();
        assert_no_leak();
    }
}
