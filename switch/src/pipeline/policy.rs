//! Table 8, policy: what a pod of this node may send, and what a pod may receive (KEP-2091, networking.k8s.io/v1). Reads the
//! addresses and ports as table 6 has them, so the backend's and not a service's; writes whether a connection is opened,
//! and what the sender of a forbidden packet is told.
//!
//! A connection is judged as a whole, by who opened it: its answers pass as long as it may be opened. Each packet that is
//! decided anew is judged anew, so connections that are under way stop when a policy forbids them; cached decisions are
//! made anew when what the policies know of one of their ends changes (`topology/stamps.rs`).

use std::net::IpAddr;

use super::observe::{Observe, Step};
use super::packet::{Opens, Packet};
use super::{Ingress, host, related};
use crate::drop::DropReason;
use crate::flow::key::{Fragment, L4};
use crate::flow::{Answer, FlowKey};
use crate::state::{self, Tuple};
use crate::table::policy::{Asked, Direction, Identity, Policies};
use crate::topology::Network;
use crate::wire::protocol::{ICMPV6, SCTP, TCP, UDP};

/// Number of this table in traces and flow dumps.
pub const TABLE: u8 = 8;

/// Who opened a connection, to whom.
#[derive(Clone, Copy, Debug)]
struct Ends {
    client: IpAddr,
    server: IpAddr,
    /// The server's port.
    port: Option<u16>,
    /// The packet is an answer.
    answers: bool,
}

/// Judges a packet by the policies about its ends.
#[inline]
pub fn check(
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<(), DropReason> {
    match &ingress.network.policies {
        None => Ok(()),
        Some(policies) => judge(policies, ingress, packet, see),
    }
}

fn judge(
    policies: &Policies,
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<(), DropReason> {
    let key = packet.key();
    let Some(ends) = ends(packet) else { return Ok(()) };
    if is_neighbourly(key) {
        return Ok(());
    }
    see.step(Step::Table(TABLE, "policy"));
    if packet.connection.is_some() && related::is_error(key) {
        see.step(Step::Noted("an error about a known connection"));
        return Ok(());
    }
    if ends.client == ends.server {
        see.step(Step::Noted("of a pod to itself"));
        return Ok(());
    }
    packet.rests_on.policy(ends.client, ends.server);
    let (client, server) = (policies.get(ends.client), policies.get(ends.server));
    // The node reaches its pods (probes), and they reach it. Who opens a connection as the node must be the node.
    let from_node = policies.is_node(ends.client) && (ends.answers || is_node_port(policies, ingress));
    let sends = client.filter(|_| !policies.is_node(ends.server));
    // What another node lets out it has judged.
    let sends = sends.filter(|_| ends.answers || ingress.peer.is_none());
    let receives = server.filter(|_| !from_node);
    // Also an end that is not judged here may be asked about the answers.
    let with_node = policies.is_node(ends.client) || policies.is_node(ends.server);
    let subject = |end: Option<&Identity>| end.is_some_and(Identity::is_subject);
    let tracked = !with_node && (subject(client) || subject(server));
    if !tracked && !subject(sends) && !subject(receives) {
        see.step(Step::Noted("no policy is about it"));
        return Ok(());
    }
    let marks = key.marks();
    if marks.fragment == Fragment::Later && !marks.gathered {
        return Err(DropReason::Untracked);
    }
    let asked = |peer, peer_identity| Asked {
        peer,
        peer_identity,
        receiver: server,
        protocol: key.protocol(),
        port: ends.port,
    };
    let questions = [
        (Direction::Egress, sends, asked(ends.server, server), DropReason::PolicyEgress),
        (Direction::Ingress, receives, asked(ends.client, client), DropReason::PolicyIngress),
    ];
    for (direction, subject, asked, reason) in questions {
        let Some(side) = subject.and_then(|subject| subject.side(direction)) else { continue };
        let judgement = side.judge(&asked);
        see.step(Step::Policy(direction, &judgement));
        if !judgement.passes() {
            // About an answer nobody is told: who asked hears nothing more.
            let tells = judgement.rejects() && !ends.answers;
            return Err(if tells { packet.reject(reason, Answer::Prohibited) } else { reason });
        }
    }
    open(ingress.network, packet)
}

/// Who opened the packet's connection, or would open one with it; `None` when it is not IP.
fn ends(packet: &Packet<'_>) -> Option<Ends> {
    let key = packet.key();
    let (source, _) = key.addresses()?;
    let has_ports = matches!(key.protocol(), TCP | UDP | SCTP) && key.marks().l4 == L4::Known;
    let (near, _) = key.ports();
    match &packet.connection {
        Some(known) if known.found.direction == state::Direction::Reply => Some(Ends {
            client: known.to.destination(),
            server: source,
            port: has_ports.then_some(near),
            answers: true,
        }),
        _ => Some(Ends {
            client: source,
            server: packet.destination()?,
            port: has_ports.then(|| packet.destination_port()),
            answers: false,
        }),
    }
}

/// True for what neighbours on a link say to each other, without which there is no IPv6: neighbour and router discovery
/// (RFC 4861) and who listens to groups (RFC 2710, RFC 3810).
fn is_neighbourly(key: &FlowKey) -> bool {
    key.protocol() == ICMPV6 && matches!(key.ports().0 >> 8, 130..=136 | 143)
}

/// True when the packet came from the node's own stack.
fn is_node_port(policies: &Policies, ingress: &Ingress<'_>) -> bool {
    let shared = ingress.network.demux.as_ref().and_then(|demux| demux.host);
    let own = shared == Some(ingress.port.id) || policies.is_node_port(ingress.port.id);
    host::is_ingress(ingress) || ingress.peer.is_none() && own
}

/// A packet that may pass, and belongs to no connection, opens one, so that its answers are known.
fn open(network: &Network, packet: &mut Packet<'_>) -> Result<(), DropReason> {
    // What is sent to many has no connection (table 4 looks for none).
    if packet.connection.is_some() || packet.opens.is_some() || packet.dst.is_group() {
        return Ok(());
    }
    let tuple = network.zone.and_then(|zone| Tuple::of(packet.key(), zone));
    // What has no connections, as most ICMP, passes by itself.
    let Some(tuple) = tuple else { return Ok(()) };
    if !tuple.may_open() {
        return Err(DropReason::InvalidState);
    }
    packet.opens = Some(Opens::plain(tuple));
    Ok(())
}
