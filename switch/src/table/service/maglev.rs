//! Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4): a
//! table of prime size, in which each backend has the places that a permutation of its own gives it, in turn.
//!
//! Every node makes the same table of the same backends, so each picks the same for a connection; and when one backend goes,
//! nearly all places of the others stay. The size goes by the number of backends, in few steps, so that ten thousand small
//! services are built in a fraction of a second; only where a step is crossed most places change, which established
//! connections do not notice.

/// Sizes for so many backends: primes, some fifty places for each backend and more.
const SIZES: [(usize, usize); 6] =
    [(1, 1), (2, 101), (10, 509), (40, 2039), (160, 8191), (usize::MAX, 65_537)];

/// Who may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What a pick gives.
    pub index: u16,
    /// A number of its own, the same on every node.
    pub id: u64,
    /// Its share beside those of others, not 0.
    pub weight: u16,
}

/// The table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maglev {
    places: Box<[u16]>,
}

/// One backend while the table is filled.
struct Turn {
    index: u16,
    weight: u32,
    credit: u32,
    next: usize,
    skip: usize,
}

impl Maglev {
    /// The table of `candidates`, which are in the order of their ids. Takes some ten steps for each place.
    pub fn build(candidates: &[Candidate]) -> Self {
        let size = SIZES.iter().find(|(most, _)| candidates.len() <= *most).map_or(1, |(_, size)| *size);
        let mut places = vec![u16::MAX; if candidates.is_empty() { 0 } else { size }].into_boxed_slice();
        let heaviest =
            candidates.iter().map(|candidate| u32::from(candidate.weight)).max().unwrap_or(1).max(1);
        let mut turns: Vec<Turn> = candidates
            .iter()
            .map(|candidate| {
                let [offset, skip]: [u64; 2] = crate::flow::hash::spread(candidate.id);
                Turn {
                    index: candidate.index,
                    weight: u32::from(candidate.weight),
                    credit: 0,
                    next: (offset % size as u64) as usize,
                    skip: 1 + (skip % (size as u64 - 1).max(1)) as usize,
                }
            })
            .collect();
        let mut taken = vec![false; places.len()];
        let mut left = places.len();
        'filling: while left > 0 {
            for turn in &mut turns {
                // The heaviest has a turn in every round, the others as often as their weight says.
                turn.credit += turn.weight;
                if turn.credit < heaviest {
                    continue;
                }
                turn.credit -= heaviest;
                while taken[turn.next] {
                    turn.next += turn.skip;
                    if turn.next >= size {
                        turn.next -= size;
                    }
                }
                taken[turn.next] = true;
                places[turn.next] = turn.index;
                left -= 1;
                if left == 0 {
                    break 'filling;
                }
            }
        }
        Self { places }
    }

    /// The pick for a connection with that hash; `None` when there is nobody.
    #[inline]
    pub fn get(&self, hash: u64) -> Option<u16> {
        let at = ((u128::from(hash) * self.places.len() as u128) >> 64) as usize;
        self.places.get(at).copied()
    }

    /// The picks of all places.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u16> + '_ {
        self.places.iter().copied()
    }

    /// Number of places.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True when nobody can be picked.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(count: u16) -> Vec<Candidate> {
        let mut all: Vec<_> =
            (0..count).map(|index| Candidate { index, id: u64::from(index) * 77 + 5, weight: 1 }).collect();
        all.sort_by_key(|candidate| candidate.id);
        all
    }

    fn shares(maglev: &Maglev, count: u16) -> Vec<usize> {
        (0..count).map(|index| maglev.iter().filter(|place| *place == index).count()).collect()
    }

    #[test]
    fn sizes_are_prime() {
        for (_, size) in SIZES {
            assert!((2..size).take_while(|by| by * by <= size).all(|by| size % by != 0), "{size}");
        }
    }

    #[test]
    fn everybody_has_the_same_number_of_places_within_one() {
        for count in [1, 2, 3, 10, 11, 40, 41, 160, 161, 1000] {
            let maglev = Maglev::build(&candidates(count));
            let shares = shares(&maglev, count);
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{count}: {least} to {most}");
            assert_eq!(shares.iter().sum::<usize>(), maglev.len(), "{count}: no place is left");
        }
        assert_eq!(Maglev::build(&[]).get(7), None);
    }

    #[test]
    fn places_go_by_weight() {
        let mut all = candidates(3);
        all[0].weight = 100;
        all[1].weight = 300;
        all[2].weight = 600;
        let maglev = Maglev::build(&all);
        for (candidate, wanted) in all.iter().zip([0.1, 0.3, 0.6]) {
            let places = maglev.iter().filter(|place| *place == candidate.index).count();
            let share = places as f64 / maglev.len() as f64;
            assert!((share - wanted).abs() < 0.01, "{} has {share}, not {wanted}", candidate.index);
        }
    }

    #[test]
    fn when_one_goes_few_of_the_others_move() {
        let all = candidates(10);
        let before = Maglev::build(&all);
        for gone in 0..10_usize {
            let mut rest = all.clone();
            let gone = rest.remove(gone).index;
            let after = Maglev::build(&rest);
            let moved = before.iter().zip(after.iter()).filter(|(was, is)| *was != gone && was != is).count();
            // The paper finds some percent (section 5.3); the places of the one that is gone are a tenth.
            assert!(moved * 100 < before.len() * 12, "{moved} of {} moved", before.len());
        }
    }

    #[test]
    fn the_pick_goes_by_the_whole_hash() {
        let maglev = Maglev::build(&candidates(10));
        let mut picks = [0_u32; 10];
        for flow in 0..100_000_u64 {
            let [hash] = crate::flow::hash::spread(flow);
            picks[usize::from(maglev.get(hash).unwrap())] += 1;
        }
        // 10,000 expected, standard deviation 95; one place in 51 more or less is 196.
        assert!(picks.iter().all(|count| (9_200..=10_800).contains(count)), "{picks:?}");
        assert!(maglev.get(0).is_some() && maglev.get(u64::MAX).is_some());
    }
}
