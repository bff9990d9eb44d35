//! Arbitrary descriptors, indices and headers of a guest in the rings of a vhost-user port.
#![no_main]

#[path = "../oracles/vhost.rs"]
mod oracle;
#[path = "../../../ffi/tests/vhost_support/mod.rs"]
mod vhost_support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
