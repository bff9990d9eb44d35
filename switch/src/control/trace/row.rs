//! What a trace says: plain rows, the same for text and JSON, and the verdict in words.

use std::net::IpAddr;

use serde::Serialize;

use super::egress::OutputRow;
use super::notes::{About, TableRow};
use super::summary;
use crate::control::flows::words::{self, Names};
use crate::drop::DropReason;
use crate::flow::{Actions, Verdict};
use crate::worker::reporter::Reply;

/// A frame, shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrameRow {
    /// Its bytes, two digits each.
    pub hex: String,
    /// Length, bytes.
    pub length: u32,
    /// Its headers in one line.
    pub summary: String,
}

impl FrameRow {
    pub(super) fn of(frame: &[u8]) -> Self {
        use std::fmt::Write as _;
        let mut hex = String::with_capacity(frame.len() * 2);
        for byte in frame {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self { hex, length: frame.len() as u32, summary: summary::summary(frame) }
    }
}

/// What would become of a frame.
#[derive(Clone, Debug, Serialize)]
pub struct TraceRow {
    /// Generation of the topology that decided.
    pub generation: u64,
    /// Port it comes in by.
    pub port: String,
    /// The network it came into; empty when it was not admitted.
    pub network: String,
    /// Fields that were chosen, with the reason.
    pub assumed: Vec<String>,
    /// The frame as it comes in.
    pub before: FrameRow,
    /// The fields that tell its flow from others.
    pub r#match: String,
    /// The logical tables it went through.
    pub tables: Vec<TableRow>,
    /// Its way from sender to receiver, in the numbered steps of reference 002; none when it was not admitted.
    pub steps: Vec<String>,
    /// What is done to it, in order, the verdict last.
    pub actions: Vec<String>,
    /// The frame as it goes out; `None` when it does not or when nothing changed.
    pub after: Option<FrameRow>,
    /// The verdict in words.
    pub verdict: String,
    /// Name of the reason when it is dropped.
    pub drop: Option<&'static str>,
    /// Ports it would go to.
    pub outputs: Vec<OutputRow>,
    /// The decision holds for every frame of the flow.
    pub cacheable: bool,
    /// What the decision rests on.
    pub rests_on: Vec<String>,
    /// What a real frame would set off besides.
    pub effects: Vec<String>,
    /// Of the notes in `tables` those that are about something.
    #[serde(skip)]
    pub(in crate::control) about: Vec<(About, String)>,
    /// Whom it would ask for, and the network where.
    #[serde(skip)]
    pub(in crate::control) asks: Option<(String, IpAddr)>,
}

impl TraceRow {
    /// A frame of which nothing is known yet.
    pub(super) fn new(generation: u64, port: &str, frame: &[u8]) -> Self {
        Self {
            generation,
            port: port.to_owned(),
            network: String::new(),
            assumed: Vec::new(),
            before: FrameRow::of(frame),
            r#match: String::new(),
            tables: Vec::new(),
            steps: Vec::new(),
            actions: Vec::new(),
            after: None,
            verdict: String::new(),
            drop: None,
            outputs: Vec::new(),
            cacheable: false,
            rests_on: Vec::new(),
            effects: Vec::new(),
            about: Vec::new(),
            asks: None,
        }
    }

    /// Writes down what was decided, and where the frame goes then.
    pub(super) fn decided(&mut self, names: &Names, actions: &Actions, outputs: Vec<OutputRow>) {
        self.actions = words::actions(names, actions);
        let ports: Vec<&str> = outputs.iter().map(|output| output.port.as_str()).collect();
        let ports = if ports.is_empty() { "nobody".to_owned() } else { ports.join(", ") };
        self.verdict = match actions.verdict {
            Verdict::Port(_) => format!("output to {ports}"),
            Verdict::Flood(_) | Verdict::FloodLocal(_) => format!("flood to {ports}"),
            Verdict::FloodInto(network) => format!("flood to {ports} in network {}", names.network(network)),
            Verdict::Reply => format!("reply to {ports}"),
            Verdict::Consume => "taken by the switch itself".to_owned(),
            Verdict::Drop(reason) | Verdict::Reject(reason, _) => return self.dropped(reason),
        };
        self.outputs = outputs;
    }

    /// Writes down that it is dropped for `reason` and `reply`, made of it, goes back out of `outputs`; that alone, when the
    /// reply is the echo that it asks for.
    pub(super) fn answered(
        &mut self,
        reason: DropReason,
        reply: Reply,
        frame: &[u8],
        outputs: Vec<OutputRow>,
    ) {
        match reply {
            Reply::Echo => self.verdict = format!("reply to {}", self.port),
            Reply::Error(error) => {
                self.dropped(reason);
                self.effects
                    .push(format!("tell its sender, unless it was told too much: {}", error.describe()));
            }
            Reply::Reset => {
                self.dropped(reason);
                self.effects.push("tell its sender, unless it was told too much: TCP reset".to_owned());
            }
        }
        self.after = Some(FrameRow::of(frame));
        self.outputs = outputs;
    }

    /// Writes down that it is dropped, whatever was decided before.
    pub(super) fn dropped(&mut self, reason: DropReason) {
        self.drop = Some(reason.name());
        self.verdict = reason_in_words(reason);
        if self.actions.is_empty() {
            self.actions.push(format!("drop({})", reason.name()));
        }
    }
}

/// A drop as verdicts say it.
pub(super) fn reason_in_words(reason: DropReason) -> String {
    format!("drop: {} ({})", reason.name(), reason.describe().trim_end_matches('.'))
}
