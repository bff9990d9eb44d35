//! Where a frame goes: one made-up or captured frame through the running topology, by the functions that forward.
//!
//! [`parse_frame`], [`pipeline::run`] with an observer that writes down every step, [`execute::edit`] on a buffer of the pool,
//! then what the output stage would say. It runs on the control thread against the newest topology. Nothing is sent,
//! learned or asked for. Cost: some ten microseconds, and one buffer for as long.
//!
//! | file | does |
//! |---|---|
//! | [`fields`] | the fields that an expression may name |
//! | [`expression`] | text -> values without contradictions |
//! | `choose` | values for what the expression leaves open |
//! | [`compose`] | values -> frame |
//! | `notes` | the observer |
//! | `egress` | what the output stage makes of the verdict |
//! | `steps` | the way in the numbered steps of reference 002 |
//! | `row` | what is said of it |
//! | [`summary`] | a frame's headers in one line |

mod choose;
pub mod compose;
mod egress;
pub mod expression;
pub mod fields;
mod notes;
mod row;
mod steps;
pub mod summary;

use std::net::IpAddr;

use shunt_ffi::Mbuf;

use super::Control;
use super::flows::{port_named, words};
use super::ports::PortState;
use crate::drop::DropReason;
use crate::encap;
use crate::flow::parse::{Unparsed, parse_frame};
use crate::flow::{Verdict, execute};
use crate::ids::PortId;
use crate::pipeline::{self, Ingress, Packet, Teach, ingress as stage};
use crate::topology::Topology;
use crate::topology::stamps::Dependencies;
use crate::wire::ethernet::Mac;
use crate::wire::{arp, icmp, nd};
use crate::worker::forward::fit::{self, Fit};
use crate::worker::reporter::Reply;
pub use egress::OutputRow;
use expression::{ExpressionError, Probe};
use notes::Notes;
pub use notes::{About, TableRow};
pub use row::{FrameRow, TraceRow};
use steps::{Journey, Steps};

/// Longest frame that is traced, bytes.
pub const LONGEST: usize = 65_535;

/// Stations that no decision asks for: group addresses. Each has the slot of some row; both have that of one row hardly ever.
const STRANGERS: [Mac; 2] = [Mac(0x01), Mac(0x1_0001)];

/// What is traced.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A frame with these fields; what is left open is chosen.
    Made(Probe),
    /// These bytes, from the Ethernet header on, without FCS.
    Raw(Vec<u8>),
}

/// Why nothing was traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// There is no such port.
    #[error("there is no port {0:?}; `shunt show ports` lists them")]
    NoPort(String),
    /// The frame cannot be made.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// The frame is longer than any that a port delivers.
    #[error("the frame has {0} bytes; at most {LONGEST} can be traced")]
    TooLong(usize),
    /// The pool is exhausted.
    #[error("no free buffer in the pool; try again, or raise `mbufs` under [memory]")]
    NoBuffers,
}

impl Control {
    /// Walks `frame`, as if it came in by `port`, through the running topology.
    ///
    /// # Errors
    /// There is no such port, the frame cannot be made, or there is no buffer for it. That a frame is dropped is none.
    pub fn trace(&mut self, port: &str, frame: Frame) -> Result<TraceRow, TraceError> {
        let (links, now) = (self.links(), self.now());
        let topology = self.publisher.current();
        let id = pod_named(topology, port).ok_or_else(|| TraceError::NoPort(port.to_owned()))?;
        let mut assumed = Vec::new();
        let bytes = match frame {
            Frame::Raw(bytes) => bytes,
            Frame::Made(mut probe) => {
                if let Some(ingress) = ingress(topology, id, probe.vlan()) {
                    assumed = choose::choose(&mut probe, &ingress)?;
                }
                compose::compose(&probe)?
            }
        };
        if bytes.len() > LONGEST {
            return Err(TraceError::TooLong(bytes.len()));
        }
        let mut mbuf = self.site.pool.frame(&bytes).ok_or(TraceError::NoBuffers)?;
        let name = topology.port(id).map_or(port, |port| port.name.as_str());
        let mut row = TraceRow::new(topology.generation(), name, &bytes);
        row.assumed = assumed;
        let mut steps = Steps::default();
        if let Err(reason) = row.walk(topology, id, &mut mbuf, now, &mut steps) {
            row.dropped(reason);
        } else if row.drop.is_none() && row.after.is_none() {
            let out = mbuf.to_vec();
            row.after = (out != bytes).then(|| FrameRow::of(&out));
        }
        let mut hash = None;
        for output in &mut row.outputs {
            output.mind_link(&links);
        }
        // Of what is flooded each copy has a tag of its own, and may have a way of its own.
        if let [output] = &mut row.outputs[..] {
            let of = self.ports.iter().find(|port| port.config.name == *output.port);
            if let Some(bond) = of.and_then(PortState::bond) {
                let choice = bond.choose(mbuf.data());
                hash = Some(choice.hash);
                output.leaves_by(&choice);
            }
        }
        row.steps = steps.end(&row, hash);
        Ok(row)
    }

