//! `shunt nat rules`: what routers translate besides services, as rules of iptables in the syntax of iptables-save(8): so that who
//! reads those reads these. The switch has no such rules; it is told by its configuration alone, and so is this.
//!
//! What masquerading says is reference 002's three: packets of masqueraded networks get a mark (mangle), marked ones go to a chain
//! of their own (nat), which lets go what stays among these networks and masquerades the rest.

use std::fmt::Write as _;
use std::net::IpAddr;

use shunt_config::{Config, IpNet, Network, Router, SnatSource};

use super::client::Client;
use super::options::NatRules;
use super::{Failure, output};
use crate::control::api::proto;

/// The mark of what is to be masqueraded, as reference 002 has it.
const MARK: &str = "0x100/0x100";
/// The chain that decides about it.
const CHAIN: &str = "UPCS-MASQUERADE";

/// Asks for the configuration and prints its rules.
pub(super) async fn run(client: &mut Client, wanted: &NatRules, json: bool) -> Result<(), Failure> {
    let text = client.get_config(proto::GetConfigRequest {}).await?.toml;
    let config = shunt_config::parse(&text, "the running configuration").map_err(|errors| {
        Failure::refused(format!("{errors}; use the `shunt` that was installed with shuntd"))
    })?;
    let known: Vec<_> = config.routers.iter().map(|router| router.name.as_str()).collect();
    if let Some(name) = wanted.router.as_deref().filter(|name| !known.contains(name)) {
        let message = format!("there is no router {name}; there are: {}", known.join(", "));
        return Err(Failure::bad_input(format!("shunt: {message}")));
    }
    let is_wanted = |router: &&Router| wanted.router.as_ref().is_none_or(|name| router.name.as_str() == name);
    let chosen = config.routers.iter().filter(is_wanted);
    let texts: Vec<_> = chosen.map(|router| rules(&config, router, wanted.v6)).collect();
    output(json, &texts, || texts.concat())
}

/// The rules of `router` for IPv4, or `v6`, with a line of the router before them.
pub fn rules(config: &Config, router: &Router, v6: bool) -> String {
    let (mut mangle, mut nat) = (String::new(), String::new());
    let of = |net: &IpNet| net.addr().is_ipv6() == v6;
    let joined = config.networks.iter().filter(|network| network.router.as_ref() == Some(&router.name));
    let networks: Vec<&Network> = joined.collect();
    statics(router, &networks, v6, &mut nat);
    let masqueraded: Vec<IpNet> = networks
        .iter()
        .filter(|network| network.masquerade)
        .flat_map(|network| prefixes(config, network))
        .filter(of)
        .collect();
    for network in &networks {
        pairs(config, (router, network), &networks, v6, &mut nat);
    }
    for net in &masqueraded {
        let _ = writeln!(mangle, "-A PREROUTING -s {net} -j MARK --set-xmark {MARK}");
    }
    if !masqueraded.is_empty() {
        let _ = writeln!(nat, "-A POSTROUTING -m mark --mark {MARK} -j {CHAIN}");
        for net in &masqueraded {
            let _ = writeln!(nat, "-A {CHAIN} -d {net} -j RETURN");
        }
        pool(router, &networks, v6, &mut nat);
        leaves(router, &format!("-A {CHAIN}"), None, &mut nat);
    }
    let family = if v6 { "ip6tables" } else { "iptables" };
    format!(
        "# {family} of router {}\n*mangle\n:PREROUTING ACCEPT [0:0]\n{mangle}COMMIT\n\
         *nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:{CHAIN} - [0:0]\n{nat}COMMIT\n",
        router.name
    )
}

/// Floating addresses, single ports, prefixes with an address of their own: these before all else.
fn statics(router: &Router, networks: &[&Network], v6: bool, nat: &mut String) {
    let of = |address: IpAddr| address.is_ipv6() == v6;
    let alone = |address: IpAddr| IpNet::from(address);
    for floating in router.floating_ips.iter().filter(|floating| of(floating.external)) {
        let (external, internal) = (floating.external, floating.internal);
        let _ = writeln!(nat, "-A PREROUTING -d {} -j DNAT --to-destination {internal}", alone(external));
        let _ = writeln!(nat, "-A POSTROUTING -s {} -j SNAT --to-source {external}", alone(internal));
    }
    for forward in router.port_forwards.iter().filter(|forward| of(forward.external.ip())) {
        let (to, protocol, port) = (forward.internal, forward.protocol, forward.external.port());
        let external = alone(forward.external.ip());
        let _ = writeln!(
            nat,
            "-A PREROUTING -d {external} -p {protocol} -m {protocol} --dport {port} -j DNAT --to-destination {to}"
        );
    }
    let mut sources: Vec<_> = router.static_snat.iter().filter(|rule| of(rule.address)).collect();
    sources.sort_by_key(|rule| std::cmp::Reverse(rule.source.prefix_len()));
    for rule in sources {
        let out = by(networks, rule.address);
        let (head, to) = (format!("-A POSTROUTING -s {}{out}", rule.source), rule.address.to_string());
        leaves(router, &head, Some((&to, "")), nat);
    }
}

