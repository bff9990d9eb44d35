//! MAC addresses as scenarios write them.

use serde::Deserialize;

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad =
            || format!("`{text}` is no MAC address: write six pairs of hex digits, as 02:00:00:00:00:01");
        let parts: Vec<u8> = text
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2).ok_or_else(bad))
            .collect::<Result<_, _>>()?;
        parts.try_into().map(Mac).map_err(|_| bad())
    }
}
