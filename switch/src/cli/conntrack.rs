//! `shunt conntrack`: connections in the text of conntrack(8).

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};

use super::client::Client;
use super::feed::Feed;
use super::options::Conntrack;
use super::{Failure, output};
use crate::control::api::proto;

/// What is wrong with a command line by itself.
pub(super) fn check(wanted: &Conntrack) -> Result<(), Failure> {
    let ends = wanted.source.is_none() && wanted.destination.is_none();
    let any = wanted.protocol.is_none() && ends && wanted.sport.is_none() && wanted.dport.is_none();
    if wanted.delete && any {
        let message =
            "shunt: -D ends the connections that -p, -s, -d, --sport or --dport name; to end all, use -F";
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
        source_port: wanted.sport.unwrap_or_default(),
        destination_port: wanted.dport.unwrap_or_default(),
    });
    if wanted.delete || wanted.flush {
        let ended = client.end_connections(proto::EndConnectionsRequest { filter }).await?;
        return output(json, &ended, || format!("{} connections have been ended.\n", ended.count));
    }
    if wanted.event {
        return follow(client, filter, json).await;
    }
    if wanted.stats {
        let statistics = client.show_connection_statistics(proto::ShowConnectionStatisticsRequest {}).await?;
        return output(json, &statistics, || stats(&statistics));
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

/// Prints what happens, until interrupted or until nobody reads any more.
async fn follow(
    client: &mut Client,
    filter: Option<proto::ConnectionFilter>,
    json: bool,
) -> Result<(), Failure> {
    let mut feed = Feed::of(client.watch_connections(proto::WatchConnectionsRequest { filter }).await?)?;
    let (mut shown, mut lost) = (0_u64, 0_u64);
    while let Some(message) = feed.next(client).await? {
        shown += message.events.len() as u64;
        let mut text = String::new();
        for event in &message.events {
            match json {
                true => text.push_str(&serde_json::to_string(event).unwrap_or_default()),
                false => text.push_str(self::event(event).trim_end()),
            }
            text.push('\n');
        }
        if message.lost > lost {
            let more = message.lost - std::mem::replace(&mut lost, message.lost);
            // Where they are missing, among the others.
            match json {
                true => text.push_str(&format!("{{\"lost\":{more}}}\n")),
                false => text.push_str(&format!("   [LOST] {more} events, for want of room\n")),
            }
        }
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => {}
            // Who read has read enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            Err(error) => return Err(Failure::refused(format!("events cannot be written: {error}"))),
        }
    }
    eprintln!("{shown} events shown\n{lost} events lost for want of room");
    Ok(())
}

/// An event as `conntrack -E` prints it.
#[must_use]
pub fn event(event: &proto::ConnectionEvent) -> String {
    let Some(row) = &event.connection else { return String::new() };
    match event.change.as_str() {
        "new" => format!("    [NEW] {}", line(row)),
        "update" => format!(" [UPDATE] {}", line(row)),
        // What has ended has no time left.
        _ => format!("[DESTROY] {:<8} {} {}", row.protocol, row.protocol_number, rest(row)),
    }
}

/// The statistics as `conntrack -S` prints them: one line of names and values, here of all workers together, and one for each
/// zone.
#[must_use]
pub fn stats(row: &proto::ConnectionStatistics) -> String {
    let mut text = format!(
        "entries={} capacity={} pressure={}% half_open={} bytes={} fragments={} found={} opened={} expired={} deleted={}",
        row.entries,
        row.capacity,
        row.pressure_percent,
        row.half_open,
        row.bytes,
        row.fragments,
        row.found,
        row.opened,
        row.expired,
        row.deleted,
    );
    for refused in &row.refused {
        // A String takes everything.
        let _ = write!(text, " {}={}", refused.reason, refused.count);
    }
    text.push('\n');
    for zone in &row.zones {
        let proto::Zone { zone, router, entries, half_open } = zone;
        let _ = writeln!(text, "zone={zone} router={router} entries={entries} half_open={half_open}");
    }
    text
}

/// A connection as `conntrack -L` prints it.
#[must_use]
pub fn line(row: &proto::Connection) -> String {
    format!("{:<8} {} {} {}", row.protocol, row.protocol_number, row.remaining, rest(row))
}

/// What is behind protocol and time.
fn rest(row: &proto::Connection) -> String {
    let mut text = String::new();
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
        let told = |change: &str| {
            event(&proto::ConnectionEvent { change: change.into(), connection: Some(tcp.clone()) })
        };
        assert_eq!(told("new"), format!("    [NEW] {}", line(&tcp)));
        assert_eq!(told("update"), format!(" [UPDATE] {}", line(&tcp)));
        assert_eq!(told("destroy"), format!("[DESTROY] {}", line(&tcp).replace(" 431999", "")));
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

    #[test]
    fn statistics_are_one_line_and_one_for_each_zone() {
        let row = proto::ConnectionStatistics {
            capacity: 65_536,
            entries: 3,
            half_open: 1,
            pressure_percent: 0.5,
            bytes: 9,
            found: 7,
            opened: 4,
            expired: 1,
            refused: vec![proto::RefusedPackets { reason: "connection_limit".into(), count: 2 }],
            zones: vec![proto::Zone { zone: 1, router: "r".into(), entries: 3, half_open: 1 }],
            ..proto::ConnectionStatistics::default()
        };
        assert_eq!(
            stats(&row),
            "entries=3 capacity=65536 pressure=0.5% half_open=1 bytes=9 fragments=0 found=7 opened=4 expired=1 \
             deleted=0 connection_limit=2\nzone=1 router=r entries=3 half_open=1\n"
        );
    }
}
