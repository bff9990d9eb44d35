//! What single values may be. Each function returns a parser: it takes a value as written and gives the typed one, or a
//! message of the form "what is wrong; what to do".

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::keys::nearest;
use crate::mac::MacAddr;
use crate::raw::{Raw, quote};

/// Longest path of a Unix socket in bytes: `sun_path` of unix(7) less the terminating NUL.
pub const SOCKET_PATH_MAX: usize = 107;

/// An integer in `range`.
pub(crate) fn integer<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> impl Fn(Raw<'_>) -> Result<T, String> {
    move |raw| {
        let (low, high) = (*range.start(), *range.end());
        let Some(value) = raw.integer() else {
            let hint = match raw.text().map(|text| text.trim().parse::<i64>()) {
                Some(Ok(_)) => "remove the quotes".to_owned(),
                _ => format!("write a number from {low} to {high}"),
            };
            return Err(format!("expected an integer, found {}; {hint}", raw.describe()));
        };
        let wrong = || format!("{} is out of range; choose {low} to {high}", raw.literal());
        if !range.contains(&value) {
            return Err(wrong());
        }
        T::try_from(value).map_err(|_| wrong())
    }
}

/// `true` or `false`.
pub(crate) fn boolean(raw: Raw<'_>) -> Result<bool, String> {
    raw.boolean().ok_or_else(|| format!("expected a boolean, found {}; write true or false", raw.describe()))
}

/// Text that is not empty and has no control characters.
pub(crate) fn text(raw: Raw<'_>) -> Result<&str, String> {
    let Some(text) = raw.text() else {
        return Err(format!("expected a string, found {}; put it in double quotes", raw.describe()));
    };
    if text.is_empty() {
        return Err("the string is empty; give a value or remove the key".to_owned());
    }
    match text.chars().find(|c| c.is_control()) {
        Some(bad) => Err(format!("the string contains the control character {bad:?}; remove it")),
        None => Ok(text),
    }
}

/// What stands beside one of a few words.
pub(crate) fn one_of<T: Copy + 'static>(
    choices: &'static [(&'static str, T)],
) -> impl Fn(Raw<'_>) -> Result<T, String> {
    move |raw| entry_of(choices)(raw).map(|(_, value)| value)
}

/// One of a few words, and what stands beside it.
pub(crate) fn entry_of<T: Copy + 'static>(
    choices: &'static [(&'static str, T)],
) -> impl Fn(Raw<'_>) -> Result<(&'static str, T), String> {
    move |raw| {
        let words = || choices.iter().map(|(word, _)| *word);
        let all = || words().collect::<Vec<_>>().join(", ");
        let Some(text) = raw.text() else {
            return Err(format!("expected a string, found {}; use one of: {}", raw.describe(), all()));
        };
        match choices.iter().find(|(word, _)| *word == text) {
            Some(entry) => Ok(*entry),
            None => Err(match nearest(text, words()) {
                Some(near) => format!("{} is not known; did you mean {near:?}?", quote(text)),
                None => format!("{} is not known; use one of: {}", quote(text), all()),
            }),
        }
    }
}

/// A length of time with its unit, as `"50us"`, in `range`.
pub(crate) fn duration(range: RangeInclusive<Duration>) -> impl Fn(Raw<'_>) -> Result<Duration, String> {
    move |raw| {
        let Some(text) = raw.text() else {
            let found = raw.describe();
            return Err(format!(
                "expected a duration, found {found}; write it with its unit, as \"50us\" or \"5m\""
            ));
        };
        // humantime wants a unit even on zero, where none is needed.
        let text = if text == "0" { "0s" } else { text };
        let value = humantime::parse_duration(text).map_err(|_| {
            format!("{} is not a duration; write it with its unit, as \"50us\" or \"5m\"", quote(text))
        })?;
        if range.contains(&value) {
            return Ok(value);
        }
        let [low, high] = [range.start(), range.end()].map(|d| humantime::format_duration(*d));
        Err(format!("{} is out of range; choose {low} to {high}", quote(text)))
    }
}

