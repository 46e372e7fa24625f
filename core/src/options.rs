//! The platform's own options of a post (privacy, disclosure, …) as typed fields. One declaration gives the check of
//! a request, the JSON Schema in the API description, and the form on the upload page.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{FieldIssue, Post, PostKind, PostMode};

/// What values a field takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OptionKind {
    /// `true` or `false`.
    Bool,
    /// One of these texts.
    Choice {
        /// The texts.
        values: Vec<&'static str>,
    },
    /// A whole number.
    Integer {
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
    /// A text of at most this many code points.
    Text {
        /// Greatest length.
        max: usize,
    },
}

/// One option.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OptionField {
    /// Key in the post's `options`.
    pub name: &'static str,
    /// Label for people.
    pub title: &'static str,
    /// What it does.
    pub description: &'static str,
    /// Its values.
    pub kind: OptionKind,
    /// Kinds of post that have it.
    pub posts: Vec<PostKind>,
    /// Modes in which it means something. In the others it is refused.
    pub modes: Vec<PostMode>,
    /// Whether it must be given, where it exists.
    pub required: bool,
    /// A flag that people are asked the other way round: the label of a switch, off at first, whose *on* is this flag's
    /// `false`.
    pub opposite: Option<&'static str>,
    /// Words for the values of a choice. Those without are shown as they are.
    pub labels: BTreeMap<&'static str, &'static str>,
}

impl OptionField {
    fn applies_to(&self, kind: PostKind, mode: PostMode) -> bool {
        self.posts.contains(&kind) && self.modes.contains(&mode)
    }

    /// JSON Schema (draft 2020-12) of the field.
    #[must_use]
    pub fn json_schema(&self) -> Value {
        let mut schema = match &self.kind {
            OptionKind::Bool => json!({ "type": "boolean" }),
            OptionKind::Choice { values } => json!({ "type": "string", "enum": values }),
            OptionKind::Integer { min, max } => {
                json!({ "type": "integer", "minimum": min, "maximum": max })
            }
            OptionKind::Text { max } => json!({ "type": "string", "maxLength": max }),
        };
        schema["title"] = self.title.into();
        schema["description"] = self.description.into();
        schema
    }

    /// JSON Schema of a post's `options` made of these fields.
    #[must_use]
    pub fn schema_of(fields: &[Self]) -> Value {
        let properties: Map<String, Value> = fields
            .iter()
            .map(|field| (field.name.to_owned(), field.json_schema()))
            .collect();
        json!({ "type": "object", "properties": properties, "additionalProperties": false })
    }

    /// Everything wrong with a post's options.
    #[must_use]
    pub fn check_all(fields: &[Self], post: &Post) -> Vec<FieldIssue> {
        let mut issues = Vec::new();
        for name in post.options.keys() {
            if !fields
                .iter()
                .any(|f| f.name == name && f.applies_to(post.kind, post.mode))
            {
                let known: Vec<_> = fields
                    .iter()
                    .filter(|f| f.applies_to(post.kind, post.mode))
                    .map(|f| f.name)
                    .collect();
                let message = format!(
                    "No such option for this kind and mode of post. Known: {}.",
                    known.join(", ")
                );
                issues.push(FieldIssue::new(
                    format!("/options/{}", escape(name)),
                    "unknown_option",
                    message,
                ));
            }
        }
        for field in fields.iter().filter(|f| f.applies_to(post.kind, post.mode)) {
            match post.options.get(field.name) {
                None if field.required => {
                    issues.push(field.issue("required", "This option must be given."));
                }
                None => {}
                Some(value) => issues.extend(field.check(value)),
            }
        }
        issues
    }

    fn check(&self, value: &Value) -> Option<FieldIssue> {
        match &self.kind {
            OptionKind::Bool if !value.is_boolean() => Some(self.issue("type", "Give true or false.")),
            OptionKind::Choice { values } if !value.as_str().is_some_and(|v| values.contains(&v)) => {
                Some(self.issue("choice", format!("Give one of {}.", values.join(", "))))
            }
            OptionKind::Integer { min, max } if !value.as_i64().is_some_and(|v| (*min..=*max).contains(&v)) => {
                Some(self.issue("range", format!("Give a whole number from {min} to {max}.")))
            }
            OptionKind::Text { max } if value.as_str().is_none_or(|v| v.chars().count() > *max) => {
                Some(self.issue("too_long", format!("Give a text of at most {max} characters.")))
            }
            OptionKind::Bool | OptionKind::Choice { .. } | OptionKind::Integer { .. } | OptionKind::Text { .. } => None,
        }
    }

    fn issue(&self, code: &'static str, message: impl Into<String>) -> FieldIssue {
        FieldIssue::new(format!("/options/{}", self.name), code, message)
    }
}

/// A key as a JSON pointer token (RFC 6901 section 3).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
