//! Policies as chapters of rules. A policy with rules in both directions becomes two chapters.
//!
//! The book is kept from one configuration to the next: a policy that comes or goes is added or taken out alone, and what that changes for
//! pods is said by the sets that it names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use shunt_config::{
    AdminAction, AdminPolicy, Cluster, Namespace, Pod, Policy, PolicyPeer, PolicyPort, PortRef, Refusal,
    Selector, Tier,
};

use super::select::{Scope, Set, Sets};
use crate::table::policy::{self, Action, Chapter, Direction, Peers, Ports, Rule};

/// All policies over their sets. The default has none.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) sets: Sets,
    /// Numbers of the names of ports that rules use.
    pub(super) names: HashMap<String, u32>,
    /// By number of a set: what is about its pods.
    about: HashMap<u32, Vec<(Direction, Arc<Chapter>)>>,
    /// By number of a set: how many policies name it, as their subject or a peer.
    users: HashMap<u32, usize>,
    /// By number of a set: how many policies name it as a peer.
    peers: HashMap<u32, usize>,
    /// The policies of namespaces, and what was made of each.
    policies: Vec<(Arc<Policy>, Made)>,
    admin_policies: Vec<AdminPolicy>,
    made_of_admin: Vec<Made>,
}

/// What was made of a policy.
#[derive(Debug, Default)]
struct Made {
    /// The set of pods that it is about.
    subject: u32,
    chapters: Vec<Arc<Chapter>>,
    /// Sets that its rules name, each once.
    peers: HashSet<u32>,
}

/// More names of ports than any cluster has in use: beyond, those that nobody uses any more are forgotten.
const NAMES_KEPT: usize = 4_096;
/// Sets beyond which it is cheaper to look at all pods than to ask which are in them.
const SETS_ASKED: usize = 64;

/// For which pods something has changed.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// All, whatever else is here.
    all: bool,
    /// Those in these sets.
    sets: HashMap<u32, Set>,
    /// Those in these namespaces.
    namespaces: HashSet<String>,
    /// Those that call a port so.
    names: HashSet<String>,
}

impl Touched {
    /// The pods of `pods` that it is about.
    pub(super) fn among<'p>(&self, pods: impl Iterator<Item = &'p Arc<Pod>>, sets: &Sets) -> Vec<Arc<Pod>> {
        let asked: Vec<&Set> = self.sets.values().collect();
        let all = self.all || asked.len() > SETS_ASKED;
        if !all && asked.is_empty() && self.namespaces.is_empty() && self.names.is_empty() {
            return Vec::new();
        }
        // Which of the sets may have pods of a namespace is the same for all its pods.
        let mut scopes: HashMap<&str, Vec<&Set>> = HashMap::new();
        let mut is_touched = |pod: &&'p Arc<Pod>| {
            if all || self.namespaces.contains(&pod.namespace) {
                return true;
            }
            let within = scopes.entry(&pod.namespace).or_insert_with(|| {
                let labels = sets.labels_of(&pod.namespace);
                asked.iter().copied().filter(|set| set.scope.has(&pod.namespace, &labels)).collect()
            });
            within.iter().any(|set| set.pods.matches(&pod.labels))
                || !self.names.is_empty() && pod.ports.iter().any(|port| self.names.contains(&port.name))
        };
        pods.filter(|pod| is_touched(pod)).cloned().collect()
    }

    /// True when what is known of pods is to be forgotten: numbers mean something else.
    pub(super) fn is_all(&self) -> bool {
        self.all
    }
}

impl Book {
    /// Takes over namespaces and policies of `cluster`; says which pods that touches. Sets and names keep their numbers, unless most of these
    /// are nobody's by now.
    pub(super) fn follow(&mut self, cluster: &Cluster) -> Touched {
        let mut touched = Touched::default();
        if self.names.len() > NAMES_KEPT || self.sets.is_mostly_gaps() {
            *self = Self::default();
            touched.all = true;
        }
        self.follow_namespaces(&cluster.namespaces, &mut touched);
        // What is no more goes last: of a policy that changes the sets keep their numbers.
        let gone = self.follow_policies(&cluster.policies, &mut touched);
        let mut admin_gone = Vec::new();
        if self.admin_policies != cluster.admin_policies {
            self.admin_policies.clone_from(&cluster.admin_policies);
            let made = cluster.admin_policies.iter().map(|policy| self.admin(policy, &mut touched)).collect();
            admin_gone = std::mem::replace(&mut self.made_of_admin, made);
        }
        for made in gone.into_iter().chain(admin_gone) {
            self.take_out(made, &mut touched);
        }
        touched
    }

    fn follow_namespaces(&mut self, namespaces: &[Namespace], touched: &mut Touched) {
        touched.namespaces.extend(self.sets.set_namespaces(namespaces));
    }

