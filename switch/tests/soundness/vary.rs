//! Variations of a frame: what the cache must not take for the same, and what it must although the bytes differ.

use super::hostile::Seed;

/// The frame once more with one header field changed: what a key must tell apart, if any stage does.
pub(crate) fn alter_field(seed: &mut Seed, frame: &mut [u8]) {
    let mut l3 = 14;
    while matches!(frame.get(l3 - 2..l3), Some([0x81, 0] | [0x88, 0xa8])) {
        l3 += 4;
    }
    let (any, host) = (seed.next() as u8, seed.below(16) as u8);
    let ethernet = [(5, host), (11, host), (6, any), (12, any), (13, any)];
    let tag = [(14, any), (15, any)];
    let fragment = seed.pick(&[0, 0x20, 0x40, 0x1f, 1]);
    let v4 = [
        (l3, seed.pick(&[0x45, 0x46, 0x4f, 0x44, 0x55, 0x65])),
        (l3 + 1, any),
        (l3 + 2, seed.pick(&[0, 1])),
        (l3 + 3, any),
        (l3 + 6, fragment),
        (l3 + 7, fragment),
        (l3 + 9, seed.pick(&[0, 1, 6, 17, 58, 132, 253])),
        (l3 + 12, seed.pick(&[0, 10, 127, 169, 224])),
        (l3 + 15, host),
        (l3 + 18, seed.pick(&[0, 1, 2])),
        (l3 + 19, host),
    ];
    let v6 = [
        (l3, seed.pick(&[0x60, 0x6f, 0x45, 0x70])),
        (l3 + 4, seed.pick(&[0, 1])),
        (l3 + 5, any),
        (l3 + 6, seed.pick(&[0, 6, 17, 43, 44, 51, 58, 59, 60, 253])),
        (l3 + 8, seed.pick(&[0, 0xfd, 0xfe, 0xff])),
        (l3 + 23, host),
        (l3 + 27, seed.pick(&[0, 1, 2, 8, 9])),
        (l3 + 39, host),
    ];
    let is_v6 = frame.get(l3).is_some_and(|byte| byte >> 4 == 6);
    let hops = (l3 + if is_v6 { 7 } else { 8 }, seed.pick(&[0, 1, 2, 63, 255]));
    let (at, value) = match seed.below(8) {
        0 | 1 => hops,
        2 => seed.pick(&ethernet),
        3 => seed.pick(&tag),
        _ if is_v6 => seed.pick(&v6),
        _ => seed.pick(&v4),
    };
    frame.iter_mut().skip(at).take(1).for_each(|byte| *byte = value);
}

/// The frame once more, a little different: other bytes, cut off, padded.
pub(crate) fn vary(seed: &mut Seed, frame: &mut Vec<u8>) {
    for _ in 0..=seed.below(3) {
        // Most of it where the lengths, types and flags are.
        let near = seed.one_in(2);
        let end = if near { 60 } else { frame.len() };
        let at = 12 + seed.below(end.saturating_sub(12).max(1));
        let value = seed.next() as u8;
        match seed.below(16) {
            0..5 => frame.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (value & 7)),
            5..8 => frame.iter_mut().skip(at).take(1).for_each(|byte| *byte = value),
            // The checksum of UDP over plain IPv4, gone.
            8 => frame.iter_mut().skip(40).take(2).for_each(|byte| *byte = 0),
            9 | 10 => frame.truncate(14 + seed.below(60)),
            11 if value < 16 => frame.truncate(seed.below(14)),
            12 if value < 64 => frame.resize(1_400 + seed.below(400), value),
            12 if value < 68 => frame.resize(2_000 + seed.below(4_000), value),
            _ => frame.resize(frame.len() + 1 + seed.below(24), value),
        }
    }
}
