//! A node with services: backends that say who they are and whom they see, and clients that ask them.

use std::time::{Duration, Instant};

use shunt_tests::{Cmd, Running};

use crate::lab::{self, Places};
use crate::node::{Node, PATIENCE, Pod};

/// Answers on TCP and UDP, over both families at `::`: `NAME PEER`. On TCP a request of HTTP gets a page with that, every other line
/// that and the line.
pub(crate) const SERVER: &str = r#"
use strict; use IO::Socket::IP; use IO::Select; use Socket qw(SOCK_STREAM SOCK_DGRAM); $| = 1; $SIG{CHLD} = "IGNORE";
my ($name, $port, $host) = @ARGV;
my %at = (LocalHost => $host, LocalPort => $port, ReuseAddr => 1);
$at{V6Only} = 0 if $host eq "::";
my $tcp = IO::Socket::IP->new(%at, Type => SOCK_STREAM, Listen => 64) or die "tcp: $!";
my $udp = IO::Socket::IP->new(%at, Type => SOCK_DGRAM, Proto => "udp") or die "udp: $!";
sub seen { my $who = shift; $who =~ s/^::ffff://; "$name $who" }
print "ready\n";
my $ready = IO::Select->new($tcp, $udp);
while (my @some = $ready->can_read) {
    for my $one (@some) {
        if ($one == $udp) {
            my $from = $udp->recv(my $said, 2000) or next;
            $udp->send(seen($udp->peerhost) . "\n", 0, $from);
            next;
        }
        my $client = $tcp->accept or next;
        next if fork;
        my $who = seen($client->peerhost);
        while (defined(my $line = <$client>)) {
            if ($line =~ /^GET /) {
                while (defined(my $more = <$client>)) { last if $more =~ /^\r?\n$/ }
                my $page = "$who\n";
                print $client "HTTP/1.0 200 OK\r\nContent-Length: " . length($page) . "\r\n\r\n$page";
                last;
            }
            print $client "$who $line";
            $client->flush;
        }
        exit 0;
    }
}
"#;

/// Speaks over one socket: for each line of input a line, or datagram, is sent, and what comes back is printed.
pub(crate) const TALK: &str = r#"
use strict; use IO::Socket::IP; $| = 1;
my ($proto, $host, $port) = @ARGV;
my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Proto => $proto, Timeout => 5) or do { print "failed: $!\n"; exit 0 };
print "open\n";
$SIG{ALRM} = sub { print "silence\n"; exit 0 };
while (defined(my $line = <STDIN>)) {
    alarm 3;
    if (!defined($s->send($line))) { print "failed: $!\n"; next }
    my $answer;
    if ($proto eq "udp") { defined($s->recv($answer, 2000)) or $answer = "failed: $!\n" }
    else { $answer = <$s>; $answer = "closed: $!\n" unless defined $answer }
    print $answer;
    alarm 0;
}
"#;

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Who answered.
    pub(crate) name: String,
    /// Whom he saw.
    pub(crate) peer: String,
}

