//! From the folder to the registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use metrics::{counter, gauge};
use patchbay_app::{
    env::Env,
    registry::{Registered, Registry},
};
use patchbay_core::{Manifest, Provider, ProviderId, Settings};
use patchbay_egress::Egress;
use patchbay_wasm::{Cache, Digest, Engine, Guest, Limits, Refused};
use tokio::sync::Mutex;
use tracing::{info, warn};
use url::Url;

use super::{
    Around, Refusal, Reread, Serving, Status,
    pins::{self, Pin, Pins},
};
use crate::{
    config::{Config, Environment, ProviderConfig, WasmConfig},
    host::{self, Unstartable},
};

/// Asked again at each look: it may be mended outside of the folder.
const NO_APP: &str = "no_app";

pub(super) struct Loader {
    engine: Engine,
    dir: PathBuf,
    egress: Arc<Egress>,
    env: Env,
    public_url: Url,
    /// What components may take the place of, and what comes back when they go.
    built_in: BTreeMap<ProviderId, Arc<Registered>>,
    providers: BTreeMap<ProviderId, ProviderConfig>,
    reread: Option<Reread>,
    seen: Mutex<Seen>,
}

/// What the last look has left.
#[derive(Default)]
struct Seen {
    running: BTreeMap<ProviderId, (Candidate, Serving)>,
    refused: BTreeMap<ProviderId, (Candidate, Refusal)>,
    /// What is wrong with the folder itself, and files that nothing names.
    around: Vec<Status>,
}

/// What a provider is to be made of. While it is the same, there is nothing to do.
#[derive(Clone, PartialEq, Eq)]
struct Candidate {
    pin: Pin,
    /// Length and time of the file; `None`: there is none.
    stamp: Option<(u64, Option<SystemTime>)>,
}

impl Loader {
    pub(super) fn new(
        dir: &Path,
        config: &Config,
        registry: &Registry,
        egress: &Arc<Egress>,
        cache: Option<Cache>,
        env: &Env,
        around: Around,
    ) -> Result<Self, Unstartable> {
        let limits = limits(&config.wasm);
        let engine = match around.observer {
            None => Engine::new(limits, cache),
            Some(observer) => Engine::observed(limits, cache, observer),
        };
        let engine = engine.map_err(|error| {
            Unstartable(format!(
                "{error}. Give the process more address space, lower wasm.max_calls, or unset wasm.dir"
            ))
        })?;
        let built_in = registry.all().into_iter();
        Ok(Self {
            engine,
            dir: dir.to_owned(),
            egress: egress.clone(),
            env: env.clone(),
            public_url: config.server.public_url.clone(),
            built_in: built_in
                .map(|registered| (registered.id().clone(), registered))
                .collect(),
            providers: config.providers.clone(),
            reread: around.reread,
            seen: Mutex::default(),
        })
    }

    /// Makes the registry follow the folder. Tells what is there now.
    pub(super) async fn look(&self, registry: &Registry) -> Vec<Status> {
        let mut seen = self.seen.lock().await;
        match self.pins().await {
            Ok((pins, files)) => self.follow(&pins, &files, &mut seen, registry).await,
            Err(error) => {
                let status = Status {
                    file: pins::FILE.to_owned(),
                    refused: Some(Refusal {
                        code: "pins",
                        reason: format!("{error:#}"),
                        fix: "Mend the file; until then nothing changes".to_owned(),
                    }),
                    ..Status::default()
                };
                report(&mut seen.around, vec![status]);
            }
        }
        let status = board(&seen);
        let serving = status.iter().filter(|status| status.serving.is_some()).count();
        let refused = status.iter().filter(|status| status.refused.is_some()).count();
        #[allow(clippy::cast_precision_loss)]
        for (state, number) in [("serving", serving), ("refused", refused)] {
            gauge!("patchbay_components", "state" => state).set(number as f64);
        }
        status
    }

