//! `shunt ping`: the switch asks, and what is printed is that of ping(8).

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::client::Client;
use super::feed::Feed;
use super::options::Ping;
use super::{Failure, print};
use crate::control::api::proto;

/// What is asked of the daemon.
///
/// # Errors
/// A time is not in range.
pub fn request(wanted: &Ping) -> Result<proto::PingRequest, Failure> {
    let milliseconds = |name: &str, seconds: f64| {
        let wrong =
            || Failure::bad_input(format!("shunt: ping: {name} takes 0.01 to 3600 seconds, not {seconds}"));
        if (0.01..=3600.0).contains(&seconds) { Ok((seconds * 1000.0).round() as u32) } else { Err(wrong()) }
    };
    Ok(proto::PingRequest {
        from: wanted.from.clone(),
        address: wanted.address.to_string(),
        count: wanted.count.unwrap_or(65_535),
        interval_ms: milliseconds("-i", wanted.interval)?,
        timeout_ms: milliseconds("-W", wanted.timeout)?,
        size: wanted.size,
    })
}

/// What was sent and what came back.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Statistics {
    /// Network whose gateway asked.
    pub network: String,
    /// Its address.
    pub source: String,
    /// Who was asked.
    pub target: String,
    /// Requests, those that could not be sent included.
    pub transmitted: u32,
    /// Answers, without duplicates.
    pub received: u32,
    /// Answers that came a second time.
    pub duplicates: u32,
    /// Errors instead of answers.
    pub errors: u32,
    /// Round trips, nanoseconds, in the order of arrival.
    pub rtt_ns: Vec<u64>,
}

impl Statistics {
    /// Of requests to `target`.
    #[must_use]
    pub fn to(target: &str) -> Self {
        Self { target: target.to_owned(), ..Self::default() }
    }

    /// Counts an event, and says it in a line; of one that ping(8) says nothing of, nothing.
    pub fn take(&mut self, event: &proto::PingEvent) -> String {
        let mut text = String::new();
        self.transmitted = self.transmitted.max(event.transmitted);
        if let Some(started) = &event.started {
            (self.network, self.source) = (started.network.clone(), started.source.clone());
            let _ = writeln!(
                text,
                "PING {} from {} {}: {} data bytes",
                self.target, started.source, started.network, started.size
            );
        }
        if let Some(reply) = &event.reply {
            if reply.duplicate {
                self.duplicates += 1;
            } else {
                self.received += 1;
                self.rtt_ns.push(reply.rtt_ns);
            }
            let again = if reply.duplicate { " (DUP!)" } else { "" };
            let time = if reply.duplicate {
                String::new()
            } else {
                format!(" time={} ms", milliseconds(reply.rtt_ns))
            };
            let (length, seq, ttl) = (reply.length, reply.seq, reply.ttl);
            let _ =
                writeln!(text, "{length} bytes from {}: icmp_seq={seq} ttl={ttl}{time}{again}", self.target);
        }
        if let Some(failure) = &event.failure {
            self.errors += 1;
            let reason =
                if failure.reason.is_empty() { String::new() } else { format!("{}: ", failure.reason) };
            let _ = writeln!(text, "From {} icmp_seq={} {reason}{}", failure.from, failure.seq, failure.text);
        }
        text
    }

    /// The lines at the end. `took` is the time since the beginning.
    #[must_use]
    pub fn summary(&self, took: Duration) -> String {
        let mut text = format!("\n--- {} ping statistics ---\n", self.target);
        let mut parts =
            vec![format!("{} packets transmitted", self.transmitted), format!("{} received", self.received)];
        if self.duplicates > 0 {
            parts.push(format!("+{} duplicates", self.duplicates));
        }
        if self.errors > 0 {
            parts.push(format!("+{} errors", self.errors));
        }
        let lost = self.transmitted.saturating_sub(self.received);
        let percent =
            if self.transmitted == 0 { 0 } else { 100 * u64::from(lost) / u64::from(self.transmitted) };
        parts.push(format!("{percent}% packet loss"));
        parts.push(format!("time {} ms", took.as_millis()));
        let _ = writeln!(text, "{}", parts.join(", "));
        let (least, most) = (self.rtt_ns.iter().min(), self.rtt_ns.iter().max());
        if let (Some(least), Some(most)) = (least, most) {
            let count = self.rtt_ns.len() as f64;
            let mean = self.rtt_ns.iter().map(|rtt| *rtt as f64).sum::<f64>() / count;
            let squares = self.rtt_ns.iter().map(|rtt| (*rtt as f64 - mean).powi(2)).sum::<f64>() / count;
            let [least, mean, most, deviation] =
                [*least, mean.round() as u64, *most, squares.sqrt().round() as u64].map(milliseconds);
            let _ = writeln!(text, "rtt min/avg/max/mdev = {least}/{mean}/{most}/{deviation} ms");
        }
        text
    }
}

