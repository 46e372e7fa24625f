//! Reads keys into types. It goes on after a problem, with the default in place of the wrong value, so that all
//! problems come out of one run; a result is only given out when there is none.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use figment::{Figment, Profile, Provider as _, value::Value};
use patchbay_app::secret::Secret;

use super::{
    effective::{self, Entry},
    file,
    key::{self, Kind},
    layer::Layer,
    problem::{ConfigProblems, Problem},
};

/// What stands for the source of a key that has no value.
const NOT_SET: &str = "not set";
/// Far above what a secret needs.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// Far above what a page of text needs.
const MAX_PAGE_BYTES: u64 = 256 * 1024;
/// As much of a wrong value is shown.
const MAX_SHOWN: usize = 60;

pub(super) struct Reader {
    figment: Box<Figment>,
    root: Value,
    problems: Vec<Problem>,
    entries: Vec<Entry>,
}

impl Reader {
    /// Merges layers, the later over the earlier.
    pub(super) fn new(layers: Vec<Layer>, mut problems: Vec<Problem>) -> Result<Self, ConfigProblems> {
        let figment = Box::new(layers.into_iter().fold(Figment::new(), Figment::merge));
        let root = match figment.data() {
            Ok(mut profiles) => profiles.remove(&Profile::Default).unwrap_or_default(),
            // A layer is read before it is merged, so this takes a fault of ours.
            Err(error) => {
                let message = Box::new(error).kind.to_string();
                problems.push(Problem {
                    key: None,
                    source: "configuration".to_owned(),
                    message,
                });
                return Err(ConfigProblems(problems));
            }
        };
        Ok(Self {
            figment,
            root: root.into(),
            problems,
            entries: Vec::new(),
        })
    }

    /// What was read, unless something was wrong.
    pub(super) fn finish(self) -> Result<Vec<Entry>, ConfigProblems> {
        if self.problems.is_empty() {
            Ok(self.entries)
        } else {
            Err(ConfigProblems(self.problems))
        }
    }

    pub(super) fn flag(&mut self, path: &str) -> bool {
        self.required(path, Value::to_bool)
    }

    pub(super) fn whole<T: TryFrom<i128>>(&mut self, path: &str) -> T {
        let Kind::Whole(least, most) = key::find(path).kind else {
            unreachable!("{path} is a number in its table")
        };
        let range = i128::from(least)..=i128::from(most);
        self.required(path, |value| {
            number(value)
                .filter(|n| range.contains(n))
                .and_then(|n| T::try_from(n).ok())
        })
    }

    /// Something that has a default and is written as text.
    pub(super) fn parsed<T: FromStr>(&mut self, path: &str) -> T {
        self.required(path, parse)
    }

    /// Something that may be unset and is written as text.
    pub(super) fn optional<T: FromStr>(&mut self, path: &str) -> Option<T> {
        self.read(path, parse)
    }

    pub(super) fn texts(&mut self, path: &str) -> Vec<String> {
        self.read(path, texts).unwrap_or_default()
    }

    pub(super) fn addresses(&mut self, path: &str) -> HashMap<String, SocketAddr> {
        let read = |value: &Value| {
            let pairs = value
                .as_dict()?
                .iter()
                .map(|(host, at)| Some((host.to_ascii_lowercase(), parse(at)?)));
            pairs.collect()
        };
        self.read(path, read).unwrap_or_default()
    }

