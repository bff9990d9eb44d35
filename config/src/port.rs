//! `[[port]]`: an attachment. Keys of every port are here, those of one kind in [`mod@read`].

pub(crate) mod bond;
pub(crate) mod endpoint;
mod keys;
pub(crate) mod kind;
pub(crate) mod mirror;
pub(crate) mod netns;
mod read;
pub(crate) mod route;
pub(crate) mod secret;

use serde::Serialize;

use crate::error::{Reported, Sink};
use crate::mac::MacAddr;
use crate::names::{NetworkName, PortName};
use crate::network::mac_limit;
use crate::network::mtu::{MTU_MAX, MTU_MIN};
use crate::police::{self, Police};
use crate::section::Section;
use crate::value;
use crate::vlan::{VlanSet, range, vid};

use endpoint::Endpoint;
pub(crate) use keys::KEYS;
use kind::PortKind;
use mirror::MirrorDirection;

/// Most queues of one port.
pub const QUEUES_MAX: u16 = 16;

/// An attachment to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Its name, unique.
    pub name: PortName,
    /// What it is connected to.
    #[serde(flatten)]
    pub kind: PortKind,
    /// The network it belongs to; exists in the configuration.
    pub network: NetworkName,
    /// False keeps it configured but down.
    pub admin_up: bool,
    /// Bytes after the Ethernet header; the network's when `None`. See [`Config::port_mtu`](crate::Config::port_mtu).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Ethernet address of the switch's end; the device's own, or a drawn one, when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Number of queues, 1 to 16.
    pub queues: u16,
    /// The worker of each queue, by index; empty is automatic, otherwise `queues` entries below `workers.count`, of a bond so many
    /// for each member.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub placement: Vec<u16>,
    /// Most addresses learned on this port; only the network's limit when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_limit: Option<u32>,
    /// Stations known to be behind the port: in the MAC table from the start, never aged, never moved by traffic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stations: Vec<MacAddr>,
    /// Stations with their IP addresses: as `stations`, and neighbours of the network from the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// Whether sources are held against `endpoints`, as configured; see [`Config::spoof_check`](crate::Config::spoof_check).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spoof_check: Option<bool>,
    /// The port is closed until each address of `endpoints` is one of a pod: until then nobody knows its policies.
    pub needs_pod: bool,
    /// Whether it may send control protocols of links and routers, as configured; see [`Config::trusts`](crate::Config::trusts).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted: Option<bool>,
    /// The port that gets copies of frames of this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<PortName>,
    /// Of which frames.
    #[serde(skip_serializing_if = "MirrorDirection::is_ingress")]
    pub mirror_direction: MirrorDirection,
    /// What may come in by it in a second.
    #[serde(flatten)]
    pub police: Police,
    /// The VLAN of an access port of a bridge with `vlans`; never together with `trunk`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The VLANs whose tagged frames a trunk port takes and sends.
    #[serde(skip_serializing_if = "VlanSet::is_empty")]
    pub trunk: VlanSet,
    /// Of a trunk port, the VLAN of untagged frames; `None`: see `untagged`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_vlan: Option<u16>,
    /// Untagged frames of a trunk port are in the bridge's untagged domain; else, without `native_vlan`, nowhere.
    pub untagged: bool,
    /// The tags of a trunk port are service tags (IEEE 802.1ad, TPID 0x88a8).
    pub service_tag: bool,
}

impl Port {
    /// A port of `kind` in the default network, everything else at its default.
    pub fn new(name: PortName, kind: PortKind) -> Port {
        Port {
            name,
            kind,
            network: NetworkName::default(),
            admin_up: true,
            mtu: None,
            mac: None,
            queues: 1,
            placement: Vec::new(),
            mac_limit: None,
            stations: Vec::new(),
            endpoints: Vec::new(),
            spoof_check: None,
            needs_pod: false,
            trusted: None,
            mirror: None,
            mirror_direction: MirrorDirection::default(),
            police: Police::default(),
            vlan: None,
            trunk: VlanSet::default(),
            native_vlan: None,
            untagged: false,
            service_tag: false,
        }
    }

    /// False for a trunk port that refuses untagged frames.
    pub fn takes_untagged(&self) -> bool {
        self.trunk.is_empty() || self.native_vlan.is_some() || self.untagged
    }

