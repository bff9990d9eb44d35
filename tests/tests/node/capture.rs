//! Capture files in the classic format (draft-ietf-opsawg-pcap), Ethernet: what `net_pcap` plays and writes.

use std::fs;
use std::path::Path;

/// Times in microseconds.
const MAGIC: u32 = 0xa1b2_c3d4;
/// Times in nanoseconds: what DPDK writes.
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const ETHERNET: u32 = 1;
const HEADER: usize = 24;
const RECORD: usize = 16;

/// Writes frames, a microsecond after each other.
pub fn write(path: &Path, frames: &[Vec<u8>]) {
    let mut bytes = Vec::new();
    let word = |bytes: &mut Vec<u8>, value: u32| bytes.extend(value.to_le_bytes());
    word(&mut bytes, MAGIC);
    bytes.extend([2, 0, 4, 0]);
    [0, 0, 0x4_0000, ETHERNET].into_iter().for_each(|value| word(&mut bytes, value));
    for (n, frame) in (0..).zip(frames) {
        let length = u32::try_from(frame.len()).unwrap();
        [n / 1_000_000, n % 1_000_000, length, length].into_iter().for_each(|value| word(&mut bytes, value));
        bytes.extend(frame);
    }
    fs::write(path, bytes).unwrap();
}

/// The frames of a file; one that is cut off is none.
#[track_caller]
pub fn read(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let known = [MAGIC, MAGIC_NANOSECONDS].contains(&word(0));
    assert!(known, "{} is no capture of this machine's order", path.display());
    let mut frames = Vec::new();
    let mut at = HEADER;
    while at + RECORD <= bytes.len() {
        let length = word(at + 8) as usize;
        assert_eq!(word(at + 8), word(at + 12), "a frame was cut");
        let Some(frame) = bytes.get(at + RECORD..at + RECORD + length) else { break };
        frames.push(frame.to_vec());
        at += RECORD + length;
    }
    frames
}

/// An Ethernet frame of `length` bytes in all (at least 14) with a payload that follows from `seed`.
pub fn frame(dst: [u8; 6], src: [u8; 6], length: usize, seed: u8) -> Vec<u8> {
    let mut frame = [dst.as_slice(), &src, &[0x88, 0xb5]].concat();
    frame.extend((14..length).map(|at| (at as u8).wrapping_mul(31) ^ seed));
    frame
}
