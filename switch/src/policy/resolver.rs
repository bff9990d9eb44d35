//! What every pod is to policies, kept from one configuration to the next.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use shunt_config::{Cluster, Pod};

use super::compile::{Book, Touched};
use crate::ids::PortId;
use crate::table::policy::{Chapter, Direction, Identity, NamedPort, Policies, Side};

/// The state. The default knows no pods and no policies.
#[derive(Debug, Default)]
pub struct Resolver {
    /// As last followed.
    cluster: Arc<Cluster>,
    /// Its policies.
    book: Book,
    pods: HashMap<(String, String), Resolved>,
    identities: Identities,
    /// Addresses of pods that policies know, with their identity.
    rows: BTreeMap<IpAddr, u32>,
    node: BTreeSet<IpAddr>,
    /// Ports of the node's own stack.
    node_ports: BTreeSet<PortId>,
    /// As last built; none after a change.
    table: Option<Arc<Policies>>,
}

/// A pod, and what it is.
#[derive(Debug)]
struct Resolved {
    pod: Arc<Pod>,
    /// Place among the identities; `None` when policies have nothing to do with it.
    identity: Option<u32>,
}

impl Resolver {
    /// Follows the configuration. Only pods are looked at that came, went or changed, that are in a set which a policy that came, went or changed
    /// names, or whose namespace has other labels.
    pub fn follow(&mut self, cluster: &Arc<Cluster>) {
        if Arc::ptr_eq(cluster, &self.cluster) {
            return;
        }
        let before = std::mem::replace(&mut self.cluster, cluster.clone());
        if !cluster.has_policies() {
            *self = Self {
                node: std::mem::take(&mut self.node),
                node_ports: std::mem::take(&mut self.node_ports),
                cluster: cluster.clone(),
                ..Self::default()
            };
            return;
        }
        let mut known: &[Arc<Pod>] = &before.pods;
        let same_rules = before.namespaces == cluster.namespaces
            && before.policies == cluster.policies
            && before.admin_policies == cluster.admin_policies;
        let touched = if same_rules { Touched::default() } else { self.book.follow(cluster) };
        if touched.is_all() || !before.has_policies() {
            known = &[];
            *self = Self {
                book: std::mem::take(&mut self.book),
                node: std::mem::take(&mut self.node),
                node_ports: std::mem::take(&mut self.node_ports),
                cluster: cluster.clone(),
                ..Self::default()
            };
        }
        let (gone, come) = differing(known, &cluster.pods);
        let named: HashMap<_, _> = come.iter().map(|pod| ((&*pod.namespace, &*pod.name), pod)).collect();
        // All give their addresses back before anybody takes one over.
        for pod in gone {
            if named.get(&(&*pod.namespace, &*pod.name)) != Some(&pod) {
                self.remove(&pod.namespace, &pod.name);
            }
        }
        // Those that stay are looked at before others come, who are looked at once.
        let again = touched.among(self.pods.values().map(|known| &known.pod), &self.book.sets);
        for pod in again {
            self.look_again(&pod);
        }
        for pod in come {
            self.put(pod);
        }
    }

    /// A pod is as it was, but perhaps something else to policies.
    fn look_again(&mut self, pod: &Arc<Pod>) {
        let now = self.identify(pod);
        let Some(known) = self.pods.get_mut(&(pod.namespace.clone(), pod.name.clone())) else { return };
        let before = std::mem::replace(&mut known.identity, now);
        match now {
            Some(now) => self.rows.extend(pod.addresses.iter().map(|address| (*address, now))),
            None if before.is_some() => {
                for address in &pod.addresses {
                    self.rows.remove(address);
                }
            }
            None => {}
        }
        if let Some(before) = before {
            self.identities.give_back(before);
        }
        if now != before {
            self.table = None;
        }
    }

    /// A pod is there that was not, or is as it was.
    fn put(&mut self, pod: &Arc<Pod>) {
        let key = (pod.namespace.clone(), pod.name.clone());
        if self.pods.contains_key(&key) {
            return;
        }
        let identity = self.identify(pod);
        if let Some(identity) = identity {
            self.rows.extend(pod.addresses.iter().map(|address| (*address, identity)));
            self.table = None;
        }
        self.pods.insert(key, Resolved { pod: pod.clone(), identity });
    }

    /// A pod is no more.
    fn remove(&mut self, namespace: &str, name: &str) {
        let Some(known) = self.pods.remove(&(namespace.to_owned(), name.to_owned())) else { return };
        let Some(identity) = known.identity else { return };
        for address in &known.pod.addresses {
            self.rows.remove(address);
        }
        self.identities.give_back(identity);
        self.table = None;
    }

    /// The node's own addresses.
    pub fn set_node(&mut self, node: BTreeSet<IpAddr>) {
        if self.node != node {
            self.node = node;
            self.table = None;
        }
    }

    /// The ports by which the node's own stack sends; true when they are others than before.
    pub fn set_node_ports(&mut self, ports: BTreeSet<PortId>) -> bool {
        let differ = self.node_ports != ports;
        if differ {
            self.node_ports = ports;
            self.table = None;
        }
        differ
    }

    /// The table; the same one as long as nothing changed. `None` while no pod has a policy.
    pub fn table(&mut self) -> Option<Arc<Policies>> {
        if !self.identities.has_subjects() {
            return None;
        }
        if let Some(table) = &self.table {
            return Some(table.clone());
        }
        let rows = self.rows.iter().map(|(address, identity)| (*address, *identity));
        let table = Policies::build(rows, self.identities.all(), self.node.iter().copied());
        let table = Arc::new(table.with_node_ports(&self.node_ports));
        self.table = Some(table.clone());
        Some(table)
    }

