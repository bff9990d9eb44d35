//! What was seen of a packet, held against the ways that the model allows, and what follows from it for the model.

use proptest::prelude::*;

use super::frames::{ROUTED, TTL, Talk, Wire};
use super::lives::{Does, Life, due};
use super::model::{Backend, Client, Connection, End, From, Leaves, Opens, Sent, Way};
use super::places::{PORTS, gateway_mac, network_of};
use super::play::{Outcome, Round};
use super::sctp;
use super::switch::{Seen, station_mac};
use super::world;
use crate::drop::DropReason;
use crate::wire::protocol::{SCTP, TCP};

impl Round {
    /// Holds what was seen against the model, and notes what follows from it.
    pub(super) fn judge(&mut self, sent: &Sent, seen: &Seen) -> Outcome {
        let looks = self.switches[0].looks();
        // A connection that has ended makes way for the next.
        if (sent.segment.syn || sent.segment.chunk == sctp::INIT)
            && let Some((at, _, false)) = self.model.find(&sent.talk)
            && self.model.open[at].life.makes_way()
        {
            self.seen.insert(match self.model.open[at].life {
                Life::Closed if sent.talk.protocol == SCTP => "reopened by an INIT",
                Life::Closed => "reopened",
                _ => "reopened after both had finished",
            });
            let ended = self.model.open.remove(at);
            self.past.push((ended.original, ended.reply));
        }
        let ways = self.model.ways(&self.world, looks, sent, self.now);
        let fitting: Vec<&Way> = ways.iter().filter(|way| self.fits(way, sent, seen)).collect();
        prop_assert!(
            !fitting.is_empty(),
            "the model differs for {:?}: {:?} {}, not one of {:?}\nconnections {:?}\nworld {:?}",
            sent,
            seen.lost,
            told(seen),
            ways,
            self.model.open,
            self.world
        );
        self.note(sent, &ways, *fitting[0], fitting.len() == 1, seen)
    }

    /// True when what was seen is what a way says.
    fn fits(&self, way: &Way, sent: &Sent, seen: &Seen) -> bool {
        let back = seen.out.iter().all(|(port, _)| *port == sent.station) && seen.out.len() < 2;
        match way.end {
            End::Lost(reason) => seen.lost == [reason] && back,
            End::Refused(reason) => {
                // A reset is never answered (RFC 9293 section 3.10.7.1).
                let answers = usize::from(!(sent.talk.protocol == TCP && sent.segment.reset));
                seen.lost == [reason] && back && seen.out.len() == answers && says_no(sent, seen)
            }
            End::Echoed => {
                let is_answer = |(_, bytes): &(usize, Vec<u8>)| {
                    Wire::read(bytes).is_some_and(|wire| wire.talk == sent.talk.back())
                };
                seen.lost.is_empty() && back && seen.out.iter().any(is_answer)
            }
            End::Out { to, talk, routed } => {
                let [(port, bytes)] = &seen.out[..] else { return false };
                let Some(wire) = Wire::read(bytes) else { return false };
                let gateway =
                    if routed { gateway_mac(network_of(to)) } else { station_mac(sent.station, &self.world) };
                let macs = (gateway, station_mac(to, &self.world));
                let ttl = if routed { ROUTED } else { TTL };
                seen.lost.is_empty()
                    && *port == to
                    && (wire.macs, wire.ttl, wire.segment) == (macs, ttl, sent.segment)
                    && match way.opens {
                        None => wire.talk == talk,
                        Some(opens) => self.opens_so(talk, &opens, wire.talk),
                    }
            }
        }
    }

    /// True when a connection that the model would send on as `talk` may have become `came`.
    fn opens_so(&self, talk: Talk, opens: &Opens, came: Talk) -> bool {
        let mut meant = talk;
        if opens.pooled && self.world.pools(came.from) {
            meant.from = came.from;
        } else if opens.pooled {
            return false;
        }
        let fits = |port: u16| match opens.from {
            From::Own | From::Shared => port >= 1024,
            From::Ranged => PORTS.contains(&port),
        };
        let own = fits(meant.ports.0) || opens.from == From::Own;
        if own && self.model.is_free(&meant.back()) {
            return came == meant;
        }
        meant.ports.0 = came.ports.0;
        came == meant && fits(came.ports.0) && self.model.is_free(&came.back())
    }

