//! Arbitrary bytes through the tunnel terminator: nothing panics, nothing outside the packet is opened, and a split frame agrees.
#![no_main]

#[path = "../oracles/open.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
