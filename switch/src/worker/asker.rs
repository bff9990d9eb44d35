//! Requests for neighbours that nobody knows yet, at a limited rate: whatever a tenant sends to addresses that do not
//! exist, a network hears of each at most ten times a second.

use std::net::IpAddr;
use std::time::Duration;

use shunt_ffi::{Mbuf, Mempool, clock};

use crate::pipeline::Question;
use crate::wire::{arp, nd};

/// Between two requests for the same neighbour.
const QUIET: Duration = Duration::from_millis(100);
/// Neighbours that are told apart; those that share a place share its rate. So one worker sends at most ten times as many
/// requests a second. A power of two.
const PLACES: usize = 256;

/// The times of the last requests.
#[derive(Debug)]
pub(super) struct Asker {
    last: Box<[u64; PLACES]>,
    quiet: u64,
}

impl Default for Asker {
    fn default() -> Self {
        Self { last: Box::new([0; PLACES]), quiet: clock::cycles(QUIET) }
    }
}

impl Asker {
    /// The request; `None` when it is too early for another, or there is no buffer for it.
    #[cold]
    pub(super) fn ask(&mut self, question: &Question, pool: Mempool) -> Option<Mbuf> {
        let bits = match question.target {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() ^ address.to_bits() >> 64) as u64,
        };
        let mixed = (bits ^ (question.network.index() as u64) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let last = self.last.get_mut((mixed >> (64 - PLACES.trailing_zeros())) as usize)?;
        let now = clock::tsc();
        if *last != 0 && now.wrapping_sub(*last) < self.quiet {
            return None;
        }
        let request = match (question.source, question.target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                pool.frame(&arp::request(question.mac, source, target))?
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                pool.frame(&nd::solicitation(question.mac, source, target))?
            }
            _ => return None,
        };
        *last = now;
        Some(request)
    }
}