    /// The kernel device behind the port; `None` for kinds without.
    pub fn device(&self) -> Option<&str> {
        self.kind.device(&self.name)
    }
}

/// A port as far as it could be read: a field that holds a mistake is `None`, so that no check reports it twice.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The section's own key.
    pub(crate) path: String,
    pub(crate) name: Option<PortName>,
    pub(crate) kind: Option<PortKind>,
    pub(crate) network: Option<NetworkName>,
    pub(crate) network_given: bool,
    pub(crate) admin_up: bool,
    pub(crate) mtu: Option<u16>,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) queues: Option<u16>,
    pub(crate) placement: Option<Vec<u16>>,
    pub(crate) mac_limit: Option<u32>,
    pub(crate) stations: Option<Vec<MacAddr>>,
    /// Each at its place in the text.
    pub(crate) endpoints: Option<Vec<Option<Endpoint>>>,
    pub(crate) spoof_check: Option<bool>,
    pub(crate) needs_pod: bool,
    pub(crate) trusted: Option<bool>,
    pub(crate) mirror: Option<PortName>,
    pub(crate) mirror_direction: MirrorDirection,
    pub(crate) police: Police,
    /// What it has of VLANs; `None` when that holds a mistake.
    pub(crate) vlans: Option<Vlans>,
}

/// What a port says about VLANs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vlans {
    pub(crate) vlan: Option<u16>,
    pub(crate) trunk: VlanSet,
    pub(crate) native: Option<u16>,
    pub(crate) untagged: bool,
    pub(crate) service: bool,
}

impl Draft {
    /// The port, when every field is there.
    pub(crate) fn complete(self) -> Option<Port> {
        let vlans = self.vlans?;
        Some(Port {
            name: self.name?,
            kind: self.kind?,
            network: self.network?,
            admin_up: self.admin_up,
            mtu: self.mtu,
            mac: self.mac,
            queues: self.queues?,
            placement: self.placement?,
            mac_limit: self.mac_limit,
            stations: self.stations?,
            endpoints: self.endpoints?.into_iter().collect::<Option<_>>()?,
            spoof_check: self.spoof_check,
            needs_pod: self.needs_pod,
            trusted: self.trusted,
            mirror: self.mirror,
            mirror_direction: self.mirror_direction,
            police: self.police,
            vlan: vlans.vlan,
            trunk: vlans.trunk,
            native_vlan: vlans.native,
            untagged: vlans.untagged,
            service_tag: vlans.service,
        })
    }

    /// A complete port again as a draft, to be checked against others.
    pub(crate) fn of(port: &Port) -> Draft {
        let port = port.clone();
        Draft {
            path: format!("port {}", port.name),
            name: Some(port.name),
            kind: Some(port.kind),
            network: Some(port.network),
            network_given: true,
            admin_up: port.admin_up,
            mtu: port.mtu,
            mac: port.mac,
            queues: Some(port.queues),
            placement: Some(port.placement),
            mac_limit: port.mac_limit,
            stations: Some(port.stations),
            endpoints: Some(port.endpoints.into_iter().map(Some).collect()),
            spoof_check: port.spoof_check,
            needs_pod: port.needs_pod,
            trusted: port.trusted,
            mirror: port.mirror,
            mirror_direction: port.mirror_direction,
            police: port.police,
            vlans: Some(Vlans {
                vlan: port.vlan,
                trunk: port.trunk,
                native: port.native_vlan,
                untagged: port.untagged,
                service: port.service_tag,
            }),
        }
    }

    /// The key of one field in full.
    pub(crate) fn key(&self, name: &str) -> String {
        crate::raw::join(&self.path, name)
    }
}

