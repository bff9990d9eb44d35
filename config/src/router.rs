//! `[[router]]`: joins the networks that name it. Its routes to their subnets come by themselves; others are given.

pub(crate) mod floating;
pub(crate) mod forward;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Deref, DerefMut, RangeInclusive};
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::connections::OwnTimeouts;
use crate::connections::timeouts::TIMEOUTS;
use crate::error::Reported;
use crate::keys::Key;
use crate::names::{PortName, RouterName};
use crate::range;
use crate::raw::{Raw, quote};
use crate::section::Section;
use crate::value;
use floating::FloatingIp;
use forward::{PortForward, StaticSnat};

/// Most addresses in a router's pool for source NAT: each is looked at when a connection is opened.
const POOL: usize = 64;

/// A router between networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Router {
    /// Its name, unique.
    pub name: RouterName,
    /// Routes besides those to the subnets of its networks, in the order of the text.
    #[serde(skip_serializing_if = "Routes::are_none")]
    pub routes: Routes,
    /// Where `external_ips` of services may be: nowhere else, so that nobody takes over an address that is not his
    /// (CVE-2020-8554).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_ips: Vec<IpNet>,
    /// Addresses outside that stand for one station each, in the order of the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub floating_ips: Vec<FloatingIp>,
    /// What masqueraded connections leave with, in place of the router's own address, through the network in whose subnet
    /// they are; a station always with the same one (RFC 4787 REQ-2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub snat_pool: Vec<IpAddr>,
    /// Which ports of TCP, UDP and SCTP connections leave with, when they leave with another address than their own; floating
    /// addresses aside, with which ports stay.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "range::write_some")]
    pub snat_ports: Option<RangeInclusive<u16>>,
    /// Single ports outside that lead to a station inside, in the order of the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port_forwards: Vec<PortForward>,
    /// With which address the connections of a prefix leave, in the order of the text; of several the longest prefix counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub static_snat: Vec<StaticSnat>,
    /// How long its own connections live in silence, where that is not what `[connections]` says.
    #[serde(skip_serializing_if = "OwnTimeouts::are_none")]
    pub timeouts: OwnTimeouts,
    /// By which way what pods send leaves the node, and what comes for services.
    pub gateway_mode: GatewayMode,
    /// The port by which the node's own stack and pods reach each other: a TAP port with addresses in one of the networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub management_port: Option<PortName>,
}

/// The way out of the node and into it (the gateway modes of OVN-Kubernetes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayMode {
    /// From the switch itself.
    #[default]
    Shared,
    /// Through the node's own stack, by the management port.
    Local,
}

/// Where node ports are for the node's own stack, in gateway mode `local`: it sends what comes to them there by the management
/// port (the `host-etp-local` masquerade addresses of OVN-Kubernetes).
pub const LOCAL_NODE_PORTS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 169, 3)), IpAddr::V6(Ipv6Addr::new(0xfd69, 0, 0, 0, 0, 0, 0, 3))];

/// Who the node's own stack sees when a service sends back to it what it has sent by the management port: with its own address it
/// would take the packet for a forgery. It has a route there by its host port (the masquerade addresses of OVN-Kubernetes).
pub const NODE_MASQUERADE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 169, 1)), IpAddr::V6(Ipv6Addr::new(0xfd69, 0, 0, 0, 0, 0, 0, 1))];

impl Router {
    /// True when it sends what comes to one address on to another.
    pub fn forwards(&self) -> bool {
        !self.floating_ips.is_empty() || !self.port_forwards.is_empty()
    }

    /// True when it translates besides what its networks and services ask for, so that it has connections.
    pub fn translates(&self) -> bool {
        self.forwards() || !self.static_snat.is_empty()
    }
}

/// The routes of a router: a list that copies of a configuration share, for there may be 100,000 and most changes are elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(Arc<Vec<StaticRoute>>);

