//! A station: sends frames of any shape from a pod's interface, and sees every frame of ours that reaches it.
//!
//! Frames carry the EtherType for local experiments (IEEE 802, 0x88b5) and a number. The kernel keeps the order between two
//! interfaces and so does the switch between two ports; that something did *not* come is therefore known when what was sent after it is there.

use std::cell::Cell;
use std::time::{Duration, Instant};

use shunt_tests::{Netns, Running};

use super::PATIENCE;

/// The broadcast address.
pub const BROADCAST: &str = "ff:ff:ff:ff:ff:ff";
/// Shortest frame that carries a number.
pub const SHORTEST: usize = 18;

const PROGRAM: &str = r#"
use strict; use IO::Select; $| = 1;
open(my $f, "<", "/sys/class/net/$ARGV[0]/ifindex") or die "ifindex: $!"; my $index = <$f> + 0;
socket(my $s, 17, 3, unpack("S", pack("n", 0x88b5))) or die "socket: $!";
bind($s, pack("S n i S C C a8", 17, 0x88b5, $index, 0, 0, 0, "")) or die "bind: $!";
setsockopt($s, 1, 33, pack("i", 16 << 20));
my $select = IO::Select->new($s, \*STDIN); my $text = "";
print "ready\n";
while (1) {
    for my $ready ($select->can_read) {
        if ($ready == $s) {
            defined(recv($s, my $frame, 65536, 0)) or next;
            printf "got %d %d %s\n", unpack("N", substr($frame, 14)), length($frame), unpack("H24", $frame);
        } else {
            sysread(STDIN, $text, 1 << 20, length $text) or exit;
            while ($text =~ s/^(.*)\n//) { defined(send($s, pack("H*", $1), 0)) or print "refused $!\n" }
        }
    }
}
"#;

thread_local! {
    static NEXT: Cell<u32> = const { Cell::new(1) };
}

/// A frame that reached a station.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub number: u32,
    pub length: usize,
}

/// A running station.
pub struct Station {
    name: String,
    program: Running,
}

impl Station {
    /// Starts one on `eth0` of a pod.
    #[track_caller]
    pub fn on(netns: &Netns) -> Self {
        let program = netns.spawn(&["perl", "-e", PROGRAM, "eth0"]).unwrap();
        program.expect("ready\n", 0, PATIENCE).unwrap();
        Self { name: netns.name().to_owned(), program }
    }

    /// Sends the shortest frame; returns its number.
    #[track_caller]
    pub fn send(&mut self, dst: &str, src: &str) -> u32 {
        self.send_long(dst, src, SHORTEST)
    }

    /// Sends a frame of `length` bytes, Ethernet header included; returns its number.
    #[track_caller]
    pub fn send_long(&mut self, dst: &str, src: &str, length: usize) -> u32 {
        let number = NEXT.replace(NEXT.get() + 1);
        let mut hex = format!("{}{}88b5{number:08x}", dst.replace(':', ""), src.replace(':', ""));
        hex.extend(std::iter::repeat_n("5a", length - SHORTEST));
        self.program.send_line(&hex).unwrap();
        number
    }

    /// Every frame that has reached it.
    #[track_caller]
    pub fn seen(&self) -> Vec<Seen> {
        let text = self.program.stdout().text(0);
        assert!(!text.contains("refused"), "{}: the kernel did not take a frame: {text}", self.name);
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let frame = |line: &str| {
            let mut words = line.strip_prefix("got ")?.split(' ').map(|word| word.parse::<usize>().ok());
            Some(Seen { number: u32::try_from(words.next()??).ok()?, length: words.next()?? })
        };
        whole.lines().filter_map(frame).collect()
    }

    /// How often the frame has reached it.
    #[track_caller]
    pub fn times(&self, number: u32) -> usize {
        self.seen().iter().filter(|frame| frame.number == number).count()
    }

    /// Waits until the frame has reached it.
    #[track_caller]
    pub fn wait(&self, number: u32) {
        assert!(
            self.comes(number, PATIENCE),
            "{}: frame {number} did not come: {:?}",
            self.name,
            self.seen()
        );
    }

    /// Whether the frame reaches it in time.
    #[track_caller]
    pub fn comes(&self, number: u32, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while self.times(number) == 0 {
            if Instant::now() >= deadline {
                return false;
            }
            let at = self.program.stdout().position();
            // Whatever comes next may be it; a short time so that one that came in between is not waited for.
            let _ = self.program.stdout().wait_for("\n", at, Duration::from_millis(20));
        }
        true
    }
}

/// Sends a broadcast from a station with the address `src`, and waits until all `others` have it: what was sent before has come
/// by then, or never will.
#[track_caller]
pub fn fence(from: &mut Station, src: &str, others: &[&Station]) {
    let number = from.send(BROADCAST, src);
    for station in others {
        station.wait(number);
    }
}
