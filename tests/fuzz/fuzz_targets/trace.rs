//! Arbitrary text as an expression of `shunt trace`: refused with a message, or the frame is as it says.
#![no_main]

#[path = "../oracles/trace.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
