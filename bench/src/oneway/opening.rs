//! How fast connections are opened while a table fills: an input that goes round has them all as known ones from its second round on,
//! so the rate is that between two looks at how many there are.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Nobody waits longer for the last connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// Looks count between these parts of all connections: the first ones find cold caches, the last ones only some of the sources.
const FROM: f64 = 0.1;
const TO: f64 = 0.8;
/// Looks that a rate needs at least.
const LOOKS: usize = 3;

/// How many connections there were when.
#[derive(Debug)]
pub struct Opening {
    all: u64,
    started: Instant,
    looks: Vec<(Duration, u64)>,
}

impl Opening {
    /// There will be `all`.
    pub fn new(all: u64) -> Self {
        Self { all, started: Instant::now(), looks: Vec::new() }
    }

    /// There are `count` now.
    pub fn note(&mut self, count: u64) {
        self.looks.push((self.started.elapsed(), count));
    }

    /// Whether all are there.
    ///
    /// # Errors
    /// It takes too long.
    pub fn is_over(&self) -> Result<bool> {
        let count = self.looks.last().map_or(0, |look| look.1);
        ensure!(
            self.started.elapsed() < PATIENCE,
            "there are {count} connections after {PATIENCE:?}, not {}",
            self.all
        );
        Ok(count >= self.all)
    }

    /// Connections a second.
    ///
    /// # Errors
    /// There were too few looks while there became more.
    pub fn rate(&self) -> Result<f64> {
        let (from, to) = (self.all as f64 * FROM, self.all as f64 * TO);
        let between: Vec<_> =
            self.looks.iter().filter(|(_, count)| (from..=to).contains(&(*count as f64))).collect();
        ensure!(
            between.len() >= LOOKS,
            "{} looks while the connections were opened: {:?}",
            between.len(),
            self.looks
        );
        let (first, last) = (between.first().context("no look")?, between.last().context("no look")?);
        Ok((last.1 - first.1) as f64 / (last.0 - first.0).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_middle() {
        let mut opening = Opening::new(1_000);
        // Slow at first, and at the end.
        let counts = [(0, 0), (100, 50), (110, 200), (120, 400), (130, 600), (150, 800), (900, 1_000)];
        opening.looks = counts.map(|(ms, count)| (Duration::from_millis(ms), count)).to_vec();
        assert!(opening.is_over().unwrap());
        assert!((opening.rate().unwrap() - 15_000.0).abs() < 1e-6);
        opening.looks.truncate(4);
        assert!(!opening.is_over().unwrap() && opening.rate().is_err(), "two looks are no rate");
    }
}
