//! The filter of `shunt tcpdump`: the part of pcap-filter(7) that people type, and `drop`.
//!
//! ```text
//! expression := term { or term };  term := factor { and factor };  factor := not factor | ( expression ) | primitive
//! primitive  := [src|dst] host ADDRESS | ADDRESS | [src|dst] net PREFIX | ether [src|dst] host MAC | ether proto NUMBER
//!             | [tcp|udp] [src|dst] port NUMBER | [tcp|udp] [src|dst] portrange FROM-TO | proto NUMBER
//!             | arp | ip | ip6 | tcp | udp | sctp | icmp | icmp6 | vlan [NUMBER] | broadcast | multicast
//!             | less BYTES | greater BYTES | inbound | outbound | drop [REASON]
//! ```
//! Unlike pcap's, primitives look behind VLAN tags, whether `vlan` was named before them or not.

use std::net::IpAddr;

use shunt_config::IpNet;

use super::headers::Headers;
use crate::wire::ethernet;
use crate::worker::capture::Point;

/// Longest filter, bytes.
const LONGEST: usize = 4096;
/// Parentheses and negations inside each other.
const DEEPEST: usize = 64;

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilterError(String);

/// Which side of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
    Either,
}

impl Side {
    fn any<T>(self, (source, destination): (T, T), holds: impl Fn(T) -> bool) -> bool {
        match self {
            Self::Source => holds(source),
            Self::Destination => holds(destination),
            Self::Either => holds(source) || holds(destination),
        }
    }
}

/// A filter, ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Takes everything.
    All,
    #[doc(hidden)]
    Not(Box<Filter>),
    #[doc(hidden)]
    And(Box<Filter>, Box<Filter>),
    #[doc(hidden)]
    Or(Box<Filter>, Box<Filter>),
    #[doc(hidden)]
    Primitive(Primitive),
}

/// One question about a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primitive(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Net(Side, IpNet),
    Mac(Side, [u8; 6]),
    Port(Side, Option<u8>, u16, u16),
    Protocol(u8),
    EtherType(u16),
    Vlan(Option<u16>),
    Broadcast,
    Multicast,
    Less(u32),
    Greater(u32),
    Inbound,
    Outbound,
    Drop(Option<String>),
}

impl Filter {
    /// Reads a filter; the empty one takes everything.
    ///
    /// # Errors
    /// The first word that has no place.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > LONGEST {
            return Err(FilterError(format!(
                "the filter is longer than {LONGEST} bytes; write a shorter one"
            )));
        }
        let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('!', " not ");
        let spaced = spaced.replace("&&", " and ").replace("||", " or ");
        let mut reader = Reader { words: spaced.split_whitespace().peekable(), depth: 0 };
        if reader.words.peek().is_none() {
            return Ok(Self::All);
        }
        let filter = reader.expression()?;
        match reader.words.next() {
            None => Ok(filter),
            Some(word) => {
                Err(FilterError(format!("{word:?} in the filter has no place; join terms with and, or")))
            }
        }
    }

    /// True when a frame that was copied at `point` is wanted.
    pub fn takes(&self, headers: &Headers, point: Point) -> bool {
        match self {
            Self::All => true,
            Self::Not(inner) => !inner.takes(headers, point),
            Self::And(one, other) => one.takes(headers, point) && other.takes(headers, point),
            Self::Or(one, other) => one.takes(headers, point) || other.takes(headers, point),
            Self::Primitive(Primitive(kind)) => kind.holds(headers, point),
        }
    }
}

impl Kind {
    fn holds(&self, headers: &Headers, point: Point) -> bool {
        let (destination, source) = headers.macs;
        match self {
            Self::Net(side, net) => {
                let arp = headers.arp.map(|arp| (arp.sender, arp.target));
                headers.addresses.or(arp).is_some_and(|both| side.any(both, |address| net.contains(&address)))
            }
            Self::Mac(side, mac) => side.any((source, destination), |address| address == *mac),
            Self::Port(side, protocol, first, last) => {
                protocol.is_none_or(|protocol| headers.protocol == Some(protocol))
                    && headers
                        .ports
                        .is_some_and(|both| side.any(both, |port| (*first..=*last).contains(&port)))
            }
            Self::Protocol(protocol) => headers.protocol == Some(*protocol),
            Self::EtherType(ethertype) => headers.ethertype == *ethertype,
            Self::Vlan(None) => !headers.vlans.is_empty(),
            Self::Vlan(Some(vid)) => headers.vlans.contains(vid),
            Self::Broadcast => destination == [0xff; 6],
            Self::Multicast => destination[0] & 1 == 1,
            Self::Less(length) => headers.length <= *length,
            Self::Greater(length) => headers.length >= *length,
            Self::Inbound => point == Point::Ingress,
            Self::Outbound => point == Point::Egress,
            Self::Drop(None) => matches!(point, Point::Drop(_)),
            Self::Drop(Some(name)) => matches!(point, Point::Drop(reason) if reason.name() == name),
        }
    }
}

struct Reader<'t, I: Iterator<Item = &'t str>> {
    words: std::iter::Peekable<I>,
    depth: usize,
}

