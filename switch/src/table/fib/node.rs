//! Trie nodes packed into cache lines: 256 slots, each a route or another node, runs of equal slots stored once.
//!
//! | words | hold |
//! |---|---|
//! | 0..8 | one bit per slot, set where a run begins |
//! | 8..10 | eight bytes: how many runs begin before each of those eight words |
//! | 10..16 | IPv6 only: the bits all prefixes share (4 words), how many (whole bytes; the next is looked at), the route of addresses without them |
//! | then | one word per run |
//!
//! An IPv6 node for one prefix alone has all its bits in words 10..16, [`SINGLE`] beside their number, and its route in word 0.

/// A route (as [`super::Fib`] encodes it) or, with [`CHILD`], the line where a node begins.
pub(super) type Slot = u32;

/// Marks a slot that leads to a node.
pub(super) const CHILD: Slot = 1 << 31;
/// The slot of addresses without a route.
pub(super) const NONE: Slot = 0;

const COUNTS: usize = 8;
const PREFIX: usize = 10;
/// Where the runs of an IPv4 node begin.
pub(super) const PLAIN: usize = PREFIX;
/// Where the runs of an IPv6 node begin.
const SKIPPING: usize = 16;

/// Marks the number of bits of an IPv6 node that stands for one prefix.
const SINGLE: u32 = 1 << 8;

/// One cache line of nodes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Line([u32; 16]);

/// A prefix to be put in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// The address, from the highest bit, zeros behind the prefix.
    pub(super) key: u128,
    /// Length of the prefix in bits.
    pub(super) len: u32,
    /// Its route.
    pub(super) leaf: Slot,
}

/// Byte number `depth` of `key`.
#[inline]
fn byte(key: u128, depth: u32) -> u8 {
    (key >> (120 - 8 * depth)) as u8
}

/// The slot of `byte` in the node at `at`, whose runs begin with word `first`.
#[inline]
pub(super) fn select(lines: &[Line], at: Slot, byte: u8, first: usize) -> Slot {
    let at = (at & !CHILD) as usize;
    let line = &lines[at].0;
    let (word, bit) = (usize::from(byte >> 5), byte & 31);
    let before = line[COUNTS + word / 4] >> (8 * (word % 4)) & 0xff;
    let here = (line[word] & u32::MAX >> (31 - bit)).count_ones();
    // A run begins with slot 0, so the sum is at least 1.
    let place = first + (before + here) as usize - 1;
    lines[at + place / 16].0[place % 16]
}

/// The slot of `key` in the IPv6 node at `at`.
#[inline]
pub(super) fn descend(lines: &[Line], at: Slot, key: u128) -> Slot {
    let line = &lines[(at & !CHILD) as usize].0;
    let [leaf, .., a, b, c, d, shared, around] = *line;
    let prefix = u128::from(a) << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(d);
    if (key ^ prefix).leading_zeros() < shared & !SINGLE {
        return around;
    }
    if shared & SINGLE != 0 {
        return leaf;
    }
    select(lines, at, byte(key, shared / 8), SKIPPING)
}

/// The 256 slots of a node that looks at byte `depth`. `items` are sorted by key, then length; all have the same bytes
/// before `depth` and more bits than those. `around` is the route of addresses that none of them contains. Prefixes that
/// go on behind the byte are given to `child`, with the route around them.
pub(super) fn paint(
    items: &[Item],
    depth: u32,
    around: Slot,
    child: &mut impl FnMut(&[Item], Slot) -> Slot,
) -> [Slot; 256] {
    let mut slots = [around; 256];
    let mut rest = items;
    while let [first, ..] = rest {
        let (from, end) = (usize::from(byte(first.key, depth)), 8 * (depth + 1));
        if first.len <= end {
            // A prefix comes before those it contains, which then paint over it.
            slots[from..from + (1 << (end - first.len))].fill(first.leaf);
            rest = &rest[1..];
            continue;
        }
        let same = rest.partition_point(|item| usize::from(byte(item.key, depth)) == from);
        let (inner, behind) = rest.split_at(same);
        slots[from] = child(inner, slots[from]);
        rest = behind;
    }
    slots
}

/// Puts in an IPv4 node that looks at byte `depth`.
pub(super) fn plain(lines: &mut Vec<Line>, items: &[Item], depth: u32, around: Slot) -> Slot {
    let slots = paint(items, depth, around, &mut |inner, around| plain(lines, inner, depth + 1, around));
    push(lines, &[], &slots)
}

/// Puts in an IPv6 node for `items`, which have the same bytes before `depth`; it looks at the first byte in which they
/// differ, or in which one of them ends. Without items, the route around them.
pub(super) fn skipping(lines: &mut Vec<Line>, items: &[Item], depth: u32, around: Slot) -> Slot {
    let (Some(first), Some(last)) = (items.first(), items.last()) else { return around };
    if let [only] = items {
        return single(lines, only, around);
    }
    // What the first and the last of a sorted list share, all share.
    let common = (first.key ^ last.key).leading_zeros() / 8;
    let shortest = items.iter().map(|item| item.len).min().unwrap_or(0);
    let at = common.min(shortest.saturating_sub(1) / 8);
    debug_assert!(at >= depth, "the items share {depth} bytes and go on behind them");
    let slots = paint(items, at, around, &mut |inner, around| skipping(lines, inner, at + 1, around));
    push(lines, &head(first.key & !(u128::MAX >> (8 * at)), 8 * at, around), &slots)
}

fn single(lines: &mut Vec<Line>, item: &Item, around: Slot) -> Slot {
    let mut line = Line([0; 16]);
    line.0[0] = item.leaf;
    line.0[PREFIX..].copy_from_slice(&head(item.key, item.len | SINGLE, around));
    lines.push(line);
    CHILD | (lines.len() - 1) as Slot
}

/// Words 10..16 of an IPv6 node.
fn head(prefix: u128, shared: u32, around: Slot) -> [u32; SKIPPING - PREFIX] {
    let word = |shift: u32| (prefix >> shift) as u32;
    [word(96), word(64), word(32), word(0), shared, around]
}

/// Packs a node; gives the slot that leads to it.
fn push(lines: &mut Vec<Line>, head: &[u32], slots: &[Slot; 256]) -> Slot {
    // Where runs begin, 32 slots at a time and without branches.
    let mut bits = [0_u32; 8];
    let mut before = !slots[0];
    for (word, part) in bits.iter_mut().zip(slots.as_chunks::<32>().0) {
        for (bit, slot) in part.iter().enumerate() {
            *word |= u32::from(*slot != before) << bit;
            before = *slot;
        }
    }
    let first = PREFIX + head.len();
    let (at, runs) = (lines.len(), bits.iter().map(|word| word.count_ones() as usize).sum::<usize>());
    assert!(at < CHILD as usize, "more nodes than 2^31 lines");
    lines.resize(at + (first + runs).div_ceil(16), Line([0; 16]));
    let line = &mut lines[at].0;
    line[..COUNTS].copy_from_slice(&bits);
    line[PREFIX..first].copy_from_slice(head);
    let mut place = first;
    for (index, mut word) in bits.into_iter().enumerate() {
        // Before the last word there are at most 7 * 32 runs: one byte.
        lines[at].0[COUNTS + index / 4] |= ((place - first) as u32) << (8 * (index % 4));
        while word != 0 {
            lines[at + place / 16].0[place % 16] = slots[index * 32 + word.trailing_zeros() as usize];
            place += 1;
            word &= word - 1;
        }
    }
    CHILD | at as Slot
}
