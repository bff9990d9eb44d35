//! Input frames: 64 bytes on the wire (60 and the checksum), UDP over IPv4, one frame a flow.
//!
//! Byte for byte what the peers' published figures were measured with: flow `i` goes from 10.0.1.10 to 10.0.2.(i mod 250 + 1),
//! in the order that Python's `random.Random(1).shuffle` gives.

mod handshakes;
mod mersenne;
mod outer;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

pub use handshakes::{SEGMENTS, handshakes};
use mersenne::Mersenne;
pub use outer::{PEER, PEER_MAC, Tunnel, VNI, VTEP, VTEP_MAC, announcement, tagged, text};

/// Destination of all frames: a station behind the egress port.
pub const DESTINATION: &str = "02:00:00:00:00:fe";

const ETHERNET: [u8; 14] = [2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1, 8, 0];
const FRAME: usize = 60;
const UDP: u16 = 26;
// Addresses, and with them IP headers, repeat after so many flows.
const HOSTS: u32 = 250;
const PORTS: u32 = 60_000;
// Destination port that the peer's rules drop.
const DROPPED: u16 = 5353;

/// A frame without its checksum.
pub type Frame = [u8; FRAME];

/// Writes a pcap file.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, frames: impl Iterator<Item: AsRef<[u8]>>) -> Result<()> {
    fs::write(path, capture(frames)).with_context(|| format!("write {}", path.display()))
}

/// All numbers below `count` in an order of its own, always the same.
pub fn shuffled(count: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    Mersenne::seeded(1).shuffle(&mut order);
    order
}

/// One frame for each of `flows` flows.
pub fn regular(flows: u32) -> impl Iterator<Item = Frame> + 'static {
    shuffled(flows).into_iter().map(|flow| {
        let source = 1024 + (flow / HOSTS) % PORTS;
        let destination = 5000 + flow / (HOSTS * PORTS);
        frame(flow % HOSTS, source as u16, destination as u16)
    })
}

/// The address that pods are masqueraded with in [`conversations`].
pub const MASQUERADED: [u8; 4] = [10, 0, 2, 254];

/// The port of the backends in [`Answers::Backend`].
pub const BACKEND_PORT: u16 = 6_000;

/// How the frames of [`regular`] are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// By whom they were sent to.
    Plain,
    /// The same, to [`MASQUERADED`], with the sender's own port.
    Masqueraded,
    /// From the backend of whom they were sent to: 10.0.3.N in place of 10.0.2.N, and [`BACKEND_PORT`].
    Backend,
}

impl Answers {
    /// The answer to `frame`.
    fn to(self, mut frame: Frame) -> Frame {
        let (source, mut destination) = ([frame[34], frame[35]], [frame[36], frame[37]]);
        let sender: [u8; 4] = [frame[26], frame[27], frame[28], frame[29]];
        frame.copy_within(30..34, 26);
        frame[30..34].copy_from_slice(if self == Self::Masqueraded { &MASQUERADED } else { &sender });
        if self == Self::Backend {
            frame[28] += 1;
            destination = BACKEND_PORT.to_be_bytes();
        }
        frame[34..36].copy_from_slice(&destination);
        frame[36..38].copy_from_slice(&source);
        seal(&mut frame[14..34]);
        frame
    }
}

/// Two frames for each of `flows` flows: that of [`regular`], and the answer to it.
pub fn conversations(flows: u32, answers: Answers) -> impl Iterator<Item = Frame> + 'static {
    conversations_of(0, flows, answers)
}

/// The same of another pod ([`sent_by`]).
pub fn conversations_of(pod: u8, flows: u32, answers: Answers) -> impl Iterator<Item = Frame> + 'static {
    regular(flows).map(move |frame| sent_by(pod, frame)).flat_map(move |frame| [frame, answers.to(frame)])
}

