//! Running the edits of compiled [`Actions`] on a frame, in the order of [`Edits`].
//!
//! In: the frame, where its headers are, and the tables that actions name by index. Out: the same
//! buffer, edited in place; new headers go into the headroom. A frame that does not have what is to be edited, or has no
//! room for what is to be added, is dropped with a reason.
//!
//! Offload state stays right: MAC addresses and TTL are part of no transport checksum; a tag moves the transport header,
//! which the state is told; an address is part of the pseudo header, which a partial checksum holds.

mod straight;
mod translate;
pub(crate) mod vlan;

use std::sync::Arc;

use shunt_ffi::Mbuf;

use super::actions::{Actions, Edits};
use super::parse::Layout;
use crate::drop::DropReason;
use crate::encap::Template;
use crate::state::{ConnRef, Direction, Fragments, Table};
pub use translate::{Addresses, Translation};
pub(crate) use vlan::push as push_tag;

/// Offset of the TTL and of the header checksum in an IPv4 header (RFC 791 section 3.1).
const TTL: usize = 8;
const CHECKSUM: usize = 10;
/// Offset of the hop limit in an IPv6 header (RFC 8200 section 3).
const HOP_LIMIT: usize = 7;

/// What actions name by index.
#[derive(Clone, Debug, Default)]
pub struct Rewrites {
    /// Outer headers of tunnels.
    pub templates: Box<[Template]>,
    /// Static translations of addresses and ports.
    pub translations: Box<[Translation]>,
    /// The connections of all workers; there when a network is masqueraded.
    pub connections: Option<Arc<Table>>,
    /// Datagrams of which fragments are under way; there with `connections`.
    pub fragments: Option<Arc<Fragments>>,
}

impl Rewrites {
    /// The connection that `actions` name, and the packet's direction; `None` when it is gone.
    #[inline]
    pub fn joined(&self, actions: &Actions) -> Option<(ConnRef, Direction)> {
        let conn = self.connections.as_ref()?.resume(actions.translation, actions.generation)?;
        Some((conn, direction(actions)))
    }

    /// What a packet of a calm connection needs, all of it: it is counted at second `now`, translated, and its TTL and MAC
    /// addresses are edited. False, and neither the packet nor its connection is touched, when that is not the whole
    /// story: then [`Table::touch`] and [`edit`] are for it.
    #[inline]
    pub(crate) fn follow(&self, actions: &Actions, layout: Layout, now: u32, frame: &mut Mbuf) -> bool {
        let Some(table) = &self.connections else { return false };
        let Some(calm) = table.calm(actions.translation, actions.generation, direction(actions), now) else {
            return false;
        };
        let done = straight::rewrite(&calm.back, actions, layout, frame);
        if done {
            calm.count(frame.len() - u32::from(layout.l3));
        }
        done
    }

    /// Gives the packet the addresses and ports that its connection says, and edits its TTL and MAC addresses.
    #[inline]
    fn translate(&self, actions: &Actions, layout: Layout, frame: &mut Mbuf) -> Result<(), DropReason> {
        let gone = DropReason::ConnectionGone;
        let table = self.connections.as_ref().ok_or(gone)?;
        let back =
            table.resume_back(actions.translation, actions.generation, direction(actions)).ok_or(gone)?;
        if straight::rewrite(&back, actions, layout, frame) {
            return Ok(());
        }
        self.translate_unusual(actions, layout, frame)?;
        edit_headers(actions, layout, frame.data_mut())
    }

    /// The addresses and ports of what is not for the straight way.
    #[inline(never)]
    fn translate_unusual(
        &self,
        actions: &Actions,
        layout: Layout,
        frame: &mut Mbuf,
    ) -> Result<(), DropReason> {
        let path = || {
            let (conn, direction) = self.joined(actions)?;
            Some(self.connections.as_ref()?.get(conn)?.path(direction))
        };
        let (from, to) = path().ok_or(DropReason::ConnectionGone)?;
        match from.translation(&to) {
            Some(translation) => translation.apply(layout, frame),
            None => Ok(()),
        }
    }
}

