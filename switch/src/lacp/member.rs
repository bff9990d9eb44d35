//! The machines of one link: receive (IEEE 802.1AX-2014 clause 6.4.12), periodic transmission (6.4.13), mux with independent control
//! (6.4.15, figure 6-21), and when a LACPDU is sent (6.4.16).

use super::Time;
use crate::wire::lacp::{Pdu, Side, State};

/// Between two LACPDUs when the other side wants to hear often, `Fast_Periodic_Time`.
pub const FAST: Time = Time::from_secs(1);
/// The same when it does not, `Slow_Periodic_Time`.
pub const SLOW: Time = Time::from_secs(30);
/// How long a partner is believed that speaks often, `Short_Timeout_Time`.
pub const SHORT_TIMEOUT: Time = Time::from_secs(3);
/// The same for one that does not, `Long_Timeout_Time`.
pub const LONG_TIMEOUT: Time = Time::from_secs(90);
/// How long links wait for each other before they are attached, `Aggregate_Wait_Time`.
pub const AGGREGATE_WAIT: Time = Time::from_secs(2);
/// LACPDUs sent within [`FAST`] at most (clause 6.4.16).
const BURST: usize = 3;
/// What a side says of itself that its partner repeats and both compare.
const REPEATED: State =
    State(State::ACTIVITY.0 | State::TIMEOUT.0 | State::SYNCHRONIZATION.0 | State::AGGREGATION.0);

/// The receive machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// The link is down.
    Disabled,
    /// Nothing was heard in time; the partner is asked to speak until then.
    Expired(Time),
    /// Nothing was heard then either.
    Defaulted,
    /// The partner was heard, and is believed until then.
    Current(Time),
}

/// The mux machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mux {
    /// In no aggregate.
    Detached,
    /// Waits until then for others that may come along.
    Waiting(Time),
    /// In the aggregate; the partner is not yet.
    Attached,
    /// Takes traffic.
    Collecting,
    /// Takes and sends traffic.
    Distributing,
}

/// What the selection says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// It belongs to no aggregate.
    No,
    /// To the one that carries the bond's traffic.
    Yes,
    /// To another one: it is ready, and carries nothing.
    Standby,
}

/// One link.
#[derive(Clone, Debug)]
pub struct Member {
    /// We, without what the machines say.
    actor: Side,
    /// The partner as last heard, `Partner_Oper`.
    partner: Side,
    hears: Hears,
    mux: Mux,
    selected: Selected,
    /// The partner was heard at least once since the link is up and is still believed, at least for what it is.
    known: bool,
    /// A LACPDU is wanted, `NTT`.
    wanted: bool,
    /// Interval of periodic transmission and when the next is due; none while the link is down.
    period: Option<(Time, Time)>,
    /// When the last LACPDUs were sent, the oldest first.
    sent: [Option<Time>; BURST],
    /// LACPDUs heard.
    pub heard: u64,
    /// LACPDUs sent.
    pub spoken: u64,
}

impl Member {
    /// A link that is down; `actor` says who we are, with a state of what does not change.
    pub fn new(actor: Side) -> Self {
        Self {
            actor,
            partner: Side::default(),
            hears: Hears::Disabled,
            mux: Mux::Detached,
            selected: Selected::No,
            known: false,
            wanted: false,
            period: None,
            sent: [None; BURST],
            heard: 0,
            spoken: 0,
        }
    }

    /// What the receive machine says.
    pub fn hears(&self) -> Hears {
        self.hears
    }

    /// What the mux machine says.
    pub fn mux(&self) -> Mux {
        self.mux
    }

    /// What the selection said last.
    pub fn selected(&self) -> Selected {
        self.selected
    }

    /// The partner, as far as it was heard.
    pub fn partner(&self) -> Option<&Side> {
        self.known.then_some(&self.partner)
    }

    /// Traffic is taken from the link.
    pub fn collects(&self) -> bool {
        matches!(self.mux, Mux::Collecting | Mux::Distributing)
    }

