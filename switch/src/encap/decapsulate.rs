//! Taking the outer headers off a frame that [`super::Terminator`] has opened.
//!
//! The buffer stays; what was in front is headroom again. Cost: four stores; more for IP payloads, congestion marks and
//! offload state.

use shunt_ffi::Mbuf;
use shunt_ffi::offload::{Checksum, GsoKind, Offload};

use super::ecn;
use super::terminator::Inner;
use crate::drop::DropReason;
use crate::wire::ethernet::{self, Mac};

/// Leaves of `frame` what is `inner`: an Ethernet frame. An IP packet gets an Ethernet header with these addresses in front.
///
/// Congestion marks are combined (RFC 6040 section 4.2). Offload state that is the inner packet's stays and is moved; that of
/// the outer packet disappears with it.
///
/// # Errors
/// `TunnelEcn`; `TunnelBadHeader` when the frame is not the one that was opened, or has bytes behind the packet and is a
/// chain; `BadOffload` when the state does not fit. The frame is then of no more use.
#[inline]
pub fn decapsulate(frame: &mut Mbuf, inner: &Inner, dst: Mac, src: Mac) -> Result<(), DropReason> {
    let usual = inner.ip == 0
        && !ecn::matters(inner.ecn)
        && !frame.needs_offload()
        && frame.len() == u32::from(inner.offset) + u32::from(inner.length);
    if !usual {
        return decapsulate_unusual(frame, inner, dst, src);
    }
    // Who vouched for a checksum vouched for the outer one.
    frame.clear_offload();
    frame.trim_front(inner.offset).ok_or(DropReason::TunnelBadHeader)
}

#[inline(never)]
fn decapsulate_unusual(frame: &mut Mbuf, inner: &Inner, dst: Mac, src: Mac) -> Result<(), DropReason> {
    const BAD: DropReason = DropReason::TunnelBadHeader;
    let state = frame.offload().map_err(|_| DropReason::BadOffload)?;
    frame.clear_offload();
    cut(frame, inner)?;
    let removed = if inner.ip == 0 {
        inner.offset
    } else {
        let start = inner.offset.checked_sub(ethernet::HEADER as u16).ok_or(BAD)?;
        let header = frame.data_mut().get_mut(usize::from(start)..).ok_or(BAD)?;
        let header = header.first_chunk_mut::<{ ethernet::HEADER }>().ok_or(BAD)?;
        header[..6].copy_from_slice(&dst.bytes());
        header[6..12].copy_from_slice(&src.bytes());
        header[12..].copy_from_slice(&inner.ip.to_be_bytes());
        start
    };
    frame.trim_front(removed).ok_or(BAD)?;
    if ecn::matters(inner.ecn) {
        ecn::combine(inner.ecn, frame.data_mut())?;
    }
    move_state(frame, state, inner.offset, removed)
}

/// Cuts off what is behind the inner packet.
fn cut(frame: &mut Mbuf, inner: &Inner) -> Result<(), DropReason> {
    let end = u32::from(inner.offset) + u32::from(inner.length);
    if frame.len() > end {
        let end = u16::try_from(end).map_err(|_| DropReason::TunnelBadHeader)?;
        frame.truncate(end).ok_or(DropReason::TunnelBadHeader)?;
    }
    if frame.len() < end { Err(DropReason::TunnelBadHeader) } else { Ok(()) }
}

/// Sets the state that the sender left, as far as it is the inner packet's.
fn move_state(frame: &mut Mbuf, state: Offload, offset: u16, removed: u16) -> Result<(), DropReason> {
    let Checksum::Partial { start, offset: field } = state.checksum else { return Ok(()) };
    if start < offset {
        // The outer datagram's own. Were it to be cut, each piece would be a packet of the tunnel: see `super::train`.
        return if state.gso.is_some() { Err(DropReason::BadOffload) } else { Ok(()) };
    }
    let mut gso = state.gso;
    if let Some(gso) = &mut gso
        && gso.kind != GsoKind::Udp
    {
        // The kind was told by the outer IP version.
        let v6 = ecn::ip(frame.data()).is_some_and(|(_, ethertype)| ethertype == ethernet::IPV6);
        gso.kind = if v6 { GsoKind::TcpV6 } else { GsoKind::TcpV4 };
    }
    let checksum = Checksum::Partial { start: start - removed, offset: field };
    frame.set_offload(Offload { checksum, gso }).map_err(|_| DropReason::BadOffload)
}