    /// Names of the ports with nobody behind them.
    fn links(&mut self) -> Vec<String> {
        self.ports().into_iter().filter(|port| port.oper_up && !port.link).map(|port| port.name).collect()
    }
}

/// Port and network of a frame with the tag `vid`, whether the port is up or not.
fn ingress(topology: &Topology, id: PortId, vid: Option<u16>) -> Option<Ingress<'_>> {
    let port = topology.port(id)?;
    let network = port.vlans.as_ref().and_then(|vlans| vlans.network(vid)).unwrap_or(port.network);
    Some(Ingress { port, network: topology.network(network)?, tag: vid, peer: None })
}

/// The port of this name; of `NS/POD`, which no port's name can be, that of the pod's.
fn pod_named(topology: &Topology, name: &str) -> Option<PortId> {
    let pod = || name.rsplit_once('/').and_then(|(_, pod)| port_named(topology, pod));
    port_named(topology, name).or_else(pod)
}

impl TraceRow {
    /// What `worker/forward.rs` does to one frame, with everything written down.
    fn walk(
        &mut self,
        topology: &Topology,
        id: PortId,
        frame: &mut Mbuf,
        now: u32,
        steps: &mut Steps,
    ) -> Result<(), DropReason> {
        let inlet = topology.inlet(id);
        if !inlet.up {
            return Err(DropReason::IngressDown);
        }
        let parsed = parse_frame(topology.openers(id), frame, id, inlet.depth);
        let (key, layout, inner) = parsed.map_err(|error| match error {
            Unparsed::Runt => DropReason::Runt,
            Unparsed::Split => DropReason::HeadersSplit,
            Unparsed::Refused(reason) => reason,
        })?;
        if let Some(inner) = inner {
            encap::decapsulate(frame, &inner, Mac(0), Mac(0))?;
        }
        self.r#match = words::key(&key);
        let ingress = Ingress::of(topology, &key)?;
        self.network = ingress.network.name.to_string();
        let mut notes = Notes::new(ingress.network);
        let second = untouched(&ingress, frame.data(), now);
        let tag = if ingress.tag.is_some() { 4 } else { 0 };
        let subject = steps::subject(&key, frame.data().get(tag..).unwrap_or_default());
        let mut packet = Packet::new(frame, &key, layout, second);
        let actions = pipeline::run(topology, &mut packet, &mut notes);
        self.cacheable = packet.is_cacheable();
        let (rests_on, question) = (packet.rests_on, packet.question);
        let teach = match packet.teach {
            Teach::Nothing => {
                // Learning touches the row, too: with its own second.
                let row = ingress.network.fdb.get(key.src());
                stage::learn(&ingress, &key, row.map_or(now, |row| row.last_seen()))
            }
            lesson => lesson,
        };
        notes.stations.extend([key.src(), key.dst()]);
        notes.addresses.extend(key.addresses().map(|(_, destination)| destination));
        self.rests_on = rests(topology, &ingress, &rests_on, &notes);
        *steps = Journey { topology, ingress, key: &key, subject }.steps(&notes, &actions);
        self.tables = notes.tables;
        self.about = notes.about;

        let source = words::mac(key.src());
        let learned = |what: String| format!("learn that {what} is behind {}", ingress.port.name);
        self.effects.extend(match teach {
            Teach::Neighbor(address, mac) => Some(learned(format!("{address} at {}", words::mac(mac)))),
            Teach::Source => Some(learned(source)),
            Teach::Nothing => None,
        });
        if let Some(question) = question {
            let network = topology.network(question.network).map_or("?", |network| network.name.as_str());
            self.asks = Some((network.to_owned(), question.target));
            self.effects.push(format!(
                "ask who has {} in network {network}, for {}",
                question.target, question.source
            ));
        }
        let refused = match (actions.verdict, fit::judge(actions.mtu, &key, layout, frame)) {
            (Verdict::Reject(reason, answer), _) => {
                Some((reason, Reply::to(answer, &ingress, &key, layout, frame.data())))
            }
            (_, Fit::TooBig) => {
                let error = icmp::Error::TooBig(actions.mtu);
                Some((DropReason::TooBig, Reply::error(error, &ingress, &key, layout, frame.data())))
            }
            (_, Fit::Fragments) => {
                self.effects.push(format!("cut it into fragments for an MTU of {}", actions.mtu));
                None
            }
            (_, Fit::Fits | Fit::Segments(_)) => None,
        };
        if let Some((reason, reply)) = refused {
            self.actions = words::actions(&words::Names::of(topology), &actions);
            let reply = reply.filter(|reply| reply.write(&ingress, &key, layout, frame).is_some());
            let Some(reply) = reply else { return Err(reason) };
            if reply == Reply::Echo {
                steps.answer("the echo reply, for an address of the switch");
            }
            let outputs = egress::outputs(topology, id, Verdict::Reply, frame);
            self.answered(reason, reply, &frame.to_vec(), outputs);
            return Ok(());
        }
        if !matches!(actions.verdict, Verdict::Drop(_)) && !actions.edits.is_none() {
            execute::edit(&actions, layout, topology.rewrites(), frame)?;
        }
        let outputs = egress::outputs(topology, id, actions.verdict, frame);
        let alone =
            outputs.is_empty() && matches!(actions.verdict, Verdict::Flood(_) | Verdict::FloodLocal(_));
        self.decided(&words::Names::of(topology), &actions, outputs);
        if alone { Err(DropReason::NoReceiver) } else { Ok(()) }
    }
}

