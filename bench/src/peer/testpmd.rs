//! dpdk-testpmd with its forwarding thread where we want it.

use anyhow::{Context, Result};
use shunt_tests::testpmd::{Options, Testpmd};

use crate::cores;

/// How DPDK 22.11 names the threads that forward.
const WORKER: &str = "rte-worker";

/// Starts it with its forwarding thread on `core` and all others on the house core.
///
/// # Errors
/// It is missing or refuses its arguments.
pub fn launch(options: &Options, core: usize) -> Result<Testpmd> {
    let mut testpmd = Testpmd::launch(options)?;
    cores::place_threads(testpmd.running().pid(), WORKER, core)?;
    Ok(testpmd)
}

/// Stops forwarding; the cycles of its busy iterations for each frame. `set record-core-cycles on` must have come before.
///
/// # Errors
/// It was not forwarding.
pub fn stop_counting_cycles(testpmd: &mut Testpmd) -> Result<f64> {
    let text = testpmd.command("stop")?;
    cycles(&text).with_context(|| format!("no cycles in what testpmd printed: {text}"))
}

fn cycles(text: &str) -> Option<f64> {
    text.split_once("CPU cycles/packet=")?.1.split(['(', ' ']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn cycles_are_read() {
        let text = "  CPU cycles/packet=101.34 (busy cycles=9 / total io packets=7) at 2600 MHz clock";
        assert_eq!(super::cycles(text), Some(101.34));
        assert_eq!(super::cycles("Telling cores to stop"), None);
    }
}
