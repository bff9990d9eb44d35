//! Open vSwitch with DPDK on the one-way path.

use std::time::Duration;

use anyhow::Result;
use shunt_tests::testpmd;

use super::Input;
use crate::figure::Sample;
use crate::peer::ovs::Ovs;
use crate::stop;

/// OpenFlow port numbers of the sources; the sink is port 2.
pub const SOURCES: [u16; 4] = [1, 11, 12, 13];
const SINK: u16 = 2;
/// Ports of one MTU share a pool, which holds 262,144 buffers at most: these are four pools of the least memory.
const MTUS: [usize; SOURCES.len()] = [1500, 500, 2500, 3500];

/// What it is told to do.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Rules as `ovs-ofctl add-flows` takes them, one a line.
    pub text: String,
    /// Whether the exact-match cache is on, as it is by default.
    pub exact_match_cache: bool,
}

/// One run.
///
/// # Errors
/// It is not installed, refuses something, or a signal came.
pub fn open_vswitch(input: &Input, rules: &Rules, window: Duration) -> Result<Sample> {
    let ovs = Ovs::start()?;
    ovs.add_bridge()?;
    if !rules.exact_match_cache {
        ovs.vsctl(&["set", "Open_vSwitch", ".", "other_config:emc-insert-inv-prob=0"])?;
    }
    ovs.add_flows(&rules.text)?;
    let port = |name: &str, number: u16, mtu: usize, devargs: &str| {
        let number = format!("ofport_request={number}");
        let (mtu, devargs) = (format!("mtu_request={mtu}"), format!("options:dpdk-devargs=\"{devargs}\""));
        let set = ["add-port", "br0", name, "--", "set", "Interface", name, "type=dpdk"];
        ovs.vsctl(&[&set[..], &[number.as_str(), mtu.as_str(), devargs.as_str()]].concat())
    };
    port("sink", SINK, 1500, &testpmd::null(0))?;
    for (index, (capture, number)) in input.captures.iter().zip(SOURCES).enumerate() {
        port(&format!("source{index}"), number, MTUS[index], &super::source(index, capture))?;
    }
    stop::pause(input.warm_up())?;
    let (mpps, cycles) = ovs.watch(window)?;
    Ok(Sample::new(mpps, vec![("cycles/packet", cycles)]))
}
