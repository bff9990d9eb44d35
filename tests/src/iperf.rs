//! TCP and UDP throughput by iperf3: a server that stays, and loads against it one after the other.

use std::time::Duration;

use serde_json::Value;

use crate::{LabError, Netns, Running};

// Connecting, the first exchange and the report, above the time of the load itself.
const OVERHEAD: Duration = Duration::from_secs(15);
/// Port of a server.
const PORT: u16 = 5201;
const LISTENING: &str = "Server listening";

/// An iperf3 server inside a namespace.
pub struct Iperf<'a> {
    netns: &'a Netns,
    server: Running,
    address: String,
    // Port that clients connect to.
    port: u16,
    // Where the server's output stood when it last said that it is free.
    free: usize,
}

/// A TCP load.
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    /// Length in seconds.
    pub seconds: u32,
    /// Parallel connections.
    pub streams: u32,
    /// The server sends.
    pub reverse: bool,
}

/// A UDP load.
#[derive(Clone, Copy, Debug)]
pub struct Udp {
    /// Length in seconds.
    pub seconds: u32,
    /// Target rate in Mbit/s of payload; 0 is as fast as it goes.
    pub mbits: u32,
    /// Payload of each datagram in bytes; above the MTU it is fragmented.
    pub length: u32,
    /// The server sends.
    pub reverse: bool,
}

/// What a TCP load reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TcpResult {
    /// 10^9 bits of payload a second, counted by the receiver.
    pub gbits: f64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Bytes of payload that the receiver got.
    pub bytes: u64,
}

/// What a UDP load reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UdpResult {
    /// 10^9 bits of payload a second, as received.
    pub gbits: f64,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that the receiving program did not get.
    pub lost: u64,
    /// Those of them that did arrive, and found its socket's buffer full: the machine was too busy to read them.
    pub unread: u64,
    /// Mean variation of the delay in milliseconds (RFC 1889).
    pub jitter_ms: f64,
}

impl Default for Tcp {
    fn default() -> Self {
        Self { seconds: 2, streams: 1, reverse: false }
    }
}

impl Default for Udp {
    fn default() -> Self {
        Self { seconds: 2, mbits: 100, length: 1400, reverse: false }
    }
}

impl UdpResult {
    /// Lost datagrams of all sent, 0 to 1.
    pub fn loss(&self) -> f64 {
        if self.sent == 0 { 0.0 } else { self.lost as f64 / self.sent as f64 }
    }

    /// Datagrams that did not reach the receiver's socket.
    pub fn lost_on_the_way(&self) -> u64 {
        self.lost.saturating_sub(self.unread)
    }
}

impl<'a> Iperf<'a> {
    /// Starts a server inside `netns`, reached at `address`, and waits until it listens.
    ///
    /// # Errors
    /// iperf3 is missing or does not listen.
    pub fn serve(netns: &'a Netns, address: &str) -> Result<Self, LabError> {
        let server = netns.spawn(&["iperf3", "--server", "--forceflush"])?;
        let mut iperf = Self { netns, server, address: address.to_owned(), port: PORT, free: 0 };
        iperf.wait_free()?;
        Ok(iperf)
    }

    /// Runs a TCP load from `client`.
    ///
    /// # Errors
    /// No connection, or one that stalls for good.
    pub fn tcp(&mut self, client: &Netns, load: &Tcp) -> Result<TcpResult, LabError> {
        let streams = load.streams.to_string();
        tcp_result(&self.run(client, load.seconds, load.reverse, &["--parallel", &streams])?)
    }

    /// Runs a UDP load from `client`.
    ///
    /// # Errors
    /// No control connection (it is TCP).
    pub fn udp(&mut self, client: &Netns, load: &Udp) -> Result<UdpResult, LabError> {
        let (rate, length) = (format!("{}M", load.mbits), load.length.to_string());
        let receiver = if load.reverse { client } else { self.netns };
        let before = unread(receiver)?;
        let args = ["--udp", "--bitrate", &rate, "--length", &length];
        let result = udp_result(&self.run(client, load.seconds, load.reverse, &args)?)?;
        Ok(UdpResult { unread: unread(receiver)? - before, ..result })
    }

    /// Clients connect to `address` from now on, which somebody translates to the one it listens at.
    #[must_use]
    pub fn known_as(mut self, address: &str) -> Self {
        self.address = address.to_owned();
        self
    }

