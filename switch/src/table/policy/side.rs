//! All that policies say about a pod in one direction, in the order in which it is asked (KEP-2091):
//!
//! 1. admin policies by priority: the first rule that fits allows, denies, or passes on to the next step;
//! 2. when policies of the namespace isolate the pod: allowed if any of their rules fits, else denied, and that is the end;
//! 3. the baseline: the first rule that fits allows or denies;
//! 4. allowed.

use std::sync::Arc;

use super::Asked;
use super::rule::{Action, Rule};

/// Where a policy stands: the lesser is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// AdminNetworkPolicy, by priority.
    Admin(u16),
    /// NetworkPolicy.
    Namespace,
    /// BaselineAdminNetworkPolicy.
    Baseline,
}

/// The rules of one policy for one direction.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Chapter {
    /// `namespace/name` of the policy, or the name of an admin policy.
    pub policy: Box<str>,
    /// Where it stands.
    pub tier: Tier,
    /// What it forbids is answered.
    pub rejects: bool,
    /// In the order of the policy.
    pub rules: Box<[Rule]>,
}

/// Everything about a pod in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Side {
    /// By tier, priority and name.
    chapters: Box<[Arc<Chapter>]>,
    /// Those of tier [`Tier::Namespace`]; not empty when the pod is isolated.
    own: std::ops::Range<usize>,
}

/// What became of the question.
#[derive(Clone, Copy, Debug)]
pub enum Judgement<'t> {
    /// No rule is about it, and the pod is not isolated.
    Free,
    /// The rule of that index allows it.
    Allowed(&'t Chapter, usize),
    /// The rule of that index forbids it.
    Denied(&'t Chapter, usize),
    /// The pod is isolated by these policies, and none of their rules allows it.
    Isolated(&'t [Arc<Chapter>]),
}

impl Judgement<'_> {
    /// True when the packet may pass.
    #[inline]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Free | Self::Allowed(..))
    }

    /// True when what is forbidden is answered.
    #[inline]
    pub fn rejects(&self) -> bool {
        match self {
            Self::Free | Self::Allowed(..) => false,
            Self::Denied(chapter, _) => chapter.rejects,
            Self::Isolated(chapters) => chapters.iter().any(|chapter| chapter.rejects),
        }
    }

    /// In words, for people.
    pub fn describe(&self) -> String {
        let rule = |chapter: &Chapter, at: usize| {
            let kind = match chapter.tier {
                Tier::Admin(_) => "admin policy",
                Tier::Namespace => "policy",
                Tier::Baseline => "baseline policy",
            };
            format!("{kind} {} rule {at}", chapter.policy)
        };
        match self {
            Self::Free => "no policy is about it".to_owned(),
            Self::Allowed(chapter, at) => format!("allowed by {}", rule(chapter, *at)),
            Self::Denied(chapter, at) => format!("denied by {}", rule(chapter, *at)),
            Self::Isolated(chapters) => {
                let names: Vec<&str> = chapters.iter().take(NAMED).map(|it| it.policy.as_ref()).collect();
                let more = chapters.len().saturating_sub(NAMED);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("allowed by no rule of {}{more}, which isolate the pod", names.join(", "))
            }
        }
    }
}

/// Policies that a text names at most.
const NAMED: usize = 4;

impl Side {
    /// A side of `chapters`, in any order; `None` when there are none.
    pub fn new(mut chapters: Vec<Arc<Chapter>>) -> Option<Self> {
        if chapters.is_empty() {
            return None;
        }
        chapters.sort_by(|a, b| (a.tier, &a.policy).cmp(&(b.tier, &b.policy)));
        let first = chapters.partition_point(|chapter| chapter.tier < Tier::Namespace);
        let last = chapters.partition_point(|chapter| chapter.tier <= Tier::Namespace);
        Some(Self { chapters: chapters.into(), own: first..last })
    }

    /// What it says.
    #[inline]
    pub fn judge(&self, asked: &Asked<'_>) -> Judgement<'_> {
        let admin = self.chapters.get(..self.own.start).unwrap_or_default();
        match first(admin, asked) {
            Some((chapter, at, Action::Allow)) => return Judgement::Allowed(chapter, at),
            Some((chapter, at, Action::Deny)) => return Judgement::Denied(chapter, at),
            Some((_, _, Action::Pass)) | None => {}
        }
        let own = self.chapters.get(self.own.clone()).unwrap_or_default();
        if !own.is_empty() {
            return match first(own, asked) {
                Some((chapter, at, _)) => Judgement::Allowed(chapter, at),
                None => Judgement::Isolated(own),
            };
        }
        let baseline = self.chapters.get(self.own.end..).unwrap_or_default();
        match first(baseline, asked) {
            Some((chapter, at, Action::Deny)) => Judgement::Denied(chapter, at),
            Some((chapter, at, Action::Allow | Action::Pass)) => Judgement::Allowed(chapter, at),
            None => Judgement::Free,
        }
    }

    /// Its policies, in the order in which they are asked.
    pub fn chapters(&self) -> &[Arc<Chapter>] {
        &self.chapters
    }
}

/// The first rule that fits.
#[inline]
fn first<'t>(chapters: &'t [Arc<Chapter>], asked: &Asked<'_>) -> Option<(&'t Chapter, usize, Action)> {
    chapters.iter().find_map(|chapter| {
        let at = chapter.rules.iter().position(|rule| rule.fits(asked))?;
        Some((&**chapter, at, chapter.rules.get(at)?.action))
    })
}
