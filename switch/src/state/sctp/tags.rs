//! Tags of which one is in force and another one may come to be.

/// The verification tags of one direction's packets; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::state) struct Tags {
    /// The one in force; before the handshake is complete, another candidate.
    pub(in crate::state) held: u32,
    /// The candidate that was told last or, before the handshake is complete, came back in a COOKIE ECHO.
    pub(in crate::state) offered: u32,
}

impl Tags {
    #[inline]
    pub(super) fn has(self, tag: u32) -> bool {
        tag != 0 && (tag == self.held || tag == self.offered)
    }

    /// Makes one of two candidates the newest.
    #[inline]
    pub(super) fn choose(&mut self, tag: u32) {
        if tag == self.held {
            std::mem::swap(&mut self.held, &mut self.offered);
        }
    }

    /// The newest candidate is in force. Once more, nothing changes: the step is taken again when another packet was faster.
    #[inline]
    pub(super) fn settle(&mut self) {
        if self.offered != 0 {
            *self = Self { held: self.offered, offered: 0 };
        }
    }
}
