//! A ping as a stream of messages: when requests are sent, what is waited for, when it is over.
//!
//! A task of the interface's runtime asks the control thread for each request and looks for answers every few milliseconds; the
//! times it tells are those at which workers sent and received. At most 100 requests a second. When the reader goes away it ends.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use shunt_ffi::clock;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::proto;
use crate::control::Handle;
use crate::control::ping::{Ping, Plan};
use crate::wire::echo::{self, Heard, MOST_DATA};
use crate::worker::mailbox::Outcome;

/// How often answers are looked for.
const EVERY: Duration = Duration::from_millis(2);
/// How often a request is tried again whose next hop was asked for.
const AGAIN: Duration = Duration::from_millis(50);
/// Messages that may wait for the reader.
const WAITING: usize = 64;
/// Shortest time from a request to the next, and longest of any wait, milliseconds.
pub(super) const INTERVAL: (u32, u32) = (10, 3_600_000);
/// Most requests of one ping: their numbers do not come back.
const MOST: u32 = 65_535;

/// How often, how fast, how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    count: u32,
    interval: Duration,
    timeout: Duration,
}

impl Pace {
    /// That of a request.
    ///
    /// # Errors
    /// In words, what it is to be.
    pub(super) fn of(request: &proto::PingRequest) -> Result<Self, String> {
        let proto::PingRequest { count, interval_ms, timeout_ms, size, .. } = *request;
        let (least, most) = INTERVAL;
        if !(1..=MOST).contains(&count) {
            return Err(format!("count is {count}; give 1 to {MOST}"));
        }
        if !(least..=most).contains(&interval_ms) || !(least..=most).contains(&timeout_ms) {
            return Err(format!(
                "interval and timeout are {interval_ms} and {timeout_ms} ms; give {least} to {most} ms"
            ));
        }
        if size as usize > MOST_DATA {
            return Err(format!("size is {size} bytes; give 0 to {MOST_DATA}"));
        }
        let milliseconds = |count: u32| Duration::from_millis(count.into());
        Ok(Self { count, interval: milliseconds(interval_ms), timeout: milliseconds(timeout_ms) })
    }
}

/// Streams `ping` to its reader.
pub(super) fn stream(
    control: Handle,
    ping: Ping,
    pace: Pace,
) -> ReceiverStream<Result<proto::PingEvent, Status>> {
    let (send, receive) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut run = Run {
            control: control.clone(),
            plan: ping.plan,
            pace,
            sent: HashMap::new(),
            answered: HashSet::new(),
            transmitted: 0,
        };
        let id = ping.session.id;
        run.follow(&ping.session.ring, &send).await;
        // A daemon that is stopping has no captures any more.
        let _ =
            tokio::task::spawn_blocking(move || control.call(move |control| control.end_capture(id))).await;
    });
    ReceiverStream::new(receive)
}

struct Run {
    control: Handle,
    plan: Plan,
    pace: Pace,
    /// When requests that are waited for were sent, on the time-stamp counter, and until when they are waited for.
    sent: HashMap<u16, (u64, Instant)>,
    answered: HashSet<u16>,
    transmitted: u32,
}

