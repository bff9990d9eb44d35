//! The same frames as they come from another node: inside a tunnel, or with a VLAN tag.

use super::{FRAME, Frame, scatter, seal};

/// Our end of the tunnel.
pub const VTEP: [u8; 4] = [172, 31, 1, 1];
/// Its MAC address.
pub const VTEP_MAC: [u8; 6] = [2, 0, 0, 0, 0xaa, 1];
/// The other end.
pub const PEER: [u8; 4] = [172, 31, 1, 2];
/// Its MAC address.
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0xbb, 1];
/// Number of the network in the tunnel.
pub const VNI: u32 = 100;

/// Ethernet, IPv4, UDP and the header of a tunnel.
const OUTER: usize = 14 + 20 + 8 + 8;

/// An encapsulation of Ethernet frames in UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// RFC 7348.
    Vxlan,
    /// RFC 8926, without options.
    Geneve,
}

impl Tunnel {
    /// As the configuration has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
        }
    }

    /// The UDP port it is registered with.
    const fn port(self) -> u16 {
        match self {
            Self::Vxlan => 4789,
            Self::Geneve => 6081,
        }
    }

    /// Flags and protocol, before the VNI.
    const fn header(self) -> [u8; 4] {
        match self {
            // Section 5: the VNI is valid.
            Self::Vxlan => [8, 0, 0, 0],
            // Section 3.4: version 0, no options, Ethernet (0x6558).
            Self::Geneve => [0, 0, 0x65, 0x58],
        }
    }

    /// `frame` as the peer sends it to us, its flow in the source port.
    pub fn around(self, frame: Frame) -> [u8; OUTER + FRAME] {
        let mut out = [0; OUTER + FRAME];
        out[..6].copy_from_slice(&VTEP_MAC);
        out[6..12].copy_from_slice(&PEER_MAC);
        out[12] = 8;
        let ip = &mut out[14..34];
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&((OUTER - 14 + FRAME) as u16).to_be_bytes());
        ip[6] = 0x40; // do not fragment
        ip[8] = 64;
        ip[9] = 17;
        ip[12..16].copy_from_slice(&PEER);
        ip[16..20].copy_from_slice(&VTEP);
        seal(ip);
        let word = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
        // Destination address and ports.
        let entropy = 49_152 + (scatter(word(30) ^ scatter(word(34))) % 16_384) as u16;
        out[34..36].copy_from_slice(&entropy.to_be_bytes());
        out[36..38].copy_from_slice(&self.port().to_be_bytes());
        // No checksum, as RFC 7348 section 5 has it.
        out[38..40].copy_from_slice(&((16 + FRAME) as u16).to_be_bytes());
        out[42..46].copy_from_slice(&self.header());
        out[46..50].copy_from_slice(&(VNI << 8).to_be_bytes());
        out[OUTER..].copy_from_slice(&frame);
        out
    }
}

/// A MAC address as people write it.
pub fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// `frame` with the tag of a VLAN (IEEE 802.1Q), as a trunk has it.
pub fn tagged<const LENGTH: usize>(vid: u16, frame: [u8; LENGTH]) -> Vec<u8> {
    let [high, low] = vid.to_be_bytes();
    [&frame[..12], &[0x81, 0, high, low], &frame[12..]].concat()
}

/// The announcement that `mac` has `address`: a gratuitous ARP request (RFC 5227 section 2.3).
pub fn announcement(mac: [u8; 6], address: [u8; 4]) -> Frame {
    let mut frame = [0; FRAME];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&mac);
    frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&mac);
    frame[28..32].copy_from_slice(&address);
    frame[38..42].copy_from_slice(&address);
    frame
}

#[cfg(test)]
mod tests {
    use super::super::regular;
    use super::*;

    #[test]
    fn a_frame_in_a_tunnel_is_what_the_peers_script_makes() {
        let inner = regular(1).next().unwrap();
        let out = Tunnel::Vxlan.around(inner);
        assert_eq!(out[..14], [2, 0, 0, 0, 0xaa, 1, 2, 0, 0, 0, 0xbb, 1, 8, 0]);
        // Total length 96, do not fragment, TTL 64, UDP.
        assert_eq!(out[14..24], [0x45, 0, 0, 96, 0, 0, 0x40, 0, 64, 17]);
        assert_eq!(shunt_switch::wire::checksum::Sum::default().bytes(&out[14..34]).checksum(), 0);
        assert_eq!(out[36..42], [0x12, 0xb5, 0, 76, 0, 0]);
        assert_eq!(out[42..50], [8, 0, 0, 0, 0, 0, 100, 0]);
        assert_eq!(out[50..], inner);
        let out = Tunnel::Geneve.around(inner);
        assert_eq!((&out[36..38], &out[42..50]), (&[0x17, 0xc1][..], &[0, 0, 0x65, 0x58, 0, 0, 100, 0][..]));
    }

    #[test]
    fn flows_have_many_source_ports() {
        let mut ports: Vec<u16> = regular(1_000)
            .map(|frame| Tunnel::Vxlan.around(frame))
            .map(|frame| u16::from_be_bytes([frame[34], frame[35]]))
            .collect();
        assert!(ports.iter().all(|port| *port >= 49_152));
        ports.sort_unstable();
        ports.dedup();
        assert!(ports.len() > 900, "{}", ports.len());
    }

    #[test]
    fn a_tag_is_behind_the_addresses() {
        let frame = regular(1).next().unwrap();
        let out = tagged(1155, frame);
        assert_eq!(
            (&out[..12], &out[12..16], &out[16..]),
            (&frame[..12], &[0x81, 0, 4, 0x83][..], &frame[12..])
        );
    }

    #[test]
    fn an_announcement_names_its_sender_twice() {
        let frame = announcement([2, 0, 0, 0, 0, 9], [10, 0, 9, 2]);
        let message = shunt_switch::wire::arp::parse(&frame).unwrap();
        assert_eq!((message.sender_ip, message.target_ip), ([10, 0, 9, 2].into(), [10, 0, 9, 2].into()));
    }
}