    /// Traffic is sent over the link.
    pub fn distributes(&self) -> bool {
        self.mux == Mux::Distributing
    }

    /// We, as a LACPDU says it now.
    pub fn actor(&self) -> Side {
        let synchronized = matches!(self.mux, Mux::Attached | Mux::Collecting | Mux::Distributing);
        let state = self
            .actor
            .state
            .with(State::SYNCHRONIZATION, synchronized)
            .with(State::COLLECTING, self.collects())
            .with(State::DISTRIBUTING, self.distributes())
            .with(State::DEFAULTED, !self.known)
            .with(State::EXPIRED, matches!(self.hears, Hears::Expired(_)));
        Side { state, ..self.actor }
    }

    /// The link comes up or goes down. Down, it leaves the aggregate at once.
    pub fn link(&mut self, up: bool, now: Time) {
        match (up, self.hears) {
            (true, Hears::Disabled) => self.expire(now),
            (false, Hears::Disabled) | (true, _) => {}
            (false, _) => {
                self.hears = Hears::Disabled;
                self.partner.state = self.partner.state.with(State::SYNCHRONIZATION, false);
                // Who comes back may be another.
                self.forget();
                self.detach();
                self.wanted = false;
                self.period = None;
            }
        }
    }

    /// EXPIRED: the partner is asked to speak at once, and what it agreed to does not count.
    fn expire(&mut self, now: Time) {
        self.hears = Hears::Expired(now + SHORT_TIMEOUT);
        let state = self.partner.state.with(State::SYNCHRONIZATION, false).with(State::TIMEOUT, true);
        self.partner.state = state;
    }

    /// `recordDefault` with a partner that we know nothing of, and `update_Default_Selected`.
    fn forget(&mut self) {
        self.partner = Side::default();
        self.known = false;
        self.selected = Selected::No;
    }

    /// A LACPDU was heard (CURRENT).
    pub fn hear(&mut self, pdu: &Pdu, now: Time) {
        if self.hears == Hears::Disabled {
            return;
        }
        self.heard += 1;
        // update_Selected: another partner, or the same otherwise, is in another aggregate.
        let identity = |side: &Side| Side { state: side.state.only(State::AGGREGATION), ..*side };
        if !self.known || identity(&pdu.actor) != identity(&self.partner) {
            self.selected = Selected::No;
            self.detach();
        }
        // update_NTT: he knows us otherwise than we are.
        let we = self.actor();
        let repeated = |side: &Side| Side { state: side.state.only(REPEATED), ..*side };
        if repeated(&pdu.partner) != repeated(&we) {
            self.wanted = true;
        }
        // recordPDU.
        let means_us = identity(&pdu.partner) == identity(&we);
        let alone = !pdu.actor.state.has(State::AGGREGATION);
        let active = pdu.actor.state.has(State::ACTIVITY)
            || we.state.has(State::ACTIVITY) && pdu.partner.state.has(State::ACTIVITY);
        let agrees = pdu.actor.state.has(State::SYNCHRONIZATION) && (means_us || alone) && active;
        self.partner = pdu.actor;
        self.partner.state = self.partner.state.with(State::SYNCHRONIZATION, agrees);
        self.known = true;
        let believed = if we.state.has(State::TIMEOUT) { SHORT_TIMEOUT } else { LONG_TIMEOUT };
        self.hears = Hears::Current(now + believed);
    }

    /// The timers of the receive machine and of periodic transmission.
    pub(super) fn pass(&mut self, now: Time) {
        match self.hears {
            Hears::Current(until) if now >= until => self.expire(now),
            Hears::Expired(until) if now >= until => {
                self.hears = Hears::Defaulted;
                self.forget();
                self.detach();
            }
            _ => {}
        }
        let interval = match self.hears {
            Hears::Disabled => None,
            _ if !self.known || self.partner.state.has(State::TIMEOUT) => Some(FAST),
            _ => Some(SLOW),
        };
        self.period = match (interval, self.period) {
            (None, _) => None,
            (Some(interval), Some((before, due))) if before == interval && now < due => Some((before, due)),
            (Some(interval), Some((before, due))) => {
                // Due, or he wants to hear more often from now on.
                self.wanted |= now >= due || interval < before;
                Some((interval, now + interval))
            }
            (Some(interval), None) => {
                self.wanted = true;
                Some((interval, now + interval))
            }
        };
    }

