//! The folder of files: can it be written, and has its volume room.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::report::Report;
use crate::config::Config;

/// Less of a volume is too little: uploads are refused, and a database may not commit.
const LEAST_FREE_PERCENT: u64 = 10;

pub(super) fn examine(config: &Config, report: &mut Report) {
    let dir = &config.storage.dir;
    let there = nearest(dir);
    match try_to_write(&there) {
        Ok(()) if there == *dir => report.ok("storage.dir", format!("{} takes files", dir.display())),
        Ok(()) => report.ok("storage.dir", format!("{} is made at the first start", dir.display())),
        Err(error) => report.error(
            "storage.dir",
            format!("{} takes no files: {error}", there.display()),
            "Let the user of this program write there, or name another folder with storage.dir.",
        ),
    }
    match room(&there) {
        Ok((free, all)) => {
            let percent = free.saturating_mul(100) / all.max(1);
            let found = format!("{} MiB free, {percent} % of the volume", free >> 20);
            let advice = "Make room, use a larger volume, or keep media for fewer days (storage.media_ttl_days).";
            if percent < LEAST_FREE_PERCENT {
                report.error("storage.space", found, advice);
            } else if free < config.server.max_upload_bytes {
                let found = format!("{found}: less than one largest upload (server.max_upload_bytes)");
                report.warn("storage.space", found, advice);
            } else {
                report.ok("storage.space", found);
            }
        }
        Err(error) => report.skip("storage.space", format!("the volume does not tell: {error}")),
    }
}

/// The folder, or the nearest one above it that exists.
fn nearest(dir: &Path) -> PathBuf {
    let existing = dir.ancestors().find(|above| above.is_dir());
    match existing {
        Some(above) if above.as_os_str().is_empty() => PathBuf::from("."),
        Some(above) => above.to_owned(),
        None => PathBuf::from("."),
    }
}

fn try_to_write(dir: &Path) -> std::io::Result<()> {
    let path = dir.join(format!(".patchbay-doctor-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let written = file.write_all(b"?").and_then(|()| file.sync_all());
    std::fs::remove_file(&path)?;
    written
}

/// Bytes that are free for this user, and all of them.
#[cfg(unix)]
fn room(dir: &Path) -> std::io::Result<(u64, u64)> {
    let volume = rustix::fs::statvfs(dir)?;
    Ok((volume.f_bavail * volume.f_frsize, volume.f_blocks * volume.f_frsize))
}

#[cfg(not(unix))]
fn room(_dir: &Path) -> std::io::Result<(u64, u64)> {
    Err(std::io::ErrorKind::Unsupported.into())
}