/// The frames of [`conversations`] in parts of `part` connections, `pods` senders in each: every sender is in one part only.
///
/// A sender is one of [`sent_by`], numbered from 0 on: `pods` times the parts must be at most [`PODS`].
pub fn crowd(flows: u32, part: u32, pods: u32, answers: Answers) -> impl Iterator<Item = Frame> + 'static {
    (0..).zip(regular(flows)).flat_map(move |(number, frame)| {
        let pod = number / part * pods + number % pods;
        let frame = sent_by(u8::try_from(pod).unwrap_or(u8::MAX), frame);
        [frame, answers.to(frame)]
    })
}

/// One frame for each of `flows` flows, their ports and destinations scattered: no two have the same pair of ports.
pub fn random(flows: u32) -> impl Iterator<Item = Frame> + 'static {
    let flow = |index: u32| {
        let ports = scatter(index);
        (scatter(!index) % HOSTS, (ports >> 16) as u16, ports as u16)
    };
    // The rules of the peer drop one port; port 0 belongs to nobody.
    let fit =
        |(_, source, destination): &(u32, u16, u16)| *source != 0 && ![0, DROPPED].contains(destination);
    (0..).map(flow).filter(fit).take(flows as usize).map(|(host, source, port)| frame(host, source, port))
}

/// A permutation of all 32-bit numbers without visible order (the finaliser of MurmurHash3): different ones stay different.
fn scatter(mut number: u32) -> u32 {
    number ^= number >> 16;
    number = number.wrapping_mul(0x85eb_ca6b);
    number ^= number >> 13;
    number = number.wrapping_mul(0xc2b2_ae35);
    number ^ (number >> 16)
}

fn capture(frames: impl Iterator<Item: AsRef<[u8]>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(24 + frames.size_hint().0 * (16 + FRAME));
    // File header: magic, version 2.4, time zone, precision, longest frame, Ethernet.
    out.extend(0xa1b2_c3d4_u32.to_le_bytes());
    out.extend([2, 0, 4, 0]);
    out.extend([0; 8]);
    out.extend(65_535_u32.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    for frame in frames {
        let frame = frame.as_ref();
        let length = (frame.len() as u32).to_le_bytes();
        out.extend([0; 8]);
        out.extend(length);
        out.extend(length);
        out.extend(frame);
    }
    out
}

fn frame(host: u32, source: u16, destination: u16) -> Frame {
    let mut frame = [0; FRAME];
    frame[..14].copy_from_slice(&ETHERNET);
    let ip = &mut frame[14..34];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&(20 + UDP).to_be_bytes());
    ip[6] = 0x40; // do not fragment
    ip[8] = 64;
    ip[9] = 17;
    ip[12..16].copy_from_slice(&[10, 0, 1, 10]);
    ip[16..20].copy_from_slice(&[10, 0, 2, host as u8 + 1]);
    seal(ip);
    frame[34..36].copy_from_slice(&source.to_be_bytes());
    frame[36..38].copy_from_slice(&destination.to_be_bytes());
    frame[38..40].copy_from_slice(&UDP.to_be_bytes());
    frame
}

/// Pods that have addresses of their own in [`sent_by`].
pub const PODS: u32 = 240;

/// The address of a pod of [`sent_by`].
pub fn pod_address(pod: u8) -> [u8; 4] {
    [10, 0, 1, if pod == 0 { 10 } else { 11 + pod }]
}

/// The frame as another pod would send it: an address is behind one port only, or a switch that learns would follow it from
/// port to port. Pod 0 is the sender of all frames as they are made; others are 02:00:00:00:00:02 with 10.0.1.12 and so on.
pub fn sent_by(pod: u8, mut frame: Frame) -> Frame {
    if pod > 0 {
        frame[11] = 1 + pod;
        frame[26..30].copy_from_slice(&pod_address(pod));
        seal(&mut frame[14..34]);
    }
    frame
}

