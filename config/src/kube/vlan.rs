//! `kubeovn.io/v1 Vlan`: a name for a VLAN of a provider network, which is a bridge of ours.

use crate::error::{Reported, Sink};
use crate::names::NetworkName;
use crate::value;
use crate::vlan::VID_MAX;

use super::object::Object;

/// What a Vlan says.
#[derive(Clone, Debug)]
pub(super) struct Vlan {
    /// `None`: untagged.
    pub(super) id: Option<u16>,
    /// The bridge; `None` leaves the choice to whoever has the VLAN.
    pub(super) bridge: Option<NetworkName>,
}

/// The VLAN that `object` names.
pub(super) fn read(object: &Object<'_>, sink: &mut Sink) -> Result<Vlan, Reported> {
    object.refuse_others(&["id", "provider"], sink)?;
    let id = object.read("id", value::integer(0..=i64::from(VID_MAX)), sink)?;
    let bridge = object.read("provider", value::parsed::<NetworkName>, sink)?;
    match id {
        Some(id) => Ok(Vlan { id: Some(id).filter(|id| *id != 0), bridge }),
        None => {
            Err(object.report("spec.id", "not set; give the VLAN, 1 to 4094, or 0 for untagged frames", sink))
        }
    }
}
