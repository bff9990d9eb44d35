//! Flows: what identifies one, what is done to its frames, and the cache that remembers both.

pub mod actions;
pub mod cache;
pub mod execute;
pub mod hash;
pub mod key;
pub mod parse;

pub use actions::{Actions, Answer, Verdict};
pub use cache::FlowCache;
pub use key::{Depth, FlowKey};
