//! A wire's end: sends any frame from an interface of a namespace, and shows every frame that comes in by it, tags included.
//!
//! Sending is a packet socket of perl; what comes in is told by `tcpdump`, which puts the tag back that the kernel takes off a
//! received frame (packet(7), `PACKET_AUXDATA`).

use std::time::{Duration, Instant};

use crate::{LabError, Netns, Running};

const START: Duration = Duration::from_secs(10);

const SENDER: &str = r#"
use strict; $| = 1;
open(my $f, "<", "/sys/class/net/$ARGV[0]/ifindex") or die "ifindex: $!"; my $index = <$f> + 0;
socket(my $s, 17, 3, 0) or die "socket: $!";
bind($s, pack("S n i S C C a8", 17, 0, $index, 0, 0, 0, "")) or die "bind: $!";
print "ready\n";
while (<STDIN>) { chomp; print defined(send($s, pack("H*", $_), 0)) ? "sent\n" : "refused $!\n" }
"#;

/// One end of a wire, both directions.
pub struct Wire {
    sender: Running,
    sniffer: Running,
}

impl Wire {
    /// Takes `device` of `netns`; it goes on serving the kernel.
    ///
    /// # Errors
    /// perl or tcpdump does not start.
    pub fn on(netns: &Netns, device: &str) -> Result<Self, LabError> {
        let sender = netns.spawn(&["perl", "-e", SENDER, device])?;
        let sniff =
            ["tcpdump", "-i", device, "-Q", "in", "-nn", "-e", "-l", "-xx", "-s", "0", "--immediate-mode"];
        let sniffer = netns.spawn(&sniff)?;
        sender.expect("ready\n", 0, START)?;
        sniffer
            .stderr()
            .wait_for("listening on", 0, START)
            .ok_or_else(|| LabError::Missing(format!("tcpdump on {device}: {}", sniffer.stderr().text(0))))?;
        Ok(Self { sender, sniffer })
    }

    /// Sends a frame (without its check sequence); it has left when this returns.
    ///
    /// # Errors
    /// The kernel refuses it: too long for the device, device down.
    pub fn send(&mut self, frame: &[u8]) -> Result<(), LabError> {
        let from = self.sender.stdout().position();
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        self.sender.send_line(&hex)?;
        self.sender.expect("\n", from, START)?;
        let said = self.sender.stdout().text(from);
        if said.starts_with("sent") {
            Ok(())
        } else {
            Err(LabError::Missing(format!("send a frame: {said}")))
        }
    }

    /// Every frame that has come in so far.
    pub fn seen(&self) -> Vec<Vec<u8>> {
        frames(&self.sniffer.stdout().text(0))
    }

    /// Waits for a frame that `is` the one.
    ///
    /// # Errors
    /// None comes within `patience`: the text has those that came.
    pub fn wait(&self, patience: Duration, is: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, LabError> {
        let deadline = Instant::now() + patience;
        loop {
            let at = self.sniffer.stdout().position();
            if let Some(frame) = self.seen().into_iter().find(|frame| is(frame)) {
                return Ok(frame);
            }
            if Instant::now() >= deadline {
                let what = "show the frame that is waited for".into();
                let output = self.sniffer.stdout().text(0);
                return Err(LabError::Timeout { command: "tcpdump".into(), what, after: patience, output });
            }
            let _ = self.sniffer.stdout().wait_for("\n", at, Duration::from_millis(20));
        }
    }
}

/// The frames in the text of `tcpdump -e -xx`: the line before each says its length, and one that is not all there yet is left out.
fn frames(text: &str) -> Vec<Vec<u8>> {
    let mut frames: Vec<(usize, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        match line.trim_start().strip_prefix("0x").and_then(|rest| rest.split_once(':')) {
            Some((_, hex)) => {
                let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
                let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
                if let Some((_, frame)) = frames.last_mut() {
                    frame.extend(digits.chunks_exact(2).filter_map(byte));
                }
            }
            // What is told of a packet in a packet is on a line of its own.
            None if frames.last().is_some_and(|(_, frame)| frame.is_empty()) => {}
            None => frames.push((length(line).unwrap_or(usize::MAX), Vec::new())),
        }
    }
    frames.into_iter().filter(|(length, frame)| frame.len() == *length).map(|(_, frame)| frame).collect()
}

/// The frame's length on the wire: the first one that the line names.
fn length(line: &str) -> Option<usize> {
    line.split_once(", length ")?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interface, Veth, require};

    const TEXT: &str = "\
12:00:00.000000 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 19: Request, length 5
\t0x0000:  ffff ffff ffff 0200 0000 0001 0806 0001
\t0x0010:  0800 06
12:00:00.000001 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 19: Request, length 5
\t0x0000:  ffff ffff ffff 0200 0000 0001 0806 0001
\t0x0010:  08";

    #[test]
    fn the_text_of_tcpdump_is_understood() {
        let got = frames(TEXT);
        // The second one is not all there yet.
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].len(), got[0][12], got[0][18]), (19, 8, 6));
    }

    #[test]
    fn a_packet_in_a_packet_is_one_frame() {
        let text = TEXT.replacen(
            "Request, length 5\n",
            "VXLAN, vni 2\n02:00:00:00:00:02 > 02:00:00:00:00:03, ethertype IPv4 (0x0800), length 5: UDP, length 1\n",
            1,
        );
        assert_ne!(text, TEXT);
        assert_eq!(frames(&text), frames(TEXT));
    }

    #[test]
    fn a_tagged_frame_arrives_with_its_tag() {
        require!(root(), tool("perl"), tool("tcpdump"));
        let (a, b) = (Netns::new().unwrap(), Netns::new().unwrap());
        let _veth = Veth::pair("peer0", Some(&b), &a, &Interface::default()).unwrap();
        let (mut left, right) = (Wire::on(&a, "eth0").unwrap(), Wire::on(&b, "peer0").unwrap());
        let frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9, 0x81, 0, 0x64, 0x83, 0x88, 0xb5], &[7; 46]].concat();
        left.send(&frame).unwrap();
        assert_eq!(right.wait(START, |seen| seen[6..12] == frame[6..12]).unwrap(), frame);
        assert!(left.send(&[0; 4000]).unwrap_err().to_string().contains("refused"));
    }
}
