//! The sets of pods that selectors describe, each once, and which of them a pod is in.
//!
//! A set is found by something that its pods must have: the namespace, one label with its value, or both. Selectors without
//! such a term are few, and are asked for every pod.

use std::collections::HashMap;

use shunt_config::{Labels, NAMESPACE_NAME_LABEL, Namespace, Operator, Pod, Selector};

/// In which namespaces the pods of a set are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// In this one.
    One(String),
    /// In those that a selector chooses.
    Selected(Selector),
}

/// A set of pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Set {
    pub(super) scope: Scope,
    pub(super) pods: Selector,
}

/// What the pods of a set have in common, as far as a map can find it: the namespace, and a label with its value.
type Common = (Option<String>, Option<(String, String)>);

/// All sets.
#[derive(Debug, Default)]
pub(super) struct Sets {
    numbers: HashMap<Set, u32>,
    /// By number; some numbers are nobody's.
    sets: Vec<Option<Set>>,
    /// Numbers that sets had before: whoever has one gets it again, so that what is the same looks the same.
    before: HashMap<Set, u32>,
    by_common: HashMap<Option<String>, Places>,
    namespaces: HashMap<String, Labels>,
}

/// Sets of one namespace, or of several.
#[derive(Debug, Default)]
struct Places {
    /// By key and value of a label that all their pods have.
    labelled: HashMap<String, HashMap<String, Vec<u32>>>,
    /// The others.
    rest: Vec<u32>,
}

impl Sets {
    /// No sets yet, over these namespaces; those that are in `before` will have the same numbers, unless most of these are
    /// nobody's by now.
    pub(super) fn new(namespaces: &[Namespace], before: Self) -> Self {
        let labelled =
            |namespace: &Namespace| (namespace.name.clone(), with_name(&namespace.labels, &namespace.name));
        let namespaces = namespaces.iter().map(labelled).collect();
        if before.sets.len() > 2 * before.numbers.len() + 64 {
            return Self { namespaces, ..Self::default() };
        }
        let sets = before.sets.iter().map(|_| None).collect();
        Self { namespaces, sets, before: before.numbers, ..Self::default() }
    }

    /// The number of a set, which is from now on one of these.
    pub(super) fn number(&mut self, set: Set) -> u32 {
        if let Some(number) = self.numbers.get(&set) {
            return *number;
        }
        let number = self.before.remove(&set).unwrap_or(self.sets.len() as u32);
        for (namespace, label) in commons(&set) {
            let places = self.by_common.entry(namespace).or_default();
            let place = match label {
                Some((key, value)) => places.labelled.entry(key).or_default().entry(value).or_default(),
                None => &mut places.rest,
            };
            place.push(number);
        }
        if self.sets.len() <= number as usize {
            self.sets.push(None);
        }
        if let Some(place) = self.sets.get_mut(number as usize) {
            *place = Some(set.clone());
        }
        self.numbers.insert(set, number);
        number
    }

    /// Numbers of the sets that `pod` is in, in order.
    pub(super) fn of(&self, pod: &Pod) -> Vec<u32> {
        if pod.host_network {
            return Vec::new();
        }
        let bare;
        let namespace = match self.namespaces.get(&pod.namespace) {
            Some(labels) => labels,
            None => {
                bare = with_name(&Labels::default(), &pod.namespace);
                &bare
            }
        };
        let mut found = Vec::new();
        for places in [self.by_common.get(&Some(pod.namespace.clone())), self.by_common.get(&None)] {
            let Some(places) = places else { continue };
            found.extend(&places.rest);
            for (key, value) in pod.labels.iter() {
                found.extend(
                    places.labelled.get(key).and_then(|values| values.get(value)).into_iter().flatten(),
                );
            }
        }
        found.retain(|number| {
            self.sets.get(*number as usize).and_then(Option::as_ref).is_some_and(|set| {
                let scoped = match &set.scope {
                    Scope::One(name) => *name == pod.namespace,
                    Scope::Selected(selector) => selector.matches(namespace),
                };
                scoped && set.pods.matches(&pod.labels)
            })
        });
        found.sort_unstable();
        found.dedup();
        found
    }

    /// One more than the highest number.
    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }
}

/// A namespace's labels with the one that each has.
fn with_name(labels: &Labels, name: &str) -> Labels {
    let mut labels = labels.clone();
    labels.insert(NAMESPACE_NAME_LABEL, name);
    labels
}

/// Where a set is put so that all its pods find it.
fn commons(set: &Set) -> Vec<Common> {
    let namespaces = match &set.scope {
        Scope::One(name) => vec![Some(name.clone())],
        // The way to name a namespace in a selector.
        Scope::Selected(selector) => match selector.match_labels.get(NAMESPACE_NAME_LABEL) {
            Some(name) => vec![Some(name.to_owned())],
            None => vec![None],
        },
    };
    let label = set.pods.match_labels.iter().next();
    let labels = match label {
        Some((key, value)) => vec![Some((key.to_owned(), value.to_owned()))],
        None => {
            let listed = set.pods.match_expressions.iter().find(|it| it.operator == Operator::In);
            match listed {
                Some(term) => {
                    term.values.iter().map(|value| Some((term.key.clone(), value.clone()))).collect()
                }
                None => vec![None],
            }
        }
    };
    let pair = |namespace: Option<String>| {
        labels.iter().map(move |label| (namespace.clone(), label.clone())).collect::<Vec<_>>()
    };
    namespaces.into_iter().flat_map(pair).collect()
}
