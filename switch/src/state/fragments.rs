//! Virtual reassembly: which datagram a fragment is of, what its first fragment says of protocol and ports, and which bytes
//! have been seen, so that every fragment of a datagram is treated alike and none overlaps another (RFC 5722, RFC 8200
//! section 4.5, RFC 1858). Nothing is put together, and no packet is kept here.
//!
//! One [`Fragments`] is shared by all workers: a NIC spreads first fragments by their ports and later ones by addresses only,
//! so those of one datagram come by different queues. Memory is fixed at the start. A bucket is held for some hundred
//! nanoseconds by `try_lock` and never waited for: who finds it held for longer is told [`Refused::Busy`].
//!
//! A sender has [`SPREAD`] buckets by its address and where it comes in, out of [`BUCKETS`]. When these are full of datagrams
//! that are not complete, the port, network or peer with most there loses one: the oldest of its sender that has most. So who
//! leaves datagrams open, with whatever source addresses, harms those who come in by the same port.
//!
//! A datagram goes [`LIFETIME`] seconds after its first fragment to come. When all of it has been seen it is remembered for two
//! seconds after that fragment, so that a late copy is not taken for the beginning of another one, and makes way for any other.

mod datagram;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

use crate::flow::FlowKey;
use crate::flow::hash::{fold, spread};
use crate::flow::key::{L3, L4};
use crate::wire::fragment::Piece;
use datagram::{Datagram, Taken};

/// Seconds that a datagram has, from the first fragment that comes (RFC 8200 section 4.5: at most 60; Linux
/// `ipfrag_time`: 30).
pub const LIFETIME: u32 = 30;
/// Datagrams that are told apart at a time.
pub const DATAGRAMS: usize = BUCKETS * WAYS;
const BUCKETS: usize = 256;
const WAYS: usize = 16;
/// Buckets of one sender. A power of two.
const SPREAD: u64 = 4;
/// Attempts at a bucket that another worker holds.
const ATTEMPTS: u32 = 64;

/// What all fragments of a datagram have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Where it came in, addresses (as in [`FlowKey`]), identification and protocol.
    words: [u64; 6],
}

impl Identity {
    /// That of a fragment with `key`, which came in at `place` (a number that is different for each network, port and peer: a
    /// sender elsewhere with a forged address has no part in it), with identification `id`.
    ///
    /// IPv4 tells datagrams apart by protocol, too (RFC 791 section 2.3), IPv6 does not (RFC 8200 section 4.5).
    #[inline]
    pub fn new(key: &FlowKey, place: u64, id: u32) -> Self {
        let words = key.words();
        let v4 = key.marks().l3 == L3::Ipv4;
        let kind = if v4 { 0x100 | u64::from(key.protocol()) } else { 0 };
        Self { words: [place, words[4], words[5], words[6], words[7], u64::from(id) << 32 | kind] }
    }

    fn sender(&self) -> [u64; 3] {
        [self.words[0], self.words[1], self.words[2]]
    }
}

/// What the first fragment says, and later ones do not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upper {
    protocol: u8,
    is_known: bool,
    ports: (u16, u16),
}

impl Upper {
    /// Of the first fragment with `key`.
    #[inline]
    pub fn of(key: &FlowKey) -> Self {
        Self { protocol: key.protocol(), is_known: key.marks().l4 == L4::Known, ports: key.ports() }
    }

    /// The key of a later fragment with what the first one said.
    #[inline]
    pub fn complete(&self, later: &FlowKey) -> FlowKey {
        let mut key = *later;
        let mut marks = key.marks();
        marks.gathered = true;
        marks.l4 = if self.is_known { L4::Known } else { L4::Other };
        key.set_ports(self.ports.0, self.ports.1);
        key.set_facts(self.protocol, key.traffic_class(), marks);
        key
    }
}

/// Why a fragment is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It overlaps another one of its datagram, or the datagram has two ends; it, and all that is still to come of the
    /// datagram, is lost. Of one that has just passed, it is no copy of a fragment.
    Overlap,
    /// It has been seen before, of a datagram that is under way or has just passed.
    Duplicate,
    /// The datagram has more fragments than [`PIECES`].
    TooMany,
    /// The datagram has made way for another one of its sender, or its time is over.
    Forgotten,
    /// Another worker was at the same bucket all the time.
    Busy,
}

pub use datagram::PIECES;

/// Datagrams of which fragments are under way.
#[derive(Debug)]
pub struct Fragments {
    buckets: Box<[Mutex<Bucket>]>,
    seed: [u64; 4],
    /// How often something became known for which fragments wait.
    news: AtomicU32,
}

type Bucket = [Datagram; WAYS];

impl Fragments {
    /// Without any. `seed` is a random number; it keeps tenants from aiming at others' buckets.
    pub fn new(seed: u64) -> Self {
        let empty = || Mutex::new([Datagram::default(); WAYS]);
        Self { buckets: (0..BUCKETS).map(|_| empty()).collect(), seed: spread(seed), news: AtomicU32::new(0) }
    }

