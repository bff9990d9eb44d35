//! What Open vSwitch is told: one rule, or 16 tables as OVN would make them for two logical switches and a router between them:
//! admission, port security, ACLs before and after, load balancer addresses, MAC tables of 62 and 250 entries, routes of 199
//! networks, 250 neighbours. Table for table and rule for rule what the peers' published figures were measured with.

use std::fmt::{self, Write as _};

use super::network::STATIONS;
use crate::oneway::SOURCES;

const POD: &str = "02:00:00:00:00:01";
const ROUTER_LEFT: &str = "02:00:00:00:00:fe";
const ROUTER_RIGHT: &str = "02:00:00:00:00:fd";
const MULTICAST: &str = "01:00:00:00:00:00/01:00:00:00:00:00";
/// Pods beside the sender on the left switch: numbers 2 to 63.
const NEIGHBOURS: std::ops::Range<u32> = 2..64;
/// Port number of a station on the right switch, less its address.
const RIGHT_PORT: u32 = 100;

/// The rule that forwards by destination network.
pub fn one() -> crate::oneway::Rules {
    let rule = |source| format!("in_port={source},ip,nw_dst=10.0.2.0/24,actions=output:2\n");
    crate::oneway::Rules { text: SOURCES.iter().map(rule).collect(), exact_match_cache: true, tunnel: None }
}

/// The 16 tables.
pub fn sixteen_tables(exact_match_cache: bool) -> crate::oneway::Rules {
    let mut rules = Tables::default();
    left_ingress(&mut rules);
    left_policy(&mut rules);
    left_lookup(&mut rules);
    router_ingress(&mut rules);
    routes(&mut rules);
    neighbours(&mut rules);
    right(&mut rules);
    crate::oneway::Rules { text: rules.0, exact_match_cache, tunnel: None }
}

/// The 16 tables with a VXLAN port where the sink was, or where the first source was.
pub fn sixteen_tables_and_tunnel(tunnel: crate::oneway::TunnelSide) -> crate::oneway::Rules {
    use crate::oneway::{SINK, TUNNEL, TunnelSide};
    let rules = sixteen_tables(true);
    let text = match tunnel {
        TunnelSide::Out => rules.text.replace(&format!("output:{SINK}\n"), &format!("output:{TUNNEL}\n")),
        TunnelSide::In => {
            rules.text.replace(&format!("in_port={},", SOURCES[0]), &format!("in_port={TUNNEL},"))
        }
    };
    crate::oneway::Rules { text, tunnel: Some(tunnel), ..rules }
}

/// Rules, one a line.
#[derive(Default)]
struct Tables(String);

impl Tables {
    fn rule(&mut self, table: u8, priority: u32, rest: fmt::Arguments<'_>) {
        let _ = writeln!(self.0, "table={table},priority={priority},{rest}");
    }

    /// What no other rule of `table` takes goes on.
    fn rest(&mut self, table: u8) {
        self.rule(table, 0, format_args!("actions=resubmit(,{})", table + 1));
    }

    fn drop(&mut self, table: u8, priority: u32, matches: &str) {
        self.rule(table, priority, format_args!("{matches},actions=drop"));
    }
}

fn pod(number: u32) -> String {
    format!("02:00:00:00:00:{number:02x}")
}

fn station(number: u32) -> String {
    format!("02:00:00:02:{:02x}:{:02x}", number >> 8, number & 255)
}