    /// And to `port`, which somebody translates likewise.
    #[must_use]
    pub fn at_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    fn run(&mut self, client: &Netns, seconds: u32, reverse: bool, load: &[&str]) -> Result<Value, LabError> {
        let (time, port) = (seconds.to_string(), self.port.to_string());
        let mut argv = vec!["iperf3", "--json", "--connect-timeout", "3000"];
        argv.extend(["--client", &self.address, "--port", &port, "--time", &time]);
        argv.extend(load);
        if reverse {
            argv.push("--reverse");
        }
        let cmd = client.cmd(&argv).timeout(Duration::from_secs(seconds.into()) + OVERHEAD);
        let output = cmd.run()?;
        let report: Value = serde_json::from_str(&output.stdout)
            .map_err(|_| LabError::Parse { what: "iperf3's report", text: output.stdout + &output.stderr })?;
        if let Some(error) = report["error"].as_str() {
            return Err(LabError::Failed {
                command: cmd.line(),
                status: output.status,
                output: error.to_owned(),
            });
        }
        self.wait_free()?;
        Ok(report)
    }

    /// Waits until the server has done with a load that somebody else ran against it: it serves one at a time, and refuses the
    /// next one until it has said so.
    ///
    /// # Errors
    /// It does not come to an end.
    pub fn wait_free(&mut self) -> Result<(), LabError> {
        self.free = self.server.expect(LISTENING, self.free, OVERHEAD)?;
        Ok(())
    }
}

fn tcp_result(report: &Value) -> Result<TcpResult, LabError> {
    let end = &report["end"];
    Ok(TcpResult {
        gbits: float(&end["sum_received"], "bits_per_second")? / 1e9,
        retransmits: number(&end["sum_sent"], "retransmits")?,
        bytes: number(&end["sum_received"], "bytes")?,
    })
}

fn udp_result(report: &Value) -> Result<UdpResult, LabError> {
    // `sum` mixes the sender's rate and time with the receiver's losses: take the rate of what arrived.
    let sum = &report["end"]["sum"];
    let (sent, lost) = (number(sum, "packets")?, number(sum, "lost_packets")?);
    let arrived = if sent == 0 { 0.0 } else { sent.saturating_sub(lost) as f64 / sent as f64 };
    Ok(UdpResult {
        gbits: float(sum, "bits_per_second")? * arrived / 1e9,
        sent,
        lost,
        unread: 0,
        jitter_ms: float(sum, "jitter_ms")?,
    })
}

/// `RcvbufErrors` of UDP, v4 and v6, in a namespace.
fn unread(netns: &Netns) -> Result<u64, LabError> {
    let text = netns.exec(&["cat", "/proc/net/snmp", "/proc/net/snmp6"])?.stdout;
    rcvbuf_errors(&text).ok_or(LabError::Parse { what: "RcvbufErrors", text })
}

fn rcvbuf_errors(text: &str) -> Option<u64> {
    // v4: a line of names above a line of numbers; v6: a name and a number on each line.
    let mut udp = text.lines().filter_map(|l| l.strip_prefix("Udp: ")).map(|l| l.split(' '));
    let column = udp.next()?.position(|name| name == "RcvbufErrors")?;
    let v4: u64 = udp.next()?.nth(column)?.parse().ok()?;
    let v6 = text.lines().find_map(|l| l.strip_prefix("Udp6RcvbufErrors")?.trim().parse::<u64>().ok());
    Some(v4 + v6.unwrap_or(0))
}

fn float(object: &Value, key: &'static str) -> Result<f64, LabError> {
    object[key].as_f64().ok_or_else(|| LabError::Parse { what: key, text: object.to_string() })
}

fn number(object: &Value, key: &'static str) -> Result<u64, LabError> {
    object[key].as_u64().ok_or_else(|| LabError::Parse { what: key, text: object.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tcp_report_is_the_receivers() {
        let report = json!({"end": {
            "sum_sent": {"bits_per_second": 9e9, "bytes": 9, "retransmits": 4},
            "sum_received": {"bits_per_second": 8e9, "bytes": 8}}});
        assert_eq!(tcp_result(&report).unwrap(), TcpResult { gbits: 8.0, retransmits: 4, bytes: 8 });
    }

    #[test]
    fn a_udp_report_counts_what_arrived() {
        let report = json!({"end": {"sum": {
            "bits_per_second": 1e9, "packets": 200, "lost_packets": 50, "jitter_ms": 0.5}}});
        let got = udp_result(&report).unwrap();
        assert_eq!((got.gbits, got.loss(), got.sent), (0.75, 0.25, 200));
    }

    #[test]
    fn what_the_socket_dropped_is_not_lost_on_the_way() {
        let text = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n\
            Udp: 9 8 7 6 5 4\nUdp6InDatagrams 3\nUdp6RcvbufErrors                \t2\n";
        assert_eq!(rcvbuf_errors(text), Some(7));
        let result = UdpResult { gbits: 0.0, sent: 100, lost: 10, unread: 7, jitter_ms: 0.0 };
        assert_eq!(result.lost_on_the_way(), 3);
    }

    #[test]
    fn a_report_without_figures_is_an_error() {
        assert!(tcp_result(&json!({"end": {}})).is_err());
        assert!(udp_result(&json!({"end": {"sum": {"packets": 1}}})).is_err());
    }
}