/// With three digits behind the point, as ping(8) below ten milliseconds.
fn milliseconds(nanoseconds: u64) -> String {
    format!("{}.{:03}", nanoseconds / 1_000_000, nanoseconds / 1000 % 1000)
}

/// Pings until it is over or interrupted. An answer is success.
pub(super) async fn run(client: &mut Client, request: proto::PingRequest, json: bool) -> Result<(), Failure> {
    let target = request.address.clone();
    let mut seen = Statistics::to(&target);
    let started = Instant::now();
    // What the daemon finds wrong has no place in a file to begin with.
    let named = |failure: Failure| match failure.message.strip_prefix("shunt: ") {
        Some(_) => failure,
        None => Failure { message: format!("shunt: {}", failure.message), ..failure },
    };
    let mut feed = Feed::of(client.ping(request).await.map_err(named)?)?;
    while let Some(event) = feed.next(client).await? {
        let text = seen.take(&event);
        if !json {
            print(text.as_bytes())?;
        }
    }
    super::output(json, &seen, || seen.summary(started.elapsed()))?;
    if seen.received > 0 { Ok(()) } else { Err(Failure::refused(format!("ping: no answer from {target}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(seq: u32, rtt_ns: u64, duplicate: bool) -> proto::PingEvent {
        let reply = proto::PingReply { seq, ttl: 63, rtt_ns, length: 64, duplicate };
        proto::PingEvent { reply: Some(reply), transmitted: seq, ..proto::PingEvent::default() }
    }

    #[test]
    fn what_is_printed_is_that_of_ping() {
        let mut seen = Statistics::to("10.20.6.10");
        let started = proto::PingStarted { network: "vxlan.2".into(), source: "10.20.9.0".into(), size: 56 };
        let started = proto::PingEvent { started: Some(started), ..proto::PingEvent::default() };
        let failure = proto::PingFailure {
            seq: 3,
            from: "10.20.9.0".into(),
            reason: "no_route".into(),
            text: "No route".into(),
        };
        let failure =
            proto::PingEvent { failure: Some(failure), transmitted: 3, ..proto::PingEvent::default() };
        let events =
            [started, reply(1, 1_234_567, false), reply(2, 765_433, false), reply(2, 0, true), failure];
        let text: String = events.iter().map(|event| seen.take(event)).collect();
        assert_eq!(
            text,
            "PING 10.20.6.10 from 10.20.9.0 vxlan.2: 56 data bytes\n\
             64 bytes from 10.20.6.10: icmp_seq=1 ttl=63 time=1.234 ms\n\
             64 bytes from 10.20.6.10: icmp_seq=2 ttl=63 time=0.765 ms\n\
             64 bytes from 10.20.6.10: icmp_seq=2 ttl=63 (DUP!)\n\
             From 10.20.9.0 icmp_seq=3 no_route: No route\n"
        );
        assert_eq!(
            seen.summary(Duration::from_millis(2003)),
            "\n--- 10.20.6.10 ping statistics ---\n\
             3 packets transmitted, 2 received, +1 duplicates, +1 errors, 33% packet loss, time 2003 ms\n\
             rtt min/avg/max/mdev = 0.765/1.000/1.234/0.234 ms\n"
        );
        assert_eq!(
            Statistics::to("fd00::1").summary(Duration::ZERO),
            "\n--- fd00::1 ping statistics ---\n0 packets transmitted, 0 received, 0% packet loss, time 0 ms\n"
        );
    }
}
