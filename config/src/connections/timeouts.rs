//! How long a connection lives without a packet, by its state: the keys and the defaults are those of
//! Linux (`nf_conntrack` sysctls of these names).

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::error::Reported;
use crate::keys::{Key, key};
use crate::raw::Raw;
use crate::section::Section;
use crate::value;

/// Longest: a month.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

macro_rules! timeouts {
    ($($(#[doc = $doc:literal])+ $name:ident = $seconds:literal, $default:literal;)+) => {
        /// Seconds of silence after which a connection is forgotten, by state.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        pub struct Timeouts {
            $($(#[doc = $doc])+ #[serde(serialize_with = "seconds")] pub $name: u32,)+
        }

        impl Default for Timeouts {
            fn default() -> Self {
                Timeouts { $($name: $seconds,)+ }
            }
        }

        /// Those of them that a router has otherwise, for its own connections.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct OwnTimeouts {
            $($(#[doc = $doc])+ #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_seconds")]
            pub $name: Option<u32>,)+
        }

        impl OwnTimeouts {
            /// True when it has none.
            pub fn are_none(&self) -> bool {
                *self == Self::default()
            }

            /// All that there are, where these are not `all`'s.
            pub fn over(&self, all: &Timeouts) -> Timeouts {
                Timeouts { $($name: self.$name.unwrap_or(all.$name),)+ }
            }

            pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Self, Reported> {
                $(let $name = section.optional(stringify!($name), whole);)+
                section.refuse_others(None);
                Ok(OwnTimeouts { $($name: $name?,)+ })
            }
        }

        pub(crate) const TIMEOUTS: &[Key] = &[$(key(
            stringify!($name),
            &[],
            "duration, 1s to 30days",
            $default,
            concat!($($doc),+).trim_ascii(),
        ),)+];
        pub(super) const COUNT: usize = TIMEOUTS.len();

        impl Timeouts {
            pub(super) fn read(section: &mut Section<'_, '_>) -> Result<Self, Reported> {
                let default = Timeouts::default();
                $(let $name = read(section, stringify!($name), default.$name);)+
                Ok(Timeouts { $($name: $name?,)+ })
            }
        }
    };
}

timeouts! {
    /// silence that a TCP connection survives of which only SYNs were seen
    tcp_timeout_syn_sent = 120, "\"2m\"";
    /// the same when the SYN was acknowledged
    tcp_timeout_syn_recv = 60, "\"1m\"";
    /// the same once both SYNs are acknowledged
    tcp_timeout_established = 432_000, "\"5days\"";
    /// the same after the first FIN
    tcp_timeout_fin_wait = 120, "\"2m\"";
    /// the same when that FIN is acknowledged
    tcp_timeout_close_wait = 60, "\"1m\"";
    /// the same after a FIN from each side
    tcp_timeout_last_ack = 30, "\"30s\"";
    /// the same when both FINs are acknowledged
    tcp_timeout_time_wait = 120, "\"2m\"";
    /// the same after a reset
    tcp_timeout_close = 10, "\"10s\"";
    /// silence that a UDP conversation survives that is not answered
    udp_timeout = 30, "\"30s\"";
    /// the same of one that is answered
    udp_timeout_stream = 120, "\"2m\"";
    /// silence that an echo survives, of ICMP and ICMPv6
    icmp_timeout = 30, "\"30s\"";
    /// silence that an SCTP association survives after an ABORT or a SHUTDOWN COMPLETE
    sctp_timeout_closed = 10, "\"10s\"";
    /// the same after an INIT
    sctp_timeout_cookie_wait = 3, "\"3s\"";
    /// the same after a COOKIE ECHO
    sctp_timeout_cookie_echoed = 3, "\"3s\"";
    /// the same once that is acknowledged; longer than the interval of HEARTBEATs (RFC 9260: 30s)
    sctp_timeout_established = 210, "\"3m 30s\"";
    /// the same after a SHUTDOWN of the side that opened it
    sctp_timeout_shutdown_sent = 3, "\"3s\"";
    /// the same after a SHUTDOWN of the other side
    sctp_timeout_shutdown_recd = 3, "\"3s\"";
    /// the same after a SHUTDOWN ACK
    sctp_timeout_shutdown_ack_sent = 3, "\"3s\"";
    /// the same of a path of which only a HEARTBEAT was seen
    sctp_timeout_heartbeat_sent = 30, "\"30s\"";
    /// silence that is survived by what has other protocols
    generic_timeout = 600, "\"10m\"";
}

/// The keys `first`, and behind them the timeouts: `ALL` of both.
pub(super) const fn with<const ALL: usize>(first: &[Key]) -> [Key; ALL] {
    assert!(ALL == first.len() + TIMEOUTS.len(), "the number of all keys");
    let mut all = [TIMEOUTS[0]; ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < first.len() { first[at] } else { TIMEOUTS[at - first.len()] };
        at += 1;
    }
    all
}

fn read(section: &mut Section<'_, '_>, key: &str, default: u32) -> Result<u32, Reported> {
    section.or(key, default, whole)
}

/// A duration of whole seconds.
fn whole(raw: Raw<'_>) -> Result<u32, String> {
    let value = value::duration(Duration::from_secs(1)..=LONGEST)(raw)?;
    match (u32::try_from(value.as_secs()), value.subsec_nanos()) {
        (Ok(seconds), 0) => Ok(seconds),
        _ => Err("connections are timed in whole seconds; write \"1s\", \"30s\" or \"5m\"".to_owned()),
    }
}

fn seconds<S: Serializer>(value: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    crate::write::duration(&Duration::from_secs(u64::from(*value)), serializer)
}

fn some_seconds<S: Serializer>(value: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => seconds(value, serializer),
        None => serializer.serialize_none(),
    }
}
