//! Connections as messages.

use std::net::IpAddr;

use tonic::Status;

use super::proto;
use crate::control::{ConnectionRow, Which};
use crate::state::connection::Traffic;
use crate::state::{Marks, Tuple};
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// Protocols by the names of conntrack(8).
const PROTOCOLS: [(&str, u8); 5] =
    [("tcp", TCP), ("udp", UDP), ("sctp", SCTP), ("icmp", ICMP), ("icmpv6", ICMPV6)];

/// Which connections a caller means.
pub(super) fn which(filter: Option<proto::ConnectionFilter>) -> Result<Which, Status> {
    let proto::ConnectionFilter { protocol, source, destination, source_port, destination_port } =
        filter.unwrap_or_default();
    Ok(Which {
        protocol: number(&protocol)?,
        source: address(&source)?,
        destination: address(&destination)?,
        source_port: port(source_port)?,
        destination_port: port(destination_port)?,
    })
}

fn port(number: u32) -> Result<Option<u16>, Status> {
    let port = u16::try_from(number)
        .map_err(|_| Status::invalid_argument(format!("{number} is no port; use 1 to 65535")))?;
    Ok((port != 0).then_some(port))
}

fn number(protocol: &str) -> Result<Option<u8>, Status> {
    if protocol.is_empty() {
        return Ok(None);
    }
    let named = PROTOCOLS.iter().find(|(name, _)| *name == protocol).map(|(_, number)| *number);
    named.or_else(|| protocol.parse().ok()).map(Some).ok_or_else(|| {
        Status::invalid_argument(format!(
            "{protocol:?} is no protocol; use tcp, udp, sctp, icmp, icmpv6 or a number"
        ))
    })
}

fn address(text: &str) -> Result<Option<IpAddr>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Status::invalid_argument(format!("{text:?} is no IP address; write one as 10.0.0.1 or fd00::1"))
    })
}

impl From<ConnectionRow> for proto::Connection {
    fn from(row: ConnectionRow) -> Self {
        let ConnectionRow { connection, remaining } = row;
        let number = connection.original.protocol();
        let name = PROTOCOLS.iter().find(|(_, known)| *known == number).map_or("unknown", |(name, _)| *name);
        let [original, reply] = connection.traffic;
        Self {
            protocol: name.to_owned(),
            protocol_number: u32::from(number),
            remaining,
            state: connection.state.name().unwrap_or_default().to_owned(),
            original: Some(way(&connection.original, original)),
            reply: Some(way(&connection.reply, reply)),
            replied: connection.marks.has(Marks::REPLIED) || reply.packets > 0,
            assured: connection.marks.has(Marks::ASSURED),
            zone: u32::from(connection.original.zone()),
        }
    }
}

fn way(tuple: &Tuple, traffic: Traffic) -> proto::Way {
    let parts = tuple.parts();
    let echo = tuple.echo().map(|kind| proto::Echo {
        kind: u32::from(kind >> 8),
        code: u32::from(kind & 0xff),
        id: u32::from(parts.source_port),
    });
    let ported = tuple.has_ports() && echo.is_none();
    let port = |port: u16| ported.then_some(u32::from(port));
    proto::Way {
        source: parts.source.to_string(),
        destination: parts.destination.to_string(),
        source_port: port(parts.source_port),
        destination_port: port(parts.destination_port),
        echo,
        packets: traffic.packets,
        bytes: traffic.bytes,
    }
}