impl Run {
    /// Until all is over, or the reader has gone.
    async fn follow(
        &mut self,
        ring: &crate::worker::capture::Ring,
        send: &mpsc::Sender<Result<proto::PingEvent, Status>>,
    ) {
        let echo = self.plan.echo;
        let started = proto::PingStarted {
            network: self.plan.network.clone(),
            source: echo.source.to_string(),
            size: echo.size as u32,
        };
        if send
            .send(Ok(proto::PingEvent { started: Some(started), ..proto::PingEvent::default() }))
            .await
            .is_err()
        {
            return;
        }
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut number, mut due) = (1_u32, Instant::now());
        // Since when the request has waited for its next hop, and when it is tried again.
        let mut held: Option<(Instant, Instant)> = None;
        while number <= self.pace.count || !self.sent.is_empty() {
            tokio::select! {
                () = send.closed() => return,
                _ = every.tick() => {}
            }
            let mut events = self.hear(ring);
            let now = Instant::now();
            self.sent.retain(|_, (_, until)| *until > now);
            let again = held.is_none_or(|(_, again)| now >= again);
            if number <= self.pace.count && now >= due && again {
                let seq = number as u16;
                let Some(outcome) = self.request(seq).await else { return };
                let since = held.map_or(now, |(since, _)| since);
                let mut over = true;
                match outcome {
                    Outcome::Sent(tsc) => {
                        self.sent.insert(seq, (tsc, Instant::now() + self.pace.timeout));
                    }
                    Outcome::Unresolved(_) if now < since + self.pace.timeout => {
                        held = Some((since, now + AGAIN));
                        over = false;
                    }
                    Outcome::Unresolved(hop) => {
                        events.push(self.failed(
                            seq,
                            "neighbor_unresolved",
                            format!("{hop} does not say its MAC address"),
                        ));
                    }
                    Outcome::Lost(reason) => {
                        let text = reason.describe().trim_end_matches('.').to_owned();
                        events.push(self.failed(seq, reason.name(), text));
                    }
                }
                if over {
                    self.transmitted = number;
                    events.push(self.told());
                    held = None;
                    number += 1;
                    due = (due + self.pace.interval).max(now);
                }
            }
            for event in events {
                if send.send(Ok(event)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Has a request sent; `None` when the daemon is stopping.
    async fn request(&mut self, seq: u16) -> Option<Outcome> {
        self.plan.echo.seq = seq;
        let (control, plan) = (self.control.clone(), self.plan.clone());
        tokio::task::spawn_blocking(move || control.call(move |control| control.ping(&plan))).await.ok()?.ok()
    }

    /// What has come back meanwhile.
    fn hear(&mut self, ring: &crate::worker::capture::Ring) -> Vec<proto::PingEvent> {
        let mut events = Vec::new();
        while let Some(copied) = ring.take() {
            let heard = echo::heard(copied.bytes());
            events.extend(heard.and_then(|heard| self.event(heard, copied.tsc)));
            ring.give_back(copied);
        }
        events
    }

    /// `None` when it is about somebody else's request.
    fn event(&mut self, heard: Heard, tsc: u64) -> Option<proto::PingEvent> {
        let echo = self.plan.echo;
        if heard.ident != echo.ident || heard.to != echo.source {
            return None;
        }
        let sent = self.sent.remove(&heard.seq);
        if let Some(text) = heard.error {
            sent?;
            let failure = proto::PingFailure {
                seq: heard.seq.into(),
                from: heard.from.to_string(),
                reason: String::new(),
                text,
            };
            return Some(proto::PingEvent { failure: Some(failure), ..self.told() });
        }
        if heard.from != echo.target {
            return None;
        }
        let duplicate = !self.answered.insert(heard.seq);
        if sent.is_none() && !duplicate {
            // Later than it is waited for.
            return None;
        }
        let rtt = sent.map_or(Duration::ZERO, |(then, _)| clock::duration(tsc.saturating_sub(then)));
        let reply = proto::PingReply {
            seq: heard.seq.into(),
            ttl: heard.ttl.into(),
            rtt_ns: u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX),
            length: heard.length as u32,
            duplicate,
        };
        Some(proto::PingEvent { reply: Some(reply), ..self.told() })
    }

    fn failed(&self, seq: u16, reason: &str, text: String) -> proto::PingEvent {
        let from = self.plan.echo.source.to_string();
        let failure = proto::PingFailure { seq: seq.into(), from, reason: reason.to_owned(), text };
        proto::PingEvent { failure: Some(failure), ..self.told() }
    }

    /// An event that says nothing but how many requests there were.
    fn told(&self) -> proto::PingEvent {
        proto::PingEvent { transmitted: self.transmitted, ..proto::PingEvent::default() }
    }
}
