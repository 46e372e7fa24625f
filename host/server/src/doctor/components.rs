//! The folder of components: what a host would load of it, and why not. Each is compiled and asked what it is, as at a
//! host's start; nothing is kept of that.

use std::path::Path;

use patchbay_app::{env::Env, registry::Registry};
use patchbay_core::ProviderId;

use super::report::Report;
use crate::{
    components::{self, Status, pins},
    config::Config,
    host,
    providers::BUILT_IN,
};

pub(super) async fn examine(config: &Config, env: &Env, report: &mut Report) {
    let Some(dir) = &config.wasm.dir else { return };
    if !folder(dir, report) {
        return;
    }
    match components::examine(config, &built_in(config, env), env).await {
        Ok(found) => {
            if found
                .iter()
                .all(|status| status.provider.is_none() && status.file != pins::FILE)
            {
                report.warn(
                    "components.pins",
                    format!("{} names none, so none is loaded", dir.join(pins::FILE).display()),
                    "Load one with `patchbay providers add`, or unset wasm.dir.",
                );
            }
            for status in found {
                told(status, report);
            }
        }
        Err(error) => report.error(
            "components.engine",
            format!("{error:#}"),
            "A host does not start so. Unset wasm.dir where no component is wanted.",
        ),
    }
}

/// Whether there is one. Whoever can write there decides what runs.
fn folder(dir: &Path, report: &mut Report) -> bool {
    let check = "components.dir";
    match std::fs::metadata(dir) {
        Ok(folder) if folder.is_dir() => {
            if others_can_write(&folder) {
                let advice = format!("chmod go-w {}", dir.display());
                let found = format!(
                    "others than its owner can write in {}, and so decide what runs",
                    dir.display()
                );
                report.warn(check, found, advice);
            } else {
                report.ok(check, format!("{} is there", dir.display()));
            }
            true
        }
        _ => {
            report.warn(
                check,
                format!("{} is no folder, so no component is loaded", dir.display()),
                "Load one with `patchbay providers add`, which makes the folder, or unset wasm.dir.",
            );
            false
        }
    }
}

#[cfg(unix)]
fn others_can_write(folder: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    folder.permissions().mode() & 0o022 != 0
}

#[cfg(not(unix))]
fn others_can_write(_folder: &std::fs::Metadata) -> bool {
    false
}

/// What components may take the place of. What is wrong with one of these is told where providers are looked at.
fn built_in(config: &Config, env: &Env) -> Registry {
    let registry = Registry::default();
    for entry in BUILT_IN {
        let Ok(id) = ProviderId::parse(entry.id) else { continue };
        let settings = config.providers.get(&id).filter(|settings| settings.enabled);
        if let Some(Ok(registered)) = settings.map(|settings| host::register(entry, settings, config, env)) {
            registry.put(registered.into());
        }
    }
    registry
}

fn told(status: Status, report: &mut Report) {
    let file = status.file;
    let check = match &status.provider {
        Some(id) => format!("components.{id}"),
        None if file == pins::FILE => "components.pins".to_owned(),
        None => format!("components.{file}"),
    };
    match (status.serving, status.refused) {
        (_, Some(refusal)) => {
            let found = format!("{file} ({}): {}", refusal.code, refusal.reason);
            let advice = format!("{}.", refusal.fix);
            // Without a provider's name, nothing waits for the file.
            if status.provider.is_none() && file != pins::FILE {
                report.warn(&check, found, advice);
            } else {
                report.error(&check, found, advice);
            }
        }
        (Some(serving), None) => {
            let hosts = serving.hosts.join(", ");
            report.ok(
                &check,
                format!("{file} can be loaded: version {}, may reach {hosts}", serving.version),
            );
        }
        (None, None) => {}
    }
}
