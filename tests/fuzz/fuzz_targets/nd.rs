//! Arbitrary frames as ARP and neighbour discovery: what is read is what stands there.
#![no_main]

#[path = "../oracles/nd.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
