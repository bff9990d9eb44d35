//! Label selectors (`LabelSelector` of meta/v1): all terms must hold; one without terms selects everything.

use serde::Serialize;

use super::labels::{self, Labels};
use crate::error::Reported;
use crate::keys::{Key, key};
use crate::raw::{Raw, quote};
use crate::section::Section;
use crate::value;

/// Which objects are meant, by their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Selector {
    /// Labels that an object must have, with these values.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub match_labels: Labels,
    /// Further terms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Expression>,
}

/// One term of a selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Expression {
    /// The label.
    pub key: String,
    /// What must be true of its value.
    pub operator: Operator,
    /// The values that `In` and `NotIn` compare with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What must be true of a label (`LabelSelectorOperator` of meta/v1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Operator {
    /// It is there, with one of the values.
    In,
    /// It is not there, or with another value.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl Selector {
    /// True when every term holds for `labels`.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.matches(labels))
    }

    /// True when it has no terms, and so selects everything.
    pub fn is_everything(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }
}

impl Expression {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let listed = || value.is_some_and(|value| self.values.iter().any(|it| it == value));
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

const SELECTOR_KEYS: &[Key] = &[
    key("match_labels", &[], "table of labels", "none", "labels that must be there"),
    key("match_expressions", &[], "array of tables", "none", "further terms"),
];

const EXPRESSION_KEYS: &[Key] = &[
    key("key", &[], "string", "required", "the label"),
    key("operator", &[], "`In`, `NotIn`, `Exists`, `DoesNotExist`", "required", "what must be true of it"),
    key("values", &[], "array of strings", "none", "for `In` and `NotIn`"),
];

/// What a message shows for a selector.
pub(crate) const EXAMPLE: &str = "{ match_labels = { app = \"web\" } }";

/// The selector under `name`; `None` when it is not there.
pub(crate) fn under(section: &mut Section<'_, '_>, name: &str) -> Result<Option<Selector>, Reported> {
    section.table(name, SELECTOR_KEYS, EXAMPLE, read)
}

fn read(section: &mut Section<'_, '_>) -> Result<Selector, Reported> {
    let match_labels = section.labels("match_labels");
    let example = "{ key = \"app\", operator = \"Exists\" }";
    let match_expressions = section.tables("match_expressions", EXPRESSION_KEYS, example, expression);
    section.refuse_others(None);
    let match_expressions = match_expressions?.into_iter().collect::<Option<_>>().ok_or(Reported)?;
    Ok(Selector { match_labels: match_labels?, match_expressions })
}

fn expression(section: &mut Section<'_, '_>) -> Result<Expression, Reported> {
    let key = section.required("key", "\"app\"", labels::key);
    let operator = section.required("operator", "\"In\"", operator);
    let values = section.list("values", labels::value);
    section.refuse_others(None);
    let (operator, values) = (operator?, values?);
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            Err(section.report("values", "none given; In and NotIn compare with values, add one"))
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            Err(section.report("values", "Exists and DoesNotExist compare with nothing; remove the values"))
        }
        _ => Ok(Expression { key: key?, operator, values }),
    }
}

fn operator(raw: Raw<'_>) -> Result<Operator, String> {
    let text = value::text(raw)?;
    match text {
        "In" => Ok(Operator::In),
        "NotIn" => Ok(Operator::NotIn),
        "Exists" => Ok(Operator::Exists),
        "DoesNotExist" => Ok(Operator::DoesNotExist),
        _ => Err(format!("{} is not known; use one of: In, NotIn, Exists, DoesNotExist", quote(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(operator: Operator, values: &[&str]) -> Selector {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let expression = Expression { key: "app".into(), operator, values };
        Selector { match_expressions: vec![expression], ..Selector::default() }
    }

    #[test]
    fn operators_do_what_the_api_says() {
        let web: Labels = [("app", "web")].into_iter().collect();
        let none = Labels::default();
        for (selector, of_web, of_none) in [
            (Selector::default(), true, true),
            (term(Operator::In, &["db", "web"]), true, false),
            (term(Operator::In, &["db"]), false, false),
            (term(Operator::NotIn, &["web"]), false, true),
            (term(Operator::NotIn, &["db"]), true, true),
            (term(Operator::Exists, &[]), true, false),
            (term(Operator::DoesNotExist, &[]), false, true),
            (Selector { match_labels: web.clone(), ..Selector::default() }, true, false),
        ] {
            assert_eq!((selector.matches(&web), selector.matches(&none)), (of_web, of_none), "{selector:?}");
        }
    }
}