/// What single pairs of networks say, whatever masquerading is: before that.
fn pairs(
    config: &Config,
    (router, network): (&Router, &Network),
    networks: &[&Network],
    v6: bool,
    nat: &mut String,
) {
    for pair in &network.snat {
        if !networks.iter().any(|other| other.name == pair.to) {
            continue;
        }
        for source in prefixes(config, network).iter().filter(|net| net.addr().is_ipv6() == v6) {
            let head = format!("-A POSTROUTING -s {source} -o {}", pair.to);
            match pair.source {
                SnatSource::Node => leaves(router, &head, None, nat),
                SnatSource::None => drop(writeln!(nat, "{head} -j ACCEPT")),
            }
        }
    }
}

/// The pool in place of the router's own addresses: by the network in whose subnet an address is, in ranges.
fn pool(router: &Router, networks: &[&Network], v6: bool, nat: &mut String) {
    let mut pool: Vec<_> = router.snat_pool.iter().copied().filter(|it| it.is_ipv6() == v6).collect();
    pool.sort_unstable();
    for range in pool.chunk_by(|one, next| follows(*one, *next) && by(networks, *one) == by(networks, *next))
    {
        let (Some(first), Some(last)) = (range.first(), range.last()) else { continue };
        let out = by(networks, *first);
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        leaves(router, &format!("-A {CHAIN}{out}"), Some((&range, " --persistent")), nat);
    }
}

/// A rule that begins with `head`: with addresses to leave with and what is said behind them, or with the router's own. Where the router
/// has ports for that, the protocols that have ports each have a rule before it.
fn leaves(router: &Router, head: &str, to: Option<(&str, &str)>, nat: &mut String) {
    for (protocol, ports) in ["tcp", "udp", "sctp"].iter().zip(router.snat_ports.iter().cycle()) {
        let (low, high) = (ports.start(), ports.end());
        let ports = if low == high { low.to_string() } else { format!("{low}-{high}") };
        let _ = match to {
            None => writeln!(nat, "{head} -p {protocol} -j MASQUERADE --to-ports {ports}"),
            Some((to, more)) if to.contains(':') => {
                writeln!(nat, "{head} -p {protocol} -j SNAT --to-source [{to}]:{ports}{more}")
            }
            Some((to, more)) => writeln!(nat, "{head} -p {protocol} -j SNAT --to-source {to}:{ports}{more}"),
        };
    }
    let _ = match to {
        None => writeln!(nat, "{head} -j MASQUERADE"),
        Some((to, more)) => writeln!(nat, "{head} -j SNAT --to-source {to}{more}"),
    };
}

fn follows(one: IpAddr, next: IpAddr) -> bool {
    match (one, next) {
        (IpAddr::V4(one), IpAddr::V4(next)) => one.to_bits().checked_add(1) == Some(next.to_bits()),
        (IpAddr::V6(one), IpAddr::V6(next)) => one.to_bits().checked_add(1) == Some(next.to_bits()),
        _ => false,
    }
}

/// ` -o NETWORK` of the one in whose subnet `address` is.
fn by(networks: &[&Network], address: IpAddr) -> String {
    let near = networks.iter().find(|network| network.subnet_of(address).is_some());
    near.map_or_else(String::new, |network| format!(" -o {}", network.name))
}

/// The addresses of the stations of `network`: the whole overlay's, else its subnets; without either each endpoint's.
fn prefixes(config: &Config, network: &Network) -> Vec<IpNet> {
    let cidr = network.overlay().map(|overlay| overlay.cidr.clone()).unwrap_or_default();
    if !cidr.is_empty() {
        return cidr;
    }
    let subnets = network.gateways.iter().filter(|net| net.prefix_len() < net.max_prefix_len());
    let subnets: Vec<IpNet> = subnets.map(IpNet::trunc).collect();
    if !subnets.is_empty() {
        return subnets;
    }
    let ports = config.ports.iter().filter(|port| port.network == network.name);
    let own = ports.flat_map(|port| &port.endpoints).flat_map(|endpoint| &endpoint.ip);
    let behind = network.overlay().into_iter().flat_map(|overlay| overlay.all_peers());
    own.copied().map(IpNet::from).chain(behind.flat_map(|peer| peer.prefixes.iter().copied())).collect()
}
