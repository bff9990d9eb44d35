//! What Open vSwitch is told of connections: tracked, translated on the way out, and sent to backends. The first two rule for rule
//! what the peers' published figures were measured with.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::network::STATIONS;
use crate::frames::{BACKEND_PORT, MASQUERADED};
use crate::oneway::{Rules, SINK};

/// Established connections, tracked and not translated.
pub fn tracked() -> Rules {
    let opening =
        format!("table=1,priority=10,ip,ct_state=+trk+new,actions=ct(commit,zone=1),output:{SINK}\n");
    rules("ct(table=1,zone=1)", &opening)
}

/// Connections with source NAT.
pub fn source_nat() -> Rules {
    let address = Ipv4Addr::from(MASQUERADED);
    let opening = format!(
        "table=1,priority=10,ip,ct_state=+trk+new,actions=ct(commit,zone=1,nat(src={address})),output:{SINK}\n"
    );
    rules("ct(table=1,zone=1,nat)", &opening)
}

/// Connections to services: 10.0.2.N stands for 10.0.3.N, as [`crate::frames::Answers::Backend`] answers.
pub fn destination_nat() -> Rules {
    let mut opening = String::new();
    for number in 1..=STATIONS {
        let _ = writeln!(
            opening,
            "table=1,priority=10,ip,nw_dst=10.0.2.{number},ct_state=+trk+new,\
             actions=ct(commit,zone=1,nat(dst=10.0.3.{number}:{BACKEND_PORT})),output:{SINK}"
        );
    }
    rules("ct(table=1,zone=1,nat)", &opening)
}

fn rules(look: &str, opening: &str) -> Rules {
    let text = format!(
        "table=0,priority=10,ip,ct_state=-trk,actions={look}\n{opening}\
         table=1,priority=10,ip,ct_state=+trk+est,actions=output:{SINK}\n"
    );
    Rules { text, exact_match_cache: true, tunnel: None }
}
