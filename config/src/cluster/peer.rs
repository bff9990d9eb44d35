//! What rules are made of: who is at the other end (`NetworkPolicyPeer`), and at which ports (`NetworkPolicyPort`).

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::object::port_name;
use super::selector::{self, Selector};
use crate::error::Reported;
use crate::keys::{Key, key};
use crate::protocol::{self, Protocol};
use crate::raw::{Raw, quote};
use crate::router::prefix;
use crate::section::Section;
use crate::value;

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum Peer {
    /// Pods. At least one of the two is set.
    Pods {
        /// Their namespaces; `None` is that of the policy.
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace_selector: Option<Selector>,
        /// Which of their pods; `None` is all.
        #[serde(skip_serializing_if = "Option::is_none")]
        pod_selector: Option<Selector>,
    },
    /// Addresses.
    Block {
        /// Which.
        ip_block: IpBlock,
    },
}

/// A prefix with holes (`IPBlock`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct IpBlock {
    /// The prefix, without host bits.
    pub cidr: IpNet,
    /// Parts of it that are not meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<IpNet>,
}

/// Ports of a protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PolicyPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The port; `None` is all of the protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortRef>,
    /// The last of a range that begins with `port`, a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_port: Option<u16>,
}

/// A port by number or by the name that the receiving pod gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortRef {
    /// From 1.
    Number(u16),
    /// See [`super::object::NamedPort`].
    Name(String),
}

impl Serialize for PortRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u16(*number),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

const PEER_KEYS: &[Key] = &[
    key("pod_selector", &[], "selector", "none", "these pods"),
    key("namespace_selector", &[], "selector", "none", "in these namespaces"),
    key("ip_block", &[], "`{ cidr = PREFIX, except = [PREFIX] }`", "none", "addresses"),
];

const BLOCK_KEYS: &[Key] = &[
    key("cidr", &[], "prefix", "required", "the addresses"),
    key("except", &[], "array of prefixes", "[]", "but not these"),
];

const PORT_KEYS: &[Key] = &[
    key("protocol", &[], "`tcp`, `udp`, `sctp`", "tcp", "the protocol"),
    key("port", &[], "integer or name", "none", "the port; without it all"),
    key("end_port", &[], "integer", "none", "the last port of a range"),
];

/// The peers under `name`.
pub(super) fn peers(section: &mut Section<'_, '_>, name: &str) -> Result<Vec<Peer>, Reported> {
    let peers =
        section.tables(name, PEER_KEYS, "{ pod_selector = { match_labels = { app = \"web\" } } }", peer)?;
    peers.into_iter().collect::<Option<_>>().ok_or(Reported)
}

/// The ports under `ports`.
pub(super) fn ports(section: &mut Section<'_, '_>) -> Result<Vec<PolicyPort>, Reported> {
    let ports = section.tables("ports", PORT_KEYS, "{ protocol = \"tcp\", port = 80 }", port)?;
    ports.into_iter().collect::<Option<_>>().ok_or(Reported)
}

fn peer(section: &mut Section<'_, '_>) -> Result<Peer, Reported> {
    let pod_selector = selector::under(section, "pod_selector");
    let namespace_selector = selector::under(section, "namespace_selector");
    let ip_block = section.table("ip_block", BLOCK_KEYS, "{ cidr = \"10.0.0.0/8\" }", block);
    section.refuse_others(None);
    match (namespace_selector?, pod_selector?, ip_block?) {
        (None, None, Some(ip_block)) => Ok(Peer::Block { ip_block }),
        (_, _, Some(_)) => Err(section.report("ip_block", "addresses or pods, not both; write two peers")),
        (None, None, None) => {
            let message = "a peer without any; give pod_selector, namespace_selector or ip_block, or leave the list of \
                           peers empty for everybody";
            Err(section.report("pod_selector", message))
        }
        (namespace_selector, pod_selector, None) => Ok(Peer::Pods { namespace_selector, pod_selector }),
    }
}

fn block(section: &mut Section<'_, '_>) -> Result<IpBlock, Reported> {
    let cidr = section.required("cidr", "\"10.0.0.0/8\"", prefix);
    let except = section.list("except", prefix);
    section.refuse_others(None);
    let (cidr, except) = (cidr?, except?);
    let outside = |net: &IpNet| !(cidr.contains(net) && net.prefix_len() > cidr.prefix_len());
    if let Some((i, net)) = except.iter().enumerate().find(|(_, net)| outside(net)) {
        let message = format!("{net} is no part of {cidr}; give a longer prefix within it, or remove it");
        return Err(section.report(&format!("except[{i}]"), message));
    }
    Ok(IpBlock { cidr, except })
}

fn port(section: &mut Section<'_, '_>) -> Result<PolicyPort, Reported> {
    let protocol = section.or("protocol", Protocol::Tcp, protocol::read);
    let port = section.optional("port", port_ref);
    let end_port = section.optional("end_port", value::integer::<u16>(1..=65_535));
    section.refuse_others(None);
    let (port, end_port) = (port?, end_port?);
    let message = match (&port, end_port) {
        (Some(PortRef::Number(first)), Some(last)) if last < *first => {
            format!("{last} is below port, which is {first}; give one that is not")
        }
        (Some(PortRef::Name(name)), Some(_)) => {
            format!("a range begins with a number, not with {}; remove end_port", quote(name))
        }
        (None, Some(_)) => "the end of a range that has no beginning; add port".to_owned(),
        _ => return Ok(PolicyPort { protocol: protocol?, port, end_port }),
    };
    Err(section.report("end_port", message))
}

fn port_ref(raw: Raw<'_>) -> Result<PortRef, String> {
    match raw.integer() {
        Some(_) => value::integer(1..=65_535)(raw).map(PortRef::Number),
        None if raw.text().is_some() => port_name(raw).map(PortRef::Name),
        None => Err(format!(
            "expected a number or a name, found {}; write a port from 1 to 65535, or the name of one",
            raw.describe()
        )),
    }
}
