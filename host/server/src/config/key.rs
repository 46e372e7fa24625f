//! The tables of keys. One entry says what a key is called in the file and in the environment, what it may be, what it
//! is when unset, and what it means.

use figment::value::{Dict, Value};
use patchbay_core::ProviderId;

use super::{database, egress, encryption, limits, log, providers, server, site, storage, wasm, workers};

/// Variables of the environment that set keys start with this; two underscores stand between section and key.
pub(super) const ENV_PREFIX: &str = "PATCHBAY__";

/// A section's keys, and what the reference says about it.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) keys: &'static [Key],
}

/// All sections, in the order of the reference.
pub(super) const SECTIONS: &[&Section] = &[
    &server::SECTION,
    &database::SECTION,
    &storage::SECTION,
    &encryption::SECTION,
    &log::SECTION,
    &workers::SECTION,
    &limits::SECTION,
    &egress::SECTION,
    &site::SECTION,
    &wasm::SECTION,
    &providers::SECTION,
];

/// One key.
pub(super) struct Key {
    /// In the file. `*` stands for a provider's id.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Default,
    /// Its other name in the environment. `<ID>` stands for a provider's id.
    pub(super) plain: Option<&'static str>,
    pub(super) meaning: &'static str,
}

impl Key {
    pub(super) const fn new(path: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self {
            path,
            kind,
            default: Default::Unset,
            plain: None,
            meaning,
        }
    }

    /// What it is when unset, written as in the environment.
    pub(super) const fn or(mut self, value: &'static str) -> Self {
        self.default = Default::Value(value);
        self
    }

    /// What it is made from when unset, in words.
    pub(super) const fn or_from(mut self, words: &'static str) -> Self {
        self.default = Default::Derived(words);
        self
    }

    pub(super) const fn plain(mut self, name: &'static str) -> Self {
        self.plain = Some(name);
        self
    }

    /// The default as a value, if it is one.
    pub(super) fn default_value(&self) -> Option<Value> {
        match self.default {
            Default::Value(text) => Some(self.kind.value(text)),
            Default::Unset | Default::Derived(_) => None,
        }
    }

    /// The name in the environment. `<ID>` stands for a provider's id.
    pub(super) fn env_name(&self) -> String {
        let path = self.path.to_ascii_uppercase().replace('*', "<ID>").replace('.', "__");
        format!("{ENV_PREFIX}{path}")
    }
}

/// What a key is when nobody sets it.
pub(super) enum Default {
    Unset,
    Value(&'static str),
    Derived(&'static str),
}

/// What a key's value may be.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Flag,
    /// A whole number between these.
    Whole(u64, u64),
    Text,
    Choice(&'static [&'static str]),
    Address,
    /// May hold a password, so it is shown without.
    Url,
    Path,
    Secret,
    Texts,
    Secrets,
    /// Host names to socket addresses.
    Addresses,
    /// File names to their contents.
    Files,
    /// Whatever the provider makes of it.
    Table,
}

impl Kind {
    /// Reads a variable's text. Text that does not fit stays text, and is refused where the key is read. Unlike
    /// figment's own reading, a password of digits stays text too.
    pub(super) fn value(self, text: &str) -> Value {
        match self {
            Self::Flag => text.parse::<bool>().map_or_else(|_| text.into(), Into::into),
            Self::Whole(..) => text.parse::<u64>().map_or_else(|_| text.into(), Into::into),
            Self::Text | Self::Choice(_) | Self::Address | Self::Url | Self::Path | Self::Secret => text.into(),
            Self::Texts | Self::Secrets => pieces(text).map(Value::from).collect::<Vec<_>>().into(),
            Self::Addresses | Self::Files => {
                let pairs = pieces(text).map(|pair| {
                    let (name, value) = pair.split_once('=')?;
                    Some((name.to_owned(), Value::from(value)))
                });
                pairs.collect::<Option<Dict>>().map_or_else(|| text.into(), Into::into)
            }
            Self::Table => text
                .parse()
                .unwrap_or_else(|never: std::convert::Infallible| match never {}),
        }
    }

    /// Reads the text of a plain variable, which holds one value even where the key takes several.
    pub(super) fn single_value(self, text: &str) -> Value {
        match self {
            Self::Texts | Self::Secrets => vec![Value::from(text)].into(),
            _ => self.value(text),
        }
    }

    /// Whether the value must never be shown.
    pub(super) fn is_private(self) -> bool {
        matches!(self, Self::Secret | Self::Secrets | Self::Url | Self::Table)
    }

