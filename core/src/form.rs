//! What a form for people says and does about a post's options, where the platform prescribes it: which options stand
//! together, which values exclude each other, what is told with a choice, and what is agreed to. Data like the options
//! themselves, so that every form follows it, and the host checks what of it can be checked.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{FieldIssue, Post, PostKind, PostMode};

/// An option with a certain value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Is {
    /// Name of the option.
    pub option: &'static str,
    /// Its value. A flag that is not given is `false`.
    pub value: Value,
}

impl Is {
    /// A flag that is set.
    #[must_use]
    pub fn on(option: &'static str) -> Self {
        Self {
            option,
            value: Value::Bool(true),
        }
    }

    /// A flag that is not set.
    #[must_use]
    pub fn off(option: &'static str) -> Self {
        Self {
            option,
            value: Value::Bool(false),
        }
    }

    /// A choice.
    #[must_use]
    pub fn chosen(option: &'static str, value: &str) -> Self {
        Self {
            option,
            value: value.into(),
        }
    }

    fn holds(&self, options: &Map<String, Value>) -> bool {
        match options.get(self.option) {
            Some(value) => *value == self.value,
            None => self.value == Value::Bool(false),
        }
    }
}

/// Options that stand together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OptionGroup {
    /// Heading, or label of the switch.
    pub title: &'static str,
    /// What it is about.
    pub description: Option<&'static str>,
    /// The options, in order.
    pub options: Vec<&'static str>,
    /// The options are flags behind a switch that is off at first. Once it is on, one of them must be set; this says so.
    pub switch: Option<&'static str>,
    /// What is told with a choice: the first whose conditions all hold.
    pub notices: Vec<Notice>,
}

/// A sentence that is shown while its conditions hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// All of these.
    pub when: Vec<Is>,
    /// The sentence.
    pub text: &'static str,
}

/// Two values that no post has together. A form disables either one while the other is chosen, and says why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exclusion {
    /// One.
    pub one: Is,
    /// The other; a post with both is refused at this option.
    pub other: Is,
    /// Code of the refusal.
    pub code: &'static str,
    /// Why.
    pub message: &'static str,
}

/// What a person agrees to by posting. It stands directly before the button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Declaration {
    /// In these modes.
    pub modes: Vec<PostMode>,
    /// All of these hold.
    pub when: Vec<Is>,
    /// The text. Words in square brackets are links.
    pub text: &'static str,
    /// Addresses of the links, in order.
    pub links: Vec<&'static str>,
}

impl Declaration {
    /// The text as a person reads it.
    #[must_use]
    pub fn spoken(&self) -> String {
        spoken(self.text)
    }
}

/// A text without the brackets around its links: what a person reads.
fn spoken(text: &str) -> String {
    text.replace(['[', ']'], "")
}

/// The texts of a manifest in another language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Translation {
    /// Language (BCP 47), such as `fr`.
    pub language: &'static str,
    /// By the text as the manifest has it.
    pub texts: BTreeMap<&'static str, &'static str>,
}

/// All that a form knows beyond the options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PostForm {
    /// Kinds whose title and text are one: a form asks for the title alone.
    pub one_text: Vec<PostKind>,
    /// Options that stand together. The others stand by themselves.
    pub groups: Vec<OptionGroup>,
    /// Values that exclude each other.
    pub exclusions: Vec<Exclusion>,
    /// What is agreed to: the first that fits the post.
    pub declarations: Vec<Declaration>,
    /// What is told of the time after posting.
    pub afterwards: Option<&'static str>,
    /// The manifest's texts in other languages.
    pub translations: Vec<Translation>,
}

impl PostForm {
    /// What a person agrees to by this post.
    #[must_use]
    pub fn declaration(&self, post: &Post) -> Option<&Declaration> {
        self.declarations
            .iter()
            .find(|one| one.modes.contains(&post.mode) && one.when.iter().all(|is| is.holds(&post.options)))
    }

    /// Whether `text` is the declaration, in any language.
    #[must_use]
    pub fn says(&self, declaration: &Declaration, text: &str) -> bool {
        let translated = self
            .translations
            .iter()
            .filter_map(|other| other.texts.get(declaration.text).copied());
        std::iter::once(declaration.text)
            .chain(translated)
            .any(|known| spoken(known) == text)
    }

