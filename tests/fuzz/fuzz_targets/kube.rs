//! Arbitrary text as Kubernetes objects: refused with a message, or applied, and a second time nothing changes.
#![no_main]

#[path = "../oracles/kube.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::check(input);
});
