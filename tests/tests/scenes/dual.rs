//! IPv6 for the scene `overlay-underlay`, whose nodes have IPv4 only.

use shunt_tests::Netns;

const MORE: [(&str, &str); 14] = [
    ("cidr = \"10.20.0.0/16\"", "cidr = [\"10.20.0.0/16\", \"fd00:20::/48\"]"),
    ("gateways = [\"169.254.1.1/32\"]", "gateways = [\"169.254.1.1/32\", \"fd00:20::1/128\"]"),
    (
        "\"10.20.6.0/25\", \"10.186.155.7/32\"",
        "\"10.20.6.0/25\", \"10.186.155.7/32\", \"fd00:20:0:6::/64\", \"fd00:1155::7/128\"",
    ),
    (
        "\"10.20.9.0/25\", \"10.186.155.6/32\"",
        "\"10.20.9.0/25\", \"10.186.155.6/32\", \"fd00:20:0:9::/64\", \"fd00:1155::6/128\"",
    ),
    ("\"10.186.155.1/27\"", "\"10.186.155.1/27\", \"fd00:1155::1/64\""),
    ("\"10.186.155.2/27\"", "\"10.186.155.2/27\", \"fd00:1155::2/64\""),
    ("\"169.254.2.1/32\"", "\"169.254.2.1/32\", \"fd00:2::1/128\""),
    ("\"10.186.155.33/27\"", "\"10.186.155.33/27\", \"fd00:1156::1/64\""),
    ("\"10.186.155.34/27\"", "\"10.186.155.34/27\", \"fd00:1156::2/64\""),
    ("\"10.20.9.60\"", "\"10.20.9.60\", \"fd00:20:0:9::60\""),
    ("\"10.20.6.10\"", "\"10.20.6.10\", \"fd00:20:0:6::10\""),
    ("\"10.186.155.6\"", "\"10.186.155.6\", \"fd00:1155::6\""),
    ("\"10.186.155.7\"", "\"10.186.155.7\", \"fd00:1155::7\""),
    ("\"10.186.155.40\"", "\"10.186.155.40\", \"fd00:1156::40\""),
];

/// A node's configuration with IPv6.
pub(crate) fn with_v6(text: &str) -> String {
    MORE.iter().fold(text.to_owned(), |text, (old, new)| text.replacen(old, new, 1))
}

/// Gives a place its IPv6 address, and its way out.
#[track_caller]
pub(crate) fn give(place: &Netns, device: &str, address: &str, via: Option<&str>) {
    let ip = |words: &[&str]| place.exec(&[&["ip", "-6"], words, &["dev", device]].concat()).unwrap();
    ip(&["addr", "add", address, "nodad"]);
    if let Some(via) = via {
        // On the link, whatever the prefix of the address says.
        ip(&["route", "add", "default", "via", via, "onlink"]);
    }
}
