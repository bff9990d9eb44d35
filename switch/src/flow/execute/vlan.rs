//! VLAN tags (IEEE 802.1Q clause 9): four bytes between the addresses and the EtherType.

use shunt_ffi::Mbuf;

use crate::drop::DropReason;
use crate::flow::actions::{Actions, Edits};
use crate::flow::parse::Layout;
use crate::wire::ethernet::{CUSTOMER_TAG, SERVICE_TAG};

const TAG: usize = 4;
const ADDRESSES: usize = 12;

/// Removes, replaces or adds the outer tag, as `actions` says.
#[inline(always)]
pub(super) fn edit(actions: &Actions, frame: &mut Mbuf) -> Result<(), DropReason> {
    let service = actions.edits.has(Edits::SERVICE_TAG);
    match (actions.edits.has(Edits::POP_VLAN), actions.edits.has(Edits::PUSH_VLAN)) {
        (true, true) => replace(frame, actions.tci, service),
        (true, false) => pop(frame),
        (false, true) => push(frame, actions.tci, service),
        (false, false) => Ok(()),
    }
}

/// Where the headers of a frame are after [`edit`].
#[inline]
pub(crate) fn edited(actions: &Actions, layout: Layout) -> Layout {
    let moved = |at: u16| match (actions.edits.has(Edits::POP_VLAN), actions.edits.has(Edits::PUSH_VLAN)) {
        // Zero stands for no header.
        (true, false) => at.saturating_sub(TAG as u16),
        (false, true) if at > 0 => at + TAG as u16,
        _ => at,
    };
    Layout { l3: moved(layout.l3), l4: moved(layout.l4) }
}

/// Writes another tag over the outer one: no byte moves.
#[inline]
fn replace(frame: &mut Mbuf, tci: u16, service: bool) -> Result<(), DropReason> {
    *outer(frame.data_mut()).ok_or(DropReason::NoTag)? = tag(tci, service);
    Ok(())
}

/// The outer tag of a frame that has one, and an EtherType behind it.
#[inline]
fn outer(data: &mut [u8]) -> Option<&mut [u8; TAG]> {
    let (tag, _) = data.get_mut(ADDRESSES..)?.first_chunk_mut::<{ TAG + 2 }>()?.split_first_chunk_mut()?;
    matches!(u16::from_be_bytes([tag[0], tag[1]]), CUSTOMER_TAG | SERVICE_TAG).then_some(tag)
}

#[inline]
fn tag(tci: u16, service: bool) -> [u8; TAG] {
    let tpid = if service { SERVICE_TAG } else { CUSTOMER_TAG };
    let ([a, b], [c, d]) = (tpid.to_be_bytes(), tci.to_be_bytes());
    [a, b, c, d]
}

/// Removes the outer tag.
#[inline]
fn pop(frame: &mut Mbuf) -> Result<(), DropReason> {
    let data = frame.data_mut();
    outer(data).ok_or(DropReason::NoTag)?;
    data.copy_within(..ADDRESSES, TAG);
    frame.trim_front(TAG as u16).ok_or(DropReason::NoTag)?;
    frame.move_transport(-(TAG as i16)).map_err(|_| DropReason::BadOffload)
}

/// Adds a tag.
pub(crate) fn push(frame: &mut Mbuf, tci: u16, service: bool) -> Result<(), DropReason> {
    frame.move_transport(TAG as i16).map_err(|_| DropReason::BadOffload)?;
    let data = frame.prepend(TAG as u16).ok_or(DropReason::NoHeadroom)?;
    data.copy_within(TAG..TAG + ADDRESSES, 0);
    let place =
        data.get_mut(ADDRESSES..).and_then(|rest| rest.first_chunk_mut::<TAG>()).ok_or(DropReason::Runt)?;
    *place = tag(tci, service);
    Ok(())
}