    /// What follows for the model from a packet that went a way; `sure`: no other way would have looked the same.
    fn note(&mut self, sent: &Sent, ways: &[Way], way: Way, sure: bool, seen: &Seen) -> Outcome {
        self.seen.insert(match way.end {
            End::Out { routed: true, .. } => "routed",
            End::Out { .. } => "bridged",
            End::Echoed => "echoed",
            End::Refused(reason) | End::Lost(reason) => reason.name(),
        });
        self.passed = matches!(way.end, End::Out { .. });
        if !self.passed {
            return Ok(());
        }
        let came = Wire::read(&seen.out[0].1).unwrap().talk;
        if let Some((at, _, answers)) = self.model.find(&sent.talk) {
            // A packet that is not looked up leaves its connection as it is.
            if way.opens.is_none() && came == self.model.find(&sent.talk).unwrap().1 && self.is_tracked(sent)
            {
                let it = &mut self.model.open[at];
                let does = match sent.segment {
                    it if it.reset => Does::Resets,
                    it if it.fin => Does::Finishes,
                    _ => Does::GoesOn,
                };
                let next = due(it, answers, does).map(|(_, life)| life);
                (it.last, it.both) = (self.now, it.both || answers);
                it.life = next.unwrap_or(it.life);
                self.seen.insert(match (sent.segment.fin, answers) {
                    (true, _) => "finished",
                    (_, true) if sent.segment.chunk == sctp::COOKIE_ACK => "associated",
                    (false, true) => "answered",
                    (false, false) => "went on",
                });
            }
            return Ok(());
        }
        let Some(opens) = way.opens else { return Ok(()) };
        if let Some(backend) = way.backend.filter(|_| sure) {
            self.is_steady(sent, ways, &opens, backend)?;
        }
        if let Some((client, backend)) = opens.stays {
            self.model.stays.insert(client, (backend, self.now + world::STAYS as u32));
            self.seen.insert("stays");
        }
        self.seen.insert(
            match (opens.rests.service, opens.rests.floating, came.ports.0 == sent.talk.ports.0) {
                (true, None, true) => "to a service",
                (true, None, false) => "to a service from another port",
                (true, Some(_), _) => "to a service with a floating address",
                (false, Some(_), true) => "with a floating address",
                (false, Some(_), false) => "with a floating address from another port",
                (false, None, true) => "opened",
                (false, None, false) => "opened from another port",
            },
        );
        if opens.rests.forward {
            self.seen.insert("by a forwarded port");
        }
        if opens.from == From::Ranged {
            self.seen.insert("with a port of the router's");
        }
        match opens.rests.leaves {
            Leaves::AsElse => {}
            Leaves::Pooled => drop(self.seen.insert("with an address of the pool")),
            Leaves::Sourced => drop(self.seen.insert("with the address of its prefix")),
        }
        let life = match (sent.talk.protocol, sent.segment.syn) {
            (TCP, true) | (SCTP, _) => Life::SynSent,
            (TCP, false) => Life::Established,
            _ => Life::Unreplied,
        };
        let yours = match sent.segment.acknowledges {
            Some(next) => next - 1,
            None => sent.segment.sequence + 50_000,
        };
        let mine = sent.segment.sequence - u32::from(sent.talk.protocol == TCP && !sent.segment.syn);
        self.model.open.push(Connection {
            original: sent.talk,
            reply: came.back(),
            rests: opens.rests,
            life,
            last: self.now,
            first: (mine, yours),
            both: false,
        });
        Ok(())
    }

    /// Of the same backends the same one is chosen for the same connection, or client that stays.
    fn is_steady(&mut self, sent: &Sent, ways: &[Way], opens: &Opens, backend: Backend) -> Outcome {
        let mut all: Vec<Backend> = ways.iter().filter_map(|way| way.backend).collect();
        if all.len() < 2 {
            return Ok(());
        }
        all.sort_unstable();
        let sticky: Option<Client> = opens.stays.map(|(client, _)| client);
        let talk = match sticky {
            Some(_) => Talk { to: sent.talk.from, ports: (0, 0), protocol: 0, ..sent.talk },
            None => sent.talk,
        };
        let before = self.chosen.insert((all, talk, sticky.is_some()), backend);
        prop_assert!(
            before.is_none_or(|before| before == backend),
            "not {:?} as before for {:?}",
            before,
            sent
        );
        Ok(())
    }
}

/// True when the answer says that nobody is there: of TCP a reset, of all else an ICMP error.
fn says_no(sent: &Sent, seen: &Seen) -> bool {
    seen.out.iter().all(|(_, bytes)| match (Wire::read(bytes), sent.talk.protocol) {
        (Some(wire), TCP) => wire.talk == sent.talk.back() && wire.segment.reset,
        (answer, TCP) => answer.is_some(),
        (answer, _) => answer.is_none(),
    })
}

/// What went out, for people.
fn told(seen: &Seen) -> String {
    seen.out.iter().map(|(port, bytes)| format!("[{port}: {:?}]", Wire::read(bytes))).collect()
}

/// The reasons that rounds must come across.
pub(super) const WANTED: &[&str] = &[
    "routed",
    "bridged",
    "echoed",
    "answered",
    "went on",
    "reopened",
    "reopened by an INIT",
    "associated",
    "finished",
    "in fragments",
    "fragments were dropped",
    "reopened after both had finished",
    "by a forwarded port",
    "with a port of the router's",
    "with an address of the pool",
    "with the address of its prefix",
    "an error",
    "stays",
    "to a service",
    "to a service from another port",
    "to a service with a floating address",
    "with a floating address",
    "opened",
    "opened from another port",
    DropReason::ServiceNoPort.name(),
    DropReason::ServiceNoEndpoints.name(),
    DropReason::ServiceNoneHere.name(),
    DropReason::ServiceSourceRefused.name(),
    DropReason::PolicyEgress.name(),
    DropReason::PolicyIngress.name(),
    DropReason::OverlayNotReachable.name(),
    DropReason::ForSwitch.name(),
    DropReason::NoRoute.name(),
];
