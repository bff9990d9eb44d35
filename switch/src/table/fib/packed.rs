//! Some thousand prefixes as a search tree of cache lines.
//!
//! A tree looks at a window of the address: for IPv4 all that is left of it, for IPv6 64 bits. The prefixes cut the window's
//! range into runs with one slot each; a run is known by its last number. The lowest lines hold runs, lines above hold the
//! last number of each line below but the last, and where those begin:
//!
//! | | IPv4 | IPv6 |
//! |---|---|---|
//! | upper line | 15 numbers, place of 16 lines | 7 numbers, place of 8 lines |
//! | lowest line | 7 numbers, 8 slots | 5 numbers, 6 slots |
//!
//! A line is searched by comparing with all its numbers at once: no branch that depends on the address. Numbers that are not
//! used are the highest there is, which nothing exceeds. A slot for prefixes longer than the window leads to a tree of the
//! next window, in the same lines. A slot that leads to a tree has its height, above [`HEIGHT`], and the place of its top.

use std::net::{Ipv4Addr, Ipv6Addr};

use shunt_config::IpNet;

use super::hops::{Slot, TREE};

/// Where a tree's height begins in its slot; below is the place of its top line.
const HEIGHT: u32 = 27;

/// A prefix to be put in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<K> {
    /// The address, zeros behind the prefix.
    pub(super) key: K,
    /// Length of the prefix in bits.
    pub(super) len: u8,
    /// Its route.
    pub(super) slot: Slot,
}

/// Addresses with one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// The window's last number.
    end: u64,
    slot: Slot,
}

/// An address as a number.
pub(super) trait Key: Copy + Ord + std::fmt::Debug {
    /// A cache line of a tree.
    type Line: Copy + std::fmt::Debug;
    /// Length of an address.
    const BITS: u32;
    /// Length of a tree's window.
    const WINDOW: u32;
    /// Lines below an upper line.
    const LINES: usize;
    /// Runs in a lowest line.
    const RUNS: usize;

    /// Key and length of a prefix, if it is of this family.
    fn of(prefix: &IpNet) -> Option<(Self, u8)>;
    /// The prefix of length `len` that begins with the address.
    fn net(self, len: u8) -> IpNet;
    /// Byte number `depth`.
    fn byte(self, depth: u32) -> u8;
    /// The same with another byte number `depth`.
    fn with_byte(self, depth: u32, byte: u8) -> Self;
    /// The first address with the same `bits` bits in front.
    fn first(self, bits: u32) -> Self;
    /// The last of them.
    fn last(self, bits: u32) -> Self;
    /// The window behind `bits` bits.
    fn window(self, bits: u32) -> u64;
    /// The line below an upper line that holds window `key`.
    fn below(line: &Self::Line, key: u64) -> usize;
    /// The slot of window `key` in a lowest line.
    fn slot(line: &Self::Line, key: u64) -> Slot;
    /// A lowest line of at most [`Key::RUNS`] runs.
    fn lowest(runs: &[Run]) -> Self::Line;
    /// The line above lines that end with the runs `ends`, the first of them at `place`.
    fn upper(ends: &[Run], place: usize) -> Self::Line;
}

/// A cache line of an IPv4 tree.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Line4([u32; 16]);

impl Line4 {
    #[inline]
    fn halves(&self) -> [&[u32; 8]; 2] {
        let (halves, _) = self.0.as_chunks::<8>();
        [&halves[0], &halves[1]]
    }
}

/// How many of the numbers are less than `key`: one comparison, as it is written.
#[inline]
fn less4(numbers: &[u32; 8], key: u32) -> u32 {
    numbers.iter().map(|end| u32::from(*end < key)).sum()
}

impl Key for u32 {
    type Line = Line4;
    const BITS: u32 = 32;
    const WINDOW: u32 = 32;
    const LINES: usize = 16;
    const RUNS: usize = 8;

    fn of(prefix: &IpNet) -> Option<(Self, u8)> {
        match prefix {
            IpNet::V4(net) => Some((net.addr().to_bits(), net.prefix_len())),
            IpNet::V6(_) => None,
        }
    }

    fn net(self, len: u8) -> IpNet {
        IpNet::new_assert(Ipv4Addr::from_bits(self).into(), len)
    }

