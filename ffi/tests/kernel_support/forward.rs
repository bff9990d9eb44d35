//! Two ports joined on a thread, and what passed between them.

use std::sync::atomic::{AtomicBool, Ordering};

use shunt_ffi::Burst;
use shunt_ffi::kernel::{Gone, Sent};
use shunt_ffi::offload::{Checksum, GsoKind};

/// What crossed, by offload state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) frames: u64,
    pub(crate) partial: u64,
    pub(crate) tcp_gso: u64,
    pub(crate) udp_gso: u64,
    pub(crate) longest: u32,
}

impl Seen {
    fn look(&mut self, burst: &Burst) {
        for frame in burst.iter() {
            let state = frame.offload().unwrap();
            self.frames += 1;
            self.longest = self.longest.max(frame.len());
            self.partial += u64::from(matches!(state.checksum, Checksum::Partial { .. }));
            match state.gso.map(|gso| gso.kind) {
                Some(GsoKind::TcpV4 | GsoKind::TcpV6) => self.tcp_gso += 1,
                Some(GsoKind::Udp) => self.udp_gso += 1,
                None => {}
            }
        }
    }
}

type Receive<'a> = Box<dyn FnMut(&mut Burst) -> Result<usize, Gone> + Send + 'a>;
type Transmit<'a> = Box<dyn FnMut(&mut Burst) -> Result<Sent, Gone> + Send + 'a>;

/// A port's two functions.
pub(crate) struct End<'a> {
    pub(crate) receive: Receive<'a>,
    pub(crate) transmit: Transmit<'a>,
}

/// Forwards between the ends while `work` runs.
pub(crate) fn while_forwarding<T>(mut ends: [End<'_>; 2], work: impl FnOnce() -> T) -> (T, Seen) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let forwarder = scope.spawn(|| {
            let mut seen = Seen::default();
            let mut burst = Burst::new();
            while !stop.load(Ordering::Relaxed) {
                let mut idle = true;
                for from in 0..2 {
                    if (ends[from].receive)(&mut burst).unwrap() > 0 {
                        idle = false;
                        seen.look(&burst);
                        let sent = (ends[1 - from].transmit)(&mut burst).unwrap();
                        assert_eq!(sent.refused, 0);
                        burst.clear();
                    }
                }
                if idle {
                    std::thread::yield_now();
                }
            }
            seen
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let seen = forwarder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), seen)
    })
}