    /// Bytes of memory that it takes, all of it from the start.
    pub fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<Mutex<Bucket>>()
    }

    /// A number that changes whenever a fragment that waits may go on: who keeps some asks for them again.
    #[inline]
    pub fn news(&self) -> u32 {
        self.news.load(Ordering::Acquire)
    }

    fn hold(&self, identity: &Identity) -> Result<MutexGuard<'_, Bucket>, Refused> {
        let [place, high, low] = identity.sender();
        let sender = fold(fold(place ^ self.seed[0], high ^ self.seed[1]), low ^ self.seed[2]);
        // In all its bits, so that what a sender counts up does not tell which of its buckets is next.
        let which = fold(identity.words[5] ^ self.seed[3], sender | 1) & (SPREAD - 1);
        let bucket = fold(sender ^ which, self.seed[0] | 1) as usize % BUCKETS;
        let bucket = self.buckets.get(bucket).ok_or(Refused::Busy)?;
        for _ in 0..ATTEMPTS {
            match bucket.try_lock() {
                Ok(held) => return Ok(held),
                // Nobody panics while he holds one; and what is in it is plain data.
                Err(TryLockError::Poisoned(held)) => return Ok(held.into_inner()),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        Err(Refused::Busy)
    }

    /// Notes a fragment that has come in second `now` on the workers' clock; `first` is what it says when it is the first
    /// one. Returns what the first one said; `None` while it has not come: then keep the fragment, and ask by
    /// [`Fragments::settle`] or say [`Fragments::forget`].
    ///
    /// # Errors
    /// It is not to be passed on.
    pub fn note(
        &self,
        identity: &Identity,
        piece: &Piece,
        first: Option<Upper>,
        now: u32,
    ) -> Result<Option<Upper>, Refused> {
        let mut bucket = self.hold(identity)?;
        let datagram = place(&mut bucket, identity, now).ok_or(Refused::Forgotten)?;
        let waited = datagram.is_undecided();
        let taken = datagram.take(piece, first, now);
        let decided = waited && !datagram.is_undecided();
        drop(bucket);
        if decided {
            self.news.fetch_add(1, Ordering::Release);
        }
        match taken {
            Ok(Taken::Goes(upper)) => Ok(Some(upper)),
            Ok(Taken::Waits) => Ok(None),
            Err(refused) => Err(refused),
        }
    }

    /// What the first fragment said, for one that waits; `None` when it has not come yet, or a worker is at the bucket.
    ///
    /// # Errors
    /// The fragment is not to be passed on.
    pub fn settle(&self, identity: &Identity, now: u32) -> Result<Option<Upper>, Refused> {
        let Ok(mut bucket) = self.hold(identity) else { return Ok(None) };
        find_open(&mut bucket, identity, now).ok_or(Refused::Forgotten)?.settle()
    }

    /// A fragment that waits is given up.
    pub fn forget(&self, identity: &Identity, now: u32) {
        // Who does not get at it leaves it to the datagram's own end.
        if let Ok(mut bucket) = self.hold(identity)
            && let Some(datagram) = find_open(&mut bucket, identity, now)
        {
            datagram.forget();
        }
    }

    /// Datagrams that are not complete at second `now`: for tests and people. Those in a bucket at which a worker is are left out:
    /// nobody ever waits for one, so that no worker has to wake anybody.
    pub fn open(&self, now: u32) -> usize {
        let open = |bucket: &Mutex<Bucket>| {
            let is_open = |it: &&Datagram| it.is_live(now) && !it.has_passed();
            bucket.try_lock().map_or(0, |bucket| bucket.iter().filter(is_open).count())
        };
        self.buckets.iter().map(open).sum()
    }
}

fn find_open<'b>(bucket: &'b mut Bucket, identity: &Identity, now: u32) -> Option<&'b mut Datagram> {
    bucket.iter_mut().find(|it| it.is_live(now) && !it.has_passed() && it.identity == *identity)
}

/// The datagram, or a place for it.
fn place<'b>(bucket: &'b mut Bucket, identity: &Identity, now: u32) -> Option<&'b mut Datagram> {
    if let Some(at) = bucket.iter().position(|it| it.is_live(now) && it.identity == *identity) {
        return bucket.get_mut(at);
    }
    let free = bucket.iter().position(|it| !it.is_live(now));
    // Any of these, one after the other: they are all of the last two seconds.
    let passed = || {
        let all = || bucket.iter().enumerate().filter(|(_, it)| it.has_passed()).map(|(at, _)| at);
        all().nth((identity.words[5] >> 32) as usize % all().count().max(1))
    };
    let at = free.or_else(passed).unwrap_or_else(|| {
        // By where they came in first: whoever is there may send with any address.
        let like = |it: &Datagram, words: usize| {
            let sender = it.identity.sender();
            bucket.iter().filter(|other| other.identity.sender()[..words] == sender[..words]).count()
        };
        let most = |at: &usize| {
            let it = &bucket[*at];
            (like(it, 1), like(it, 3), it.age(now))
        };
        (0..WAYS).max_by_key(most).unwrap_or(0)
    });
    let datagram = bucket.get_mut(at)?;
    datagram.begin(identity, now);
    Some(datagram)
}

#[cfg(all(test, not(feature = "loom")))]
mod tests;
