//! Frames to put into tunnels.

use etherparse::{PacketBuilder, VlanId};
use proptest::prelude::*;

/// What is in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Tcp,
    Udp,
    Arp,
}

/// A frame as a value.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) body: Body,
    pub(super) v6: bool,
    pub(super) tag: bool,
    /// DSCP and ECN.
    pub(super) class: u8,
    pub(super) ports: (u16, u16),
    pub(super) payload: Vec<u8>,
}

pub(super) fn sample() -> impl Strategy<Value = Sample> {
    let body = prop::sample::select(vec![Body::Tcp, Body::Udp, Body::Arp]);
    let payload = prop::collection::vec(any::<u8>(), 0..300);
    (body, any::<bool>(), any::<bool>(), any::<u8>(), any::<(u16, u16)>(), payload)
        .prop_map(|(body, v6, tag, class, ports, payload)| Sample { body, v6, tag, class, ports, payload })
}

impl Sample {
    /// A plain packet.
    pub(super) fn udp() -> Self {
        Self { body: Body::Udp, v6: false, tag: false, class: 0, ports: (1024, 53), payload: vec![7; 32] }
    }

    pub(super) fn is_ip(&self) -> bool {
        self.body != Body::Arp
    }

    /// Bytes of the Ethernet header with its tag.
    pub(super) fn link(&self) -> usize {
        if self.tag { 18 } else { 14 }
    }

    /// The traffic class, as whoever looks for one finds it.
    pub(super) fn class_seen(&self) -> u8 {
        if self.is_ip() { self.class } else { 0 }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.sound();
        if self.is_ip() {
            set_class(&mut bytes, self.link(), self.v6, self.class);
        }
        bytes
    }

    fn sound(&self) -> Vec<u8> {
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let id = VlanId::try_new(100).unwrap();
        if self.body == Body::Arp {
            let mut bytes = [[0xff; 6], [2, 0, 0, 0, 0, 1]].concat();
            if self.tag {
                bytes.extend([0x81, 0, 0, 100]);
            }
            bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            bytes.extend(&self.payload);
            bytes.resize(60, 0);
            return bytes;
        }
        let ip = match (self.tag, self.v6) {
            (false, false) => link.ipv4([10, 20, 9, 60], [10, 20, 6, 10], 64),
            (false, true) => link.ipv6([0xfd; 16], [0xfe; 16], 64),
            (true, false) => link.single_vlan(id).ipv4([10, 20, 9, 60], [10, 20, 6, 10], 64),
            (true, true) => link.single_vlan(id).ipv6([0xfd; 16], [0xfe; 16], 64),
        };
        let mut bytes = Vec::new();
        match self.body {
            Body::Tcp => ip.tcp(self.ports.0, self.ports.1, 7, 1024).write(&mut bytes, &self.payload),
            _ => ip.udp(self.ports.0, self.ports.1).write(&mut bytes, &self.payload),
        }
        .unwrap();
        bytes
    }
}

/// Writes a traffic class, and the checksum that belongs to it, as `etherparse` computes it.
pub(super) fn set_class(frame: &mut [u8], at: usize, v6: bool, class: u8) {
    if v6 {
        frame[at] = 0x60 | class >> 4;
        frame[at + 1] = frame[at + 1] & 0x0f | class << 4;
        return;
    }
    frame[at + 1] = class;
    let header = etherparse::Ipv4HeaderSlice::from_slice(&frame[at..]).unwrap().to_header();
    let checksum = header.calc_header_checksum();
    frame[at + 10..at + 12].copy_from_slice(&checksum.to_be_bytes());
}

/// The traffic class of the IP packet at `at`.
pub(super) fn class(frame: &[u8], at: usize) -> u8 {
    if frame[at] >> 4 == 4 { frame[at + 1] } else { frame[at] << 4 | frame[at + 1] >> 4 }
}
