//! Immutable tables of a topology. Each is one file with the same verbs: a builder, `get`, `iter`, `len`.

pub mod fdb;
pub mod fib;
pub mod nat;
pub mod neighbor;
pub mod policy;
pub mod service;
