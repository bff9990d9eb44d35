//! The log: text to standard error, where a service manager picks it up.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged when nobody says otherwise.
const LEVEL: &str = "info";

/// Starts logging what `filter` says, else `RUST_LOG`, else `info`.
///
/// # Errors
/// One line when the filter is not one.
pub(super) fn start(filter: Option<&str>) -> Result<(), String> {
    let (text, origin) = match (filter, std::env::var("RUST_LOG")) {
        (Some(text), _) => (text.to_owned(), "--log"),
        (None, Ok(text)) if !text.is_empty() => (text, "RUST_LOG"),
        _ => (LEVEL.to_owned(), "the default"),
    };
    let filter = parse(&text).map_err(|error| format!("{origin}: {error}"))?;
    let stderr = std::io::stderr;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .finish();
    log.try_init().map_err(|error| error.to_string())
}

/// A filter of `text`. A lone word that is no level would be taken for a module and silence everything.
fn parse(text: &str) -> Result<EnvFilter, String> {
    let refuse = |detail: &str| {
        format!("{text:?} is no log filter{detail}; use error, warn, info, debug, trace or module=level")
    };
    let level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    if let Some(word) = text.split(',').map(str::trim).find(|part| !part.contains(['=', '[']) && !level(part))
    {
        return Err(refuse(&format!(" ({word:?})")));
    }
    EnvFilter::try_new(text).map_err(|error| refuse(&format!(" ({error})")))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn levels_and_directives_are_filters_and_typing_mistakes_are_not() {
        for good in ["info", "WARN", "off", "info,shunt_switch=debug", "shunt_switch::control=trace"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["inof", "verbose", "shunt_switch=loud", "info,tonicc"] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains("use error, warn, info"), "{error}");
        }
    }
}
