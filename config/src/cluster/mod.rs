//! What the cluster says about pods, and who may talk to whom: `[[namespace]]`, `[[pod]]`, `[[policy]]`, `[[admin_policy]]`.
//! Fields and meaning are those of the Kubernetes objects Namespace, Pod (core/v1), NetworkPolicy (networking.k8s.io/v1),
//! AdminNetworkPolicy and BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1).
//!
//! | file | holds |
//! |---|---|
//! | `labels`, `selector` | labels and what chooses by them |
//! | `object` | namespaces and pods |
//! | `peer` | who is at the other end, and at which ports: what rules of both kinds are made of |
//! | `policy`, `admin` | the two kinds of policies |

pub(crate) mod admin;
pub(crate) mod labels;
pub(crate) mod object;
pub(crate) mod peer;
pub(crate) mod policy;
pub(crate) mod selector;

use std::sync::Arc;

use serde::Serialize;

use admin::AdminPolicy;
use object::{Namespace, Pod};
use policy::Policy;

/// Namespaces, pods and policies, each in the order of the text. Pods and policies are shared: there may be ten thousand, of
/// which a change touches one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Namespaces that have labels. Others are there as soon as a pod or policy is in them.
    #[serde(rename = "namespace", skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Namespace>,
    /// Pods of all nodes.
    #[serde(rename = "pod", skip_serializing_if = "Vec::is_empty", serialize_with = "crate::each")]
    pub pods: Vec<Arc<Pod>>,
    /// Policies of namespaces.
    #[serde(rename = "policy", skip_serializing_if = "Vec::is_empty", serialize_with = "crate::each")]
    pub policies: Vec<Arc<Policy>>,
    /// Policies of the cluster's administrator.
    #[serde(rename = "admin_policy", skip_serializing_if = "Vec::is_empty")]
    pub admin_policies: Vec<AdminPolicy>,
}

impl Cluster {
    /// True when some policy is there.
    pub fn has_policies(&self) -> bool {
        !self.policies.is_empty() || !self.admin_policies.is_empty()
    }
}
