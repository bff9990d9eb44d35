//! From selectors to addresses: namespaces, pods and policies of the configuration in, the table of
//! [`crate::table::policy`] out. Pure; runs on the control thread.
//!
//! | file | holds |
//! |---|---|
//! | `select` | the sets of pods that rules name and policies are about, and which of them a pod is in |
//! | `compile` | policies as chapters of rules over these sets |
//! | `resolver` | what every pod is, kept from one configuration to the next |
//!
//! A pod that comes, goes or gets another label is looked at alone: the sets that it may be in are found by its namespace
//! and labels, and the table gets another row. A policy that comes, goes or changes has only those pods looked at that its selectors
//! choose, and another label of a namespace only those of that namespace.

mod compile;
mod resolver;
mod select;
#[cfg(test)]
pub(crate) mod tests;

pub use resolver::Resolver;
