//! VLAN tags (IEEE 802.1Q clause 9): four bytes between the addresses and the EtherType.

use shunt_ffi::Mbuf;

use crate::drop::DropReason;
use crate::wire::ethernet::{CUSTOMER_TAG, SERVICE_TAG};

const TAG: usize = 4;
const ADDRESSES: usize = 12;

/// Removes the outer tag.
pub(super) fn pop(frame: &mut Mbuf) -> Result<(), DropReason> {
    let data = frame.data_mut();
    let tpid = data.get(ADDRESSES..ADDRESSES + 2).and_then(|tpid| tpid.first_chunk::<2>());
    if !tpid.is_some_and(|tpid| matches!(u16::from_be_bytes(*tpid), CUSTOMER_TAG | SERVICE_TAG))
        || data.len() < ADDRESSES + TAG + 2
    {
        return Err(DropReason::NoTag);
    }
    data.copy_within(..ADDRESSES, TAG);
    frame.trim_front(TAG as u16).ok_or(DropReason::NoTag)?;
    frame.move_transport(-(TAG as i16)).map_err(|_| DropReason::BadOffload)
}

/// Adds a tag.
pub(crate) fn push(frame: &mut Mbuf, tci: u16, service: bool) -> Result<(), DropReason> {
    frame.move_transport(TAG as i16).map_err(|_| DropReason::BadOffload)?;
    let data = frame.prepend(TAG as u16).ok_or(DropReason::NoHeadroom)?;
    data.copy_within(TAG..TAG + ADDRESSES, 0);
    let tag =
        data.get_mut(ADDRESSES..).and_then(|rest| rest.first_chunk_mut::<TAG>()).ok_or(DropReason::Runt)?;
    let tpid = if service { SERVICE_TAG } else { CUSTOMER_TAG };
    let ([a, b], [c, d]) = (tpid.to_be_bytes(), tci.to_be_bytes());
    *tag = [a, b, c, d];
    Ok(())
}