/// Makes the checksum of an IPv4 header right.
fn seal(ip: &mut [u8]) {
    ip[10..12].fill(0);
    let checksum = shunt_switch::wire::checksum::Sum::default().bytes(ip).checksum();
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flow_is_one_frame_of_60_bytes() {
        let file = capture(regular(1));
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
        let file = capture(regular(1000));
        let mut seen: Vec<[u8; 8]> =
            file[24..].chunks(76).map(|record| record[16 + 30..16 + 38].try_into().unwrap()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1000);
    }

    #[test]
    fn random_flows_are_different_and_pass_the_peers_rules() {
        let flows: Vec<[u8; 8]> = random(20_000).map(|frame| frame[30..38].try_into().unwrap()).collect();
        let mut ports: Vec<&[u8]> = flows.iter().map(|flow| &flow[4..]).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20_000);
        assert!(flows.iter().all(|flow| flow[6..] != DROPPED.to_be_bytes() && (1..=250).contains(&flow[3])));
        let hosts: std::collections::HashSet<u8> = flows.iter().map(|flow| flow[3]).collect();
        assert_eq!(hosts.len(), 250);
    }

    #[test]
    fn each_pod_has_addresses_of_its_own_and_right_checksums() {
        let plain = frame(0, 1024, 5000);
        assert_eq!(sent_by(0, plain), plain);
        let other = sent_by(2, plain);
        assert_eq!((&other[6..12], &other[26..30]), (&[2, 0, 0, 0, 0, 3][..], &[10, 0, 1, 13][..]));
        assert_eq!(shunt_switch::wire::checksum::Sum::default().bytes(&other[14..34]).checksum(), 0);
    }

    #[test]
    fn an_answer_comes_from_where_its_question_went() {
        let both =
            |answers| -> [Frame; 2] { conversations(1, answers).collect::<Vec<_>>().try_into().unwrap() };
        let [question, plain] = both(Answers::Plain);
        assert_eq!((&plain[26..30], &plain[30..34]), (&question[30..34], &question[26..30]));
        let [_, backend] = both(Answers::Backend);
        assert_eq!(
            (&backend[26..30], &backend[34..36]),
            (&[10, 0, 3, 1][..], &BACKEND_PORT.to_be_bytes()[..])
        );
        let [_, answer] = both(Answers::Masqueraded);
        assert_eq!(answer[26..30], question[30..34]);
        assert_eq!((&answer[34..36], &answer[36..38]), (&question[36..38], &question[34..36]));
        assert_eq!(answer[30..34], MASQUERADED);
        assert_eq!(shunt_switch::wire::checksum::Sum::default().bytes(&answer[14..34]).checksum(), 0);
    }

    #[test]
    fn in_a_crowd_each_pod_is_in_one_part_and_no_connection_is_there_twice() {
        let frames: Vec<Frame> = crowd(4_000, 1_000, 25, Answers::Masqueraded).collect();
        let mut owners = std::collections::HashMap::new();
        for (number, pair) in frames.chunks(2).enumerate() {
            let (sender, part) = (pair[0][26..30].to_vec(), number / 1_000);
            assert_eq!(*owners.entry(sender).or_insert(part), part);
            assert_eq!((&pair[1][26..30], &pair[1][30..34]), (&pair[0][30..34], &MASQUERADED[..]));
        }
        assert_eq!(owners.len(), 100);
        // Also when all have one address: masqueraded, they keep their ports.
        let flows: std::collections::HashSet<&[u8]> =
            frames.iter().step_by(2).map(|frame| &frame[30..38]).collect();
        assert_eq!(flows.len(), 4_000);
    }

    // FNV-1a of the files that the Python script beside the published figures writes.
    #[test]
    fn files_are_those_the_peers_were_measured_with() {
        let hash = |file: &[u8]| {
            let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            file.iter().fold(0xcbf2_9ce4_8422_2325, step)
        };
        assert_eq!(hash(&capture(regular(1))), 0x97fd83f4bb428aa);
        assert_eq!(hash(&capture(regular(1000))), 0xca0bec0933fc914c);
    }
}
