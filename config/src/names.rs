//! Names of ports, networks and routers, and the rule for names of kernel network devices.
//! Checked once, when made: whoever holds one need not check it again.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Longest port name in bytes: the kernel's `IFNAMSIZ` less the terminating NUL, so that a port name can name a TAP.
pub const PORT_NAME_MAX: usize = 15;
/// Longest network name in bytes: a DNS label (RFC 1035 section 2.3.4), so that Kubernetes names fit.
pub const NETWORK_NAME_MAX: usize = 63;

/// Why a name was refused. The text ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("the name is empty; give it at least one character")]
    Empty,
    /// More bytes than `max`.
    #[error("{len} characters are too long; use at most {max}")]
    TooLong {
        /// Length found, in bytes.
        len: usize,
        /// Longest allowed, in bytes.
        max: usize,
    },
    /// A character outside the allowed set.
    #[error("the character {0:?} is not allowed; use letters, digits, '.', '_', '@' and '-'")]
    Character(char),
    /// `.` and `..` are directories everywhere a name becomes a path.
    #[error("{0:?} is reserved; choose another name")]
    Reserved(String),
    /// A command line would take it for an option.
    #[error("a name may not begin with '-'; begin it with a letter or a digit")]
    Dash,
}

fn check(text: &str, max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "._@-".contains(*c))) {
        return Err(NameError::Character(bad));
    }
    if text.len() > max {
        return Err(NameError::TooLong { len: text.len(), max });
    }
    if text == "." || text == ".." {
        return Err(NameError::Reserved(text.to_owned()));
    }
    if text.starts_with('-') {
        return Err(NameError::Dash);
    }
    Ok(())
}

/// Checks the name of a kernel network device: what `dev_valid_name` (net/core/dev.c) takes, less the characters
/// that mean something in DPDK device arguments, and less `%`, which the kernel expands when it creates a device.
///
/// # Errors
/// Says which rule was broken and what to do, in one line.
pub fn check_device_name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("the device name is empty; name a network device, as `ip link` shows it".to_owned());
    }
    if text.len() > PORT_NAME_MAX {
        return Err(format!(
            "a device name of {} bytes is too long; the kernel allows {PORT_NAME_MAX}",
            text.len()
        ));
    }
    if text == "." || text == ".." {
        return Err(format!("{text:?} is not a device name; name a network device, as `ip link` shows it"));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || "/:,=%[]\"'\\".contains(*c)) {
        Some(bad) => Err(format!("the character {bad:?} is not allowed in a device name; rename the device")),
        None => Ok(()),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and keeps `text`.
            ///
            /// # Errors
            /// [`NameError`] says which rule was broken.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text, $max)?;
                Ok(Self(Arc::from(text)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;
            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of a port, unique in a configuration: 1 to 15 of `[a-zA-Z0-9._@-]`, not `.` or `..`, no leading `-`.
    /// Cloning is a reference count.
    PortName,
    PORT_NAME_MAX
);
name_type!(
    /// The name of a network, unique in a configuration: 1 to 63 of `[a-zA-Z0-9._@-]`, not `.` or `..`, no leading `-`.
    /// Cloning is a reference count.
    NetworkName,
    NETWORK_NAME_MAX
);

name_type!(
    /// The name of a router, unique in a configuration: 1 to 63 of `[a-zA-Z0-9._@-]`, not `.` or `..`, no leading `-`.
    /// Cloning is a reference count.
    RouterName,
    NETWORK_NAME_MAX
);

impl NetworkName {
    /// The network that exists when the configuration names none, and that a port joins when it names none.
    pub const DEFAULT: &'static str = "default";
}

impl Default for NetworkName {
    fn default() -> Self {
        NetworkName(Arc::from(Self::DEFAULT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        for good in ["p", "br-phy", "eth0.100", "a@b_c", "123456789012345", "..."] {
            assert_eq!(PortName::new(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
        assert_eq!(PortName::new(""), Err(NameError::Empty));
        assert_eq!(PortName::new("1234567890123456"), Err(NameError::TooLong { len: 16, max: 15 }));
        assert!(NetworkName::new("1234567890123456").is_ok());
        assert_eq!(NetworkName::new(&"n".repeat(64)), Err(NameError::TooLong { len: 64, max: 63 }));
        assert_eq!(PortName::new("a/b"), Err(NameError::Character('/')));
        assert_eq!(PortName::new("é"), Err(NameError::Character('é')));
        assert_eq!(PortName::new(".."), Err(NameError::Reserved("..".into())));
        assert_eq!(PortName::new("-p"), Err(NameError::Dash));
    }

    #[test]
    fn device_names() {
        for good in ["eth0", "veth+1", "a-b_c.d@e"] {
            assert_eq!(check_device_name(good), Ok(()));
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "tap%d", "x,y=z", "1234567890123456", "é"] {
            assert!(check_device_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_map_keyed_by_name_is_searched_by_text() {
        let map: std::collections::HashMap<PortName, u8> = [(PortName::new("p0").unwrap(), 7)].into();
        assert_eq!(map.get("p0"), Some(&7));
        assert_eq!(NetworkName::default(), NetworkName::new("default").unwrap());
    }
}
