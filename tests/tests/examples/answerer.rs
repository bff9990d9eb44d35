//! A station on the far side of a port, frame by frame: it answers ARP requests and echo requests for its address, in its VLAN or in its
//! tunnel. (This machine's kernel may have no devices for VLANs, and its Geneve device takes no critical option.)

use std::time::Instant;

use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Cmd, Netns, Wire};

/// Its MAC address.
const MAC: [u8; 6] = [2, 0, 0, 0xaa, 0, 1];
/// Where an untagged IPv4 packet's UDP header begins, and what follows that.
const UDP: usize = 34;
const GENEVE: usize = 42;

/// How it is reached.
#[derive(Clone, Copy)]
pub(crate) enum Behind {
    /// A tag of that TPID and VLAN.
    Tag(u16, u16),
    /// No tag.
    Nothing,
    /// An IPv4 peer's Geneve tunnel of that VNI, whose packets have OVN's option with these two ports.
    Geneve { peer: [u8; 4], vni: u32, ports: (u16, u16) },
}

/// A station at the other end of a wire.
pub(crate) struct Answerer<'a> {
    wire: &'a mut Wire,
    ip: [u8; 4],
    behind: Behind,
}

impl<'a> Answerer<'a> {
    pub(crate) fn new(wire: &'a mut Wire, ip: [u8; 4], behind: Behind) -> Self {
        Self { wire, ip, behind }
    }

    /// Answers whatever comes while `from` asks for it, until all five echo requests that come after the first answer are answered.
    #[track_caller]
    pub(crate) fn is_asked_by(&mut self, from: &Netns, state: &dyn Fn() -> String) {
        let target = self.ip.map(|byte| byte.to_string()).join(".");
        let (deadline, mut done) = (Instant::now() + PATIENCE, self.wire.seen().len());
        for count in ["1", "5"] {
            loop {
                let words = ["ping", "-n", "-c", count, "-i", "0.1", "-W", "2", &target];
                let mut ping = Cmd::new(words).within(from).spawn().unwrap();
                let status = loop {
                    let seen = self.wire.seen();
                    for frame in &seen[done..] {
                        if let Some(answer) = self.answer(frame) {
                            self.wire.send(&answer).unwrap();
                        }
                    }
                    done = seen.len();
                    match ping.try_wait().unwrap() {
                        Some(status) => break status,
                        None => std::thread::sleep(std::time::Duration::from_millis(5)),
                    }
                };
                let said = ping.stdout().text(0);
                if status.success() && said.contains(&format!("{count} received")) {
                    break;
                }
                assert!(Instant::now() < deadline, "{target} is not reached: {said}\n{}", state());
            }
        }
    }

    /// What it says to a frame.
    fn answer(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut answer = frame.to_vec();
        let answered = match self.behind {
            Behind::Nothing => turn(&mut answer, &[], self.ip),
            Behind::Tag(tpid, vid) => {
                let tag = [tpid.to_be_bytes(), vid.to_be_bytes()].concat();
                turn(&mut answer, &tag, self.ip)
            }
            Behind::Geneve { peer, vni, ports } => {
                turn(&mut answer, &[], peer) || self.in_tunnel(&mut answer, peer, vni, ports)
            }
        };
        answered.then_some(answer)
    }

    /// The same of what is inside a tunnel packet to the peer: headers of the same length the other way.
    fn in_tunnel(&self, packet: &mut [u8], peer: [u8; 4], vni: u32, (from, to): (u16, u16)) -> bool {
        let option = [&[1, 2, 0x80, 1][..], &from.to_be_bytes(), &to.to_be_bytes()].concat();
        let header = [&[2, 0x40, 0x65, 0x58][..], &(vni << 8).to_be_bytes(), &option].concat();
        let inner = GENEVE + header.len();
        let ours = packet.get(12..14) == Some(&[8, 0])
            && packet.get(30..34) == Some(&peer)
            && packet.get(UDP + 2..UDP + 4) == Some(&[0x17, 0xc1])
            && packet.get(GENEVE..inner) == Some(&header[..]);
        if !ours || !turn(&mut packet[inner..], &[], self.ip) {
            return false;
        }
        back(packet, 14);
        // No checksum (RFC 8926 section 3.3), and the ports the other way round.
        packet[UDP + 6..GENEVE].fill(0);
        packet[inner - 4..inner].rotate_left(2);
        true
    }
}

/// Turns a request for `ip` into its answer, in a frame with that tag; false when it is none.
fn turn(frame: &mut [u8], tag: &[u8], ip: [u8; 4]) -> bool {
    let at = 12 + tag.len();
    let is = |from: usize, bytes: &[u8]| frame.get(from..from + bytes.len()) == Some(bytes);
    if frame.len() < at + 30 || !is(12, tag) {
        return false;
    }
    let body = at + 2;
    if is(at, &[8, 6]) && is(body + 6, &[0, 1]) && is(body + 24, &ip) {
        frame.copy_within(body + 8..body + 18, body + 18);
        frame[body + 7] = 2;
        frame[body + 8..body + 14].copy_from_slice(&MAC);
        frame[body + 14..body + 18].copy_from_slice(&ip);
        frame.copy_within(6..12, 0);
        frame[6..12].copy_from_slice(&MAC);
        return true;
    }
    if !(is(0, &MAC) && is(at, &[8, 0]) && is(body + 9, &[1]) && is(body + 16, &ip) && is(body + 20, &[8])) {
        return false;
    }
    back(frame, body);
    // An echo reply is the request with another type: eight less, so the checksum is so much more (RFC 1624).
    frame[body + 20] = 0;
    let sum = u32::from(u16::from_be_bytes([frame[body + 22], frame[body + 23]])) + 0x0800;
    frame[body + 22..body + 24].copy_from_slice(&((sum + (sum >> 16)) as u16).to_be_bytes());
    true
}

/// Back to where it came from: the IPv4 header at `ip` keeps its checksum.
fn back(frame: &mut [u8], ip: usize) {
    frame[..12].rotate_left(6);
    frame[ip + 12..ip + 20].rotate_left(4);
}