    #[inline]
    fn byte(self, depth: u32) -> u8 {
        (self >> (24 - 8 * depth)) as u8
    }

    fn with_byte(self, depth: u32, byte: u8) -> Self {
        let shift = 24 - 8 * depth;
        self & !(0xff << shift) | Self::from(byte) << shift
    }

    fn first(self, bits: u32) -> Self {
        self & !Self::MAX.checked_shr(bits).unwrap_or(0)
    }

    fn last(self, bits: u32) -> Self {
        self | Self::MAX.checked_shr(bits).unwrap_or(0)
    }

    #[inline]
    fn window(self, bits: u32) -> u64 {
        u64::from(self << bits)
    }

    #[inline]
    fn below(line: &Line4, key: u64) -> usize {
        let (key, [low, high]) = (key as u32, line.halves());
        // All sixteen, so that it is two comparisons of eight; the last one is no number.
        let less = less4(low, key) + less4(high, key) - u32::from(line.0[15] < key);
        (line.0[15] + less) as usize
    }

    #[inline]
    fn slot(line: &Line4, key: u64) -> Slot {
        let [numbers, slots] = line.halves();
        slots[less4(numbers, key as u32) as usize & 7]
    }

    fn lowest(runs: &[Run]) -> Line4 {
        let mut line = [Self::MAX; 16];
        for (index, run) in runs.iter().enumerate() {
            // The last run ends where the line above says; the eighth number is never less.
            if index < 7 {
                line[index] = run.end as u32;
            }
            line[8 + index] = run.slot;
        }
        line[8 + runs.len()..].fill(runs.last().map_or(0, |run| run.slot));
        Line4(line)
    }

    fn upper(ends: &[Run], place: usize) -> Line4 {
        let mut line = [Self::MAX; 16];
        for (number, run) in line.iter_mut().zip(&ends[..ends.len() - 1]) {
            *number = run.end as u32;
        }
        line[15] = place as u32;
        Line4(line)
    }
}

/// A cache line of an IPv6 tree.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Line6([u64; 8]);

impl Line6 {
    #[inline]
    fn halves(&self) -> [&[u64; 4]; 2] {
        let (halves, _) = self.0.as_chunks::<4>();
        [&halves[0], &halves[1]]
    }
}

/// As [`less4`].
#[inline]
fn less6(numbers: &[u64; 4], key: u64) -> u64 {
    numbers.iter().map(|end| u64::from(*end < key)).sum()
}

impl Key for u128 {
    type Line = Line6;
    const BITS: u32 = 128;
    const WINDOW: u32 = 64;
    const LINES: usize = 8;
    const RUNS: usize = 6;

    fn of(prefix: &IpNet) -> Option<(Self, u8)> {
        match prefix {
            IpNet::V6(net) => Some((net.addr().to_bits(), net.prefix_len())),
            IpNet::V4(_) => None,
        }
    }

    fn net(self, len: u8) -> IpNet {
        IpNet::new_assert(Ipv6Addr::from_bits(self).into(), len)
    }

    #[inline]
    fn byte(self, depth: u32) -> u8 {
        (self >> (120 - 8 * depth)) as u8
    }

    fn with_byte(self, depth: u32, byte: u8) -> Self {
        let shift = 120 - 8 * depth;
        self & !(0xff << shift) | Self::from(byte) << shift
    }

    fn first(self, bits: u32) -> Self {
        self & !Self::MAX.checked_shr(bits).unwrap_or(0)
    }

    fn last(self, bits: u32) -> Self {
        self | Self::MAX.checked_shr(bits).unwrap_or(0)
    }

    #[inline]
    fn window(self, bits: u32) -> u64 {
        ((self << bits) >> 64) as u64
    }

    #[inline]
    fn below(line: &Line6, key: u64) -> usize {
        let [low, high] = line.halves();
        let less = less6(low, key) + less6(high, key) - u64::from(line.0[7] < key);
        (line.0[7] + less) as usize
    }

    #[inline]
    fn slot(line: &Line6, key: u64) -> Slot {
        let less = (less6(line.halves()[0], key) + u64::from(line.0[4] < key)) as usize;
        // Two slots in each of the last three words.
        (line.0[(5 + less / 2) & 7] >> (32 * (less % 2))) as Slot
    }

