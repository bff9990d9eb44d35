//! Arbitrary IP headers of fragments: what is read is what stands there, and every piece fits a datagram.
#![no_main]

#[path = "../oracles/fragment.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
