//! The three ways to say what is traced, made one: port and expression.
//!
//! | form | as |
//! |---|---|
//! | ours | `--in pod_a 'ip4.dst==10.0.0.2 && udp.dst==53'` |
//! | ovn-trace | `[NETWORK] 'inport=="pod_a" && ip4.dst==10.0.0.2'` |
//! | kubectl ko trace | `NS/POD ADDRESS [MAC] icmp`, `... tcp\|udp PORT`, `... arp request\|reply` |
//!
//! The port of a pod is called as the pod: of `NS/POD` the part behind the slash counts when no port has the whole name.

use std::net::IpAddr;

use crate::cli::Failure;
use crate::cli::options::Trace;

/// What is traced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Port by which the frame comes in.
    pub port: String,
    /// What the frame is; `None` when it is given by its bytes.
    pub expression: Option<String>,
    /// The network that the port must be in.
    pub network: Option<String>,
}

fn wrong(what: &str) -> Failure {
    Failure::bad_input(format!("shunt: trace: {what}"))
}

impl Form {
    /// Understands the words of a command line.
    ///
    /// # Errors
    /// They are none of the three forms.
    pub fn of(wanted: &Trace) -> Result<Self, Failure> {
        let words: Vec<&str> = wanted.words.iter().map(String::as_str).collect();
        let form = match words[..] {
            [] => Self::default(),
            [expression] => Self::expression(expression)?,
            [network, expression] if expression.contains("==") => {
                Self { network: Some(network.to_owned()), ..Self::expression(expression)? }
            }
            [pod, ..] if wanted.port.is_some() => {
                return Err(wrong(&format!("--in and {pod:?} both name a port; leave one of them out")));
            }
            [pod, address, ref rest @ ..] => Self::of_pod(pod, address, rest)?,
        };
        let raw = wanted.hex.is_some() || wanted.pcap.is_some();
        if raw && form.expression.is_some() {
            return Err(wrong("the frame is given twice; give an expression, --hex or --pcap"));
        }
        if !raw && form.expression.is_none() {
            return Err(wrong("give an expression, --hex or --pcap"));
        }
        let port = match (&wanted.port, form.port.as_str()) {
            (Some(port), "") => port.clone(),
            (Some(port), other) if port != other => {
                return Err(wrong(&format!("--in names {port:?} and inport {other:?}; give one of them")));
            }
            (_, "") => {
                return Err(wrong(
                    "which port does the frame come in by? give --in PORT or inport==\"PORT\"",
                ));
            }
            (_, port) => port.to_owned(),
        };
        Ok(Self { port, ..form })
    }

    /// An expression, which may name the port.
    fn expression(text: &str) -> Result<Self, Failure> {
        let mut port = String::new();
        let mut rest = Vec::new();
        for term in text.split("&&").map(str::trim) {
            match term.split_once("==") {
                Some((field, value)) if field.trim() == "inport" => {
                    let value = value.trim().trim_matches('"');
                    if value.is_empty() || !port.is_empty() {
                        return Err(wrong("inport wants one port, as inport==\"pod_a\""));
                    }
                    value.clone_into(&mut port);
                }
                _ => rest.push(term),
            }
        }
        // A frame of which nothing is said is an IPv4 packet.
        let expression = if rest.is_empty() { "ip4".to_owned() } else { rest.join(" && ") };
        Ok(Self { port, expression: Some(expression), network: None })
    }

