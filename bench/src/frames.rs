//! Input frames: 64 bytes on the wire (60 and the checksum), UDP over IPv4, one frame a flow.
//!
//! Byte for byte what the peers' published figures were measured with: flow `i` goes from 10.0.1.10 to 10.0.2.(i mod 250 + 1),
//! in the order that Python's `random.Random(1).shuffle` gives.

mod mersenne;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use mersenne::Mersenne;

/// Destination of all frames: a station behind the egress port.
pub const DESTINATION: &str = "02:00:00:00:00:fe";

const ETHERNET: [u8; 14] = [2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1, 8, 0];
const FRAME: usize = 60;
const UDP: u16 = 26;
// Addresses, and with them IP headers, repeat after so many flows.
const HOSTS: u32 = 250;
const PORTS: u32 = 60_000;

/// Writes a pcap file of `flows` frames.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, flows: u32) -> Result<()> {
    fs::write(path, capture(flows)).with_context(|| format!("write {}", path.display()))
}

fn capture(flows: u32) -> Vec<u8> {
    let mut order: Vec<u32> = (0..flows).collect();
    Mersenne::seeded(1).shuffle(&mut order);
    let mut out = Vec::with_capacity(24 + order.len() * (16 + FRAME));
    // File header: magic, version 2.4, time zone, precision, longest frame, Ethernet.
    out.extend(0xa1b2_c3d4_u32.to_le_bytes());
    out.extend([2, 0, 4, 0]);
    out.extend([0; 8]);
    out.extend(65_535_u32.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    for flow in order {
        out.extend([0; 8]);
        out.extend((FRAME as u32).to_le_bytes());
        out.extend((FRAME as u32).to_le_bytes());
        out.extend(frame(flow));
    }
    out
}

fn frame(flow: u32) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[..14].copy_from_slice(&ETHERNET);
    let ip = &mut frame[14..34];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&(20 + UDP).to_be_bytes());
    ip[6] = 0x40; // do not fragment
    ip[8] = 64;
    ip[9] = 17;
    ip[12..16].copy_from_slice(&[10, 0, 1, 10]);
    ip[16..20].copy_from_slice(&[10, 0, 2, (flow % HOSTS) as u8 + 1]);
    let checksum = shunt_switch::wire::checksum::Sum::default().bytes(ip).checksum();
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    let source = 1024 + (flow / HOSTS) % PORTS;
    let destination = 5000 + flow / (HOSTS * PORTS);
    frame[34..36].copy_from_slice(&(source as u16).to_be_bytes());
    frame[36..38].copy_from_slice(&(destination as u16).to_be_bytes());
    frame[38..40].copy_from_slice(&UDP.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flow_is_one_frame_of_60_bytes() {
        let file = capture(1);
        assert_eq!(file.len(), 24 + 16 + 60);
        let ip = &file[40 + 14..40 + 34];
        assert_eq!(
            shunt_switch::wire::checksum::Sum::default().bytes(ip).checksum(),
            0,
            "a right checksum sums to nothing"
        );
        assert_eq!(ip[16..20], [10, 0, 2, 1]);
    }

    #[test]
    fn every_flow_is_there_once() {
        let file = capture(1000);
        let mut seen: Vec<[u8; 8]> =
            file[24..].chunks(76).map(|record| record[16 + 30..16 + 38].try_into().unwrap()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1000);
    }

    // FNV-1a of the files that the Python script beside the published figures writes.
    #[test]
    fn files_are_those_the_peers_were_measured_with() {
        let hash = |file: &[u8]| {
            let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            file.iter().fold(0xcbf2_9ce4_8422_2325, step)
        };
        assert_eq!(hash(&capture(1)), 0x97fd83f4bb428aa);
        assert_eq!(hash(&capture(1000)), 0xca0bec0933fc914c);
    }
}