    fn lowest(runs: &[Run]) -> Line6 {
        let mut line = [u64::MAX; 8];
        line[5..].fill(0);
        let last = runs.last().map_or(0, |run| run.slot);
        for index in 0..6 {
            let run = runs.get(index);
            if let (Some(run), 0..5) = (run, index) {
                line[index] = run.end;
            }
            line[5 + index / 2] |= u64::from(run.map_or(last, |run| run.slot)) << (32 * (index % 2));
        }
        Line6(line)
    }

    fn upper(ends: &[Run], place: usize) -> Line6 {
        let mut line = [u64::MAX; 8];
        for (number, run) in line.iter_mut().zip(&ends[..ends.len() - 1]) {
            *number = run.end;
        }
        line[7] = place as u64;
        Line6(line)
    }
}

/// The slot of `key`, of which the tree `tree` looks at what is behind `bits` bits.
#[inline]
pub(super) fn get<K: Key>(lines: &[K::Line], mut tree: Slot, key: K, mut bits: u32) -> Slot {
    loop {
        let window = key.window(bits);
        let mut at = (tree & ((1 << HEIGHT) - 1)) as usize;
        for _ in 0..(tree & !TREE) >> HEIGHT {
            at = K::below(&lines[at], window);
        }
        let slot = K::slot(&lines[at], window);
        // Ends: behind the last window there are no longer prefixes.
        if slot & TREE == 0 {
            return slot;
        }
        (tree, bits) = (slot, bits + K::WINDOW);
    }
}

/// Puts in a tree of `items`, which are sorted by key, then length, and all longer than the `bits` bits they share; `around`
/// is the slot of addresses that none of them contains.
pub(super) fn build<K: Key>(lines: &mut Vec<K::Line>, items: &[Item<K>], bits: u32, around: Slot) -> Slot {
    let runs = runs(lines, items, bits, around);
    let mut place = lines.len();
    lines.extend(runs.chunks(K::RUNS).map(K::lowest));
    let last = |chunk: &[Run]| chunk[chunk.len() - 1];
    let mut ends: Vec<Run> = runs.chunks(K::RUNS).map(last).collect();
    let mut height = 0;
    while ends.len() > 1 {
        let above = lines.len();
        let groups = ends.chunks(K::LINES).enumerate();
        lines.extend(groups.map(|(index, group)| K::upper(group, place + index * K::LINES)));
        ends = ends.chunks(K::LINES).map(last).collect();
        (place, height) = (above, height + 1);
    }
    assert!(place < 1 << HEIGHT && height < 1 << (31 - HEIGHT), "a tree of more than 2^27 lines");
    TREE | height << HEIGHT | place as Slot
}

/// Cuts the window behind `bits` bits into runs.
fn runs<K: Key>(lines: &mut Vec<K::Line>, items: &[Item<K>], bits: u32, around: Slot) -> Vec<Run> {
    let highest = u64::MAX >> (64 - K::WINDOW);
    let mut runs: Vec<Run> = Vec::with_capacity(2 * items.len() + 1);
    // The prefixes that the next one may lie in, the longest last.
    let mut open: Vec<Run> = vec![Run { end: highest, slot: around }];
    let mut rest = items;
    while let [first, ..] = rest {
        let (start, len) = (first.key.window(bits), u32::from(first.len) - bits);
        while let [.., inner] = open[..]
            && inner.end < start
        {
            emit(&mut runs, inner);
            open.pop();
        }
        // The first one ends with the window, so there is always one.
        let outer = open.last().map_or(around, |run| run.slot);
        if let Some(end) = start.checked_sub(1) {
            emit(&mut runs, Run { end, slot: outer });
        }
        if len > K::WINDOW {
            let same = rest.partition_point(|item| item.key.window(bits) == start);
            let slot = build(lines, &rest[..same], bits + K::WINDOW, outer);
            open.push(Run { end: start, slot });
            rest = &rest[same..];
        } else {
            let end = start | (highest.checked_shr(len).unwrap_or(0));
            open.push(Run { end, slot: first.slot });
            rest = &rest[1..];
        }
    }
    while let Some(run) = open.pop() {
        emit(&mut runs, run);
    }
    runs
}

/// Adds a run that begins behind the last one; runs with the same slot are one.
fn emit(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.end >= run.end => {}
        Some(last) if last.slot == run.slot => last.end = run.end,
        _ => runs.push(run),
    }
}
