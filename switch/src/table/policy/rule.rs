//! One rule: with whom, at which ports, and what it says. In the form in which it is asked: sets by number, prefixes and
//! ports as ranges in order.

use std::net::IpAddr;

use shunt_config::IpNet;

use super::{Asked, Identity};

/// What a rule says of what fits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It passes.
    Allow,
    /// It does not.
    Deny,
    /// The policies of namespaces decide.
    Pass,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What it says.
    pub action: Action,
    /// With whom.
    pub peers: Peers,
    /// At which ports of the receiver.
    pub ports: Ports,
}

impl Rule {
    /// True when it is about what is asked.
    #[inline]
    pub fn fits(&self, asked: &Asked<'_>) -> bool {
        self.ports.fit(asked) && self.peers.fit(asked)
    }
}

/// Peers of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Peers {
    /// Everybody.
    any: bool,
    /// Sets of pods, by number.
    sets: Box<[u32]>,
    /// First and last addresses, apart from each other and in order.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Peers {
    /// Everybody.
    pub fn everybody() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// The pods in `sets`, and what is in one of `blocks`: a prefix without the prefixes beside it.
    pub fn new<'b>(sets: Vec<u32>, blocks: impl IntoIterator<Item = (IpNet, &'b [IpNet])>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (net, except) in blocks {
            match net {
                IpNet::V4(net) => {
                    let holes = except.iter().filter_map(|hole| match hole {
                        IpNet::V4(hole) => Some((hole.network().to_bits(), hole.broadcast().to_bits())),
                        IpNet::V6(_) => None,
                    });
                    v4.extend(without((net.network().to_bits(), net.broadcast().to_bits()), holes));
                }
                IpNet::V6(net) => {
                    let holes = except.iter().filter_map(|hole| match hole {
                        IpNet::V6(hole) => Some((hole.network().to_bits(), hole.broadcast().to_bits())),
                        IpNet::V4(_) => None,
                    });
                    v6.extend(without((net.network().to_bits(), net.broadcast().to_bits()), holes));
                }
            }
        }
        let mut sets = sets;
        sets.sort_unstable();
        sets.dedup();
        Self { any: false, sets: sets.into(), v4: joined(v4), v6: joined(v6) }
    }

    /// Numbers of the sets.
    pub fn sets(&self) -> &[u32] {
        &self.sets
    }

    #[inline]
    fn fit(&self, asked: &Asked<'_>) -> bool {
        let known =
            |identity: &Identity| self.sets.iter().any(|set| identity.sets.binary_search(set).is_ok());
        self.any
            || asked.peer_identity.is_some_and(known)
            || match asked.peer {
                IpAddr::V4(address) => within(&self.v4, address.to_bits()),
                IpAddr::V6(address) => within(&self.v6, address.to_bits()),
            }
    }
}

/// Ports of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ports {
    /// Everything, also what has no ports.
    any: bool,
    /// Protocol, first and last port; of one protocol apart from each other, in order.
    ranges: Box<[(u8, u16, u16)]>,
    /// Names by number, with the protocol.
    names: Box<[(u32, u8)]>,
}

impl Ports {
    /// Everything.
    pub fn all() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// Ranges of ports, each of a protocol, and ports that the receiver calls by one of `names`.
    pub fn new(mut ranges: Vec<(u8, u16, u16)>, names: Vec<(u32, u8)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u8, u16, u16)> = Vec::with_capacity(ranges.len());
        for (protocol, first, last) in ranges {
            match merged.last_mut() {
                Some(before) if before.0 == protocol && u32::from(first) <= u32::from(before.2) + 1 => {
                    before.2 = before.2.max(last);
                }
                _ => merged.push((protocol, first, last)),
            }
        }
        Self { any: false, ranges: merged.into(), names: names.into() }
    }

    #[inline]
    fn fit(&self, asked: &Asked<'_>) -> bool {
        if self.any {
            return true;
        }
        let Some(port) = asked.port else {
            // Of a protocol as a whole.
            return self.ranges.contains(&(asked.protocol, 0, u16::MAX));
        };
        let key = (asked.protocol, port);
        let after = self.ranges.partition_point(|(protocol, first, _)| (*protocol, *first) <= key);
        let range = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        range.is_some_and(|(protocol, _, last)| *protocol == asked.protocol && port <= *last)
            || self.names.iter().any(|(name, protocol)| {
                let called = |ports: &Identity| {
                    ports.ports.iter().any(|it| (it.name, it.protocol, it.port) == (*name, *protocol, port))
                };
                *protocol == asked.protocol && asked.receiver.is_some_and(called)
            })
    }
}

/// What is left of a range when `holes` are taken out.
fn without<T: Number>(whole: (T, T), holes: impl Iterator<Item = (T, T)>) -> Vec<(T, T)> {
    let mut left = vec![whole];
    for (first, last) in holes {
        let mut next = Vec::with_capacity(left.len() + 1);
        for (low, high) in left {
            if last < low || first > high {
                next.push((low, high));
                continue;
            }
            if low < first {
                next.push((low, first.before()));
            }
            if last < high {
                next.push((last.after(), high));
            }
        }
        left = next;
    }
    left
}

/// The same addresses as ranges that do not touch, in order.
fn joined<T: Number>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut joined: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1 || first == before.1.after() => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined.into()
}

#[inline]
fn within<T: Number>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| address <= *last)
}

/// An address as a number.
trait Number: Copy + Ord {
    /// The one below; only asked where there is one.
    fn before(self) -> Self;
    /// The one above; of the greatest, itself.
    fn after(self) -> Self;
}

impl Number for u32 {
    fn before(self) -> Self {
        self.saturating_sub(1)
    }

    fn after(self) -> Self {
        self.saturating_add(1)
    }
}

impl Number for u128 {
    fn before(self) -> Self {
        self.saturating_sub(1)
    }

    fn after(self) -> Self {
        self.saturating_add(1)
    }
}
