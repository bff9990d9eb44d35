//! `[[policy]]`: a NetworkPolicy (networking.k8s.io/v1). It isolates the pods that it selects, in one direction or both, and
//! says what they may do all the same; what several policies allow adds up.

use serde::{Serialize, Serializer};

use super::object::{namespace_name, object_name};
use super::peer::{self, Peer, PolicyPort};
use super::selector::{self, Selector};
use crate::error::Reported;
use crate::keys::{Key, key};
use crate::raw::{Raw, quote};
use crate::section::Section;
use crate::value;

/// A policy of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The namespace of the pods that it is about.
    pub namespace: String,
    /// Its name, unique in the namespace.
    pub name: String,
    /// The pods of the namespace that it is about.
    pub pod_selector: Selector,
    /// They are isolated from senders (`policyTypes` has `Ingress`).
    pub isolates_ingress: bool,
    /// They are isolated from receivers (`policyTypes` has `Egress`).
    pub isolates_egress: bool,
    /// What they may receive.
    pub ingress: Vec<Rule>,
    /// What they may send.
    pub egress: Vec<Rule>,
    /// What becomes of the rest.
    pub action: Refusal,
}

/// What is allowed: any of the ports, with any of the peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// With whom; empty is everybody.
    pub peers: Vec<Peer>,
    /// At which ports of the receiver; empty is all, and every protocol.
    pub ports: Vec<PolicyPort>,
}

/// What becomes of a packet that a policy forbids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Refusal {
    /// It is dropped in silence, as Kubernetes' plugins do.
    #[default]
    Drop,
    /// Its sender is told: "communication administratively prohibited" (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1).
    Reject,
}

impl Policy {
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// `policyTypes`, in the words of the configuration.
    fn types(&self) -> Vec<&'static str> {
        let ingress = self.isolates_ingress.then_some("ingress");
        ingress.into_iter().chain(self.isolates_egress.then_some("egress")).collect()
    }
}

pub(crate) const KEYS: &[Key] = &[
    key("namespace", &[], "string, a DNS label", "required", "the namespace of the pods that it is about"),
    key("name", &[], "string, DNS labels with dots between", "required", "its name; unique in the namespace"),
    key(
        "pod_selector",
        &[],
        "`{ match_labels = { KEY = VALUE }, match_expressions = [{ key, operator, values }] }`",
        "{}",
        "the pods that it is about: all of the namespace when it is empty",
    ),
    key(
        "policy_types",
        &[],
        "array of `ingress`, `egress`",
        "`ingress`, and `egress` where there are egress rules",
        "directions in which these pods are isolated",
    ),
    key(
        "ingress",
        &[],
        "array of `{ from = [PEER], ports = [PORT] }`",
        "[]",
        "what they may receive; a peer is `{ pod_selector, namespace_selector }` or `{ ip_block = { cidr, except } }`, a port `{ protocol, port, end_port }`",
    ),
    key("egress", &[], "array of `{ to = [PEER], ports = [PORT] }`", "[]", "what they may send"),
    key("action", &[], "`drop`, `reject`", "\"drop\"", "what becomes of the rest; `reject` tells the sender"),
];

const INGRESS_KEYS: &[Key] = &[
    key("from", &[], "array of peers", "[]", "senders; empty is everybody"),
    key("ports", &[], "array of ports", "[]", "ports; empty is all"),
];

const EGRESS_KEYS: &[Key] = &[
    key("to", &[], "array of peers", "[]", "receivers; empty is everybody"),
    key("ports", &[], "array of ports", "[]", "ports; empty is all"),
];

/// The part of a policy that is `spec` in a Kubernetes object.
pub(crate) struct Spec {
    pod_selector: Selector,
    isolates: (bool, bool),
    ingress: Vec<Rule>,
    egress: Vec<Rule>,
}

/// The keys of [`Spec`].
pub(crate) const SPEC_KEYS: &[Key] = KEYS.split_at(2).1.split_at(4).0;

pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Policy, Reported> {
    let namespace = section.required("namespace", "\"default\"", namespace_name);
    let name = section.required("name", "\"deny-all\"", object_name);
    let spec = spec(section);
    let action = section.or("action", Refusal::Drop, refusal);
    section.refuse_others(None);
    Ok(spec?.into_policy(namespace?, name?, action?))
}

/// Reads what is `spec` in a Kubernetes object.
pub(crate) fn spec(section: &mut Section<'_, '_>) -> Result<Spec, Reported> {
    let pod_selector = selector::under(section, "pod_selector");
    let given = section.has("policy_types");
    let types = section.list("policy_types", policy_type);
    let ingress = section.tables("ingress", INGRESS_KEYS, "{ from = [] }", |rule| self::rule(rule, "from"));
    let egress = section.tables("egress", EGRESS_KEYS, "{ to = [] }", |rule| self::rule(rule, "to"));
    let mut ingress: Vec<Rule> = ingress?.into_iter().collect::<Option<_>>().ok_or(Reported)?;
    let mut egress: Vec<Rule> = egress?.into_iter().collect::<Option<_>>().ok_or(Reported)?;
    let types = types?;
    // As the API server fills it in when it is left out.
    let isolates = match given && !types.is_empty() {
        true => (types.contains(&Direction::Ingress), types.contains(&Direction::Egress)),
        false => (true, !egress.is_empty()),
    };
    for (isolated, rules, key) in [(isolates.0, &mut ingress, "ingress"), (isolates.1, &mut egress, "egress")]
    {
        if isolated || rules.is_empty() {
            continue;
        }
        if !section.is_object() {
            let message = format!(
                "rules without effect: policy_types does not have {key}; add it, or remove the rules"
            );
            return Err(section.report(key, message));
        }
        // The API server lets them stand, and nobody reads them.
        rules.clear();
    }
    Ok(Spec { pod_selector: pod_selector?.unwrap_or_default(), isolates, ingress, egress })
}

impl Spec {
    /// The whole policy.
    pub(crate) fn into_policy(self, namespace: String, name: String, action: Refusal) -> Policy {
        let Spec { pod_selector, isolates, ingress, egress } = self;
        let (isolates_ingress, isolates_egress) = isolates;
        Policy { namespace, name, pod_selector, isolates_ingress, isolates_egress, ingress, egress, action }
    }
}

fn rule(section: &mut Section<'_, '_>, peers: &str) -> Result<Rule, Reported> {
    let peers = peer::peers(section, peers);
    let ports = peer::ports(section);
    section.refuse_others(None);
    Ok(Rule { peers: peers?, ports: ports? })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

fn policy_type(raw: Raw<'_>) -> Result<Direction, String> {
    let text = value::text(raw)?;
    match text.to_ascii_lowercase().as_str() {
        "ingress" => Ok(Direction::Ingress),
        "egress" => Ok(Direction::Egress),
        _ => Err(format!("{} is not known; use one of: ingress, egress", quote(text))),
    }
}

/// `drop` or `reject`.
pub(crate) fn refusal(raw: Raw<'_>) -> Result<Refusal, String> {
    value::one_of(&[("drop", Refusal::Drop), ("reject", Refusal::Reject)])(raw)
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            namespace: &'a str,
            name: &'a str,
            pod_selector: &'a Selector,
            policy_types: Vec<&'static str>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            ingress: Vec<From<'a>>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            egress: Vec<To<'a>>,
            action: Refusal,
        }
        #[derive(Serialize)]
        struct From<'a> {
            from: &'a [Peer],
            ports: &'a [PolicyPort],
        }
        #[derive(Serialize)]
        struct To<'a> {
            to: &'a [Peer],
            ports: &'a [PolicyPort],
        }
        let ingress = self.ingress.iter().map(|rule| From { from: &rule.peers, ports: &rule.ports });
        let egress = self.egress.iter().map(|rule| To { to: &rule.peers, ports: &rule.ports });
        let written = Written {
            namespace: &self.namespace,
            name: &self.name,
            pod_selector: &self.pod_selector,
            policy_types: self.types(),
            ingress: ingress.collect(),
            egress: egress.collect(),
            action: self.action,
        };
        written.serialize(serializer)
    }
}