/// The second to walk the stages in: they confirm the neighbour that an ARP or ND message speaks of, by writing the second
/// to its row. With the one that is there already, a trace leaves no trace.
fn untouched(ingress: &Ingress<'_>, frame: &[u8], now: u32) -> u32 {
    let address = arp::parse(frame).map(|message| IpAddr::from(message.sender_ip)).or_else(|| {
        nd::parse(frame)
            .map(|message| if message.solicitation { message.source } else { message.target }.into())
    });
    let row = address.and_then(|address| ingress.network.neighbors.iter().find(|row| row.address == address));
    row.map_or(now, |row| row.last_seen)
}

/// What a decision rests on, in words: rows that were looked up and whose slots are among `rests_on`.
fn rests(
    topology: &Topology,
    ingress: &Ingress<'_>,
    rests_on: &Dependencies,
    notes: &Notes<'_>,
) -> Vec<String> {
    let mut words = vec![format!("port {}", ingress.port.name), format!("network {}", ingress.network.name)];
    // Adding a slot that is held already changes nothing.
    let holds = |add: &dyn Fn(&mut Dependencies)| {
        let mut with = *rests_on;
        add(&mut with);
        with == *rests_on
    };
    // More rows than there are slots for: it is made anew after every publication.
    if STRANGERS.iter().all(|mac| holds(&|all| all.station(ingress.network.id, *mac))) {
        words.push("anything else".to_owned());
        return words;
    }
    for network in topology.networks() {
        for mac in &notes.stations {
            if holds(&|all| all.station(network.id, *mac)) {
                words.push(format!("station {} in {}", words::mac(*mac), network.name));
            }
        }
        for address in &notes.addresses {
            if holds(&|all| all.neighbor(network.id, *address)) {
                words.push(format!("neighbour {address} in {}", network.name));
            }
        }
    }
    words
}
