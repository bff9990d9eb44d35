//! `snat` of a network: with whose address packets go from it into another network of its router, where `masquerade` alone would
//! say something else.

use serde::Serialize;

use crate::error::Reported;
use crate::keys::{Key, key};
use crate::names::NetworkName;
use crate::section::Section;
use crate::value;

/// With whose address packets leave for one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snat {
    /// The network, one of the same router.
    pub to: NetworkName,
    /// The address.
    pub source: SnatSource,
}

/// Whose address packets have on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnatSource {
    /// The router's there: works with neighbours that know nothing of the network.
    Node,
    /// Their own: whoever is there needs a route back.
    None,
}

/// The keys of one pair.
pub(crate) const KEYS: &[Key] = &[
    key("to", &[], "name of a network of the same router", "required", "where packets go"),
    key("source", &[], "`\"node\"` or `\"none\"`", "required", "the router's address there, or their own"),
];

/// What one looks like.
pub(crate) const EXAMPLE: &str = "{ to = \"biz.1155\", source = \"none\" }";

/// Reads one from a table.
pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Snat, Reported> {
    const SOURCES: &[(&str, SnatSource)] = &[("node", SnatSource::Node), ("none", SnatSource::None)];
    let to = section.required("to", "\"biz.1155\"", value::parsed::<NetworkName>);
    let source = section.required("source", "\"none\"", value::one_of(SOURCES));
    section.refuse_others(None);
    Ok(Snat { to: to?, source: source? })
}