impl Routes {
    /// True when both are the very same list: then they are equal without a look.
    pub fn are_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn are_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl Deref for Routes {
    type Target = Vec<StaticRoute>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The list becomes one of its own first, if it is shared.
impl DerefMut for Routes {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}

impl FromIterator<StaticRoute> for Routes {
    fn from_iter<I: IntoIterator<Item = StaticRoute>>(routes: I) -> Self {
        Routes(Arc::new(routes.into_iter().collect()))
    }
}

impl Serialize for Routes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

/// A route that configuration gives. Exactly one of `via` and `blackhole` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StaticRoute {
    /// Where to: a prefix without host bits.
    pub to: IpNet,
    /// The next router: an address of the same family in a subnet of one of the router's networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Packets are dropped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub blackhole: bool,
}

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "name",
        kinds: &[],
        takes: "string, 1 to 63 of `a-z A-Z 0-9 . _ @ -`",
        default: "required",
        meaning: "the name that networks refer to; unique",
    },
    Key {
        name: "routes",
        kinds: &[],
        takes: "array of `{ to = PREFIX, via = ADDRESS }` or `{ to = PREFIX, blackhole = true }`",
        default: "[]",
        meaning: "routes besides those to the subnets of its networks; `via` is in one of these subnets, `blackhole` drops",
    },
    Key {
        name: "external_ips",
        kinds: &[],
        takes: "array of prefixes",
        default: "[]",
        meaning: "where `external_ips` of services may be; outside of it they are refused",
    },
    Key {
        name: "floating_ips",
        kinds: &[],
        takes: "array of `{ external = ADDRESS, internal = ADDRESS }`",
        default: "[]",
        meaning: "addresses outside that stand for one station inside each, both ways, with all ports",
    },
    Key {
        name: "snat_pool",
        kinds: &[],
        takes: "array of up to 64 addresses",
        default: "[]",
        meaning: "what masqueraded connections leave with through the network in whose subnet they are, in place of the router's address there",
    },
    Key {
        name: "snat_ports",
        kinds: &[],
        takes: "string, two ports, as `\"40000-40015\"`",
        default: "none",
        meaning: "ports of TCP, UDP and SCTP that masqueraded connections, and those of `static_snat`, leave with; without it 1024 to 65535, and from 61000 on where the network has a `host_port`",
    },
    Key {
        name: "port_forwards",
        kinds: &[],
        takes: "array of `{ protocol = \"tcp\", external = \"ADDRESS:PORT\", internal = \"ADDRESS:PORT\" }`; `protocol` is `\"tcp\"`, `\"udp\"` or `\"sctp\"`",
        default: "[]",
        meaning: "single ports, of the router's own addresses or of others, that lead to a port of a station inside; its other connections they are not about",
    },
    Key {
        name: "static_snat",
        kinds: &[],
        takes: "array of `{ source = PREFIX, address = ADDRESS }`",
        default: "[]",
        meaning: "what connections of a prefix leave with through the network in whose subnet the address is, be they masqueraded or not; the longest prefix counts",
    },
    Key {
        name: "timeouts",
        kinds: &[],
        takes: "table of timeouts of `[connections]`, as `{ udp_timeout = \"10s\" }`",
        default: "none",
        meaning: "how long connections of the router and its networks (its zone) live in silence, where that is not what `[connections]` says",
    },
    Key {
        name: "gateway_mode",
        kinds: &[],
        takes: "`\"shared\"` or `\"local\"`",
        default: "\"shared\"",
        meaning: "by which way what pods send leaves for networks with a `host_port`, and for services comes in by them: from the switch itself, or through the node's own stack by `management_port`, as its routes and rules say",
    },
    Key {
        name: "management_port",
        kinds: &[],
        takes: "name of a `tap` port with `addresses`",
        default: "none",
        meaning: "the port by which the node's own stack and pods reach each other (`ovn-k8s-mp0`), in a network of the router; `local` needs it",
    },
];

const ROUTE_KEYS: &[Key] = &[
    Key { name: "to", kinds: &[], takes: "prefix", default: "required", meaning: "where to" },
    Key { name: "via", kinds: &[], takes: "address", default: "none", meaning: "the next router" },
    Key { name: "blackhole", kinds: &[], takes: "boolean", default: "false", meaning: "drops packets" },
];

/// A router as far as it could be read: what holds a mistake is `None`.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) path: String,
    pub(crate) name: Option<RouterName>,
    /// Each at its place in the text.
    pub(crate) routes: Option<Vec<Option<StaticRoute>>>,
    pub(crate) external_ips: Option<Vec<IpNet>>,
    pub(crate) floating_ips: Option<Vec<Option<FloatingIp>>>,
    pub(crate) snat_pool: Option<Vec<IpAddr>>,
    /// `None` where it holds a mistake.
    pub(crate) snat_ports: Option<Option<RangeInclusive<u16>>>,
    pub(crate) port_forwards: Option<Vec<Option<PortForward>>>,
    pub(crate) static_snat: Option<Vec<Option<StaticSnat>>>,
    pub(crate) timeouts: Option<OwnTimeouts>,
    pub(crate) gateway_mode: Option<GatewayMode>,
    /// `None` where it holds a mistake.
    pub(crate) management_port: Option<Option<PortName>>,
}

