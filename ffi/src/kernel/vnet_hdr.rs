//! The virtio-net header (`linux/virtio_net.h`, virtio 1.2 section 5.1.6): how the kernel says which checksum is still
//! partial and into what a large frame is to be cut. Translated to and from the mbuf's own [`Offload`] state.
//!
//! Both directions cost a few loads; a frame without offload state costs one test.
//!
//! **ECN.** The header's ECN bit says "CWR belongs to the first segment only". It is not kept in [`Offload`]; on the way
//! out it is read back from the TCP header, because Linux sets it exactly for frames with CWR. Lost: Accurate ECN
//! (draft-ietf-tcpm-accurate-ecn), where CWR is a counter bit of every segment, becomes classic ECN when such a frame is
//! cut; the header has no bit for it either way.
//!
//! UDP fragmentation offload (`GSO_UDP`, UFO) is not offered and not accepted.

use super::checksum;
use super::headers::{self, TCP, UDP};
use crate::mbuf::Mbuf;
use crate::offload::{BadOffload, Checksum, Gso, GsoKind, Offload, TCP_CHECKSUM, UDP_CHECKSUM};

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// Offset of the checksum field in an SCTP header (RFC 9260 section 3.1).
const SCTP_CHECKSUM: u16 = 8;
/// Bytes that a kernel should keep in one piece when it stores a frame of which nothing else is known.
const PLAIN_HEADERS: usize = 128;

/// The header as it is exchanged with the kernel: its first [`VnetHdr::PACKET_LEN`] bytes with AF_PACKET, all
/// [`VnetHdr::TUN_LEN`] with TUN/TAP. Numbers are in host order, as the legacy interface has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VnetHdr {
    pub(crate) flags: u8,
    pub(crate) gso_type: u8,
    pub(crate) hdr_len: u16,
    pub(crate) gso_size: u16,
    pub(crate) csum_start: u16,
    pub(crate) csum_offset: u16,
    pub(crate) num_buffers: u16,
}

/// The header describes something that neither a DPDK mbuf nor our software can finish: the frame must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("virtio-net header does not fit the frame")]
pub(crate) struct Undecodable;

/// What [`VnetHdr::apply`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The state is in the mbuf now.
    Carried,
    /// The checksum was finished in software.
    Completed,
    /// A large send inside a tunnel: it must be cut (see [`super::tunnel`]). The frame is as it came.
    MustCut {
        /// Offset of the inner transport header.
        start: u16,
        /// Offset of the checksum in it.
        offset: u16,
        /// Into what.
        gso: Gso,
    },
}

impl VnetHdr {
    /// Length with AF_PACKET (`PACKET_VNET_HDR`).
    pub(crate) const PACKET_LEN: usize = 10;
    /// Length with TUN/TAP (`TUNSETVNETHDRSZ`).
    pub(crate) const TUN_LEN: usize = 12;

    /// Puts the state that came with a received frame into the frame. `shift` is the number of bytes put in front of
    /// what the kernel counted from: 14 for TUN, 4 for a re-inserted VLAN tag.
    #[inline]
    pub(crate) fn apply(&self, frame: &mut Mbuf, shift: u16) -> Result<Applied, Undecodable> {
        if self.flags & NEEDS_CSUM == 0 {
            // A frame to be cut always has a partial checksum in Linux; one without would need it recomputed.
            if self.gso_type != GSO_NONE {
                return Err(Undecodable);
            }
            if self.flags & DATA_VALID != 0 {
                frame
                    .set_offload(Offload { checksum: Checksum::Valid, gso: None })
                    .map_err(|_| Undecodable)?;
            }
            return Ok(Applied::Carried);
        }
        self.apply_partial(frame, shift)
    }

