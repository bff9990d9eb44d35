//! A worker's thread that stands still, as one does whose core is taken away.

use std::fs;
use std::time::Duration;

use shunt_tests::{Cmd, Running, Shuntd};

/// Stops one thread by ptrace(2), and lets it go on when its standard input ends.
const STOPPER: &str = r#"
use strict; $| = 1;
# Numbers, for a text is passed as its address.
my ($ptrace, $seize, $interrupt, $tid) = (101, 0x4206, 0x4207, $ARGV[0] + 0);
syscall($ptrace, $seize, $tid, 0, 0) == 0 or die "seize: $!";
syscall($ptrace, $interrupt, $tid, 0, 0) == 0 or die "interrupt: $!";
waitpid($tid, 0x40000000) == $tid or die "wait: $!";
print "stopped\n";
<STDIN>;
"#;

/// Dropped, the thread goes on: the kernel lets go of it when its tracer ends.
pub(crate) struct Stalled {
    _tracer: Running,
}

impl Stalled {
    /// Stops worker number `worker` of the daemon.
    #[track_caller]
    pub(crate) fn worker(shuntd: &Shuntd, worker: usize) -> Self {
        let wanted = format!("shunt-worker-{worker}");
        // A thread's name has 15 bytes.
        let wanted = wanted.get(..15).unwrap_or(&wanted);
        let tasks = fs::read_dir(format!("/proc/{}/task", shuntd.pid())).unwrap();
        let named = |path: &std::path::Path| {
            fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim_end() == wanted)
        };
        let task =
            tasks.map(|task| task.unwrap().path()).find(|path| named(path)).expect("the worker's thread");
        let tid = task.file_name().unwrap().to_string_lossy().into_owned();
        let tracer = Cmd::new(["perl", "-e", STOPPER, &tid]).spawn().unwrap();
        tracer.expect("stopped\n", 0, Duration::from_secs(5)).unwrap();
        Self { _tracer: tracer }
    }
}
