//! What must hold of Kubernetes objects as YAML, whatever stands in the text: it is refused with messages, or it is applied, and
//! applying it once more changes nothing.

use std::sync::OnceLock;

use shunt_config::{Config, merge, parse};

/// A node with what the tests' objects refer to.
fn node() -> &'static Config {
    static NODE: OnceLock<Config> = OnceLock::new();
    NODE.get_or_init(|| {
        let text = include_str!("../../../config/tests/kube/node.toml");
        parse(text, "node.toml").expect("the node of the tests")
    })
}

/// Panics when a property does not hold. True when the objects were applied.
pub(crate) fn check(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    match merge(node(), text, "text") {
        Err(errors) => {
            assert!(!errors.0.is_empty(), "refused without a word");
            false
        }
        Ok(merged) => {
            let again = merge(&merged.config, text, "text").expect("what was taken once is taken again");
            assert!(again.config == merged.config, "the second time changed something");
            true
        }
    }
}