/// Backends that run.
pub(crate) struct Backend(#[expect(dead_code, reason = "ends with it")] Running);

/// Serves `port` in `pod` under the name of its port.
#[track_caller]
pub(crate) fn serve(pod: &Pod, port: u16) -> Backend {
    let at = if pod.quiet { "0.0.0.0" } else { "::" };
    let program = pod.netns.spawn(&["perl", "-e", SERVER, &pod.port, &port.to_string(), at]).unwrap();
    program.expect("ready\n", 0, PATIENCE).unwrap();
    Backend(program)
}

pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn answer(text: &str) -> Option<Answer> {
    let mut words = text.split_whitespace();
    let (name, peer) = (words.next()?, words.next()?);
    name.starts_with("pod").then(|| Answer { name: name.to_owned(), peer: peer.to_owned() })
}

/// The curl command of one new connection.
fn curl(from: &Pod, host: &str, port: u16) -> Cmd {
    let url = format!("http://{}:{port}/", bracketed(host));
    from.netns.cmd(&["curl", "--silent", "--show-error", "--max-time", "5", "--noproxy", "*", &url])
}

/// One new connection of HTTP; or what curl says of it, and how long it took.
#[track_caller]
pub(crate) fn http(from: &Pod, host: &str, port: u16) -> Result<Answer, (String, Duration)> {
    let begin = Instant::now();
    let output = curl(from, host, port).run().unwrap();
    answer(&output.stdout).ok_or_else(|| (output.stderr.trim().to_owned(), begin.elapsed()))
}

/// The same until it is answered: neighbours have to be found first.
#[track_caller]
pub(crate) fn http_at_last(node: &Node, from: &Pod, host: &str, port: u16) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match http(from, host, port) {
            Ok(answer) => return answer,
            Err(error) if Instant::now() > deadline => {
                panic!(
                    "{} cannot reach {host}:{port}: {error:?}; {:?}\n{}",
                    from.port,
                    node.drops(),
                    node.cli("conntrack -L")
                )
            }
            Err(_) => {}
        }
    }
}

/// One socket that stays open.
pub(crate) struct Talk {
    program: Running,
}

impl Talk {
    #[track_caller]
    pub(crate) fn open(from: &Pod, protocol: &str, host: &str, port: u16) -> Self {
        let program = from.netns.spawn(&["perl", "-e", TALK, protocol, host, &port.to_string()]).unwrap();
        program.expect("\n", 0, PATIENCE).unwrap();
        Self { program }
    }

    /// Sends a line and gives what comes back.
    #[track_caller]
    pub(crate) fn say(&mut self, line: &str) -> String {
        let at = self.program.stdout().position();
        self.program.send_line(line).unwrap();
        self.program.expect("\n", at, PATIENCE).unwrap();
        self.program.stdout().text(at).trim().to_owned()
    }

    /// The same; `None` when it has not even been opened.
    #[track_caller]
    pub(crate) fn try_say(&mut self, line: &str) -> Option<String> {
        let is_open = self.program.stdout().text(0).starts_with("open");
        is_open.then(|| self.say(line))
    }

    /// Who answers, and whom he sees.
    #[track_caller]
    pub(crate) fn ask(&mut self) -> Result<Answer, String> {
        let said = self.try_say("hello").ok_or("it was not opened")?;
        answer(&said).ok_or(said)
    }
}

/// One datagram and its answer.
#[track_caller]
pub(crate) fn datagram(from: &Pod, host: &str, port: u16) -> Result<Answer, String> {
    Talk::open(from, "udp", host, port).ask()
}

/// A configuration of the lab with `services`; the first network is masqueraded when `masquerade` says so.
pub(crate) fn config(node: &Node, places: Places<'_>, masquerade: bool, services: &str) -> String {
    let mut text = lab::config("", &node.pods, places);
    if masquerade {
        text = text.replacen("name = \"net1\"\n", "name = \"net1\"\nmasquerade = true\n", 1);
    }
    format!("{text}{services}")
}

/// A service with TCP and UDP on port 80, whose backends answer on 8080.
pub(crate) fn service(keys: &str, backends: &[&str]) -> String {
    let endpoints = backends.iter().map(|backend| match backend.split_once(' ') {
        Some((address, keys)) => {
            format!("{{ address = \"{address}\", ports = {{ t = 8080, u = 8080 }}, {keys} }}")
        }
        None => format!("{{ address = \"{backend}\", ports = {{ t = 8080, u = 8080 }} }}"),
    });
    let endpoints: Vec<_> = endpoints.collect();
    let ports = if keys.contains("ports = ") {
        String::new()
    } else {
        "ports = [{ name = \"t\", port = 80 }, { name = \"u\", protocol = \"udp\", port = 80 }]\n".to_owned()
    };
    format!(
        "[[service]]\nname = \"shop/web\"\nrouter = \"common\"\n{ports}{keys}\nendpoints = [{}]\n",
        endpoints.join(", ")
    )
}
