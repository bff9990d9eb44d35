//! One frame out of a capture file, pcap or pcapng.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError};

use super::Failure;
use crate::control::trace::LONGEST;

/// The first block of a pcapng file begins with this.
const NEXT_GENERATION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Frame number `number`, counted from 1. One that was cut when it was captured gets zeros behind what there is, up to
/// its length on the wire, so that the lengths in its headers fit.
///
/// # Errors
/// The file cannot be read or is no capture of Ethernet frames, or it has fewer frames.
pub fn frame(path: &Path, number: u32) -> Result<Vec<u8>, Failure> {
    let wrong = |text: String| Failure::bad_input(format!("shunt: {}: {text}", path.display()));
    let unreadable =
        |error: &dyn std::fmt::Display| wrong(format!("{error}; give the path of a pcap or pcapng file"));
    let mut file = File::open(path).map_err(|error| unreadable(&error))?;
    let mut magic = [0; 4];
    let read = file.read_exact(&mut magic).and_then(|()| file.rewind());
    read.map_err(|error| unreadable(&error))?;
    let file = BufReader::new(file);
    let found = if magic == NEXT_GENERATION { from_pcapng(file, number) } else { from_pcap(file, number) };
    let captured = found.map_err(|error| unreadable(&error))?;
    let (link, mut bytes, length) = match captured {
        Ok(captured) => captured,
        Err(count) => return Err(wrong(format!("it has {count} frames, there is no number {number}"))),
    };
    if link != DataLink::ETHERNET {
        return Err(wrong(format!(
            "frame {number} is of link type {link:?}; only ethernet frames can be traced"
        )));
    }
    bytes.resize(bytes.len().max(length.min(LONGEST)), 0);
    Ok(bytes)
}

/// Link type, bytes and length on the wire; or the number of frames when that is too small.
type Captured = Result<(DataLink, Vec<u8>, usize), u32>;

fn from_pcap(file: impl Read, number: u32) -> Result<Captured, PcapError> {
    let mut reader = PcapReader::new(file)?;
    let link = reader.header().datalink;
    let mut count = 0;
    // Raw, because a frame that is longer than the snap length is no mistake here.
    while let Some(packet) = reader.next_raw_packet() {
        let packet = packet?;
        count += 1;
        if count == number {
            return Ok(Ok((link, packet.data.into_owned(), packet.orig_len as usize)));
        }
    }
    Ok(Err(count))
}

fn from_pcapng(file: impl Read, number: u32) -> Result<Captured, PcapError> {
    let mut reader = PcapNgReader::new(file)?;
    let mut count = 0;
    while let Some(block) = reader.next_block() {
        let (interface, bytes, length) = match block? {
            Block::EnhancedPacket(packet) => {
                (packet.interface_id as usize, packet.data.into_owned(), packet.original_len)
            }
            Block::SimplePacket(packet) => (0, packet.data.into_owned(), packet.original_len),
            _ => continue,
        };
        count += 1;
        if count == number {
            let link =
                reader.interfaces().get(interface).map_or(DataLink::ETHERNET, |interface| interface.linktype);
            return Ok(Ok((link, bytes, length as usize)));
        }
    }
    Ok(Err(count))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A capture with a snap length of 16, of link type `link`: one frame that fits and one that was cut.
    fn capture(link: u32) -> tempfile::NamedTempFile {
        let mut bytes = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 16, link] {
            bytes.extend(word.to_le_bytes());
        }
        for (first, length) in [(1_u8, 16_u32), (2, 20)] {
            for word in [0, 0, 16, length] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend([first; 16]);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn frames_are_counted_from_one_and_cut_ones_get_their_length_back() {
        let file = capture(1);
        assert_eq!(frame(file.path(), 1).unwrap(), [1; 16]);
        assert_eq!(frame(file.path(), 2).unwrap(), [[2; 16].as_slice(), &[0; 4]].concat());
        let failure = frame(file.path(), 3).unwrap_err();
        assert!(failure.message.ends_with("it has 2 frames, there is no number 3"), "{}", failure.message);
        assert_eq!(failure.code, 2);
    }

    #[test]
    fn what_is_no_capture_of_ethernet_is_said_to_be_none() {
        let failure = frame(capture(101).path(), 1).unwrap_err();
        assert!(failure.message.ends_with("only ethernet frames can be traced"), "{}", failure.message);
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "no capture at all, and longer than a header"] {
            fs::write(file.path(), text).unwrap();
            let failure = frame(file.path(), 1).unwrap_err();
            assert!(
                failure.message.ends_with("; give the path of a pcap or pcapng file"),
                "{}",
                failure.message
            );
        }
        assert!(frame(Path::new("/nonexistent/x.pcap"), 1).is_err());
    }

    #[test]
    fn the_next_generation_is_read_too() {
        use pcap_file::pcapng::PcapNgWriter;
        use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
        use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = PcapNgWriter::new(fs::File::create(file.path()).unwrap()).unwrap();
        writer.write_pcapng_block(InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0xffff)).unwrap();
        for first in [1_u8, 2] {
            let packet = EnhancedPacketBlock {
                interface_id: 0,
                timestamp: std::time::Duration::ZERO,
                original_len: 60,
                data: vec![first; 60].into(),
                options: Vec::new(),
            };
            writer.write_pcapng_block(packet).unwrap();
        }
        drop(writer);
        assert_eq!(frame(file.path(), 2).unwrap(), [2; 60]);
    }
}
