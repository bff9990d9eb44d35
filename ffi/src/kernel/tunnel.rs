//! Large sends inside a tunnel that a pod builds itself (VXLAN, Geneve, GRE, IP in IP): cut in software on receive.
//!
//! A veth takes such frames whole from the pod's kernel, but the virtio-net header only tells of the inner transport, and
//! neither an mbuf nor any device behind us could cut them from that. So they are cut here, checksums finished: a copy
//! and two sums of each byte, for these frames only. Follows Linux `skb_udp_tunnel_segment`, `gre_gso_segment` and
//! `inet_gso_segment`.

use super::checksum::{complete_internet, pseudo_header, sum_of};
use super::headers::{self, IPIP, IPV6_IN_IP, Transport, UDP};
use super::landing::Pools;
use super::vnet_hdr::Undecodable;
use crate::mbuf::Mbuf;
use crate::offload::{Gso, GsoKind};

const GRE: u8 = 47;
const UDP_LENGTH: usize = 8;
const TCP_SEQUENCE: usize = 4;
const TCP_FLAGS: usize = 13;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// One large frame and how much of it was cut off.
#[derive(Debug)]
pub(crate) struct Cutter {
    frame: Mbuf,
    outer: Ip,
    /// Offset of the outer UDP header, if the tunnel has one.
    udp: Option<usize>,
    inner: Ip,
    /// Offsets of the inner transport header, of its checksum in it, and of the payload.
    start: usize,
    field: usize,
    payload: usize,
    gso: Gso,
    /// Bytes and segments done.
    done: usize,
    segments: u16,
}

/// An IP header.
#[derive(Clone, Copy, Debug)]
struct Ip {
    at: usize,
    v6: bool,
}

impl Cutter {
    /// Looks at a frame whose inner transport header begins at `start` and has its checksum at `start + field`.
    /// An error when it is no tunnel that we know how to cut.
    pub(crate) fn new(frame: Mbuf, start: u16, field: u16, gso: Gso) -> Result<Self, Undecodable> {
        let (start, field) = (usize::from(start), usize::from(field));
        let length = frame.len() as usize;
        let data = frame.data();
        let outer_transport = headers::transport(data).ok_or(Undecodable)?;
        let inner = inner_ip(data, start, length, gso.kind).ok_or(Undecodable)?;
        let outer = outer_ip(data).ok_or(Undecodable)?;
        let udp = tunnel(data, outer_transport, inner.at).ok_or(Undecodable)?;
        let (own_field, header) = match gso.kind {
            GsoKind::Udp => (6, UDP_LENGTH),
            GsoKind::TcpV4 | GsoKind::TcpV6 => {
                (16, usize::from(data.get(start + 12).ok_or(Undecodable)? >> 4) * 4)
            }
        };
        let payload = start + header;
        let smallest = if gso.kind == GsoKind::Udp { 8 } else { 20 };
        if field != own_field
            || header < smallest
            || payload > data.len()
            || payload >= length
            || gso.size == 0
        {
            return Err(Undecodable);
        }
        Ok(Self { frame, outer, udp, inner, start, field, payload, gso, done: 0, segments: 0 })
    }

    /// True when nothing is left to cut off.
    pub(crate) fn is_done(&self) -> bool {
        self.payload + self.done >= self.frame.len() as usize
    }

    /// The next segment; `None`, and nothing lost, when the pools are exhausted.
    pub(crate) fn next(&mut self, pools: Pools) -> Option<Mbuf> {
        let left = self.frame.len() as usize - self.payload - self.done;
        let size = left.min(usize::from(self.gso.size));
        let mut segment = pools.empty(self.payload + size)?;
        copy(&self.frame, 0, &mut segment, 0, self.payload);
        copy(&self.frame, self.payload + self.done, &mut segment, self.payload, size);
        let last = size == left;
        self.write_headers(&mut segment, last);
        self.done += size;
        self.segments = self.segments.wrapping_add(1);
        Some(segment)
    }

    /// Makes the copied headers those of this segment, inside out: the outer checksum covers the inner one.
    fn write_headers(&self, segment: &mut Mbuf, last: bool) {
        let length = segment.len() as usize;
        let (first, done) = (self.done == 0, self.done as u32);
        let data = segment.data_mut();
        let transport = &mut data[self.start..];
        if self.gso.kind == GsoKind::Udp {
            put(transport, 4, (length - self.start) as u16);
        } else {
            let sequence = transport[TCP_SEQUENCE..TCP_SEQUENCE + 4].try_into().map_or(0, u32::from_be_bytes);
            transport[TCP_SEQUENCE..TCP_SEQUENCE + 4]
                .copy_from_slice(&sequence.wrapping_add(done).to_be_bytes());
            let keep = if last { 0xff } else { !(FIN | PSH) } & if first { 0xff } else { !CWR };
            transport[TCP_FLAGS] &= keep;
        }
        self.finish(segment, self.inner, self.start, self.field);
        match self.udp {
            Some(udp) => {
                let data = segment.data_mut();
                put(data, udp + 4, (length - udp) as u16);
                // Zero means that the tunnel has none.
                if data[udp + 6..udp + 8] == [0, 0] {
                    write_ip(data, self.outer, length, self.segments);
                } else {
                    self.finish(segment, self.outer, udp, 6);
                }
            }
            None => write_ip(segment.data_mut(), self.outer, length, self.segments),
        }
    }

