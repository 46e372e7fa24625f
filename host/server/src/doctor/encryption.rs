//! The master key: is it there, is it safe from others, does it open this database.

use std::{path::Path, sync::Arc};

use patchbay_app::{env::Env, store::Store};

use super::{is_live, report::Report};
use crate::{config::Config, host};

pub(super) async fn examine(config: &Config, store: Option<&Arc<dyn Store>>, env: &Env, report: &mut Report) {
    let file = config
        .encryption
        .key_file
        .as_deref()
        .filter(|_| config.encryption.key.is_none());
    match file {
        None if is_live(config) => report.warn(
            "encryption.key",
            "comes from the environment, which others on a machine may be able to read",
            "Put it into a file that only this program's user can read, and name it with encryption.key_file.",
        ),
        None => report.ok("encryption.key", "comes from the environment"),
        Some(file) if file.exists() => permissions(file, report),
        Some(file) => missing(file, store, report).await,
    }
    let Some(store) = store else {
        report.skip("encryption.fits", "there is no database to open with it");
        return;
    };
    if file.is_some_and(|file| !file.exists()) {
        report.skip("encryption.fits", "there is no key");
        return;
    }
    match host::open_vault(config, store.clone(), env).await {
        Ok(_) => report.ok("encryption.fits", "opens every data key of this database"),
        Err(error) => report.error(
            "encryption.fits",
            format!("{error:#}"),
            "Put the right key back from its backup. Without it, every account must be connected again.",
        ),
    }
}

async fn missing(file: &Path, store: Option<&Arc<dyn Store>>, report: &mut Report) {
    let sealed = match store {
        Some(store) => store
            .key_state()
            .await
            .is_ok_and(|state| state.sealed_rows || !state.keys.is_empty()),
        None => false,
    };
    if sealed {
        report.error(
            "encryption.key",
            format!(
                "{} is not there, and this database holds secrets that were sealed with it",
                file.display()
            ),
            "Put the key back from its backup.",
        );
    } else {
        report.ok(
            "encryption.key",
            format!("{} is made at the first start: back it up then", file.display()),
        );
    }
}

#[cfg(unix)]
fn permissions(file: &Path, report: &mut Report) {
    use std::os::unix::fs::PermissionsExt;

    let others = std::fs::metadata(file).map(|known| known.permissions().mode() & 0o077);
    match others {
        Ok(0) => report.ok("encryption.key", format!("{}, for its owner only", file.display())),
        Ok(_) => report.error(
            "encryption.key",
            format!("{} can be read by other users of this machine", file.display()),
            format!("Run `chmod 600 {}`.", file.display()),
        ),
        Err(error) => report.error(
            "encryption.key",
            format!("{} cannot be read: {error}", file.display()),
            "Let the user of this program read it.",
        ),
    }
}

#[cfg(not(unix))]
fn permissions(file: &Path, report: &mut Report) {
    report.ok("encryption.key", file.display().to_string());
}
