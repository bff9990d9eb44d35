//! The highest rate at which no more than a given share is lost (RFC 2544 section 26.1), by halving the interval.

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// Share of the frames that may be lost; 0 is none at all.
    pub loss: f64,
    /// The rate to begin with, frames a second: nothing above it is tried.
    pub ceiling: f64,
    /// The interval is not halved below this share of `ceiling`.
    pub resolution: f64,
    /// How often a rate that lost too much is tried again before it counts as too high.
    pub retries: u32,
}

/// What a trial told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    /// Frames a second that were really offered.
    pub offered: f64,
    /// Share of them that was lost.
    pub loss: f64,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Highest rate that passed; 0 when none did.
    pub rate: f64,
    /// Trials it took.
    pub trials: u32,
    /// The generator could not offer more: what is measured may well be faster.
    pub generator_bound: bool,
}

/// A trial that offers less than this share of what it should says nothing about the rate it should have offered.
const HONEST: f64 = 0.99;

/// Looks for it.
///
/// # Errors
/// Whatever a trial fails with.
pub fn search<E>(what: &Search, mut trial: impl FnMut(f64) -> Result<Told, E>) -> Result<Found, E> {
    let (mut low, mut high) = (0.0, what.ceiling);
    let mut found = Found { rate: 0.0, trials: 0, generator_bound: false };
    let mut rate = what.ceiling;
    while rate > 0.0 {
        let mut told;
        let mut left = what.retries;
        loop {
            told = trial(rate)?;
            found.trials += 1;
            if told.loss <= what.loss || left == 0 {
                break;
            }
            left -= 1;
        }
        if told.loss > what.loss {
            high = rate.min(told.offered);
        } else {
            found.rate = found.rate.max(rate.min(told.offered));
            if told.offered < rate * HONEST {
                found.generator_bound = true;
                return Ok(found);
            }
            low = rate;
        }
        if high - low <= what.resolution * what.ceiling {
            break;
        }
        rate = f64::midpoint(low, high);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A switch that takes `capacity` frames a second, a generator that makes `most`.
    fn model(capacity: f64, most: f64) -> impl FnMut(f64) -> Result<Told, Infallible> {
        move |rate: f64| {
            let offered = rate.min(most);
            Ok(Told { offered, loss: (1.0 - capacity / offered).max(0.0) })
        }
    }

    fn what(loss: f64, retries: u32) -> Search {
        Search { loss, ceiling: 10e6, resolution: 0.005, retries }
    }

    #[test]
    fn the_capacity_is_found_from_below() {
        let found = search(&what(0.0, 0), model(3.3e6, 20e6)).unwrap();
        assert!(found.rate <= 3.3e6 && found.rate > 3.3e6 - 0.005 * 10e6, "{found:?}");
        assert!(!found.generator_bound && found.trials < 12, "{found:?}");
    }

    #[test]
    fn a_tolerance_finds_a_higher_rate() {
        let found = search(&what(0.5, 0), model(3.3e6, 20e6)).unwrap();
        assert!(found.rate > 6.5e6 && found.rate <= 6.6e6, "{found:?}");
    }

    #[test]
    fn a_generator_that_is_slower_than_the_switch_is_said_to_be() {
        let found = search(&what(0.0, 0), model(20e6, 4e6)).unwrap();
        assert_eq!((found.rate, found.generator_bound, found.trials), (4e6, true, 1));
    }

    #[test]
    fn the_ceiling_is_found_in_one_trial_and_nothing_when_all_is_lost() {
        let found = search(&what(0.0, 0), model(20e6, 20e6)).unwrap();
        assert_eq!((found.rate, found.trials), (10e6, 1));
        let dead =
            search(&what(0.0, 0), |rate| Ok::<_, Infallible>(Told { offered: rate, loss: 1.0 })).unwrap();
        assert_eq!(dead.rate, 0.0);
    }

    #[test]
    fn a_rate_is_tried_again_as_often_as_asked() {
        let mut tried = 0;
        let mut flaky = model(20e6, 20e6);
        let found = search(&what(0.0, 1), |rate| {
            tried += 1;
            if tried == 1 { Ok(Told { offered: rate, loss: 0.1 }) } else { flaky(rate) }
        });
        assert_eq!((found.unwrap().rate, tried), (10e6, 2));
    }
}
