//! What must hold of a bond's machines whatever a partner says: several, and none that keeps to the protocol.

use std::time::Duration;

use shunt_switch::lacp::{Aggregate, Settings};
use shunt_switch::wire::ethernet::Mac;
use shunt_switch::wire::lacp::{self, Message};

/// Members of the bond.
const MEMBERS: usize = 3;
/// How a case is written in bytes: one byte (bit 0: every second is asked for; bit 1: two links must carry traffic), then turns of
/// so many bytes.
///
/// | byte | is |
/// |---|---|
/// | 0 | member, modulo 4: the last one is not there; bit 7: its link changes first |
/// | 1 | time that passes first, in units of 50 ms |
/// | 2.. | what is heard: the first bytes of a message behind the Ethernet header |
pub(crate) const TURN: usize = 2 + 44;

/// Our system: seeds of partners that agree say it.
const SYSTEM: Mac = Mac::from_bytes([2, 0, 0, 0, 0, 1]);

/// Panics when a property does not hold. The most members that carried traffic at once.
pub(crate) fn check(input: &[u8]) -> usize {
    let Some((flags, turns)) = input.split_first() else { return 0 };
    let min_links = if flags & 2 == 0 { 1 } else { 2 };
    let settings =
        Settings { system: SYSTEM, system_priority: 32_768, key: 1, fast: flags & 1 != 0, min_links };
    let mut bond = Aggregate::new(settings, MEMBERS);
    let mut up = [true; MEMBERS];
    (0..MEMBERS).for_each(|member| bond.link(member, true, Duration::ZERO));
    let (mut now, mut most) = (Duration::ZERO, 0);
    for turn in turns.chunks(TURN) {
        let [first, time, message @ ..] = turn else { break };
        now += Duration::from_millis(50) * u32::from(*time);
        let member = usize::from(first & 3);
        if first & 0x80 != 0 {
            if let Some(up) = up.get_mut(member) {
                *up = !*up;
            }
            bond.link(member, up.get(member).copied().unwrap_or(true), now);
        }
        match lacp::parse(message) {
            Some(Message::Lacp(pdu)) => {
                let again = lacp::frame(Mac(2), &pdu);
                assert_eq!(lacp::parse(&again[14..]), Some(Message::Lacp(pdu)), "written and read again");
                bond.hear(member, &pdu, now);
            }
            Some(Message::Marker(marker)) => {
                assert_eq!(
                    lacp::parse(&lacp::marker_response(Mac(2), &marker)[14..]),
                    Some(Message::MarkerResponse)
                );
            }
            Some(Message::MarkerResponse) | None => {}
        }
        bond.advance(now);
        check_bond(&bond, &up);
        let said = bond.speak(now);
        assert!(said.len() <= MEMBERS && said.iter().all(|(member, _)| up[*member]), "{said:?}");
        most = most.max(bond.distributing().len());
        let carries = bond.distributing();
        assert!(carries.is_empty() || carries.len() >= min_links);
    }
    most
}

/// Traffic goes only over links that are up, is taken from all it goes to, and all of it goes to one partner.
fn check_bond(bond: &Aggregate, up: &[bool; MEMBERS]) {
    let (takes, gives) = (bond.collecting(), bond.distributing());
    assert!(takes.iter().all(|member| up[member]), "{takes:?} of {up:?}");
    assert!(gives.iter().all(|member| takes.has(member)), "{gives:?} of {takes:?}");
    let mut partners =
        gives.iter().map(|member| bond.members()[member].partner().map(|it| (it.system, it.key)));
    if let Some(first) = partners.next() {
        assert!(first.is_some() && partners.all(|partner| partner == first), "two partners in one aggregate");
    }
}
