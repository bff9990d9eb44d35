//! What comes after what: templates by turns, flows by turns, all of it fixed before the first frame.

use anyhow::Result;
use shunt_ffi::Mbuf;

use super::pcap;
use super::scenario::{Order, Scenario};
use super::stamp::Stamp;
use super::template::{Ends, FCS, Flow, Template};

const FIRST_SOURCE: u32 = 1024;
const SOURCES: u32 = 60_000;
const FIRST_DESTINATION: u32 = 5_000;

/// Makes the frames of a scenario one after the other.
#[derive(Debug)]
pub struct Traffic {
    kind: Kind,
    ends: Ends,
}

#[derive(Debug)]
enum Kind {
    Made(Made),
    /// As captured, without stamps.
    Captured {
        frames: Vec<Vec<u8>>,
        next: usize,
    },
}

#[derive(Debug)]
struct Made {
    /// By turns.
    templates: Vec<Template>,
    template: usize,
    /// The order of the flows in a round; empty: one after the other.
    order: Vec<u32>,
    count: u32,
    destinations: u32,
    /// Place in the round, and the flow that is there.
    place: u32,
    here: Flow,
    /// The flow at the first place.
    start: Flow,
    /// Number of the first flow.
    base: u64,
    fresh: bool,
}

impl Traffic {
    /// Prepares the frames of a scenario.
    ///
    /// # Errors
    /// A capture cannot be read.
    pub fn new(scenario: &Scenario) -> Result<Self> {
        let (frames, flows) = (&scenario.frames, &scenario.flows);
        let ends = Ends {
            source_mac: frames.source_mac.0,
            destination_mac: frames.destination_mac.0,
            source4: flows.source4,
            destination4: flows.destination4,
            source6: flows.source6,
            destination6: flows.destination6,
            vlan: frames.vlan,
        };
        if let Some(path) = &frames.pcap {
            return Ok(Self { kind: Kind::Captured { frames: pcap::frames(path)?, next: 0 }, ends });
        }
        let sizes = frames.sizes();
        let templates = frames
            .protocols
            .iter()
            .flat_map(|protocol| sizes.iter().map(|size| Template::new(*size, *protocol, &ends)))
            .collect();
        let order = match flows.order {
            Order::Turns => Vec::new(),
            Order::Shuffled => crate::frames::shuffled(flows.count),
        };
        let mut made = Made {
            templates,
            template: 0,
            order,
            count: flows.count,
            destinations: flows.destinations,
            place: 0,
            here: Flow::default(),
            start: Flow::default(),
            base: 0,
            fresh: flows.fresh,
        };
        made.rewind();
        Ok(Self { kind: Kind::Made(made), ends })
    }

    /// Whether frames carry stamps.
    pub fn stamped(&self) -> bool {
        matches!(self.kind, Kind::Made(_))
    }

    /// Length of the longest frame, without checksum.
    pub fn longest(&self) -> usize {
        match &self.kind {
            Kind::Made(made) => made.templates.iter().map(|template| template.bytes().len()).max(),
            Kind::Captured { frames, .. } => frames.iter().map(Vec::len).max(),
        }
        .unwrap_or(0)
    }

    /// Mean size on the wire, checksum included.
    pub fn mean_size(&self) -> f64 {
        let mean = |sizes: &mut dyn Iterator<Item = usize>| {
            let (sum, count) = sizes.fold((0, 0), |(sum, count), size| (sum + size, count + 1));
            sum as f64 / f64::from(count.max(1))
        };
        match &self.kind {
            Kind::Made(made) => mean(&mut made.templates.iter().map(Template::size)),
            Kind::Captured { frames, .. } => mean(&mut frames.iter().map(|frame| frame.len() + FCS)),
        }
    }

    /// Frames until every flow has come once: the first of a trial that meet cold caches.
    pub fn round(&self) -> u64 {
        match &self.kind {
            Kind::Made(made) => u64::from(made.count),
            Kind::Captured { frames, .. } => frames.len() as u64,
        }
    }

    /// Sizes that were raised because headers and stamp need more: asked for, made.
    pub fn raised(&self, scenario: &Scenario) -> Vec<(usize, usize)> {
        let Kind::Made(made) = &self.kind else { return Vec::new() };
        let sizes = scenario.frames.sizes();
        let mut raised: Vec<(usize, usize)> = sizes
            .iter()
            .cycle()
            .zip(&made.templates)
            .map(|(size, template)| (*size, template.size()))
            .filter(|(wanted, made)| wanted != made)
            .collect();
        raised.sort_unstable();
        raised.dedup();
        raised
    }

    /// Begins a trial: at the first flow, or with flows that did not come before.
    pub fn begin(&mut self, first: bool) {
        match &mut self.kind {
            Kind::Made(made) => {
                if made.fresh && !first {
                    made.base += u64::from(made.count);
                }
                made.template = 0;
                made.rewind();
            }
            Kind::Captured { next, .. } => *next = 0,
        }
    }