    /// What a good value is.
    pub(super) fn wanted(self) -> String {
        match self {
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Self::Text => "text, in quotes, and not empty".to_owned(),
            Self::Choice(names) => alternatives(names),
            Self::Address => "an IP address and a port, such as \"127.0.0.1:8080\"".to_owned(),
            Self::Url => "a URL, such as \"https://example.com\"".to_owned(),
            Self::Path => "a path, in quotes".to_owned(),
            Self::Secret => "text, in quotes, and not empty".to_owned(),
            Self::Texts | Self::Secrets => "a list of texts that are not empty, such as [\"a\", \"b\"]".to_owned(),
            Self::Addresses => {
                "a table of hosts and addresses, such as { \"api.example.com\" = \"127.0.0.1:9000\" }".to_owned()
            }
            Self::Files => {
                "a table of names and texts, such as { \"proof.txt\" = \"what the platform gave\" }".to_owned()
            }
            Self::Table => "a table".to_owned(),
        }
    }

    /// The kind's name in the reference.
    pub(super) fn title(self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Whole(least, most) => format!("number, {least} to {most}"),
            Self::Text => "text".to_owned(),
            Self::Choice(names) => alternatives(names).replace('"', "`"),
            Self::Address => "IP address and port".to_owned(),
            Self::Url => "URL".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Secret => "secret".to_owned(),
            Self::Texts => "list of texts".to_owned(),
            Self::Secrets => "list of secrets".to_owned(),
            Self::Addresses => "table of host = address".to_owned(),
            Self::Files => "table of file name = text".to_owned(),
            Self::Table => "table".to_owned(),
        }
    }
}

/// What a path names.
pub(super) enum Found {
    Key(&'static Key),
    /// A table that holds keys.
    Section,
    Nothing,
}

/// Looks a path up. Under `providers`, only known ones exist.
pub(super) fn lookup(path: &[&str], known: &[ProviderId]) -> Found {
    let exists = |pattern: &str, part: &str| match pattern {
        "*" => known.iter().any(|id| id.as_str() == part),
        name => name == part,
    };
    for key in all() {
        let pattern: Vec<_> = key.path.split('.').collect();
        if !pattern.iter().zip(path).all(|(pattern, part)| exists(pattern, part)) {
            continue;
        }
        let inside = matches!(key.kind, Kind::Table) && path.len() > pattern.len();
        if path.len() == pattern.len() || inside {
            return Found::Key(key);
        }
        if path.len() < pattern.len() {
            return Found::Section;
        }
    }
    Found::Nothing
}

/// What could stand in the place of a path's last part: all names of its table, or of the last table that exists.
pub(super) fn siblings(path: &[&str], known: &[ProviderId]) -> (String, String) {
    let mut parent = path.split_last().map_or(path, |(_, parent)| parent);
    while !parent.is_empty() && !matches!(lookup(parent, known), Found::Section) {
        parent = parent.split_last().map_or(&[], |(_, parent)| parent);
    }
    if parent == ["providers"] {
        let ids: Vec<_> = known.iter().map(ProviderId::as_str).collect();
        return ("providers".to_owned(), ids.join(", "));
    }
    let mut names: Vec<&str> = Vec::new();
    for key in all() {
        let pattern: Vec<_> = key.path.split('.').collect();
        let within = pattern
            .iter()
            .zip(parent)
            .all(|(pattern, part)| *pattern == "*" || pattern == part);
        names.extend(pattern.get(parent.len()).filter(|_| within).copied());
    }
    names.dedup();
    (parent.join("."), names.join(", "))
}

/// The key that a path names, for code that knows it exists.
pub(super) fn find(path: &str) -> &'static Key {
    let is = |key: &&Key| {
        let mut parts = path.split('.');
        key.path
            .split('.')
            .all(|pattern| parts.next().is_some_and(|part| pattern == "*" || pattern == part))
            && parts.next().is_none()
    };
    all().find(is).expect("every key that is read stands in a table")
}

/// Where a key stands in the tables.
pub(super) fn rank(path: &str) -> usize {
    let key = find(path);
    all().position(|other| other.path == key.path).unwrap_or_default()
}

/// Where a section stands, by its full name, such as `providers.example`.
pub(super) fn section_rank(name: &str) -> usize {
    let first = name.split('.').next();
    SECTIONS
        .iter()
        .position(|section| first == Some(section.name))
        .unwrap_or_default()
}

pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|piece| !piece.is_empty())
}

fn alternatives(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    quoted.join(" or ")
}
