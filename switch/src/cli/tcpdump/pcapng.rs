//! Captured frames as pcapng (draft-ietf-opsawg-pcapng): an interface for each port and point, as `pod1 in`, `pod1 out`,
//! `pod1 drop`; a dropped frame has its reason as a comment.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};

use crate::control::api::proto::{CapturePoint, CapturedFrame};
use crate::control::capture::SNAPLEN;
use crate::drop::DropReason;

/// Times are in nanoseconds: ten to the power of minus this.
const NANOSECONDS: u8 = 9;
/// Bits of the flags word (pcapng section 4.3.1): direction inbound, outbound.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A capture being written.
pub struct Pcapng<W: Write> {
    writer: PcapNgWriter<W>,
    interfaces: HashMap<(String, i32), u32>,
}

impl<W: Write> Pcapng<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(out: W) -> io::Result<Self> {
        let writer = PcapNgWriter::new(out).map_err(plain)?;
        Ok(Self { writer, interfaces: HashMap::new() })
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&mut self, frame: &CapturedFrame) -> io::Result<()> {
        let interface_id = self.interface(frame)?;
        let mut options = Vec::new();
        match frame.point() {
            CapturePoint::Ingress => options.push(EnhancedPacketOption::Flags(INBOUND)),
            CapturePoint::Egress => options.push(EnhancedPacketOption::Flags(OUTBOUND)),
            CapturePoint::Drop => {
                options.push(EnhancedPacketOption::Comment(comment(&frame.reason).into()));
            }
        }
        let block = EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::from_nanos(frame.time_ns),
            original_len: frame.length,
            data: frame.data.as_slice().into(),
            options,
        };
        self.writer.write_pcapng_block(block).map_err(plain).map(drop)
    }

    /// Hands everything on to who reads.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    /// The number of the frame's interface, which is described before its first frame.
    fn interface(&mut self, frame: &CapturedFrame) -> io::Result<u32> {
        let key = (frame.port.clone(), frame.point);
        if let Some(id) = self.interfaces.get(&key) {
            return Ok(*id);
        }
        let (word, what) = match frame.point() {
            CapturePoint::Ingress => ("in", "received from the port"),
            CapturePoint::Egress => ("out", "handed to the port"),
            CapturePoint::Drop => ("drop", "dropped, with the reason as a comment"),
        };
        let mut block = InterfaceDescriptionBlock::new(DataLink::ETHERNET, SNAPLEN as u32);
        block.options = vec![
            InterfaceDescriptionOption::IfName(format!("{} {word}", frame.port).into()),
            InterfaceDescriptionOption::IfDescription(what.into()),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ];
        self.writer.write_pcapng_block(block).map_err(plain)?;
        let id = self.interfaces.len() as u32;
        self.interfaces.insert(key, id);
        Ok(id)
    }
}

/// The reason with its sentence.
fn comment(name: &str) -> String {
    let known = DropReason::ALL.iter().find(|reason| reason.name() == name);
    known.map_or_else(|| format!("drop: {name}"), |reason| format!("drop: {name}: {}", reason.describe()))
}

fn plain(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
