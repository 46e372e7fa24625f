//! From a file to a component that can be called, or a reason why not.

use std::{fmt, str::FromStr, sync::Arc};

use patchbay_core::{Manifest, ManifestError, Settings};
use sha2::Digest as _;
use tracing::warn;
use wasmtime::component::types::ComponentItem;

use crate::{Engine, bindings::ProviderPre, limits::MAX_ANSWER_BYTES, log_rate::LogRate, state::State, v0_1};

/// SHA-256 of a component's file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub(crate) [u8; 32]);

impl Digest {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| ())?;
        Ok(Self(digest))
    }
}

/// A component that cannot be used. `Display` says why, and what would mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}. {fix}.")]
pub struct Refused {
    /// Stable name, such as `missing_export`.
    pub code: &'static str,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub fix: String,
}

impl Refused {
    /// A refusal.
    #[must_use]
    pub fn new(code: &'static str, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            fix: fix.into(),
        }
    }

    /// The refusal of a file of so many bytes, where `most` are allowed.
    #[must_use]
    pub fn too_large(bytes: u64, most: u64) -> Self {
        Self::new(
            "too_large",
            format!("it has {bytes} bytes, and {most} are allowed"),
            "Build it with optimisation for size and without debug information",
        )
    }
}

/// Compiled, checked and ready for calls.
#[derive(Clone)]
pub struct Component(pub(crate) Arc<Loaded>);

pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    pub(crate) digest: Digest,
    pub(crate) version: String,
    pub(crate) pre: ProviderPre<State>,
    pub(crate) rate: Arc<LogRate>,
}

impl Engine {
    /// Loads a component. Takes its code from the cache, or compiles it behind all other work.
    ///
    /// # Errors
    /// It cannot be used, whatever its settings.
    pub async fn load(&self, bytes: Vec<u8>) -> Result<Component, Refused> {
        let limits = &self.0.limits;
        if bytes.len() as u64 > limits.file_bytes {
            return Err(Refused::too_large(bytes.len() as u64, limits.file_bytes));
        }
        check_header(&bytes)?;
        let within = limits.compile;
        let engine = self.clone();
        let compiled = self.0.background.run(move || engine.compile(&bytes));
        match tokio::time::timeout(within, compiled).await {
            Ok(Ok(component)) => component,
            Ok(Err(error)) => Err(Refused::new(
                "compile",
                format!("compiling it ended in a panic: {error}"),
                "Report this with the file",
            )),
            Err(_) => Err(Refused::new(
                "compile_time",
                format!("compiling it takes longer than {} s", within.as_secs()),
                "Make it smaller, or raise [wasm] compile_seconds",
            )),
        }
    }

    fn compile(&self, bytes: &[u8]) -> Result<Component, Refused> {
        let shared = &self.0;
        let digest = Digest::of(bytes);
        let cached = shared
            .cache
            .as_ref()
            .and_then(|cache| cache.load(&shared.engine, digest));
        let component = match cached {
            Some(component) => component,
            None => {
                let component =
                    wasmtime::component::Component::from_binary(&shared.engine, bytes).map_err(|error| {
                        Refused::new(
                            "damaged",
                            format!("it is no valid component: {error:#}"),
                            "Copy the file again; if that does not help, build it again",
                        )
                    })?;
                if let Some(cache) = &shared.cache
                    && let Err(error) = cache.store(&shared.engine, digest, &component)
                {
                    warn!(%error, %digest, "Compiled code could not be kept; the next start compiles it again");
                }
                component
            }
        };
        let version = check_interfaces(&shared.engine, &component)?;
        let pre = shared
            .linker
            .instantiate_pre(&component)
            .and_then(ProviderPre::new)
            .map_err(|error| {
                Refused::new(
                    "wrong_type",
                    format!("an interface has another form than in patchbay:provider@{version}: {error:#}"),
                    REBUILD,
                )
            })?;
        Ok(Component(Arc::new(Loaded {
            rate: Arc::new(LogRate::new(shared.limits.log_lines)),
            engine: self.clone(),
            digest,
            version,
            pre,
        })))
    }
}

impl Component {
    /// The digest of its file.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The version of the WIT package that it was built for.
    #[must_use]
    pub fn wit_version(&self) -> &str {
        &self.0.version
    }

    /// Makes a provider of it, with the operator's settings.
    ///
    /// # Errors
    /// It does not take the settings, or what it says of itself cannot be used.
    pub async fn build(&self, settings: &Settings) -> Result<v0_1::Guest, Refused> {
        v0_1::Guest::open(self.clone(), settings).await
    }
}

const REBUILD: &str = "Build it again with the patchbay-provider-sdk of this release";
const PACKAGE: &str = "patchbay:provider/";
const EXPORTS: [&str; 4] = ["meta", "oauth", "publisher", "webhooks"];

