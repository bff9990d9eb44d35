//! Whatever partners say to a bond: its machines send traffic only over links that are up, and to one partner.
#![no_main]

#[path = "../oracles/lacp.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