/// Reads one port; whatever is wrong with it alone is reported.
pub(crate) fn read(path: String, table: crate::raw::Table<'_>, sink: &mut Sink) -> Draft {
    let mut section = Section::new(path.clone(), table, KEYS, sink);
    let section = &mut section;
    let name = section.required("name", "\"p0\"", value::parsed::<PortName>).ok();
    let kind = read::kind(section);
    if let (Some(name), Some(PortKind::Tap { device: None, .. } | PortKind::Tun { device: None, .. })) =
        (&name, &kind)
        && let Err(message) = read::check_new_device(name.as_str())
    {
        section.report("name", format!("the device would have the port's name, but {message}"));
    }
    let network_given = section.has("network");
    let network = section.or("network", NetworkName::default(), value::parsed::<NetworkName>).ok();
    let admin_up = section.or("admin_up", true, value::boolean).unwrap_or(true);
    let mtu_range = i64::from(MTU_MIN)..=i64::from(MTU_MAX);
    let mtu = section.optional("mtu", value::integer(mtu_range)).unwrap_or(None);
    let mac = section.optional("mac", value::station).unwrap_or(None);
    let queues = section.or("queues", 1, value::integer(1..=i64::from(QUEUES_MAX))).ok();
    let placement =
        section.list("placement", value::integer(0..=i64::from(crate::workers::WORKERS_MAX) - 1)).ok();
    let mac_limit = section.optional("mac_limit", mac_limit).unwrap_or(None);
    let stations = section.list("stations", value::station).ok();
    let endpoints = endpoints(section).ok();
    let spoof_check = section.optional("spoof_check", value::boolean).unwrap_or(None);
    let needs_pod = needs_pod(section, endpoints.as_deref()).unwrap_or(false);
    let trusted = section.optional("trusted", value::boolean).unwrap_or(None);
    let (mirror, mirror_direction) = mirror::read(section).unwrap_or_default();
    let police = police::read(section).unwrap_or_default();
    let vlans = vlans(section).ok();
    Draft {
        path,
        name,
        kind,
        network,
        network_given,
        admin_up,
        mtu,
        mac,
        queues,
        placement,
        mac_limit,
        stations,
        endpoints,
        spoof_check,
        needs_pod,
        trusted,
        mirror,
        mirror_direction,
        police,
        vlans,
    }
}

/// A port without addresses would wait for ever.
fn needs_pod(
    section: &mut Section<'_, '_>,
    endpoints: Option<&[Option<Endpoint>]>,
) -> Result<bool, Reported> {
    let needs = section.or("needs_pod", false, value::boolean)?;
    let addressed = |endpoints: &[Option<Endpoint>]| {
        // One that holds a mistake may have any.
        endpoints.iter().any(|endpoint| endpoint.as_ref().is_none_or(|endpoint| !endpoint.ip.is_empty()))
    };
    if needs && endpoints.is_some_and(|endpoints| !addressed(endpoints)) {
        let message = "the pod is found by its addresses; give them, as endpoints = [{ mac = MAC, ip = [\"10.16.0.2\"] }]";
        return Err(section.report("needs_pod", message));
    }
    Ok(needs)
}

fn vlans(section: &mut Section<'_, '_>) -> Result<Vlans, Reported> {
    let vlan = section.optional("vlan", vid);
    let trunk = section.list("trunk", range);
    let native = section.optional("native_vlan", vid);
    let untagged = section.or("untagged", false, value::boolean);
    let service = section.or("service_tag", false, value::boolean);
    let (vlan, native, untagged, service) = (vlan?, native?, untagged?, service?);
    let vlans = Vlans { vlan, trunk: VlanSet::of(trunk?), native, untagged, service };
    if vlans.trunk.is_empty() {
        let keys =
            [("native_vlan", native.is_some()), ("untagged", vlans.untagged), ("service_tag", vlans.service)];
        for (key, set) in keys {
            if set {
                return Err(section.report(key, "only a trunk port has it; add trunk = [1155], or remove it"));
            }
        }
    } else if vlans.vlan.is_some() {
        let message = "a port is an access port or a trunk; remove vlan or trunk, or name it native_vlan";
        return Err(section.report("vlan", message));
    } else if vlans.untagged && vlans.native.is_some() {
        let message = "native_vlan says already where untagged frames belong; remove one of the two";
        return Err(section.report("untagged", message));
    }
    Ok(vlans)
}

fn endpoints(section: &mut Section<'_, '_>) -> Result<Vec<Option<Endpoint>>, Reported> {
    if section.is_words() {
        let word = |raw: crate::raw::Raw<'_>| endpoint::word(value::text(raw)?);
        return Ok(section.list("endpoints", word)?.into_iter().map(Some).collect());
    }
    section.tables("endpoints", endpoint::KEYS, endpoint::EXAMPLE, endpoint::read)
}
