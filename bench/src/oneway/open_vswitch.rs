//! Open vSwitch with DPDK on the one-way path.

use std::time::Duration;

use anyhow::{Context, Result};
use shunt_tests::testpmd;

use super::Input;
use super::opening::Opening;
use crate::figure::Sample;
use crate::frames::{PEER, PEER_MAC, VNI, VTEP, VTEP_MAC, text};
use crate::peer::ovs::Ovs;
use crate::stop;

/// OpenFlow port numbers of the sources.
pub const SOURCES: [u16; 4] = [1, 11, 12, 13];
/// That of the sink.
pub const SINK: u16 = 2;
/// The tunnel's, where there is one.
pub const TUNNEL: u16 = 3;
/// Ports of one MTU share a pool, which holds 262,144 buffers at most: these are four pools of the least memory.
const MTUS: [usize; SOURCES.len()] = [1500, 500, 2500, 3500];

/// Time between two looks at how many connections there are.
const LOOK: Duration = Duration::from_millis(10);

/// What it is told to do.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Rules as `ovs-ofctl add-flows` takes them, one a line.
    pub text: String,
    /// Whether the exact-match cache is on, as it is by default.
    pub exact_match_cache: bool,
    /// The frames go into a VXLAN tunnel or come out of one.
    pub tunnel: Option<TunnelSide>,
}

/// Where a tunnel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelSide {
    /// Before the bridge: the source is outside.
    In,
    /// Behind it: the sink is outside.
    Out,
}

/// The bridge with the rules, and that of the node's own address, outside of the tunnel.
const BRIDGE: &str = "br0";
const PHYSICAL: &str = "br-phy";

/// One run.
///
/// # Errors
/// It is not installed, refuses something, or a signal came.
pub fn open_vswitch(input: &Input, rules: &Rules, window: Duration) -> Result<Sample> {
    let ovs = start(rules)?;
    let (bridge, ports) = sources(input, rules);
    ports.iter().try_for_each(|port| add_ports(&ovs, bridge, std::slice::from_ref(port)))?;
    stop::pause(input.warm_up())?;
    let (mpps, cycles) = ovs.watch(window)?;
    Ok(Sample::new(mpps, vec![("cycles/packet", cycles)]))
}

/// How fast it opens the connections of an input that has each once: a sample for every look at how many there are, until there
/// are `all`.
///
/// # Errors
/// It is not installed, refuses something, it stops at fewer, or a signal came.
pub fn open_vswitch_opening(input: &Input, rules: &Rules, all: u64) -> Result<Opening> {
    let ovs = start(rules)?;
    let (bridge, ports) = sources(input, rules);
    let mut opening = Opening::new(all);
    // All at once: none is ahead of the others.
    add_ports(&ovs, bridge, &ports)?;
    while !opening.is_over()? {
        let count = ovs.appctl(&["dpctl/ct-get-nconns"])?;
        opening.note(count.trim().parse().with_context(|| format!("no number of connections: {count:?}"))?);
        stop::pause(LOOK)?;
    }
    Ok(opening)
}

/// The bridge with the rules and a sink.
fn start(rules: &Rules) -> Result<Ovs> {
    let ovs = Ovs::start()?;
    ovs.add_bridge()?;
    if !rules.exact_match_cache {
        ovs.vsctl(&["set", "Open_vSwitch", ".", "other_config:emc-insert-inv-prob=0"])?;
    }
    if let Some(side) = rules.tunnel {
        add_tunnel(&ovs, side)?;
    }
    ovs.add_flows(BRIDGE, &rules.text)?;
    let bridge = if rules.tunnel == Some(TunnelSide::Out) { PHYSICAL } else { BRIDGE };
    add_ports(&ovs, bridge, &[("sink".into(), SINK, 1500, testpmd::null(0))])?;
    Ok(ovs)
}

/// A port by name, number, MTU and device arguments.
type Port = (String, u16, usize, String);

/// The sources, and the bridge that they belong to.
fn sources(input: &Input, rules: &Rules) -> (&'static str, Vec<Port>) {
    let bridge = if rules.tunnel == Some(TunnelSide::In) { PHYSICAL } else { BRIDGE };
    let port = |((index, capture), number): ((usize, &std::path::PathBuf), u16)| {
        (format!("source{index}"), number, MTUS[index], super::source(index, capture))
    };
    (bridge, input.captures.iter().enumerate().zip(SOURCES).map(port).collect())
}

/// Adds them in one go.
fn add_ports(ovs: &Ovs, bridge: &str, ports: &[Port]) -> Result<()> {
    let mut words: Vec<String> = Vec::new();
    for (name, number, mtu, devargs) in ports {
        let add = ["--", "add-port", bridge, name, "--", "set", "Interface", name, "type=dpdk"];
        words.extend(add.map(str::to_owned));
        words.push(format!("ofport_request={number}"));
        words.push(format!("mtu_request={mtu}"));
        words.push(format!("options:dpdk-devargs=\"{devargs}\""));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    ovs.vsctl(&words)?;
    Ok(())
}

/// Adds the tunnel port and the bridge that its packets go through. They go by two rules there, not by learning: what a bridge
/// does not know it would send to the host, too.
fn add_tunnel(ovs: &Ovs, side: TunnelSide) -> Result<()> {
    let [vtep, peer] = [VTEP, PEER].map(|address| std::net::Ipv4Addr::from(address).to_string());
    let [vtep_mac, peer_mac] = [VTEP_MAC, PEER_MAC].map(text);
    let hwaddr = format!("other_config:hwaddr=\"{vtep_mac}\"");
    let set = ["set", "bridge", PHYSICAL, "datapath_type=netdev", "fail-mode=secure", "protocols=OpenFlow15"];
    ovs.vsctl(&[&["add-br", PHYSICAL, "--"], &set[..], &[hwaddr.as_str()]].concat())?;
    // The tables give each packet the number of its network.
    let key = match side {
        TunnelSide::Out => "options:key=flow".to_owned(),
        TunnelSide::In => format!("options:key={VNI}"),
    };
    let (remote, number) = (format!("options:remote_ip={peer}"), format!("ofport_request={TUNNEL}"));
    let set = ["set", "Interface", "tunnel", "type=vxlan", number.as_str(), remote.as_str(), key.as_str()];
    ovs.vsctl(&[&["add-port", BRIDGE, "tunnel", "--"], &set[..]].concat())?;
    ovs.give_address(PHYSICAL, &format!("{vtep}/24"))?;
    ovs.appctl(&["ovs/route/add", &format!("{peer}/24"), PHYSICAL])?;
    ovs.appctl(&["tnl/neigh/set", PHYSICAL, &peer, &peer_mac])?;
    let rules = match side {
        TunnelSide::Out => format!("in_port=LOCAL,actions=output:{SINK}\n"),
        TunnelSide::In => format!("in_port={},actions=LOCAL\n", SOURCES[0]),
    };
    ovs.add_flows(PHYSICAL, &rules)
}
