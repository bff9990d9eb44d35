//! Arbitrary SCTP packets of an association: what is not valid changes nothing.
#![no_main]

#[path = "../oracles/sctp.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
