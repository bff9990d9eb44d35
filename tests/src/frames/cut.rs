//! Fragments of an IP packet, as a sender makes them (RFC 791 section 3.2, RFC 8200 section 4.5), and the packet again.

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;

/// Cuts the packet of an untagged frame without IP options or extensions into fragments of `every` bytes of payload (a multiple
/// of eight), with identification `id`; in order.
///
/// # Panics
/// It is no such frame.
pub fn cut(frame: &[u8], every: usize, id: u32) -> Vec<Vec<u8>> {
    assert_eq!(every % 8, 0, "only the last fragment has any length");
    let v4 = is_v4(frame);
    let (header, payload) = split(frame, v4);
    let count = payload.len().div_ceil(every);
    let piece =
        |(number, bytes): (usize, &[u8])| fragment(header, bytes, number * every, number + 1 < count, id, v4);
    payload.chunks(every).enumerate().map(piece).collect()
}

/// One fragment with the Ethernet and IP header of `frame`: any bytes at any offset, for what no sound sender makes.
///
/// # Panics
/// It is no untagged frame with an IP packet.
pub fn piece(frame: &[u8], bytes: &[u8], offset: usize, more: bool, id: u32) -> Vec<u8> {
    let v4 = is_v4(frame);
    fragment(split(frame, v4).0, bytes, offset, more, id, v4)
}

/// What the fragments are of: a frame with the whole packet, or `None` when a byte is missing or there twice.
///
/// # Panics
/// They are no fragments.
pub fn join(fragments: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut pieces: Vec<(usize, bool, &[u8])> = fragments.iter().map(|frame| read(frame)).collect();
    pieces.sort_by_key(|piece| piece.0);
    let mut whole = Vec::new();
    for (offset, _, bytes) in &pieces {
        if *offset != whole.len() {
            return None;
        }
        whole.extend_from_slice(bytes);
    }
    let ends = pieces.last().is_some_and(|(_, more, _)| !more);
    let first = fragments.first().filter(|_| ends)?;
    let v4 = is_v4(first);
    let header = first.get(..ETHERNET + if v4 { IPV4 } else { IPV6 })?;
    let mut frame = [header, &whole].concat();
    if v4 {
        frame[20..22].fill(0);
        finish_v4(&mut frame);
    } else {
        frame[ETHERNET + 6] = first[ETHERNET + IPV6];
        frame[18..20].copy_from_slice(&(whole.len() as u16).to_be_bytes());
    }
    Some(frame)
}

fn is_v4(frame: &[u8]) -> bool {
    match frame[12..14] {
        [0x08, 0x00] => true,
        [0x86, 0xdd] => false,
        _ => panic!("no IP packet"),
    }
}

/// Ethernet and IP header, and what is behind them, without padding.
fn split(frame: &[u8], v4: bool) -> (&[u8], &[u8]) {
    let length = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let (header, end) = if v4 {
        (ETHERNET + IPV4, ETHERNET + length(16))
    } else {
        (ETHERNET + IPV6, ETHERNET + IPV6 + length(18))
    };
    (&frame[..header], &frame[header..end])
}

fn fragment(header: &[u8], bytes: &[u8], offset: usize, more: bool, id: u32, v4: bool) -> Vec<u8> {
    let mut frame = header.to_vec();
    if v4 {
        frame[18..20].copy_from_slice(&(id as u16).to_be_bytes());
        let word = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
        frame[20..22].copy_from_slice(&word.to_be_bytes());
        frame.extend_from_slice(bytes);
        finish_v4(&mut frame);
        return frame;
    }
    frame[18..20].copy_from_slice(&(8 + bytes.len() as u16).to_be_bytes());
    let next = std::mem::replace(&mut frame[ETHERNET + 6], 44);
    frame.extend([next, 0]);
    frame.extend((offset as u16 | u16::from(more)).to_be_bytes());
    frame.extend(id.to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// Length and header checksum.
fn finish_v4(frame: &mut [u8]) {
    let length = (frame.len() - ETHERNET) as u16;
    frame[16..18].copy_from_slice(&length.to_be_bytes());
    frame[24..26].fill(0);
    let words = frame[ETHERNET..ETHERNET + IPV4].chunks_exact(2);
    let sum: u32 = words.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!(folded as u16)).to_be_bytes());
}

/// Offset, whether more follow, and the bytes.
fn read(frame: &[u8]) -> (usize, bool, &[u8]) {
    let v4 = is_v4(frame);
    let (_, payload) = split(frame, v4);
    let word = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    if v4 {
        let flags = word(&frame[20..22]);
        return ((flags & 0x1fff) * 8, flags & 0x2000 != 0, payload);
    }
    assert_eq!(frame[ETHERNET + 6], 44, "no fragment header");
    let offset = word(&payload[2..4]);
    (offset & 0xfff8, offset & 1 != 0, &payload[8..])
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Frame, Ipv6, Payload, Transport};
    use super::*;

    #[test]
    fn what_was_cut_can_be_joined() {
        let payload =
            Payload { transport: Transport::Udp(1, 2, true), data: (0..=255).cycle().take(3000).collect() };
        let v6 = Ipv6 { source: [1; 16], destination: [2; 16], class: 0, hop_limit: 9, extensions: vec![] };
        let plain = Frame::plain();
        let Body::Ipv4(v4, _) = plain.body.clone() else { unreachable!("it is IPv4") };
        for body in [Body::Ipv4(v4, payload.clone()), Body::Ipv6(v6, payload)] {
            let mut frame = Frame { body, ..Frame::plain() }.bytes();
            let mut pieces = cut(&frame, 1024, 7);
            assert_eq!(pieces.len(), 3);
            pieces.rotate_left(1);
            let joined = join(&pieces).unwrap();
            if is_v4(&frame) {
                // "Do not fragment" is gone, and the number is new.
                frame[18..22].copy_from_slice(&[0, 7, 0, 0]);
                finish_v4(&mut frame);
            }
            assert_eq!(joined, frame);
            assert_eq!(join(&pieces[1..]), None);
            pieces.push(pieces[0].clone());
            assert_eq!(join(&pieces), None);
        }
    }
}