    /// What stands in the folder: the pins, and all files that look like components.
    async fn pins(&self) -> anyhow::Result<(Pins, BTreeSet<String>)> {
        let dir = self.dir.clone();
        let read = move || {
            let pins = pins::read(&dir)?;
            let mut files = BTreeSet::new();
            match std::fs::read_dir(&dir) {
                Ok(entries) => {
                    for entry in entries {
                        let name = entry?.file_name().to_string_lossy().into_owned();
                        if name.ends_with(".wasm") {
                            files.insert(name);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
            Ok((pins, files))
        };
        tokio::task::spawn_blocking(read).await?
    }

    async fn follow(&self, pins: &Pins, files: &BTreeSet<String>, seen: &mut Seen, registry: &Registry) {
        for id in seen
            .running
            .keys()
            .chain(seen.refused.keys())
            .cloned()
            .collect::<BTreeSet<_>>()
        {
            if !pins.contains_key(&id) {
                seen.refused.remove(&id);
                if seen.running.remove(&id).is_some() {
                    self.take_out(&id, registry);
                }
            }
        }
        for (id, pin) in pins {
            let candidate = Candidate {
                pin: pin.clone(),
                stamp: stamp(&self.dir.join(&pin.file)),
            };
            if seen.running.get(id).is_some_and(|(running, _)| *running == candidate) {
                // Whatever stood in its place for a while is gone.
                seen.refused.remove(id);
                continue;
            }
            let again = |(tried, refusal): &&(Candidate, Refusal)| *tried == candidate && refusal.code != NO_APP;
            if seen.refused.get(id).filter(again).is_some() {
                continue;
            }
            match self.load(id, pin).await {
                Ok((registered, serving)) => {
                    registry.put(Arc::new(registered));
                    let before = seen.running.insert(id.clone(), (candidate, serving.clone()));
                    seen.refused.remove(id);
                    let outcome = if before.is_some() { "replaced" } else { "loaded" };
                    counter!("patchbay_component_loads_total", "outcome" => outcome).increment(1);
                    info!(provider = %id, version = serving.version, sha256 = serving.sha256, "A component serves ({outcome})");
                }
                Err(Refused { code, reason, fix }) => {
                    let refusal = Refusal { code, reason, fix };
                    if seen.refused.get(id).is_none_or(|(_, before)| *before != refusal) {
                        let stays = if seen.running.contains_key(id) {
                            "; the one before it serves on"
                        } else {
                            ""
                        };
                        counter!("patchbay_component_loads_total", "outcome" => "refused").increment(1);
                        warn!(
                            provider = %id, file = %pin.file.display(), code,
                            "A component cannot be used{stays}: {}. {}.", refusal.reason, refusal.fix
                        );
                    }
                    seen.refused.insert(id.clone(), (candidate, refusal));
                }
            }
        }
        let named: BTreeSet<_> = pins.values().map(|pin| pin.file.to_string_lossy()).collect();
        let unnamed = files
            .iter()
            .filter(|file| !named.contains(file.as_str()))
            .map(|file| Status {
                file: file.clone(),
                refused: Some(Refusal {
                    code: "not_pinned",
                    reason: format!("{} does not name it", pins::FILE),
                    fix: format!(
                        "Load it with `patchbay providers add {}`, or delete it",
                        self.dir.join(file).display()
                    ),
                }),
                ..Status::default()
            });
        report(&mut seen.around, unnamed.collect());
    }

    fn take_out(&self, id: &ProviderId, registry: &Registry) {
        match self.built_in.get(id) {
            Some(built_in) => registry.put(built_in.clone()),
            None => registry.remove(id),
        }
        counter!("patchbay_component_loads_total", "outcome" => "removed").increment(1);
        info!(provider = %id, "A component was removed");
    }

    async fn load(&self, id: &ProviderId, pin: &Pin) -> Result<(Registered, Serving), Refused> {
        let built_in = self.built_in.get(id);
        if built_in.is_some() && !pin.replaces_built_in {
            return Err(Refused::new(
                "duplicate_id",
                format!("a provider called {id} is built in"),
                format!(
                    "To have the component in its place, set replaces_built_in = true in {}",
                    pins::FILE
                ),
            ));
        }
        let bytes = read(&self.dir.join(&pin.file), self.engine.limits().file_bytes).await?;
        check_digest(&bytes, pin)?;
        let component = self.engine.load(bytes).await?;
        let config = self.config_of(id)?;
        let guest = component.build(&Settings(config.settings.clone())).await?;
        check_id(id, &guest)?;
        check_hosts(guest.manifest(), &pin.hosts)?;
        let serving = Serving {
            sha256: component.digest().to_string(),
            version: guest.manifest().version.to_owned(),
            wit_version: component.wit_version().to_owned(),
            hosts: pin.hosts.clone(),
        };
        let registered = match built_in {
            Some(built_in) => built_in.with_provider(Arc::new(guest)),
            None => self.register(id, guest, pin, &config)?,
        };
        Ok((registered, serving))
    }

    /// With the app of its own section.
    fn register(
        &self,
        id: &ProviderId,
        guest: Guest,
        pin: &Pin,
        config: &ProviderConfig,
    ) -> Result<Registered, Refused> {
        let simulated = config.environment == Environment::Simulator;
        let no_app = |reason: String| {
            Refused::new(
                NO_APP,
                reason,
                format!("Set providers.{id}.client_id and client_secret, as the platform's console gives them"),
            )
        };
        if !config.enabled {
            return Err(Refused::new(
                NO_APP,
                format!("providers.{id}.enabled is false"),
                "Set it to true, or remove the component",
            ));
        }
        if simulated && config.simulator_hosts.is_empty() {
            return Err(Refused::new(
                NO_APP,
                format!("providers.{id}.environment is \"simulator\", and a component brings none"),
                format!("Set providers.{id}.simulator_hosts, or environment = \"live\""),
            ));
        }
        let hosts = if simulated {
            config.simulator_hosts.clone()
        } else {
            Default::default()
        };
        self.egress
            .simulate(id.clone(), hosts)
            .map_err(|error| no_app(error.to_string()))?;
        host::registered(Arc::new(guest), config, pin.has_app, &self.public_url, &self.env)
            .map_err(|Unstartable(reason)| no_app(reason))
    }

    /// A provider's section as it is now.
    fn config_of(&self, id: &ProviderId) -> Result<ProviderConfig, Refused> {
        let reread = self.reread.as_ref().map(|reread| reread());
        let found = match reread {
            Some(Ok(config)) => config.providers.get(id).cloned(),
            Some(Err(error)) => {
                return Err(Refused::new(
                    NO_APP,
                    format!("the configuration cannot be read: {error:#}"),
                    "Mend it",
                ));
            }
            None => self.providers.get(id).cloned(),
        };
        found.ok_or_else(|| {
            Refused::new(
                NO_APP,
                format!("the configuration has no section [providers.{id}]"),
                format!(
                    "Write one, with the client_id and client_secret that the platform's console gives, or set \
                         PATCHBAY__PROVIDERS__{}__CLIENT_ID and the rest",
                    id.as_str().to_ascii_uppercase().replace('-', "_")
                ),
            )
        })
    }
}

/// The limits of a configuration.
pub(crate) fn limits(config: &WasmConfig) -> Limits {
    Limits {
        calls: config.calls,
        compile: config.compile,
        memory_bytes: config.memory_bytes,
        cpu: config.cpu,
        wall: config.wall,
        http_calls: config.http_calls,
        ..Limits::default()
    }
}

/// Reads a component's file, unless it is longer than it may be.
pub(crate) async fn read(path: &Path, most: u64) -> Result<Vec<u8>, Refused> {
    let at = path.to_owned();
    let read = move || {
        let (mut bytes, file) = (Vec::new(), std::fs::File::open(at)?);
        let length = file.metadata()?.len();
        io::Read::read_to_end(&mut io::Read::take(file, most + 1), &mut bytes)?;
        let length = length.max(bytes.len() as u64);
        Ok::<_, io::Error>(if length > most {
            Err(Refused::too_large(length, most))
        } else {
            Ok(bytes)
        })
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(io::Error::other);
    read.and_then(|read| read).unwrap_or_else(|error| {
        Err(Refused::new(
            "unreadable",
            format!("{} cannot be read: {error}", path.display()),
            "Put the file there, or remove its entry with `patchbay providers remove`",
        ))
    })
}

fn check_digest(bytes: &[u8], pin: &Pin) -> Result<(), Refused> {
    let found = Digest::of(bytes);
    if pin.sha256.parse() == Ok(found) {
        return Ok(());
    }
    Err(Refused::new(
        "digest",
        format!("its SHA-256 is {found}, and {} is pinned", pin.sha256),
        "If this file is the one that you want, load it with `patchbay providers add`",
    ))
}

fn check_id(id: &ProviderId, guest: &Guest) -> Result<(), Refused> {
    let says = &guest.manifest().id;
    if says == id {
        return Ok(());
    }
    Err(Refused::new(
        "other_id",
        format!("it calls itself {says}, and is pinned as {id}"),
        format!(
            "Rename the entry in {} to {says}, or load it with `patchbay providers add`",
            pins::FILE
        ),
    ))
}

/// Stands for any public host: that of a provider whose accounts each have a server of their own.
const ANY: &str = "*";

/// All hosts that a provider means to reach; [`ANY`] if it cannot name them all.
pub(crate) fn hosts_of(manifest: &Manifest) -> BTreeSet<&str> {
    let any = manifest.ops.iter().any(|op| op.account_server).then_some(ANY);
    named(manifest).chain(any).collect()
}

fn named(manifest: &Manifest) -> impl Iterator<Item = &str> {
    let of_ops = manifest.ops.iter().flat_map(|op| op.hosts.iter().copied());
    of_ops.chain(manifest.browser_hosts.iter().copied())
}

/// A provider may mean to reach only what the operator lets it reach.
pub(crate) fn check_hosts(manifest: &Manifest, granted: &[String]) -> Result<(), Refused> {
    if let Some(strange) = named(manifest).find(|host| !is_name(host)) {
        return Err(Refused::new(
            "manifest",
            format!("{strange:?} is no name of a host"),
            "Write hosts in its manifest as `api.example.com` or `*.example.com`: in lower case, without port or path",
        ));
    }
    let missing: Vec<_> = hosts_of(manifest)
        .into_iter()
        .filter(|host| !granted.iter().any(|granted| granted == host))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let flags: Vec<_> = missing.iter().map(|host| format!("--allow-host '{host}'")).collect();
    Err(Refused::new(
        "host_not_granted",
        format!("it means to reach {}, which is not granted", missing.join(", ")),
        format!(
            "If it may, load it with `patchbay providers add`, with {} beside those that it has",
            flags.join(" ")
        ),
    ))
}

/// A name of at least two labels, perhaps below `*.`. No address, no port.
fn is_name(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let labels: Vec<_> = name.split('.').collect();
    let label =
        |label: &&str| !label.is_empty() && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    labels.len() >= 2
        && labels.iter().all(label)
        && labels
            .last()
            .is_some_and(|last| last.bytes().any(|b| b.is_ascii_lowercase()))
}

fn stamp(path: &Path) -> Option<(u64, Option<SystemTime>)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

/// Puts new words in the place of old ones, and logs what was not among those.
fn report(old: &mut Vec<Status>, new: Vec<Status>) {
    for status in new.iter().filter(|status| !old.contains(status)) {
        if let Some(refusal) = &status.refused {
            warn!(
                file = status.file,
                code = refusal.code,
                "{}. {}.",
                refusal.reason,
                refusal.fix
            );
        }
    }
    *old = new;
}

fn board(seen: &Seen) -> Vec<Status> {
    let ids: BTreeSet<_> = seen.running.keys().chain(seen.refused.keys()).collect();
    let named = ids.into_iter().map(|id| {
        let running = seen.running.get(id);
        let refused = seen.refused.get(id);
        let candidate = refused
            .map(|(candidate, _)| candidate)
            .or(running.map(|(candidate, _)| candidate));
        Status {
            provider: Some(id.to_string()),
            file: candidate.map_or_else(String::new, |candidate| candidate.pin.file.display().to_string()),
            serving: running.map(|(_, serving)| serving.clone()),
            refused: refused.map(|(_, refusal)| refusal.clone()),
        }
    });
    named.chain(seen.around.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn hosts_are_names() {
        for good in ["api.example.com", "*.example.com", "a-b.example"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.com",
            "example",
            "API.example.com",
            "api.example.com:22",
            "api.example.com/",
            "a@example.com",
            "127.0.0.1",
            "[::1]",
            "api..example.com",
            "example.com.",
            "a.*.example.com",
            "exämple.com",
            "a\\b.example",
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
