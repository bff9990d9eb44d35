//! How far the frames of a case get: the stages once more, for a copy of each frame that lies in one piece, with an observer.

use std::collections::BTreeSet;

use super::*;
use crate::encap;
use crate::pipeline::{self, Observe, Packet, Step};
use crate::wire::ethernet::Mac;

/// What was seen, in words: `stage NAME`, `matched RULE`, `edit NAME`, `from NETWORK`, `tunnel NETWORK v4`, `drop REASON` and the other
/// verdicts.
pub(in super::super) type Seen = BTreeSet<String>;

/// Plays a case, and says what was seen.
pub(in super::super) fn seen(input: &[u8]) -> Seen {
    Hostile::with(|hostile| {
        hostile.seen = Some(Seen::new());
        let before = hostile.lost();
        hostile.play(input);
        let mut seen = hostile.seen.take().unwrap_or_default();
        let lost = hostile.lost().into_iter().zip(before).zip(DropReason::ALL);
        seen.extend(
            lost.filter(|((after, before), _)| after > before).map(|(_, reason)| reason_seen(*reason)),
        );
        seen
    })
}

fn reason_seen(reason: DropReason) -> String {
    format!("drop {}", reason.name())
}

/// Writes down what the stages say.
struct Writes<'s>(&'s mut Seen);

impl Observe for Writes<'_> {
    fn step(&mut self, step: Step<'_>) {
        let words = match step {
            Step::Table(_, name) => format!("stage {name}"),
            Step::Matched(rule) => format!("matched {rule}"),
            Step::Rewrote(what) => format!("rewrote {what}"),
            Step::Route(_, _, route) => if route.is_some() { "route" } else { "no route" }.to_owned(),
            Step::Neighbor(_, mac) => if mac.is_some() { "neighbor" } else { "no neighbor" }.to_owned(),
            Step::Connection(_) => "connection".to_owned(),
            Step::Service(_) => "service".to_owned(),
            Step::Backend(..) => "backend".to_owned(),
            Step::Floating(..) => "floating".to_owned(),
            Step::Forward(..) => "forward".to_owned(),
            Step::Masquerade(_) => "masquerade".to_owned(),
            Step::Tunnel(topology, overlay, tunnel) => {
                let name =
                    topology.network(overlay.planned.network).map_or("", |network| network.name.as_str());
                let family = if tunnel.remote.is_ipv6() { "v6" } else { "v4" };
                format!("tunnel {name} {family}")
            }
            Step::Verdict(_, verdict) => match verdict {
                Verdict::Drop(reason) | Verdict::Reject(reason, _) => reason_seen(reason),
                Verdict::Port(_) => "port".to_owned(),
                Verdict::Reply => "reply".to_owned(),
                Verdict::Consume => "consume".to_owned(),
                Verdict::Flood(_) => "flood".to_owned(),
                Verdict::FloodLocal(_) => "flood local".to_owned(),
                Verdict::FloodInto(_) => "flood into".to_owned(),
            },
            _ => return,
        };
        self.0.insert(words);
    }
}

impl Hostile {
    /// Drops of all ports, by reason.
    fn lost(&self) -> Vec<u64> {
        let of = |reason: &DropReason| {
            self.ports.iter().map(|port| self.counters.port(*port).drops(*reason)).sum()
        };
        DropReason::ALL.iter().map(of).collect()
    }

    /// Sees what becomes of a frame that is about to be given to the worker.
    pub(super) fn watch(&mut self, port: PortId, bytes: &[u8]) {
        let Some(seen) = &mut self.seen else { return };
        let topology = self.topology;
        let Some(mut frame) = self.pool.frame(bytes) else { return };
        let depth = topology.inlet(port).depth;
        let Ok((key, layout, inner)) = parse_frame(topology.openers(port), &frame, port, depth) else {
            return;
        };
        if let Some(inner) = &inner {
            if encap::decapsulate(&mut frame, inner, Mac(0), Mac(0)).is_err() {
                return;
            }
            if let Ok(ingress) = Ingress::of(topology, &key) {
                seen.insert(format!("from {}", ingress.network.name));
            }
        }
        let mut packet = Packet::new(&mut frame, &key, layout, self.now);
        let actions = pipeline::run(topology, &mut packet, &mut Writes(seen));
        let edits = [
            (Edits::CLAMP_MSS, "mss clamp"),
            (Edits::TRANSLATE, "translate"),
            (Edits::TRACK, "track"),
            (Edits::TTL, "ttl"),
            (Edits::HOP_LIMIT, "hop limit"),
            (Edits::MACS, "macs"),
            (Edits::POP_VLAN, "pop vlan"),
            (Edits::PUSH_VLAN, "push vlan"),
            (Edits::ENCAP, "encap"),
        ];
        let made = edits.into_iter().filter(|(edit, _)| actions.edits.has(*edit));
        seen.extend(made.map(|(_, name)| format!("edit {name}")));
    }
}
