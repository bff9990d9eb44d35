//! Who is on the way to an address, by Debian's `traceroute`.

use std::time::Duration;

use crate::{LabError, Netns};

/// How long the whole may take: some hops that do not answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Datagrams to ports that nobody has.
    Udp,
    /// Echo requests.
    Icmp,
    /// SYNs to that port.
    Tcp(u16),
}

/// The hops from `from` to `to`, v4 or v6: the address of each, `*` for one that says nothing.
///
/// # Errors
/// `traceroute` refuses its arguments or does not end.
pub fn traceroute(from: &Netns, to: &str, probe: Probe) -> Result<Vec<String>, LabError> {
    let port = if let Probe::Tcp(port) = probe { port.to_string() } else { String::new() };
    let mut argv = vec!["traceroute", "-n", "-q", "1", "-N", "1", "-w", "3", "-m", "6"];
    match probe {
        Probe::Udp => {}
        Probe::Icmp => argv.push("-I"),
        Probe::Tcp(_) => argv.extend(["-T", "-p", &port]),
    }
    argv.push(to);
    let said = from.cmd(&argv).timeout(TIMEOUT).check()?.stdout;
    Ok(hops(&said))
}

/// Behind the first line, a number and an address each.
fn hops(text: &str) -> Vec<String> {
    text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_read() {
        let text = "traceroute to 10.0.2.3 (10.0.2.3), 6 hops max, 60 byte packets\n 1  10.0.1.254  0.339 ms\n 2  *\n 3  10.0.2.3  0.561 ms !X\n";
        assert_eq!(hops(text), ["10.0.1.254", "*", "10.0.2.3"]);
    }
}
