//! Captures to send: the classic pcap format, either byte order, micro- or nanoseconds (libpcap's pcap-savefile(5)).
//!
//! Read once at the start; only what the format itself is, which is less than a dependency.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Magic numbers as read in little-endian order: micro- and nanoseconds, then both from a big-endian writer.
const LITTLE: [u32; 2] = [0xa1b2_c3d4, 0xa1b2_3c4d];
const BIG: [u32; 2] = [0xd4c3_b2a1, 0x4d3c_b2a1];
const ETHERNET: u32 = 1;
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// The frames of a capture.
///
/// # Errors
/// The file cannot be read, is no pcap file of Ethernet frames, or holds none.
pub(super) fn frames(path: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    parse(&bytes).with_context(|| format!("{}", path.display()))
}

fn parse(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let word =
        |at: usize| bytes.get(at..at + 4).and_then(|word| Some(u32::from_le_bytes(word.try_into().ok()?)));
    let magic = word(0).context("too short for a pcap file")?;
    let big = match magic {
        magic if LITTLE.contains(&magic) => false,
        magic if BIG.contains(&magic) => true,
        _ => bail!("not a pcap file; convert a pcapng file by editcap -F pcap"),
    };
    let number = |at: usize| word(at).map(|value| if big { value.swap_bytes() } else { value });
    let link = number(20).context("too short for a pcap file")?;
    ensure!(link & 0xffff == ETHERNET, "link type {link}: only Ethernet (1) can be sent");
    let (mut frames, mut at) = (Vec::new(), FILE_HEADER);
    while at < bytes.len() {
        let length = number(at + 8).with_context(|| format!("frame {}: cut off", frames.len() + 1))? as usize;
        let start = at + RECORD_HEADER;
        let frame = start.checked_add(length).and_then(|end| bytes.get(start..end));
        let frame = frame.with_context(|| format!("frame {}: cut off", frames.len() + 1))?;
        ensure!(length >= 14, "frame {}: {length} bytes are less than an Ethernet header", frames.len() + 1);
        frames.push(frame.to_vec());
        at = start + length;
    }
    ensure!(!frames.is_empty(), "there is no frame in it");
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(big: bool, frames: &[&[u8]]) -> Vec<u8> {
        let number = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut out: Vec<u8> = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1].map(number).concat();
        for frame in frames {
            out.extend([0, 0, frame.len() as u32, frame.len() as u32].map(number).concat());
            out.extend(*frame);
        }
        out
    }

    #[test]
    fn frames_are_read_in_either_byte_order() {
        for big in [false, true] {
            let read = parse(&file(big, &[&[1; 14], &[2; 60]])).unwrap();
            assert_eq!(read, [vec![1; 14], vec![2; 60]]);
        }
    }

    #[test]
    fn files_we_wrote_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.pcap");
        crate::frames::write(&path, crate::frames::regular(10)).unwrap();
        assert_eq!(frames(&path).unwrap().len(), 10);
    }

    #[test]
    fn damaged_files_are_refused() {
        let whole = file(false, &[&[1; 60]]);
        let said = |bytes: &[u8]| format!("{:#}", parse(bytes).unwrap_err());
        assert!(said(&whole[..3]).contains("too short"));
        assert!(said(&whole[..whole.len() - 1]).contains("frame 1: cut off"));
        assert!(said(&whole[..30]).contains("frame 1: cut off"));
        assert!(said(&whole[..24]).contains("no frame"));
        assert!(said(b"\x0a\x0d\x0d\x0a rest").contains("editcap"));
        assert!(said(&file(false, &[&[1; 13]])).contains("less than an Ethernet header"));
        let mut huge = whole.clone();
        huge[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(said(&huge).contains("cut off"));
    }
}
