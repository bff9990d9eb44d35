//! `[workers]`: the threads that forward packets. Fixed when the daemon starts.

use std::time::Duration;

use serde::Serialize;

use crate::error::Reported;
use crate::keys::Key;
use crate::section::Section;
use crate::value;

/// Most workers in one daemon.
pub const WORKERS_MAX: u16 = 64;

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Poll {
    /// Blocks until a port has work; costs no processor while idle.
    #[default]
    Adaptive,
    /// Polls for ever; costs one core each, answers soonest.
    Busy,
}

/// The forwarding threads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Workers {
    /// The core of each worker, by its kernel number; empty lets the daemon pick. Never a core twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<u16>,
    /// Number of workers, 1 to 64; equals `cores.len()` unless `cores` is empty.
    pub count: u16,
    /// Idle behaviour.
    pub poll: Poll,
    /// Most packets taken from a queue at once, 1 to 64.
    pub burst: u16,
    /// Time of empty polls before an adaptive worker blocks.
    #[serde(serialize_with = "crate::write::duration")]
    pub idle_after: Duration,
    /// Longest sleep of an adaptive worker that polls a port without a wake-up descriptor.
    #[serde(serialize_with = "crate::write::duration")]
    pub max_sleep: Duration,
}

impl Default for Workers {
    fn default() -> Self {
        Workers {
            cores: Vec::new(),
            count: 1,
            poll: Poll::Adaptive,
            burst: 32,
            idle_after: Duration::from_micros(50),
            max_sleep: Duration::from_micros(500),
        }
    }
}

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "count",
        kinds: &[],
        takes: "integer, 1 to 64",
        default: "1",
        meaning: "number of workers; left out, as many as `cores` names",
    },
    Key {
        name: "cores",
        kinds: &[],
        takes: "array of core numbers, 0 to 1023",
        default: "[]",
        meaning: "the core each worker is pinned to; empty lets the daemon pick among the cores it may run on",
    },
    Key {
        name: "poll",
        kinds: &[],
        takes: "`\"adaptive\"` or `\"busy\"`",
        default: "\"adaptive\"",
        meaning: "`adaptive` blocks when idle; `busy` never sleeps and keeps its core at 100 %",
    },
    Key {
        name: "burst",
        kinds: &[],
        takes: "integer, 1 to 64 packets",
        default: "32",
        meaning: "most packets taken from a queue at once",
    },
    Key {
        name: "idle_after",
        kinds: &[],
        takes: "duration, 0 to 1s",
        default: "\"50us\"",
        meaning: "time of empty polls before an adaptive worker blocks",
    },
    Key {
        name: "max_sleep",
        kinds: &[],
        takes: "duration, 1us to 1s",
        default: "\"500us\"",
        meaning: "longest sleep of an adaptive worker when one of its ports has no wake-up descriptor",
    },
];

const POLL: &[(&str, Poll)] = &[("adaptive", Poll::Adaptive), ("busy", Poll::Busy)];

pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Workers, Reported> {
    let default = Workers::default();
    let second = Duration::from_secs(1);
    let cores = section.list("cores", value::integer(0..=1_023));
    let count = section.optional("count", value::integer::<u16>(1..=i64::from(WORKERS_MAX)));
    let poll = section.or("poll", default.poll, value::one_of(POLL));
    let burst = section.or("burst", default.burst, value::integer(1..=64));
    let idle_after = section.or("idle_after", default.idle_after, value::duration(Duration::ZERO..=second));
    let max_sleep =
        section.or("max_sleep", default.max_sleep, value::duration(Duration::from_micros(1)..=second));
    section.refuse_others(None);
    let cores = cores.and_then(|cores| check_cores(section, cores));
    let count = match (&cores, count) {
        (Ok(cores), Ok(count)) => check_count(section, cores, count),
        (_, count) => count.map(|count| count.unwrap_or(default.count)),
    };
    Ok(Workers {
        cores: cores?,
        count: count?,
        poll: poll?,
        burst: burst?,
        idle_after: idle_after?,
        max_sleep: max_sleep?,
    })
}

fn check_cores(section: &mut Section<'_, '_>, cores: Vec<u16>) -> Result<Vec<u16>, Reported> {
    let mut bad = None;
    for (i, core) in cores.iter().enumerate() {
        if let Some(first) = cores[..i].iter().position(|c| c == core) {
            let message =
                format!("core {core} is already that of worker {first}; give each worker its own core");
            bad = Some(section.report(&format!("cores[{i}]"), message));
        }
    }
    if cores.len() > usize::from(WORKERS_MAX) {
        let message = format!("{} cores are more than {WORKERS_MAX} workers; name fewer", cores.len());
        bad = Some(section.report("cores", message));
    }
    bad.map_or(Ok(cores), Err)
}

fn check_count(section: &mut Section<'_, '_>, cores: &[u16], count: Option<u16>) -> Result<u16, Reported> {
    match (cores.len(), count) {
        (0, None) => Ok(Workers::default().count),
        (0, Some(count)) => Ok(count),
        (named, Some(count)) if named != usize::from(count) => {
            let message = format!("{count} workers but {named} cores; make them equal, or remove count");
            Err(section.report("count", message))
        }
        // At most WORKERS_MAX: check_cores has passed.
        (named, _) => Ok(named as u16),
    }
}