    pub(super) fn files(&mut self, path: &str) -> BTreeMap<String, String> {
        let read = |value: &Value| {
            let pairs = value
                .as_dict()?
                .iter()
                .map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned())));
            pairs.collect()
        };
        self.read(path, read).unwrap_or_default()
    }

    /// The text of the file that a key names.
    pub(super) fn text_of_file(&mut self, path: &str) -> Option<String> {
        let file: PathBuf = self.optional(path)?;
        match file::read_small(&file, MAX_PAGE_BYTES) {
            Ok(text) => Some(text.expose().clone()),
            Err(error) => {
                self.problem(path, format!("{} cannot be read: {error}", file.display()));
                None
            }
        }
    }

    pub(super) fn table(&mut self, path: &str) -> serde_json::Map<String, serde_json::Value> {
        self.read(path, |value| value.as_dict().and_then(|_| value.deserialize().ok()))
            .unwrap_or_default()
    }

    pub(super) fn secret(&mut self, path: &str) -> Option<Secret<String>> {
        self.read(path, |value| Some(Secret::new(parse(value)?)))
    }

    /// A secret that stands here, or alone in the file that the key with `_file` names.
    pub(super) fn secret_or_file(&mut self, path: &str) -> Option<Secret<String>> {
        let here = self.secret(path);
        let there = self.secret_file(path, 1);
        here.or(there.into_iter().next())
    }

    /// Secrets that stand here, or one a line in the file that the key with `_file` names.
    pub(super) fn secrets_or_file(&mut self, path: &str) -> Vec<Secret<String>> {
        let here = self.read(path, texts).unwrap_or_default();
        let there = self.secret_file(path, usize::MAX);
        if here.is_empty() {
            there
        } else {
            here.into_iter().map(Secret::new).collect()
        }
    }

    /// Whether somebody set this key. A default does not count.
    pub(super) fn is_set(&self, path: &str) -> bool {
        self.value(path)
            .is_some_and(|value| self.source_of(value) != super::layer::DEFAULT)
    }

    /// The file or variable of a key's value.
    pub(super) fn source(&self, path: &str) -> String {
        self.value(path)
            .map_or_else(|| NOT_SET.to_owned(), |value| self.source_of(value))
    }

    /// Reports that something is wrong with a key, unless that is known already.
    pub(super) fn problem(&mut self, path: &str, message: impl Into<String>) {
        if self.problems.iter().any(|problem| problem.key.as_deref() == Some(path)) {
            return;
        }
        let (source, message) = (self.source(path), message.into());
        self.problems.push(Problem {
            key: Some(path.to_owned()),
            source,
            message,
        });
    }

    /// Notes what a key that is not set has become, and from what.
    pub(super) fn derived(&mut self, path: &str, shown: String, from: &str) {
        self.note(path, shown, format!("from {from}"));
    }

    fn required<T>(&mut self, path: &str, convert: impl Fn(&Value) -> Option<T>) -> T {
        let default = || key::find(path).default_value().and_then(|value| convert(&value));
        self.read(path, &convert)
            .or_else(default)
            .expect("a required key has a good default in its table")
    }

    fn read<T>(&mut self, path: &str, convert: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let kind = key::find(path).kind;
        let Some(value) = self.value(path) else {
            self.note(path, effective::UNSET.to_owned(), NOT_SET.to_owned());
            return None;
        };
        let source = self.source_of(value);
        let converted = convert(value);
        let (shown, wrong) = (effective::show(kind, value), describe(kind, value));
        match converted {
            Some(_) => self.note(path, shown, source),
            None => self.problem(path, format!("{wrong} is not {}", kind.wanted())),
        }
        converted
    }

    fn secret_file(&mut self, path: &str, most: usize) -> Vec<Secret<String>> {
        let file_key = format!("{path}_file");
        let Some(file): Option<PathBuf> = self.optional(&file_key) else {
            return Vec::new();
        };
        if self.is_set(path) {
            let message = format!(
                "{file_key} is set too, in {}: remove one of the two",
                self.source(&file_key)
            );
            self.problem(path, message);
            return Vec::new();
        }
        match read_secrets(&file) {
            Ok(secrets) if secrets.is_empty() => {
                self.problem(
                    &file_key,
                    format!("{} is empty: write the secret into it", file.display()),
                );
                secrets
            }
            Ok(secrets) if secrets.len() > most => {
                self.problem(
                    &file_key,
                    format!("{} has several lines: keep one secret in it", file.display()),
                );
                secrets
            }
            Ok(secrets) => {
                let source = format!("{} in {}", file.display(), self.source(&file_key));
                self.note(path, effective::hidden(secrets.len()), source);
                secrets
            }
            Err(error) => {
                self.problem(&file_key, format!("{} cannot be read: {error}", file.display()));
                Vec::new()
            }
        }
    }

    fn value(&self, path: &str) -> Option<&Value> {
        self.root.find_ref(path)
    }

    fn source_of(&self, value: &Value) -> String {
        // A table is as old as its first layer, so ask its values, the strongest last.
        let tags = match value {
            Value::Dict(_, inner) => inner.values().map(Value::tag).max(),
            _ => None,
        };
        let metadata = self.figment.get_metadata(tags.unwrap_or(value.tag()));
        metadata.map_or_else(|| NOT_SET.to_owned(), |metadata| metadata.name.to_string())
    }

    fn note(&mut self, path: &str, shown: String, source: String) {
        let entry = Entry {
            path: path.to_owned(),
            shown,
            source,
        };
        match self.entries.iter_mut().find(|entry| entry.path == path) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }
}

fn parse<T: FromStr>(value: &Value) -> Option<T> {
    value.as_str().filter(|text| !text.trim().is_empty())?.parse().ok()
}

/// A whole number. The file's are signed, those of variables are not.
pub(super) fn number(value: &Value) -> Option<i128> {
    value.to_i128().or_else(|| i128::try_from(value.to_u128()?).ok())
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(parse).collect()
}

/// The lines of a file, without the white space around them.
fn read_secrets(path: &Path) -> std::io::Result<Vec<Secret<String>>> {
    let text = file::read_small(path, MAX_SECRET_BYTES)?;
    let lines = text.expose().lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(Secret::from).collect())
}

/// Names a wrong value, without showing one that may be secret.
fn describe(kind: Kind, value: &Value) -> String {
    match value {
        _ if kind.is_private() => "the value".to_owned(),
        Value::String(_, text) => {
            let shown: String = text.chars().take(MAX_SHOWN).collect();
            let more = if shown.len() < text.len() { "…" } else { "" };
            format!("{shown:?}{more}")
        }
        Value::Dict(..) => "a table".to_owned(),
        Value::Array(..) => "a list".to_owned(),
        Value::Bool(_, flag) => flag.to_string(),
        other => number(other).map_or_else(|| "the value".to_owned(), |number| number.to_string()),
    }
}
