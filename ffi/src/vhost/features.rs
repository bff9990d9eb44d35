//! Which virtio-net features we offer a guest, and what its choice means for the output stage.
//!
//! Bit numbers: virtio 1.1, section 5.1.3 (network device) and 6 (reserved bits); `linux/virtio_net.h`.

const GUEST_CSUM: u64 = 1 << 1;
const GSO: u64 = 1 << 6;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const GUEST_ECN: u64 = 1 << 9;
const GUEST_UFO: u64 = 1 << 10;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const HOST_ECN: u64 = 1 << 13;
const HOST_UFO: u64 = 1 << 14;
const MRG_RXBUF: u64 = 1 << 15;
const MQ: u64 = 1 << 22;

/// Features of the library that are never offered: the frame's offload state has no place for ECN and for UFO
/// (IP fragments), and the legacy `GSO` bit promises both.
const NEVER: u64 = GSO | GUEST_ECN | GUEST_UFO | HOST_ECN | HOST_UFO;

/// Largest frame a guest with `GUEST_TSO` must have buffers for (virtio 1.1, 5.1.6.3.1): 65562 bytes with the header.
const TSO_BUFFER: u32 = 65550;
/// Largest frame any guest must have buffers for: 1514 bytes and one VLAN tag.
const PLAIN_BUFFER: u32 = 1518;

/// The library's features to switch off for a port.
pub(super) fn disabled(tso: bool, mergeable: bool, queues: u16) -> u64 {
    let mut bits = NEVER;
    if !tso {
        bits |= GUEST_TSO4 | GUEST_TSO6 | HOST_TSO4 | HOST_TSO6;
    }
    if !mergeable {
        bits |= MRG_RXBUF;
    }
    if queues == 1 {
        bits |= MQ;
    }
    bits
}

/// What the attached guest accepts. Changes whenever a guest attaches: read it per burst, it is one load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestOffloads {
    /// Takes frames whose transport checksum is unfinished (`VIRTIO_NET_F_GUEST_CSUM`).
    pub checksum: bool,
    /// Takes TCP over IPv4 frames larger than its MTU (`VIRTIO_NET_F_GUEST_TSO4`).
    pub tso_v4: bool,
    /// Takes TCP over IPv6 frames larger than its MTU (`VIRTIO_NET_F_GUEST_TSO6`).
    pub tso_v6: bool,
    /// Spreads a frame over several of its buffers (`VIRTIO_NET_F_MRG_RXBUF`), so any length fits.
    pub mergeable: bool,
}

impl GuestOffloads {
    pub(super) fn of(features: u64) -> Self {
        let has = |bit: u64| features & bit != 0;
        // The guest may only use GUEST_TSO together with GUEST_CSUM (virtio 1.1, 5.1.3.1); a hostile one may not.
        let checksum = has(GUEST_CSUM);
        Self {
            checksum,
            tso_v4: checksum && has(GUEST_TSO4),
            tso_v6: checksum && has(GUEST_TSO6),
            mergeable: has(MRG_RXBUF),
        }
    }

    /// Longest frame that surely fits into one of the guest's buffers; longer ones may or may not.
    pub(super) fn sure_fit(self) -> u32 {
        match self {
            Self { mergeable: true, .. } => u32::MAX,
            Self { tso_v4: true, .. } | Self { tso_v6: true, .. } => TSO_BUFFER,
            _ => PLAIN_BUFFER,
        }
    }

    pub(super) fn to_bits(self) -> u32 {
        u32::from(self.checksum)
            | u32::from(self.tso_v4) << 1
            | u32::from(self.tso_v6) << 2
            | u32::from(self.mergeable) << 3
    }

    #[inline]
    pub(super) fn from_bits(bits: u32) -> Self {
        Self {
            checksum: bits & 1 != 0,
            tso_v4: bits & 2 != 0,
            tso_v6: bits & 4 != 0,
            mergeable: bits & 8 != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_without_checksum_gets_no_tso_either() {
        let offloads = GuestOffloads::of(GUEST_TSO4 | GUEST_TSO6 | MRG_RXBUF);
        assert_eq!(offloads, GuestOffloads { mergeable: true, ..GuestOffloads::default() });
    }

    #[test]
    fn bits_round_trip() {
        for bits in 0..16 {
            assert_eq!(GuestOffloads::from_bits(bits).to_bits(), bits);
        }
    }

    #[test]
    fn switches_remove_what_they_name() {
        assert_eq!(disabled(true, true, 2), NEVER);
        assert_eq!(disabled(false, true, 2) & !NEVER, GUEST_TSO4 | GUEST_TSO6 | HOST_TSO4 | HOST_TSO6);
        assert_eq!(disabled(true, false, 2) & !NEVER, MRG_RXBUF);
        assert_eq!(disabled(true, true, 1) & !NEVER, MQ);
    }
}
