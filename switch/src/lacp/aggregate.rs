//! The bond as a whole: selection (IEEE 802.1AX-2014 clause 6.4.14), and the sets of members that traffic is taken from and given to.
//!
//! Links belong together when their partners are the same system with the same key. A bond is one aggregate: when its links lead to
//! several partners, one of these is chosen and keeps being chosen while it is heard, and links to the others stand by, out of
//! synchronization, so that those partners send nothing over them either.

use super::member::{Hears, Member, Selected};
use super::{Members, Time};
use crate::wire::ethernet::Mac;
use crate::wire::lacp::{Pdu, Side, State};

/// How a bond speaks LACP.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Our system.
    pub system: Mac,
    /// Its priority; the lower is the better.
    pub system_priority: u16,
    /// The same for all members.
    pub key: u16,
    /// We want to hear every second, and give a partner up that has not been heard for three.
    pub fast: bool,
    /// Traffic is carried when at least so many members distribute.
    pub min_links: usize,
}

/// What links must have in common (the partner's part of a LAG ID, clause 6.3.6). One that cannot be aggregated has its port.
type Lag = (u16, Mac, u16, Option<(u16, u16)>);

/// The state of a bond with LACP.
#[derive(Clone, Debug)]
pub struct Aggregate {
    settings: Settings,
    members: Vec<Member>,
    /// The aggregate that carries the traffic.
    chosen: Option<Lag>,
    /// LACPDUs that were our own: the link leads back to us.
    pub looped: u64,
}

fn lag(partner: &Side) -> Lag {
    let alone = !partner.state.has(State::AGGREGATION);
    let port = alone.then_some((partner.port_priority, partner.port));
    (partner.system_priority, partner.system, partner.key, port)
}

impl Aggregate {
    /// A bond of `count` links, all down.
    pub fn new(settings: Settings, count: usize) -> Self {
        let state = State::ACTIVITY.with(State::AGGREGATION, true).with(State::TIMEOUT, settings.fast);
        let member = |number: usize| {
            Member::new(Side {
                system_priority: settings.system_priority,
                system: settings.system,
                key: settings.key,
                port_priority: PORT_PRIORITY,
                port: number as u16 + 1,
                state,
            })
        };
        Self { settings, members: (0..count).map(member).collect(), chosen: None, looped: 0 }
    }

    /// Its links.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The link of `member` is up or down.
    pub fn link(&mut self, member: usize, up: bool, now: Time) {
        if let Some(member) = self.members.get_mut(member) {
            member.link(up, now);
        }
        self.advance(now);
    }

    /// `member` has heard a LACPDU.
    pub fn hear(&mut self, member: usize, pdu: &Pdu, now: Time) {
        if pdu.actor.system == self.settings.system {
            self.looped += 1;
            return;
        }
        if let Some(member) = self.members.get_mut(member) {
            member.hear(pdu, now);
        }
        self.advance(now);
    }

    /// Time has passed.
    pub fn advance(&mut self, now: Time) {
        self.members.iter_mut().for_each(|member| member.pass(now));
        self.select();
        // Who begins to wait now is waited for, too.
        self.members.iter_mut().for_each(|member| member.turn(false, now));
        // All that wait for one another are ready when the last is.
        let selected_wait = |member: &&Member| member.waits();
        let ready = self.members.iter().filter(selected_wait).all(|member| member.is_ready(now));
        self.members.iter_mut().for_each(|member| member.turn(ready, now));
    }

    fn select(&mut self) {
        let heard = |member: &Member| matches!(member.hears(), Hears::Current(_));
        let of = |wanted: Lag| self.members.iter().filter(move |it| it.partner().map(lag) == Some(wanted));
        let is_heard = |wanted: Lag| of(wanted).any(heard);
        if !self.chosen.is_some_and(is_heard) {
            // That with the most links, and of equals that of the first link.
            let mut best: Option<(usize, Lag)> = None;
            for candidate in self.members.iter().filter(|it| heard(it)).filter_map(Member::partner).map(lag) {
                let links = of(candidate).filter(|it| heard(it)).count();
                if best.is_none_or(|(most, _)| links > most) {
                    best = Some((links, candidate));
                }
            }
            if let Some((_, lag)) = best {
                self.chosen = Some(lag);
            }
        }
        for member in &mut self.members {
            let selected = match member.partner().map(lag) {
                None => Selected::No,
                Some(lag) if Some(lag) == self.chosen => Selected::Yes,
                Some(_) => Selected::Standby,
            };
            member.select(selected);
        }
    }

    /// The LACPDUs to send now, each with its member.
    pub fn speak(&mut self, now: Time) -> Vec<(usize, Pdu)> {
        let members = self.members.iter_mut().enumerate();
        members.filter_map(|(number, member)| Some((number, member.speak(now)?))).collect()
    }

    /// The LACPDU of `member` could not be sent.
    pub fn unsaid(&mut self, member: usize) {
        if let Some(member) = self.members.get_mut(member) {
            member.unsaid();
        }
    }

    /// The members that traffic is taken from.
    pub fn collecting(&self) -> Members {
        Members::which(self.members.len(), |member| self.members[member].collects())
    }

    /// The members that traffic is given to; none when there are fewer than `min_links`.
    pub fn distributing(&self) -> Members {
        let all = Members::which(self.members.len(), |member| self.members[member].distributes());
        if all.len() < self.settings.min_links { Members::default() } else { all }
    }

    /// When [`Aggregate::advance`] and [`Aggregate::speak`] are due next.
    pub fn due(&self, now: Time) -> Option<Time> {
        self.members.iter().filter_map(|member| member.due(now)).min()
    }
}

/// Priority of our ports: none is better than the others.
const PORT_PRIORITY: u16 = 255;
