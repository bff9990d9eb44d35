//! `[metrics]`: counters and health for a monitoring system, over HTTP. Fixed when the daemon starts.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::error::Reported;
use crate::keys::Key;
use crate::raw::Raw;
use crate::section::Section;
use crate::value;

/// Counters and health over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// Where they are served; `None`: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Listen>,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// An IP address and a TCP port, which is not 0.
    Tcp(SocketAddr),
    /// A Unix socket; absolute, at most 107 bytes.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "{}", path.display()),
        }
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(crate) const KEYS: &[Key] = &[Key {
    name: "listen",
    kinds: &[],
    takes: "`ADDRESS:PORT`, or the absolute path of a Unix socket",
    default: "none: nothing is served",
    meaning: "serves `/metrics`, `/healthz` and `/readyz` there over HTTP, to whoever can connect ([metrics.md](metrics.md))",
}];

pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Metrics, Reported> {
    let listen = section.optional("listen", listen);
    section.refuse_others(None);
    Ok(Metrics { listen: listen? })
}

fn listen(raw: Raw<'_>) -> Result<Listen, String> {
    let text = value::text(raw)?;
    if text.starts_with('/') {
        return value::socket_path(raw).map(Listen::Unix);
    }
    let quoted = crate::raw::quote(text);
    let address: SocketAddr = text.parse().map_err(|_| {
        format!(
            "{quoted} is no IP address with a port and no absolute path; write \"127.0.0.1:9464\", \"[::1]:9464\" or \"/run/shunt/metrics.sock\""
        )
    })?;
    if address.port() == 0 {
        return Err(format!("port 0 of {quoted} would be another one at each start; write one, as 9464"));
    }
    Ok(Listen::Tcp(address))
}

#[cfg(test)]
mod tests {
    use crate::parse;

    fn listen(value: &str) -> Result<String, String> {
        let config = parse(&format!("[metrics]\nlisten = {value}\n"), "f.toml");
        let config = config.map_err(|errors| errors.to_string())?;
        Ok(config.metrics.listen.map_or_else(String::new, |listen| listen.to_string()))
    }

    #[test]
    fn an_address_with_a_port_or_a_path() {
        for good in ["127.0.0.1:9464", "[::1]:9464", "0.0.0.0:1", "/run/shunt/metrics.sock"] {
            assert_eq!(listen(&format!("\"{good}\"")).as_deref(), Ok(good));
        }
        assert_eq!(parse("[metrics]\n", "f.toml").unwrap().metrics.listen, None);
    }

    #[test]
    fn what_is_neither_is_refused_in_one_line_that_says_what_to_write() {
        let cases = [
            ("9464", "expected a string, found the integer 9464; put it in double quotes"),
            (
                "\"localhost:9464\"",
                "is no IP address with a port and no absolute path; write \"127.0.0.1:9464\"",
            ),
            ("\":9464\"", "is no IP address with a port"),
            ("\"127.0.0.1\"", "is no IP address with a port"),
            ("\"127.0.0.1:0\"", "would be another one at each start; write one, as 9464"),
            ("\"127.0.0.1:65536\"", "is no IP address with a port"),
            ("\"run/metrics.sock\"", "is no IP address with a port and no absolute path"),
            ("\"/run/shunt/\"", "names a directory"),
        ];
        for (value, said) in cases {
            let message = listen(value).unwrap_err();
            assert!(message.starts_with("f.toml:2:10: metrics.listen: "), "{message}");
            assert!(message.contains(said) && message.lines().count() == 1, "{message}");
        }
    }
}
