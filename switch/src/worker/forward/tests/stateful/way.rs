//! Policies, the route, and the address that a packet leaves with.

use super::frames::{REQUEST, Talk};
use super::model::{Backend, Draft, End, From, Leaves, Opens, Sent, Way};
use super::places::{self, OUTSIDE, address, gateway, network_of};
use super::switch::own_addresses;
use super::world::World;
use crate::drop::DropReason;
use crate::policy::tests::model::{self as specification, Packet as Asked};
use crate::wire::protocol::{ICMP, ICMPV6};

pub(super) fn lost(reason: DropReason) -> Way {
    Way { end: End::Lost(reason), opens: None, backend: None }
}

/// Who is sent back to himself must not see himself as the sender.
pub(super) fn hairpin(sent: &Sent, mut draft: Draft) -> Draft {
    if draft.talk.to == draft.talk.from {
        draft.talk.from = gateway(network_of(sent.station), draft.talk.is_v6());
        draft.guised = true;
    }
    draft
}

pub(super) fn is_inside(world: &World, network: usize) -> bool {
    network != OUTSIDE && world.masquerade[network]
}

/// Where the single port leads that a packet is for.
pub(super) fn forward(world: &World, talk: &Talk) -> Option<Backend> {
    let station = world.forward?;
    places::forwards(talk.is_v6()).into_iter().find_map(|(protocol, external, port, at)| {
        let same = (protocol.number(), external, port) == (talk.protocol, talk.to, talk.ports.1);
        same.then(|| (address(station, talk.is_v6()), at))
    })
}

/// What policies say of a packet: whether they know one of its ends, or why it is dropped.
fn policies(world: &World, sent: &Sent, draft: &Draft, known: Option<bool>) -> Result<bool, DropReason> {
    let (client, server, port) = match known {
        Some(true) => (draft.talk.to, sent.talk.from, sent.talk.ports.0),
        _ => (sent.talk.from, draft.talk.to, draft.talk.ports.1),
    };
    if client == server {
        return Ok(false);
    }
    let (protocol, port) = match (sent.talk.protocol, sent.talk.is_v6()) {
        (ICMP, true) => (ICMPV6, None),
        (ICMP, false) => (ICMP, None),
        (protocol, _) => (protocol, Some(port)),
    };
    match specification::judged(
        &world.cluster,
        &Asked { source: client, destination: server, protocol, port },
    ) {
        (false, _) => Err(DropReason::PolicyEgress),
        (true, false) => Err(DropReason::PolicyIngress),
        (true, true) => {
            Ok([client, server].into_iter().any(|end| specification::is_subject(&world.cluster, end)))
        }
    }
}

/// Policies, the route and who sends; `known` says whether it is an answer, of a connection that there is.
pub(super) fn onward(world: &World, looks: bool, sent: &Sent, mut draft: Draft, known: Option<bool>) -> Way {
    let v6 = sent.talk.is_v6();
    let subject = match looks.then(|| policies(world, sent, &draft, known)).transpose() {
        Ok(subject) => subject.unwrap_or(false),
        Err(reason) => return lost(reason),
    };
    let (mut from, mut pooled) = (From::Own, false);
    // An echo's identifier is no port.
    let left = if world.ports && sent.talk.protocol != ICMP { From::Ranged } else { From::Shared };
    let (to, routed) = match sent.straight {
        Some(station) => (station, false),
        None => {
            let to = draft.talk.to;
            if world.lends(to) || own_addresses().any(|own| own == draft.talk.to) {
                let end = match sent.talk.protocol == ICMP && sent.talk.ports.1 == REQUEST {
                    // The switch puts nothing together.
                    true if sent.pieces => End::Lost(DropReason::ForSwitch),
                    true => End::Echoed,
                    false => End::Refused(DropReason::ForSwitch),
                };
                return Way { end, opens: None, backend: None };
            }
            let network = match places::subnet_of(draft.talk.to) {
                Some(network) => network,
                None if world.default_route => OUTSIDE,
                None => return lost(DropReason::NoRoute),
            };
            let ingress = network_of(sent.station);
            if network == 0 && world.closed && world.masks(0, ingress) && known.is_none() && !draft.sent_on {
                return lost(DropReason::OverlayNotReachable);
            }
            if known.is_none() && !draft.guised {
                let floats = world.floating.filter(|station| places::address(*station, v6) == sent.talk.from);
                if floats.is_some() && network == OUTSIDE && ingress != OUTSIDE {
                    draft.talk.from = places::floating(v6);
                    draft.rests.floating = Some((places::floating(v6), sent.talk.from));
                    draft.guised = true;
                } else if let [first, ..] = world.sources(sent.talk.from)[..]
                    && network == OUTSIDE
                    && ingress != OUTSIDE
                {
                    draft.talk.from = first;
                    draft.rests.leaves = Leaves::Sourced;
                    draft.guised = true;
                    from = left;
                } else if world.masks(ingress, network) || draft.masked {
                    pooled = world.pool != [false; 2] && network == OUTSIDE && world.masks(ingress, network);
                    draft.talk.from = gateway(network, v6);
                    if pooled {
                        draft.rests.leaves = Leaves::Pooled;
                    }
                    draft.guised = true;
                    // To a backend of a service it leaves with the router's address for the answers' sake.
                    from = if world.masks(ingress, network) { left } else { From::Shared };
                }
            } else if draft.guised {
                from = From::Shared;
            }
            let hop =
                if places::subnet_of(draft.talk.to).is_some() { draft.talk.to } else { places::far(v6) };
            match world.home(hop) {
                Some(station) => (station, true),
                None => return lost(DropReason::NoFdbEntry),
            }
        }
    };
    let opens = known.is_none() && (draft.sent_on || draft.guised || subject);
    Way {
        end: End::Out { to, talk: draft.talk, routed },
        opens: opens.then_some(Opens { from, pooled, rests: draft.rests, stays: draft.stays }),
        backend: None,
    }
}