/// Anything that parses from text and says itself what to do when it does not.
pub(crate) fn parsed<T>(raw: Raw<'_>) -> Result<T, String>
where
    T: FromStr,
    T::Err: Display,
{
    text(raw)?.parse::<T>().map_err(|e| format!("{}: {e}", quote(raw.text().unwrap_or_default())))
}

/// The address of one station.
pub(crate) fn station(raw: Raw<'_>) -> Result<MacAddr, String> {
    let mac: MacAddr = parsed(raw)?;
    if mac.is_multicast() {
        let fixed = mac.0[0] & 0xfe | 0x02;
        return Err(format!(
            "{mac} is a multicast address; use one with an even first byte, as {fixed:02x}:..."
        ));
    }
    if !mac.is_station() {
        return Err(
            "the all-zero address belongs to no station; use another, as 02:00:00:00:00:01".to_owned()
        );
    }
    Ok(mac)
}

/// A unicast address without a prefix length.
pub(crate) fn unicast(raw: Raw<'_>) -> Result<IpAddr, String> {
    let text = text(raw)?;
    let shown = quote(text);
    if let Ok(net) = text.parse::<IpNet>() {
        return Err(format!("{shown} has a prefix length; write the address alone, as \"{}\"", net.addr()));
    }
    let address: IpAddr = text
        .parse()
        .map_err(|_| format!("{shown} is not an IP address; write it as \"10.0.2.7\" or \"fd00::7\""))?;
    if !is_unicast(address) {
        return Err(format!("{shown} is not a unicast address of a station; use another"));
    }
    Ok(address)
}

/// `address`, if it may be a station's.
pub(crate) fn usable(address: IpAddr) -> Option<IpAddr> {
    is_unicast(address).then_some(address)
}

fn is_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast)
}

/// An address of a station with its prefix length.
pub(crate) fn address(raw: Raw<'_>) -> Result<IpNet, String> {
    let text = text(raw)?;
    let shown = quote(text);
    if let Ok(alone) = text.parse::<IpAddr>() {
        let length = if alone.is_ipv4() { 24 } else { 64 };
        return Err(format!("{shown} has no prefix length; add it, as \"{alone}/{length}\""));
    }
    let net: IpNet = text.parse().map_err(|_| {
        format!("{shown} is not an address; write it with its prefix length, as \"10.0.0.2/24\"")
    })?;
    let addr = net.addr();
    if !is_unicast(addr) {
        return Err(format!("{shown} is not a unicast address of a station; use another"));
    }
    if has_ends(net) && addr == net.network() {
        return Err(format!("{shown} is the prefix itself; give an address in it"));
    }
    if has_ends(net) && addr.is_ipv4() && addr == net.broadcast() {
        return Err(format!("{shown} is the broadcast address of its prefix; give another address in it"));
    }
    Ok(net)
}

/// True unless all addresses of the prefix are stations': point-to-point links, RFC 3021 for IPv4 and RFC 6164 for IPv6.
fn has_ends(net: IpNet) -> bool {
    net.prefix_len() + 1 < net.max_prefix_len()
}

/// True when a station in `subnet` may have `address`.
pub(crate) fn is_station_of(subnet: IpNet, address: IpAddr) -> bool {
    let end = address == subnet.network() || address.is_ipv4() && address == subnet.broadcast();
    subnet.contains(&address) && !(has_ends(subnet) && end)
}

/// An absolute path of a file.
pub(crate) fn file_path(raw: Raw<'_>) -> Result<PathBuf, String> {
    let text = text(raw)?;
    match (text.starts_with('/'), text.ends_with('/')) {
        (false, _) => {
            Err(format!("{} is a relative path; write it from /, as \"/etc/shunt/...\"", quote(text)))
        }
        (_, true) => Err(format!("{} names a directory; name the file in it", quote(text))),
        _ => Ok(PathBuf::from(text)),
    }
}

/// An absolute path of a directory.
pub(crate) fn directory(raw: Raw<'_>) -> Result<PathBuf, String> {
    let text = text(raw)?;
    if !text.starts_with('/') {
        return Err(format!("{} is a relative path; write it from /, as \"/var/lib/shunt\"", quote(text)));
    }
    Ok(PathBuf::from(text))
}

/// An absolute path of a Unix socket. Commas, brackets and spaces are refused because the path may become part of DPDK
/// device arguments, where they would end it (`rte_kvargs_parse`).
pub(crate) fn socket_path(raw: Raw<'_>) -> Result<PathBuf, String> {
    let text = text(raw)?;
    if !text.starts_with('/') {
        return Err(format!("{} is a relative path; write it from /, as \"/run/shunt/...\"", quote(text)));
    }
    if text.ends_with('/') {
        return Err(format!("{} names a directory; name the socket in it", quote(text)));
    }
    if text.len() > SOCKET_PATH_MAX {
        let len = text.len();
        return Err(format!("a socket path of {len} bytes is too long; the kernel allows {SOCKET_PATH_MAX}"));
    }
    match text.chars().find(|c| c.is_whitespace() || ",[]=\"".contains(*c)) {
        Some(bad) => Err(format!("the character {bad:?} is not allowed in a socket path; rename it")),
        None => Ok(PathBuf::from(text)),
    }
}