/// Which way packets with these actions go in their connection.
#[inline]
pub fn direction(actions: &Actions) -> Direction {
    if actions.edits.has(Edits::REPLY) { Direction::Reply } else { Direction::Original }
}

/// Makes all edits.
#[inline]
pub fn edit(
    actions: &Actions,
    layout: Layout,
    rewrites: &Rewrites,
    frame: &mut Mbuf,
) -> Result<(), DropReason> {
    if actions.edits.is_rare() {
        return edit_rare(actions, layout, rewrites, frame);
    }
    edit_headers(actions, layout, frame.data_mut())?;
    if actions.edits.has(Edits::ENCAP) { wrap(actions, layout, rewrites, frame) } else { Ok(()) }
}

/// Puts a tunnel's headers in front of a frame whose headers are where `layout` says.
#[inline(always)]
pub(crate) fn wrap(
    actions: &Actions,
    layout: Layout,
    rewrites: &Rewrites,
    frame: &mut Mbuf,
) -> Result<(), DropReason> {
    let template = rewrites.templates.get(usize::from(actions.template));
    let entropy = actions.entropy.at(layout, frame.data());
    template.ok_or(DropReason::NoRewrite)?.push(entropy, frame)
}

/// TTL and MAC addresses: what every routed packet gets.
#[inline(always)]
fn edit_headers(actions: &Actions, layout: Layout, data: &mut [u8]) -> Result<(), DropReason> {
    if actions.edits.has(Edits::TTL) {
        decrement_ttl(data.get_mut(usize::from(layout.l3)..)).ok_or(DropReason::BadIpHeader)?;
    }
    if actions.edits.has(Edits::HOP_LIMIT) {
        let limit = data.get_mut(usize::from(layout.l3) + HOP_LIMIT).ok_or(DropReason::BadIpHeader)?;
        *limit = limit.saturating_sub(1);
    }
    if actions.edits.has(Edits::MACS) {
        let addresses = data.first_chunk_mut::<12>().ok_or(DropReason::Runt)?;
        *addresses = actions.macs;
    }
    Ok(())
}

/// The same with a translation or VLAN tags.
#[inline(never)]
fn edit_rare(
    actions: &Actions,
    layout: Layout,
    rewrites: &Rewrites,
    frame: &mut Mbuf,
) -> Result<(), DropReason> {
    let edits = actions.edits;
    if edits.has(Edits::TRACK) {
        rewrites.translate(actions, layout, frame)?;
    } else {
        if edits.has(Edits::TRANSLATE) {
            let translation = rewrites.translations.get(actions.translation as usize);
            translation.ok_or(DropReason::NoRewrite)?.apply(layout, frame)?;
        }
        edit_headers(actions, layout, frame.data_mut())?;
    }
    vlan::edit(actions, frame)?;
    if edits.has(Edits::ENCAP) {
        wrap(actions, vlan::edited(actions, layout), rewrites, frame)
    } else {
        Ok(())
    }
}

/// Decrements the TTL and adds to the checksum what the header lost (RFC 1624; a TTL of 0 stays).
#[inline]
fn decrement_ttl(header: Option<&mut [u8]>) -> Option<()> {
    let header = header?.first_chunk_mut::<{ CHECKSUM + 2 }>()?;
    if header[TTL] == 0 {
        return Some(());
    }
    header[TTL] -= 1;
    let sum = u32::from(u16::from_be_bytes([header[CHECKSUM], header[CHECKSUM + 1]])) + 0x0100;
    // The one's complement sum of RFC 1624 equation 3 with m - m' = 0x0100.
    let folded = (sum & 0xffff) + (sum >> 16);
    [header[CHECKSUM], header[CHECKSUM + 1]] = (folded as u16).to_be_bytes();
    Some(())
}

#[cfg(test)]
mod tests;
