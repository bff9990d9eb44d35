//! The offload state of a frame: what its sender left for somebody else to finish.
//!
//! It is kept in the mbuf's own fields (`ol_flags`, `tx_offload`), in the form DPDK's transmit side wants, so that NICs
//! and the vhost library need no translation; the kernel ports translate to and from the virtio-net header.
//! A frame without state costs one load and one test.

use crate::mbuf::Mbuf;
use crate::sys;

/// State of the transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// In the frame; nobody has checked it.
    #[default]
    Complete,
    /// In the frame, and a device or the local kernel vouches for it.
    Valid,
    /// The field holds the pseudo-header sum only (virtio-net `NEEDS_CSUM`): the ones' complement sum of the bytes from
    /// `start` to the end belongs at `start + offset`.
    Partial {
        /// Offset of the transport header from the start of the frame.
        start: u16,
        /// Offset of the checksum field from `start`: 16 for TCP, 6 for UDP.
        offset: u16,
    },
}

/// What kind of segments a large frame is to be cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP datagrams of equal size (USO, `VIRTIO_NET_HDR_GSO_UDP_L4`).
    Udp,
}

/// Segmentation state of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// What to cut.
    pub kind: GsoKind,
    /// Payload bytes of each segment.
    pub size: u16,
}

/// The whole offload state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Transport checksum.
    pub checksum: Checksum,
    /// Set for a frame larger than the path's MTU that is to be cut.
    pub gso: Option<Gso>,
}

/// The state does not fit the frame it came with, or no device could be told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offload state does not fit the frame")]
pub struct BadOffload;

/// Offset of the checksum field in a TCP header (RFC 9293 section 3.1).
pub const TCP_CHECKSUM: u16 = 16;
/// Offset of the checksum field in a UDP header (RFC 768).
pub const UDP_CHECKSUM: u16 = 6;

const ETHERNET: usize = 14;
const L2_MASK: u64 = 0x7f;
const L3_SHIFT: u32 = 7;
const L3_MASK: u64 = 0x1ff;
const L4_SHIFT: u32 = 16;
const TSO_SHIFT: u32 = 24;

impl Mbuf {
    /// True when somebody still has to finish a checksum or cut the frame.
    #[inline]
    pub fn needs_offload(&self) -> bool {
        self.raw().ol_flags & (sys::SHUNT_TX_L4_MASK | sys::SHUNT_TX_TCP_SEG | sys::SHUNT_TX_UDP_SEG) != 0
    }

    /// The offload state, validated against the frame: a [`Checksum::Partial`] lies inside the first segment.
    /// An error means that whoever made the frame (a hostile guest) lied about it.
    pub fn offload(&self) -> Result<Offload, BadOffload> {
        let raw = self.raw();
        let flags = raw.ol_flags;
        if !self.needs_offload() {
            let valid = flags & sys::SHUNT_RX_L4_CKSUM_MASK == sys::SHUNT_RX_L4_CKSUM_GOOD;
            return Ok(Offload {
                checksum: if valid { Checksum::Valid } else { Checksum::Complete },
                gso: None,
            });
        }
        // SAFETY: `tx_offload` is the plain integer view of the union; every bit pattern is valid.
        let fields = unsafe { raw.__bindgen_anon_3.tx_offload };
        let start = (fields & L2_MASK) + (fields >> L3_SHIFT & L3_MASK);
        let segment = (fields >> TSO_SHIFT & 0xffff) as u16;
        let l4 = flags & sys::SHUNT_TX_L4_MASK;
        let offset = if l4 == sys::SHUNT_TX_TCP_CKSUM || flags & sys::SHUNT_TX_TCP_SEG != 0 {
            TCP_CHECKSUM
        } else if l4 == sys::SHUNT_TX_UDP_CKSUM || flags & sys::SHUNT_TX_UDP_SEG != 0 {
            UDP_CHECKSUM
        } else {
            return Err(BadOffload);
        };
        let start = u16::try_from(start).map_err(|_| BadOffload)?;
        if usize::from(start) < ETHERNET || start + offset + 2 > raw.data_len {
            return Err(BadOffload);
        }
        let gso = if flags & sys::SHUNT_TX_TCP_SEG != 0 {
            let kind = if flags & sys::SHUNT_TX_IPV6 != 0 { GsoKind::TcpV6 } else { GsoKind::TcpV4 };
            Some(Gso { kind, size: segment })
        } else if flags & sys::SHUNT_TX_UDP_SEG != 0 {
            Some(Gso { kind: GsoKind::Udp, size: segment })
        } else {
            None
        };
        if gso.is_some_and(|gso| gso.size == 0) {
            return Err(BadOffload);
        }
        Ok(Offload { checksum: Checksum::Partial { start, offset }, gso })
    }