/// Tables 0 to 2: port to logical switch, admission, port security.
fn left_ingress(rules: &mut Tables) {
    // Each source is the port of another pod, see [`crate::frames::sent_by`].
    for (source, port) in SOURCES.into_iter().zip(1..) {
        let loads = format!("load:1->OXM_OF_METADATA[],load:{port}->NXM_NX_REG14[]");
        rules.rule(0, 100, format_args!("in_port={source},actions={loads},resubmit(,1)"));
    }
    rules.drop(1, 100, &format!("metadata=1,dl_src={MULTICAST}"));
    rules.drop(1, 100, "metadata=1,vlan_tci=0x1000/0x1000");
    rules.rule(1, 50, format_args!("reg14=1,metadata=1,dl_src={POD},actions=resubmit(,2)"));
    for n in NEIGHBOURS {
        rules.rule(1, 50, format_args!("reg14={n},metadata=1,dl_src={},actions=resubmit(,2)", pod(n)));
    }
    let security = |port: u32, mac: &str, host: u32| {
        format!("ip,reg14={port},metadata=1,dl_src={mac},nw_src=10.0.1.{host},actions=resubmit(,3)")
    };
    rules.rule(2, 90, format_args!("{}", security(1, POD, 10)));
    for n in NEIGHBOURS {
        rules.rule(2, 90, format_args!("{}", security(n, &pod(n), 10 + n)));
    }
    rules.drop(2, 80, "ip,reg14=1,metadata=1");
    rules.rest(2);
}

/// Tables 3 to 7: what policy and load balancing look at.
fn left_policy(rules: &mut Tables) {
    rules.rest(3);
    rules.rule(4, 110, format_args!("metadata=1,dl_dst=ff:ff:ff:ff:ff:ff,actions=resubmit(,5)"));
    rules.rule(4, 100, format_args!("ip,metadata=1,actions=load:1->NXM_NX_XXREG0[96],resubmit(,5)"));
    rules.rest(4);
    let denied = [
        (2005, "udp,tp_dst=5353"),
        (2005, "tcp,tp_dst=22"),
        (2004, "ip,nw_dst=169.254.0.0/16"),
        (2003, "ip,nw_dst=192.168.0.0/16"),
        (2003, "ip,nw_dst=172.16.0.0/12"),
    ];
    for (priority, matches) in denied {
        rules.drop(5, priority, &format!("{matches},metadata=1"));
    }
    rules.rule(5, 1001, format_args!("ip,reg14=1,metadata=1,actions=resubmit(,6)"));
    rules.rest(5);
    rules.rest(6);
    for service in 1..=100 {
        let matches = format!("tcp,metadata=1,nw_dst=10.96.0.{service},tp_dst=443");
        rules.rule(7, 120, format_args!("{matches},actions=resubmit(,8)"));
    }
    rules.rest(7);
}

/// Table 8: MAC table of the left switch.
fn left_lookup(rules: &mut Tables) {
    rules.drop(8, 70, &format!("metadata=1,dl_dst={MULTICAST}"));
    let loads = "load:2->OXM_OF_METADATA[],load:1->NXM_NX_REG14[]";
    rules.rule(8, 50, format_args!("metadata=1,dl_dst={ROUTER_LEFT},actions={loads},resubmit(,9)"));
    for n in NEIGHBOURS {
        let actions = format!("load:{n}->NXM_NX_REG15[],resubmit(,14)");
        rules.rule(8, 50, format_args!("metadata=1,dl_dst={},actions={actions}", pod(n)));
    }
}

/// Table 9: what a router does not take.
fn router_ingress(rules: &mut Tables) {
    rules.drop(9, 100, "ip,metadata=2,nw_src=224.0.0.0/4");
    rules.drop(9, 100, "ip,metadata=2,nw_src=127.0.0.0/8");
    rules.drop(9, 90, "icmp,metadata=2,nw_dst=10.0.1.1,icmp_type=8");
    rules.drop(9, 60, "ip,metadata=2,nw_dst=10.0.1.1");
    rules.drop(9, 30, "ip,metadata=2,nw_ttl=1");
    rules.drop(9, 30, "ip,metadata=2,nw_ttl=0");
    rules.rest(9);
}

