//! Policies as chapters of rules. A policy with rules in both directions becomes two chapters.

use std::collections::HashMap;
use std::sync::Arc;

use shunt_config::{
    AdminAction, AdminPolicy, Cluster, Policy, PolicyPeer, PolicyPort, PortRef, Refusal, Selector, Tier,
};

use super::select::{Scope, Set, Sets};
use crate::table::policy::{self, Action, Chapter, Direction, Peers, Ports, Rule};

/// All policies over their sets.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) sets: Sets,
    /// Numbers of the names of ports that rules use.
    pub(super) names: HashMap<String, u32>,
    /// By number of a set: what is about its pods.
    pub(super) about: HashMap<u32, Vec<(Direction, Arc<Chapter>)>>,
    /// By number of a set: some rule names it as a peer.
    pub(super) is_peer: Vec<bool>,
}

/// More names of ports than any cluster has in use: beyond, those that nobody uses any more are forgotten.
const NAMES_KEPT: usize = 4_096;

impl Book {
    /// The policies of `cluster`. Sets and names that are in `before` keep their numbers.
    pub(super) fn of(cluster: &Cluster, before: Self) -> Self {
        let sets = Sets::new(&cluster.namespaces, before.sets);
        let names = if before.names.len() > NAMES_KEPT { HashMap::new() } else { before.names };
        let mut book = Self { sets, names, ..Self::default() };
        for policy in &cluster.policies {
            book.namespaced(policy);
        }
        for policy in &cluster.admin_policies {
            book.admin(policy);
        }
        book.is_peer.resize(book.sets.len(), false);
        book
    }

    fn namespaced(&mut self, policy: &Policy) {
        let scope = Scope::One(policy.namespace.clone());
        let subject = self.sets.number(Set { scope, pods: policy.pod_selector.clone() });
        for (direction, isolates, rules) in [
            (Direction::Ingress, policy.isolates_ingress, &policy.ingress),
            (Direction::Egress, policy.isolates_egress, &policy.egress),
        ] {
            if !isolates {
                continue;
            }
            let rules = rules.iter().map(|rule| Rule {
                action: Action::Allow,
                peers: self.peers(&rule.peers, &policy.namespace),
                ports: self.ports(&rule.ports),
            });
            let chapter = Chapter {
                policy: policy.full_name().into(),
                tier: policy::Tier::Namespace,
                rejects: policy.action == Refusal::Reject,
                rules: rules.collect(),
            };
            self.about.entry(subject).or_default().push((direction, Arc::new(chapter)));
        }
    }

    fn admin(&mut self, policy: &AdminPolicy) {
        let scope = Scope::Selected(policy.subject.namespace_selector.clone());
        let pods = policy.subject.pod_selector.clone().unwrap_or_default();
        let subject = self.sets.number(Set { scope, pods });
        for (direction, rules) in [(Direction::Ingress, &policy.ingress), (Direction::Egress, &policy.egress)]
        {
            if rules.is_empty() {
                continue;
            }
            let rules = rules.iter().map(|rule| Rule {
                action: match rule.action {
                    AdminAction::Allow => Action::Allow,
                    AdminAction::Deny => Action::Deny,
                    AdminAction::Pass => Action::Pass,
                },
                // Every peer says its namespaces.
                peers: self.peers(&rule.peers, ""),
                ports: self.ports(&rule.ports),
            });
            let chapter = Chapter {
                policy: policy.name.as_str().into(),
                tier: match policy.tier {
                    Tier::Admin(priority) => policy::Tier::Admin(priority),
                    Tier::Baseline => policy::Tier::Baseline,
                },
                rejects: policy.action == Refusal::Reject,
                rules: rules.collect(),
            };
            self.about.entry(subject).or_default().push((direction, Arc::new(chapter)));
        }
    }

    fn peers(&mut self, peers: &[PolicyPeer], home: &str) -> Peers {
        if peers.is_empty() {
            return Peers::everybody();
        }
        let mut sets = Vec::new();
        let mut blocks = Vec::new();
        for peer in peers {
            match peer {
                PolicyPeer::Pods { namespace_selector, pod_selector } => {
                    let scope = match namespace_selector {
                        Some(selector) => Scope::Selected(selector.clone()),
                        None => Scope::One(home.to_owned()),
                    };
                    let pods = pod_selector.clone().unwrap_or_else(Selector::default);
                    let number = self.sets.number(Set { scope, pods });
                    let index = number as usize;
                    self.is_peer.resize(self.is_peer.len().max(index + 1), false);
                    self.is_peer[index] = true;
                    sets.push(number);
                }
                PolicyPeer::Block { ip_block } => blocks.push((ip_block.cidr, ip_block.except.as_slice())),
            }
        }
        Peers::new(sets, blocks)
    }

    fn ports(&mut self, ports: &[PolicyPort]) -> Ports {
        if ports.is_empty() {
            return Ports::all();
        }
        let (mut ranges, mut names) = (Vec::new(), Vec::new());
        for PolicyPort { protocol, port, end_port } in ports {
            match port {
                None => ranges.push((protocol.number(), 0, u16::MAX)),
                Some(PortRef::Number(first)) => {
                    ranges.push((protocol.number(), *first, end_port.unwrap_or(*first)));
                }
                Some(PortRef::Name(name)) => {
                    let next = self.names.len() as u32;
                    let number = *self.names.entry(name.clone()).or_insert(next);
                    names.push((number, protocol.number()));
                }
            }
        }
        Ports::new(ranges, names)
    }
}