    /// Writes the next frame into an empty buffer; false when it does not fit, which the pool's size rules out.
    #[inline]
    pub fn write(&mut self, frame: &mut Mbuf, stamp: Stamp) -> bool {
        match &mut self.kind {
            Kind::Made(made) => {
                let flow = made.next_flow();
                let template = &made.templates[made.template];
                made.template += 1;
                if made.template == made.templates.len() {
                    made.template = 0;
                }
                let fits = frame.append_slice(template.bytes()).is_some();
                if fits {
                    template.patch(frame.data_mut(), flow, stamp);
                }
                fits
            }
            Kind::Captured { frames, next } => {
                let fits = frame.append_slice(&frames[*next]).is_some();
                *next += 1;
                if *next == frames.len() {
                    *next = 0;
                }
                fits
            }
        }
    }

    /// A frame that the receiver sends, so that a switch learns where it is: an IEEE 802 test frame to the sender.
    pub fn announcement(&self) -> [u8; 60] {
        let mut frame = [0; 60];
        frame[..6].copy_from_slice(&self.ends.source_mac);
        frame[6..12].copy_from_slice(&self.ends.destination_mac);
        // Ethertype for local experiments (IEEE 802a).
        frame[12..14].copy_from_slice(&0x88b5_u16.to_be_bytes());
        frame
    }
}

impl Made {
    /// To the first place of the round.
    fn rewind(&mut self) {
        self.place = 0;
        self.start = self.at(0);
        self.here = self.start;
    }

    fn at(&self, place: u32) -> Flow {
        let in_round = self.order.get(place as usize).copied().unwrap_or(place);
        flow(self.base + u64::from(in_round), self.destinations)
    }

    /// The flow that is here, and on to the next: without a division, but in a shuffled round.
    #[inline]
    fn next_flow(&mut self) -> Flow {
        let flow = self.here;
        self.place += 1;
        if self.place == self.count {
            self.place = 0;
            self.here = self.start;
        } else if self.order.is_empty() && self.here.host + 1 < self.destinations {
            self.here.host += 1;
        } else {
            self.here = self.at(self.place);
        }
        flow
    }
}

/// Flow number `number`: destinations first, then source ports, then destination ports.
#[inline]
fn flow(number: u64, destinations: u32) -> Flow {
    let (host, rest) = (number % u64::from(destinations), number / u64::from(destinations));
    let (source, rest) = (rest % u64::from(SOURCES), rest / u64::from(SOURCES));
    let destination = u64::from(FIRST_DESTINATION) + rest % u64::from(SOURCES);
    Flow {
        host: host as u32,
        source: (u64::from(FIRST_SOURCE) + source) as u16,
        destination: destination as u16,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn flows_are_different_and_come_once_a_round() {
        let key = |flow: Flow| (flow.host, flow.source, flow.destination);
        let flows: HashSet<_> = (0..200_000).map(|number| key(flow(number, 3))).collect();
        assert_eq!(flows.len(), 200_000);
        assert!(flows.iter().all(|flow| flow.0 < 3 && flow.1 >= 1024 && flow.2 >= 5000));
    }

    fn made(text: &str) -> Traffic {
        let text = format!("[devices]\ntx = \"a\"\n[fastest]\n{text}");
        Traffic::new(&Scenario::parse(&text, "test").unwrap()).unwrap()
    }

    fn round(traffic: &mut Traffic) -> Vec<Flow> {
        let count = traffic.round();
        let Kind::Made(made) = &mut traffic.kind else { panic!("not made") };
        (0..count).map(|_| made.next_flow()).collect()
    }

    #[test]
    fn a_round_has_every_flow_and_the_next_trial_has_others() {
        for order in ["turns", "shuffled"] {
            let mut traffic = made(&format!("[flows]\ncount = 500\norder = \"{order}\"\n"));
            traffic.begin(true);
            let keys = |flows: Vec<Flow>| -> HashSet<_> {
                flows.iter().map(|flow| (flow.host, flow.source)).collect()
            };
            let first = keys(round(&mut traffic));
            assert_eq!((first.len(), keys(round(&mut traffic)) == first), (500, true));
            traffic.begin(false);
            let second = keys(round(&mut traffic));
            assert!(second.len() == 500 && second.is_disjoint(&first));
        }
    }

    #[test]
    fn imix_is_what_it_says() {
        let traffic = made("[frames]\nmix = \"imix\"\n");
        let mean = (7.0 * 64.0 + 4.0 * 594.0 + 1518.0) / 12.0;
        assert!((traffic.mean_size() - mean).abs() < 1e-9);
        assert_eq!(traffic.longest(), 1514);
    }
}
