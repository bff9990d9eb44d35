//! What a tracker reads of a packet (RFC 9260 sections 3 and 6.10): its tag, and its chunks in front of the first DATA.

/// Ports, verification tag, checksum.
const HEADER: usize = 12;
/// Type, flags and length of a chunk.
const CHUNK: usize = 4;
/// Chunks that are looked at in front of the first DATA.
pub(super) const MOST: usize = 64;
/// Of these, changes from one kind to another.
const KINDS: usize = 8;
/// Sent with the tag that the receiver's own packets have (section 8.5.1 B and C).
const REFLECTED: u8 = 1;

/// A chunk, as far as it matters to a tracker (RFC 9260 section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunk {
    /// DATA, SACK, and whatever else leaves the state alone.
    #[default]
    Other,
    /// INIT, with the tag that packets to its sender are to carry.
    Init(u32),
    /// INIT ACK, with the same.
    InitAck(u32),
    /// COOKIE ECHO.
    CookieEcho,
    /// COOKIE ACK.
    CookieAck,
    /// HEARTBEAT.
    Heartbeat,
    /// HEARTBEAT ACK.
    HeartbeatAck,
    /// SHUTDOWN.
    Shutdown,
    /// SHUTDOWN ACK.
    ShutdownAck,
    /// SHUTDOWN COMPLETE; true with the T bit.
    ShutdownComplete(bool),
    /// ABORT; true with the T bit.
    Abort(bool),
    /// ERROR.
    Error,
}

/// True for a chunk that has its receiver's tag.
#[inline]
pub(super) const fn is_reflected(chunk: Chunk) -> bool {
    matches!(chunk, Chunk::Abort(true) | Chunk::ShutdownComplete(true))
}

/// What a tracker wants of an SCTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub(super) tag: u32,
    chunks: [Chunk; KINDS],
    count: u8,
}

impl Packet {
    /// Reads the packet at the start of `bytes`, which is `length` bytes long and of which more may not be at hand. `None` for what no
    /// sound sender sends. Control chunks are in front of all DATA (section 6.10), so that nothing behind one is looked at.
    pub fn read(bytes: &[u8], length: u32) -> Option<Self> {
        let tag = u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
        let bytes = bytes.get(..length as usize).unwrap_or(bytes);
        let mut packet = Self { tag, chunks: [Chunk::Other; KINDS], count: 0 };
        let mut at = HEADER;
        for _ in 0..MOST {
            let Some(chunk) = bytes.get(at..).filter(|chunk| chunk.len() >= CHUNK) else {
                return packet.sound();
            };
            let length = usize::from(u16::from_be_bytes([chunk[2], chunk[3]]));
            if length < CHUNK {
                return None;
            }
            let kind = kind(chunk)?;
            packet.push(kind)?;
            // DATA, and I-DATA (RFC 8260).
            if matches!(chunk[0], 0 | 64) {
                return packet.sound();
            }
            at += length.next_multiple_of(CHUNK);
        }
        None
    }

    /// One with these chunks, as [`Packet::read`] has it.
    #[cfg(test)]
    pub(in crate::state) fn new(tag: u32, chunks: &[Chunk]) -> Option<Self> {
        let mut packet = Self { tag, chunks: [Chunk::Other; KINDS], count: 0 };
        chunks.iter().try_for_each(|chunk| packet.push(*chunk))?;
        packet.sound()
    }

    fn push(&mut self, chunk: Chunk) -> Option<()> {
        let count = usize::from(self.count);
        if count == 0 || self.chunks[count - 1] != chunk {
            *self.chunks.get_mut(count)? = chunk;
            self.count += 1;
        }
        Some(())
    }

    /// It has a chunk; INIT, INIT ACK and SHUTDOWN COMPLETE are alone (section 6.10); INIT and nothing else has no tag (section
    /// 8.5.1 A).
    fn sound(self) -> Option<Self> {
        let chunks = self.chunks();
        let alone = chunks.len() == 1;
        let must_be_alone =
            |chunk: &Chunk| matches!(chunk, Chunk::Init(_) | Chunk::InitAck(_) | Chunk::ShutdownComplete(_));
        let opens = matches!(chunks.first()?, Chunk::Init(_));
        ((alone || !chunks.iter().any(must_be_alone)) && opens == (self.tag == 0)).then_some(self)
    }

    /// The first one: there is one in every packet that is sound.
    #[inline]
    pub(super) fn first(&self) -> Chunk {
        self.chunks[0]
    }

    #[inline]
    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks[..usize::from(self.count)]
    }
}

/// What the chunk at the start of these bytes is; `None` for an INIT or INIT ACK that is cut off, or offers no tag.
fn kind(chunk: &[u8]) -> Option<Chunk> {
    let reflected = chunk[1] & REFLECTED != 0;
    let offered = || {
        let tag = u32::from_be_bytes(*chunk.get(CHUNK..)?.first_chunk()?);
        (tag != 0).then_some(tag)
    };
    Some(match chunk[0] {
        1 => Chunk::Init(offered()?),
        2 => Chunk::InitAck(offered()?),
        4 => Chunk::Heartbeat,
        5 => Chunk::HeartbeatAck,
        6 => Chunk::Abort(reflected),
        7 => Chunk::Shutdown,
        8 => Chunk::ShutdownAck,
        9 => Chunk::Error,
        10 => Chunk::CookieEcho,
        11 => Chunk::CookieAck,
        14 => Chunk::ShutdownComplete(reflected),
        _ => Chunk::Other,
    })
}
