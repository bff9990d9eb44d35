//! Arbitrary packets quoted in ICMP errors: the connection is that of the bytes.
#![no_main]

#[path = "../oracles/quoted.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