    /// Pod, address, and what is sent there.
    fn of_pod(pod: &str, address: &str, rest: &[&str]) -> Result<Self, Failure> {
        let target: IpAddr = address.parse().map_err(|_| {
            wrong(&format!("{address:?} is no IP address; write NS/POD ADDRESS icmp, or tcp PORT"))
        })?;
        let v6 = target.is_ipv6();
        let (mac, rest) = match rest {
            [mac, rest @ ..] if mac.contains(':') => (Some(*mac), rest),
            rest => (None, rest),
        };
        let family = if v6 { "ip6" } else { "ip4" };
        let mut terms = match rest {
            [] | ["icmp"] => {
                vec![format!("{family}.dst=={target}"), if v6 { "icmp6" } else { "icmp4" }.to_owned()]
            }
            [protocol @ ("tcp" | "udp"), port] => {
                vec![format!("{family}.dst=={target}"), format!("{protocol}.dst=={port}")]
            }
            [protocol @ ("tcp" | "udp")] => {
                return Err(wrong(&format!("{protocol} wants a port; write {pod} {address} {protocol} 80")));
            }
            ["arp"] | ["arp", "request"] if !v6 => {
                vec![format!("arp.tpa=={target}"), "arp.op==request".to_owned()]
            }
            ["arp", "reply"] if !v6 => vec![format!("arp.tpa=={target}"), "arp.op==reply".to_owned()],
            other => {
                return Err(wrong(&format!(
                    "{:?} is not understood; write icmp, tcp PORT, udp PORT, or (IPv4) arp request",
                    other.join(" ")
                )));
            }
        };
        terms.extend(mac.map(|mac| format!("eth.dst=={mac}")));
        Ok(Self { port: pod.to_owned(), expression: Some(terms.join(" && ")), network: None })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::options::{Command, Options};

    fn form(words: &[&str]) -> Result<Form, String> {
        let options = Options::try_parse_from([&["shunt", "trace"], words].concat()).unwrap();
        let Command::Trace(wanted) = options.command else { unreachable!() };
        Form::of(&wanted).map_err(|failure| failure.message)
    }

    fn is(port: &str, expression: &str) -> Result<Form, String> {
        Ok(Form { port: port.into(), expression: Some(expression.into()), network: None })
    }

    #[test]
    fn the_three_forms_say_the_same() {
        assert_eq!(form(&["--in", "pod_a", "ip4.dst==10.0.0.2"]), is("pod_a", "ip4.dst==10.0.0.2"));
        let text = "inport==\"pod_a\" && ip4.src==10.16.0.2 && ip4.dst==10.16.0.3";
        let same = is("pod_a", "ip4.src==10.16.0.2 && ip4.dst==10.16.0.3");
        assert_eq!(form(&[text]), same);
        let network = Some("ovn-default".to_owned());
        assert_eq!(form(&["ovn-default", text]), same.map(|same| Form { network, ..same }));
        assert_eq!(form(&["inport == \"pod_a\""]), is("pod_a", "ip4"));
        assert_eq!(
            form(&["default/pod_a", "10.0.0.2", "icmp"]),
            is("default/pod_a", "ip4.dst==10.0.0.2 && icmp4")
        );
        assert_eq!(form(&["pod_a", "fd00::2", "tcp", "80"]), is("pod_a", "ip6.dst==fd00::2 && tcp.dst==80"));
        assert_eq!(
            form(&["a/b", "10.0.0.2", "02:00:00:00:00:02", "udp", "53"]),
            is("a/b", "ip4.dst==10.0.0.2 && udp.dst==53 && eth.dst==02:00:00:00:00:02")
        );
        assert_eq!(
            form(&["a/b", "10.0.0.2", "arp", "request"]),
            is("a/b", "arp.tpa==10.0.0.2 && arp.op==request")
        );
    }

    #[test]
    fn what_is_no_form_is_said_to_be_none() {
        for (words, message) in [
            (&["ip4"][..], "which port does the frame come in by? give --in PORT or inport==\"PORT\""),
            (&["--in", "a"], "give an expression, --hex or --pcap"),
            (
                &["--in", "a", "ip4", "--hex", "00"],
                "the frame is given twice; give an expression, --hex or --pcap",
            ),
            (&["--in", "a", "inport==\"b\""], "--in names \"a\" and inport \"b\"; give one of them"),
            (
                &["--in", "a", "b", "10.0.0.1", "icmp"],
                "--in and \"b\" both name a port; leave one of them out",
            ),
            (&["a/b", "c"], "\"c\" is no IP address; write NS/POD ADDRESS icmp, or tcp PORT"),
            (&["a/b", "10.0.0.1", "tcp"], "tcp wants a port; write a/b 10.0.0.1 tcp 80"),
            (
                &["a/b", "10.0.0.1", "gre"],
                "\"gre\" is not understood; write icmp, tcp PORT, udp PORT, or (IPv4) arp request",
            ),
            (&["inport==\"\""], "inport wants one port, as inport==\"pod_a\""),
        ] {
            assert_eq!(form(words), Err(format!("shunt: trace: {message}")), "{words:?}");
        }
    }
}
