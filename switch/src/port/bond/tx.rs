//! A worker's way out of a bond: a queue of every member. Which one a frame takes is asked when it is sent, so cached flows follow a
//! change at once.

use std::sync::Arc;

use shunt_config::BondHash;
use shunt_ffi::Burst;

use super::hash::hash;
use super::share::{Counts, Share};
use crate::offload::EgressCapabilities;
use crate::port::{Sent, TxQueue};

/// See the module's text.
#[derive(Debug)]
pub struct BondTxQueue {
    members: Vec<Way>,
    /// What was not sent, until the caller has it back.
    left: Burst,
    share: Arc<Share>,
    policy: BondHash,
    can: EgressCapabilities,
}

/// One member's queue and what is to go there.
#[derive(Debug)]
struct Way {
    queue: TxQueue,
    waiting: Burst,
}

impl BondTxQueue {
    pub(super) fn new(queues: Vec<TxQueue>, share: Arc<Share>, policy: BondHash) -> Self {
        // A frame may take any of them.
        let can = queues.iter().map(TxQueue::capabilities).reduce(|a, b| EgressCapabilities {
            checksum: a.checksum && b.checksum,
            tso4: a.tso4 && b.tso4,
            tso6: a.tso6 && b.tso6,
            uso: a.uso && b.uso,
            multi_segment: a.multi_segment && b.multi_segment,
        });
        let members = queues.into_iter().map(|queue| Way { queue, waiting: Burst::new() }).collect();
        Self { members, left: Burst::new(), share, policy, can: can.unwrap_or_default() }
    }

    /// As [`TxQueue::transmit`]. Nobody is there to take frames when no member carries traffic.
    pub(crate) fn transmit(&mut self, burst: &mut Burst) -> Sent {
        let Self { members, left, share, policy, .. } = self;
        let suspended = share.suspended();
        let mut whole = Sent { down: true, ..Sent::default() };
        for frame in burst.drain() {
            let member = share.member(hash(*policy, frame.data()), suspended);
            let way = member.and_then(|member| members.get_mut(member));
            whole.down &= way.is_none();
            // No burst can overflow: all together hold what one held.
            let _ = match way {
                Some(way) => way.waiting.push(frame),
                None => left.push(frame),
            };
        }
        for (member, way) in members.iter_mut().enumerate().filter(|(_, way)| !way.waiting.is_empty()) {
            let sent = way.queue.transmit(&mut way.waiting);
            Counts::add(&share.counts(member).tx, sent.frames);
            whole.frames += sent.frames;
            whole.refused += sent.refused;
            whole.contended |= sent.contended;
            if sent.down {
                // Whoever asks again, now or with the next burst, gets another member.
                share.suspend(member);
            }
            for frame in way.waiting.drain() {
                let _ = left.push(frame);
            }
        }
        for frame in left.drain() {
            let _ = burst.push(frame);
        }
        whole
    }

    /// What every member can.
    pub(crate) fn capabilities(&self) -> EgressCapabilities {
        self.can
    }
}
