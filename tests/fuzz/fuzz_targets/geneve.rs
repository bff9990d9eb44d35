//! Arbitrary Geneve headers: options fill the header, and none that is critical is passed over.
#![no_main]

#[path = "../oracles/geneve.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