    /// How many pods a policy is about, by its name as [`Chapter::policy`] has it.
    pub fn subjects(&self) -> HashMap<Box<str>, usize> {
        let mut subjects: HashMap<Box<str>, usize> = HashMap::new();
        for identity in self.pods.values().filter_map(|known| self.identities.get(known.identity?)) {
            let sides = [identity.side(Direction::Ingress), identity.side(Direction::Egress)];
            let chapters = sides.into_iter().flatten().flat_map(Side::chapters);
            let names: BTreeSet<&str> = chapters.map(|chapter| chapter.policy.as_ref()).collect();
            for name in names {
                *subjects.entry(name.into()).or_default() += 1;
            }
        }
        subjects
    }

    /// Place of the identity of `pod`.
    fn identify(&mut self, pod: &Pod) -> Option<u32> {
        let book = &self.book;
        let member = book.sets.of(pod);
        let (mut ingress, mut egress) = (Vec::new(), Vec::new());
        for (direction, chapter) in member.iter().flat_map(|set| book.about(*set)) {
            match direction {
                Direction::Ingress => ingress.push(chapter.clone()),
                Direction::Egress => egress.push(chapter.clone()),
            }
        }
        let named = pod.ports.iter().filter_map(|port| {
            let name = *book.names.get(&port.name)?;
            Some(NamedPort { name, protocol: port.protocol.number(), port: port.port })
        });
        let named: Box<[NamedPort]> = if pod.host_network { Box::default() } else { named.collect() };
        let peers: Box<[u32]> = member.into_iter().filter(|set| book.is_peer(*set)).collect();
        if peers.is_empty() && named.is_empty() && ingress.is_empty() && egress.is_empty() {
            return None;
        }
        Some(self.identities.place(peers, named, ingress, egress))
    }
}

/// What is left of two lists without the very same pods at both ends.
fn differing<'l>(old: &'l [Arc<Pod>], new: &'l [Arc<Pod>]) -> (&'l [Arc<Pod>], &'l [Arc<Pod>]) {
    let same = |(old, new): &(&Arc<Pod>, &Arc<Pod>)| Arc::ptr_eq(old, new);
    let front = old.iter().zip(new).take_while(same).count();
    let (old, new) = (&old[front..], &new[front..]);
    let back = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    (&old[..old.len() - back], &new[..new.len() - back])
}

/// Identities, each once; a place is used again when no pod has it.
#[derive(Debug, Default)]
struct Identities {
    places: Vec<Place>,
    numbers: HashMap<Key, u32>,
    free: Vec<u32>,
    /// Sides by the chapters they are made of.
    sides: HashMap<Vec<usize>, Arc<Side>>,
    /// Identities that are subjects of policies.
    subjects: usize,
}

#[derive(Debug)]
struct Place {
    identity: Arc<Identity>,
    key: Key,
    pods: usize,
}

/// What makes an identity. Chapters are told apart by where they are in memory: the book keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Key {
    sets: Box<[u32]>,
    ports: Box<[NamedPort]>,
    ingress: Vec<usize>,
    egress: Vec<usize>,
}

impl Identities {
    fn get(&self, place: u32) -> Option<&Identity> {
        self.places.get(place as usize).map(|place| place.identity.as_ref())
    }

    fn all(&self) -> Box<[Arc<Identity>]> {
        self.places.iter().map(|place| place.identity.clone()).collect()
    }

    fn has_subjects(&self) -> bool {
        self.subjects > 0
    }

    fn place(
        &mut self,
        sets: Box<[u32]>,
        ports: Box<[NamedPort]>,
        ingress: Vec<Arc<Chapter>>,
        egress: Vec<Arc<Chapter>>,
    ) -> u32 {
        let addresses = |chapters: &[Arc<Chapter>]| -> Vec<usize> {
            chapters.iter().map(|chapter| Arc::as_ptr(chapter).addr()).collect()
        };
        let key = Key { sets, ports, ingress: addresses(&ingress), egress: addresses(&egress) };
        if let Some(number) = self.numbers.get(&key) {
            if let Some(place) = self.places.get_mut(*number as usize) {
                place.pods += 1;
            }
            return *number;
        }
        let ingress = self.side(&key.ingress, ingress);
        let egress = self.side(&key.egress, egress);
        let identity = Identity { sets: key.sets.clone(), ports: key.ports.clone(), ingress, egress };
        self.subjects += usize::from(identity.is_subject());
        let place = Place { identity: Arc::new(identity), key: key.clone(), pods: 1 };
        let number = match self.free.pop() {
            Some(number) => {
                self.places[number as usize] = place;
                number
            }
            None => {
                self.places.push(place);
                (self.places.len() - 1) as u32
            }
        };
        self.numbers.insert(key, number);
        number
    }

    fn side(&mut self, key: &[usize], chapters: Vec<Arc<Chapter>>) -> Option<Arc<Side>> {
        if let Some(side) = self.sides.get(key) {
            return Some(side.clone());
        }
        let side = Arc::new(Side::new(chapters)?);
        self.sides.insert(key.to_vec(), side.clone());
        Some(side)
    }

    fn give_back(&mut self, number: u32) {
        let Some(place) = self.places.get_mut(number as usize) else { return };
        place.pods = place.pods.saturating_sub(1);
        if place.pods > 0 {
            return;
        }
        self.subjects -= usize::from(place.identity.is_subject());
        self.numbers.remove(&place.key);
        place.identity = Arc::default();
        self.free.push(number);
        // Labels that come and go leave no sides behind.
        if self.sides.len() > 2 * self.places.len() + 64 {
            self.sides.retain(|_, side| Arc::strong_count(side) > 1);
        }
    }
}
