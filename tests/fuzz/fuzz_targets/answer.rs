//! Arbitrary packets that are answered: ICMP errors quote them, echo replies and resets are whole packets, and what comes back is heard.
#![no_main]

#[path = "../oracles/answer.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
