//! Going through the table without stopping a worker: to end what was silent for too long, and to list.
//!
//! Both go by slots, in slices: a slice of 4,096 takes some 50 us of the caller's time, and workers notice nothing but
//! a bucket that is held while a connection of it is removed.

use super::connection::{ConnRef, Connection, Direction};
use super::slots::Stock;
use super::table::{Removal, Table};
use super::timeouts::ByZone;

/// What a slice of a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Where the next slice starts; `None` at the end of the table.
    pub next: Option<usize>,
    /// Connections that are live after it, in the slots that were looked at.
    pub live: usize,
    /// Connections that were ended.
    pub ended: usize,
    /// Connections that could not be ended yet because somebody else was at the same place.
    pub busy: usize,
}

impl Table {
    /// Ends the connections in `budget` slots from `from` on that have been silent for too long at second `now` on the workers' clock.
    /// `ended` gets each as it was at the end.
    ///
    /// While less than an eighth of the table is free, connections that are not answered yet or on their way out get less time:
    /// the less the fuller it is, down to a second when a 32nd is free.
    pub fn sweep(
        &self,
        stock: &mut Stock,
        from: usize,
        budget: usize,
        now: u32,
        timeouts: &ByZone,
        mut ended: impl FnMut(&Connection),
    ) -> Swept {
        let end = self.records.len().min(from.saturating_add(budget));
        let mut swept = Swept { next: (end < self.records.len()).then_some(end), ..Swept::default() };
        let hurry = self.hurry();
        for slot in from..end {
            let Some(record) = self.records.get(slot) else {
                break;
            };
            let life = record.life();
            let Some(generation) = life.live() else {
                continue;
            };
            let mut patience = timeouts.of(&record.original(), life.state());
            if life.state().is_fleeting() {
                patience = hurry.shorten(patience);
            }
            // A worker's clock may be ahead of the caller's. The life's line has just been read; the other one only if it matters.
            let recent = |direction| now.saturating_sub(record.seen_by(direction)) < patience;
            if recent(Direction::Reply) || recent(Direction::Original) {
                swept.live += 1;
                continue;
            }
            match self.remove(stock, ConnRef { slot: slot as u32, generation }) {
                Removal::Removed(last) => {
                    swept.ended += 1;
                    ended(&last);
                }
                Removal::Gone => {}
                Removal::Busy => swept.busy += 1,
            }
        }
        swept
    }

    /// Copies live connections from slot `from` on to `into`, as many as fit its capacity, and looks at `budget` slots at most.
    /// Returns where to go on; `None` at the end. A connection that lives all the time is in the list once; of those that
    /// come and go meanwhile some are.
    pub fn list(&self, from: usize, budget: usize, into: &mut Vec<Connection>) -> Option<usize> {
        let end = self.records.len().min(from.saturating_add(budget));
        for slot in from..end {
            if into.len() == into.capacity() {
                return Some(slot);
            }
            let record = self.records.get(slot)?;
            let Some(generation) = record.life().live() else {
                continue;
            };
            into.extend(record.copy(ConnRef { slot: slot as u32, generation }));
        }
        (end < self.records.len()).then_some(end)
    }

    fn hurry(&self) -> Hurry {
        let (tight, tightest) = (self.capacity() / 8, self.capacity() / 32);
        let left = self.free().clamp(tightest, tight.max(tightest)) - tightest;
        Hurry { left: left as u64, of: (tight - tightest).max(1) as u64, is_on: self.free() < tight }
    }
}

/// By how much the patience with fleeting connections is shortened: to `left / of`.
#[derive(Clone, Copy, Debug)]
struct Hurry {
    left: u64,
    of: u64,
    is_on: bool,
}

