//! `shunt conntrack`: connections in the text of conntrack(8).

use std::fmt::Write as _;

use super::client::Client;
use super::options::Conntrack;
use super::{Failure, output};
use crate::control::api::proto;

/// What is wrong with a command line by itself.
pub(super) fn check(wanted: &Conntrack) -> Result<(), Failure> {
    let any = wanted.protocol.is_none() && wanted.source.is_none() && wanted.destination.is_none();
    if wanted.delete && any {
        let message = "shunt: -D ends the connections that -p, -s or -d name; to end all, use -F";
        return Err(Failure::bad_input(message));
    }
    Ok(())
}

/// Lists, counts or ends connections.
///
/// # Errors
/// What the daemon refused, or that it is gone.
pub(super) async fn run(client: &mut Client, wanted: &Conntrack, json: bool) -> Result<(), Failure> {
    let filter = Some(proto::ConnectionFilter {
        protocol: wanted.protocol.clone().unwrap_or_default(),
        source: wanted.source.clone().unwrap_or_default(),
        destination: wanted.destination.clone().unwrap_or_default(),
    });
    if wanted.delete || wanted.flush {
        let ended = client.end_connections(proto::EndConnectionsRequest { filter }).await?;
        return output(json, &ended, || format!("{} connections have been ended.\n", ended.count));
    }
    let mut rows = Vec::new();
    let mut from = 0;
    loop {
        let page =
            client.show_connections(proto::ShowConnectionsRequest { filter: filter.clone(), from }).await?;
        rows.extend(page.connections);
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    if wanted.count {
        return output(json, &rows.len(), || format!("{}\n", rows.len()));
    }
    output(json, &rows, || rows.iter().map(line).collect())
}

/// A connection as `conntrack -L` prints it.
#[must_use]
pub fn line(row: &proto::Connection) -> String {
    let mut text = format!("{:<8} {} {} ", row.protocol, row.protocol_number, row.remaining);
    if !row.state.is_empty() {
        text.push_str(&row.state);
        text.push(' ');
    }
    way(&mut text, row.original.as_ref());
    if !row.replied {
        text.push_str("[UNREPLIED] ");
    }
    way(&mut text, row.reply.as_ref());
    if row.assured {
        text.push_str("[ASSURED] ");
    }
    // As the kernel prints what it does not use: a mark, and who holds the entry.
    text.push_str("mark=0 ");
    // A String takes everything.
    let _ = writeln!(text, "zone={} use=1", row.zone);
    text
}

fn way(text: &mut String, way: Option<&proto::Way>) {
    let Some(way) = way else { return };
    let _ = write!(text, "src={} dst={} ", way.source, way.destination);
    if let (Some(source), Some(destination)) = (way.source_port, way.destination_port) {
        let _ = write!(text, "sport={source} dport={destination} ");
    }
    if let Some(echo) = &way.echo {
        let _ = write!(text, "type={} code={} id={} ", echo.kind, echo.code, echo.id);
    }
    let _ = write!(text, "packets={} bytes={} ", way.packets, way.bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_conntrack() {
        let way = |source: &str, destination: &str, ports: Option<(u32, u32)>| proto::Way {
            source: source.into(),
            destination: destination.into(),
            source_port: ports.map(|ports| ports.0),
            destination_port: ports.map(|ports| ports.1),
            packets: 2,
            bytes: 120,
            ..proto::Way::default()
        };
        let tcp = proto::Connection {
            protocol: "tcp".into(),
            protocol_number: 6,
            remaining: 431_999,
            state: "ESTABLISHED".into(),
            original: Some(way("10.16.0.2", "192.0.2.1", Some((40_000, 80)))),
            reply: Some(way("192.0.2.1", "192.168.50.2", Some((80, 1025)))),
            replied: true,
            assured: true,
            zone: 1,
        };
        assert_eq!(
            line(&tcp),
            "tcp      6 431999 ESTABLISHED src=10.16.0.2 dst=192.0.2.1 sport=40000 dport=80 packets=2 bytes=120 \
             src=192.0.2.1 dst=192.168.50.2 sport=80 dport=1025 packets=2 bytes=120 [ASSURED] mark=0 zone=1 use=1\n"
        );
        let echo = |kind| Some(proto::Echo { kind, code: 0, id: 7 });
        let icmp = proto::Connection {
            protocol: "icmp".into(),
            protocol_number: 1,
            remaining: 29,
            state: String::new(),
            original: Some(proto::Way { echo: echo(8), ..way("10.16.0.2", "192.0.2.1", None) }),
            reply: Some(proto::Way { echo: echo(0), ..way("192.0.2.1", "192.168.50.2", None) }),
            replied: false,
            assured: false,
            zone: 1,
        };
        assert_eq!(
            line(&icmp),
            "icmp     1 29 src=10.16.0.2 dst=192.0.2.1 type=8 code=0 id=7 packets=2 bytes=120 [UNREPLIED] \
             src=192.0.2.1 dst=192.168.50.2 type=0 code=0 id=7 packets=2 bytes=120 mark=0 zone=1 use=1\n"
        );
    }
}
