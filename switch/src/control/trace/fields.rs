//! The fields that a trace expression may name: one row each, with what it takes and what it says about the frame.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shunt_config::MacAddr;

/// A network layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ip4,
    /// IPv6.
    Ip6,
    /// Either of the two.
    Ip,
    /// ARP for IPv4.
    Arp,
}

/// What a field takes behind `==`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: the word alone.
    Nothing,
    /// A MAC address.
    Mac,
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// An IP address of either family.
    Address,
    /// A number up to this one, decimal or with `0x`.
    Number(u16),
    /// `request`, `reply` or a number.
    Operation,
    /// `no`, `first` or `later`.
    Piece,
    /// `syn`, `ack`, `fin`, `rst`, `psh`, `urg`, several with `|`, or a number.
    Flags,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// None: a word.
    Word,
    /// A MAC address.
    Mac([u8; 6]),
    /// An IP address.
    Address(IpAddr),
    /// A number, or what stands for one.
    Number(u16),
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word => Ok(()),
            Self::Mac(bytes) => MacAddr(*bytes).fmt(out),
            Self::Address(address) => address.fmt(out),
            Self::Number(number) => number.fmt(out),
        }
    }
}

/// Fragment states as numbers.
pub const PIECES: [&str; 3] = ["no", "first", "later"];
/// TCP flags, the lowest bit first (RFC 9293 section 3.1).
pub const FLAGS: [&str; 6] = ["fin", "syn", "rst", "psh", "ack", "urg"];

/// A field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// What it is called.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// The network layer that it is part of.
    pub family: Option<Family>,
    /// The protocol behind IP that it is part of.
    pub protocol: Option<u8>,
    /// The field that it is another name of, or itself.
    pub same_as: &'static str,
}

const fn field(name: &'static str, takes: Takes, family: Option<Family>, protocol: Option<u8>) -> Field {
    Field { name, takes, family, protocol, same_as: name }
}

const fn alias(name: &'static str, takes: Takes, family: Family, same_as: &'static str) -> Field {
    Field { name, takes, family: Some(family), protocol: None, same_as }
}

use Family::{Arp, Ip, Ip4, Ip6};
use Takes::{Address, Flags, Mac, Nothing, Number, Operation, Piece, V4, V6};

/// All fields, in the order in which messages list them.
pub const FIELDS: &[Field] = &[
    field("eth.src", Mac, None, None),
    field("eth.dst", Mac, None, None),
    field("eth.type", Number(u16::MAX), None, None),
    field("vlan.id", Number(4095), None, None),
    field("vlan.pcp", Number(7), None, None),
    field("vlan.tci", Number(u16::MAX), None, None),
    field("vlan.tpid", Number(u16::MAX), None, None),
    field("vlan.inner.tci", Number(u16::MAX), None, None),
    field("arp", Nothing, Some(Arp), None),
    field("arp.op", Operation, Some(Arp), None),
    field("arp.spa", V4, Some(Arp), None),
    field("arp.tpa", V4, Some(Arp), None),
    field("arp.sha", Mac, Some(Arp), None),
    field("arp.tha", Mac, Some(Arp), None),
    field("ip4", Nothing, Some(Ip4), None),
    alias("ip4.src", V4, Ip4, "ip.src"),
    alias("ip4.dst", V4, Ip4, "ip.dst"),
    alias("ip4.ttl", Number(255), Ip4, "ip.ttl"),
    alias("ip4.proto", Number(255), Ip4, "ip.proto"),
    alias("ip4.tos", Number(255), Ip4, "ip.tos"),
    field("ip6", Nothing, Some(Ip6), None),
    alias("ip6.src", V6, Ip6, "ip.src"),
    alias("ip6.dst", V6, Ip6, "ip.dst"),
    alias("ip6.ttl", Number(255), Ip6, "ip.ttl"),
    alias("ip6.proto", Number(255), Ip6, "ip.proto"),
    alias("ip6.tos", Number(255), Ip6, "ip.tos"),
    field("ip.src", Address, Some(Ip), None),
    field("ip.dst", Address, Some(Ip), None),
    field("ip.ttl", Number(255), Some(Ip), None),
    field("ip.proto", Number(255), Some(Ip), None),
    field("ip.tos", Number(255), Some(Ip), None),
    field("ip.frag", Piece, Some(Ip), None),
    field("tcp", Nothing, Some(Ip), Some(6)),
    field("tcp.src", Number(u16::MAX), Some(Ip), Some(6)),
    field("tcp.dst", Number(u16::MAX), Some(Ip), Some(6)),
    field("tcp.flags", Flags, Some(Ip), Some(6)),
    field("udp", Nothing, Some(Ip), Some(17)),
    field("udp.src", Number(u16::MAX), Some(Ip), Some(17)),
    field("udp.dst", Number(u16::MAX), Some(Ip), Some(17)),
    field("sctp", Nothing, Some(Ip), Some(132)),
    field("sctp.src", Number(u16::MAX), Some(Ip), Some(132)),
    field("sctp.dst", Number(u16::MAX), Some(Ip), Some(132)),
    field("icmp4", Nothing, Some(Ip4), Some(1)),
    field("icmp4.type", Number(255), Some(Ip4), Some(1)),
    field("icmp4.code", Number(255), Some(Ip4), Some(1)),
    field("icmp4.id", Number(u16::MAX), Some(Ip4), Some(1)),
    field("icmp6", Nothing, Some(Ip6), Some(58)),
    field("icmp6.type", Number(255), Some(Ip6), Some(58)),
    field("icmp6.code", Number(255), Some(Ip6), Some(58)),
    field("icmp6.id", Number(u16::MAX), Some(Ip6), Some(58)),
    field("nd.target", V6, Some(Ip6), Some(58)),
    field("len", Number(LONGEST), None, None),
];

