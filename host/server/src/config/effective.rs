//! How the configuration in force is shown: like TOML, each value with its source, secrets only as set or not set.

use std::fmt::Write as _;

use figment::value::Value;
use url::Url;

use super::{
    key::{self, Kind},
    reader::number,
};

/// Shown for a key that has no value.
pub(super) const UNSET: &str = "[not set]";
/// Shown in place of something private.
const SET: &str = "[set]";
/// Stands for the private parts of a URL.
const MASK: &str = "***";

/// One key as it is shown.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) shown: String,
    pub(super) source: String,
}

/// All keys under the names of their sections, in the order of the tables.
pub(super) fn render(entries: &[Entry]) -> String {
    let mut sorted: Vec<_> = entries
        .iter()
        .filter_map(|entry| Some((entry.path.rsplit_once('.')?, entry)))
        .collect();
    sorted.sort_by_key(|((section, _), entry)| (key::section_rank(section), *section, key::rank(&entry.path)));
    let mut text = String::new();
    let mut current = "";
    for ((section, key), Entry { shown, source, .. }) in sorted {
        if section != current {
            let gap = if current.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{section}]");
            current = section;
        }
        let _ = match shown.as_str() {
            UNSET => writeln!(text, "{key} = {UNSET}"),
            shown => writeln!(text, "{key} = {shown}  # {source}"),
        };
    }
    text
}

/// A value as it may be shown.
pub(super) fn show(kind: Kind, value: &Value) -> String {
    match kind {
        Kind::Secret => SET.to_owned(),
        Kind::Secrets => hidden(value.as_array().map_or(0, <[Value]>::len)),
        Kind::Url => format!("{:?}", show_url(value.as_str().unwrap_or_default())),
        Kind::Table => inline(value, |_| SET.to_owned()),
        Kind::Addresses | Kind::Files => inline(value, plain),
        Kind::Texts => {
            let items: Vec<_> = value.as_array().unwrap_or_default().iter().map(plain).collect();
            format!("[{}]", items.join(", "))
        }
        Kind::Flag | Kind::Whole(..) | Kind::Text | Kind::Choice(_) | Kind::Address | Kind::Path => plain(value),
    }
}

/// So many secrets.
pub(super) fn hidden(count: usize) -> String {
    match count {
        0 => UNSET.to_owned(),
        1 => SET.to_owned(),
        count => format!("[{count} set]"),
    }
}

/// A URL without password and query, which may hold one.
pub(super) fn show_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return MASK.to_owned();
    };
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    if url.query().is_some() {
        url.set_query(Some(MASK));
    }
    url.set_fragment(None);
    url.into()
}

fn plain(value: &Value) -> String {
    if let Some(text) = value.as_str() {
        return format!("{text:?}");
    }
    if let Some(flag) = value.to_bool() {
        return flag.to_string();
    }
    number(value).map_or_else(|| SET.to_owned(), |number| number.to_string())
}

fn inline(value: &Value, show: impl Fn(&Value) -> String) -> String {
    let pairs: Vec<_> = value
        .as_dict()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key:?} = {}", show(value)))
        .collect();
    if pairs.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{ {} }}", pairs.join(", "))
    }
}