    /// Writes the IP header and the checksum of the transport header behind it.
    fn finish(&self, segment: &mut Mbuf, ip: Ip, start: usize, field: usize) {
        let length = segment.len() as usize;
        let data = segment.data_mut();
        write_ip(data, ip, length, self.segments);
        let protocol = if field == 16 { headers::TCP } else { UDP };
        let sum = pseudo_header(&data[ip.at..], ip.v6, protocol, (length - start) as u32);
        data[start + field..start + field + 2].copy_from_slice(&sum.to_ne_bytes());
        // The field is inside the first segment: the headers were checked to be.
        let _ = complete_internet(segment, start, field);
    }
}

/// Length, identification and header checksum of an IP header for the `number`th segment.
fn write_ip(data: &mut [u8], ip: Ip, length: usize, number: u16) {
    let header = &mut data[ip.at..];
    if ip.v6 {
        put(header, 4, (length - ip.at - 40) as u16);
        return;
    }
    let bytes = usize::from(header[0] & 0xf) * 4;
    put(header, 2, (length - ip.at) as u16);
    let id = u16::from_be_bytes([header[4], header[5]]);
    put(header, 4, id.wrapping_add(number));
    put(header, 10, 0);
    let sum = !sum_of(&header[..bytes]);
    header[10..12].copy_from_slice(&sum.to_ne_bytes());
}

fn put(data: &mut [u8], at: usize, word: u16) {
    data[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// The IP header that ends at `start`: found from behind, since what is in front of it differs with each tunnel. Its
/// length field must agree with the frame's length, which keeps chance hits out.
fn inner_ip(data: &[u8], start: usize, length: usize, kind: GsoKind) -> Option<Ip> {
    let protocol = if kind == GsoKind::Udp { UDP } else { headers::TCP };
    let word = |at: usize| Some(usize::from(u16::from_be_bytes([*data.get(at)?, *data.get(at + 1)?])));
    let v6 = || {
        let at = start.checked_sub(40)?;
        let fits = data.get(at)? >> 4 == 6
            && *data.get(at + 6)? == protocol
            && word(at + 4)? == length.checked_sub(start)?;
        fits.then_some(Ip { at, v6: true })
    };
    let v4 = || {
        (5..=15u8).find_map(|words| {
            let at = start.checked_sub(usize::from(words) * 4)?;
            let fits = *data.get(at)? == 0x40 | words
                && *data.get(at + 9)? == protocol
                && word(at + 2)? == length - at;
            fits.then_some(Ip { at, v6: false })
        })
    };
    match kind {
        GsoKind::TcpV4 => v4(),
        GsoKind::TcpV6 => v6(),
        GsoKind::Udp => v4().or_else(v6),
    }
}

fn outer_ip(data: &[u8]) -> Option<Ip> {
    let at = headers::network(data)?;
    Some(Ip { at, v6: data.get(at)? >> 4 == 6 })
}

/// Checks that the bytes between the outer transport header and the inner packet at `inner` hold nothing that differs
/// between segments. Gives the place of the UDP header, if there is one.
fn tunnel(data: &[u8], outer: Transport, inner: usize) -> Option<Option<usize>> {
    const ETHERNET: usize = 14;
    const TAG: usize = 4;
    let between = inner.checked_sub(outer.offset)?;
    let header = data.get(outer.offset..inner)?;
    match outer.protocol {
        IPIP | IPV6_IN_IP => (between == 0).then_some(None),
        GRE => {
            // Flags (RFC 2784, RFC 2890): checksum and sequence number differ between segments, a key does not.
            let flags = *header.first()?;
            let own = 4 + if flags & 0x20 != 0 { 4 } else { 0 };
            let known = flags & 0x90 == 0 && [own, own + ETHERNET, own + ETHERNET + TAG].contains(&between);
            known.then_some(None)
        }
        UDP => {
            let shim = header.get(UDP_LENGTH..)?;
            let options = shim.first().map_or(0, |&first| usize::from(first & 0x3f) * 4);
            let geneve = shim.first().is_some_and(|&first| first >> 6 == 0).then_some(8 + options);
            // VXLAN and Geneve carry Ethernet or IP behind 8 bytes and options; FOU and GUE carry IP behind 0 or 4.
            let known = [Some(0), Some(4), Some(8), geneve].into_iter().flatten().any(|own| {
                let ethernet = own >= 8 && [own + ETHERNET, own + ETHERNET + TAG].contains(&shim.len());
                own == shim.len() || ethernet
            });
            known.then_some(Some(outer.offset))
        }
        _ => None,
    }
}

/// Copies `count` bytes from offset `from` of one frame to offset `to` of another; both are long enough.
fn copy(source: &Mbuf, from: usize, target: &mut Mbuf, to: usize, count: usize) {
    let mut chunks = source.segments().scan(from, |skip, bytes| {
        let taken = (*skip).min(bytes.len());
        *skip -= taken;
        Some(&bytes[taken..])
    });
    let mut chunk: &[u8] = &[];
    let (mut skip, mut left) = (to, count);
    target.for_each_segment_mut(|bytes| {
        let taken = skip.min(bytes.len());
        skip -= taken;
        let mut room = &mut bytes[taken..];
        while !room.is_empty() && left > 0 {
            while chunk.is_empty() {
                let Some(next) = chunks.next() else { return };
                chunk = next;
            }
            let here = chunk.len().min(room.len()).min(left);
            room[..here].copy_from_slice(&chunk[..here]);
            (chunk, room) = (&chunk[here..], &mut room[here..]);
            left -= here;
        }
    });
}

#[cfg(test)]
#[path = "tunnel/tests.rs"]
mod tests;
