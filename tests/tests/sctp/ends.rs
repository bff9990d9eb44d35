//! Ends of associations: the program `end.c`, and packets made by hand.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use shunt_tests::{Cmd, Netns, Running};

use crate::node::{PATIENCE, Pod};

/// What says that libusrsctp is there.
pub(crate) const HEADER: &str = "/usr/include/usrsctp.h";

/// Sends the packet with these hexadecimal digits over IP.
const RAW: &str = r#"
use strict; use Socket qw(:DEFAULT AF_INET6 inet_pton pack_sockaddr_in6);
my ($to, $hex) = @ARGV;
my $v6 = $to =~ /:/;
socket(my $s, $v6 ? AF_INET6 : AF_INET, SOCK_RAW, 132) or die "socket: $!";
my $address = $v6 ? pack_sockaddr_in6(0, inet_pton(AF_INET6, $to)) : pack_sockaddr_in(0, inet_aton($to));
send($s, pack("H*", $hex), 0, $address) or die "send: $!";
"#;

/// Prints what the first ICMP error quotes behind the IP header, as hexadecimal digits.
const LISTEN: &str = r#"
use strict; use Socket qw(:DEFAULT AF_INET6); $| = 1;
my $v6 = shift;
socket(my $s, $v6 ? AF_INET6 : AF_INET, SOCK_RAW, $v6 ? 58 : 1) or die "socket: $!";
print "ready\n";
while (1) {
    defined recv($s, my $packet, 4000, 0) or die "recv: $!";
    $packet = substr($packet, 4 * (ord($packet) & 15)) unless $v6;
    my $type = ord $packet;
    next unless $v6 ? $type == 1 || $type == 4 : $type == 3;
    my $quoted = substr($packet, 8);
    print unpack("H*", substr($quoted, $v6 ? 40 : 4 * (ord($quoted) & 15))), "\n";
    last;
}
"#;

/// The compiled program; it stays where it is until the next build.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sctp/end.c");
        // Each test is a process of its own: none may see another one's half-written file.
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sctp-end-{}", std::process::id()));
        let (from, to) = (source.to_string_lossy(), program.to_string_lossy());
        Cmd::new(["cc", "-O1", "-Wall", "-Werror", "-o", &to, &from, "-lusrsctp"]).check().unwrap();
        program
    })
}

/// A running end.
pub(crate) struct End {
    program: Running,
}

impl Drop for End {
    fn drop(&mut self) {
        self.program.kill();
    }
}

fn run(place: &Netns, words: &[&str]) -> Running {
    let mut argv = vec![program().to_str().expect("a path of this repository")];
    argv.extend(words);
    place.spawn(&argv).unwrap()
}

impl End {
    /// Answers at an address of the pod, under the name of its port.
    #[track_caller]
    pub(crate) fn serve(pod: &Pod, host: &str, port: u16) -> Self {
        Self::serve_in(&pod.netns, &pod.port, host, port)
    }

    /// Answers at an address of a place under a name.
    #[track_caller]
    pub(crate) fn serve_in(place: &Netns, name: &str, host: &str, port: u16) -> Self {
        let program = run(place, &["serve", name, host, &port.to_string()]);
        program.expect("ready\n", 0, PATIENCE).unwrap();
        Self { program }
    }

    /// An association from `host` and `port` of the pod.
    #[track_caller]
    pub(crate) fn talk(pod: &Pod, host: &str, port: u16, to: &str, to_port: u16) -> Self {
        Self::talk_in(&pod.netns, host, port, to, to_port)
    }

    /// The same from a place.
    #[track_caller]
    pub(crate) fn talk_in(place: &Netns, host: &str, port: u16, to: &str, to_port: u16) -> Self {
        let program = run(place, &["talk", host, &port.to_string(), to, &to_port.to_string()]);
        program.expect("open\n", 0, PATIENCE).unwrap();
        Self { program }
    }

    /// Serves `port`, and has an association from `own` to somewhere from where that may come back.
    #[track_caller]
    pub(crate) fn both(pod: &Pod, host: &str, port: u16, own: u16, to: &str, to_port: u16) -> Self {
        let [port, own, to_port] = [port, own, to_port].map(|port| port.to_string());
        let program = run(&pod.netns, &["both", &pod.port, host, &port, &own, to, &to_port]);
        program.expect("open\n", 0, PATIENCE).unwrap();
        Self { program }
    }

