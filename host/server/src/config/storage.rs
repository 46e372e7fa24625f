//! `[storage]`: where uploaded files live, and for how long.

use std::path::PathBuf;

use super::{
    key::{Key, Kind, Section},
    reader::Reader,
};

/// Where files live.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// Made if it does not exist.
    pub dir: PathBuf,
    /// Bytes of media that one tenant may keep.
    pub media_quota_bytes: u64,
    /// Media are deleted after so many days.
    pub media_ttl_days: u32,
}

pub(super) const SECTION: Section = Section {
    name: "storage",
    about: "Where uploaded files live, and for how long. Relative paths start at the working directory.",
    keys: &[
        Key::new(
            "storage.dir",
            Kind::Path,
            "Folder for files; made if it does not exist.",
        )
        .or("data"),
        Key::new(
            "storage.media_quota_bytes",
            Kind::Whole(1, 1 << 50),
            "Bytes of media that one tenant may keep.",
        )
        .or("53687091200"),
        Key::new(
            "storage.media_ttl_days",
            Kind::Whole(1, 3_650),
            "Days after which uploaded media are deleted.",
        )
        .or("7"),
    ],
};

impl StorageConfig {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            dir: r.parsed("storage.dir"),
            media_quota_bytes: r.whole("storage.media_quota_bytes"),
            media_ttl_days: r.whole("storage.media_ttl_days"),
        }
    }
}
