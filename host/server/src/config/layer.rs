//! A layer of values from one place: the defaults, the file, or one variable of the environment. figment merges
//! layers and remembers for each value which one it comes from.

use super::{Known, key, providers::ENABLED};
use figment::{
    Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

/// The name of the layer that holds the defaults.
pub(super) const DEFAULT: &str = "default";

pub(super) struct Layer {
    /// The file, or the variable.
    pub(super) source: String,
    pub(super) values: Dict,
}

impl Layer {
    /// A layer of one value.
    pub(super) fn of(source: &str, path: &[&str], value: Value) -> Self {
        let mut values = Dict::new();
        put(&mut values, path, value);
        Self {
            source: source.to_owned(),
            values,
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// The defaults of the tables.
pub(super) fn defaults(known: &[Known]) -> Layer {
    let mut values = Dict::new();
    for key in key::all() {
        let Some(value) = key.default_value() else { continue };
        if key.path.contains('*') {
            for provider in known {
                let value = match key.path {
                    ENABLED => provider.on.into(),
                    _ => value.clone(),
                };
                put(&mut values, &split(&key.path.replace('*', provider.id.as_str())), value);
            }
        } else {
            put(&mut values, &split(key.path), value);
        }
    }
    Layer {
        source: DEFAULT.to_owned(),
        values,
    }
}

fn split(path: &str) -> Vec<&str> {
    path.split('.').collect()
}

fn put(values: &mut Dict, path: &[&str], value: Value) {
    match path {
        [] => {}
        [name] => {
            values.insert((*name).to_owned(), value);
        }
        [name, rest @ ..] => {
            let inner = values.entry((*name).to_owned()).or_insert_with(|| Dict::new().into());
            if let Value::Dict(_, inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
