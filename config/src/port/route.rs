//! `routes` of a `tap` port: what the kernel reaches through the device.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::error::Reported;
use crate::keys::{Key, key};
use crate::raw::{Raw, quote};
use crate::router::prefix;
use crate::section::Section;
use crate::value;

/// A route of the kernel's side of a port, as `ip route add TO via VIA src SRC dev DEVICE` makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KernelRoute {
    /// Where to: a prefix without host bits.
    pub to: IpNet,
    /// The next router, in the subnet of one of the port's addresses; `None`: what the route leads to is on the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The source address that the kernel prefers, one of the port's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
}

const KEYS: &[Key] = &[
    key("to", &[], "prefix", "required", "where to"),
    key("via", &[], "address", "none", "the next router"),
    key("src", &[], "address", "none", "the source address that the kernel prefers"),
];

/// What one looks like.
const EXAMPLE: &str = "{ to = \"10.96.0.0/12\", via = \"10.128.0.1\" }";

/// Reads all routes; `addresses` are those of the port, `None` when they hold a mistake.
pub(crate) fn all(
    section: &mut Section<'_, '_>,
    addresses: Option<&[IpNet]>,
) -> Result<Vec<KernelRoute>, Reported> {
    if section.is_words() {
        return words(section, addresses);
    }
    let routes = section.tables("routes", KEYS, EXAMPLE, |section| one(section, addresses))?;
    let mut known: Vec<IpNet> = Vec::new();
    for (i, route) in routes.iter().enumerate() {
        let Some(route) = route else { continue };
        if known.contains(&route.to) {
            let message = format!("{} has a route already; remove one of the two", route.to);
            return Err(section.report(&format!("routes[{i}].to"), message));
        }
        known.push(route.to);
    }
    routes.into_iter().collect::<Option<_>>().ok_or(Reported)
}

fn one(section: &mut Section<'_, '_>, addresses: Option<&[IpNet]>) -> Result<KernelRoute, Reported> {
    let to = section.required("to", "\"10.96.0.0/12\"", prefix);
    let via = section.optional("via", value::unicast);
    let src = section.optional("src", value::unicast);
    section.refuse_others(None);
    let route = KernelRoute { to: to?, via: via?, src: src? };
    match addresses.map_or(Ok(()), |addresses| check(&route, addresses)) {
        Ok(()) => Ok(route),
        Err((key, message)) => Err(section.report(key, message)),
    }
}

/// Routes as words of a command line: `TO`, `TO/via/VIA`, `TO/src/SRC` or both.
fn words(section: &mut Section<'_, '_>, addresses: Option<&[IpNet]>) -> Result<Vec<KernelRoute>, Reported> {
    section.list("routes", |raw| {
        let text = value::text(raw)?;
        let cut = text.match_indices('/').nth(1).map_or(text.len(), |(at, _)| at);
        let mut route = KernelRoute { to: prefix(Raw::Word(&text[..cut]))?, via: None, src: None };
        let mut parts = text[cut..].split('/').skip(1);
        while let Some(word) = parts.next() {
            let address = value::unicast(Raw::Word(parts.next().unwrap_or_default()))?;
            match word {
                "via" => route.via = Some(address),
                "src" => route.src = Some(address),
                _ => {
                    let shown = quote(text);
                    return Err(format!("{shown} is not a route; write it as 10.96.0.0/12/via/10.128.0.1"));
                }
            }
        }
        addresses.map_or(Ok(()), |addresses| check(&route, addresses)).map_err(|(_, message)| message)?;
        Ok(route)
    })
}

/// What the kernel would refuse (`fib_check_nh`, `inet_addr_type` for `src`), said beforehand: key and message.
fn check(route: &KernelRoute, addresses: &[IpNet]) -> Result<(), (&'static str, String)> {
    for (key, address) in [("via", route.via), ("src", route.src)] {
        let Some(address) = address else { continue };
        if address.is_ipv4() != route.to.addr().is_ipv4() {
            return Err((key, format!("{address} and {} are of two families; use one", route.to)));
        }
    }
    if let Some(via) = route.via {
        let link_local = matches!(via, IpAddr::V6(via) if via.is_unicast_link_local());
        if !link_local && !addresses.iter().any(|net| value::is_station_of(*net, via)) {
            let message = format!(
                "{via} is in the subnet of none of the port's addresses, so the kernel cannot reach it; add an address \
                 with its subnet, or remove via"
            );
            return Err(("via", message));
        }
        if addresses.iter().any(|net| net.addr() == via) {
            return Err(("via", format!("{via} is the port's own address; name another router")));
        }
    }
    match route.src {
        Some(src) if !addresses.iter().any(|net| net.addr() == src) => {
            Err(("src", format!("{src} is no address of the port; add it to addresses, or remove src")))
        }
        _ => Ok(()),
    }
}
