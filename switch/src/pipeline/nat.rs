//! Static translations (RFC 3022 section 2): table 6 sends what comes to a floating address, or to a single port that is
//! forwarded, to its station; table 17 lets what leaves go with the station's floating address, that of its prefix, one of the pool,
//! or the router's own.

use std::net::{IpAddr, SocketAddr};

use super::Ingress;
use super::observe::{Observe, Step};
use super::packet::{Guise, Opens, Packet, Target};
use crate::drop::DropReason;
use crate::state::Tuple;
use crate::table::nat::Nat;
use crate::topology::{Gateway, Network, Topology};

/// The part of a connection's rule that says what sent it inside: a service, or one of these two; 0 is none.
pub const INWARD: u32 = 0xf;
/// A floating address.
pub const RULE: u32 = 4;
/// A forwarded port.
pub const FORWARD: u32 = 5;
/// The part that says what it leaves with; 0 is its own address, or one of the node's that no router has.
pub const OUTWARD: u32 = 0xf0;
/// The router's own address in some network.
pub const OWN: u32 = 0x10;
/// One of the router's pool.
pub const POOLED: u32 = 0x20;
/// The floating address of its station.
pub const LEAVES: u32 = 0x40;
/// The address of its prefix.
pub const SOURCED: u32 = 0x30;

/// Sends a packet to a floating address, or to a forwarded port, to the station that it stands for.
#[inline]
pub fn inward(
    topology: &Topology,
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<(), DropReason> {
    let Some(gateway) = &ingress.network.gateway else { return Ok(()) };
    let Some(nat) = topology.nat(gateway.router) else { return Ok(()) };
    let known = packet.connection.is_some() || packet.opens.is_some();
    if packet.dst != gateway.mac || known || ingress.has_foreign_tags(packet.key()) {
        return Ok(());
    }
    let Some((source, destination)) = packet.key().addresses() else { return Ok(()) };
    let tuple = ingress.network.zone.and_then(|zone| Tuple::of(packet.key(), zone));
    let (tuple, target, rule) = if let Some(internal) = nat.inward(destination) {
        see.step(Step::Floating(destination, internal));
        (tuple.ok_or(DropReason::Untracked)?, Target { address: internal, port: None }, RULE)
    } else {
        let Some(tuple) = tuple.filter(|tuple| tuple.has_ports() && tuple.echo().is_none()) else {
            return Ok(());
        };
        let external = SocketAddr::new(destination, tuple.destination_port());
        let Some(internal) = nat.forward(tuple.protocol(), external) else { return Ok(()) };
        see.step(Step::Forward(external, internal));
        (tuple, Target { address: internal.ip(), port: Some(internal.port()) }, FORWARD)
    };
    if !tuple.may_open() {
        // The router's own addresses are the node's, too, which may have asked somebody from that port.
        let ours = rule == FORWARD && gateway.owns(destination);
        return if ours { Ok(()) } else { Err(DropReason::InvalidState) };
    }
    // Who asks for himself must not see himself as the sender.
    let own = |address| Guise::own(address, ingress.network.host.is_some());
    let (source, rule) = match source == target.address {
        true => (Some(own(gateway.own(source).ok_or(DropReason::NoMasqueradeAddress)?)), rule | OWN),
        false => (None, rule),
    };
    packet.opens = Some(Opens { destination: Some(target), source, rule, ..Opens::plain(tuple) });
    Ok(())
}

/// Who a new connection of `source` out of the ingress network into `egress`, by way of `hop`, seems to come from; `None` when
/// it is not translated. With it the number of what gives it that address, with which it ends.
#[inline]
pub(super) fn guise(
    topology: &Topology,
    ingress: &Ingress<'_>,
    (egress, gateway): (&Network, &Gateway),
    hop: IpAddr,
    source: IpAddr,
) -> Result<Option<(Guise, u32)>, DropReason> {
    let nat = topology.nat(gateway.router);
    let near = |address: IpAddr| gateway.source_for(address).is_some();
    let floating = nat.and_then(|nat| nat.outward(source)).filter(|external| near(*external));
    if let Some(address) = floating.filter(|_| egress.id != ingress.network.id) {
        return Ok(Some((Guise { address, shared: false, keeps_port: true, ports: None }, LEAVES)));
    }
    let ports = nat.and_then(Nat::ports);
    let sourced = nat.and_then(|nat| nat.sourced(source, near)).filter(|_| egress.id != ingress.network.id);
    if let Some(address) = sourced {
        let shared = egress.host.is_some() && gateway.owns(address);
        return Ok(Some((Guise { ports, ..Guise::own(address, shared) }, SOURCED)));
    }
    if !ingress.network.is_translated_into(egress) {
        return Ok(None);
    }
    if let Some(address) = nat.and_then(|nat| nat.pooled(source, near)) {
        return Ok(Some((Guise { ports, ..Guise::own(address, false) }, POOLED)));
    }
    // A next hop of the other family (RFC 8950) is none that is configured: the address is of its subnet.
    let own = gateway.source_for(hop).filter(|own| own.is_ipv4() == source.is_ipv4());
    let address = own.ok_or(DropReason::NoMasqueradeAddress)?;
    Ok(Some((Guise { ports, ..Guise::own(address, egress.host.is_some()) }, OWN)))
}
