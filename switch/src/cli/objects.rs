//! Kubernetes objects as `kubectl` lets people name them: `KIND NAME...` or `KIND/NAME...`, kinds by any of their names.

use super::Failure;

/// A kind of object that the daemon takes.
struct Kind {
    /// As in a document.
    kind: &'static str,
    api: &'static str,
    /// Objects of it are in namespaces.
    scoped: bool,
    /// What people call it besides, in lower case.
    names: &'static [&'static str],
}

const fn kind(kind: &'static str, api: &'static str, scoped: bool, names: &'static [&'static str]) -> Kind {
    Kind { kind, api, scoped, names }
}

const ADMIN: &str = "policy.networking.k8s.io/v1alpha1";

const KINDS: &[Kind] = &[
    kind("Namespace", "v1", false, &["namespaces", "ns"]),
    kind("Pod", "v1", true, &["pods", "po"]),
    kind("Service", "v1", true, &["services", "svc"]),
    kind("EndpointSlice", "discovery.k8s.io/v1", true, &["endpointslices"]),
    kind("NetworkPolicy", "networking.k8s.io/v1", true, &["networkpolicies", "netpol"]),
    kind("AdminNetworkPolicy", ADMIN, false, &["adminnetworkpolicies", "anp"]),
    kind("BaselineAdminNetworkPolicy", ADMIN, false, &["baselineadminnetworkpolicies", "banp"]),
    kind("Subnet", "kubeovn.io/v1", false, &["subnets"]),
    kind("Vlan", "kubeovn.io/v1", false, &["vlans"]),
];

/// The objects that `words` name, as documents with nothing but what tells them from others.
///
/// # Errors
/// An unknown kind, or a kind without a name.
pub(super) fn named(words: &[String], namespace: &str) -> Result<String, Failure> {
    let pairs: Vec<(&str, &str)> = match words {
        [first, names @ ..] if !first.contains('/') => {
            if names.is_empty() {
                return Err(Failure::bad_input(format!(
                    "argument 1: {first:?} is a kind without a name; write it as {first} NAME, or name a file with -f"
                )));
            }
            names.iter().map(|name| (first.as_str(), name.as_str())).collect()
        }
        words => {
            let bare = |number: usize, word: &str| {
                Failure::bad_input(format!("argument {number}: {word:?} has no kind; write it as pod/{word}"))
            };
            let numbered = (1..).zip(words);
            let pairs = numbered.map(|(number, word)| word.split_once('/').ok_or_else(|| bare(number, word)));
            pairs.collect::<Result<_, _>>()?
        }
    };
    pairs.into_iter().map(|(kind, name)| document(kind, name, namespace)).collect()
}

fn document(word: &str, name: &str, namespace: &str) -> Result<String, Failure> {
    let lower = word.to_ascii_lowercase();
    let is = |kind: &&Kind| kind.kind.to_ascii_lowercase() == lower || kind.names.contains(&lower.as_str());
    let Some(Kind { kind, api, scoped, .. }) = KINDS.iter().find(is) else {
        let known: Vec<_> = KINDS.iter().map(|kind| kind.kind.to_ascii_lowercase()).collect();
        return Err(Failure::bad_input(format!(
            "{word:?} is no kind of object that shuntd takes; use one of: {}",
            known.join(", ")
        )));
    };
    // A JSON string is one of YAML, whatever is in it.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let within = if *scoped { format!(", namespace: {}", quoted(namespace)) } else { String::new() };
    Ok(format!("---\napiVersion: {api}\nkind: {kind}\nmetadata: {{ name: {}{within} }}\n", quoted(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        named(&words, "shop").map_err(|failure| failure.message)
    }

    #[test]
    fn kinds_have_the_names_of_kubectl() {
        let service =
            "---\napiVersion: v1\nkind: Service\nmetadata: { name: \"web\", namespace: \"shop\" }\n";
        for words in [&["svc", "web"][..], &["Service", "web"], &["services/web"]] {
            assert_eq!(said(words).as_deref(), Ok(service), "{words:?}");
        }
        let both = said(&["ns/shop", "netpol/deny"]).unwrap();
        assert!(both.contains("kind: Namespace\nmetadata: { name: \"shop\" }\n"), "{both}");
        assert!(
            both.ends_with("kind: NetworkPolicy\nmetadata: { name: \"deny\", namespace: \"shop\" }\n"),
            "{both}"
        );
        assert_eq!(said(&["pod", "a", "b"]).unwrap().matches("kind: Pod").count(), 2);
    }

    #[test]
    fn what_names_nothing_is_said() {
        assert!(said(&["pod"]).unwrap_err().contains("a kind without a name"));
        assert!(said(&["deployment", "web"]).unwrap_err().contains("use one of: namespace, pod"));
        assert!(said(&["pod/a", "b"]).unwrap_err().starts_with("argument 2: \"b\" has no kind"));
        // No name becomes another document.
        let odd = said(&["pod", "a\n---\nkind: b"]).unwrap();
        assert_eq!(odd.lines().count(), 4, "{odd}");
    }
}