impl Draft {
    pub(crate) fn complete(self) -> Option<Router> {
        Some(Router {
            name: self.name?,
            routes: self.routes?.into_iter().collect::<Option<_>>()?,
            external_ips: self.external_ips?,
            floating_ips: self.floating_ips?.into_iter().collect::<Option<_>>()?,
            snat_pool: self.snat_pool?,
            snat_ports: self.snat_ports?,
            port_forwards: self.port_forwards?.into_iter().collect::<Option<_>>()?,
            static_snat: self.static_snat?.into_iter().collect::<Option<_>>()?,
            timeouts: self.timeouts?,
            gateway_mode: self.gateway_mode?,
            management_port: self.management_port?,
        })
    }
}

pub(crate) fn read(path: String, section: &mut Section<'_, '_>) -> Draft {
    let name = section.required("name", "\"r\"", value::parsed::<RouterName>).ok();
    let routes = section.tables("routes", ROUTE_KEYS, "{ to = \"10.9.0.0/16\", via = \"10.0.2.7\" }", route);
    let external_ips = section.list("external_ips", prefix);
    let floating_ips = section.tables("floating_ips", floating::KEYS, floating::EXAMPLE, floating::read).ok();
    let snat_pool = pool(section).ok();
    let snat_ports = section.optional("snat_ports", range::ports("40000-40015"));
    let forwards =
        section.tables("port_forwards", forward::FORWARD_KEYS, forward::FORWARD_EXAMPLE, forward::read);
    let snat = section.tables("static_snat", forward::SNAT_KEYS, forward::SNAT_EXAMPLE, forward::snat);
    let timeouts = section.table("timeouts", TIMEOUTS, "{ udp_timeout = \"10s\" }", OwnTimeouts::read);
    const MODES: &[(&str, GatewayMode)] = &[("shared", GatewayMode::Shared), ("local", GatewayMode::Local)];
    let gateway_mode = section.or("gateway_mode", GatewayMode::default(), value::one_of(MODES));
    let management_port = section.optional("management_port", value::parsed::<PortName>);
    section.refuse_others(None);
    Draft {
        path,
        name,
        routes: routes.ok(),
        external_ips: external_ips.ok(),
        floating_ips,
        snat_pool,
        snat_ports: snat_ports.ok(),
        port_forwards: forwards.ok(),
        static_snat: snat.ok(),
        timeouts: timeouts.map(Option::unwrap_or_default).ok(),
        gateway_mode: gateway_mode.ok(),
        management_port: management_port.ok(),
    }
}

fn pool(section: &mut Section<'_, '_>) -> Result<Vec<IpAddr>, Reported> {
    let pool = section.list("snat_pool", value::unicast)?;
    match pool.len() {
        0..=POOL => Ok(pool),
        more => Err(section.report("snat_pool", format!("{more} addresses are too many; give up to {POOL}"))),
    }
}

fn route(section: &mut Section<'_, '_>) -> Result<StaticRoute, Reported> {
    let to = section.required("to", "\"10.9.0.0/16\"", prefix);
    let via = section.optional("via", value::unicast);
    let blackhole = section.or("blackhole", false, value::boolean);
    section.refuse_others(None);
    let route = StaticRoute { to: to?, via: via?, blackhole: blackhole? };
    let message = match (route.via, route.blackhole) {
        (Some(_), true) => "a route goes via a router or into a black hole; remove one of the two",
        (None, false) => "a route without via; add via = \"ADDRESS\" or blackhole = true",
        (Some(via), false) if via.is_ipv4() != route.to.addr().is_ipv4() => {
            return Err(section.report("via", format!("{via} and {} are of two families; use one", route.to)));
        }
        _ => return Ok(route),
    };
    Err(section.report("via", message))
}

/// A prefix without host bits.
pub(crate) fn prefix(raw: Raw<'_>) -> Result<IpNet, String> {
    let text = value::text(raw)?;
    let shown = quote(text);
    if let Ok(alone) = text.parse::<IpAddr>() {
        let length = if alone.is_ipv4() { 32 } else { 128 };
        return Err(format!("{shown} has no prefix length; add it, as \"{alone}/{length}\""));
    }
    let net: IpNet = text
        .parse()
        .map_err(|_| format!("{shown} is not a prefix; write address and length, as \"10.9.0.0/16\""))?;
    if net.trunc() != net {
        return Err(format!("{shown} has bits behind its length; write \"{}\"", net.trunc()));
    }
    if net.addr().is_multicast() {
        return Err(format!("{shown} is a multicast prefix; only unicast is routed, remove it"));
    }
    Ok(net)
}
