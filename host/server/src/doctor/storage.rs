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
        Ok((free, all)) => judge(free, all, config.server.max_upload_bytes, report),
        Err(error) => report.skip("storage.space", format!("the volume does not tell: {error}")),
    }
}

/// Whether a volume of `all` bytes with so many free ones is enough for uploads of at most `largest`.
fn judge(free: u64, all: u64, largest: u64, report: &mut Report) {
    let percent = free.saturating_mul(100) / all.max(1);
    let found = format!("{} MiB free, {percent} % of the volume", free >> 20);
    let advice = "Make room, use a larger volume, or keep media for fewer days (storage.media_ttl_days).";
    if percent < LEAST_FREE_PERCENT {
        report.error("storage.space", found, advice);
    } else if free < largest {
        let found = format!("{found}: less than one largest upload (server.max_upload_bytes)");
        report.warn("storage.space", found, advice);
    } else {
        report.ok("storage.space", found);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    #[test]
    fn a_full_volume_is_an_error_and_a_small_one_a_warning() {
        const GIB: u64 = 1 << 30;
        for (free, all, verdict) in [
            (9 * GIB, 100 * GIB, Verdict::Error),
            (0, 0, Verdict::Error),
            (10 * GIB, 100 * GIB, Verdict::Ok),
            (3 * GIB, 4 * GIB, Verdict::Warning),
        ] {
            let mut report = Report::default();
            judge(free, all, 4 * GIB, &mut report);
            let [found] = &report.findings[..] else {
                panic!("{report}")
            };
            assert_eq!((&*found.check, found.verdict), ("storage.space", verdict), "{report}");
        }
    }
}
