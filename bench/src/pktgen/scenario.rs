//! What to send, how fast and over which devices: TOML, every key checked, defaults for all but devices and load.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::pace::Load;
use super::template::Protocol;

/// Longest frame: what one packet buffer holds.
const LONGEST: usize = 9_600;
const MOST_FLOWS: u32 = 10_000_000;

/// Why a scenario is refused.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It cannot be read.
    #[error("read {}: {source}; name a scenario file, as bench/scenarios/udp-64.toml", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is not TOML, or has keys or values that there are not.
    #[error("{origin}: {}", source.to_string().trim_end())]
    Toml {
        /// The file.
        origin: String,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value is out of its range.
    #[error("{origin}: {what}")]
    Value {
        /// The file.
        origin: String,
        /// What is wrong and what to do.
        what: String,
    },
}

/// A scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One line on what it is for.
    #[serde(default)]
    pub about: String,
    /// Between which devices.
    pub devices: Devices,
    /// What is sent.
    #[serde(default)]
    pub frames: Frames,
    /// How many flows.
    #[serde(default)]
    pub flows: Flows,
    /// At a fixed rate.
    pub rate: Option<Rate>,
    /// In bursts.
    pub burst: Option<Burst>,
    /// As fast as the device takes them.
    pub fastest: Option<Fastest>,
    /// Look for the highest rate without loss.
    pub search: Option<Find>,
}

/// `[devices]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Devices {
    /// Device arguments of the device that sends.
    pub tx: String,
    /// Device arguments of the device that receives; the one that sends when left out.
    pub rx: Option<String>,
    /// Descriptors of each queue.
    #[serde(default = "Devices::descriptors")]
    pub descriptors: u16,
    /// MTU to set; left out, the driver's own.
    pub mtu: Option<u16>,
    /// Take 2 MiB pages, else ordinary ones.
    #[serde(default)]
    pub hugepages: bool,
    /// Before each trial the receiver sends a frame, so that a learning switch knows where it is.
    #[serde(default = "yes")]
    pub announce: bool,
    /// Before the first trial frames are sent until one arrives.
    #[serde(default = "yes")]
    pub probe: bool,
}

/// `[frames]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Frames {
    /// Sizes in bytes, checksum of the wire included, by turns.
    pub sizes: Vec<usize>,
    /// A known mix of sizes instead.
    pub mix: Option<Mix>,
    /// Protocols, by turns.
    pub protocols: Vec<Protocol>,
    /// VLAN tag.
    pub vlan: Option<u16>,
    /// Source MAC address.
    pub source_mac: Mac,
    /// Destination MAC address.
    pub destination_mac: Mac,
    /// A capture whose frames are sent as they are, over and over, instead of all of the above. They carry no stamps: only
    /// counts are told.
    pub pcap: Option<PathBuf>,
}

/// A known mix of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mix {
    /// Seven of 64, four of 594, one of 1,518 bytes.
    Imix,
}

/// `[flows]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flows {
    /// Different flows.
    pub count: u32,
    /// Source over IPv4.
    pub source4: Ipv4Addr,
    /// First destination over IPv4.
    pub destination4: Ipv4Addr,
    /// Source over IPv6.
    pub source6: Ipv6Addr,
    /// First destination over IPv6.
    pub destination6: Ipv6Addr,
    /// Different destinations.
    pub destinations: u32,
    /// In which order flows come.
    pub order: Order,
    /// Each trial has flows that none before it had, so that its first frames meet cold caches.
    pub fresh: bool,
}

/// In which order flows come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// One after the other.
    Turns,
    /// Without visible order, each once a round.
    Shuffled,
}

/// `[rate]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Frames a second.
    pub frames_per_second: f64,
    /// How long, in seconds.
    #[serde(default = "seconds")]
    pub seconds: f64,
}

/// `[burst]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Frames at once.
    pub frames: u32,
    /// From burst to burst, in microseconds.
    pub gap_us: f64,
    /// How long, in seconds.
    #[serde(default = "seconds")]
    pub seconds: f64,
}

/// `[fastest]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fastest {
    /// How long, in seconds.
    #[serde(default = "seconds")]
    pub seconds: f64,
}

/// `[search]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Find {
    /// Shares that may be lost, in percent; each is looked for.
    pub loss_percent: Vec<f64>,
    /// Highest rate to try, frames a second; left out, what goes through at full speed.
    pub ceiling: Option<f64>,
    /// How near to come, in percent of the highest rate.
    pub resolution_percent: f64,
    /// Length of a trial, in seconds.
    pub trial_seconds: f64,
    /// How often a rate is tried again before it counts as too high.
    pub retries: u32,
    /// At this share of the first rate found, latencies are measured at the end; 0 does not.
    pub latency_share: f64,
    /// Length of that, in seconds.
    pub latency_seconds: f64,
}

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad =
            || format!("`{text}` is no MAC address: write six pairs of hex digits, as 02:00:00:00:00:01");
        let parts: Vec<u8> = text
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2).ok_or_else(bad))
            .collect::<Result<_, _>>()?;
        parts.try_into().map(Mac).map_err(|_| bad())
    }
}

fn yes() -> bool {
    true
}

fn seconds() -> f64 {
    5.0
}

impl Devices {
    /// Whether a device is one of the PCI bus, which is looked at only then: an address, as 0000:03:00.0.
    pub fn names_pci(&self) -> bool {
        let is_address = |devargs: &String| {
            let name = devargs.split(',').next().unwrap_or_default();
            name.contains(':') && name.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
        };
        [Some(&self.tx), self.rx.as_ref()].into_iter().flatten().any(is_address)
    }

