//! How long a connection lives without a packet.

use std::collections::BTreeMap;

use super::connection::State;
use super::tuple::Tuple;
use crate::wire::protocol::{ICMP, ICMPV6, UDP};

/// Traffic both ways is assured when the connection is so many seconds old (as Linux's `nf_conntrack_udp_packet`).
pub(super) const ASSURED_AFTER: u32 = 2;

/// Seconds of silence after which a connection is forgotten, by state. The defaults are Linux's (`nf_conntrack` sysctls of
/// the same names); see [`Timeouts::default`] for the one place where shunt differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `tcp_timeout_syn_sent`.
    pub tcp_syn_sent: u32,
    /// `tcp_timeout_syn_recv`.
    pub tcp_syn_recv: u32,
    /// `tcp_timeout_established`.
    pub tcp_established: u32,
    /// `tcp_timeout_fin_wait`.
    pub tcp_fin_wait: u32,
    /// `tcp_timeout_close_wait`.
    pub tcp_close_wait: u32,
    /// `tcp_timeout_last_ack`.
    pub tcp_last_ack: u32,
    /// `tcp_timeout_time_wait`.
    pub tcp_time_wait: u32,
    /// `tcp_timeout_close`.
    pub tcp_close: u32,
    /// `udp_timeout`: packets one way only.
    pub udp: u32,
    /// `udp_timeout_stream`: packets both ways.
    pub udp_stream: u32,
    /// `icmp_timeout` and `icmpv6_timeout`.
    pub icmp: u32,
    /// `sctp_timeout_closed`.
    pub sctp_closed: u32,
    /// `sctp_timeout_cookie_wait`.
    pub sctp_cookie_wait: u32,
    /// `sctp_timeout_cookie_echoed`.
    pub sctp_cookie_echoed: u32,
    /// `sctp_timeout_established`.
    pub sctp_established: u32,
    /// `sctp_timeout_shutdown_sent`.
    pub sctp_shutdown_sent: u32,
    /// `sctp_timeout_shutdown_recd`.
    pub sctp_shutdown_recd: u32,
    /// `sctp_timeout_shutdown_ack_sent`.
    pub sctp_shutdown_ack_sent: u32,
    /// `sctp_timeout_heartbeat_sent`.
    pub sctp_heartbeat_sent: u32,
    /// `generic_timeout`: protocols that are known by address only.
    pub other: u32,
}

impl Default for Timeouts {
    /// Linux's. One differs: UDP counts as a stream from the first answer on, not after two seconds.
    fn default() -> Self {
        Self {
            tcp_syn_sent: 120,
            tcp_syn_recv: 60,
            tcp_established: 432_000,
            tcp_fin_wait: 120,
            tcp_close_wait: 60,
            tcp_last_ack: 30,
            tcp_time_wait: 120,
            tcp_close: 10,
            udp: 30,
            udp_stream: 120,
            icmp: 30,
            sctp_closed: 10,
            sctp_cookie_wait: 3,
            sctp_cookie_echoed: 3,
            sctp_established: 210,
            sctp_shutdown_sent: 3,
            sctp_shutdown_recd: 3,
            sctp_shutdown_ack_sent: 3,
            sctp_heartbeat_sent: 30,
            other: 600,
        }
    }
}

impl Timeouts {
    /// Seconds of silence that a connection with this original tuple may have in `state`.
    #[inline]
    pub fn of(&self, original: &Tuple, state: State) -> u32 {
        match state {
            State::Unreplied | State::Replied => match (original.protocol(), original.echo()) {
                (UDP, _) if state == State::Replied => self.udp_stream,
                (UDP, _) => self.udp,
                (ICMP | ICMPV6, Some(_)) => self.icmp,
                _ => self.other,
            },
            State::SynSent | State::SynSent2 => self.tcp_syn_sent,
            State::SynRecv => self.tcp_syn_recv,
            State::Established => self.tcp_established,
            State::FinWait => self.tcp_fin_wait,
            State::CloseWait => self.tcp_close_wait,
            State::LastAck => self.tcp_last_ack,
            State::TimeWait => self.tcp_time_wait,
            State::Close => self.tcp_close,
            State::SctpClosed => self.sctp_closed,
            State::SctpCookieWait => self.sctp_cookie_wait,
            State::SctpCookieEchoed => self.sctp_cookie_echoed,
            State::SctpEstablished => self.sctp_established,
            State::SctpShutdownSent => self.sctp_shutdown_sent,
            State::SctpShutdownRecd => self.sctp_shutdown_recd,
            State::SctpShutdownAckSent => self.sctp_shutdown_ack_sent,
            State::SctpHeartbeatSent => self.sctp_heartbeat_sent,
        }
    }
}

/// The timeouts of all zones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByZone {
    all: Timeouts,
    /// Of the zones that have others.
    own: BTreeMap<u16, Timeouts>,
}

impl ByZone {
    /// `all` for those zones that `own` does not name.
    pub fn new(all: Timeouts, own: impl IntoIterator<Item = (u16, Timeouts)>) -> Self {
        Self { all, own: own.into_iter().collect() }
    }

    /// See [`Timeouts::of`].
    #[inline]
    pub fn of(&self, original: &Tuple, state: State) -> u32 {
        let own = if self.own.is_empty() { None } else { self.own.get(&original.zone()) };
        own.unwrap_or(&self.all).of(original, state)
    }
}

impl From<Timeouts> for ByZone {
    fn from(all: Timeouts) -> Self {
        Self::new(all, [])
    }
}
