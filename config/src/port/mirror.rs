//! `mirror` and `mirror_direction`: a port that gets copies.

use serde::Serialize;

use crate::error::Reported;
use crate::names::PortName;
use crate::section::Section;
use crate::value;

/// Of which frames of a port its mirror gets copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MirrorDirection {
    /// What comes in.
    #[default]
    Ingress,
    /// What goes out.
    Egress,
    /// Both.
    Both,
}

impl MirrorDirection {
    /// It is the default, which need not be written.
    pub(super) fn is_ingress(&self) -> bool {
        *self == Self::Ingress
    }
}

/// Reads both keys.
pub(super) fn read(section: &mut Section<'_, '_>) -> Result<(Option<PortName>, MirrorDirection), Reported> {
    const DIRECTIONS: &[(&str, MirrorDirection)] = &[
        ("ingress", MirrorDirection::Ingress),
        ("egress", MirrorDirection::Egress),
        ("both", MirrorDirection::Both),
    ];
    let mirror = section.optional("mirror", value::parsed::<PortName>);
    let direction = section.or("mirror_direction", MirrorDirection::default(), value::one_of(DIRECTIONS));
    let (mirror, direction) = (mirror?, direction?);
    if mirror.is_none() && !direction.is_ingress() {
        let message = "there is no mirror; name the port that gets the copies, as mirror = \"span0\"";
        return Err(section.report("mirror_direction", message));
    }
    Ok((mirror, direction))
}
