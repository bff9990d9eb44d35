//! UDP sends of many datagrams in one call (UDP_SEGMENT): the kernel hands them to the switch as one frame where the device allows.

use std::time::Duration;

use shunt_tests::Running;

use super::Pod;

const WRITES: u32 = 200;
const SIZE: u32 = 1400;
// 46 datagrams: as many as fit into one UDP send of less than 64 KiB.
const PER_WRITE: u32 = 46;
const PATIENCE: Duration = Duration::from_secs(10);

// Each datagram carries its number, and otherwise a byte that follows from it, so that mixed up segments are seen.
const SEND: &str = r#"
use strict; use Socket;
my ($to, $writes, $size, $per) = @ARGV;
socket(my $s, AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
connect($s, pack_sockaddr_in(5201, inet_aton($to))) or die "connect: $!";
setsockopt($s, 17, 103, pack("i", $size)) or die "UDP_SEGMENT: $!";
for my $w (0 .. $writes - 1) {
    my $data = join "", map { my $n = $w * $per + $_; pack("N", $n) . chr($n % 251) x ($size - 4) } 0 .. $per - 1;
    defined(send($s, $data, 0)) or die "send: $!";
    select undef, undef, undef, 0.002;
}
"#;

const RECEIVE: &str = r#"
use strict; use Socket; $| = 1;
my ($want, $size) = @ARGV;
socket(my $s, AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
setsockopt($s, SOL_SOCKET, 33, pack("i", 16 << 20));
bind($s, pack_sockaddr_in(5201, INADDR_ANY)) or die "bind: $!";
print "listening\n";
my (%seen, $bad);
while (1) {
    recv($s, my $data, 65536, 0) // die "recv: $!";
    my $n = unpack("N", $data);
    if (length($data) == $size && substr($data, 4) eq chr($n % 251) x ($size - 4)) { $seen{$n}++ } else { $bad++ }
    die "damaged: $bad\n" if $bad;
    die "twice: $n\n" if $seen{$n} > 1;
    print "complete\n" if keys %seen == $want;
}
"#;

/// Sends both ways; the share `arrives` (0 to 1) must come, and what comes must be whole and come once.
pub fn exchange(a: &Pod, b: &Pod, arrives: f64) -> Result<(), String> {
    one_way(a, b, arrives)?;
    one_way(b, a, arrives)
}

fn one_way(from: &Pod, to: &Pod, arrives: f64) -> Result<(), String> {
    let wanted = (f64::from(WRITES * PER_WRITE) * arrives).ceil().to_string();
    let (size, writes, per) = (SIZE.to_string(), WRITES.to_string(), PER_WRITE.to_string());
    let run = || -> Result<(), shunt_tests::LabError> {
        let receiver: Running = to.netns.spawn(&["perl", "-e", RECEIVE, &wanted, &size])?;
        receiver.expect("listening\n", 0, PATIENCE)?;
        from.netns.exec(&["perl", "-e", SEND, &to.v4, &writes, &size, &per])?;
        receiver.expect("complete\n", 0, PATIENCE)?;
        // It goes on until it is killed here; damage after the wanted number is damage too.
        let said = receiver.stderr().text(0);
        if said.is_empty() { Ok(()) } else { Err(shunt_tests::LabError::Missing(said)) }
    };
    run().map_err(|error| format!("large udp sends from {} to {}: {error}", from.port, to.port))
}