impl Hurry {
    fn shorten(self, patience: u32) -> u32 {
        if !self.is_on {
            return patience;
        }
        ((u64::from(patience) * self.left / self.of) as u32).clamp(1, patience.max(1))
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::state::Timeouts;
    use crate::state::tuple::Parts;
    use crate::state::{Insert, Limits, New, Opening, Size, State, Touch, Tuple};
    use crate::wire::protocol::{ICMP, UDP};

    fn tuple(protocol: u8, port: u16) -> Tuple {
        let (source_port, destination_port) = match protocol {
            ICMP => (port, 8 << 8),
            UDP => (port, 53),
            _ => (0, 0),
        };
        Tuple::new(&Parts {
            zone: 0,
            protocol,
            source: [10, 0, (port >> 8) as u8, port as u8].into(),
            destination: [10, 1, 0, 1].into(),
            source_port,
            destination_port,
        })
        .unwrap()
    }

    fn insert(table: &Table, stock: &mut Stock, original: Tuple, now: u32) -> ConnRef {
        let opening = Opening::untracked(&original).unwrap();
        let new = New { original, reply: original.reversed(), opening, rule: 0, now };
        let Insert::Created(conn) = table.insert(stock, &new) else { panic!("no room") };
        conn
    }

    fn sweep(table: &Table, stock: &mut Stock, now: u32) -> Vec<ConnRef> {
        let (mut ended, mut from) = (Vec::new(), Some(0));
        while let Some(start) = from {
            let swept = table.sweep(stock, start, 100, now, &ByZone::default(), |last| ended.push(last.conn));
            from = swept.next;
        }
        ended
    }

    #[test]
    fn each_ends_after_its_own_time() {
        let table = Table::new(Size { capacity: 64, threads: 1, limits: Limits::NONE }, 4).unwrap();
        let mut stock = Stock::default();
        let cases = [(UDP, false, 30), (UDP, true, 120), (ICMP, true, 30), (47, false, 600)];
        for (port, (protocol, replied, patience)) in cases.into_iter().enumerate() {
            let conn = insert(&table, &mut stock, tuple(protocol, port as u16), 1000);
            if replied {
                assert_eq!(table.touch(conn, Direction::Reply, 1005, 1, 100), Touch::Done);
            }
            let last = 1000 + if replied { 5 } else { 0 };
            assert_eq!(sweep(&table, &mut stock, last + patience - 1), [], "{protocol}");
            assert_eq!(sweep(&table, &mut stock, last + patience), [conn], "{protocol}");
            assert_eq!(table.touch(conn, Direction::Original, 2000, 1, 100), Touch::Gone);
        }
    }

    #[test]
    fn a_packet_once_in_a_while_keeps_it_alive() {
        let table = Table::new(Size { capacity: 64, threads: 1, limits: Limits::NONE }, 4).unwrap();
        let mut stock = Stock::default();
        let conn = insert(&table, &mut stock, tuple(UDP, 1), 10);
        for now in (10..1000).step_by(29) {
            assert_eq!(table.touch(conn, Direction::Original, now, 1, 100), Touch::Done);
            assert_eq!(sweep(&table, &mut stock, now), []);
        }
        // A clock that is behind ends nothing.
        assert_eq!(sweep(&table, &mut stock, 5), []);
        assert_eq!(table.get(conn).unwrap().traffic[0].packets, 35);
    }

    #[test]
    fn zones_have_timeouts_of_their_own() {
        let table = Table::new(Size { capacity: 64, threads: 1, limits: Limits::NONE }, 4).unwrap();
        let mut stock = Stock::default();
        let own = Timeouts { udp: 3, ..Timeouts::default() };
        let timeouts = ByZone::new(Timeouts { udp: 10, ..Timeouts::default() }, [(7, own)]);
        let mut enter = |zone: u16| {
            let parts = Parts { zone, ..tuple(UDP, 5).parts() };
            insert(&table, &mut stock, Tuple::new(&parts).unwrap(), 100)
        };
        let (others, its) = (enter(0), enter(7));
        for (now, wanted) in [(102, vec![]), (103, vec![its]), (109, vec![]), (110, vec![others])] {
            let mut ended = Vec::new();
            table.sweep(&mut stock, 0, 64, now, &timeouts, |last| ended.push(last.conn));
            assert_eq!(ended, wanted, "{now}");
        }
    }

    #[test]
    fn when_it_is_nearly_full_the_fleeting_go_first() {
        const CAPACITY: u16 = 4096;
        let table =
            Table::new(Size { capacity: CAPACITY.into(), threads: 1, limits: Limits::NONE }, 4).unwrap();
        let mut stock = Stock::default();
        let made: Vec<_> = (0..CAPACITY + 64)
            .map(|port| {
                let conn = insert(&table, &mut stock, tuple(UDP, port), 100);
                if port % 2 == 0 {
                    table.touch(conn, Direction::Reply, 100, 1, 100);
                }
                conn
            })
            .collect();
        let ended = sweep(&table, &mut stock, 103);
        assert!(!ended.is_empty());
        for (port, conn) in made.iter().enumerate() {
            // What is answered lives on, whatever happens.
            assert!(port % 2 == 1 || table.get(*conn).is_some_and(|copy| copy.state == State::Replied));
        }
        // With room again there is no hurry.
        let left = table.count().0;
        assert_eq!((sweep(&table, &mut stock, 103).len(), table.count().0), (0, left));
    }
}
