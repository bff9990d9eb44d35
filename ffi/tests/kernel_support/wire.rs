//! Packets for tests, and an independent look at their checksums.

/// How a packet is built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) v6: bool,
    pub(crate) udp: bool,
    pub(crate) vlan: bool,
    pub(crate) payload: usize,
}

impl Shape {
    pub(crate) fn ip_offset(self) -> usize {
        if self.vlan { 18 } else { 14 }
    }

    /// Offset of the transport header.
    pub(crate) fn start(self) -> usize {
        self.ip_offset() + if self.v6 { 40 } else { 20 }
    }

    /// Offset of the checksum in the transport header.
    pub(crate) fn offset(self) -> usize {
        if self.udp { 6 } else { 16 }
    }

    pub(crate) fn transport_length(self) -> usize {
        if self.udp { 8 } else { 20 }
    }

    /// A frame with its IP checksum right and the transport checksum partial: the pseudo header's sum only.
    pub(crate) fn partial(self) -> Vec<u8> {
        let length = self.transport_length() + self.payload;
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        if self.vlan {
            frame.extend([0x81, 0, 0x20, 5]);
        }
        let protocol = if self.udp { 17 } else { 6 };
        if self.v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((length as u16).to_be_bytes());
            frame.extend([protocol, 64]);
            for last in [1, 2] {
                frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
            }
        } else {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((20 + length as u16).to_be_bytes());
            frame.extend([0x12, 0x34, 0x40, 0, 64, protocol, 0, 0, 10, 99, 0, 1, 10, 99, 0, 2]);
            let at = self.ip_offset();
            let sum = !fold(sum(&frame[at..at + 20]));
            frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
        }
        if self.udp {
            frame.extend([0x30, 0x39, 0x30, 0x3a]);
            frame.extend((length as u16).to_be_bytes());
            frame.extend([0, 0]);
        } else {
            frame.extend([0x30, 0x39, 0x30, 0x3a, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
        }
        frame.extend((0..self.payload).map(|at| (at * 7) as u8 ^ (at >> 8) as u8));
        let field = self.start() + self.offset();
        let pseudo = fold(pseudo_header(&frame, self.ip_offset()));
        frame[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
        frame
    }

    /// The payload of `partial`.
    pub(crate) fn payload_of(self, frame: &[u8]) -> &[u8] {
        &frame[self.start() + self.transport_length()..]
    }
}

/// Sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1) of the IP packet at `at`.
fn pseudo_header(frame: &[u8], at: usize) -> u32 {
    let ip = &frame[at..];
    if ip[0] >> 4 == 6 {
        let length = u32::from(u16::from_be_bytes([ip[4], ip[5]]));
        sum(&ip[8..40]) + length + u32::from(ip[6])
    } else {
        let length = u32::from(u16::from_be_bytes([ip[2], ip[3]])) - 20;
        sum(&ip[12..20]) + length + u32::from(ip[9])
    }
}

/// True when the transport checksum of the IP packet at `at` is right, and the IPv4 header's.
pub(crate) fn checksums_hold(frame: &[u8], at: usize) -> bool {
    let v6 = frame[at] >> 4 == 6;
    let header = if v6 { 40 } else { 20 };
    let ip_holds = v6 || fold(sum(&frame[at..at + 20])) == 0xffff;
    let length = if v6 {
        usize::from(u16::from_be_bytes([frame[at + 4], frame[at + 5]]))
    } else {
        usize::from(u16::from_be_bytes([frame[at + 2], frame[at + 3]])) - 20
    };
    let transport = &frame[at + header..at + header + length];
    ip_holds && fold(pseudo_header(frame, at) + sum(transport)) == 0xffff
}

pub(crate) fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).fold(
        0,
        |total, word| {
            let total = total + word;
            (total & 0xffff) + (total >> 16)
        },
    )
}

pub(crate) fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