    /// The excluded values that a post has.
    #[must_use]
    pub fn check_post(&self, post: &Post) -> Vec<FieldIssue> {
        self.exclusions
            .iter()
            .filter(|exclusion| exclusion.one.holds(&post.options) && exclusion.other.holds(&post.options))
            .map(|exclusion| {
                let pointer = format!("/options/{}", exclusion.other.option);
                FieldIssue::new(pointer, exclusion.code, exclusion.message)
            })
            .collect()
    }

    /// What it has against itself, or against options of these names.
    pub(crate) fn contradiction(&self, options: &[&str]) -> Option<String> {
        let unknown = |name: &&'static str| !options.contains(name);
        let of = |is: &[Is]| is.iter().map(|is| is.option).collect::<Vec<_>>();
        let named = self
            .groups
            .iter()
            .flat_map(|group| {
                let told = group.notices.iter().flat_map(|notice| of(&notice.when));
                group.options.iter().copied().chain(told)
            })
            .chain(
                self.exclusions
                    .iter()
                    .flat_map(|one| [one.one.option, one.other.option]),
            )
            .chain(self.declarations.iter().flat_map(|one| of(&one.when)));
        if let Some(name) = named.into_iter().find(unknown) {
            return Some(format!("the form names the unknown option {name}"));
        }
        let texts = |text: &'static str| {
            let others = self
                .translations
                .iter()
                .filter_map(move |other| other.texts.get(text).copied());
            std::iter::once(text).chain(others)
        };
        let crooked = self.declarations.iter().find(|one| {
            one.links.iter().any(|link| !link.starts_with("https://"))
                || texts(one.text)
                    .any(|text| [text.matches('[').count(), text.matches(']').count()] != [one.links.len(); 2])
        });
        crooked.map(|one| format!("the links of the declaration {:?} do not fit", one.text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::PostId;

    fn form() -> PostForm {
        PostForm {
            exclusions: vec![Exclusion {
                one: Is::on("paid"),
                other: Is::chosen("seen_by", "me"),
                code: "paid_private",
                message: "Not both.",
            }],
            declarations: vec![
                Declaration {
                    modes: vec![PostMode::Direct],
                    when: vec![Is::on("paid")],
                    text: "You agree to [A] and [B].",
                    links: vec!["https://a.example", "https://b.example"],
                },
                Declaration {
                    modes: vec![PostMode::Direct],
                    when: vec![Is::off("paid")],
                    text: "You agree to [A].",
                    links: vec!["https://a.example"],
                },
            ],
            translations: vec![Translation {
                language: "fr",
                texts: BTreeMap::from([("You agree to [A].", "Vous acceptez [A].")]),
            }],
            ..PostForm::default()
        }
    }

    fn post(mode: PostMode, options: Value) -> Post {
        let Value::Object(options) = options else {
            panic!("an object")
        };
        Post {
            id: PostId::from_uuid(uuid::Uuid::nil()),
            kind: PostKind::Text,
            mode,
            title: None,
            text: None,
            media: Vec::new(),
            options,
        }
    }

    #[test]
    fn what_is_agreed_to_follows_the_options_and_is_known_in_each_language() {
        let form = form();
        let text = |mode, options| form.declaration(&post(mode, options)).map(|one| one.text);
        assert_eq!(text(PostMode::Direct, json!({})), Some("You agree to [A]."));
        assert_eq!(
            text(PostMode::Direct, json!({ "paid": false })),
            Some("You agree to [A].")
        );
        assert_eq!(
            text(PostMode::Direct, json!({ "paid": true })),
            Some("You agree to [A] and [B].")
        );
        assert_eq!(text(PostMode::Draft, json!({ "paid": true })), None);
        let plain = &form.declarations[1];
        assert!(form.says(plain, "You agree to A.") && form.says(plain, "Vous acceptez A."));
        assert!(!form.says(plain, "You agree to A and B.") && !form.says(plain, ""));
    }

    #[test]
    fn excluded_values_are_refused_together_alone() {
        let codes = |options| form().check_post(&post(PostMode::Direct, options)).len();
        assert_eq!(codes(json!({ "paid": true, "seen_by": "me" })), 1);
        for fine in [
            json!({ "paid": true }),
            json!({ "seen_by": "me" }),
            json!({ "paid": true, "seen_by": "all" }),
        ] {
            assert_eq!(codes(fine), 0);
        }
    }

    #[test]
    fn a_form_that_contradicts_itself_is_found() {
        assert_eq!(form().contradiction(&["paid", "seen_by"]), None);
        assert!(form().contradiction(&["paid"]).is_some());
        let mut form = form();
        form.declarations[0].links.pop();
        assert!(form.contradiction(&["paid", "seen_by"]).is_some());
    }
}
