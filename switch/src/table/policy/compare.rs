//! Of which addresses two tables say something else: decisions about others are as right under the one as under the other.
//!
//! A judgement is a function of the packet, the identities of both ends and the node's own addresses, so equal identities
//! judge alike. That few differ is owed to [`crate::policy::Resolver`], which keeps the numbers of sets and names.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::Policies;

impl Policies {
    /// True when both have the same addresses and ports of the node.
    pub fn has_node_of(&self, other: &Self) -> bool {
        self.node == other.node && self.node_ports == other.node_ports
    }

    /// Calls `note` with every address of which `after` says something else. Cost: one pass over both tables; each pair of
    /// identities is compared once.
    pub fn compare(&self, after: &Self, mut note: impl FnMut(IpAddr)) {
        let mut alike = Alike { before: self, after, known: HashMap::new() };
        merge(&self.v4, &after.v4, &mut alike, |address| note(IpAddr::from(address.to_be_bytes())));
        merge(&self.v6, &after.v6, &mut alike, |address| note(IpAddr::from(address.to_be_bytes())));
    }
}

/// Which identities of two tables are equal, by their places.
struct Alike<'t> {
    before: &'t Policies,
    after: &'t Policies,
    known: HashMap<(u32, u32), bool>,
}

impl Alike<'_> {
    fn are(&mut self, before: u32, after: u32) -> bool {
        let one = self.before.identities.get(before as usize);
        let other = self.after.identities.get(after as usize);
        match (one, other) {
            (Some(one), Some(other)) => {
                Arc::ptr_eq(one, other) || *self.known.entry((before, after)).or_insert_with(|| one == other)
            }
            _ => false,
        }
    }
}

/// Both lists are in order; calls `note` with what is in one alone, and with what is not alike.
fn merge<T: Copy + Ord>(
    before: &[(T, u32)],
    after: &[(T, u32)],
    alike: &mut Alike<'_>,
    mut note: impl FnMut(T),
) {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some(one), Some(other)) if one.0 == other.0 => {
                if !alike.are(one.1, other.1) {
                    note(one.0);
                }
                old.next();
                new.next();
            }
            (Some(one), Some(other)) if one.0 < other.0 => {
                note(one.0);
                old.next();
            }
            (_, Some(other)) => {
                note(other.0);
                new.next();
            }
            (Some(one), None) => {
                note(one.0);
                old.next();
            }
            (None, None) => return,
        }
    }
}