    /// Sets the offload state. The header lengths that DPDK wants are read from the frame's own bytes.
    /// Fails, and leaves the frame without state, when it is neither TCP nor UDP over IP as the state says.
    pub fn set_offload(&mut self, offload: Offload) -> Result<(), BadOffload> {
        self.clear_offload();
        let Checksum::Partial { start, offset } = offload.checksum else {
            if offload.gso.is_some() {
                return Err(BadOffload);
            }
            if offload.checksum == Checksum::Valid {
                self.raw_mut().ol_flags |= sys::SHUNT_RX_L4_CKSUM_GOOD;
            }
            return Ok(());
        };
        let data = self.data();
        let (l2, ethertype) = link_header(data).ok_or(BadOffload)?;
        let l3 = usize::from(start).checked_sub(l2).ok_or(BadOffload)?;
        if l3 < 20 || l3 > L3_MASK as usize || usize::from(start) + usize::from(offset) + 2 > data.len() {
            return Err(BadOffload);
        }
        let mut flags = match ethertype {
            0x0800 => sys::SHUNT_TX_IPV4,
            0x86dd => sys::SHUNT_TX_IPV6,
            _ => return Err(BadOffload),
        };
        let (checksum, l4) = match offset {
            TCP_CHECKSUM => (sys::SHUNT_TX_TCP_CKSUM, usize::from(data[usize::from(start) + 12] >> 4) * 4),
            UDP_CHECKSUM => (sys::SHUNT_TX_UDP_CKSUM, 8),
            _ => return Err(BadOffload),
        };
        flags |= checksum;
        let mut fields = l2 as u64 | (l3 as u64) << L3_SHIFT | (l4 as u64) << L4_SHIFT;
        if let Some(gso) = offload.gso {
            let tcp = gso.kind != GsoKind::Udp;
            if tcp != (offset == TCP_CHECKSUM)
                || gso.size == 0
                || l4 < 8
                || usize::from(start) + l4 > data.len()
            {
                return Err(BadOffload);
            }
            flags |= if tcp { sys::SHUNT_TX_TCP_SEG } else { sys::SHUNT_TX_UDP_SEG };
            flags |= if ethertype == 0x0800 { sys::SHUNT_TX_IP_CKSUM } else { 0 };
            fields |= u64::from(gso.size) << TSO_SHIFT;
        }
        let raw = self.raw_mut();
        raw.ol_flags |= flags;
        raw.__bindgen_anon_3.tx_offload = fields;
        Ok(())
    }

    /// Tells the state of an unfinished frame that its link header grows (or shrinks) by `bytes`. Fails, and changes nothing,
    /// when the header would get longer than the state can say (127 bytes) or shorter than nothing.
    #[inline]
    pub fn move_transport(&mut self, bytes: i16) -> Result<(), BadOffload> {
        if !self.needs_offload() {
            return Ok(());
        }
        let raw = self.raw_mut();
        // SAFETY: `tx_offload` is the plain integer view of the union; every bit pattern is valid.
        let fields = unsafe { raw.__bindgen_anon_3.tx_offload };
        let link = (fields & L2_MASK).checked_add_signed(bytes.into()).filter(|link| *link <= L2_MASK);
        raw.__bindgen_anon_3.tx_offload = fields & !L2_MASK | link.ok_or(BadOffload)?;
        Ok(())
    }

    /// Removes all offload state: the frame is exactly its bytes.
    #[inline]
    pub fn clear_offload(&mut self) {
        let raw = self.raw_mut();
        raw.ol_flags &= !(sys::SHUNT_TX_OFFLOAD_MASK | sys::SHUNT_RX_L4_CKSUM_MASK);
        raw.__bindgen_anon_3.tx_offload = 0;
    }
}

/// Length of the link header with up to two VLAN tags, and the EtherType behind it.
fn link_header(data: &[u8]) -> Option<(usize, u16)> {
    let ethertype_at = |at: usize| Some(u16::from_be_bytes([*data.get(at)?, *data.get(at + 1)?]));
    let mut at = 12;
    for _ in 0..2 {
        match ethertype_at(at)? {
            0x8100 | 0x88a8 => at += 4,
            _ => break,
        }
    }
    Some((at + 2, ethertype_at(at)?))
}
