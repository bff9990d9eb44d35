//! The secret of a memif port.

use std::fmt;

use serde::{Serialize, Serializer};

/// Longest secret in bytes: the protocol has room for 24 with the NUL (`ETH_MEMIF_SECRET_SIZE` of DPDK).
const SECRET_MAX: usize = 23;

/// A secret: `Debug` and `Serialize` give `***`, so that it reaches no log and no API answer by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Checks and keeps `text`: 1 to 23 visible ASCII characters, without those that would end a value among DPDK
    /// device arguments.
    ///
    /// # Errors
    /// Says what is wrong and what to do, without showing the secret.
    pub fn new(text: &str) -> Result<Self, String> {
        match text.len() {
            0 => return Err("the secret is empty; give 1 to 23 characters or remove the key".to_owned()),
            1..=SECRET_MAX => {}
            len => return Err(format!("a secret of {len} bytes is too long; use at most {SECRET_MAX}")),
        }
        if text.bytes().all(|b| b.is_ascii_graphic() && !b",[]=\"".contains(&b)) {
            Ok(Secret(text.to_owned()))
        } else {
            Err("the secret has a character that is not allowed; use letters, digits and -._~+/:".to_owned())
        }
    }

    /// The secret itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_silence() {
        let secret = Secret::new("hunter2").unwrap();
        assert_eq!(secret.as_str(), "hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        for bad in ["", "a,b", "a b", "[x]", "\u{e9}", &"s".repeat(24)] {
            let message = Secret::new(bad).unwrap_err();
            assert!(bad.is_empty() || !message.contains(bad), "{message}");
        }
    }
}
