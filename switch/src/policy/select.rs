//! The sets of pods that selectors describe, each once, and which of them a pod is in.
//!
//! A set is found by something that its pods must have: the namespace, one label with its value, or both. Selectors without
//! such a term are few, and are asked for every pod.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use shunt_config::{Labels, NAMESPACE_NAME_LABEL, Namespace, Operator, Pod, Selector};

/// In which namespaces the pods of a set are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// In this one.
    One(String),
    /// In those that a selector chooses.
    Selected(Selector),
}

impl Scope {
    /// True for a namespace of this name and with these labels.
    pub(super) fn has(&self, name: &str, labels: &Labels) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Selected(selector) => selector.matches(labels),
        }
    }
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
    /// Takes over the labels of namespaces; gives the names of those that have others than before.
    pub(super) fn set_namespaces(&mut self, namespaces: &[Namespace]) -> Vec<String> {
        let labelled =
            |namespace: &Namespace| (namespace.name.clone(), with_name(&namespace.labels, &namespace.name));
        let next: HashMap<String, Labels> = namespaces.iter().map(labelled).collect();
        let before = std::mem::replace(&mut self.namespaces, next);
        let names: HashSet<&String> = before.keys().chain(self.namespaces.keys()).collect();
        // One that is not there has its name for a label, as one that is there without any.
        let of = |all: &HashMap<String, Labels>, name: &str| {
            all.get(name).cloned().unwrap_or_else(|| with_name(&Labels::default(), name))
        };
        let differs = |name: &&&String| of(&before, name) != of(&self.namespaces, name);
        names.iter().filter(differs).map(|name| (*name).clone()).collect()
    }

    /// The labels of a namespace.
    pub(super) fn labels_of(&self, namespace: &str) -> Cow<'_, Labels> {
        match self.namespaces.get(namespace) {
            Some(labels) => Cow::Borrowed(labels),
            None => Cow::Owned(with_name(&Labels::default(), namespace)),
        }
    }

    /// The number of a set, which is from now on one of these.
    pub(super) fn number(&mut self, set: Set) -> u32 {
        if let Some(number) = self.numbers.get(&set) {
            return *number;
        }
        let number = self.sets.len() as u32;
        for (namespace, label) in commons(&set) {
            let places = self.by_common.entry(namespace).or_default();
            let place = match label {
                Some((key, value)) => places.labelled.entry(key).or_default().entry(value).or_default(),
                None => &mut places.rest,
            };
            place.push(number);
        }
        self.sets.push(Some(set.clone()));
        self.numbers.insert(set, number);
        number
    }

    /// The set of a number.
    pub(super) fn get(&self, number: u32) -> Option<&Set> {
        self.sets.get(number as usize)?.as_ref()
    }

    /// The set of a number is none any more. Its number is nobody's from now on.
    pub(super) fn remove(&mut self, number: u32) {
        let Some(set) = self.sets.get_mut(number as usize).and_then(Option::take) else { return };
        self.numbers.remove(&set);
        for (namespace, label) in commons(&set) {
            let Some(places) = self.by_common.get_mut(&namespace) else { continue };
            match label {
                None => places.rest.retain(|other| *other != number),
                Some((key, value)) => {
                    let Some(values) = places.labelled.get_mut(&key) else { continue };
                    if let Some(place) = values.get_mut(&value) {
                        place.retain(|other| *other != number);
                        if place.is_empty() {
                            values.remove(&value);
                        }
                    }
                    if values.is_empty() {
                        places.labelled.remove(&key);
                    }
                }
            }
            if places.rest.is_empty() && places.labelled.is_empty() {
                self.by_common.remove(&namespace);
            }
        }
    }

    /// True when most numbers are nobody's.
    pub(super) fn is_mostly_gaps(&self) -> bool {
        self.sets.len() > 2 * self.numbers.len() + 64
    }

    /// Numbers of the sets that `pod` is in, in order.
    pub(super) fn of(&self, pod: &Pod) -> Vec<u32> {
        if pod.host_network {
            return Vec::new();
        }
        let namespace = self.labels_of(&pod.namespace);
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
                let scoped = set.scope.has(&pod.namespace, &namespace);
                scoped && set.pods.matches(&pod.labels)
            })
        });
        found.sort_unstable();
        found.dedup();
        found
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
