//! Which backend a client of a service is to stay with (`sessionAffinity: ClientIP`): one table for all workers, of a fixed
//! size, without locks.
//!
//! It only remembers: a client whose row was displaced, or was never entered because two workers met, is placed by the hash
//! of its address, which gives the same backend as long as the backends are the same.
//!
//! A row is two words, fingerprint of client and service, and backend with second. Who takes a row over sets the fingerprint
//! to [`BUSY`] first and to its own last, so that a reader who sees the same fingerprint before and after the second word
//! has read what belongs to it. A row is renewed by exchange of the second word as it was read: had the row been taken over
//! meanwhile, that fails.

use std::net::IpAddr;

use super::atomic::{AtomicU64, Cells, Ordering, cells, fence};
use crate::flow::hash::{fold, spread};

/// Rows that a client may be in: a cache line.
const WAYS: usize = 4;
/// Fingerprint of a free row.
const FREE: u64 = 0;
/// Fingerprint of a row that somebody is filling.
const BUSY: u64 = 1;

/// Rows of a table unless said otherwise: 1 MiB.
pub const ROWS: usize = 65_536;

#[derive(Debug)]
struct Row {
    fingerprint: AtomicU64,
    /// Low half of the backend's id, and the last second at which the row counts.
    value: AtomicU64,
}

#[derive(Debug)]
#[repr(align(64))]
struct Bucket([Row; WAYS]);

/// The table.
#[derive(Debug)]
pub struct Affinity {
    buckets: Cells<Bucket>,
    seed: [u64; 3],
}

/// A client of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Number of the service's port.
    pub service: u64,
    /// The client's address.
    pub address: IpAddr,
}

#[inline]
const fn value(backend: u32, until: u32) -> u64 {
    (backend as u64) << 32 | until as u64
}

impl Affinity {
    /// An empty table of at least `rows` rows; `None` when there is not so much memory. `seed` is a random number: who does not
    /// know it cannot choose addresses that meet in one bucket.
    pub fn new(rows: usize, seed: u64) -> Option<Self> {
        let row = || Row { fingerprint: AtomicU64::new(FREE), value: AtomicU64::new(0) };
        let bucket = || Bucket(std::array::from_fn(|_| row()));
        Some(Self { buckets: cells(rows.div_ceil(WAYS).max(1), bucket)?, seed: spread(seed) })
    }

    /// The rows that `client` may be in, and its fingerprint.
    #[inline]
    fn of(&self, client: &Client) -> (&[Row; WAYS], u64) {
        let (high, low) = match client.address {
            IpAddr::V4(v4) => (4, u64::from(v4.to_bits())),
            IpAddr::V6(v6) => ((v6.to_bits() >> 64) as u64, v6.to_bits() as u64),
        };
        let mixed = fold(high ^ self.seed[0], low ^ self.seed[1]);
        let fingerprint =
            fold(mixed ^ client.service, self.seed[2] ^ client.service.rotate_left(32)).max(BUSY + 1);
        let place = fold(fingerprint, self.seed[1] | 1);
        let at = ((u128::from(place) * self.buckets.len() as u128) >> 64) as usize;
        (&self.buckets[at].0, fingerprint)
    }

    /// Low half of the id of the backend that `client` is to stay with at second `now`.
    #[inline]
    pub fn get(&self, client: &Client, now: u32) -> Option<u32> {
        let (rows, fingerprint) = self.of(client);
        rows.iter().find_map(|row| {
            let held = Self::read(row, fingerprint)?;
            (held as u32 >= now).then_some((held >> 32) as u32)
        })
    }

    /// The second word of a row that belongs to `fingerprint`.
    #[inline]
    fn read(row: &Row, fingerprint: u64) -> Option<u64> {
        if row.fingerprint.load(Ordering::Acquire) != fingerprint {
            return None;
        }
        let held = row.value.load(Ordering::Acquire);
        fence(Ordering::Acquire);
        (row.fingerprint.load(Ordering::Relaxed) == fingerprint).then_some(held)
    }

