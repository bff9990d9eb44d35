//! Benchmarks of `shunt`, side by side with its peers.
#![forbid(unsafe_code)]