    fn descriptors() -> u16 {
        1_024
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            sizes: vec![64],
            mix: None,
            protocols: vec![Protocol::Udp4],
            vlan: None,
            source_mac: Mac([2, 0, 0, 0, 0, 1]),
            destination_mac: Mac([2, 0, 0, 0, 0, 0xfe]),
            pcap: None,
        }
    }
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            count: 1,
            source4: Ipv4Addr::new(10, 0, 1, 10),
            destination4: Ipv4Addr::new(10, 0, 2, 1),
            source6: Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x10),
            destination6: Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1),
            destinations: 250,
            order: Order::Turns,
            fresh: true,
        }
    }
}

impl Default for Find {
    fn default() -> Self {
        Self {
            loss_percent: vec![0.0, 0.001],
            ceiling: None,
            resolution_percent: 1.0,
            trial_seconds: 2.0,
            retries: 0,
            latency_share: 0.5,
            latency_seconds: 5.0,
        }
    }
}

impl Frames {
    /// Sizes in the order they are sent.
    pub fn sizes(&self) -> Vec<usize> {
        match self.mix {
            // Spread, so that a burst of twelve is one mix.
            Some(Mix::Imix) => vec![64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 64, 594],
            None => self.sizes.clone(),
        }
    }
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not there, or not a scenario.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Read { path: path.to_owned(), source })?;
        let mut scenario = Self::parse(&text, &path.display().to_string())?;
        // A capture is named from where the scenario is.
        if let (Some(pcap), Some(dir)) = (&mut scenario.frames.pcap, path.parent()) {
            *pcap = dir.join(&*pcap);
        }
        Ok(scenario)
    }

    /// Reads a text that messages call `origin`.
    ///
    /// # Errors
    /// It is not a scenario.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text)
            .map_err(|source| ScenarioError::Toml { origin: origin.to_owned(), source: Box::new(source) })?;
        scenario.check(origin)?;
        Ok(scenario)
    }

    /// Whether every value is in its range, for one that was changed after it was read.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self, origin: &str) -> Result<(), ScenarioError> {
        match self.mistake() {
            Some(what) => Err(ScenarioError::Value { origin: origin.to_owned(), what }),
            None => Ok(()),
        }
    }

    /// Sets the length of a fixed load.
    pub fn set_seconds(&mut self, seconds: f64) {
        let rate = self.rate.as_mut().map(|rate| &mut rate.seconds);
        let burst = self.burst.as_mut().map(|burst| &mut burst.seconds);
        let fastest = self.fastest.as_mut().map(|fastest| &mut fastest.seconds);
        [rate, burst, fastest].into_iter().flatten().for_each(|length| *length = seconds);
    }

    /// The loads of a fixed kind with their lengths; empty for a search.
    pub fn fixed(&self) -> Option<(&'static str, Load, Duration)> {
        if let Some(rate) = &self.rate {
            return Some(("rate", Load::Rate(rate.frames_per_second), Duration::from_secs_f64(rate.seconds)));
        }
        if let Some(burst) = &self.burst {
            let gap = Duration::from_secs_f64(burst.gap_us / 1e6);
            let load = Load::Burst { frames: burst.frames, gap };
            return Some(("burst", load, Duration::from_secs_f64(burst.seconds)));
        }
        let fastest = self.fastest.as_ref()?;
        Some(("fastest", Load::Fastest, Duration::from_secs_f64(fastest.seconds)))
    }

    /// The first value that is out of its range, and what to do about it.
    fn mistake(&self) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "[devices]\ntx = \"net_ring0\"\n[rate]\nframes_per_second = 1000\n";

    fn refused(text: &str) -> String {
        Scenario::parse(text, "x.toml").unwrap_err().to_string()
    }

    #[test]
    fn little_is_needed_and_the_rest_has_defaults() {
        let scenario = Scenario::parse(LEAST, "x.toml").unwrap();
        assert_eq!((scenario.frames.sizes(), scenario.flows.count), (vec![64], 1));
        let five = Duration::from_secs(5);
        assert_eq!(scenario.fixed(), Some(("rate", Load::Rate(1000.0), five)));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let text = refused(&(LEAST.to_owned() + "secnods = 3\n"));
        assert!(
            text.contains("x.toml: ") && text.contains("line 5") && text.contains("unknown field `secnods`"),
            "{text}"
        );
        let text = refused(&LEAST.replace("net_ring0\"", "net_ring0\"\nmtu = \"big\""));
        assert!(text.contains("line 3") && text.contains("mtu"), "{text}");
        let text = refused("[devices]\ntx = \"a\"\n");
        assert!(text.contains("0 loads are given"), "{text}");
        let text = refused(&(LEAST.to_owned() + "[fastest]\n"));
        assert!(text.contains("2 loads are given"), "{text}");
        let text = refused(&(LEAST.to_owned() + "[frames]\nsizes = [64, 63]\n"));
        assert!(text.contains("64 to 9600"), "{text}");
        let text = refused(&(LEAST.to_owned() + "[frames]\nsource_mac = \"2:0\"\n"));
        assert!(text.contains("`2:0` is no MAC address"), "{text}");
        let text = refused("[devices]\ntx = \"a\"\n[search]\nloss_percent = [100.0]\n");
        assert!(text.contains("loss_percent"), "{text}");
    }

    #[test]
    fn every_scenario_that_comes_with_us_is_one() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut count = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
            assert!(!scenario.about.is_empty(), "{}: say what it is for", path.display());
            count += 1;
        }
        assert!(count >= 5, "{count} scenarios");
    }
}
