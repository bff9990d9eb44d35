//! What the switch tells the sender of a packet that it does not pass on: ICMP errors, TCP resets where nobody answers or a policy says no,
//! and answers to echo requests.
//!
//! In: a packet, why it goes nowhere, the ingress network, whose gateway speaks. Out: the frame to send back, or silence:
//! about what nobody may be told of (RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 e), and beyond the rate (RFC 1812
//! section 4.3.2.8, RFC 4443 section 2.4 f). Cost: one copy of at most 1,280 bytes for an error; an echo reply is made in
//! place.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use shunt_config::IpNet;
use shunt_ffi::{Mbuf, clock};

use crate::counters::WorkerCounters;
use crate::flow::key::{Fragment, L3};
use crate::flow::parse::Layout;
use crate::flow::{Answer, FlowKey};
use crate::ids::{MAX_PORTS, PortId};
use crate::pipeline::Ingress;
use crate::topology::Gateway;
use crate::wire::protocol::{ICMP, ICMPV6, TCP, UDP};
use crate::wire::{ethernet, icmp, reset};

/// Bytes of an IPv6 header.
const IPV6: u16 = 40;
/// Senders that are told apart; those that share a place share its rate. A power of two.
const PLACES: usize = 1024;

/// What a packet is answered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Its own echo.
    Echo,
    /// An error about it.
    Error(icmp::Error),
    /// The end of the TCP connection that it is of, or was to open.
    Reset,
}

impl Reply {
    /// What answers the packet with `key`, the first bytes of whose frame are `data`; `None` for silence.
    pub(crate) fn to(
        answer: Answer,
        ingress: &Ingress<'_>,
        key: &FlowKey,
        layout: Layout,
        data: &[u8],
    ) -> Option<Self> {
        let error = match answer {
            Answer::NoRoute => icmp::Error::NoRoute,
            Answer::NoHost => icmp::Error::NoHost,
            // Most senders only make a note of an ICMP error.
            Answer::Prohibited | Answer::Own if may_be_reset(key) => {
                return may_be_told(ingress, key).then_some(Self::Reset);
            }
            Answer::Prohibited => icmp::Error::Prohibited,
            Answer::Expired => icmp::Error::Expired,
            Answer::Own => match (key.protocol(), key.marks().l3) {
                (ICMP, L3::Ipv4) | (ICMPV6, L3::Ipv6) => {
                    let wanted = if key.protocol() == ICMP { 8 } else { 128 };
                    let whole = key.marks().fragment == Fragment::Whole;
                    let asks = whole && message(layout, data) == Some(wanted);
                    return (asks && may_be_told(ingress, key)).then_some(Self::Echo);
                }
                // TCP is reset, where it can be.
                (TCP | UDP, _) => icmp::Error::NoPort,
                // The error says where the protocol's number is, which is one place only without extension headers.
                (_, L3::Ipv6) if layout.l4 != layout.l3 + IPV6 => return None,
                _ => icmp::Error::NoProtocol,
            },
        };
        Self::error(error, ingress, key, layout, data)
    }

    /// `error`, when one may be sent about the packet.
    pub(crate) fn error(
        error: icmp::Error,
        ingress: &Ingress<'_>,
        key: &FlowKey,
        layout: Layout,
        data: &[u8],
    ) -> Option<Self> {
        // About an error there is no error, nor about a message of which it cannot be told.
        let is_error = match (key.protocol(), key.marks().l3) {
            _ if key.marks().fragment == Fragment::Later => true,
            (ICMP, L3::Ipv4) => message(layout, data).is_none_or(icmp::is_error_v4),
            (ICMPV6, L3::Ipv6) => message(layout, data).is_none_or(icmp::is_error_v6),
            _ => false,
        };
        (!is_error && may_be_told(ingress, key)).then_some(Self::Error(error))
    }

