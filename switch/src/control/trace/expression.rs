//! The expression of `shunt trace`: `field==value` terms joined by `&&`, read into a [`Probe`] without contradictions.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::fields::{FIELDS, Family, Field, Value};
use crate::wire::ethernet;
use crate::wire::protocol::UDP;

/// Longest expression, bytes.
const LONGEST_TEXT: usize = 4096;

/// What is wrong with an expression: one line that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(pub String);

fn wrong(text: impl Into<String>) -> ExpressionError {
    ExpressionError(text.into())
}

/// The values of a frame's fields, as given and as chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    values: BTreeMap<&'static str, Value>,
    /// Network layer with the term that said so; never [`Family::Ip`].
    family: Option<(Family, String)>,
    /// Protocol behind IP with the term that said so.
    protocol: Option<(u8, String)>,
}

impl Probe {
    /// Reads an expression.
    ///
    /// # Errors
    /// The first mistake: a field that does not exist, a value it does not take, terms that contradict each other.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > LONGEST_TEXT {
            return Err(wrong(format!(
                "the expression is longer than {LONGEST_TEXT} bytes; use --hex or --pcap"
            )));
        }
        let mut probe = Self::default();
        for term in text.split("&&").map(str::trim) {
            probe.term(term)?;
        }
        probe.settle()?;
        Ok(probe)
    }

    /// Takes one term.
    fn term(&mut self, term: &str) -> Result<(), ExpressionError> {
        // What a flow dump prints of an expired TTL: two values are one class.
        let term = if matches!(term, "ip.ttl<=1" | "ip4.ttl<=1" | "ip6.ttl<=1") { "ip.ttl==1" } else { term };
        let (name, text) = match term.split_once("==") {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (term, None),
        };
        let field = Field::named(name).ok_or_else(|| unknown(name, term))?;
        let value = match text {
            Some(text) => {
                field.value(text).map_err(|wants| wrong(format!("{name} {wants}, not {text:?}")))?
            }
            None if field.takes == super::fields::Takes::Nothing => Value::Word,
            None => return Err(wrong(format!("{name} wants a value: write {name}==VALUE"))),
        };
        let held = self.values.insert(field.same_as, value);
        if held.is_some_and(|held| held != value) {
            return Err(wrong(format!("{name} is given twice, with different values; give it once")));
        }
        self.imply(field, value, term)
    }

    /// Notes what a term says about the layers.
    fn imply(&mut self, field: &Field, value: Value, term: &str) -> Result<(), ExpressionError> {
        let family = match (field.same_as, value) {
            ("eth.type", Value::Number(ethernet::IPV4)) => Some(Family::Ip4),
            ("eth.type", Value::Number(ethernet::IPV6)) => Some(Family::Ip6),
            ("eth.type", Value::Number(ethernet::ARP)) => Some(Family::Arp),
            (_, Value::Address(IpAddr::V4(_))) if field.family == Some(Family::Ip) => Some(Family::Ip4),
            (_, Value::Address(IpAddr::V6(_))) if field.family == Some(Family::Ip) => Some(Family::Ip6),
            _ => field.family,
        };
        if let Some(family) = family {
            self.family = Some(match self.family.take() {
                None => (family, term.to_owned()),
                Some((held, by)) if held == family || family == Family::Ip && held != Family::Arp => {
                    (held, by)
                }
                Some((Family::Ip, _)) if family != Family::Arp => (family, term.to_owned()),
                Some((_, by)) => return Err(contradiction(&by, term)),
            });
        }
        let protocol = match (field.same_as, value) {
            ("ip.proto", Value::Number(protocol)) => Some(protocol as u8),
            _ => field.protocol,
        };
        if let Some(protocol) = protocol {
            match &self.protocol {
                Some((held, by)) if *held != protocol => return Err(contradiction(by, term)),
                Some(_) => {}
                None => self.protocol = Some((protocol, term.to_owned())),
            }
        }
        Ok(())
    }

    /// Fills in what follows from all terms together, and finds what contradicts them.
    fn settle(&mut self) -> Result<(), ExpressionError> {
        let other_type = match self.value("eth.type") {
            Some(Value::Number(ethernet::IPV4 | ethernet::IPV6 | ethernet::ARP)) | None => false,
            Some(_) => true,
        };
        match (&self.family, other_type) {
            (Some((_, by)), true) => return Err(contradiction(by, "eth.type")),
            (None, true) => {}
            (None, false) => self.family = Some((Family::Ip4, String::new())),
            (Some((Family::Ip, by)), _) => {
                let v6 = self.protocol.as_ref().is_some_and(|(protocol, _)| *protocol == ICMP6);
                self.family = Some((if v6 { Family::Ip6 } else { Family::Ip4 }, by.clone()));
            }
            _ => {}
        }
        let ports = self.values.keys().find(|name| {
            Field::named(name).is_some_and(|field| field.protocol.is_some() && field.name.contains('.'))
        });
        if let (Some(ports), Some(2)) = (ports, self.number("ip.frag")) {
            return Err(contradiction(ports, "ip.frag==later"));
        }
        let tci = self.number("vlan.tci");
        let bits = |name, shift: u32| self.number(name).map(|value| value << shift);
        for (name, given, mask) in
            [("vlan.id", bits("vlan.id", 0), 0x0fff), ("vlan.pcp", bits("vlan.pcp", 13), 0xe000)]
        {
            if let (Some(tci), Some(given)) = (tci, given)
                && tci & mask != given
            {
                return Err(contradiction("vlan.tci", name));
            }
        }
        Ok(())
    }

    /// The network layer; `None` for a frame of another EtherType.
    pub fn family(&self) -> Option<Family> {
        self.family.as_ref().map(|(family, _)| *family)
    }

    /// The protocol behind IP: UDP when nothing says otherwise.
    pub fn protocol(&self) -> u8 {
        self.protocol.as_ref().map_or(UDP, |(protocol, _)| *protocol)
    }

    /// The value of a field.
    pub fn value(&self, field: &str) -> Option<Value> {
        self.values.get(field).copied()
    }

    /// The value of a field that takes a number.
    pub fn number(&self, field: &str) -> Option<u16> {
        match self.value(field) {
            Some(Value::Number(number)) => Some(number),
            _ => None,
        }
    }

    /// The identifier of the outer VLAN tag.
    pub fn vlan(&self) -> Option<u16> {
        self.number("vlan.id").or_else(|| self.number("vlan.tci").map(|tci| tci & 0x0fff))
    }

    /// The value of a field that takes a MAC address.
    pub fn mac(&self, field: &str) -> Option<[u8; 6]> {
        match self.value(field) {
            Some(Value::Mac(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The value of a field that takes an IP address.
    pub fn address(&self, field: &str) -> Option<IpAddr> {
        match self.value(field) {
            Some(Value::Address(address)) => Some(address),
            _ => None,
        }
    }

    /// Gives a field that was left open a value; false when it has one.
    pub fn choose(&mut self, field: &'static str, value: Value) -> bool {
        let open = !self.values.contains_key(field);
        if open {
            self.values.insert(field, value);
        }
        open
    }
}

const ICMP6: u8 = 58;

fn contradiction(one: &str, other: &str) -> ExpressionError {
    wrong(format!("{one} and {other} contradict each other: no frame is both; leave one of them out"))
}

fn unknown(name: &str, term: &str) -> ExpressionError {
    if term.is_empty() {
        return wrong("a term is missing; write field==value, with && between two of them");
    }
    if matches!(name, "ip.malformed" | "ip.payload.malformed" | "ip.options") {
        return wrong(format!("{name} cannot be made up; give a captured frame by --hex or --pcap"));
    }
    if name.contains(['=', '<', '>', '|', '!']) {
        return wrong(format!("{term:?} is no term; write field==value, with && between two of them"));
    }
    let all: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
    wrong(format!("unknown field {name:?}; there are {}", all.join(", ")))
}

#[cfg(test)]
mod tests;