/// Longest frame that an expression makes, bytes.
pub const LONGEST: u16 = 9216;

impl Field {
    /// The field called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// The value that `text` gives it.
    ///
    /// # Errors
    /// What it takes instead.
    pub fn value(&self, text: &str) -> Result<Value, String> {
        let value = match self.takes {
            Nothing => None,
            Mac => text.parse::<MacAddr>().ok().map(|mac| Value::Mac(mac.octets())),
            V4 => text.parse::<Ipv4Addr>().ok().map(|address| Value::Address(address.into())),
            V6 => text.parse::<Ipv6Addr>().ok().map(|address| Value::Address(address.into())),
            Address => text.parse::<IpAddr>().ok().map(Value::Address),
            Number(max) => number(text, max),
            Operation => match text {
                "request" => Some(Value::Number(1)),
                "reply" => Some(Value::Number(2)),
                _ => number(text, u16::MAX),
            },
            Piece => PIECES.iter().position(|piece| *piece == text).map(|piece| Value::Number(piece as u16)),
            Flags => flags(text).or_else(|| number(text, 0x3f)),
        };
        value.ok_or_else(|| self.wants())
    }

    /// What to write, in words.
    fn wants(&self) -> String {
        match self.takes {
            Nothing => "takes no value".to_owned(),
            Mac => "takes a MAC address as 02:00:00:00:00:01".to_owned(),
            V4 => "takes an IPv4 address as 10.0.0.1".to_owned(),
            V6 => "takes an IPv6 address as fd00::1".to_owned(),
            Address => "takes an IP address as 10.0.0.1 or fd00::1".to_owned(),
            Number(max) => format!("takes a number from 0 to {max}, decimal or as 0x1f"),
            Operation => "takes `request`, `reply` or a number".to_owned(),
            Piece => format!("takes one of {}", PIECES.join(", ")),
            Flags => {
                format!("takes some of {}, with | between them, or a number up to 0x3f", FLAGS.join(", "))
            }
        }
    }
}

/// A number, decimal or hexadecimal, up to `max`.
fn number(text: &str, max: u16) -> Option<Value> {
    let number = match text.strip_prefix("0x") {
        Some(digits) if !digits.starts_with('+') => u16::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None if text.starts_with('+') => None,
        None => text.parse().ok(),
    };
    number.filter(|number| *number <= max).map(Value::Number)
}

/// Flags by name.
fn flags(text: &str) -> Option<Value> {
    text.split('|')
        .try_fold(0, |bits, name| {
            let bit = FLAGS.iter().position(|flag| *flag == name.trim())?;
            Some(bits | 1 << bit)
        })
        .map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_lead_to_fields() {
        for field in FIELDS {
            let target = Field::named(field.same_as).unwrap();
            assert_eq!(target.same_as, target.name, "{} leads to another alias", field.name);
        }
    }

    #[test]
    fn numbers_are_bounded_and_flags_add_up() {
        let value = |field: &str, text: &str| Field::named(field).unwrap().value(text);
        assert_eq!(value("vlan.id", "0xfff"), Ok(Value::Number(4095)));
        assert_eq!(
            value("vlan.id", "4096").unwrap_err(),
            "takes a number from 0 to 4095, decimal or as 0x1f"
        );
        assert_eq!(value("tcp.flags", "syn|ack"), Ok(Value::Number(0x12)));
        assert_eq!(value("tcp.flags", "0x04"), Ok(Value::Number(4)));
        for text in ["+1", "0x+1", "-1", "", "1x", "0x"] {
            assert!(value("udp.dst", text).is_err(), "{text:?}");
        }
        assert!(value("tcp.flags", "syn|sin").is_err());
    }
}
