//! Variables of the environment: the plain names, and over them `PATCHBAY__SECTION__KEY`. An empty variable counts as
//! not set, since compose files pass on what is unset as empty.

use std::path::PathBuf;

use patchbay_core::ProviderId;

use super::{
    key::{self, ENV_PREFIX, Found, Key, Kind},
    layer::Layer,
    problem::Problem,
};

/// Names the configuration file.
pub(super) const CONFIG_FILE: &str = "PATCHBAY_CONFIG";

pub(super) struct Variables {
    pub(super) config_file: Option<PathBuf>,
    /// The stronger ones last.
    pub(super) layers: Vec<Layer>,
}

pub(super) fn read(
    env: impl IntoIterator<Item = (String, String)>,
    known: &[ProviderId],
    problems: &mut Vec<Problem>,
) -> Variables {
    let plain_names = plain_names(known);
    let mut config_file = None;
    let (mut plain, mut exact) = (Vec::new(), Vec::new());
    for (name, value) in env {
        if value.is_empty() {
            continue;
        }
        if name == CONFIG_FILE {
            config_file = Some(PathBuf::from(value));
        } else if let Some(rest) = name.strip_prefix(ENV_PREFIX) {
            match path_of(rest, known) {
                Ok((key, path)) => {
                    let parts: Vec<_> = path.iter().map(String::as_str).collect();
                    exact.push(Layer::of(&name, &parts, key.kind.value(&value)));
                }
                Err(message) => problems.push(Problem {
                    key: None,
                    source: name,
                    message,
                }),
            }
        } else if let Some((_, key, path)) = plain_names.iter().find(|(plain, ..)| *plain == name) {
            let parts: Vec<_> = path.split('.').collect();
            plain.push(Layer::of(&name, &parts, key.kind.single_value(&value)));
        }
    }
    plain.append(&mut exact);
    Variables {
        config_file,
        layers: plain,
    }
}

/// A provider's id as it stands in the name of a variable.
pub(super) fn id_in_names(id: &ProviderId) -> String {
    id.as_str().to_ascii_uppercase().replace('-', "_")
}

/// Every plain name, with its key and path.
fn plain_names(known: &[ProviderId]) -> Vec<(String, &'static Key, String)> {
    let mut names = Vec::new();
    for key in key::all() {
        let Some(plain) = key.plain else { continue };
        if plain.contains("<ID>") {
            names.extend(known.iter().map(|id| {
                let name = plain.replace("<ID>", &id_in_names(id));
                (name, key, key.path.replace('*', id.as_str()))
            }));
        } else {
            names.push((plain.to_owned(), key, key.path.to_owned()));
        }
    }
    names
}

/// The key that the rest of a variable's name stands for.
fn path_of(rest: &str, known: &[ProviderId]) -> Result<(&'static Key, Vec<String>), String> {
    if rest.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err("the name of this variable must be in capital letters".to_owned());
    }
    let mut path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
    // Ids have hyphens and no underscores; names of variables have it the other way round.
    if let [section, id, ..] = path.as_mut_slice()
        && section == "providers"
    {
        *id = id.replace('_', "-");
    }
    let parts: Vec<_> = path.iter().map(String::as_str).collect();
    match key::lookup(&parts, known) {
        Found::Key(key) if matches!(key.kind, Kind::Table) && parts.len() == key.path.split('.').count() => {
            Err(format!(
                "{} is a table: add `__` and a name within it to this variable",
                parts.join(".")
            ))
        }
        Found::Key(key) if parts.iter().all(|part| !part.is_empty()) => Ok((key, path)),
        Found::Key(_) => Err("a part of the name of this variable is empty".to_owned()),
        Found::Section => Err(format!(
            "{} is a section: add `__` and a key to this variable",
            parts.join(".")
        )),
        Found::Nothing => Err(unknown(&parts, known)),
    }
}

/// What to say about a path that names nothing.
pub(super) fn unknown(path: &[&str], known: &[ProviderId]) -> String {
    let (parent, names) = key::siblings(path, known);
    let path = path.join(".");
    match parent.as_str() {
        "" => format!("there is no section for {path:?}. Sections: {names}"),
        "providers" => format!("{path:?} names no provider of this program. Providers: {names}"),
        parent => format!("there is no key {path:?}. Keys of [{parent}]: {names}"),
    }
}
