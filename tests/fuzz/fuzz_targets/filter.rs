//! Arbitrary text as a filter of `shunt tcpdump`, over an arbitrary frame: refused with a message, or it and its negation are at odds.
#![no_main]

#[path = "../oracles/filter.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
