//! One byte of the address told apart by a plain table of 256 places.
//!
//! A place has the route of the longest prefix that ends with this byte, and what is known of longer prefixes: nothing, a
//! tree of them ([`super::packed`]), or, when they are many, a table of the next byte. A tree or table says [`NONE`] where
//! its prefixes do not reach, and the route of the place counts: so a short prefix that comes or goes changes a few places
//! and no tree, however many prefixes lie inside it.

use std::sync::Arc;

use super::hops::{Hops, NONE, Slot};
use super::packed::{self, Item, Key};
use super::rows::Rows;
use super::{Route, Row};

/// Longer prefixes at one place than this get a table. A tree is remade when one of its prefixes changes: some 100 us.
const MANY: usize = 4096;

/// A table of one byte.
#[derive(Clone, Debug)]
pub(super) struct Table<K: Key> {
    routes: [Slot; 256],
    longer: [Longer<K>; 256],
}

/// The prefixes that go on behind a place's byte.
#[derive(Clone, Debug)]
enum Longer<K: Key> {
    Nothing,
    /// A tree in its lines.
    Packed(Slot, Arc<[K::Line]>),
    Table(Arc<Table<K>>),
}

/// `rows`, all of the family of `K`, as trees and tables take them.
pub(super) fn items<'r, K: Key>(rows: impl IntoIterator<Item = &'r Row>, hops: &mut Hops) -> Vec<Item<K>> {
    let mut last: Option<(Route, Slot)> = None;
    let item = |row: &Row| {
        // Neighbouring rows often go the same way.
        let slot = match last {
            Some((route, slot)) if route == row.route => slot,
            _ => last.insert((row.route, hops.slot(row.route))).1,
        };
        let (key, len) = K::of(&row.prefix)?;
        Some(Item { key, len, slot })
    };
    rows.into_iter().filter_map(item).collect()
}

impl<K: Key> Table<K> {
    /// The table of byte `depth`. `items` are sorted by key, then length, and have the same bytes before; all but the
    /// shortest of all, at depth 0, go on behind those.
    pub(super) fn build(items: &[Item<K>], depth: u32) -> Self {
        let mut table = Self { routes: [NONE; 256], longer: [const { Longer::Nothing }; 256] };
        let mut rest = items;
        while let [first, ..] = rest {
            let (place, end) = (usize::from(first.key.byte(depth)), 8 * (depth + 1));
            let len = u32::from(first.len);
            if len <= end {
                // A prefix comes before those it contains, which then write over it.
                table.routes[place..place + (1 << (end - len))].fill(first.slot);
                rest = &rest[1..];
                continue;
            }
            let same = rest.partition_point(|item| usize::from(item.key.byte(depth)) == place);
            let (inner, behind) = rest.split_at(same);
            table.longer[place] = Longer::build(inner, depth + 1);
            rest = behind;
        }
        table
    }

    /// The slot of the longest prefix of `key`.
    #[inline]
    pub(super) fn get(&self, key: K) -> Slot {
        let (mut table, mut depth, mut best) = (self, 0, NONE);
        loop {
            let place = usize::from(key.byte(depth));
            let better = |slot, best| if slot == NONE { best } else { slot };
            best = better(table.routes[place], best);
            depth += 1;
            match &table.longer[place] {
                Longer::Nothing => return best,
                Longer::Packed(tree, lines) => {
                    return better(packed::get(lines, *tree, key, 8 * depth), best);
                }
                Longer::Table(next) => table = next,
            }
        }
    }

    /// Makes the table of byte `depth` right again after `rows` changed at prefix (`key`, `len`).
    pub(super) fn refresh(&mut self, depth: u32, (key, len): (K, u8), rows: &Rows, hops: &mut Hops) {
        let (place, end) = (usize::from(key.byte(depth)), 8 * (depth + 1));
        if u32::from(len) <= end {
            return self.repaint(depth, (key, len), rows, hops);
        }
        let from = key.first(end);
        if let Longer::Table(table) = &mut self.longer[place] {
            // Far below the number at which it became one, so that it does not change with each route.
            if within(rows, from, end).nth(MANY / 2).is_some() {
                return Arc::make_mut(table).refresh(depth + 1, (key, len), rows, hops);
            }
        }
        self.longer[place] = Longer::build(&items(within(rows, from, end), hops), depth + 1);
    }

    /// Writes the routes of the places inside a prefix that ends with byte `depth`.
    fn repaint(&mut self, depth: u32, (key, len): (K, u8), rows: &Rows, hops: &mut Hops) {
        let (begin, end) = ((8 * depth) as u8, (8 * (depth + 1)) as u8);
        let place = usize::from(key.byte(depth));
        // At depth 0 length 0 is one of its own.
        let shortest = if depth == 0 { 0 } else { begin + 1 };
        self.routes[place..place + (1 << (end - len))].fill(NONE);
        for length in shortest..=end {
            let (step, first) = (1_usize << (end - length), key.first(u32::from(length)));
            // One prefix around the changed one, or all inside it.
            let count = 1_usize << length.saturating_sub(len);
            for number in 0..count {
                let at = usize::from(first.byte(depth)) + number * step;
                let Some(route) = rows.get(first.with_byte(depth, at as u8).net(length)) else { continue };
                let inside = at.max(place)..(at + step).min(place + (1 << (end - len)));
                self.routes[inside].fill(hops.slot(route));
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let longer = self.longer.iter().map(|longer| match longer {
            Longer::Nothing => 0,
            Longer::Packed(_, lines) => size_of_val(&**lines),
            Longer::Table(table) => table.bytes(),
        });
        size_of::<Self>() + longer.sum::<usize>()
    }
}

/// The rows longer than `end` bits that begin with the first `end` bits of `key`.
fn within<K: Key>(rows: &Rows, key: K, end: u32) -> impl Iterator<Item = &Row> {
    rows.range(key.net((end + 1) as u8), key.last(end).net(K::BITS as u8))
}

impl<K: Key> Longer<K> {
    /// Of `items`, which have the same `depth` bytes and go on behind them.
    fn build(items: &[Item<K>], depth: u32) -> Self {
        match items.len() {
            0 => Self::Nothing,
            // The last byte has no longer prefixes, so a table ends there at the latest.
            n if n > MANY => Self::Table(Arc::new(Table::build(items, depth))),
            _ => {
                let mut lines = Vec::new();
                let tree = packed::build(&mut lines, items, 8 * depth, NONE);
                Self::Packed(tree, lines.into())
            }
        }
    }
}
