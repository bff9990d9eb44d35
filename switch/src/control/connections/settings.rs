//! `[connections]` as the connection table has it.

use crate::state::{Limits, Timeouts};

/// Who may have how many connections. What is not configured is fair for a table of that capacity.
pub(super) fn limits(settings: &shunt_config::Connections) -> Limits {
    let fair = Limits::fair(settings.capacity as usize);
    let source = settings.per_source.unwrap_or(fair.source);
    Limits {
        zone: settings.per_zone.unwrap_or(fair.zone),
        source,
        zone_half_open: settings.per_zone_half_open.unwrap_or(fair.zone_half_open),
        source_half_open: settings.per_source_half_open.unwrap_or(fair.source_half_open),
        source_rate: settings.per_source_rate.unwrap_or(fair.source_rate),
        source_when_tight: fair.source_when_tight.min(source),
    }
}

/// How long each lives in silence.
pub(super) fn timeouts(configured: &shunt_config::Timeouts) -> Timeouts {
    Timeouts {
        tcp_syn_sent: configured.tcp_timeout_syn_sent,
        tcp_syn_recv: configured.tcp_timeout_syn_recv,
        tcp_established: configured.tcp_timeout_established,
        tcp_fin_wait: configured.tcp_timeout_fin_wait,
        tcp_close_wait: configured.tcp_timeout_close_wait,
        tcp_last_ack: configured.tcp_timeout_last_ack,
        tcp_time_wait: configured.tcp_timeout_time_wait,
        tcp_close: configured.tcp_timeout_close,
        udp: configured.udp_timeout,
        udp_stream: configured.udp_timeout_stream,
        icmp: configured.icmp_timeout,
        sctp_closed: configured.sctp_timeout_closed,
        sctp_cookie_wait: configured.sctp_timeout_cookie_wait,
        sctp_cookie_echoed: configured.sctp_timeout_cookie_echoed,
        sctp_established: configured.sctp_timeout_established,
        sctp_shutdown_sent: configured.sctp_timeout_shutdown_sent,
        sctp_shutdown_recd: configured.sctp_timeout_shutdown_recd,
        sctp_shutdown_ack_sent: configured.sctp_timeout_shutdown_ack_sent,
        sctp_heartbeat_sent: configured.sctp_timeout_heartbeat_sent,
        other: configured.generic_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shunt_config::Connections;

    #[test]
    fn the_defaults_of_both_sides_are_the_same() {
        let settings = Connections::default();
        assert_eq!(timeouts(&settings.timeouts), Timeouts::default());
        assert_eq!(limits(&settings), Limits::fair(settings.capacity as usize));
    }

    #[test]
    fn what_is_configured_counts() {
        let settings = Connections {
            per_source: Some(10),
            per_source_half_open: Some(5),
            per_source_rate: Some(20),
            per_zone: Some(1000),
            per_zone_half_open: Some(500),
            ..Connections::default()
        };
        let wanted = Limits {
            zone: 1000,
            source: 10,
            zone_half_open: 500,
            source_half_open: 5,
            source_rate: 20,
            source_when_tight: 10,
        };
        assert_eq!(limits(&settings), wanted);
    }
}
