//! Whether the values of a scenario are in their ranges, and what to say when one is not.

use super::Scenario;

/// Longest frame: what one packet buffer holds.
const LONGEST: usize = 9_600;
const MOST_FLOWS: u32 = 10_000_000;

impl Scenario {
    /// The first value that is out of its range, and what to do about it.
    pub(super) fn mistake(&self) -> Option<String> {
        let modes =
            [self.rate.is_some(), self.burst.is_some(), self.fastest.is_some(), self.search.is_some()];
        let modes = modes.into_iter().filter(|given| *given).count();
        let flows = &self.flows;
        let checks = [
            (
                modes == 1,
                format!("{modes} loads are given: give one of [rate], [burst], [fastest], [search]"),
            ),
            (
                !self.devices.tx.is_empty(),
                "devices.tx is empty: give DPDK device arguments, as net_ring0".into(),
            ),
            (!self.frames.sizes().is_empty(), "frames.sizes is empty: give at least one, as [64]".into()),
            (
                self.frames.sizes().iter().all(|size| (64..=LONGEST).contains(size)),
                format!(
                    "frames.sizes holds one that is not 64 to {LONGEST} bytes (checksum of the wire included)"
                ),
            ),
            (
                !self.frames.protocols.is_empty(),
                "frames.protocols is empty: give at least one, as [\"udp4\"]".into(),
            ),
            (
                self.frames.vlan.is_none_or(|vlan| (1..4095).contains(&vlan)),
                "frames.vlan is not 1 to 4094".into(),
            ),
            ((1..=MOST_FLOWS).contains(&flows.count), format!("flows.count is not 1 to {MOST_FLOWS}")),
            (flows.destinations > 0, "flows.destinations is 0: give at least 1".into()),
        ];
        let first = checks.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what);
        first.or_else(|| self.mistaken_load())
    }

    fn mistaken_load(&self) -> Option<String> {
        let length = |seconds: f64| (0.01..=3600.0).contains(&seconds);
        let seconds = "seconds is not 0.01 to 3600";
        if let Some(rate) = &self.rate {
            if !(rate.frames_per_second > 0.0 && rate.frames_per_second <= 1e9) {
                return Some("rate.frames_per_second is not more than 0 and at most 1e9".into());
            }
            return (!length(rate.seconds)).then(|| format!("rate.{seconds}"));
        }
        if let Some(burst) = &self.burst {
            if burst.frames == 0 || !(burst.gap_us > 0.0 && burst.gap_us <= 1e9) {
                return Some(
                    "burst.frames and burst.gap_us are to be more than 0 (and a gap at most 1e9)".into(),
                );
            }
            return (!length(burst.seconds)).then(|| format!("burst.{seconds}"));
        }
        if let Some(fastest) = &self.fastest {
            return (!length(fastest.seconds)).then(|| format!("fastest.{seconds}"));
        }
        let find = self.search.as_ref()?;
        let percent = |value: f64| (0.0..100.0).contains(&value);
        let checks = [
            (!find.loss_percent.is_empty(), "search.loss_percent is empty: give at least one, as [0.0]"),
            (
                find.loss_percent.iter().all(|loss| percent(*loss)),
                "search.loss_percent is not 0 to below 100",
            ),
            (
                find.resolution_percent > 0.0 && percent(find.resolution_percent),
                "search.resolution_percent is not above 0 and below 100",
            ),
            (length(find.trial_seconds), "search.trial_seconds is not 0.01 to 3600"),
            (length(find.latency_seconds), "search.latency_seconds is not 0.01 to 3600"),
            ((0.0..=1.0).contains(&find.latency_share), "search.latency_share is not 0 to 1"),
            (
                find.ceiling.is_none_or(|rate| rate > 0.0 && rate <= 1e9),
                "search.ceiling is not more than 0 and at most 1e9",
            ),
            (find.retries <= 10, "search.retries is more than 10"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what.to_owned())
    }
}