/// Table 10: two networks of its own, 197 behind a gateway, and the default route.
fn routes(rules: &mut Tables) {
    for (network, port, mac) in [("10.0.1.0", 1, ROUTER_LEFT), ("10.0.2.0", 2, ROUTER_RIGHT)] {
        let to = "move:NXM_OF_IP_DST[]->NXM_NX_XXREG0[0..31]";
        let actions = format!("dec_ttl,{to},mod_dl_src:{mac},load:{port}->NXM_NX_REG15[],resubmit(,11)");
        rules.rule(10, 49, format_args!("ip,metadata=2,nw_dst={network}/24,actions={actions}"));
    }
    let to = "load:0x64400001->NXM_NX_XXREG0[0..31]";
    let by_gateway = format!("dec_ttl,{to},mod_dl_src:{ROUTER_RIGHT},load:3->NXM_NX_REG15[],resubmit(,11)");
    for n in 3..200 {
        rules.rule(10, 49, format_args!("ip,metadata=2,nw_dst=10.0.{n}.0/24,actions={by_gateway}"));
    }
    rules.rule(10, 1, format_args!("ip,metadata=2,actions={by_gateway}"));
}

/// Tables 11 and 12: neighbours, and out of the router.
fn neighbours(rules: &mut Tables) {
    for n in 1..=STATIONS {
        let address = 0x0a00_0200 + n;
        let actions = format!("mod_dl_dst:{},resubmit(,12)", station(n));
        rules.rule(11, 100, format_args!("reg3={address:#x},reg15=2,metadata=2,actions={actions}"));
    }
    let loads = "load:3->OXM_OF_METADATA[],load:1->NXM_NX_REG14[]";
    rules.rule(12, 100, format_args!("reg15=2,metadata=2,actions={loads},resubmit(,13)"));
}

/// Tables 13 to 15: MAC table, policy and output of the right switch.
fn right(rules: &mut Tables) {
    for n in 1..=STATIONS {
        let actions = format!("load:{}->NXM_NX_REG15[],resubmit(,14)", RIGHT_PORT + n);
        rules.rule(13, 50, format_args!("metadata=3,dl_dst={},actions={actions}", station(n)));
    }
    rules.drop(14, 2002, "metadata=3,tcp,tp_dst=23");
    rules.drop(14, 2001, "metadata=3,ip,nw_src=10.9.0.0/16");
    rules.rule(14, 1001, format_args!("metadata=3,ip,nw_src=10.0.0.0/16,actions=resubmit(,15)"));
    rules.rest(14);
    for n in 1..=STATIONS {
        let (port, mac) = (RIGHT_PORT + n, station(n));
        let actions = "load:100->NXM_NX_TUN_ID[],output:2";
        rules.rule(15, 50, format_args!("reg15={port},metadata=3,dl_dst={mac},actions={actions}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Counted and hashed (FNV-1a over the sorted lines) from what the script beside the published figures writes for the
    // same four sources; there all are the port of one pod.
    #[test]
    fn the_tables_are_those_of_the_published_figures() {
        let text = sixteen_tables(true).text;
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        let count =
            |table: u8| lines.iter().filter(|line| line.starts_with(&format!("table={table},"))).count();
        let counts: Vec<usize> = (0..16).map(count).collect();
        assert_eq!(counts, COUNTS);
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let hash =
            lines.iter().flat_map(|line| line.bytes().chain([b'\n'])).fold(0xcbf2_9ce4_8422_2325, step);
        assert_eq!(hash, HASH);
    }

    const COUNTS: [usize; 16] = [4, 65, 65, 1, 3, 7, 1, 101, 64, 7, 200, 250, 1, 250, 4, 250];
    const HASH: u64 = 0x7ada3d0510df76d6;

    #[test]
    fn a_tunnel_takes_the_place_of_sink_or_source() {
        use crate::oneway::TunnelSide;
        let plain = sixteen_tables(true).text;
        let count = |text: &str, part: &str| text.matches(part).count();
        let out = sixteen_tables_and_tunnel(TunnelSide::Out).text;
        assert_eq!((count(&out, "output:3\n"), count(&out, "output:2\n")), (count(&plain, "output:2\n"), 0));
        let inward = sixteen_tables_and_tunnel(TunnelSide::In).text;
        assert_eq!((count(&inward, "in_port=3,"), count(&inward, "in_port=1,")), (1, 0));
    }
}
