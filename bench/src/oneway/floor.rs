//! testpmd io on the one-way path: what the devices themselves cost. Each source has a sink of its own, because testpmd
//! forwards between the ports of a pair.

use std::time::{Duration, Instant};

use anyhow::Result;
use shunt_tests::testpmd::{self, Forward, Memory, Options, Testpmd};

use super::Input;
use crate::figure::Sample;
use crate::{cores, peer, stop};

/// One run.
///
/// # Errors
/// It is not installed, refuses its arguments, or a signal came.
pub fn testpmd_io(input: &Input, window: Duration) -> Result<Sample> {
    let pair = |(index, capture): (usize, &std::path::PathBuf)| {
        [super::source(index, capture), testpmd::null(index as u16)]
    };
    let options = Options {
        vdevs: input.captures.iter().enumerate().flat_map(pair).collect(),
        memory: Memory::Huge(input.megabytes()),
        mbufs: input.mbufs(),
        args: vec!["--burst=32".into()],
        ..Options::default()
    };
    let mut testpmd = peer::testpmd::launch(&options, cores::SWITCH)?;
    testpmd.command("set record-core-cycles on")?;
    testpmd.start(Forward::Io)?;
    stop::pause(input.warm_up())?;
    let (before, started) = (received(&mut testpmd, input)?, Instant::now());
    stop::pause(window)?;
    let (after, elapsed) = (received(&mut testpmd, input)?, started.elapsed());
    let cycles = peer::testpmd::stop_counting_cycles(&mut testpmd)?;
    let mpps = (after - before) as f64 / elapsed.as_secs_f64() / 1e6;
    Ok(Sample::new(mpps, vec![("cycles/packet", cycles)]))
}

/// Frames that the sources gave: ports 0, 2, 4 and so on.
fn received(testpmd: &mut Testpmd, input: &Input) -> Result<u64> {
    let mut sum = 0;
    for index in 0..input.captures.len() {
        sum += testpmd.port_stats(2 * index as u16)?.rx_packets;
    }
    Ok(sum)
}