    /// Adds those that came; gives what was made of those that went.
    fn follow_policies(&mut self, next: &[Arc<Policy>], touched: &mut Touched) -> Vec<Made> {
        // Most often nearly all are the very same ones, in the same places.
        let same = |((known, _), next): &(&(Arc<Policy>, Made), &Arc<Policy>)| known == *next;
        let front = self.policies.iter().zip(next).take_while(same).count();
        let rest = self.policies.len().min(next.len()) - front;
        let back = self.policies.iter().rev().zip(next.iter().rev()).take(rest).take_while(same).count();
        let gone = self.policies.len() - back;
        let mut before: HashMap<(String, String), (Arc<Policy>, Made)> = HashMap::new();
        let mut doubles = Vec::new();
        for (policy, made) in self.policies.splice(front..gone, []).collect::<Vec<_>>() {
            let name = (policy.namespace.clone(), policy.name.clone());
            doubles.extend(before.insert(name, (policy, made)).map(|(_, made)| made));
        }
        let mut come = Vec::new();
        for policy in &next[front..next.len() - back] {
            let name = (policy.namespace.clone(), policy.name.clone());
            let kept = match before.remove(&name) {
                Some((known, made)) if known == *policy => (known, made),
                other => {
                    doubles.extend(other.map(|(_, made)| made));
                    (policy.clone(), self.namespaced(policy, touched))
                }
            };
            come.push(kept);
        }
        self.policies.splice(front..front, come);
        doubles.extend(before.into_values().map(|(_, made)| made));
        doubles
    }

    /// What is about the pods of a set.
    pub(super) fn about(&self, set: u32) -> &[(Direction, Arc<Chapter>)] {
        self.about.get(&set).map_or(&[], Vec::as_slice)
    }

    /// True when some rule names the set.
    pub(super) fn is_peer(&self, set: u32) -> bool {
        self.peers.contains_key(&set)
    }

    fn namespaced(&mut self, policy: &Policy, touched: &mut Touched) -> Made {
        let scope = Scope::One(policy.namespace.clone());
        let subject = self.sets.number(Set { scope, pods: policy.pod_selector.clone() });
        let mut made = Made { subject, ..Made::default() };
        let mut chapters = Vec::new();
        for (direction, isolates, rules) in [
            (Direction::Ingress, policy.isolates_ingress, &policy.ingress),
            (Direction::Egress, policy.isolates_egress, &policy.egress),
        ] {
            if !isolates {
                continue;
            }
            let rules = rules.iter().map(|rule| Rule {
                action: Action::Allow,
                peers: self.peers(&rule.peers, &policy.namespace, &mut made.peers),
                ports: self.ports(&rule.ports, touched),
            });
            let chapter = Chapter {
                policy: policy.full_name().into(),
                tier: policy::Tier::Namespace,
                rejects: policy.action == Refusal::Reject,
                rules: rules.collect(),
            };
            chapters.push((direction, Arc::new(chapter)));
        }
        self.put_in(made, chapters, touched)
    }

    fn admin(&mut self, policy: &AdminPolicy, touched: &mut Touched) -> Made {
        let scope = Scope::Selected(policy.subject.namespace_selector.clone());
        let pods = policy.subject.pod_selector.clone().unwrap_or_default();
        let subject = self.sets.number(Set { scope, pods });
        let mut made = Made { subject, ..Made::default() };
        let mut chapters = Vec::new();
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
                peers: self.peers(&rule.peers, "", &mut made.peers),
                ports: self.ports(&rule.ports, touched),
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
            chapters.push((direction, Arc::new(chapter)));
        }
        self.put_in(made, chapters, touched)
    }

    /// A policy is there.
    fn put_in(
        &mut self,
        mut made: Made,
        chapters: Vec<(Direction, Arc<Chapter>)>,
        touched: &mut Touched,
    ) -> Made {
        *self.users.entry(made.subject).or_default() += 1;
        if !chapters.is_empty() {
            self.touch(made.subject, touched);
        }
        for set in &made.peers {
            *self.users.entry(*set).or_default() += 1;
            let count = self.peers.entry(*set).or_default();
            *count += 1;
            if *count == 1 {
                self.touch(*set, touched);
            }
        }
        made.chapters = chapters.iter().map(|(_, chapter)| chapter.clone()).collect();
        self.about.entry(made.subject).or_default().extend(chapters);
        made
    }

    /// A policy is no more.
    fn take_out(&mut self, made: Made, touched: &mut Touched) {
        let Made { subject, chapters, peers } = made;
        if !chapters.is_empty() {
            self.touch(subject, touched);
        }
        if let Some(about) = self.about.get_mut(&subject) {
            about.retain(|(_, chapter)| !chapters.iter().any(|gone| Arc::ptr_eq(gone, chapter)));
            if about.is_empty() {
                self.about.remove(&subject);
            }
        }
        for set in &peers {
            if less(&mut self.peers, *set) {
                self.touch(*set, touched);
            }
        }
        for set in peers.into_iter().chain([subject]) {
            if less(&mut self.users, set) {
                self.sets.remove(set);
            }
        }
    }

    fn touch(&self, set: u32, touched: &mut Touched) {
        if let Some(it) = self.sets.get(set) {
            touched.sets.entry(set).or_insert_with(|| it.clone());
        }
    }

    fn peers(&mut self, peers: &[PolicyPeer], home: &str, all: &mut HashSet<u32>) -> Peers {
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
                    all.insert(number);
                    sets.push(number);
                }
                PolicyPeer::Block { ip_block } => blocks.push((ip_block.cidr, ip_block.except.as_slice())),
            }
        }
        Peers::new(sets, blocks)
    }

    fn ports(&mut self, ports: &[PolicyPort], touched: &mut Touched) -> Ports {
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
                    let number = *self.names.entry(name.clone()).or_insert_with(|| {
                        touched.names.insert(name.clone());
                        next
                    });
                    names.push((number, protocol.number()));
                }
            }
        }
        Ports::new(ranges, names)
    }
}

/// One less of `which`; true when none is left.
fn less(counts: &mut HashMap<u32, usize>, which: u32) -> bool {
    let Some(count) = counts.get_mut(&which) else { return false };
    *count -= 1;
    if *count > 0 {
        return false;
    }
    counts.remove(&which);
    true
}
