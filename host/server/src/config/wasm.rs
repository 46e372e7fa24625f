//! `[wasm]`: providers that are loaded as WebAssembly components, and what they may use.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use figment::{
    providers::{Format as _, Toml},
    value::{Dict, Value},
};
use patchbay_core::ProviderId;

use super::{
    DEFAULT_FILE, Known, environment, file,
    key::{ENV_PREFIX, Key, Kind, Section},
    reader::Reader,
};

/// Components.
#[derive(Debug, Clone)]
pub struct WasmConfig {
    /// Their folder. Without one, none are loaded.
    pub dir: Option<PathBuf>,
    /// How often the folder is looked at.
    pub poll: Duration,
    /// Calls of all components that run at once.
    pub calls: u32,
    /// Largest memory of a call.
    pub memory_bytes: usize,
    /// CPU time of a call.
    pub cpu: Duration,
    /// Time of a call by the clock, without calls to the platform.
    pub wall: Duration,
    /// Longest time to compile a component.
    pub compile: Duration,
    /// Calls to the platform that one call may make.
    pub http_calls: u32,
}

pub(super) const SECTION: Section = Section {
    name: "wasm",
    about: "Providers that are loaded as WebAssembly components, without a restart. `patchbay providers add` writes \
            `components.toml` in their folder: which files, and which hosts each may reach. Their apps have sections of \
            `providers`, as all have.",
    keys: &[
        Key::new(
            "wasm.dir",
            Kind::Path,
            "Folder of components. Unless set, none are loaded. Whoever can write there decides what runs.",
        ),
        Key::new(
            "wasm.poll_seconds",
            Kind::Whole(1, 3_600),
            "Seconds between two looks at the folder.",
        )
        .or("2"),
        Key::new(
            "wasm.max_calls",
            Kind::Whole(1, 4_096),
            "Calls into components that run at once; further ones wait.",
        )
        .or("256"),
        Key::new("wasm.memory_mib", Kind::Whole(1, 1_024), "MiB of memory for one call.").or("64"),
        Key::new(
            "wasm.cpu_seconds",
            Kind::Whole(1, 60),
            "Seconds of CPU time for one call.",
        )
        .or("2"),
        Key::new(
            "wasm.wall_seconds",
            Kind::Whole(1, 600),
            "Seconds for one call by the clock, without its calls to the platform, which have limits of their own.",
        )
        .or("60"),
        Key::new(
            "wasm.compile_seconds",
            Kind::Whole(1, 600),
            "Seconds after which compiling a component is given up.",
        )
        .or("30"),
        Key::new(
            "wasm.http_calls",
            Kind::Whole(1, 1_000),
            "Calls to the platform that one call into a component may make.",
        )
        .or("64"),
    ],
};

impl WasmConfig {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            dir: r.optional("wasm.dir"),
            poll: Duration::from_secs(r.whole("wasm.poll_seconds")),
            calls: r.whole("wasm.max_calls"),
            memory_bytes: r.whole::<usize>("wasm.memory_mib") << 20,
            cpu: Duration::from_secs(r.whole("wasm.cpu_seconds")),
            wall: Duration::from_secs(r.whole("wasm.wall_seconds")),
            compile: Duration::from_secs(r.whole("wasm.compile_seconds")),
            http_calls: r.whole("wasm.http_calls"),
        }
    }
}

/// The providers of the program, and where components are loaded, all that have a section: a component may come while
/// the host runs, or be away for a while.
pub(super) fn known(named: Option<&Path>, env: &[(String, String)], built_in: &[Known]) -> Vec<Known> {
    let set = |wanted: &str| env.iter().find(|(name, value)| name == wanted && !value.is_empty());
    let by_variable = set(environment::CONFIG_FILE).map(|(_, value)| Path::new(value));
    let path = named.or(by_variable).unwrap_or(Path::new(DEFAULT_FILE));
    // What is wrong with the file is reported where it is read whole.
    let values = file::read_small(path, file::MAX_BYTES).ok();
    let values = values
        .and_then(|text| Toml::from_str::<Dict>(text.expose()).ok())
        .unwrap_or_default();
    let loads = Value::from(values.clone()).find("wasm.dir").is_some();
    if !loads && !loads_by_variable(env) {
        return built_in.to_vec();
    }
    let sections = values.get("providers").and_then(Value::as_dict);
    let named = sections.into_iter().flatten().map(|(name, _)| name.clone());
    with(built_in, named.chain(ids_of(env)))
}

/// As [`known`], where there is no file.
pub(super) fn known_by_variables(env: &[(String, String)], built_in: &[Known]) -> Vec<Known> {
    if !loads_by_variable(env) {
        return built_in.to_vec();
    }
    with(built_in, ids_of(env))
}

fn loads_by_variable(env: &[(String, String)]) -> bool {
    env.iter()
        .any(|(name, value)| name.strip_prefix(ENV_PREFIX) == Some("WASM__DIR") && !value.is_empty())
}

fn ids_of(env: &[(String, String)]) -> impl Iterator<Item = String> {
    env.iter().filter_map(|(name, _)| {
        let rest = name.strip_prefix(ENV_PREFIX)?.strip_prefix("PROVIDERS__")?;
        Some(rest.split("__").next()?.to_ascii_lowercase().replace('_', "-"))
    })
}

fn with(built_in: &[Known], names: impl Iterator<Item = String>) -> Vec<Known> {
    let mut known = built_in.to_vec();
    for id in names.filter_map(|name| ProviderId::parse(&name).ok()) {
        if !known.iter().any(|known| known.id == id) {
            known.push(Known {
                id,
                // Whoever loads it says whether its platform has apps, and the loader looks for the app then.
                has_app: false,
                has_simulator: false,
                on: true,
            });
        }
    }
    known
}
