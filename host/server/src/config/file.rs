//! The configuration file. Its syntax errors are reported by place, never by quoting the line, which may hold a
//! secret.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use figment::{
    providers::{Format as _, Toml},
    value::{Dict, Value},
};
use patchbay_app::secret::Secret;
use patchbay_core::ProviderId;

use super::{
    DEFAULT_FILE, environment,
    key::{self, Found},
    layer::Layer,
    problem::Problem,
};

/// Far above what a configuration needs.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// Reads the named file, or the default one if it exists.
pub(super) fn read(named: Option<&Path>, known: &[ProviderId], problems: &mut Vec<Problem>) -> Option<Layer> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let source = path.display().to_string();
    let whole = |message| Problem {
        key: None,
        source: source.clone(),
        message,
    };
    let text = match read_small(path, MAX_BYTES) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            problems.push(whole(format!("the file cannot be read: {error}")));
            return None;
        }
    };
    match Toml::from_str::<Dict>(text.expose()) {
        Ok(values) => {
            let values = sift(values, &mut Vec::new(), &source, known, problems);
            Some(Layer { source, values })
        }
        Err(error) => {
            let place = error
                .span()
                .map_or_else(String::new, |span| place(text.expose(), span.start));
            let what = error.message().trim_end().replace('\n', ", ");
            problems.push(whole(format!("this is not TOML{place}: {what}")));
            None
        }
    }
}

/// Reads a small text file whole.
pub(super) fn read_small(path: &Path, most: u64) -> io::Result<Secret<String>> {
    let mut text = String::new();
    let read = File::open(path)?.take(most + 1).read_to_string(&mut text);
    // Whatever was read is wiped, also if the rest could not be.
    let text = Secret::new(text);
    if read? as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {most} bytes"),
        ));
    }
    Ok(text)
}

/// Takes out what no table has, and reports it.
fn sift(values: Dict, at: &mut Vec<String>, source: &str, known: &[ProviderId], problems: &mut Vec<Problem>) -> Dict {
    let mut kept = Dict::new();
    for (name, value) in values {
        at.push(name.clone());
        let path: Vec<_> = at.iter().map(String::as_str).collect();
        let refused = match (key::lookup(&path, known), value) {
            (Found::Key(_), value) => {
                kept.insert(name, value);
                None
            }
            (Found::Section, Value::Dict(_, inner)) => {
                let inner = sift(inner, at, source, known, problems);
                kept.insert(name, inner.into());
                None
            }
            (Found::Section, _) => Some(format!(
                "this is a section: write [{}], and keys under it",
                path.join(".")
            )),
            (Found::Nothing, _) => Some(environment::unknown(&path, known)),
        };
        if let Some(message) = refused {
            problems.push(Problem {
                key: Some(at.join(".")),
                source: source.to_owned(),
                message,
            });
        }
        at.pop();
    }
    kept
}

/// Line and column of a byte.
fn place(text: &str, byte: usize) -> String {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(" at line {line}, column {column}")
}
