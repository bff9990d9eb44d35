//! Active-backup: one member carries all traffic as long as its link is up, then another that is up takes its place. There is no
//! protocol, so a link that is up and carries nothing is not noticed.

use super::Members;

/// The state of an active-backup bond.
#[derive(Clone, Debug, Default)]
pub struct Backup {
    up: Members,
    active: Option<usize>,
}

impl Backup {
    /// The link of `member` is up or down.
    pub fn link(&mut self, member: usize, up: bool) {
        let bit = 1_u8.checked_shl(member as u32).unwrap_or(0);
        self.up.0 = if up { self.up.0 | bit } else { self.up.0 & !bit };
        // Whoever carries traffic goes on: a link that comes back is no reason to move.
        if !self.active.is_some_and(|active| self.up.has(active)) {
            self.active = self.up.iter().next();
        }
    }

    /// The member that carries all traffic.
    pub fn active(&self) -> Option<usize> {
        self.active
    }

    /// The same as a set. From others nothing is taken: a broadcast comes over all links.
    pub fn carrying(&self) -> Members {
        Members::which(super::MEMBERS, |member| Some(member) == self.active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_up_and_then_it_stays() {
        let mut backup = Backup::default();
        assert!(backup.carrying().is_empty());
        backup.link(1, true);
        backup.link(0, true);
        assert_eq!(backup.active(), Some(1), "it was there first");
        backup.link(1, false);
        assert_eq!(backup.active(), Some(0));
        backup.link(1, true);
        assert_eq!((backup.active(), backup.carrying()), (Some(0), Members(1)));
        backup.link(0, false);
        backup.link(1, false);
        assert_eq!((backup.active(), backup.carrying()), (None, Members(0)));
        backup.link(200, true);
        assert!(backup.carrying().is_empty(), "there is no such member");
    }
}
