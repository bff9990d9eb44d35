//! Arbitrary bytes through the parser: nothing panics, and the keys of the three depths and of a split frame agree.
#![no_main]

#[path = "../oracles/parse.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| oracle::check(input));
