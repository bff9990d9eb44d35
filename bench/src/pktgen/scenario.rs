//! What to send, how fast and over which devices: TOML, every key checked, defaults for all but devices and load.

mod check;
mod mac;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::pace::Load;
use super::template::Protocol;

pub use mac::Mac;

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
    /// Free descriptors below which the sender takes sent buffers back; the driver's own when left out.
    pub tx_free_threshold: Option<u16>,
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
}

#[cfg(test)]
mod tests;
