//! `[[admin_policy]]`: policies that stand above and below those of namespaces: AdminNetworkPolicy and
//! BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1). Their rules are an ordered list: the first that fits
//! decides.

use serde::{Serialize, Serializer};

use super::object::object_name;
use super::peer::{self, Peer, PolicyPort};
use super::policy::{Refusal, refusal};
use super::selector::{self, EXAMPLE, Selector};
use crate::error::Reported;
use crate::keys::{Key, key};
use crate::raw::{Raw, quote};
use crate::section::Section;
use crate::value;

/// Lowest precedence of an admin policy; 0 is the highest.
const PRIORITY_MAX: i64 = 1_000;

/// A policy of the cluster's administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPolicy {
    /// Its name, unique.
    pub name: String,
    /// Where it stands.
    pub tier: Tier,
    /// The pods that it is about.
    pub subject: Subject,
    /// About what they receive, in order.
    pub ingress: Vec<AdminRule>,
    /// About what they send, in order.
    pub egress: Vec<AdminRule>,
    /// What becomes of what is denied.
    pub action: Refusal,
}

/// Where a policy stands: the lesser is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Above the policies of namespaces, by priority, 0 to 1000; of equal ones in the order of their names.
    Admin(u16),
    /// Below them: asked only about pods that no policy of a namespace isolates.
    Baseline,
}

/// Which pods a policy is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// Their namespaces.
    pub namespace_selector: Selector,
    /// Which of their pods; `None` is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<Selector>,
}

/// What becomes of packets between the subject and peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminRule {
    /// For people; may be empty.
    pub name: String,
    /// What becomes of them.
    pub action: AdminAction,
    /// With whom; empty is everybody.
    pub peers: Vec<Peer>,
    /// At which ports of the receiver; empty is all, and every protocol.
    pub ports: Vec<PolicyPort>,
}

/// What an admin rule says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminAction {
    /// It passes, whatever others say.
    Allow,
    /// It does not.
    Deny,
    /// The policies of namespaces decide, and no further admin policy. Not in the baseline.
    Pass,
}

pub(crate) const KEYS: &[Key] = &[
    key("name", &[], "string, DNS labels with dots between", "required", "its name; unique"),
    key(
        "tier",
        &[],
        "`admin`, `baseline`",
        "\"admin\"",
        "above the policies of namespaces, or below them; there is one `baseline` at most",
    ),
    key(
        "priority",
        &[],
        "integer, 0 to 1000",
        "required in tier `admin`",
        "of several in tier `admin` the lower is asked first",
    ),
    key(
        "subject",
        &[],
        "`{ namespace_selector = SELECTOR, pod_selector = SELECTOR }`",
        "required",
        "the pods that it is about: those of these namespaces, or of these those that are selected",
    ),
    key(
        "ingress",
        &[],
        "array of `{ name, action = \"allow\", from = [PEER], ports = [PORT] }`",
        "[]",
        "about what they receive: the first rule that fits decides; `action` is `allow`, `deny` or `pass`; peers and ports as those of a `[[policy]]`, with a namespace_selector",
    ),
    key(
        "egress",
        &[],
        "array of `{ name, action = \"deny\", to = [PEER], ports = [PORT] }`",
        "[]",
        "about what they send",
    ),
    key(
        "action",
        &[],
        "`drop`, `reject`",
        "\"drop\"",
        "what becomes of what is denied; `reject` tells the sender",
    ),
];

const SUBJECT_KEYS: &[Key] = &[
    key("namespace_selector", &[], "selector", "required", "their namespaces"),
    key("pod_selector", &[], "selector", "none", "which of their pods"),
];

const INGRESS_KEYS: &[Key] = &[
    key("name", &[], "string", "none", "for people"),
    key("action", &[], "`allow`, `deny`, `pass`", "required", "what becomes of it"),
    key("from", &[], "array of peers", "[]", "senders; empty is everybody"),
    key("ports", &[], "array of ports", "[]", "ports; empty is all"),
];

const EGRESS_KEYS: &[Key] = &[
    key("name", &[], "string", "none", "for people"),
    key("action", &[], "`allow`, `deny`, `pass`", "required", "what becomes of it"),
    key("to", &[], "array of peers", "[]", "receivers; empty is everybody"),
    key("ports", &[], "array of ports", "[]", "ports; empty is all"),
];

pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<AdminPolicy, Reported> {
    let name = section.required("name", "\"no-metadata\"", object_name);
    let baseline = section.or("tier", false, value::one_of(&[("admin", false), ("baseline", true)]));
    let priority = section.optional("priority", value::integer::<u16>(0..=PRIORITY_MAX));
    let example = "{ namespace_selector = {} }";
    let subject = match section.has("subject") {
        true => section.table("subject", SUBJECT_KEYS, example, subject).and_then(|it| it.ok_or(Reported)),
        false => {
            Err(section.report("subject", format!("required but missing; add it, as subject = {example}")))
        }
    };
    let rule = "{ action = \"deny\" }";
    let ingress = section.tables("ingress", INGRESS_KEYS, rule, |rule| self::rule(rule, "from"));
    let egress = section.tables("egress", EGRESS_KEYS, rule, |rule| self::rule(rule, "to"));
    let action = section.or("action", Refusal::Drop, refusal);
    section.refuse_others(None);
    let tier = match (baseline?, priority?) {
        (true, None) => Tier::Baseline,
        (false, Some(priority)) => Tier::Admin(priority),
        (true, Some(_)) => {
            return Err(section
                .report("priority", "the baseline has no priority; remove it, or set tier to \"admin\""));
        }
        (false, None) => {
            return Err(section.report("priority", "required but missing; add it, as priority = 100"));
        }
    };
    let ingress: Vec<AdminRule> = ingress?.into_iter().collect::<Option<_>>().ok_or(Reported)?;
    let egress: Vec<AdminRule> = egress?.into_iter().collect::<Option<_>>().ok_or(Reported)?;
    for (key, rules) in [("ingress", &ingress), ("egress", &egress)] {
        let passes = |rule: &AdminRule| rule.action == AdminAction::Pass;
        if let Some(i) = rules.iter().position(passes).filter(|_| tier == Tier::Baseline) {
            let message = "below the baseline there is nothing to pass to; use allow or deny";
            return Err(section.report(&format!("{key}[{i}].action"), message));
        }
    }
    Ok(AdminPolicy { name: name?, tier, subject: subject?, ingress, egress, action: action? })
}

fn subject(section: &mut Section<'_, '_>) -> Result<Subject, Reported> {
    let namespace_selector = selector::under(section, "namespace_selector");
    let pod_selector = selector::under(section, "pod_selector");
    section.refuse_others(None);
    match namespace_selector? {
        Some(namespace_selector) => Ok(Subject { namespace_selector, pod_selector: pod_selector? }),
        None => {
            let message = format!("required but missing; add it, as {{}} for all namespaces or {EXAMPLE}");
            Err(section.report("namespace_selector", message))
        }
    }
}

fn rule(section: &mut Section<'_, '_>, key: &str) -> Result<AdminRule, Reported> {
    let name = section.optional("name", |raw| value::text(raw).map(str::to_owned));
    let action = section.required("action", "\"deny\"", action);
    let peers = peer::peers(section, key);
    let ports = peer::ports(section);
    section.refuse_others(None);
    let peers = peers?;
    let homeless = |peer: &Peer| matches!(peer, Peer::Pods { namespace_selector: None, .. });
    if let Some(i) = peers.iter().position(homeless) {
        let message = "an admin policy has no namespace of its own; add namespace_selector = {} for all";
        return Err(section.report(&format!("{key}[{i}]"), message));
    }
    Ok(AdminRule { name: name?.unwrap_or_default(), action: action?, peers, ports: ports? })
}

pub(crate) fn action(raw: Raw<'_>) -> Result<AdminAction, String> {
    let text = value::text(raw)?;
    match text.to_ascii_lowercase().as_str() {
        "allow" => Ok(AdminAction::Allow),
        "deny" => Ok(AdminAction::Deny),
        "pass" => Ok(AdminAction::Pass),
        _ => Err(format!("{} is not known; use one of: allow, deny, pass", quote(text))),
    }
}

impl Serialize for AdminPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            name: &'a str,
            tier: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            priority: Option<u16>,
            subject: &'a Subject,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            ingress: Vec<From<'a>>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            egress: Vec<To<'a>>,
            action: Refusal,
        }
        #[derive(Serialize)]
        struct From<'a> {
            #[serde(skip_serializing_if = "str::is_empty")]
            name: &'a str,
            action: AdminAction,
            from: &'a [Peer],
            ports: &'a [PolicyPort],
        }
        #[derive(Serialize)]
        struct To<'a> {
            #[serde(skip_serializing_if = "str::is_empty")]
            name: &'a str,
            action: AdminAction,
            to: &'a [Peer],
            ports: &'a [PolicyPort],
        }
        let (tier, priority) = match self.tier {
            Tier::Admin(priority) => ("admin", Some(priority)),
            Tier::Baseline => ("baseline", None),
        };
        let ingress = self.ingress.iter().map(|rule| From {
            name: &rule.name,
            action: rule.action,
            from: &rule.peers,
            ports: &rule.ports,
        });
        let egress = self.egress.iter().map(|rule| To {
            name: &rule.name,
            action: rule.action,
            to: &rule.peers,
            ports: &rule.ports,
        });
        let written = Written {
            name: &self.name,
            tier,
            priority,
            subject: &self.subject,
            ingress: ingress.collect(),
            egress: egress.collect(),
            action: self.action,
        };
        written.serialize(serializer)
    }
}
