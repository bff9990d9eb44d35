//! The rows of a table in order, in pieces that versions of the table share: a version with one row more copies one piece
//! and the list of pieces.

use std::sync::Arc;

use shunt_config::IpNet;

use super::{Route, Row};

/// Rows in one piece at most; a piece that grows beyond is cut in two.
const PIECE: usize = 512;

/// Rows sorted by prefix, each prefix once.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// None is empty.
    pieces: Vec<Arc<Vec<Row>>>,
    len: usize,
}

impl Rows {
    /// The rows of a sorted list without duplicates.
    pub(super) fn of_sorted(rows: &[Row]) -> Self {
        // Half full: room to grow.
        let pieces = rows.chunks(PIECE / 2).map(|piece| Arc::new(piece.to_vec())).collect();
        Self { pieces, len: rows.len() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }

    /// The piece that holds `prefix` if any does.
    fn piece(&self, prefix: IpNet) -> usize {
        self.pieces.partition_point(|piece| piece[0].prefix <= prefix).saturating_sub(1)
    }

    /// The route of exactly `prefix`.
    pub(super) fn get(&self, prefix: IpNet) -> Option<Route> {
        let piece = self.pieces.get(self.piece(prefix))?;
        let place = piece.binary_search_by_key(&prefix, |row| row.prefix).ok()?;
        Some(piece[place].route)
    }

    /// The rows from `first` to `last`, both included.
    pub(super) fn range(&self, first: IpNet, last: IpNet) -> impl Iterator<Item = &Row> {
        let from = self.piece(first);
        let behind = self.pieces[from.min(self.pieces.len())..].iter();
        behind.take_while(move |piece| piece[0].prefix <= last).flat_map(move |piece| {
            let begin = piece.partition_point(|row| row.prefix < first);
            let end = piece.partition_point(|row| row.prefix <= last);
            piece[begin..end].iter()
        })
    }

    /// Gives `prefix` a route, or takes it out.
    pub(super) fn set(&mut self, prefix: IpNet, route: Option<Route>) {
        let index = self.piece(prefix);
        let Some(piece) = self.pieces.get_mut(index) else {
            if let Some(route) = route {
                self.pieces.push(Arc::new(vec![Row { prefix, route }]));
                self.len = 1;
            }
            return;
        };
        match (piece.binary_search_by_key(&prefix, |row| row.prefix), route) {
            (Ok(place), Some(route)) => Arc::make_mut(piece)[place].route = route,
            (Ok(place), None) => {
                Arc::make_mut(piece).remove(place);
                self.len -= 1;
                if piece.is_empty() {
                    self.pieces.remove(index);
                }
            }
            (Err(place), Some(route)) => {
                let rows = Arc::make_mut(piece);
                rows.insert(place, Row { prefix, route });
                self.len += 1;
                if rows.len() > PIECE {
                    let behind = rows.split_off(PIECE / 2);
                    self.pieces.insert(index + 1, Arc::new(behind));
                }
            }
            (Err(_), None) => {}
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.capacity() * size_of::<Row>()).sum()
    }

    /// How many pieces there are.
    #[cfg(test)]
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// How many of them `other` has, too.
    #[cfg(test)]
    pub(super) fn shared_with(&self, other: &Self) -> usize {
        let known = |piece: &&Arc<Vec<Row>>| other.pieces.iter().any(|other| Arc::ptr_eq(piece, other));
        self.pieces.iter().filter(known).count()
    }
}
