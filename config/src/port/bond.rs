//! `kind = "bond"`: several uplinks as one port.

use serde::Serialize;

use super::kind::PortKind;
use super::read;
use crate::error::Reported;
use crate::keys::{Key, key};
use crate::mac::MacAddr;
use crate::names::{PortName, check_device_name};
use crate::raw::{Raw, quote};
use crate::section::Section;
use crate::value;

/// Members of a bond at most.
pub const MEMBERS_MAX: usize = 8;

/// Several links that carry the traffic of one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bond {
    /// The links, at least one. Written by themselves, on one line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<BondMember>,
    /// Who decides which of them carry traffic.
    pub mode: BondMode,
    /// How often the partner is to speak.
    pub rate: LacpRate,
    /// What of a frame says by which link it leaves.
    pub hash: BondHash,
    /// Without so many links that may carry traffic there is none, 1 to the number of members.
    pub min_links: u8,
    /// Our system to the partner; the address of the first member that has one when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_mac: Option<MacAddr>,
    /// Priority of our system; the lower is the better.
    pub system_priority: u16,
}

/// One link of a bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BondMember {
    /// Its name, unique among all ports and members.
    pub name: PortName,
    /// What it is: `veth`, `tap`, `af_xdp` or `dpdk`.
    #[serde(flatten)]
    pub kind: PortKind,
}

impl BondMember {
    /// The kernel device behind it; `None` for `dpdk`.
    pub fn device(&self) -> Option<&str> {
        self.kind.device(&self.name)
    }
}

/// Who decides which links carry traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BondMode {
    /// Both sides, by LACP (IEEE 802.1AX).
    #[default]
    Lacp,
    /// The first link that is up carries all.
    ActiveBackup,
    /// All links that are up carry traffic, without a protocol.
    Static,
}

/// How often a LACP partner is asked to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LacpRate {
    /// Every second; it is given up after three.
    #[default]
    Fast,
    /// Every 30 seconds; it is given up after 90.
    Slow,
}

/// What of a frame says by which link it leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum BondHash {
    /// IP addresses, protocol and ports; of a tunnel those outside.
    #[default]
    #[serde(rename = "layer3+4")]
    Layer34,
    /// Ethernet addresses, VLAN and IP addresses.
    #[serde(rename = "layer2+3")]
    Layer23,
    /// Ethernet addresses and VLAN.
    #[serde(rename = "layer2")]
    Layer2,
}

impl BondHash {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Layer34 => "layer3+4",
            Self::Layer23 => "layer2+3",
            Self::Layer2 => "layer2",
        }
    }
}

/// The keys of one member.
const MEMBER_KEYS: &[Key] = &[
    key("name", &[], "name", "the device", "its name; unique among ports and members"),
    key("kind", &[], "`\"veth\"`, `\"tap\"`, `\"af_xdp\"` or `\"dpdk\"`", "required", "what it is"),
    key("device", &["veth", "tap", "af_xdp"], "device name, at most 15 bytes", "required", "kernel device"),
    key("start_queue", &["af_xdp"], "integer, 0 to 1023", "0", "first queue of the device"),
    key("devargs", &["dpdk"], "DPDK device arguments", "required", "PCI address or virtual device"),
];

const EXAMPLE: &str = "{ kind = \"af_xdp\", device = \"eth0\" }";

type Reader = for<'x, 'a, 's> fn(&'x mut Section<'a, 's>) -> Result<PortKind, Reported>;

const READERS: &[(&str, Reader)] =
    &[("veth", read::veth), ("tap", tap), ("af_xdp", read::af_xdp), ("dpdk", read::dpdk)];

/// Reads the keys of a bond.
pub(super) fn keys(section: &mut Section<'_, '_>) -> Result<PortKind, Reported> {
    const MODES: &[(&str, BondMode)] =
        &[("lacp", BondMode::Lacp), ("active-backup", BondMode::ActiveBackup), ("static", BondMode::Static)];
    const RATES: &[(&str, LacpRate)] = &[("fast", LacpRate::Fast), ("slow", LacpRate::Slow)];
    const HASHES: &[(&str, BondHash)] =
        &[("layer3+4", BondHash::Layer34), ("layer2+3", BondHash::Layer23), ("layer2", BondHash::Layer2)];
    let members = members(section);
    let mode = section.or("mode", BondMode::default(), value::one_of(MODES));
    let rate = section.or("rate", LacpRate::default(), value::one_of(RATES));
    let hash = section.or("hash", BondHash::default(), value::one_of(HASHES));
    let min_links = section.or("min_links", 1, value::integer(1..=MEMBERS_MAX as i64));
    let system_mac = section.optional("system_mac", value::station);
    let system_priority = section.or("system_priority", 32_768, value::integer(0..=i64::from(u16::MAX)));
    let (members, min_links) = (members?, min_links?);
    if usize::from(min_links) > members.len() {
        let message = format!("there are {} members; choose at most that many", members.len());
        return Err(section.report("min_links", message));
    }
    let (mode, rate, hash) = (mode?, rate?, hash?);
    let (unused, message): (&[&str], _) = match mode {
        BondMode::Lacp => (&[], ""),
        BondMode::ActiveBackup => (
            &["rate", "hash", "system_mac", "system_priority"],
            "active-backup speaks no LACP and spreads nothing; remove it, or set mode = \"lacp\"",
        ),
        BondMode::Static => (
            &["rate", "system_mac", "system_priority"],
            "a static bond speaks no LACP; remove it, or set mode = \"lacp\"",
        ),
    };
    for key in unused {
        if section.has(key) && !is_default(key, rate, hash, &system_mac, &system_priority) {
            return Err(section.report(key, message));
        }
    }
    let (system_mac, system_priority) = (system_mac?, system_priority?);
    Ok(PortKind::Bond(Bond { members, mode, rate, hash, min_links, system_mac, system_priority }))
}