    fn apply_partial(&self, frame: &mut Mbuf, shift: u16) -> Result<Applied, Undecodable> {
        let start = self.csum_start.checked_add(shift).ok_or(Undecodable)?;
        let offset = self.csum_offset;
        let gso = match self.gso_type & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCPV4 => Some(GsoKind::TcpV4),
            GSO_TCPV6 => Some(GsoKind::TcpV6),
            GSO_UDP_L4 => Some(GsoKind::Udp),
            _ => return Err(Undecodable),
        };
        let gso = gso.map(|kind| Gso { kind, size: self.gso_size });
        let transport = headers::transport(frame.data());
        let plain = transport.is_some_and(|transport| {
            transport.offset == usize::from(start)
                && match offset {
                    TCP_CHECKSUM => transport.protocol == TCP,
                    UDP_CHECKSUM => transport.protocol == UDP,
                    _ => false,
                }
                && match gso.map(|gso| gso.kind) {
                    Some(GsoKind::TcpV4) => !transport.ipv6,
                    Some(GsoKind::TcpV6) => transport.ipv6,
                    Some(GsoKind::Udp) | None => true,
                }
        });
        if plain && frame.set_offload(Offload { checksum: Checksum::Partial { start, offset }, gso }).is_ok()
        {
            return Ok(Applied::Carried);
        }
        if let Some(gso) = gso {
            // Behind the outer transport header, so not just a lie about it.
            let deeper = transport.is_some_and(|transport| transport.offset < usize::from(start));
            return if deeper { Ok(Applied::MustCut { start, offset, gso }) } else { Err(Undecodable) };
        }
        let sctp = offset == SCTP_CHECKSUM
            && transport.is_some_and(|transport| {
                transport.protocol == headers::SCTP && transport.offset == usize::from(start)
            });
        let done = if sctp {
            checksum::complete_sctp(frame, usize::from(start))
        } else {
            checksum::complete_internet(frame, usize::from(start), usize::from(offset))
        };
        done.map(|()| Applied::Completed).ok_or(Undecodable)
    }

    /// The header for a frame to be sent, of which the kernel will not see the first `strip` bytes (14 for TUN).
    #[inline]
    pub(crate) fn of(frame: &Mbuf, strip: u16) -> Result<Self, BadOffload> {
        let offload = frame.offload()?;
        let data = frame.data();
        // The kernel stores this many bytes in one piece and the rest in pages. Without it a large frame would need
        // one piece of 64 KiB, which a fragmented memory cannot give.
        let plain = data.len().saturating_sub(usize::from(strip)).min(PLAIN_HEADERS) as u16;
        let (start, offset) = match offload.checksum {
            Checksum::Complete => return Ok(Self { hdr_len: plain, ..Self::default() }),
            Checksum::Valid => return Ok(Self { flags: DATA_VALID, hdr_len: plain, ..Self::default() }),
            Checksum::Partial { start, offset } => (start, offset),
        };
        let csum_start = start.checked_sub(strip).ok_or(BadOffload)?;
        let mut header =
            Self { flags: NEEDS_CSUM, hdr_len: plain, csum_start, csum_offset: offset, ..Self::default() };
        if let Some(gso) = offload.gso {
            header.gso_size = gso.size;
            let transport = &data[usize::from(start)..];
            header.hdr_len = csum_start + transport_length(gso.kind, transport)?;
            header.gso_type = match gso.kind {
                GsoKind::TcpV4 => GSO_TCPV4 | ecn(transport),
                GsoKind::TcpV6 => GSO_TCPV6 | ecn(transport),
                GsoKind::Udp => GSO_UDP_L4,
            };
        }
        Ok(header)
    }
}

fn transport_length(kind: GsoKind, transport: &[u8]) -> Result<u16, BadOffload> {
    let length = match kind {
        GsoKind::Udp => 8,
        GsoKind::TcpV4 | GsoKind::TcpV6 => u16::from(transport.get(12).ok_or(BadOffload)? >> 4) * 4,
    };
    if length < 8 || usize::from(length) > transport.len() { Err(BadOffload) } else { Ok(length) }
}

/// The ECN bit for a TCP header: set when CWR is (RFC 3168 section 6.1.2).
fn ecn(tcp: &[u8]) -> u8 {
    const CWR: u8 = 0x80;
    if tcp.get(13).is_some_and(|flags| flags & CWR != 0) { GSO_ECN } else { 0 }
}

#[cfg(test)]
#[path = "vnet_hdr/tests.rs"]
mod tests;