    /// Notes that `client` has opened a connection to the backend with that low half of its id, and stays with it to the end of
    /// second `until`. The row that ends first makes room at need. Best effort: of two workers at one row one succeeds.
    pub fn put(&self, client: &Client, backend: u32, now: u32, until: u32) {
        let (rows, fingerprint) = self.of(client);
        let new = value(backend, until);
        for row in rows {
            if let Some(held) = Self::read(row, fingerprint) {
                let _ = row.value.compare_exchange(held, new, Ordering::AcqRel, Ordering::Relaxed);
                return;
            }
        }
        let state =
            |row: &Row| (row.fingerprint.load(Ordering::Acquire), row.value.load(Ordering::Relaxed) as u32);
        let order = |(fingerprint, until): (u64, u32)| match fingerprint {
            FREE => 0,
            BUSY => u64::MAX,
            _ if until < now => 1,
            _ => u64::from(until) + 2,
        };
        let Some((row, (old, _))) =
            rows.iter().map(|row| (row, state(row))).min_by_key(|(_, state)| order(*state))
        else {
            return;
        };
        if old == BUSY
            || row.fingerprint.compare_exchange(old, BUSY, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return;
        }
        // Who reads the value below sees that the row is no longer the old one's.
        fence(Ordering::Release);
        row.value.store(new, Ordering::Relaxed);
        row.fingerprint.store(fingerprint, Ordering::Release);
    }

    /// Clients that are remembered at second `now`. Goes through the whole table: for listing.
    pub fn count(&self, now: u32) -> usize {
        let rows = (0..self.buckets.len()).flat_map(|at| &self.buckets[at].0);
        rows.filter(|row| {
            row.fingerprint.load(Ordering::Relaxed) > BUSY && row.value.load(Ordering::Relaxed) as u32 >= now
        })
        .count()
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    fn client(service: u64, number: u32) -> Client {
        Client { service, address: std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into() }
    }

    #[test]
    fn a_client_stays_until_its_time_is_over() {
        let table = Affinity::new(64, 7).unwrap();
        let (one, other) = (client(1, 1), client(2, 1));
        assert_eq!(table.get(&one, 0), None);
        table.put(&one, 11, 100, 110);
        table.put(&other, 22, 100, 103);
        assert_eq!((table.get(&one, 100), table.get(&other, 103)), (Some(11), Some(22)), "by service");
        assert_eq!((table.get(&one, 110), table.get(&one, 111)), (Some(11), None));
        assert_eq!(table.get(&other, 104), None);
        // Each new connection begins the time anew, and may be to another backend.
        table.put(&one, 12, 111, 121);
        assert_eq!((table.get(&one, 121), table.count(111)), (Some(12), 1));
    }

    #[test]
    fn a_full_bucket_forgets_who_would_be_forgotten_first() {
        let table = Affinity::new(WAYS, 7).unwrap();
        for number in 0..WAYS as u32 {
            table.put(&client(1, number), number, 0, 10 + number);
        }
        table.put(&client(1, 99), 99, 0, 50);
        assert_eq!(table.get(&client(1, 0), 0), None);
        assert!((1..WAYS as u32).all(|number| table.get(&client(1, number), 0) == Some(number)));
        assert_eq!(table.get(&client(1, 99), 0), Some(99));
        // Once it is over, the place is anybody's.
        table.put(&client(1, 5), 5, 12, 13);
        assert_eq!(table.get(&client(1, 1), 11), None);
    }

    /// A reader never gets what belongs to another client.
    #[test]
    fn threads_that_displace_each_other_mix_nothing_up() {
        let table = Affinity::new(WAYS, 7).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..20_000_u32 {
                        let number = (round.wrapping_mul(2_654_435_761) >> 7) % 16;
                        if (round + thread).is_multiple_of(2) {
                            table.put(&client(3, number), number, round, round + number);
                        } else if let Some(backend) = table.get(&client(3, number), 0) {
                            assert_eq!(backend, number);
                        }
                    }
                });
            }
        });
    }
}
