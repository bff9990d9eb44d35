//! An arbitrary file in `state_dir`: a daemon starts with it, and what it leaves is read again.
#![no_main]

#[path = "../oracles/kept.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