    /// The selection's word. A link that was taken leaves its aggregate first; one that stood by may be taken as it waits.
    pub(super) fn select(&mut self, selected: Selected) {
        if selected != Selected::Yes && self.selected != selected {
            self.detach();
        }
        self.selected = selected;
    }

    fn detach(&mut self) {
        if self.mux != Mux::Detached {
            self.mux = Mux::Detached;
            self.wanted = true;
        }
    }

    /// True when it waits for others and need not any longer, `Ready_N`.
    pub(super) fn is_ready(&self, now: Time) -> bool {
        matches!(self.mux, Mux::Waiting(until) if now >= until)
    }

    /// True when others must wait for it.
    pub(super) fn waits(&self) -> bool {
        self.selected == Selected::Yes && matches!(self.mux, Mux::Waiting(_))
    }

    /// The mux machine, as far as it comes. `ready`: all that wait have waited long enough.
    pub(super) fn turn(&mut self, ready: bool, now: Time) {
        loop {
            let partner = self.partner.state;
            let agrees = self.selected == Selected::Yes && partner.has(State::SYNCHRONIZATION);
            let next = match self.mux {
                Mux::Detached if self.selected != Selected::No => Mux::Waiting(now + AGGREGATE_WAIT),
                Mux::Waiting(until) if self.selected == Selected::Yes && ready && now >= until => {
                    Mux::Attached
                }
                Mux::Attached if agrees => Mux::Collecting,
                Mux::Collecting if !agrees => Mux::Attached,
                Mux::Collecting if partner.has(State::COLLECTING) => Mux::Distributing,
                Mux::Distributing if !agrees || !partner.has(State::COLLECTING) => Mux::Collecting,
                _ => break,
            };
            // What it waits for is nobody else's affair.
            self.wanted |= !matches!(next, Mux::Waiting(_));
            self.mux = next;
        }
    }

    /// The LACPDU to send now, if one is wanted and may be sent.
    pub fn speak(&mut self, now: Time) -> Option<Pdu> {
        if !self.wanted || self.hears == Hears::Disabled || self.quiet_until(now).is_some() {
            return None;
        }
        self.wanted = false;
        self.sent.rotate_left(1);
        self.sent[BURST - 1] = Some(now);
        self.spoken += 1;
        Some(Pdu { actor: self.actor(), partner: self.partner })
    }

    /// It could not be sent: it is wanted still, and counts for nothing.
    pub fn unsaid(&mut self) {
        self.wanted = true;
        self.sent[BURST - 1] = None;
        self.sent.rotate_right(1);
        self.spoken -= 1;
    }

    /// Until when nothing may be sent, because three LACPDUs were within a second.
    fn quiet_until(&self, now: Time) -> Option<Time> {
        self.sent[0].map(|oldest| oldest + FAST).filter(|until| now < *until)
    }

    /// When something is due next.
    pub(super) fn due(&self, now: Time) -> Option<Time> {
        let heard = match self.hears {
            Hears::Current(until) | Hears::Expired(until) => Some(until),
            _ => None,
        };
        let waited = match self.mux {
            Mux::Waiting(until) if self.selected == Selected::Yes && until > now => Some(until),
            _ => None,
        };
        let speaks = self.period.map(|(_, due)| due);
        let wanted = self.wanted.then(|| self.quiet_until(now).unwrap_or(now));
        let wanted = wanted.filter(|_| self.hears != Hears::Disabled);
        [heard, waited, speaks, wanted].into_iter().flatten().min()
    }
}