impl<'t, I: Iterator<Item = &'t str>> Reader<'t, I> {
    fn next(&mut self, after: &str) -> Result<&'t str, FilterError> {
        self.words
            .next()
            .ok_or_else(|| FilterError(format!("the filter ends after {after:?}; something must follow")))
    }

    fn value<T: std::str::FromStr>(&mut self, after: &str, wants: &str) -> Result<T, FilterError> {
        let word = self.next(after)?;
        word.parse().map_err(|_| FilterError(format!("{after} in the filter takes {wants}, not {word:?}")))
    }

    fn expression(&mut self) -> Result<Filter, FilterError> {
        let mut filter = self.term()?;
        while self.words.next_if_eq(&"or").is_some() {
            filter = Filter::Or(Box::new(filter), Box::new(self.term()?));
        }
        Ok(filter)
    }

    fn term(&mut self) -> Result<Filter, FilterError> {
        let mut filter = self.factor()?;
        while self.words.next_if_eq(&"and").is_some() {
            filter = Filter::And(Box::new(filter), Box::new(self.factor()?));
        }
        Ok(filter)
    }

    fn factor(&mut self) -> Result<Filter, FilterError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(FilterError(format!(
                "more than {DEEPEST} parentheses inside each other in the filter"
            )));
        }
        let word = self.next("its beginning or an operator")?;
        let filter = match word {
            "not" => Filter::Not(Box::new(self.factor()?)),
            "(" => {
                let inner = self.expression()?;
                match self.words.next() {
                    Some(")") => inner,
                    _ => return Err(FilterError("a ) is missing in the filter".to_owned())),
                }
            }
            word => Filter::Primitive(Primitive(self.primitive(word)?)),
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn primitive(&mut self, word: &'t str) -> Result<Kind, FilterError> {
        Ok(match word {
            "tcp" | "udp" | "sctp" => {
                let protocol = match word {
                    "tcp" => 6,
                    "udp" => 17,
                    _ => 132,
                };
                match self.words.peek() {
                    Some(&("src" | "dst" | "port" | "portrange")) => {
                        let next = self.next(word)?;
                        self.sided(next, Some(protocol))?
                    }
                    _ => Kind::Protocol(protocol),
                }
            }
            "icmp" => Kind::Protocol(1),
            "icmp6" => Kind::Protocol(58),
            "proto" => Kind::Protocol(self.value(word, "a number from 0 to 255")?),
            "arp" => Kind::EtherType(ethernet::ARP),
            "ip" => Kind::EtherType(ethernet::IPV4),
            "ip6" => Kind::EtherType(ethernet::IPV6),
            "ether" => self.ether()?,
            "vlan" => {
                let number = self.words.next_if(|word| word.parse::<u16>().is_ok());
                Kind::Vlan(number.and_then(|word| word.parse().ok()))
            }
            "broadcast" => Kind::Broadcast,
            "multicast" => Kind::Multicast,
            "less" => Kind::Less(self.value(word, "a number of bytes")?),
            "greater" => Kind::Greater(self.value(word, "a number of bytes")?),
            "inbound" => Kind::Inbound,
            "outbound" => Kind::Outbound,
            "drop" => Kind::Drop(self.reason()),
            word => self.sided(word, None)?,
        })
    }

    /// The reason behind `drop`, if the next word is one.
    fn reason(&mut self) -> Option<String> {
        let known = |word: &str| crate::drop::DropReason::ALL.iter().any(|reason| reason.name() == word);
        self.words.next_if(|word| known(word)).map(ToOwned::to_owned)
    }

    fn side(&mut self, word: &'t str) -> Result<(Side, &'t str), FilterError> {
        Ok(match word {
            "src" => (Side::Source, self.next(word)?),
            "dst" => (Side::Destination, self.next(word)?),
            word => (Side::Either, word),
        })
    }

    /// What may have a direction in front.
    fn sided(&mut self, word: &'t str, protocol: Option<u8>) -> Result<Kind, FilterError> {
        let (side, word) = self.side(word)?;
        let number = "a port number from 0 to 65535";
        Ok(match word {
            "port" => {
                let port = self.value(word, number)?;
                Kind::Port(side, protocol, port, port)
            }
            "portrange" => {
                let text: String = self.value(word, "two ports as 1000-2000")?;
                let bounds =
                    text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
                let wrong = || {
                    FilterError(format!("portrange in the filter takes two ports as 1000-2000, not {text:?}"))
                };
                let (first, last) = bounds.ok_or_else(wrong)?;
                Kind::Port(side, protocol, first, last)
            }
            "host" => Kind::Net(side, IpNet::from(self.value::<IpAddr>(word, "an IP address")?)),
            "net" => Kind::Net(side, self.value(word, "a prefix as 10.0.0.0/8")?),
            word => match word.parse::<IpAddr>() {
                Ok(address) if protocol.is_none() => Kind::Net(side, address.into()),
                _ => return Err(unknown(word)),
            },
        })
    }

    fn ether(&mut self) -> Result<Kind, FilterError> {
        let word = self.next("ether")?;
        if word == "proto" {
            let text: String = self.value("ether proto", "a number as 0x0806")?;
            let number = match text.strip_prefix("0x") {
                Some(digits) => u16::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            };
            let wrong =
                || FilterError(format!("ether proto in the filter takes a number as 0x0806, not {text:?}"));
            return Ok(Kind::EtherType(number.ok_or_else(wrong)?));
        }
        let (side, word) = self.side(word)?;
        let word = if word == "host" { self.next("ether host")? } else { word };
        match word.parse::<shunt_config::MacAddr>() {
            Ok(mac) => Ok(Kind::Mac(side, mac.0)),
            Err(_) => {
                Err(FilterError(format!("ether in the filter takes host MAC or proto NUMBER, not {word:?}")))
            }
        }
    }
}

fn unknown(word: &str) -> FilterError {
    FilterError(format!(
        "{word:?} in the filter is not known; there are host, net, port, portrange, proto, arp, ip, ip6, tcp, udp, sctp, icmp, icmp6, ether, vlan, broadcast, multicast, less, greater, inbound, outbound, drop"
    ))
}

#[cfg(test)]
mod tests;
