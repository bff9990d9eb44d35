//! ICMP echo with figures, by iputils' `ping`.

use std::time::Duration;

use crate::{LabError, Netns};

/// A series of echo requests.
#[derive(Clone, Debug)]
pub struct Ping<'a> {
    /// Address of the other side, v4 or v6.
    pub to: &'a str,
    /// Requests to send.
    pub count: u32,
    /// Between two requests, in milliseconds (root may go down to 0: as fast as answers come).
    pub interval_ms: u32,
    /// How long the last request waits for its answer, in milliseconds.
    pub wait_ms: u32,
    /// Bytes of ICMP payload (headers add 28 for v4, 48 for v6).
    pub size: u32,
    /// Forbids fragments.
    pub whole: bool,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// Requests sent.
    pub sent: u32,
    /// Answers, without duplicates.
    pub received: u32,
    /// Answers that came more than once.
    pub duplicates: u32,
    /// Round trip of each answer in order of arrival, with its sequence number (from 1).
    pub rtts: Vec<(u32, Duration)>,
}

impl<'a> Ping<'a> {
    /// One request of 56 bytes; the rest by struct update.
    pub fn to(to: &'a str) -> Self {
        Self { to, count: 1, interval_ms: 10, wait_ms: 1000, size: 56, whole: false }
    }

    /// Runs it inside `from`. Missing answers are no error.
    ///
    /// # Errors
    /// When `ping` refuses its arguments or does not end.
    pub fn run(&self, from: &Netns) -> Result<Answers, LabError> {
        let seconds = |ms: u32| format!("{}.{:03}", ms / 1000, ms % 1000);
        let (count, size) = (self.count.to_string(), self.size.to_string());
        let (interval, wait) = (seconds(self.interval_ms), seconds(self.wait_ms));
        let mut argv = vec!["ping", "-n", "-c", &count, "-i", &interval, "-W", &wait, "-s", &size];
        if self.whole {
            argv.extend(["-M", "do"]);
        }
        argv.push(self.to);
        // Without any answer ping waits for each one up to the interval, and for the last one `wait`, or ten times it for v6 resolution.
        let budget = u64::from(self.count) * u64::from(self.interval_ms + 10) + 2 * u64::from(self.wait_ms);
        let cmd = from
            .cmd(&argv)
            .env("LC_ALL", "C")
            .timeout(Duration::from_millis(budget) + Duration::from_secs(10));
        let output = cmd.run()?;
        // 0: answers; 1: none (or fewer than sent); 2: ping itself failed.
        match output.status.code() {
            Some(0 | 1) => parse(&output.stdout),
            _ => Err(LabError::Failed { command: cmd.line(), status: output.status, output: output.stderr }),
        }
    }
}

impl Answers {
    /// Shortest, mean and longest round trip; `None` without answers.
    pub fn min_avg_max(&self) -> Option<(Duration, Duration, Duration)> {
        let times = self.rtts.iter().map(|&(_, t)| t);
        let sum: Duration = times.clone().sum();
        Some((times.clone().min()?, sum / u32::try_from(self.rtts.len()).ok()?, times.max()?))
    }
}

fn parse(text: &str) -> Result<Answers, LabError> {
    let missing = |what| LabError::Parse { what, text: text.to_owned() };
    let rtts = text.lines().filter(|l| !l.contains("DUP!")).filter_map(answer).collect();
    let summary =
        text.lines().find(|l| l.contains("packets transmitted")).ok_or_else(|| missing("ping's summary"))?;
    let number = |label: &str| {
        summary
            .split(", ")
            .find(|part| part.contains(label))
            .and_then(|p| p.trim_start_matches('+').split(' ').next()?.parse().ok())
    };
    Ok(Answers {
        sent: number("transmitted").ok_or_else(|| missing("requests sent"))?,
        received: number("received").ok_or_else(|| missing("answers received"))?,
        duplicates: number("duplicates").unwrap_or(0),
        rtts,
    })
}

fn answer(line: &str) -> Option<(u32, Duration)> {
    let field = |key: &str| line.split(' ').find_map(|w| w.strip_prefix(key));
    let seq = field("icmp_seq=")?.parse().ok()?;
    let ms: f64 = field("time=").or_else(|| field("time<"))?.parse().ok()?;
    Some((seq, Duration::from_secs_f64(ms / 1e3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.
64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=0.062 ms
64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=0.040 ms
64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=0.090 ms (DUP!)

--- 10.0.0.2 ping statistics ---
3 packets transmitted, 2 received, +1 duplicates, 33.3333% packet loss, time 20ms
rtt min/avg/max/mdev = 0.040/0.051/0.062/0.011 ms
";

    #[test]
    fn the_output_of_iputils_is_understood() {
        let got = parse(TEXT).unwrap();
        assert_eq!((got.sent, got.received, got.duplicates), (3, 2, 1));
        let us = Duration::from_micros;
        assert_eq!(got.rtts, [(1, us(62)), (2, us(40))]);
        assert_eq!(got.min_avg_max(), Some((us(40), us(51), us(62))));
    }

    #[test]
    fn no_answer_is_a_result_and_no_summary_an_error() {
        let none = parse("1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms").unwrap();
        assert_eq!((none.received, none.min_avg_max()), (0, None));
        assert!(parse("ping: unknown host").is_err());
    }
}
