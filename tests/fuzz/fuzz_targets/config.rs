//! Arbitrary text as a configuration: refused with messages, or the same when it is written out and read again.
#![no_main]

#[path = "../oracles/config.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