    /// Makes `frame` into the reply, to be sent back where it came from. `None` when that cannot be: the gateway has no
    /// address of the packet's family, or the frame is not what its key says.
    pub(crate) fn write(
        self,
        ingress: &Ingress<'_>,
        key: &FlowKey,
        layout: Layout,
        frame: &mut Mbuf,
    ) -> Option<()> {
        let gateway = ingress.network.gateway.as_ref()?;
        let at = usize::from(layout.l3);
        match self {
            Self::Echo => {
                let data = frame.data_mut();
                let packet = data.get_mut(at..)?;
                match key.marks().l3 {
                    L3::Ipv6 => icmp::echo_v6(packet, usize::from(layout.l4 - layout.l3))?,
                    _ => icmp::echo_v4(packet)?,
                }
                ethernet::set_addresses(data, key.src(), gateway.mac);
                Some(())
            }
            Self::Error(error) => {
                let message = error_about(error, ingress, gateway, key, at, frame)?;
                frame.clear_offload();
                frame.replace(message.bytes())
            }
            Self::Reset => {
                let message = refusal(gateway, key, layout, frame)?;
                frame.clear_offload();
                frame.replace(message.bytes())
            }
        }
    }
}

/// True for a TCP packet whose header is there to be answered.
fn may_be_reset(key: &FlowKey) -> bool {
    key.protocol() == TCP
        && matches!(key.marks().l3, L3::Ipv4 | L3::Ipv6)
        && key.marks().fragment == Fragment::Whole
}

/// Type of the ICMP message.
fn message(layout: Layout, data: &[u8]) -> Option<u8> {
    if layout.l4 == 0 { None } else { data.get(usize::from(layout.l4)).copied() }
}

/// True when the sender is one station that a message can reach.
fn may_be_told(ingress: &Ingress<'_>, key: &FlowKey) -> bool {
    let Some((source, destination)) = key.addresses() else { return false };
    let Some(gateway) = &ingress.network.gateway else { return false };
    let nobody = match source {
        // "This network", loopback, multicast, class E with the limited broadcast (RFC 1812 section 4.3.2.7).
        IpAddr::V4(v4) => matches!(v4.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_loopback() || v6.is_multicast(),
    };
    !nobody
        && !destination.is_multicast()
        && destination != IpAddr::V4(Ipv4Addr::BROADCAST)
        && !key.dst().is_group()
        && !gateway.owns(source)
        && !is_subnet_broadcast(gateway, source)
}

/// True for the broadcast address of one of the gateway's subnets.
fn is_subnet_broadcast(gateway: &Gateway, address: IpAddr) -> bool {
    address.is_ipv4()
        && gateway.addresses.iter().any(|(own, len)| {
            // A subnet of two addresses or of one has none (RFC 3021).
            *len < 31 && IpNet::new(*own, *len).is_ok_and(|subnet| subnet.broadcast() == address)
        })
}

/// Whom an error to `to` is from: the gateway in his subnet, or in none. To who is behind a peer it is an address that this node
/// alone has, where it has one: every node has the gateway's, so the peer believes nobody else who speaks as that.
fn speaker(ingress: &Ingress<'_>, gateway: &Gateway, to: IpAddr) -> Option<IpAddr> {
    let mut ours = gateway.addresses.iter().filter(|(own, _)| own.is_ipv4() == to.is_ipv4());
    let whole = if to.is_ipv4() { 32 } else { 128 };
    // It is the last one (`control/routes.rs`).
    let alone = ours.clone().next_back().filter(|(_, length)| ingress.peer.is_some() && *length == whole);
    let (own, _) = alone.or_else(|| ours.next())?;
    if alone.is_some() { Some(*own) } else { gateway.source_for(to).or(Some(*own)) }
}

/// The frame with `error` about the packet `at` bytes into `frame`.
fn error_about(
    error: icmp::Error,
    ingress: &Ingress<'_>,
    gateway: &Gateway,
    key: &FlowKey,
    at: usize,
    frame: &Mbuf,
) -> Option<icmp::Frame> {
    let (to, _) = key.addresses()?;
    let from = speaker(ingress, gateway, to)?;
    let (header, packet) = frame.data().split_at_checked(at)?;
    let link = icmp::Link { header, to: key.src(), from: gateway.mac };
    let pieces = std::iter::once(packet).chain(frame.segments().skip(1));
    let length = length(packet, from.is_ipv6(), frame.len() as usize - at)?;
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => icmp::error_v4(error, &link, (from, to), pieces, length),
        (IpAddr::V6(from), IpAddr::V6(to)) => icmp::error_v6(error, &link, (from, to), pieces, length),
        _ => None,
    }
}

