//! `floating_ips` of a router: addresses outside that stand for one station inside each, both ways (basic NAT, RFC 3022
//! section 2.1; the floating IPs of OpenStack, the `dnat_and_snat` of OVN).

use std::collections::HashSet;
use std::net::IpAddr;

use serde::Serialize;

use crate::error::Reported;
use crate::keys::Key;
use crate::section::Section;
use crate::value;

/// A station's address outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FloatingIp {
    /// What others see.
    pub external: IpAddr,
    /// The station's own.
    pub internal: IpAddr,
}

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "external",
        kinds: &[],
        takes: "address",
        default: "required",
        meaning: "what others see of the station; in a subnet of one of the router's networks the switch answers ARP and ND for it",
    },
    Key { name: "internal", kinds: &[], takes: "address", default: "required", meaning: "the station's own" },
];

/// One that would do.
pub(super) const EXAMPLE: &str = "{ external = \"192.168.50.7\", internal = \"10.16.0.11\" }";

pub(super) fn read(section: &mut Section<'_, '_>) -> Result<FloatingIp, Reported> {
    let external = section.required("external", "\"192.168.50.7\"", value::unicast);
    let internal = section.required("internal", "\"10.16.0.11\"", value::unicast);
    section.refuse_others(None);
    let floating = FloatingIp { external: external?, internal: internal? };
    if floating.external.is_ipv4() != floating.internal.is_ipv4() {
        let message = format!("{} and {} are of two families; use one", floating.external, floating.internal);
        return Err(section.report("internal", message));
    }
    Ok(floating)
}

/// What stands twice: the key in the list and what is wrong with it.
pub(crate) fn repeated(floating: &[Option<FloatingIp>], pool: &[IpAddr]) -> Vec<(String, String)> {
    let (mut external, mut internal) = (HashSet::new(), HashSet::new());
    let mut found = Vec::new();
    for (at, one) in floating.iter().enumerate() {
        let Some(one) = one else { continue };
        for (key, address, known) in
            [("external", one.external, &mut external), ("internal", one.internal, &mut internal)]
        {
            if !known.insert(address) {
                let message = format!("{address} has a floating address already; remove one of the two");
                found.push((format!("floating_ips[{at}].{key}"), message));
            }
        }
    }
    let mut pooled = HashSet::new();
    for (at, address) in pool.iter().enumerate() {
        let message = match (pooled.insert(*address), external.contains(address)) {
            (true, false) => continue,
            (false, _) => format!("{address} is given twice; give it once"),
            (true, true) => format!("{address} is a floating address; remove it from one of the two"),
        };
        found.push((format!("snat_pool[{at}]"), message));
    }
    found
}