/// What a written-out configuration has is no mistake.
fn is_default(
    key: &str,
    rate: LacpRate,
    hash: BondHash,
    system_mac: &Result<Option<MacAddr>, Reported>,
    system_priority: &Result<u16, Reported>,
) -> bool {
    match key {
        "rate" => rate == LacpRate::default(),
        "hash" => hash == BondHash::default(),
        "system_mac" => matches!(system_mac, Ok(None)),
        _ => matches!(system_priority, Ok(32_768)),
    }
}

fn members(section: &mut Section<'_, '_>) -> Result<Vec<BondMember>, Reported> {
    if !section.has("members") {
        return Err(
            section.report("members", format!("required but missing; add it, as members = [{EXAMPLE}]"))
        );
    }
    let members = if section.is_words() {
        section.list("members", word)?
    } else {
        let members = section.tables("members", MEMBER_KEYS, EXAMPLE, member)?;
        // What is wrong with one is reported there.
        members.into_iter().collect::<Option<Vec<_>>>().ok_or(Reported)?
    };
    match members.len() {
        0 => {
            Err(section
                .report("members", format!("a bond needs a member; add one, as members = [{EXAMPLE}]")))
        }
        1..=MEMBERS_MAX => Ok(members),
        more => Err(section
            .report("members", format!("{more} members are too many; a bond has at most {MEMBERS_MAX}"))),
    }
}

fn member(section: &mut Section<'_, '_>) -> Result<BondMember, Reported> {
    let kind = match section.required("kind", "\"af_xdp\"", member_kind) {
        Ok((name, reader)) => {
            section.refuse_others(Some((name, "members")));
            reader(section)
        }
        Err(Reported) => {
            section.refuse_others(None);
            Err(Reported)
        }
    };
    let name = section.optional("name", value::parsed::<PortName>);
    let (kind, name) = (kind?, name?);
    let name = match name {
        Some(name) => name,
        None => named_as(&kind).map_err(|message| section.report("name", message))?,
    };
    Ok(BondMember { name, kind })
}

/// How a member of that kind is read. What is a port's kind and cannot be a member's is refused with the reason.
fn member_kind(raw: Raw<'_>) -> Result<(&'static str, Reader), String> {
    const REFUSED: &[(&str, &str)] = &[
        ("tun", "a TUN has no Ethernet header, so no LACPDU and no station passes it"),
        (
            "vhost-user",
            "what is behind a vhost-user socket is a guest, not a switch; make it a port of its own",
        ),
        ("memif", "what is behind a memif is a program, not a switch; make it a port of its own"),
        ("bond", "a bond within a bond; name its members here"),
    ];
    match REFUSED.iter().find(|(kind, _)| raw.text() == Some(*kind)) {
        Some((kind, why)) => Err(format!("{} is no link of a bond: {why}", quote(kind))),
        None => value::entry_of(READERS)(raw),
    }
}

/// A member of the name of its device.
fn named_as(kind: &PortKind) -> Result<PortName, String> {
    const MISSING: &str = "required but missing; add it, as name = \"link0\"";
    let device = match kind {
        PortKind::Veth { device } | PortKind::AfXdp { device, .. } => device,
        PortKind::Tap { device: Some(device), .. } => device,
        _ => return Err(MISSING.to_owned()),
    };
    PortName::new(device)
        .map_err(|_| format!("{} is no name for a member; give it one, as name = \"link0\"", quote(device)))
}

/// A TAP that the daemon makes: for trying a bond out.
fn tap(section: &mut Section<'_, '_>) -> Result<PortKind, Reported> {
    let device = section.required("device", "\"tap0\"", |raw| {
        let name = value::text(raw)?;
        check_device_name(name)?;
        read::check_new_device(name).map(|()| name.to_owned())
    })?;
    let (addresses, routes) = (Vec::new(), Vec::new());
    Ok(PortKind::Tap { device: Some(device), netns: None, addresses, routes, peer_mac: None })
}

/// Reads a member from a word of a command line: `KIND:DEVICE`.
fn word(raw: Raw<'_>) -> Result<BondMember, String> {
    let word = value::text(raw)?;
    let (kind, device) = word
        .split_once(':')
        .ok_or_else(|| format!("{} has no kind; write it as af_xdp:eth0", quote(word)))?;
    let named = || check_device_name(device).map(|()| device.to_owned());
    let kind = match kind {
        "veth" => PortKind::Veth { device: named()? },
        "af_xdp" => PortKind::AfXdp { device: named()?, start_queue: 0 },
        _ => return Err(format!("{} is no kind of member here; use one of: veth, af_xdp", quote(kind))),
    };
    Ok(BondMember { name: named_as(&kind)?, kind })
}
