//! VLAN tags: the kernel takes the outermost tag out of a frame before a packet socket sees it and tells of it in a
//! control message (`PACKET_AUXDATA`). Here it is put back.

use std::mem::size_of;

use libc::{cmsghdr, msghdr, tpacket_auxdata};

use crate::mbuf::Mbuf;

/// EtherType of a tag when the kernel does not name another (IEEE 802.1Q).
const CTAG: u16 = 0x8100;
/// Length of a tag.
pub(super) const TAG: u16 = 4;

/// Room for the one control message we asked for (`PACKET_AUXDATA`).
#[repr(C)]
pub(super) struct Control {
    header: cmsghdr,
    auxiliary: tpacket_auxdata,
}

const _: () = assert!(std::mem::offset_of!(Control, auxiliary) == size_of::<cmsghdr>());

/// The VLAN tag that the kernel took out of the frame, as the four bytes it took.
///
/// # Safety
/// The kernel has filled `message` and the [`Control`] it points to.
#[inline]
pub(super) unsafe fn removed(message: &msghdr) -> Option<[u8; 4]> {
    if message.msg_controllen < size_of::<Control>() {
        return None;
    }
    // SAFETY: the kernel wrote a whole control message, as its length says.
    let control = unsafe { &*message.msg_control.cast::<Control>() };
    let valid = control.auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
    if control.header.cmsg_level != libc::SOL_PACKET
        || control.header.cmsg_type != libc::PACKET_AUXDATA
        || !valid
    {
        return None;
    }
    let named = control.auxiliary.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let protocol = if named { control.auxiliary.tp_vlan_tpid } else { CTAG };
    let ([a, b], [c, d]) = (protocol.to_be_bytes(), control.auxiliary.tp_vlan_tci.to_be_bytes());
    Some([a, b, c, d])
}

/// Puts a tag behind the MAC addresses. `None` for a frame too short to have them.
pub(super) fn insert(frame: &mut Mbuf, tag: [u8; 4]) -> Option<()> {
    const ADDRESSES: usize = 12;
    if frame.data().len() < ADDRESSES {
        return None;
    }
    let data = frame.prepend(TAG)?;
    data.copy_within(usize::from(TAG)..usize::from(TAG) + ADDRESSES, 0);
    data[ADDRESSES..ADDRESSES + 4].copy_from_slice(&tag);
    Some(())
}
