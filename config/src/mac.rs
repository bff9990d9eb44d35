//! Ethernet addresses as configured and shown. Six bytes, `Copy`; no cost beyond them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An Ethernet (EUI-48) address, in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The broadcast address, `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);
    /// The all-zero address, never valid on the wire.
    pub const ZERO: MacAddr = MacAddr([0; 6]);

    /// An address drawn from `text`: the same after a restart and on every node. Locally administered, no group.
    pub(crate) fn derived(text: &str) -> MacAddr {
        // FNV-1a.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let [_, _, _, a, b, c, d, e] = hash.to_be_bytes();
        MacAddr([0x02, a, b, c, d, e])
    }

    /// The six bytes in transmission order.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// True for a group address (IEEE 802-2014 section 8.2.2: the I/G bit), broadcast included.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 0x01 != 0
    }

    /// True for a locally administered address (IEEE 802-2014 section 8.2.2: the U/L bit).
    pub const fn is_local(self) -> bool {
        self.0[0] & 0x02 != 0
    }

    /// True when a station may own the address: neither a group address nor all zero.
    pub const fn is_station(self) -> bool {
        let all = self.0;
        let some = all[0] | all[1] | all[2] | all[3] | all[4] | all[5];
        !self.is_multicast() && some != 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        // Through `pad`, so that `{:>17}` works in tables.
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six pairs of hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address; write six pairs of hex digits, as 02:00:00:00:00:01")]
pub struct ParseMacError;

impl FromStr for MacAddr {
    type Err = ParseMacError;

    /// Takes `02:00:00:00:00:01` and `02-00-00-00-00-01`, either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut octets = [0u8; 6];
        let mut parts = text.split(separator);
        for octet in &mut octets {
            let part = parts.next().ok_or(ParseMacError)?;
            // from_str_radix would also take "+1".
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| ParseMacError)?;
        }
        if parts.next().is_some() { Err(ParseMacError) } else { Ok(MacAddr(octets)) }
    }
}

impl From<[u8; 6]> for MacAddr {
    fn from(octets: [u8; 6]) -> Self {
        MacAddr(octets)
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_texts_are_refused() {
        for text in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "2:0:0:0:0:1",
            "02:00:00:00:00:+1",
            "02-00:00:00:00:01",
            "gg:00:00:00:00:00",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(ParseMacError), "{text}");
        }
    }

    #[test]
    fn classes() {
        assert!(MacAddr::BROADCAST.is_multicast() && !MacAddr::BROADCAST.is_station());
        assert!(!MacAddr::ZERO.is_multicast() && !MacAddr::ZERO.is_station());
        let local = MacAddr([0x02, 0, 0, 0, 0, 1]);
        assert!(local.is_station() && local.is_local());
        assert!(MacAddr([0x01, 0, 0x5e, 0, 0, 1]).is_multicast());
        assert_eq!(format!("[{:>20}]", local), "[   02:00:00:00:00:01]");
    }

    proptest! {
        #[test]
        fn text_round_trip(octets: [u8; 6]) {
            let mac = MacAddr(octets);
            prop_assert_eq!(mac.to_string().parse::<MacAddr>(), Ok(mac));
            prop_assert_eq!(mac.to_string().to_uppercase().replace(':', "-").parse::<MacAddr>(), Ok(mac));
        }
    }
}
