//! Ranges of ports: `"30000-32767"`, or one alone.

use std::ops::RangeInclusive;

use serde::Serializer;

use crate::raw::{Raw, quote};
use crate::value;

/// Reads one that has a port, and not 0; messages show `example`.
pub(crate) fn ports(example: &str) -> impl Fn(Raw<'_>) -> Result<RangeInclusive<u16>, String> {
    move |raw| {
        let text = value::text(raw)?;
        let no_range = || format!("{} is no range of ports; write it as \"{example}\"", quote(text));
        let number = |text: &str| text.trim().parse::<u16>().map_err(|_| no_range());
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        match (number(low)?, number(high)?) {
            (0, _) | (_, 0) => {
                Err(format!("{} has port 0, which is nobody's; begin with 1 or more", quote(text)))
            }
            (low, high) if low > high => {
                Err(format!("{} runs backward; write it as \"{high}-{low}\"", quote(text)))
            }
            (low, high) => Ok(low..=high),
        }
    }
}

/// Writes it as it is read.
pub(crate) fn write<S: Serializer>(range: &RangeInclusive<u16>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}-{}", range.start(), range.end()))
}

/// The same of one that is there.
pub(crate) fn write_some<S: Serializer>(
    range: &Option<RangeInclusive<u16>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match range {
        Some(range) => write(range, serializer),
        None => serializer.serialize_none(),
    }
}