/// The version of `core/wit/provider.wit`.
pub(crate) const VERSION: &str = "0.1.0";

/// By the first bytes: what is it? (Component model, binary format: layer 1, version 13.)
fn check_header(bytes: &[u8]) -> Result<(), Refused> {
    let what = match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 13, 0, 1, 0]) => return Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {
            return Err(Refused::new(
                "core_module",
                "it is a core module and no component",
                "Make a component of it with patchbay-provider-pack",
            ));
        }
        Some([0x7f, b'E', b'L', b'F', ..]) => "it is compiled machine code, which is never taken from outside",
        _ => "it is no WebAssembly component",
    };
    Err(Refused::new(
        "no_component",
        what,
        "Put the component itself here, as patchbay-provider-pack writes it",
    ))
}

/// Whether a component asks for nothing but what there is, and has what a provider has. Gives its version.
fn check_interfaces(engine: &wasmtime::Engine, component: &wasmtime::component::Component) -> Result<String, Refused> {
    let component_type = component.component_type();
    let mut version = None;
    for (name, _) in component_type.imports(engine) {
        let known = ["types", "http", "log"]
            .iter()
            .any(|interface| interface_version(name, interface).is_some());
        if !known {
            return Err(Refused::new(
                "unknown_import",
                format!("it imports {name}, and a provider has nothing but {PACKAGE}http and {PACKAGE}log"),
                "Build it for wasm32-unknown-unknown, without WASI, and without what needs a clock, files or sockets",
            ));
        }
    }
    for interface in EXPORTS {
        let found = component_type
            .exports(engine)
            .find_map(|(name, item)| Some((interface_version(name, interface)?.to_owned(), item.ty)));
        let Some((found, ComponentItem::ComponentInstance(_))) = found else {
            return Err(Refused::new(
                "missing_export",
                format!("it does not export {PACKAGE}{interface}"),
                "Export the whole world `provider`; patchbay_provider_sdk::component! does",
            ));
        };
        check_version(VERSION, &found)?;
        version = Some(found);
    }
    for (name, _) in component_type.imports(engine) {
        if let Some((_, found)) = name.split_once('@') {
            check_version(VERSION, found)?;
        }
    }
    version.ok_or_else(|| Refused::new("missing_export", "it exports nothing", REBUILD))
}

/// Of `patchbay:provider/oauth@0.1.0` and `oauth`: `0.1.0`.
fn interface_version<'a>(name: &'a str, interface: &str) -> Option<&'a str> {
    name.strip_prefix(PACKAGE)?.strip_prefix(interface)?.strip_prefix('@')
}

type Version = (u64, u64, u64);

/// A component may be as new as this host, within the same line.
fn check_version(ours: &str, found: &str) -> Result<(), Refused> {
    let parse = |text: &str| {
        let mut parts = text.split('.').map(str::parse::<u64>);
        Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
    };
    let fits = |(ours, theirs): (Version, Version)| (ours.0, ours.1) == (theirs.0, theirs.1) && theirs.2 <= ours.2;
    if parse(ours).zip(parse(found)).is_some_and(fits) {
        return Ok(());
    }
    Err(Refused::new(
        "wrong_version",
        format!("it was built for patchbay:provider@{found}, and this host has {ours}"),
        "Update whichever of the two is older: build the component again, or update Patchbay",
    ))
}

/// Refuses a manifest that contradicts itself, or wants more than there is.
pub(crate) fn check_manifest(manifest: &Manifest) -> Result<(), Refused> {
    if let Some(op) = manifest.ops.iter().find(|op| op.max_answer_bytes > MAX_ANSWER_BYTES) {
        return Err(Refused::new(
            "manifest",
            format!(
                "op {} reads answers of {} bytes, and {MAX_ANSWER_BYTES} are allowed",
                op.name, op.max_answer_bytes
            ),
            "Lower max_answer_bytes",
        ));
    }
    manifest
        .check()
        .map_err(|ManifestError { problem, .. }| Refused::new("manifest", problem, "Mend its manifest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_takes_what_is_not_newer_within_its_line() {
        for (ours, found, taken) in [
            ("0.1.0", "0.1.0", true),
            ("0.1.3", "0.1.0", true),
            ("0.1.3", "0.1.3", true),
            ("0.1.3", "0.1.4", false),
            ("0.2.0", "0.1.0", false),
            ("0.1.0", "1.1.0", false),
            ("0.1.0", "0.1", false),
            ("0.1.0", "0.1.0-draft", false),
        ] {
            assert_eq!(check_version(ours, found).is_ok(), taken, "{found} in {ours}");
        }
    }
}