/// How long `packet` says it is, bytes, but no longer than the `there` that there are: what is behind is padding.
fn length(packet: &[u8], six: bool, there: usize) -> Option<usize> {
    let (field, header) = if six { (4, usize::from(IPV6)) } else { (2, 0) };
    let said = usize::from(u16::from_be_bytes(*packet.get(field..)?.first_chunk()?)) + header;
    // Of a frame that is still to be cut the field may be zero.
    Some(if said > header { said.min(there) } else { there })
}

/// The frame with the reset that answers the TCP segment in `frame`, from the address that it was sent to.
fn refusal(gateway: &Gateway, key: &FlowKey, layout: Layout, frame: &Mbuf) -> Option<reset::Frame> {
    let at = usize::from(layout.l3);
    let (header, packet) = frame.data().split_at_checked(at)?;
    let link = icmp::Link { header, to: key.src(), from: gateway.mac };
    let segment = usize::from(layout.l4.checked_sub(layout.l3)?);
    let six = key.marks().l3 == L3::Ipv6;
    let length = length(packet, six, frame.len() as usize - at)?;
    if six { reset::v6(&link, packet, segment, length) } else { reset::v4(&link, packet, segment, length) }
}

/// How many messages are sent: to a sender, and out of a port.
#[derive(Debug)]
struct Limiter {
    senders: Box<[u64; PLACES]>,
    ports: Box<[u64; MAX_PORTS]>,
    sender: Rate,
    port: Rate,
}

/// So many messages at once, and then one each `interval` cycles.
#[derive(Clone, Copy, Debug)]
struct Rate {
    interval: u64,
    burst: u64,
}

impl Rate {
    fn new(per_second: u32, burst: u64) -> Self {
        let interval = clock::cycles(Duration::from_secs(1) / per_second).max(1);
        Self { interval, burst: burst * interval }
    }

    /// A token bucket in one number: until when all tokens are spent. `None` when there is none.
    fn take(self, until: u64, now: u64) -> Option<u64> {
        let next = until.max(now) + self.interval;
        (next - now <= self.burst).then_some(next)
    }
}

impl Limiter {
    fn new(sender: Rate, port: Rate) -> Self {
        Self { senders: Box::new([0; PLACES]), ports: Box::new([0; MAX_PORTS]), sender, port }
    }

    /// True when one more may be sent to `sender` behind `port`. The port's own limit keeps one tenant that makes up senders
    /// from using up the places of all others.
    fn allows(&mut self, port: PortId, sender: IpAddr) -> bool {
        let bits = match sender {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() ^ v6.to_bits() >> 64) as u64,
        };
        let mixed = (bits ^ (port.index() as u64) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = (mixed >> (64 - PLACES.trailing_zeros())) as usize;
        let (Some(of_sender), Some(of_port)) =
            (self.senders.get_mut(place), self.ports.get_mut(port.index()))
        else {
            return false;
        };
        let now = clock::tsc();
        match (self.sender.take(*of_sender, now), self.port.take(*of_port, now)) {
            (Some(sender), Some(port)) => {
                (*of_sender, *of_port) = (sender, port);
                true
            }
            _ => false,
        }
    }
}

/// One worker's voice.
#[derive(Debug)]
pub(super) struct Reporter {
    errors: Limiter,
    echoes: Limiter,
    counters: Arc<WorkerCounters>,
}

impl Reporter {
    pub(super) fn new(counters: Arc<WorkerCounters>) -> Self {
        Self {
            errors: Limiter::new(Rate::new(100, 50), Rate::new(1_000, 200)),
            echoes: Limiter::new(Rate::new(1_000, 200), Rate::new(10_000, 1_000)),
            counters,
        }
    }

    /// Makes `frame` into `reply`, if its sender was not told too much already.
    #[cold]
    pub(super) fn speak(
        &mut self,
        reply: Reply,
        ingress: &Ingress<'_>,
        key: &FlowKey,
        layout: Layout,
        mut frame: Mbuf,
    ) -> Option<Mbuf> {
        let (sender, _) = key.addresses()?;
        let limiter = if reply == Reply::Echo { &mut self.echoes } else { &mut self.errors };
        if !limiter.allows(ingress.port.id, sender) {
            self.counters.time.replies_limited.add(1);
            return None;
        }
        reply.write(ingress, key, layout, &mut frame)?;
        self.counters.time.replies.add(1);
        Some(frame)
    }
}

#[cfg(test)]
mod tests;
