//! The list of all keys: what each takes, its default, what it means. The readers ask it which keys exist, the
//! documentation and the embedded default are tested against it, the command line may complete from it.

use crate::cluster::{admin, object, policy};
use crate::{
    connections, daemon, flow_cache, memory, metrics, network, node, port, router, service, workers,
};

/// One key of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key as written.
    pub name: &'static str,
    /// The kinds of port or network that have it; empty when every kind, or a section without kinds, has it.
    pub kinds: &'static [&'static str],
    /// Type, unit and range.
    pub takes: &'static str,
    /// The default as TOML, or in words where it is not a constant; `required` when there is none.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// A [`Key`] on few lines.
pub(crate) const fn key(
    name: &'static str,
    kinds: &'static [&'static str],
    takes: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { name, kinds, takes, default, meaning }
}

/// One section of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionKeys {
    /// The section's name, as `port`.
    pub name: &'static str,
    /// True for a section that is repeated, `[[port]]`; false for one that is not, `[memory]`.
    pub repeated: bool,
    /// Its keys, in the order of the documentation.
    pub keys: &'static [Key],
}

/// Every section with every key.
pub const SECTIONS: &[SectionKeys] = &[
    SectionKeys { name: "daemon", repeated: false, keys: daemon::KEYS },
    SectionKeys { name: "memory", repeated: false, keys: memory::KEYS },
    SectionKeys { name: "workers", repeated: false, keys: workers::KEYS },
    SectionKeys { name: "metrics", repeated: false, keys: metrics::KEYS },
    SectionKeys { name: "flow_cache", repeated: false, keys: flow_cache::KEYS },
    SectionKeys { name: "connections", repeated: false, keys: connections::KEYS },
    SectionKeys { name: "node", repeated: false, keys: node::KEYS },
    SectionKeys { name: "router", repeated: true, keys: router::KEYS },
    SectionKeys { name: "network", repeated: true, keys: network::keys::KEYS },
    SectionKeys { name: "port", repeated: true, keys: port::KEYS },
    SectionKeys { name: "service", repeated: true, keys: service::keys::KEYS },
    SectionKeys { name: "namespace", repeated: true, keys: object::NAMESPACE_KEYS },
    SectionKeys { name: "pod", repeated: true, keys: object::POD_KEYS },
    SectionKeys { name: "policy", repeated: true, keys: policy::KEYS },
    SectionKeys { name: "admin_policy", repeated: true, keys: admin::KEYS },
];

/// The candidate nearest to `word`, when it is near enough that a slip of the finger explains it.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Dashes for underscores and capitals are the commonest slips: they cost nothing.
    let fold = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let folded = fold(word);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().min(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_slips_only() {
        let known = ["mtu", "admin_up", "placement", "queues"];
        assert_eq!(nearest("mut", known), Some("mtu"));
        assert_eq!(nearest("admin-up", known), Some("admin_up"));
        assert_eq!(nearest("placment", known), Some("placement"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn no_key_is_listed_twice_for_a_kind() {
        for section in SECTIONS {
            for (i, a) in section.keys.iter().enumerate() {
                for b in &section.keys[i + 1..] {
                    let apart = !a.kinds.is_empty()
                        && !b.kinds.is_empty()
                        && a.kinds.iter().all(|k| !b.kinds.contains(k));
                    assert!(a.name != b.name || apart, "{}.{}", section.name, a.name);
                }
            }
        }
    }
}
