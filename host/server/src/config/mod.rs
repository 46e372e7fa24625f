//! The configuration: defaults, then `patchbay.toml`, then the environment. It is read once, checked as a whole, and
//! handed down; nothing below `main` reads the environment.
//!
//! Every key stands in the tables of the section files, next to the struct that it fills. The same tables give the
//! defaults, tell which keys exist, and write the reference (`reference`). `reader` turns values into types and
//! collects problems, so that all of them are reported at once.

mod database;
mod effective;
mod egress;
mod encryption;
mod environment;
mod file;
mod key;
mod layer;
mod limits;
mod log;
mod problem;
mod providers;
mod reader;
mod reference;
mod server;
pub mod site;
mod storage;
#[cfg(test)]
mod tests;
mod wasm;
mod workers;

use std::{collections::BTreeMap, fmt, path::Path};

use patchbay_core::ProviderId;

pub use self::{
    database::DatabaseConfig,
    egress::EgressConfig,
    encryption::EncryptionConfig,
    limits::LimitsConfig,
    log::{LogConfig, LogFormat},
    problem::{ConfigProblems, Problem},
    providers::{Environment, Known, ProviderConfig},
    reference::reference,
    server::{FirstParty, ServerConfig},
    site::SiteConfig,
    storage::{S3Config, StorageConfig},
    wasm::WasmConfig,
    workers::WorkersConfig,
};
use self::{layer::Layer, reader::Reader};

/// Read when no other file is named, if it exists.
pub const DEFAULT_FILE: &str = "patchbay.toml";

/// Everything that an operator can set. `Debug` shows what `effective` shows.
#[derive(Clone)]
pub struct Config {
    /// The listener and its limits.
    pub server: ServerConfig,
    /// Where rows live.
    pub database: DatabaseConfig,
    /// Where files live.
    pub storage: StorageConfig,
    /// The master key.
    pub encryption: EncryptionConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Background work and the endpoints that start it.
    pub workers: WorkersConfig,
    /// How many requests a caller may send.
    pub limits: LimitsConfig,
    /// Outgoing connections.
    pub egress: EgressConfig,
    /// Pages and files of text.
    pub site: SiteConfig,
    /// Providers that are loaded as components.
    pub wasm: WasmConfig,
    /// One for every known provider.
    pub providers: BTreeMap<ProviderId, ProviderConfig>,
    entries: Vec<effective::Entry>,
}

impl Config {
    /// Reads the configuration. Without `file`, the variable `PATCHBAY_CONFIG` names it, or else [`DEFAULT_FILE`] is
    /// read if it exists. `known` are the providers of this program: each has a section and its plain variables. Where
    /// components are loaded (`wasm.dir`), each section of `providers` is somebody's.
    ///
    /// # Errors
    /// Everything that is wrong, each with its source.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        known: &[Known],
    ) -> Result<Self, ConfigProblems> {
        let mut problems = Vec::new();
        let env: Vec<_> = env.into_iter().collect();
        let known = &wasm::known(file, &env, known);
        let ids = Known::ids(known);
        let env = environment::read(env, &ids, &mut problems);
        let file = file::read(file.or(env.config_file.as_deref()), &ids, &mut problems);
        let below = [layer::defaults(known)].into_iter().chain(file);
        Self::from_layers(below.chain(env.layers).collect(), known, problems)
    }

    /// Reads the configuration from variables alone, without any file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_environment(
        env: impl IntoIterator<Item = (String, String)>,
        known: &[Known],
    ) -> Result<Self, ConfigProblems> {
        let mut problems = Vec::new();
        let env: Vec<_> = env.into_iter().collect();
        let known = &wasm::known_by_variables(&env, known);
        let ids = Known::ids(known);
        let env = environment::read(env, &ids, &mut problems);
        let below = [layer::defaults(known)].into_iter();
        Self::from_layers(below.chain(env.layers).collect(), known, problems)
    }

    /// What holds when nothing is set, whatever files and variables there are.
    #[must_use]
    pub fn defaults(known: &[Known]) -> Self {
        Self::from_environment([], known).expect("the defaults have no problem")
    }

    /// The configuration in force: every key, its value without secrets, and where that value comes from.
    #[must_use]
    pub fn effective(&self) -> String {
        effective::render(&self.entries)
    }

    fn from_layers(layers: Vec<Layer>, known: &[Known], problems: Vec<Problem>) -> Result<Self, ConfigProblems> {
        let mut reader = Reader::new(layers, problems)?;
        let r = &mut reader;
        let server = ServerConfig::read(r);
        let storage = StorageConfig::read(r);
        let config = Self {
            database: DatabaseConfig::read(r),
            encryption: EncryptionConfig::read(r, &storage),
            log: LogConfig::read(r),
            workers: WorkersConfig::read(r),
            limits: LimitsConfig::read(r),
            egress: EgressConfig::read(r),
            site: SiteConfig::read(r),
            wasm: WasmConfig::read(r),
            providers: known
                .iter()
                .map(|provider| (provider.id.clone(), ProviderConfig::read(r, provider)))
                .collect(),
            server,
            storage,
            entries: Vec::new(),
        };
        config.validate(r, known);
        let entries = reader.finish()?;
        Ok(Self { entries, ..config })
    }

    fn validate(&self, r: &mut Reader, known: &[Known]) {
        self.server.validate(r);
        self.database.validate(r);
        self.storage.validate(r, &self.server);
        self.encryption.validate(r);
        self.log.validate(r);
        self.workers.validate(r);
        self.egress.validate(r);
        self.site.validate(r);
        for known in known {
            if let Some(provider) = self.providers.get(&known.id) {
                provider.validate(r, known);
            }
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.effective())
    }
}
