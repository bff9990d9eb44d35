//! Outer headers of tunnels: prebuilt, pushed as they are, then four fields patched. And their removal.

use shunt_ffi::Mbuf;

use crate::drop::DropReason;
use crate::wire::checksum::Sum;

/// Longest outer headers: Ethernet with two tags, IPv6, UDP and Geneve with 64 bytes of options.
const LONGEST: usize = 22 + 40 + 8 + 8 + 64;
/// First source port of tunnels and how many there are (RFC 7348 section 5, RFC 6335 section 6).
const FIRST_PORT: u16 = 49_152;
const PORTS: u64 = 16_384;

/// Prebuilt outer headers.
///
/// Lengths in them are those of an empty payload; the IPv4 checksum fits them. [`Template::push`] adds the payload's length
/// to the IP and UDP lengths and to the checksum, and writes the UDP source port. A UDP checksum is left as it is: 0, which
/// means none (RFC 7348 section 5; over IPv6 RFC 6935 section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    bytes: Box<[u8]>,
    ip: u16,
    udp: Option<u16>,
}

/// The headers are not what a template is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Longer than any tunnel needs.
    #[error("outer headers of {0} bytes are longer than {LONGEST}")]
    TooLong(usize),
    /// No whole IP header, or no whole UDP header, where it should be.
    #[error("no whole ip or udp header at the given place")]
    NoHeader,
}

impl Template {
    /// A template of `bytes`, whose IP header starts at `ip` and whose UDP header, if there is one, at `udp`.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn new(mut bytes: Vec<u8>, ip: u16, udp: Option<u16>) -> Result<Self, TemplateError> {
        if bytes.len() > LONGEST {
            return Err(TemplateError::TooLong(bytes.len()));
        }
        let length = bytes.len();
        let header = bytes.get_mut(usize::from(ip)..).ok_or(TemplateError::NoHeader)?;
        let within = (length - usize::from(ip)) as u16;
        match header.first().map(|first| first >> 4) {
            Some(4) if header.len() >= 20 => {
                header[2..4].copy_from_slice(&within.to_be_bytes());
                header[10..12].fill(0);
                let checksum = Sum::new().bytes(&header[..20]).checksum();
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            Some(6) if header.len() >= 40 => header[4..6].copy_from_slice(&(within - 40).to_be_bytes()),
            _ => return Err(TemplateError::NoHeader),
        }
        if let Some(udp) = udp {
            let field =
                bytes.get_mut(usize::from(udp) + 4..usize::from(udp) + 6).ok_or(TemplateError::NoHeader)?;
            field.copy_from_slice(&((length - usize::from(udp)) as u16).to_be_bytes());
        }
        Ok(Self { bytes: bytes.into(), ip, udp })
    }

    /// Bytes it adds to a frame.
    #[expect(clippy::len_without_is_empty, reason = "a template is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Puts the headers in front of `frame`.
    pub(super) fn push(&self, hash: u64, frame: &mut Mbuf) -> Result<(), DropReason> {
        // What is unfinished inside a tunnel no port of ours can finish outside of it.
        if frame.needs_offload() {
            return Err(DropReason::BadOffload);
        }
        let payload = u16::try_from(frame.len()).map_err(|_| DropReason::TooLong)?;
        let data = frame.prepend(self.bytes.len() as u16).ok_or(DropReason::NoHeadroom)?;
        let outer = data.get_mut(..self.bytes.len()).ok_or(DropReason::NoHeadroom)?;
        outer.copy_from_slice(&self.bytes);
        let add = |field: Option<&mut [u8]>| -> Option<()> {
            let field = field?.first_chunk_mut::<2>()?;
            *field = u16::from_be_bytes(*field).checked_add(payload)?.to_be_bytes();
            Some(())
        };
        let ip = usize::from(self.ip);
        let done = if outer.get(ip).is_some_and(|first| first >> 4 == 4) {
            let checksum = outer.get_mut(ip + 10..ip + 12).and_then(|field| field.first_chunk_mut::<2>());
            // The length grew by the payload, so the complement of the sum shrinks by it (RFC 1624 equation 4).
            let patch = |field: &mut [u8; 2]| {
                let sum = u32::from(!u16::from_be_bytes(*field)) + u32::from(payload);
                *field = (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes();
            };
            checksum.map(patch).and_then(|()| add(outer.get_mut(ip + 2..)))
        } else {
            add(outer.get_mut(ip + 4..))
        };
        done.ok_or(DropReason::TooLong)?;
        if let Some(udp) = self.udp.map(usize::from) {
            add(outer.get_mut(udp + 4..)).ok_or(DropReason::TooLong)?;
            let port = FIRST_PORT + (hash % PORTS) as u16;
            outer.get_mut(udp..udp + 2).ok_or(DropReason::TooLong)?.copy_from_slice(&port.to_be_bytes());
        }
        Ok(())
    }
}

/// Removes the outer headers.
pub(super) fn strip(frame: &mut Mbuf, count: u16) -> Result<(), DropReason> {
    frame.clear_offload();
    frame.trim_front(count).ok_or(DropReason::Runt)
}