    /// Gives the program a line, and what it then prints.
    #[track_caller]
    fn obey(&mut self, line: &str) -> String {
        let at = self.program.stdout().position();
        self.program.send_line(line).unwrap();
        self.program.expect("\n", at, PATIENCE).unwrap();
        self.program.stdout().text(at).trim().to_owned()
    }

    /// Sends a message; the answer.
    #[track_caller]
    pub(crate) fn say(&mut self, text: &str) -> String {
        self.obey(&format!("say {text}"))
    }

    /// Sends a message of so many bytes; whether it came back the `same`.
    #[track_caller]
    pub(crate) fn big(&mut self, bytes: usize) -> String {
        let answer = self.obey(&format!("big {bytes}"));
        answer.split(' ').next().unwrap_or_default().to_owned()
    }

    /// Ends the association by `close` or `abort`; both ends agree that it is over.
    #[track_caller]
    pub(crate) fn ends(mut self, how: &str) {
        assert_eq!(self.obey(how), "closed");
    }
}

/// Sends an SCTP packet made by hand.
#[track_caller]
pub(crate) fn raw(pod: &Pod, to: &str, hex: &str) {
    pod.netns.exec(&["perl", "-e", RAW, to, hex]).unwrap();
}

/// Sends a frame whose SCTP checksum is left to the device, as a kernel with the offload does: a virtio-net header in front of
/// it says where the packet starts and its checksum is.
const UNFINISHED: &str = r#"
use strict;
my ($hex, $start) = @ARGV;
open(my $f, "<", "/sys/class/net/eth0/ifindex") or die "ifindex: $!"; my $index = <$f> + 0;
socket(my $s, 17, 3, 0) or die "socket: $!";
setsockopt($s, 263, 15, pack("i", 1)) or die "PACKET_VNET_HDR: $!";
bind($s, pack("S n i S C C a8", 17, 0x0800, $index, 0, 0, 0, "")) or die "bind: $!";
send($s, pack("C C S S S S", 1, 0, 0, 0, $start, 8) . pack("H*", $hex), 0) or die "send: $!";
"#;

/// Sends an IPv4 packet with this SCTP packet, whose checksum is still to be made.
#[track_caller]
pub(crate) fn unfinished(pod: &Pod, gateway_mac: &str, to: &str, sctp: &str) {
    let mut ip = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, 132, 0, 0];
    for host in [&pod.v4, to] {
        ip.extend(host.parse::<std::net::Ipv4Addr>().expect("an address").octets());
    }
    let length = u16::try_from(ip.len() + sctp.len() / 2).expect("a short packet");
    ip[2..4].copy_from_slice(&length.to_be_bytes());
    let sum: u32 = ip.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let folded = ((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&(!folded).to_be_bytes());
    let own = pod.netns.exec(&["cat", "/sys/class/net/eth0/address"]).unwrap().stdout;
    let macs = format!("{gateway_mac}{}", own.trim()).replace(':', "");
    let ip: String = ip.iter().map(|byte| format!("{byte:02x}")).collect();
    pod.netns.exec(&["perl", "-e", UNFINISHED, &format!("{macs}0800{ip}{sctp}"), "34"]).unwrap();
}

/// Waits for an ICMP error.
pub(crate) struct Listener(Running);

impl Listener {
    #[track_caller]
    pub(crate) fn start(pod: &Pod, v6: bool) -> Self {
        let program = pod.netns.spawn(&["perl", "-e", LISTEN, if v6 { "1" } else { "0" }]).unwrap();
        program.expect("ready\n", 0, PATIENCE).unwrap();
        Self(program)
    }

    /// The packet that it quotes, from the transport header on.
    #[track_caller]
    pub(crate) fn quoted(self) -> String {
        let at = "ready\n".len();
        self.0.expect("\n", at, PATIENCE).unwrap();
        self.0.stdout().text(at).trim().to_owned()
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// CRC32c (RFC 9260 appendix A), bit by bit, as digits of the field.
fn checksum(hex: &str) -> String {
    let mut crc = u32::MAX;
    for (at, byte) in bytes(hex).into_iter().enumerate() {
        crc ^= if (8..12).contains(&at) { 0 } else { u32::from(byte) };
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    format!("{:08x}", (!crc).swap_bytes())
}

/// The packet with its checksum.
pub(crate) fn with_checksum(hex: &str) -> String {
    format!("{}{}{}", &hex[..16], checksum(hex), &hex[24..])
}

/// True when the checksum is right.
pub(crate) fn is_sound(hex: &str) -> bool {
    hex[16..24] == checksum(hex)
}
