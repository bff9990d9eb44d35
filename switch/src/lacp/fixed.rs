//! Static aggregation: every member whose link is up carries traffic. There is no protocol: the other side must be set to the same
//! links by hand, and a link that is up and carries nothing is not noticed.

use super::Members;

/// The state of a static bond.
#[derive(Clone, Debug)]
pub struct Fixed {
    up: Members,
    min_links: usize,
}

impl Fixed {
    /// Nothing is up yet; with fewer than `min_links` that are, the bond carries nothing.
    pub fn new(min_links: usize) -> Self {
        Self { up: Members::default(), min_links }
    }

    /// The link of `member` is up or down.
    pub fn link(&mut self, member: usize, up: bool) {
        let bit = 1_u8.checked_shl(member as u32).unwrap_or(0);
        self.up.0 = if up { self.up.0 | bit } else { self.up.0 & !bit };
    }

    /// The members that carry traffic.
    pub fn carrying(&self) -> Members {
        if self.up.len() < self.min_links { Members::default() } else { self.up }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_are_up_unless_they_are_too_few() {
        let mut fixed = Fixed::new(2);
        fixed.link(0, true);
        assert!(fixed.carrying().is_empty());
        fixed.link(2, true);
        assert_eq!(fixed.carrying(), Members(0b101));
        fixed.link(200, true);
        assert_eq!(fixed.carrying(), Members(0b101), "there is no such member");
        fixed.link(0, false);
        assert!(fixed.carrying().is_empty());
    }
}
