//! Watching the stages decide.

use crate::wire::ethernet::Mac;

/// What a stage tells an observer. Borrowed and `Copy`, so that making one costs nothing when nobody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A stage begins: its table number and name.
    Table(u8, &'static str),
    /// A rule or entry matched.
    Matched(&'static str),
    /// An address was looked up; the port's name when it is known.
    Address(Mac, Option<&'a str>),
    /// The frame was rewritten.
    Rewrote(&'static str),
}

/// Receives the steps of one frame.
pub trait Observe {
    /// Takes one step.
    fn step(&mut self, step: Step<'_>);
}

/// The observer of the data path: sees nothing, costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observe for Silent {
    #[inline(always)]
    fn step(&mut self, _step: Step<'_>) {}
}
